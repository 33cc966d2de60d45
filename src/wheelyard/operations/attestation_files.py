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
    Return the JSON of the attestations beside a distribution, or an empty text without any.

    They are in files `DISTRIBUTION.KIND.attestation`, in the order of the names of these. Raises
    Invalid (code `invalid_attestations`) if one cannot be read, or is no JSON object.
    """
    beside = distribution.parent.glob(f"{escape(distribution.name)}.?*{ATTESTATION_SUFFIX}")
    objects = [_read_object(path) for path in sorted(beside)]
    if not objects:
        return ""
    return f"[{','.join(objects)}]"


def without_attestation_files(paths: Iterable[Path]) -> list[Path]:
    """Return paths without those of attestations of others: a pattern as `dist/*` has both."""
    all_paths = tuple(paths)
    path_set = frozenset(all_paths)
    return [path for path in all_paths if path_set.isdisjoint(_distributions(path))]


def _distributions(path: Path) -> Iterator[Path]:
    """Yield the paths of which a path may be that of an attestation."""
    # a distribution and the kind of an attestation may both have dots, so each dot may end the
    # name of the distribution
    if path.name.endswith(ATTESTATION_SUFFIX):
        name = path.name.removesuffix(ATTESTATION_SUFFIX).rpartition(".")[0]
        while name:
            yield path.with_name(name)
            name = name.rpartition(".")[0]


def _read_object(path: Path) -> str:
    """Return the text of a file with a JSON object. Raises Invalid if it is none."""
    try:
        text = path.read_text("utf-8")
        # The server verifies it. Here, text that is no object would break the list of all.
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
