"""Lengths of time and points in time that are typed as options."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from wheelyard.errors import Invalid, quoted

UNITS: Final = {
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_DURATION: Final = re.compile(r"([0-9]{1,5})([mhdw])", re.ASCII)


def parse_duration(text: str) -> timedelta:
    """Return the length of time in a text such as `30m`, `12h`, `90d` or `8w`; or raise Invalid."""
    match = _DURATION.fullmatch(text)
    if match is None:
        message = f"{quoted(text)} is no length of time. Write 30m, 12h, 90d or 8w."
        raise Invalid(message, code="invalid_field")
    return int(match[1]) * UNITS[match[2]]


def parse_since(text: str, now: datetime) -> datetime:
    """
    Return a time: that of a date or time in the text (UTC, if it says no offset), or so long ago.

    Raise Invalid if it is neither of them.
    """
    if _DURATION.fullmatch(text):
        return now - parse_duration(text)
    try:
        since = datetime.fromisoformat(text)
        return (since if since.tzinfo else since.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid(
            f"{quoted(text)} is no time. Write a date (2026-01-31), a time "
            "(2026-01-31T12:00:00Z), or how long ago it was (30m, 12h, 7d, 8w).",
            code="invalid_field",
        ) from None
