"""Lengths of time, points in time and sizes as people type them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from wheelyard.errors import Invalid, quoted
from wheelyard.model.decoding import counted

TIME_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
"""The units of a length of time, as arguments of `timedelta`."""
SIZE_UNITS: Final = {
    "B": 1,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
}
_DURATION: Final = re.compile(r"([0-9]{1,5})([mhdw])", re.ASCII)
_SIZE: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?([kKMGT]i?B|B)", re.ASCII)


def parse_duration(text: str) -> timedelta:
    """
    Return the length of time in a text such as `30m`, `12h`, `90d` or `8w`.

    Raises Invalid (code `invalid_field`) for any other text.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        message = f"{quoted(text)} is no length of time. Write 30m, 12h, 90d or 8w."
        raise Invalid(message, code="invalid_field")
    return timedelta(**{TIME_UNITS[match[2]]: int(match[1])})


def parse_since(text: str, now: datetime) -> datetime:
    """
    Return the time that a text says, or for a length of time such as `7d` the time so long ago.

    A time without an offset is UTC. Raises Invalid (code `invalid_field`) for any other text.
    """
    if _DURATION.fullmatch(text):
        return now - parse_duration(text)
    try:
        since = datetime.fromisoformat(text)
        if since.tzinfo is None:
            since = since.replace(tzinfo=UTC)
        # OverflowError: a time of the year 1 or 9999 may be in no year of UTC
        return since.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid(
            f"{quoted(text)} is no time. Write a date (2026-01-31), a time "
            "(2026-01-31T12:00:00Z), or how long ago it was (30m, 12h, 7d, 8w).",
            code="invalid_field",
        ) from None


def parse_size(text: str) -> int:
    """
    Return the bytes in a text such as `500MiB` or `200GiB`.

    Raises Invalid (code `invalid_field`) for any other text.
    """
    match = _SIZE.fullmatch(text)
    if match is None or match[2] not in SIZE_UNITS:
        message = f"{quoted(text)} is no size. Write 500MiB, 200GiB or 1.5TiB."
        raise Invalid(message, code="invalid_field")
    return int(float(match[1]) * SIZE_UNITS[match[2]])


def describe_size(size: int) -> str:
    """Return an amount of bytes for people: `3.4 GiB`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size >= SIZE_UNITS[unit]:
            return f"{size / SIZE_UNITS[unit]:.1f} {unit}"
    return f"{size} B"


def describe_age(seconds: float) -> str:
    """Return a length of time for people, in its largest unit: `23 hours`."""
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            return counted(int(seconds // length), unit)
    return counted(int(seconds), "second")
