"""Wheels at their limits, and beyond them; ids as in the attack list."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from tests.archive.builders import (
    DEFLATED,
    METADATA,
    WHEEL,
    WHEEL_NAME,
    Entry,
    inspect_bytes,
    wheel_bytes,
    wheel_entries,
    zip_bytes,
)
from tests.archive.wheels import GOOD, A, record_lines
from wheelyard.archive.limits import ArchiveLimits, Deadline
from wheelyard.archive.reader import inspect
from wheelyard.errors import Invalid
from wheelyard.model.distribution import parse_filename


def padded(size: int) -> bytes:
    """Return METADATA of exactly `size` bytes."""
    return METADATA + b"\n" + b"A" * (size - len(METADATA) - 1)


SMALL_FILES = sum(len(entry.data) for entry in wheel_entries(Entry(A.name, bytes(8000)))) - 8000
"""Bytes in a wheel besides those of `A` with four digits of bytes."""

LIMITS: list[tuple[str, ArchiveLimits, Callable[[int], bytes], int, str]] = [
    (
        "W55-metadata",
        ArchiveLimits(metadata=200),
        lambda n: wheel_bytes(metadata=padded(n)),
        200,
        "",
    ),
    (
        "W55-wheel-file",
        ArchiveLimits(wheel_file=100),
        lambda n: wheel_bytes(wheel=WHEEL + b"A:" + b"b" * (n - len(WHEEL) - 2)),
        100,
        "",
    ),
    (
        "W53-record",
        ArchiveLimits(record=500),
        lambda n: wheel_bytes(A, record=record_lines(b"\n" * (n - len(record_lines())))),
        500,
        "",
    ),
    (
        "W53-record-lines",
        ArchiveLimits(record_lines=21),
        lambda n: wheel_bytes(A, record=record_lines(b"\n" * (n - 4))),
        20,
        "record_mismatch",
    ),
    (
        "W59-entries",
        ArchiveLimits(entries=20),
        lambda n: wheel_bytes(*(Entry(b"demo/%d" % i) for i in range(n - 4))),
        20,
        "",
    ),
    (
        "W60-name",
        ArchiveLimits(member_name=60),
        lambda n: wheel_bytes(Entry(b"a" * n)),
        60,
        "unsafe_archive",
    ),
    (
        "W60-depth",
        ArchiveLimits(depth=9),
        lambda n: wheel_bytes(Entry(b"/".join([b"a"] * n))),
        9,
        "unsafe_archive",
    ),
    (
        "W57-free",
        ArchiveLimits(free_inflated=9000, inflated_ratio=1),
        lambda n: wheel_bytes(Entry(A.name, bytes(n - SMALL_FILES), DEFLATED)),
        9000,
        "",
    ),
]


@pytest.mark.parametrize(
    ("limits", "build", "limit", "code"),
    [
        pytest.param(limits, build, limit, code or "archive_bomb", id=name)
        for name, limits, build, limit, code in LIMITS
    ],
)
def test_limits(
    tmp_path: Path, limits: ArchiveLimits, build: Callable[[int], bytes], limit: int, code: str
) -> None:
    """A wheel just at a limit is accepted, one byte or file more is refused."""
    inspect_bytes(tmp_path, WHEEL_NAME, build(limit - 1), limits)
    inspect_bytes(tmp_path, WHEEL_NAME, build(limit), limits)
    with pytest.raises(Invalid) as caught:
        inspect_bytes(tmp_path, WHEEL_NAME, build(limit + 1), limits)
    assert caught.value.code == code


def test_refuses_a_directory_over_the_limit_unread(tmp_path: Path) -> None:
    """W59: a million entries are refused by what the end of the file says, in no time."""
    million = zip_bytes([], before=bytes(46_000_000), end={"size": 46_000_000, "offset": 0})
    counted = zip_bytes([], end={"entries": 101, "entries_here": 101})
    for data, limits in ((million, ArchiveLimits()), (counted, ArchiveLimits(entries=100))):
        with pytest.raises(Invalid) as caught:
            inspect_bytes(tmp_path, WHEEL_NAME, data, limits)
        assert caught.value.code == "archive_bomb"


def test_gives_up_at_the_deadline(tmp_path: Path) -> None:
    """An archive that takes too long is given up."""
    ticks = count()
    deadline = Deadline(lambda: float(next(ticks)), 2)
    path = tmp_path / "spooled"
    path.write_bytes(GOOD)
    wheel = parse_filename(WHEEL_NAME)
    with pytest.raises(Invalid) as caught:
        inspect(path, wheel, limits=ArchiveLimits(), deadline=deadline)
    assert caught.value.code == "archive_bomb"
