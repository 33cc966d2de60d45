"""Candidates of an import, and what filenames and other systems' metadata tell of them."""

import errno
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, Final, Protocol

from msgspec import Struct
from packaging.utils import NormalizedName, canonicalize_name

from wheelyard.errors import Invalid, Unavailable
from wheelyard.model.distribution_filename import (
    known_filename_readings,
    parse_known_filename,
    parse_version,
)
from wheelyard.remedies import Advice

EMPTY_MAPPING: Final[Mapping[str, str]] = MappingProxyType({})
OpenChunks = Callable[[], AbstractContextManager[Iterator[bytes]]]
"""Opens a file, and yields its bytes in chunks."""
DISTRIBUTION_SUFFIXES: Final = (
    ".whl",
    ".tar.gz",
    ".zip",
    ".egg",
    ".exe",
    ".msi",
    ".rpm",
    ".dmg",
    ".deb",
    ".tar",
    ".tgz",
    ".tar.bz2",
    ".tbz",
    ".tar.xz",
    ".tar.Z",
)
"""Suffixes of distributions, also obsolete ones."""
SIDECAR_SUFFIXES: Final = (
    ".metadata",
    ".provenance",
    ".publish.attestation",
    ".meta",
    ".asc",
    ".sig",
    ".md5",
    ".sha1",
    ".sha256",
    ".sha512",
    ".html",
    ".json",
    ".xml",
    ".css",
    ".js",
    ".ico",
)
"""Suffixes of files that describe distributions. The report does not list them."""
SITE_FILES: Final = frozenset({"json", "index", "simple", "favicon.ico", "robots.txt"})
"""Files of a static site that lie among its packages."""
OLDEST_PLAUSIBLE_DATE: Final = datetime(1990, 1, 1, tzinfo=UTC)
"""Earlier dates, such as 1970, are placeholders."""
UPLOADER_LIMIT: Final = 200
"""Characters of an uploader's name."""
DIGEST_LENGTHS: Final[Mapping[str, int]] = MappingProxyType(
    {
        name: 2 * hashlib.new(name, usedforsecurity=False).digest_size
        for name in sorted(hashlib.algorithms_guaranteed - {"shake_128", "shake_256"})
    }
)
"""Algorithms of digests that a source may state, and hexadecimal digits of the longest digest."""

