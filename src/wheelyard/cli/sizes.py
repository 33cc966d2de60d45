"""Amounts of bytes that are typed as options, and printed."""

import re
from typing import Final

from wheelyard.errors import Invalid, quoted

UNITS: Final = {
    **{unit: 1024**power for power, unit in enumerate(("B", "KiB", "MiB", "GiB", "TiB"))},
    **{unit: 1000**power for power, unit in enumerate(("kB", "MB", "GB", "TB"), 1)},
}
_SIZE: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?([kKMGT]i?B|B)", re.ASCII)


def parse_size(text: str) -> int:
    """Return the bytes in a text such as `500MiB` or `200GiB`; or raise Invalid."""
    match = _SIZE.fullmatch(text)
    if match is None or match[2] not in UNITS:
        message = f"{quoted(text)} is no size. Write 500MiB, 200GiB or 1.5TiB."
        raise Invalid(message, code="invalid_field")
    return int(float(match[1]) * UNITS[match[2]])


def describe_size(size: int) -> str:
    """Return an amount of bytes for people: `3.4 GiB`."""
    unit = next((each for each in ("TiB", "GiB", "MiB", "KiB") if size >= UNITS[each]), "B")
    return f"{size} B" if unit == "B" else f"{size / UNITS[unit]:.1f} {unit}"
