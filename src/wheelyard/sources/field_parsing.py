"""Parsers for dates, uploaders and digests in the metadata of other systems."""

import hashlib
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, Final

from msgspec import Struct

from wheelyard.sources.candidate import Candidate

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

_HEX: Final = re.compile(r"(?:[0-9a-f]{2})+", re.ASCII)


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
        """Return a file with this data; raise ValueError if it is of another, or malformed."""
        if self.filename != file.filename:
            raise ValueError("it describes another file")
        return replace(
            file,
            hashes={**file.hashes, **parse_hash(self.hash or "")},
            uploaded_at=parse_epoch_seconds(self.upload_timestamp) or file.uploaded_at,
            uploaded_by=clean_uploader(self.uploaded_by),
            yanked=self.yanked_reason or None,
        )


def parse_epoch_seconds(value: Any) -> datetime | None:  # noqa: ANN401 - float() decides
    """Return the UTC time of seconds since the epoch; None if invalid or before 1990."""
    return _plausible(lambda text: datetime.fromtimestamp(float(text), UTC), value)


def file_time(seconds: float) -> datetime | None:
    """Return the UTC time of a file's modification time in seconds; None if it is out of range."""
    with suppress(ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(seconds, UTC)
    return None


def parse_iso_date(value: object) -> datetime | None:
    """Return the UTC time of an ISO 8601 text (no zone: UTC); None if invalid or before 1990."""
    return _plausible(datetime.fromisoformat, value)


def parse_http_date(value: object) -> datetime | None:
    """Return the UTC time of an HTTP date; None if it is invalid or before 1990."""
    return _plausible(parsedate_to_datetime, value)


def parse_date_parts(parts: list[int] | None) -> datetime | None:
    """Return the UTC time of six numbers, year to second; None if invalid or before 1990."""
    if parts is None or len(parts) != 6:  # noqa: PLR2004 - year to second
        return None
    return parse_iso_date("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}".format(*parts))


def clean_uploader(value: object) -> str:
    """Return a name as one printable line of up to UPLOADER_LIMIT characters; empty if no text."""
    if not isinstance(value, str):
        return ""
    return "".join(each if each.isprintable() else " " for each in value).strip()[:UPLOADER_LIMIT]


def sound_digests(declared: object) -> tuple[dict[str, str], str]:
    """
    Return the digests of known algorithms, by algorithm, and the algorithm of one that is none.

    The latter is empty if there is no such one. A digest of BLAKE2 may be shorter than the longest.
    """
    digests: dict[str, str] = {}
    malformed = ""
    for name, value in declared.items() if isinstance(declared, dict) else ():
        algorithm = name.lower()
        length = DIGEST_LENGTHS.get(algorithm)
        if length is None or value is None:
            continue
        digest = value.lower() if isinstance(value, str) else ""
        is_long = len(digest) == length or (algorithm.startswith("blake2") and len(digest) < length)
        if is_long and _HEX.fullmatch(digest):
            digests[algorithm] = digest
        else:
            malformed = algorithm
    return digests, malformed


def parse_digests(declared: object) -> dict[str, str]:
    """Return digests that can be compared, by algorithm; raise BadDigest if one is malformed."""
    digests, malformed = sound_digests(declared)
    if malformed:
        raise BadDigest(f"what it says is the {malformed} of the file is none")
    # hashlib has no name for a shorter one
    return {name: text for name, text in digests.items() if len(text) == DIGEST_LENGTHS[name]}


def parse_hash(text: str) -> dict[str, str]:
    """Return the digests in `sha256=...` or a URL's fragment; raise BadDigest if malformed."""
    return parse_digests(stated_hashes(text))


def stated_hashes(text: str) -> dict[str, str]:
    """Return what `sha256=...` or a URL's fragment says, by algorithm; the first of two."""
    if "&" not in text:  # most texts
        algorithm, sign, digest = text.partition("=")
        return {algorithm: digest} if sign else {}
    hashes: dict[str, str] = {}
    for part in text.split("&"):
        algorithm, _, digest = part.partition("=")
        hashes.setdefault(algorithm, digest)
    return hashes


def _plausible(parse: Callable[[Any], datetime], value: object) -> datetime | None:
    with suppress(TypeError, ValueError, OverflowError, OSError):
        found = parse(value)
        if found.tzinfo is not UTC:
            found = found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)
        return found if found >= OLDEST_PLAUSIBLE_DATE else None
    return None