_SDIST: Final = re.compile(r"(.+?)-v?\d.*", re.DOTALL)
_DATE_ERRORS: Final = (TypeError, ValueError, OverflowError, OSError)
"""What parsing a date may raise. OSError: a year that the platform does not know."""
_HEX: Final = re.compile(r"(?:[0-9a-f]{2})+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A file of a source that an import may add. It has not been read or checked yet."""

    filename: str  # the last segment of its path
    project: str = ""  # the normalised name of its project, if the source tells it
    location: str  # path or URL for reports, without credentials
    path: str = ""  # relative to the folder or bucket, with slashes; empty elsewhere
    version: str = ""  # differs after each change, if the source tells one
    read: OpenChunks = field(repr=False)  # raises OSError or WheelyardError
    size: int | None = None  # bytes, if known
    hashes: Mapping[str, str] = field(default_factory=lambda: EMPTY_MAPPING)  # hex, by algorithm
    uploaded_at: datetime | None = None  # when it was uploaded to the source, UTC, if known
    uploaded_by: str = ""  # the uploader's name in the source, if known
    yanked: str | None = None  # like `File.yanked`: None, or the reason, which may be empty
    warning: str = ""  # what the source says of it and cannot be used: a sentence, no full stop
    changed_at: float | None = None  # last change of the bytes, seconds since the epoch, if known
    last_modified: Callable[[], datetime | None] | None = field(default=None, repr=False)
    """
    Returns when the source last changed the file, UTC, or None if that is not known.

    It is called if `uploaded_at` is None, after the file was read, and raises nothing.
    """
    attributes: Mapping[str, str] | None = field(default_factory=lambda: EMPTY_MAPPING)
    """Custom metadata of a bucket's object, or None if the listing lacks it, and `find` has it."""


class Skipped(Struct, frozen=True):
    """An entry of a source, such as a file or a line, that is not imported, with the reason."""

    location: str
    why: str
    """A sentence without its full stop."""
    is_error: bool = False
    """Whether the report counts it as an error: a damaged line, a missing file."""


SourceItem = Candidate | Skipped


class Source(Protocol):
    """An import source. Each kind of source has one implementation."""

    def candidates(self) -> Iterator[SourceItem]:
        """
        Yield all candidates and what is skipped, in a stable order.

        Raises Invalid if the source is unusable, and Unavailable if it does not answer.
        """
        ...


def bad_source(message: str, advice: Advice | None = None) -> Invalid:
    """Return Invalid (code `bad_source`) for a source that cannot be imported from."""
    return Invalid(message, code="bad_source", advice=advice)


def unavailable(message: str) -> Unavailable:
    """Return Unavailable (code `source_unavailable`) for a source that does not answer."""
    return Unavailable(message, code="source_unavailable")


def unreadable(why: str) -> OSError:
    """Return the OSError for one unreadable file, which does not end the import."""
    return OSError(errno.EIO, why)


def is_distribution_name(filename: str) -> bool:
    """Return whether a filename has the suffix of a distribution and no dot at its beginning."""
    return filename.endswith(DISTRIBUTION_SUFFIXES) and not filename.startswith(".")


def is_sidecar(filename: str) -> bool:
    """Return whether a file describes distributions, belongs to a site, or is hidden."""
    return filename.endswith(SIDECAR_SUFFIXES) or filename in SITE_FILES or filename.startswith(".")


def possible_projects(filename: str) -> set[str]:
    """Return the normalised names of the projects that may have a distribution, by its filename."""
    with suppress(Invalid):
        return {reading.project for reading in known_filename_readings(filename)}
    if filename.endswith(".whl"):
        name, _, _ = filename.partition("-")
        return {canonicalize_name(name)}
    match = _SDIST.fullmatch(filename)
    if match is None:
        return {canonicalize_name(filename)}
    return {canonicalize_name(match[1])}


def version_in(filename: str, project: NormalizedName) -> str:
    """
    Return the normalised version in the filename of a distribution of a project, in any format.

    It is empty for a file of another project, and if no version can be made out.
    """
    with suppress(Invalid):
        return str(parse_known_filename(filename, project).version)
    with suppress(Invalid):
        known_filename_readings(filename)
        return ""
    for separator in re.finditer("[-_]", filename):
        name = filename[: separator.start()]
        if canonicalize_name(name) != project:
            continue
        after_name = filename[separator.end() :]
        segment = re.split("[-_]", after_name)[0]
        components = segment.split(".")
        # a release, a platform or a suffix may follow the version: take less of it each time
        for count in range(len(components), 0, -1):
            text = ".".join(components[:count])
            with suppress(Invalid):
                return str(parse_version(text))
    return ""


def matches(project: str, patterns: tuple[str, ...]) -> bool:
    """
    Return whether a normalised project name matches one of the patterns, or there are none.

    The patterns need not be normalised.
    """
    if not patterns:
        return True
    # canonicalize_name does not change `*`, `?` and `[...]`; a range such as [a-z] keeps its "-"
    return any(fnmatchcase(project, canonicalize_name(pattern)) for pattern in patterns)


class BadDigest(ValueError):
    """A digest in a source's metadata is malformed."""


class FileRecord(Struct):
    """What dumb-pypi and backupni say of a file."""

    filename: str
    hash: str | None = None
    upload_timestamp: float | str | None = None
    uploaded_by: str | None = None
    yanked_reason: str | None = None

    def described(self, file: Candidate) -> Candidate:
        """
        Return a file with what this record says of it.

        Raises ValueError if the record is about another file, or its digest is malformed. Another
        value that is malformed is left out.
        """
        if self.filename != file.filename:
            raise ValueError("it describes another file")
        return replace(
            file,
            # what the record says counts more than what the listing of the files says
            hashes={**file.hashes, **parse_hash(self.hash or "")},
            uploaded_at=parse_epoch_seconds(self.upload_timestamp) or file.uploaded_at,
            uploaded_by=clean_uploader(self.uploaded_by),
            yanked=self.yanked_reason or None,
        )


def parse_epoch_seconds(value: Any) -> datetime | None:  # noqa: ANN401 - float() decides
    """Return the UTC time of seconds since the epoch, or None if it is invalid or before 1990."""
    try:
        return _plausible(datetime.fromtimestamp(float(value), UTC))
    except _DATE_ERRORS:
        return None


def file_time(seconds: float) -> datetime | None:
    """Return the UTC time of a file's modification time, or None if it is out of range."""
    with suppress(ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(seconds, UTC)
    return None


def parse_iso_date(value: object) -> datetime | None:
    """
    Return the UTC time of an ISO 8601 text, or None if it is invalid or before 1990.

    A text without a zone is in UTC.
    """
    if not isinstance(value, str):
        return None
    try:
        return _plausible(datetime.fromisoformat(value))
    except _DATE_ERRORS:
        return None


def parse_http_date(value: object) -> datetime | None:
    """Return the UTC time of an HTTP date, or None if it is invalid or before 1990."""
    if not isinstance(value, str):
        return None
    try:
        return _plausible(parsedate_to_datetime(value))
    except _DATE_ERRORS:
        return None


def parse_date_parts(parts: list[int] | None) -> datetime | None:
    """
    Return the UTC time of six numbers, year to second.

    Return None if they are no date and time, or it is before 1990.
    """
    if parts is None or len(parts) != 6:  # noqa: PLR2004 - year to second
        return None
    return parse_iso_date("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}".format(*parts))


def clean_uploader(value: object) -> str:
    """
    Return the name of an uploader as one printable line of up to `UPLOADER_LIMIT` characters.

    It is empty for a value that is no text.
    """
    if not isinstance(value, str):
        return ""
    line = "".join(character if character.isprintable() else " " for character in value)
    return line.strip()[:UPLOADER_LIMIT]


def sound_digests(declared: object) -> tuple[dict[str, str], str]:
    """
    Return the digests of known algorithms, by algorithm, and the algorithm of a malformed digest.

    If several are malformed, the algorithm is that of the last, and if no digest is malformed, it
    is empty. Unknown algorithms and null values are left out. A value that is no mapping has no
    digests. A digest of BLAKE2 may be shorter than the longest.
    """
    digests: dict[str, str] = {}
    malformed = ""
    if not isinstance(declared, dict):
        return digests, malformed
    for name, value in declared.items():
        algorithm = name.lower()
        length = DIGEST_LENGTHS.get(algorithm)
        if length is None or value is None:
            continue
        digest = value.lower() if isinstance(value, str) else ""
        has_length = len(digest) == length
        if algorithm.startswith("blake2"):
            has_length = len(digest) <= length
        if has_length and _HEX.fullmatch(digest):
            digests[algorithm] = digest
        else:
            malformed = algorithm
    return digests, malformed


def parse_digests(declared: object) -> dict[str, str]:
    """
    Return digests that can be compared, by algorithm.

    Unknown algorithms, null values, and shorter digests of BLAKE2 are left out. A value that is no
    mapping has no digests. Raises BadDigest if a digest is malformed.
    """
    digests, malformed = sound_digests(declared)
    if malformed:
        raise BadDigest(f"what it says is the {malformed} of the file is none")
    # hashlib has no name for a shorter digest
    return {name: text for name, text in digests.items() if len(text) == DIGEST_LENGTHS[name]}


def parse_hash(text: str) -> dict[str, str]:
    """
    Return the digests in `sha256=...` or a URL's fragment, by algorithm.

    Raises BadDigest if one is malformed.
    """
    return parse_digests(stated_hashes(text))


def stated_hashes(text: str) -> dict[str, str]:
    """
    Return what `sha256=...` or a URL's fragment says, by algorithm, without a check.

    The first of two digests by one algorithm counts.
    """
    if "&" not in text:  # most texts
        algorithm, sign, digest = text.partition("=")
        return {algorithm: digest} if sign else {}
    hashes: dict[str, str] = {}
    for statement in text.split("&"):
        algorithm, _, digest = statement.partition("=")
        hashes.setdefault(algorithm, digest)
    return hashes


def _plausible(time: datetime) -> datetime | None:
    """Return a time in UTC, or None if it is before `OLDEST_PLAUSIBLE_DATE`."""
    if time.tzinfo is not UTC:
        time = time.replace(tzinfo=time.tzinfo or UTC).astimezone(UTC)
    return time if time >= OLDEST_PLAUSIBLE_DATE else None
