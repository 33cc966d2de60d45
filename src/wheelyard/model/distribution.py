"""
What a filename promises: an sdist or a wheel, of one project, at one version.

The order of the rules matters (ASCII, bytes, length, own grammar, then packaging): packaging alone
accepts newlines, path separators and look-alike letters, and takes seconds over a filename with
thousands of tags. Follows the binary distribution format and source distribution format
specifications, PEP 440 and PEP 625.
"""

import re
from dataclasses import dataclass
from typing import NewType

from packaging.utils import (
    InvalidName,
    InvalidSdistFilename,
    InvalidWheelFilename,
    NormalizedName,
    canonicalize_name,
    canonicalize_version,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from wheelyard.errors import Invalid, quoted

Sha256 = NewType("Sha256", str)
"""64 lower-case hexadecimal digits."""

FILENAME_LIMIT = 200
"""Bytes: `.metadata` and a temporary suffix must still fit into 255."""
NAME_LIMIT = 128
"""Characters of a project name."""
VERSION_LIMIT = 128
"""Characters of a version."""
DIGIT_RUN_LIMIT = 64
"""Digits in a row, in a version."""
TAG_LIMIT = 1000
"""Combinations of compressed wheel tags."""

RESERVED_NAMES = frozenset({"simple", "pypi", "legacy"})
"""Names whose root alias would hide a route; no project may have them."""

_NAME = re.compile(r"[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]", re.ASCII)
_PART = r"[A-Za-z0-9_.+!]+"
_WHEEL = re.compile(
    rf"(?P<name>{_PART})-(?P<version>{_PART})(-[0-9][A-Za-z0-9_.]*)?"
    rf"-(?P<tags>{_PART}-{_PART}-{_PART})\.whl",
    re.ASCII,
)
_SDIST = re.compile(
    r"(?P<name>[A-Za-z0-9_.-]+)-(?P<version>[A-Za-z0-9_.+!]+)\.(?:tar\.gz|zip)", re.ASCII
)
_DIGITS = re.compile(rf"[0-9]{{{DIGIT_RUN_LIMIT + 1}}}")
_TRAILING_ZEROS = re.compile(r"\A((?:[0-9]+!)?[0-9]+(?:\.[0-9]+)*?)(?:\.0)+(?=\Z|[abr+]|\.[pd])")
_EXTENSIONS = (".whl", ".gz", ".zip", ".egg", ".tar")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f/\\%:]")

Identity = tuple[str, ...]
"""What may exist once in a project: two filenames with one identity differ only in spelling."""


@dataclass(frozen=True, slots=True)
class Sdist:
    """A source distribution."""

    filename: str
    project: NormalizedName
    version: Version

    @property
    def identity(self) -> Identity:
        """What may exist once in the project."""
        return ("sdist", canonicalize_version(self.version))


@dataclass(frozen=True, slots=True)
class Wheel:
    """A built distribution."""

    filename: str
    project: NormalizedName
    version: Version
    build: str
    """The build tag as PEP 427 orders it, or an empty string."""
    tags: tuple[str, ...]
    """Sorted: `py3-none-any`."""

    @property
    def identity(self) -> Identity:
        """What may exist once in the project."""
        return ("wheel", canonicalize_version(self.version), self.build, *self.tags)


Distribution = Sdist | Wheel


def parse_name(text: str) -> NormalizedName:
    """
    Return `text` normalised: the only spelling that rooms below `http` and `cli` ever see.

    Raises:
        Invalid: It is no project name (code `invalid_name`).
    """
    if len(text) <= NAME_LIMIT and _NAME.fullmatch(text):
        try:
            return canonicalize_name(text, validate=True)
        except InvalidName:  # pragma: no cover - the grammar above is the stricter one
            pass
    raise Invalid(
        f"{quoted(text)} is not a project name. Use up to {NAME_LIMIT} letters, digits, '.', '_' "
        "and '-', with a letter or a digit at both ends.",
        code="invalid_name",
        short="Not a valid project name.",
    )


