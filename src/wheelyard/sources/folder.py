"""
Distributions in a folder of this machine, and in the folders in it.

It is read as pypiserver reads it: hidden files and folders are passed by, links to files are
followed, links to folders are not. Flat, or `NAME/FILE` as nginx lists it: only the last part of a
path counts. A file's upload time is when it was last written. A look at each file costs one `stat`;
nothing is opened before it is asked for.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from wheelyard.sources.candidate import Candidate, PassedOver
from wheelyard.sources.facts import at_stat
from wheelyard.sources.faults import bad_source
from wheelyard.sources.naming import is_beside, is_offered
from wheelyard.sources.places import reading_file

NO_DISTRIBUTION: Final = "it is not named like a distribution"


@dataclass(frozen=True, slots=True)
class Total:
    """How much a source offers."""

    files: int
    size: int
    """Bytes."""


@runtime_checkable
class Countable(Protocol):
    """A source that can tell how much it offers, without reading anything."""

    def total(self) -> Total:
        """Return how much there is now."""
        ...


@dataclass(frozen=True, slots=True)
class FolderSource:
    """
    Whatever is named like a distribution.

    Args:
        root: The folder.
        leave_out: Folders in it that are passed by: the store itself.
    """

    root: Path
    leave_out: tuple[Path, ...] = ()

    def offers(self) -> Iterator[Candidate | PassedOver]:
        """Yield what there is, folder by folder, each in the order of its names."""
        for entry in walk(self.root, self.leave_out, _refuse):
            if is_offered(entry.name):
                yield offer_of(entry)
            elif not is_beside(entry.name):
                yield PassedOver(entry.path, _why_not(entry))

    def total(self) -> Total:
        """Return how much there is now."""
        sizes = [offer.size or 0 for offer in self.offers() if isinstance(offer, Candidate)]
        return Total(len(sizes), sum(sizes))


def walk(
    root: Path, leave_out: tuple[Path, ...], unreadable: Callable[[str, OSError], None]
) -> Iterator["os.DirEntry[str]"]:
    """
    Yield every file below a folder that is not hidden.

    Args:
        root: The folder.
        leave_out: Folders in it that are passed by.
        unreadable: Told of a folder that cannot be read; the others follow, if it raises nothing.
    """
    others = {os.path.realpath(each) for each in leave_out}
    waiting = [str(root)]
    while waiting:
        folders = list[str]()
        for entry in _listed(waiting.pop(), unreadable):
            if entry.name.startswith("."):
                continue
            if not _is_folder(entry, is_followed=False):
                if not _is_folder(entry, is_followed=True):
                    yield entry
            elif os.path.realpath(entry.path) not in others:
                folders.append(entry.path)
        waiting += reversed(folders)


def _listed(folder: str, unreadable: Callable[[str, OSError], None]) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        unreadable(folder, error)
        return []


def _is_folder(entry: "os.DirEntry[str]", *, is_followed: bool) -> bool:
    """Return whether an entry is a folder; a link that leads nowhere is none."""
    try:
        return entry.is_dir(follow_symlinks=is_followed)
    except OSError:
        return False


def _refuse(folder: str, error: OSError) -> None:
    raise bad_source(f"The folder {folder!a} cannot be read: {error.strerror}.") from error


def _why_not(entry: "os.DirEntry[str]") -> str:
    try:
        if entry.is_symlink():
            entry.stat()
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    return NO_DISTRIBUTION


def offer_of(entry: "os.DirEntry[str]") -> Candidate | PassedOver:
    """Return a file as an importer gets it; asks at most for its size and times."""
    try:
        found = entry.stat()
        if not entry.is_file():  # a pipe would be waited for
            return PassedOver(entry.path, "it is no file")
    except OSError as error:  # a link that leads nowhere, or gone meanwhile
        return PassedOver(entry.path, f"it cannot be read: {error.strerror}", is_fault=True)
    return Candidate(
        filename=entry.name,
        place=entry.path,
        read=partial(reading_file, Path(entry.path)),
        size=found.st_size,
        uploaded_at=at_stat(found.st_mtime),
        changed_at=max(found.st_mtime, found.st_ctime),
    )
