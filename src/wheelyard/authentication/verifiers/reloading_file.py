"""
Files of credentials, which are read again when they change, and who may change them.

A file is taken whole or not at all: one line that is wrong would otherwise be a person who cannot
log in, or one who should not. It is looked at every few seconds, and read again if its modification
time, inode or size have changed. If what is found then cannot be taken, the last good content stays
in force and the log says so, once, and once more when that is mended.
"""

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_IROTH, S_ISVTX, S_IWOTH
from threading import Lock
from typing import Final, Generic, TypeVar

from wheelyard.errors import Invalid
from wheelyard.model.text import escaped

CHECK_INTERVAL_SECONDS: Final = 4.0
"""Seconds between two looks at a file; a server believes what it found for one more."""
FILE_LIMIT_BYTES: Final = 16 * 1024**2
"""Bytes of a file of credentials."""
MAX_SYMLINKS: Final = 40
"""Links that lead to one another, as Linux counts them."""

logger = logging.getLogger("wheelyard")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ParsedFile(Generic[T]):
    """What a file says, and what an operator should know of it, in sentences."""

    value: T
    warnings: tuple[str, ...] = ()


class ReloadingFile(Generic[T]):
    """
    A file of credentials, and what it said when it was last good.

    `parse` makes something of its text, or raises Invalid with a sentence about it.

    Raises:
        Invalid: The file cannot be read, or makes no sense (code `bad_setting`).
    """

    def __init__(
        self, path: Path, parse: Callable[[str], ParsedFile[T]], monotonic: Callable[[], float]
    ) -> None:
        self._path = path
        self._shown = escaped(str(path))
        self._parse = parse
        self._monotonic = monotonic
        self._lock = Lock()
        self._looked_at = monotonic()
        self._is_settled = False
        self._complaint = ""
        self._stamp, self._content = self._read()

    @property
    def value(self) -> T:
        """What the file said when it was last good; looks at nothing."""
        return self._content.value

    @property
    def warnings(self) -> tuple[str, ...]:
        """What an operator should know of the file, in sentences that name it."""
        return tuple(f"{self._shown}: {each}." for each in self._content.warnings)

    @property
    def needs_check(self) -> bool:
        """Whether the next `current` will look at the file."""
        return self._monotonic() - self._looked_at >= CHECK_INTERVAL_SECONDS

    def current(self) -> T:
        """Return what the file says, looked at anew if that is due; one thread looks for all."""
        if self.needs_check and self._lock.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._lock.release()
        return self._content.value

    def _look(self) -> None:
        before = self.warnings
        try:
            stamp = _stamp(self._path.stat(), tuple(write_access_warnings(self._path)))
            # a second change within a tick of the kernel's clock leaves the same time, so what
            # was new at the last look is read once more
            if stamp != self._stamp or not self._is_settled:
                found, self._content = self._read()
                self._stamp, self._is_settled = found, found == self._stamp
        except Invalid as fault:
            self._complain(fault.message)
            return
        except OSError as error:
            self._complain(_unreadable(self._shown, error).message)
            return
        finally:
            self._looked_at = self._monotonic()
        if self._complaint:
            # as loud as what it takes back: who saw the one is to see the other
            logger.warning("%s reads again. What it says now is in force.", self._shown)
            self._complaint = ""
        for warning in self.warnings:
            if warning not in before:
                logger.warning("%s", warning)

    def _complain(self, message: str) -> None:
        if message != self._complaint:
            logger.error("%s Until then, what it said before stays in force.", message)
            self._complaint = message

    def _read(self) -> tuple[str, ParsedFile[T]]:
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())  # before the bytes: a later change shows
                body = file.read(FILE_LIMIT_BYTES + 1)
        except OSError as error:
            raise _unreadable(self._shown, error) from error
        try:
            content = self._parse(_text(body))
        except Invalid as fault:
            raise Invalid(f"{self._shown}: {fault.message}", code="bad_setting") from None
        ways = tuple(write_access_warnings(self._path))
        warnings = (*ways, *content.warnings)
        if status.st_mode & S_IROTH:
            open_to_all = "every user of this machine may read it; take that away with 'chmod o-r'"
            warnings = (open_to_all, *warnings)
        return _stamp(status, ways), ParsedFile(content.value, warnings)


def write_access_warnings(path: Path) -> Iterator[str]:
    """
    Yield how every user of this machine can change what is at a path, in a clause each.

    Each folder on the way counts, also the way of links. Only the mode for others counts: owner and
    group are the operator's choice. In a folder with a sticky bit (`/tmp`, and where Kubernetes
    mounts a secret) only the owner of a file, the owner of the folder and root can replace it.
    """
    if _mode(path) & S_IWOTH:
        yield "every user of this machine may write to it; take that away with 'chmod o-w'"
    found = map(os.path.realpath, _folders_to(path.absolute(), MAX_SYMLINKS))
    for folder in dict.fromkeys(found):
        if _mode(Path(folder)) & (S_IWOTH | S_ISVTX) == S_IWOTH:
            yield (
                "every user of this machine may replace it, because they may write to the folder "
                f"{escaped(folder)}; take that away with 'chmod o-w'"
            )


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _folders_to(path: Path, links: int) -> Iterator[Path]:
    """Yield every folder in which a name is looked up on the way to a path."""
    yield from path.parents
    for place in (path, *path.parents):
        try:
            target = place.readlink()
        except OSError:  # it is no link, or cannot be looked at
            continue
        if links:
            yield from _folders_to(place.parent / target, links - 1)


def _text(body: bytes) -> str:
    if len(body) > FILE_LIMIT_BYTES:
        raise Invalid(f"It has more than {FILE_LIMIT_BYTES} bytes. Name a file of credentials.")
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        number = body.count(b"\n", 0, error.start) + 1
        reason = Invalid(f"Line {number} is not UTF-8. Write the file in UTF-8.")
    raise reason  # not from within: what the decoder says has the whole file in it


def _stamp(status: os.stat_result, ways: tuple[str, ...]) -> str:
    # a folder's mode is in the stamp, too: the file itself does not change with it
    return f"{status.st_mtime_ns}.{status.st_ctime_ns}.{status.st_ino}.{status.st_size}.{ways}"


def _unreadable(shown: str, error: OSError) -> Invalid:
    return Invalid(
        f"{shown} cannot be read: {error.strerror}. Name a file that the server may read.",
        code="bad_setting",
    )