def parse_version(text: str) -> Version:
    """
    Return a PEP 440 version, written without blanks around it.

    Raises:
        Invalid: It is none, or is longer than the limits (code `invalid_version`).
    """
    if text.isascii() and len(text) <= VERSION_LIMIT and not _DIGITS.search(text):
        try:
            if text == text.strip():
                return Version(text)
        except (InvalidVersion, ValueError):
            pass
    raise Invalid(
        f"{quoted(text)} is not a version by PEP 440. Use for example 1.0, 1.0rc1 or 1.0+local.",
        code="invalid_version",
        short="Not a valid version.",
    )


def without_zeros(version: str) -> str:
    """
    Return a normalised version without the zeros at the end of its release: 1 for 1.0.0.

    The same as `packaging.utils.canonicalize_version`, without parsing: it is asked of every
    release of a project when a file is added.
    """
    return _TRAILING_ZEROS.sub(r"\1", version)


def parse_filename(filename: str, *, zip_sdists: bool = False) -> Distribution:
    """
    Return the distribution that `filename` names.

    Args:
        filename: As the client sent it.
        zip_sdists: Take `.zip` sdists too, which PEP 625 has retired.

    Raises:
        Invalid: It names neither a wheel nor a `.tar.gz` sdist (code `invalid_filename`), or its
            version is none (code `invalid_version`).
    """
    if not filename.isascii() or _FORBIDDEN.search(filename):
        raise _bad_filename(filename, "it has characters that no distribution's name has")
    if len(filename) > FILENAME_LIMIT:
        raise _bad_filename(filename, f"it is longer than {FILENAME_LIMIT} bytes")
    if filename.endswith(".whl"):
        return _parse_wheel(filename)
    if filename.endswith((".tar.gz", ".zip") if zip_sdists else ".tar.gz"):
        return _parse_sdist(filename)
    raise Invalid(
        f"Only .whl and .tar.gz are accepted, and {quoted(filename)} is neither. "
        "Build a wheel and an sdist with 'python -m build'.",
        code="invalid_filename",
        short="Only .whl and .tar.gz are accepted.",
    )


def _parse_wheel(filename: str) -> Wheel:
    match = _WHEEL.fullmatch(filename)
    if match is None:
        raise _bad_filename(filename, "a wheel is name-version[-build]-python-abi-platform.whl")
    python, abi, platform = match["tags"].split("-")
    combinations = 1
    for part in (python, abi, platform):
        combinations *= part.count(".") + 1
    if combinations > TAG_LIMIT:
        raise _bad_filename(filename, f"it names more than {TAG_LIMIT} tags")
    if platform.endswith(_EXTENSIONS):
        raise _bad_filename(filename, "it has two extensions")
    version = parse_version(match["version"])
    try:
        project, _, build, tags = parse_wheel_filename(filename)
    except (InvalidWheelFilename, InvalidVersion, ValueError) as error:
        raise _bad_filename(filename, str(error)) from error
    _check_project(match["name"], filename)
    spelled = "".join(str(part) for part in build)
    return Wheel(filename, project, version, spelled, tuple(sorted(str(tag) for tag in tags)))


def _parse_sdist(filename: str) -> Sdist:
    match = _SDIST.fullmatch(filename)
    if match is None:
        raise _bad_filename(filename, "an sdist is name-version.tar.gz")
    if match["version"].endswith(_EXTENSIONS):
        raise _bad_filename(filename, "it has two extensions")
    version = parse_version(match["version"])
    try:
        project, _ = parse_sdist_filename(filename)
    except (InvalidSdistFilename, InvalidVersion, ValueError) as error:
        raise _bad_filename(filename, str(error)) from error
    _check_project(match["name"], filename)
    return Sdist(filename, project, version)


def _check_project(name: str, filename: str) -> None:
    if len(name) > NAME_LIMIT or not _NAME.fullmatch(name):
        raise _bad_filename(filename, "the part before the version is not a project name")


def _bad_filename(filename: str, why: str) -> Invalid:
    return Invalid(
        f"{quoted(filename)} is not a distribution's filename: {why}. "
        "Upload the file as the build tool named it.",
        code="invalid_filename",
        short="Not a valid distribution filename.",
    )
