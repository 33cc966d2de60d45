"""
Files of credentials, which are read again when they change.

A file is taken whole or not at all: one line that is wrong would otherwise be a person who cannot
log in, or one who should not. It is looked at every few seconds, and read again if its modification
time, inode or size have changed. If what is found then cannot be taken, the last good content stays
in force and the log says so, once, and once more when that is mended.
"""

import logging
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final, Generic, TypeVar

from wheelyard.errors import Invalid
from wheelyard.model.text import escaped
from wheelyard.trust.exposure import ways_to_change

LOOK_EVERY: Final = 4.0
"""Seconds between two looks at a file; a server believes what it found for one more."""
FILE_LIMIT: Final = 16 * 1024**2
"""Bytes of a file of credentials."""

logger = logging.getLogger("wheelyard")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Content(Generic[T]):
    """What a file says, and what an operator should know of it, in sentences."""

    value: T
    warnings: tuple[str, ...] = ()


class WatchedFile(Generic[T]):
    """
    A file of credentials, and what it said when it was last good.

    Args:
        path: The file.
        parse: Makes something of its text, or raises Invalid with a sentence about it.
        monotonic: Seconds that never jump.

    Raises:
        Invalid: The file cannot be read, or makes no sense (code `bad_setting`).
    """

    def __init__(
        self, path: Path, parse: Callable[[str], Content[T]], monotonic: Callable[[], float]
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
    def is_due(self) -> bool:
        """Whether the next `current` will look at the file."""
        return self._monotonic() - self._looked_at >= LOOK_EVERY

    def current(self) -> T:
        """Return what the file says, looked at anew if that is due; one thread looks for all."""
        if self.is_due and self._lock.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._lock.release()
        return self._content.value

    def _look(self) -> None:
        try:
            stamp = _stamp(self._path.stat(), tuple(ways_to_change(self._path)))
            # a second change within a tick of the kernel's clock leaves the same time, so what
            # was new at the last look is read once more
            if stamp == self._stamp and self._is_settled:
                self._is_mended()
                return
            before = self.warnings
            found, content = self._read()
        except Invalid as fault:
            self._complain(fault.message)
        except OSError as error:
            self._complain(_unreadable(self._shown, error).message)
        else:
            self._is_settled = found == self._stamp
            self._stamp, self._content = found, content
            self._is_mended()
            for warning in self.warnings:
                if warning not in before:
                    logger.warning("%s", warning)
        finally:
            self._looked_at = self._monotonic()

    def _complain(self, message: str) -> None:
        if message != self._complaint:
            logger.error("%s Until then, what it said before stays in force.", message)
            self._complaint = message

    def _is_mended(self) -> None:
        if self._complaint:
            # as loud as what it takes back: who saw the one is to see the other
            logger.warning("%s reads again. What it says now is in force.", self._shown)
            self._complaint = ""

    def _read(self) -> tuple[str, Content[T]]:
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())  # before the bytes: a later change shows
                body = file.read(FILE_LIMIT + 1)
        except OSError as error:
            raise _unreadable(self._shown, error) from error
        try:
            content = self._parse(_text(body))
        except Invalid as fault:
            raise Invalid(f"{self._shown}: {fault.message}", code="bad_setting") from None
        ways = tuple(ways_to_change(self._path))
        warnings = (*ways, *content.warnings)
        if status.st_mode & stat.S_IROTH:
            open_to_all = "every user of this machine may read it; take that away with 'chmod o-r'"
            warnings = (open_to_all, *warnings)
        return _stamp(status, ways), Content(content.value, warnings)


def _text(body: bytes) -> str:
    if len(body) > FILE_LIMIT:
        raise Invalid(f"It has more than {FILE_LIMIT} bytes. Name a file of credentials.")
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
