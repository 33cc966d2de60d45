"""Lengths of time, points in time and sizes as people type them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from wheelyard.errors import Invalid, quoted

TIME_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
SIZE_UNITS: Final = {
    **{unit: 1024**power for power, unit in enumerate(("B", "KiB", "MiB", "GiB", "TiB"))},
    **{unit: 1000**power for power, unit in enumerate(("kB", "MB", "GB", "TB"), 1)},
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
    Return the time in a text, or the time that is so long ago as the text says.

    A time without an offset is UTC. Raises Invalid (code `invalid_field`) for any other text.
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
    unit = next((unit for unit in ("TiB", "GiB", "MiB", "KiB") if size >= SIZE_UNITS[unit]), "B")
    return f"{size} B" if unit == "B" else f"{size / SIZE_UNITS[unit]:.1f} {unit}"
