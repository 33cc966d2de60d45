"""
Where a source's files lie: a folder here; a bucket is in `buckets.py`.

A place knows names, sizes and dates, and nothing of packages. It is only ever read.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

from wheelyard.sources.candidate import NO_HASHES, Candidate
from wheelyard.sources.facts import at_stat
from wheelyard.sources.faults import bad_source, unreadable

NO_ATTRIBUTES: Final[Mapping[str, str]] = MappingProxyType({})
PIECE: Final = 256 * 1024
"""Bytes that are read at a time."""
BESIDE_LIMIT: Final = 1024**2
"""Bytes of a small file that lies beside another one and describes it."""

Reading = Callable[[], AbstractContextManager[Iterator[bytes]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """
    One file, as a listing shows it.

    Args:
        path: Below the place, with slashes.
        size: Bytes; None where what is read has another size than what is kept.
        created_at: When it was put there, UTC; in a folder, when it was last written.
        changed_at: When its bytes, or the file under its name, last changed: seconds.
        attributes: What was said of it when it was put there; a folder has none.
        hashes: What its bytes have, where the place knows.
        version: What a read is pinned to; empty if it cannot be.
    """

    path: str
    size: int | None
    created_at: datetime
    changed_at: float
    attributes: Mapping[str, str] = field(default_factory=lambda: NO_ATTRIBUTES)
    hashes: Mapping[str, str] = field(default_factory=lambda: NO_HASHES)
    version: str = ""

    @property
    def filename(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]

    @property
    def parts(self) -> list[str]:
        """Every part of its path."""
        return self.path.split("/")


class Place(Protocol):
    """Somewhere files lie."""

    def items(self) -> Iterator[Item]:
        """
        Yield every file that is not hidden, in an order that stays the same.

        Raises:
            Invalid: There is no such place (code `bad_source`).
            Unavailable: It does not answer.
        """
        ...

    def read(self, item: Item) -> AbstractContextManager[Iterator[bytes]]:
        """
        Open a file.

        Raises:
            OSError: It is gone, or cannot be read.
            Unavailable: The place does not answer.
        """
        ...

    def find(self, path: str) -> Item | None:
        """
        Return one file by its path, None if there is none.

        Raises:
            Unavailable: The place does not answer.
        """
        ...

    def __str__(self) -> str:
        """Return what a person calls it."""
        ...


def is_hidden(path: str) -> bool:
    """Return whether any part of a path begins with a dot."""
    return path.startswith(".") or "/." in path


def where(place: Place, path: str) -> str:
    """Return what a report calls a file."""
    return f"{place}/{path}"


def candidate_at(place: Place, item: Item) -> Candidate:
    """Return what the place itself knows of a file."""
    return Candidate(
        filename=item.filename,
        place=where(place, item.path),
        read=partial(place.read, item),
        size=item.size,
        hashes=item.hashes,
        uploaded_at=item.created_at,
        changed_at=item.changed_at,
    )


def read_small(place: Place, item: Item, limit: int = BESIDE_LIMIT) -> bytearray:
    """
    Return all bytes of a file that describes others.

    Raises:
        OSError: It cannot be read, or is larger than `limit`.
        Unavailable: The place does not answer.
    """
    found = bytearray()
    with place.read(item) as pieces:
        for piece in pieces:
            found += piece
            if len(found) > limit:
                raise unreadable(f"it is larger than {limit} bytes")
    return found


@dataclass(frozen=True, slots=True)
class FolderPlace:
    """
    A folder of this machine; links to files are followed, links to folders are not.

    Args:
        root: Where it is.
        leave_out: Folders in it that are passed by: the store itself.
    """

    root: Path
    leave_out: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return str(self.root)

    def items(self) -> Iterator[Item]:
        """Yield every file that is not hidden."""
        if not self.root.is_dir():
            raise bad_source(f"There is no folder {str(self.root)!a}. Check the name.")
        others = {os.path.realpath(each) for each in self.leave_out}
        for folder, folders, files in os.walk(self.root):
            folders[:] = sorted(
                each
                for each in folders
                if not each.startswith(".") and os.path.realpath(Path(folder, each)) not in others
            )
            for name in sorted(files):
                if not name.startswith("."):
                    found = self._item(Path(folder, name))
                    if found is not None:
                        yield found

    def read(self, item: Item) -> AbstractContextManager[Iterator[bytes]]:
        """Open a file."""
        return reading_file(self.root / item.path)

    def find(self, path: str) -> Item | None:
        """Return one file by its path."""
        return self._item(self.root / path) if is_below(path) else None

    def _item(self, path: Path) -> Item | None:
        try:
            found = path.stat()
        except OSError:  # a link that leads nowhere, or gone meanwhile
            return None
        if not path.is_file():  # a pipe would be waited for
            return None
        return Item(
            path=path.relative_to(self.root).as_posix(),
            size=found.st_size,
            created_at=at_stat(found.st_mtime) or datetime.fromtimestamp(0, UTC),
            changed_at=max(found.st_mtime, found.st_ctime),
        )


def is_below(path: str) -> bool:
    """Return whether a path that somebody else wrote leads to somewhere below its root."""
    parts = path.split("/")
    return "\\" not in path and "\0" not in path and not {"", ".", ".."} & set(parts)


@contextmanager
def reading_file(path: Path) -> Iterator[Iterator[bytes]]:
    """Open a file of this machine."""
    with path.open("rb") as file:
        yield iter(partial(file.read, PIECE), b"")
