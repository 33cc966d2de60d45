"""What lock files say: packages with the digests of their files, and where each is written."""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote, urlsplit

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.errors import Invalid, quoted
from wheelyard.model.distribution_filename import Sha256, parse_name, parse_version
from wheelyard.model.text import escaped

BAD_LOCK_FILE: Final = "bad_lock_file"
"""The error code for a lock file that cannot be read."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class Place(Struct, frozen=True):
    """A line of a file, or a package in it."""

    file: str
    at: int | str
    """The number of the line, from 1, or `packages[0]` in a `pylock.toml`."""

    def __str__(self) -> str:
        """Return `requirements.txt:12`."""
        return f"{escaped(self.file)}:{self.at}"

    def fault(self, why: str) -> Invalid:
        """Return the error that this is wrong; `why` is a sentence, without its full stop."""
        return Invalid(f"{self}: {why}.", code=BAD_LOCK_FILE)


class LockedFile(Struct, frozen=True):
    """A file that a lock file lists."""

    project: NormalizedName
    version: str | None
    """The normalised version; None if the lock file does not say."""
    sha256: Sha256
    filename: str = ""
    """Empty if the lock file does not say."""


class LockedPackage(Struct, frozen=True):
    """A package of a lock file that an index has."""

    place: Place
    project: NormalizedName
    files: tuple[LockedFile, ...]
    """Empty if the lock file has no digest for it."""
    is_required: bool = True
    """False in a file of constraints, which need no digests."""


class ForeignPackage(Struct, frozen=True):
    """A package of a lock file that clients do not take from an index."""

    place: Place
    origin: str
    """What it is instead, for a message: `a repository`."""


LockEntry = LockedPackage | ForeignPackage
Listed = tuple[str, str]
"""A digest with its algorithm, `sha256:<hex>`, and the filename or an empty text."""


def locked_package(
    place: Place, name: str, version: str, listed: Iterable[Listed], *, is_required: bool = True
) -> LockedPackage:
    """
    Return a package with the files `listed`; `version` may be empty.

    Raise Invalid if the name or a digest is wrong. A version that is not of PEP 440 is dropped.
    """
    try:
        project = parse_name(name)
    except Invalid as error:
        raise place.fault(f"{quoted(name)} is not the name of a project") from error
    release = _parsed_version(version)
    files = dict.fromkeys(
        LockedFile(project, release, _parse_digest(place, project, digest), filename)
        for digest, filename in listed
    )
    return LockedPackage(place, project, tuple(files), is_required)


def filename_of(location: str) -> str:
    """Return the filename at the end of a URL or path; empty if there is none."""
    try:
        path = urlsplit(location).path
    except ValueError:  # for unclosed brackets
        return ""
    return unquote(path.replace("\\", "/").rpartition("/")[2])


def _parsed_version(text: str) -> str | None:
    try:
        return str(parse_version(text))
    except Invalid:
        return None


def _parse_digest(place: Place, project: NormalizedName, digest: str) -> Sha256:
    algorithm, colon, value = digest.partition(":")
    if colon and algorithm.lower() != "sha256":
        raise place.fault(
            f"{project} has a digest by {quoted(algorithm)}, and files are found by sha256 only. "
            "Lock again with an index that gives sha256"
        )
    value = value.lower()
    if not _SHA256.fullmatch(value):
        raise place.fault(f"{quoted(digest)} of {project} is not 'sha256:' and 64 digits")
    return Sha256(value)
