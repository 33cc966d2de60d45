"""Sdists at their limits, and beyond them; ids as in the attack list."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.archive.builders import (
    PKG_INFO,
    SDIST_NAME,
    inspect_bytes,
    sdist_bytes,
    sdist_tar,
    tar_block,
    tar_file,
)
from wheelyard.archive.limits import ArchiveLimits
from wheelyard.errors import Invalid

LIMITS: list[tuple[str, ArchiveLimits, Callable[[int], bytes], int, str]] = [
    (
        "S11-entries",
        ArchiveLimits(entries=9),
        lambda n: sdist_bytes(*(tar_file(b"demo-1.0/%d" % i) for i in range(n - 2))),
        9,
        "archive_bomb",
    ),
    (
        "S12-extension",
        ArchiveLimits(tar_extension=50),
        lambda n: sdist_bytes(tar_file(b"L", b"demo-1.0/".ljust(n, b"x"), b"L"), tar_block(b"x")),
        50,
        "archive_bomb",
    ),
    (
        "S12-extensions",
        ArchiveLimits(tar_extensions=9 * 522),
        lambda n: sdist_bytes(*[tar_file(b"L", b"demo-1.0/x", b"L") + tar_block(b"x")] * n),
        9,
        "archive_bomb",
    ),
    (
        "S32-metadata",
        ArchiveLimits(metadata=200),
        lambda n: sdist_bytes(pkg_info=(PKG_INFO + b"\n").ljust(n, b"a")),
        200,
        "archive_bomb",
    ),
    (
        "S10-inflated",
        ArchiveLimits(free_inflated=10, inflated_ratio=1, tar_inflated=512 * 9),
        lambda n: gzip.compress(bytes(sdist_tar() + bytes(512 * (n - 3))), 0),
        9,
        "archive_bomb",
    ),
]


@pytest.mark.parametrize(
    ("limits", "build", "limit", "code"), [pytest.param(*row[1:], id=row[0]) for row in LIMITS]
)
def test_limits(
    tmp_path: Path, limits: ArchiveLimits, build: Callable[[int], bytes], limit: int, code: str
) -> None:
    """An sdist just at a limit is accepted, one byte or file more is refused."""
    inspect_bytes(tmp_path, SDIST_NAME, build(limit - 1), limits)
    inspect_bytes(tmp_path, SDIST_NAME, build(limit), limits)
    with pytest.raises(Invalid) as caught:
        inspect_bytes(tmp_path, SDIST_NAME, build(limit + 1), limits)
    assert caught.value.code == code
