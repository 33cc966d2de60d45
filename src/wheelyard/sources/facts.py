"""Dates and names as other systems have written them; what makes no sense is not known."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

OLDEST: Final = datetime(1990, 1, 1, tzinfo=UTC)
"""Before that nobody has uploaded anything: a date of nought is none."""
DATE_PARTS: Final = 6
AUTHOR_LIMIT: Final = 200
"""Characters of a name."""


def at_seconds(value: object) -> datetime | None:
    """Return the time that is so many seconds after the epoch."""
    try:
        return _sensible(datetime.fromtimestamp(float(value), UTC))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def at_stat(seconds: float) -> datetime | None:
    """Return the time that a file system has; None if there is no such year."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def at_iso(value: object) -> datetime | None:
    """Return the time that is written as ISO 8601 has it; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(str(value))
        return _sensible(found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC))
    except (ValueError, OverflowError):
        return None


def at_http(value: object) -> datetime | None:
    """Return the time that is written as an HTTP header has it."""
    try:
        found = parsedate_to_datetime(str(value))
        return _sensible(found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC))
    except (ValueError, TypeError, OverflowError):
        return None


def at_parts(parts: list[int] | None) -> datetime | None:
    """Return the time that is `[year, month, day, hour, minute, second]`, UTC."""
    if parts is None or len(parts) != DATE_PARTS:
        return None
    year, month, day, hour, minute, second = parts
    try:
        return _sensible(datetime(year, month, day, hour, minute, second, tzinfo=UTC))
    except (ValueError, OverflowError):
        return None


def author(value: object) -> str:
    """Return who uploaded a file, as one line."""
    if not isinstance(value, str):
        return ""
    return "".join(each if each.isprintable() else " " for each in value).strip()[:AUTHOR_LIMIT]


def _sensible(found: datetime) -> datetime | None:
    return found if found >= OLDEST else None
