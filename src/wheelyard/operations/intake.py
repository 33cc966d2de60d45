"""
A folder of packages, taken into the index as it is: nothing in the folder is changed or moved.

Hidden files and folders are passed by, as pypiserver does, and so is whatever is no distribution.
What was taken in before, and has not been touched since, is told by its name, size and times, so
that a start costs one look at each file. The name of a file that was deleted here stays deleted.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Final

from wheelyard.catalog.projects import Projects
from wheelyard.errors import IndexFault, Unavailable
from wheelyard.model.access import Caller
from wheelyard.model.distribution import parse_filename
from wheelyard.model.project import File
from wheelyard.operations.upload import Uploads

SUFFIXES: Final = (
    *(".whl", ".tar.gz", ".zip", ".egg", ".exe", ".msi", ".rpm", ".dmg"),
    *(".tar", ".tgz", ".tar.bz2", ".tbz", ".tar.xz", ".tar.Z"),
)
"""How files end that pypiserver lists: those that are not taken are told of."""
DAMAGED: Final = "damaged_document"
"""The code of an Unavailable that is about one project."""
NEAR_THREADS: Final = 4
FAR_THREADS: Final = 8
"""Files at a time; those of one project share a commit."""


class Fate(Enum):
    """What became of a file that is not refused."""

    IMPORTED = auto()
    UNCHANGED = auto()
    """It was listed already."""
    DELETED = auto()
    """It was deleted from the index, and so stays away."""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a folder's files."""

    fates: Counter[Fate] = field(default_factory=Counter)
    refused: list[tuple[Path, str]] = field(default_factory=list)
    """Files that cannot be listed, each with why."""


@dataclass(frozen=True, slots=True)
class Intake:
    """
    Takes in folders.

    Args:
        uploads: What accepts a file.
        projects: What is listed.
        near: Whether the store answers at once.
    """

    uploads: Uploads
    projects: Projects
    near: bool = True

    def run(
        self,
        folder: Path,
        caller: Caller,
        progress: Callable[[int], None],
        leave_out: tuple[Path, ...] = (),
    ) -> Report:
        """
        Publish every distribution in a folder and the folders in it.

        Args:
            folder: Where to look.
            caller: Who publishes.
            progress: Told how many bytes were read just now, by several threads.
            leave_out: Folders that are no packages of anybody's: the store itself.

        Raises:
            Unavailable: The store does not answer.
        """
        report = Report()
        paths = list(distributions_in(folder, leave_out))
        with ThreadPoolExecutor(NEAR_THREADS if self.near else FAR_THREADS) as pool:
            try:
                fates = pool.map(lambda path: self._fate(path, caller, progress), paths)
                for path, fate in zip(paths, fates, strict=True):
                    if isinstance(fate, Fate):
                        report.fates[fate] += 1
                    else:
                        report.refused.append((path, fate))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)  # nothing more after Ctrl-C
        return report

    def _fate(self, path: Path, caller: Caller, progress: Callable[[int], None]) -> Fate | str:
        """Publish a file if need be; return why it cannot be, if it cannot."""
        try:
            name = parse_filename(path.name, zip_sdists=True).project
            project = self.projects.latest(name)
            if path.name in project.gone:
                return Fate.DELETED
            listed = project.by_filename.get(path.name)
            if listed is not None and is_untouched(listed, path.stat()):
                return Fate.UNCHANGED
            self.uploads.accept_path(path, caller, progress)
        except OSError as error:
            return f"it cannot be read: {error.strerror}."
        except IndexFault as fault:
            if isinstance(fault, Unavailable) and fault.code != DAMAGED:
                raise  # the next file would fare no better
            return fault.message
        return Fate.IMPORTED if listed is None else Fate.UNCHANGED


def is_untouched(listed: File, status: os.stat_result) -> bool:
    """Return whether a file that is listed cannot have changed since it was."""
    touched = max(status.st_mtime, status.st_ctime)  # moving another one there changes the second
    return status.st_size == listed.size and touched < listed.uploaded_at.timestamp()


def distributions_in(folder: Path, leave_out: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield what is named like a distribution, in folders within folders, in order."""
    others = {os.path.realpath(each) for each in leave_out}
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(
            each
            for each in folders
            if not each.startswith(".") and os.path.realpath(Path(place, each)) not in others
        )
        for each in sorted(files):
            if each.endswith(SUFFIXES) and not each.startswith("."):
                yield Path(place, each)
