"""Dates, names and digests of files as other systems write them."""

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qsl

from wheelyard.sources.candidate import EMPTY_MAPPING

OLDEST_PLAUSIBLE_DATE: Final = datetime(1990, 1, 1, tzinfo=UTC)
"""Before that nobody has uploaded anything: a date of nought is none."""
DATE_PARTS: Final = 6
UPLOADER_LIMIT: Final = 200
"""Characters of a name."""
DIGEST_LENGTHS: Final[Mapping[str, int]] = MappingProxyType(
    {
        name: 2 * hashlib.new(name, usedforsecurity=False).digest_size
        for name in ("sha256", "sha384", "sha512", "blake2b", "sha1", "md5")
    }
)
"""The digests that are compared, and how many digits each has."""

_HEX: Final = re.compile(r"[0-9a-f]+")


class InvalidDigest(ValueError):
    """Something is said of a file's bytes, and it is not possible."""


def parse_epoch_seconds(value: Any) -> datetime | None:  # noqa: ANN401 - float() decides
    """Return the time that is so many seconds after the epoch, None if that makes no sense."""
    return _sensible(lambda: datetime.fromtimestamp(float(value), UTC))


def file_time(seconds: float) -> datetime | None:
    """Return the time that a file system has, however old; None if there is no such year."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def parse_iso_date(value: object) -> datetime | None:
    """Return the time that is written as ISO 8601 has it; without a zone it is UTC."""
    return _sensible(lambda: datetime.fromisoformat(str(value)))


def parse_http_date(value: object) -> datetime | None:
    """Return the time that is written as an HTTP header has it."""
    return _sensible(lambda: parsedate_to_datetime(str(value)))


def parse_date_parts(parts: list[int] | None) -> datetime | None:
    """Return the time that is `[year, month, day, hour, minute, second]`, UTC."""
    if parts is None or len(parts) != DATE_PARTS:
        return None
    return parse_iso_date("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}".format(*parts))


def clean_uploader(value: object) -> str:
    """Return who uploaded a file, as one line."""
    if not isinstance(value, str):
        return ""
    return "".join(each if each.isprintable() else " " for each in value).strip()[:UPLOADER_LIMIT]


def parse_digests(claimed: Mapping[str, object]) -> Mapping[str, str]:
    """Return the digests that can be compared; raise DamagedDigest if one is none."""
    found = dict[str, str]()
    for name, value in claimed.items():
        algorithm = name.lower()
        if algorithm not in DIGEST_LENGTHS:
            continue
        digest = value.lower() if isinstance(value, str) else ""
        if algorithm == "blake2b" and len(digest) < DIGEST_LENGTHS[algorithm]:
            continue  # a shorter one of the same family: hashlib has no name for it
        if len(digest) != DIGEST_LENGTHS[algorithm] or not _HEX.fullmatch(digest):
            raise InvalidDigest(f"what it says is the {algorithm} of the file is none")
        found[algorithm] = digest
    return found or EMPTY_MAPPING


def parse_hash_spec(text: str) -> Mapping[str, str]:
    """Return what `sha256=...` or a URL's fragment says; raise DamagedDigest if impossible."""
    return parse_digests(dict(parse_qsl(text.removeprefix("#"), keep_blank_values=True)))


def _sensible(make: Callable[[], datetime]) -> datetime | None:
    try:
        found = make()
        found = found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return found if found >= OLDEST_PLAUSIBLE_DATE else None
