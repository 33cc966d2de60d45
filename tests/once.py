"""
Makes expensive things once: for all workers of a run, and for the runs that follow.

Each thing is a folder under `.cache/once`. Its name ends with the digest of what it is made from:
once that changes, the thing is made anew.
"""

import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from tests.plugins.limit import LIMIT

CACHE = Path(__file__).resolve().parents[1] / ".cache" / "once"


def made_once(name: str, made_from: list[Path | str], make: Callable[[Path], object]) -> Path:
    """
    Return a folder that `make` has filled, in this process or an earlier one.

    The limit of time of a test does not count it.

    Args:
        name: Of the thing.
        made_from: What decides the outcome: files and folders by their contents, and texts.
        make: Fills the empty folder that it is given. If it raises, the next caller tries again.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = CACHE / f"{name}-{_digest(made_from)}"
    with LIMIT.of_making(), (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            for old in (folder, *CACHE.glob(f"{name}-{'?' * 16}")):
                _remove_unused(old)
            folder.mkdir()
            make(folder)
            (folder / "ready").touch()
        # held until this process ends: no other run removes what is in use here
        fcntl.flock(os.open(folder / "ready", os.O_RDONLY), fcntl.LOCK_SH)
    return folder


def _digest(made_from: list[Path | str]) -> str:
    # environments for Python hold such paths
    here = f"{CACHE}\n{sys.base_prefix}\n{sys.version}"
    parts = (part for each in (here, *made_from) for part in _parts(each))
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[
        :16
    ]


def _parts(source: Path | str) -> Iterator[bytes]:
    if isinstance(source, str):
        yield source.encode()
        return
    for path in [source] if source.is_file() else sorted(source.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            yield f"{path.relative_to(source)} {path.stat().st_mode & 0o111}".encode()
            yield path.read_bytes()


def _remove_unused(folder: Path) -> None:
    """Remove a folder that no other process holds; one without `ready` is half made."""
    with suppress(FileNotFoundError, BlockingIOError):
        if (folder / "ready").exists():
            with (folder / "ready").open() as ready:
                fcntl.flock(ready, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (folder / "ready").unlink()  # first: half of a folder is none
        shutil.rmtree(folder)
