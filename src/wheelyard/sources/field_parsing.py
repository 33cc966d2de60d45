"""Parsers for dates, uploaders and digests in the metadata of other systems."""

import hashlib
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, Final

from wheelyard.sources.candidate import EMPTY_MAPPING

OLDEST_PLAUSIBLE_DATE: Final = datetime(1990, 1, 1, tzinfo=UTC)
"""Earlier dates, such as 1970, are placeholders."""
UPLOADER_LIMIT: Final = 200
"""Characters of an uploader's name."""
DIGEST_LENGTHS: Final[Mapping[str, int]] = MappingProxyType(
    {
        name: 2 * hashlib.new(name, usedforsecurity=False).digest_size
        for name in ("sha256", "sha384", "sha512", "blake2b", "sha1", "md5")
    }
)
"""The digests that are compared, and their hexadecimal digits."""

_HEX: Final = re.compile(r"[0-9a-f]+")


class BadDigest(ValueError):
    """A digest in a source's metadata is malformed."""


def parse_epoch_seconds(value: Any) -> datetime | None:  # noqa: ANN401 - float() decides
    """Return the UTC time of seconds since the epoch; None if invalid or before 1990."""
    return _plausible(lambda: datetime.fromtimestamp(float(value), UTC))


def file_time(seconds: float) -> datetime | None:
    """Return the UTC time of a file's modification time in seconds; None if it is out of range."""
    with suppress(ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(seconds, UTC)
    return None


def parse_iso_date(value: object) -> datetime | None:
    """Return the UTC time of an ISO 8601 text (no zone: UTC); None if invalid or before 1990."""
    return _plausible(lambda: datetime.fromisoformat(str(value)))


def parse_http_date(value: object) -> datetime | None:
    """Return the UTC time of an HTTP date; None if it is invalid or before 1990."""
    return _plausible(lambda: parsedate_to_datetime(str(value)))


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


def parse_digests(declared: Mapping[str, object]) -> Mapping[str, str]:
    """Return the digests of known algorithms, by algorithm; raise BadDigest if one is malformed."""
    found = dict[str, str]()
    for name, value in declared.items():
        algorithm = name.lower()
        if algorithm not in DIGEST_LENGTHS:
            continue
        digest = value.lower() if isinstance(value, str) else ""
        if algorithm == "blake2b" and len(digest) < DIGEST_LENGTHS[algorithm]:
            continue  # a shorter BLAKE2b digest, which hashlib has no name for
        if len(digest) != DIGEST_LENGTHS[algorithm] or not _HEX.fullmatch(digest):
            raise BadDigest(f"what it says is the {algorithm} of the file is none")
        found[algorithm] = digest
    return found or EMPTY_MAPPING


def parse_hash(text: str) -> Mapping[str, str]:
    """Return the digests in `sha256=...` or a URL's fragment; raise BadDigest if malformed."""
    return parse_digests(stated_hashes(text))


def stated_hashes(text: str) -> Mapping[str, str]:
    """Return what `sha256=...` or a URL's fragment says, by algorithm; the first of two."""
    hashes: dict[str, str] = {}
    while text:
        part, _, text = text.partition("&")
        algorithm, _, digest = part.partition("=")
        hashes.setdefault(algorithm, digest)
    return hashes


def _plausible(make: Callable[[], datetime]) -> datetime | None:
    with suppress(TypeError, ValueError, OverflowError, OSError):
        found = make()
        found = found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)
        return found if found >= OLDEST_PLAUSIBLE_DATE else None
    return None
