"""Files with attestations (PEP 740) beside a distribution, as `pypi-attestations` writes them."""

from collections.abc import Iterable, Iterator
from glob import escape
from pathlib import Path
from typing import Final

from msgspec import DecodeError, Raw
from msgspec.json import Decoder

from wheelyard.errors import INVALID_ATTESTATIONS, Invalid, quoted

ATTESTATION_SUFFIX: Final = ".attestation"
_OBJECTS: Final = Decoder(dict[str, Raw])


def read_attestations(distribution: Path) -> str:
    """
    Return the attestations beside a distribution as a JSON array, in the order of their filenames.

    The files are called `DISTRIBUTION.KIND.attestation`. Returns an empty text if there are none.
    Raises Invalid (code `invalid_attestations`) if a file cannot be read, or is no JSON object.
    """
    pattern = f"{escape(distribution.name)}.?*{ATTESTATION_SUFFIX}"
    attestation_paths = sorted(distribution.parent.glob(pattern))
    objects = [_read_object(path) for path in attestation_paths]
    if not objects:
        return ""
    return f"[{','.join(objects)}]"


def without_attestation_files(paths: Iterable[Path]) -> list[Path]:
    """
    Return paths without the attestations of distributions that are among these paths.

    A pattern such as `dist/*` matches distributions and attestations alike.
    """
    all_paths = tuple(paths)
    path_set = frozenset(all_paths)
    return [path for path in all_paths if path_set.isdisjoint(_possible_distributions(path))]


def _possible_distributions(path: Path) -> Iterator[Path]:
    """Yield the path of each distribution of which `path` may be an attestation."""
    # the name of a distribution and the kind of an attestation may both have dots, so any dot may
    # be the end of the name
    if path.name.endswith(ATTESTATION_SUFFIX):
        name = path.name.removesuffix(ATTESTATION_SUFFIX).rpartition(".")[0]
        while name:
            yield path.with_name(name)
            name = name.rpartition(".")[0]


def _read_object(path: Path) -> str:
    """
    Return the text of a file with a JSON object.

    Raises Invalid if the file cannot be read, or is no JSON object.
    """
    try:
        text = path.read_text("utf-8")
        # The server verifies the attestation. Other text would break the array of all of them.
        _OBJECTS.decode(text)
    except OSError as error:
        raise _wrong(path, f"cannot be read: {error.strerror}") from error
    except (DecodeError, UnicodeError, RecursionError) as error:
        raise _wrong(path, "is no attestation") from error
    return text


def _wrong(path: Path, why: str) -> Invalid:
    return Invalid(
        f"{quoted(path.name)} {why}. Sign the file again, or upload without attestations "
        "(--no-attestations).",
        code=INVALID_ATTESTATIONS,
    )
