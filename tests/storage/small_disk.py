"""A small file system, for tests of a full disk."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """Mount a tmpfs with these mount options; skip the test if this process may not."""
    root = folder / "disk"
    root.mkdir()
    if os.getuid() or not sys.platform.startswith("linux"):
        pytest.skip("needs root on Linux, to mount a small disk")
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(root)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting is forbidden here")
    try:
        yield root
    finally:
        subprocess.run(["umount", "--lazy", root], check=True)


def fill(disk: Path) -> None:
    """Use what room there is, with the file `filler`."""
    with suppress(OSError), (disk / "filler").open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))
