"""
Credential files that are reloaded when they change, and checks of their permissions.

A file is accepted as a whole or not at all. `current` checks it at most every few seconds, and
reads it again if its times, inode or size have changed. If the new content is invalid, the last
valid content stays in use; the log says so once, and once more after the repair.
"""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from stat import S_IROTH, S_ISVTX, S_IWOTH
from threading import Lock
from typing import Final, Generic, TypeVar

from msgspec import Struct

from wheelyard.errors import Invalid
from wheelyard.model.decoding import escaped

CHECK_INTERVAL_SECONDS: Final = 4.0
"""Time between two checks of a file for changes; results are cached for one second more."""
FILE_LIMIT_BYTES: Final = 16 * 1024**2

logger = logging.getLogger("wheelyard")

T = TypeVar("T")


class ParsedFile(Struct, Generic[T], frozen=True):
    """The value that was parsed from a file, and warnings for the operator."""

    value: T
    warnings: tuple[str, ...] = ()


class FaultBeside(Exception):
    """A file beside the credential file is wrong; the message names it."""


class ReloadingFile(Generic[T]):
    """
    A credential file with its last valid content; thread-safe.

    `parse` returns value and warnings for the text, or raises Invalid with a sentence about it. The
    constructor reads the file, and raises Invalid (code `bad_setting`) if that or `parse` fails.
    The files in `beside` are no secrets. They are read with it, and `parse` gets their texts, too;
    of what is wrong in one of them it raises FaultBeside.
    """

    def __init__(
        self,
        path: Path,
        parse: Callable[..., ParsedFile[T]],
        monotonic: Callable[[], float],
        beside: tuple[Path, ...] = (),
    ) -> None:
        self._paths = (path, *beside)
        self._shown = escaped(str(path))
        self._parse = parse
        self._monotonic = monotonic
        self._lock = Lock()
        self._checked_at = monotonic()
        self._last_error = ""
        self._fingerprint, self._content = self._read()

    @property
    def value(self) -> T:
        """The value of the last valid content; the file is not checked for changes."""
        return self._content.value

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about the last valid content and its permissions; each names the file."""
        return self._content.warnings

    def current(self) -> T:
        """
        Return the last valid value, after a check of the file for changes if one is due.

        While one thread checks, the others get the old value at once.
        """
        is_due = self._monotonic() - self._checked_at >= CHECK_INTERVAL_SECONDS
        if is_due and self._lock.acquire(blocking=False):
            try:
                self._check()
            finally:
                self._lock.release()
        return self._content.value

    def _check(self) -> None:
        old_warnings = self.warnings
        try:
            fingerprint = [_fingerprint(path.stat()) for path in self._paths]
            if fingerprint != self._fingerprint:
                self._fingerprint, self._content = self._read()
        except Invalid as fault:
            self._log_error(fault.message)
            return
        except OSError as error:
            self._log_error(_unreadable(escaped(str(error.filename)), error).message)
            return
        finally:
            self._checked_at = self._monotonic()
        if self._last_error:  # at the level of the line that it takes back
            logger.warning("%s reads again. What it says now is in force.", self._shown)
            self._last_error = ""
        for warning in self.warnings:
            if warning not in old_warnings:
                logger.warning("%s", warning)

    def _log_error(self, message: str) -> None:
        if message != self._last_error:
            logger.error("%s Until then, what it said before stays in force.", message)
            self._last_error = message

    def _read(self) -> tuple[list[tuple[int, ...]], ParsedFile[T]]:
        files = list(map(_read_file, self._paths))
        try:
            content = self._parse(*(text for _, text in files))
        except FaultBeside as fault:
            raise Invalid(str(fault), code="bad_setting") from None
        except Invalid as fault:
            raise Invalid(f"{self._shown}: {fault.message}", code="bad_setting") from None
        warnings = [
            f"{escaped(str(path))}: {each}."
            for path in self._paths
            for each in write_access_warnings(path)
        ]
        warnings += [f"{self._shown}: {each}." for each in content.warnings]
        if files[0][0].st_mode & S_IROTH:
            readable = "every user of this machine may read it; take that away with 'chmod o-r'"
            warnings.insert(0, f"{self._shown}: {readable}.")
        fingerprint = [_fingerprint(status) for status, _ in files]
        return fingerprint, ParsedFile(content.value, tuple(warnings))


def write_access_warnings(path: Path) -> Iterator[str]:
    """
    Yield a warning for each way in which every user of this machine can change a file.

    The folders of its path count, and those of the file to which symbolic links lead. Only the mode
    for others counts: owner and group are the operator's choice. In a folder with a sticky bit
    (`/tmp`, and where Kubernetes mounts a secret) only the owner of a file, the owner of the folder
    and root can replace it.
    """
    if _mode(path) & S_IWOTH:
        yield "every user of this machine may write to it; take that away with 'chmod o-w'"
    above = (*path.absolute().parents, *Path(os.path.realpath(path)).parents)
    for folder in dict.fromkeys(map(os.path.realpath, above)):
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


def _read_file(path: Path) -> tuple[os.stat_result, str]:
    """Return the status of a file before it was read, so that a later change shows; its text."""
    shown = escaped(str(path))
    try:
        with path.open("rb") as file:
            status, body = os.fstat(file.fileno()), file.read(FILE_LIMIT_BYTES + 1)
    except OSError as error:
        raise _unreadable(shown, error) from error
    if len(body) > FILE_LIMIT_BYTES:
        reason = f"It has more than {FILE_LIMIT_BYTES} bytes. Name another file."
        raise Invalid(f"{shown}: {reason}", code="bad_setting")
    try:
        return status, body.decode()
    except UnicodeDecodeError as error:
        number = body.count(b"\n", 0, error.start) + 1
    # outside of the handler: the decoder's error contains the whole file
    reason = f"Line {number} is not UTF-8. Write the file in UTF-8."
    raise Invalid(f"{shown}: {reason}", code="bad_setting")


def _fingerprint(status: os.stat_result) -> tuple[int, ...]:
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size


def _unreadable(shown: str, error: OSError) -> Invalid:
    return Invalid(
        f"{shown} cannot be read: {error.strerror}. Name a file that the server may read.",
        code="bad_setting",
    )
