"""Dates, names and digests of files as other systems write them."""

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qsl

from wheelyard.sources.candidate import NO_HASHES

OLDEST: Final = datetime(1990, 1, 1, tzinfo=UTC)
"""Before that nobody has uploaded anything: a date of nought is none."""
DATE_PARTS: Final = 6
AUTHOR_LIMIT: Final = 200
"""Characters of a name."""
ALGORITHMS: Final[Mapping[str, int]] = MappingProxyType(
    {
        name: 2 * hashlib.new(name, usedforsecurity=False).digest_size
        for name in ("sha256", "sha384", "sha512", "blake2b", "sha1", "md5")
    }
)
"""The digests that are compared, and how many digits each has."""

_HEX: Final = re.compile(r"[0-9a-f]+")


class DamagedDigest(ValueError):
    """Something is said of a file's bytes, and it is not possible."""


def at_seconds(value: Any) -> datetime | None:  # noqa: ANN401 - float() decides
    """Return the time that is so many seconds after the epoch, None if that makes no sense."""
    return _sensible(lambda: datetime.fromtimestamp(float(value), UTC))


def at_stat(seconds: float) -> datetime | None:
    """Return the time that a file system has, however old; None if there is no such year."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def at_iso(value: object) -> datetime | None:
    """Return the time that is written as ISO 8601 has it; without a zone it is UTC."""
    return _sensible(lambda: datetime.fromisoformat(str(value)))


def at_http(value: object) -> datetime | None:
    """Return the time that is written as an HTTP header has it."""
    return _sensible(lambda: parsedate_to_datetime(str(value)))


def at_parts(parts: list[int] | None) -> datetime | None:
    """Return the time that is `[year, month, day, hour, minute, second]`, UTC."""
    if parts is None or len(parts) != DATE_PARTS:
        return None
    return at_iso("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}".format(*parts))


def author(value: object) -> str:
    """Return who uploaded a file, as one line."""
    if not isinstance(value, str):
        return ""
    return "".join(each if each.isprintable() else " " for each in value).strip()[:AUTHOR_LIMIT]


def checked(claimed: Mapping[str, object]) -> Mapping[str, str]:
    """Return the digests that can be compared; raise DamagedDigest if one is none."""
    found = dict[str, str]()
    for name, value in claimed.items():
        algorithm = name.lower()
        if algorithm not in ALGORITHMS:
            continue
        digest = value.lower() if isinstance(value, str) else ""
        if algorithm == "blake2b" and len(digest) < ALGORITHMS[algorithm]:
            continue  # a shorter one of the same family: hashlib has no name for it
        if len(digest) != ALGORITHMS[algorithm] or not _HEX.fullmatch(digest):
            raise DamagedDigest(f"what it says is the {algorithm} of the file is none")
        found[algorithm] = digest
    return found or NO_HASHES


def parse_hash(text: str) -> Mapping[str, str]:
    """Return what `sha256=...` or a URL's fragment says; raise DamagedDigest if impossible."""
    return checked(dict(parse_qsl(text.removeprefix("#"), keep_blank_values=True)))


def _sensible(make: Callable[[], datetime]) -> datetime | None:
    try:
        found = make()
        found = found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return found if found >= OLDEST else None
