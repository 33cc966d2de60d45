"""
Files of credentials, which are read again when they have changed.

A file is accepted as a whole or not at all. `current` checks the file at most once a second, and
reads it again if its times, inode or size have changed. If the new content is invalid, the last
valid content stays in use. The log says so once, and has another line after the repair.
"""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from stat import S_IROTH, S_ISVTX, S_IWOTH
from threading import Lock
from typing import Final, Generic, TypeVar

from msgspec import Struct

from wheelyard.concurrency.runtime import Clock
from wheelyard.errors import Invalid
from wheelyard.model.decoding import escaped

CHECK_INTERVAL_SECONDS: Final = 1.0
"""The shortest time between two checks of a file for changes."""
FILE_LIMIT_BYTES: Final = 16 * 1024**2

logger = logging.getLogger("wheelyard")

T = TypeVar("T")


class ParsedFile(Struct, Generic[T], frozen=True):
    """The value that was parsed from a file, and warnings for the operator."""

    value: T
    warnings: tuple[str, ...] = ()


class FaultBeside(Exception):
    """Raised if a file beside the credential file is wrong. The message names that file."""


class ReloadingFile(Generic[T]):
    """
    A credential file with its last valid content.

    Threads may share it. The constructor reads the file, and raises Invalid (code `bad_setting`) if
    the file cannot be read, or if `parse` raises an error.

    Args:
        path: The credential file.
        parse: Returns the value and warnings for the text of the file, or raises Invalid with a
            sentence about the text. Gets the texts of the files in `beside` as further arguments,
            and raises FaultBeside if one of these is wrong.
        monotonic: The clock for the time between two checks.
        beside: Files that are read together with the credential file, and have no secrets.
    """

    def __init__(
        self,
        path: Path,
        parse: Callable[..., ParsedFile[T]],
        monotonic: Clock,
        beside: tuple[Path, ...] = (),
    ) -> None:
        self._paths = (path, *beside)
        self._escaped_path = escaped(str(path))
        self._parse = parse
        self._monotonic = monotonic
        self._lock = Lock()
        self._checked_at = monotonic()
        self._last_error = ""
        self._fingerprint, self._content = self._read()

    @property
    def value(self) -> T:
        """The value of the last valid content, without a check of the file for changes."""
        return self._content.value

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about the last valid content and the permissions, each with a file's name."""
        return self._content.warnings

    @property
    def path(self) -> Path:
        """The path of the credential file."""
        return self._paths[0]

    @property
    def fault(self) -> str:
        """Why the present content of the file is not in force, or an empty text if it is."""
        return self._last_error

    def current(self) -> T:
        """
        Return the last valid value, after a check of the file for changes if a check is due.

        Invalid new content is logged, and raises no error. While one thread checks the file, other
        threads get the old value at once.
        """
        # `_content` is replaced as a whole, so a reader needs no lock
        is_due = self._monotonic() - self._checked_at >= CHECK_INTERVAL_SECONDS
        # without blocking: a slow disk delays only the thread that checks
        if is_due and self._lock.acquire(blocking=False):
            try:
                self._reload_if_changed()
            finally:
                self._lock.release()
        return self._content.value

    def _reload_if_changed(self) -> None:
        """Read the files again if they have changed. The caller holds the lock."""
        old_warnings = self.warnings
        try:
            fingerprint = [_fingerprint(path.stat()) for path in self._paths]
            if fingerprint != self._fingerprint:
                self._fingerprint, self._content = self._read()
        # after any error, the old content stays in force
        except Invalid as fault:
            self._log_error(fault.message)
            return
        except OSError as error:
            escaped_path = escaped(str(error.filename))
            self._log_error(_unreadable(escaped_path, error).message)
            return
        finally:
            self._checked_at = self._monotonic()
        # a warning, so that every log with the error has the line that takes it back
        if self._last_error:
            logger.warning("%s reads again. What it says now is in force.", self._escaped_path)
            self._last_error = ""
        for warning in self.warnings:
            if warning not in old_warnings:
                logger.warning("%s", warning)

    def _log_error(self, message: str) -> None:
        """Log an error of the new content, once and not at each check until the repair."""
        if message != self._last_error:
            logger.error("%s Until then, what it said before stays in force.", message)
            self._last_error = message

    def _read(self) -> tuple[list[tuple[int, ...]], ParsedFile[T]]:
        """
        Read all files, and return their fingerprints and the parsed content.

        Files that have not changed are read, too, as all files are accepted together. Raises
        Invalid (code `bad_setting`) if a file cannot be read, or is wrong.
        """
        statuses = list[os.stat_result]()
        texts = list[str]()
        for path in self._paths:
            status, text = _read_file(path)
            statuses.append(status)
            texts.append(text)

        # neither error is chained: a cause may have a line of the file, and so a secret
        try:
            content = self._parse(*texts)
        except FaultBeside as fault:
            raise Invalid(str(fault), code="bad_setting") from None
        except Invalid as fault:
            raise Invalid(f"{self._escaped_path}: {fault.message}", code="bad_setting") from None
        warnings = list[str]()

        # the first file has the secrets; everybody may read the files beside it
        if statuses[0].st_mode & S_IROTH:
            readable = "every user of this machine may read it; take that away with 'chmod o-r'"
            warnings.append(f"{self._escaped_path}: {readable}.")
        for path in self._paths:
            for warning in write_access_warnings(path):
                warnings.append(f"{escaped(str(path))}: {warning}.")
        warnings += [f"{self._escaped_path}: {warning}." for warning in content.warnings]
        fingerprint = [_fingerprint(status) for status in statuses]
        return fingerprint, ParsedFile(content.value, tuple(warnings))


def write_access_warnings(path: Path) -> Iterator[str]:
    """
    Yield a warning for each way in which every user of this machine can change a file.

    Whoever can write to a folder of the path can replace the file. So all folders of the path
    count, and the folders of the file to which symbolic links lead. Only the mode for others
    counts: owner and group are the operator's choice. In a folder with a sticky bit (`/tmp`, and
    where Kubernetes mounts a secret), only the owner of a file, the owner of the folder and root
    can replace the file.
    """
    if _mode(path) & S_IWOTH:
        yield "every user of this machine may write to it; take that away with 'chmod o-w'"
    folders = list(path.absolute().parents)
    folders += Path(os.path.realpath(path)).parents
    # a dict drops repeated folders, and keeps the order
    distinct_folders = dict.fromkeys(map(os.path.realpath, folders))
    for folder in distinct_folders:
        write_and_sticky_bits = _mode(Path(folder)) & (S_IWOTH | S_ISVTX)
        if write_and_sticky_bits == S_IWOTH:
            yield (
                "every user of this machine may replace it, because they may write to the folder "
                f"{escaped(folder)}; take that away with 'chmod o-w'"
            )


def _mode(path: Path) -> int:
    """Return the permissions of a file or folder, or 0 if they cannot be read."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _read_file(path: Path) -> tuple[os.stat_result, str]:
    """
    Return the status and the text of a file.

    The status is read before the text, so that a change after that is seen at the next check.
    Raises Invalid (code `bad_setting`) if the file cannot be read, is too large, or is not UTF-8.
    """
    escaped_path = escaped(str(path))
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            # one byte more than the limit, as a device or a pipe does not say its size
            body = file.read(FILE_LIMIT_BYTES + 1)
    except OSError as error:
        raise _unreadable(escaped_path, error) from error
    if len(body) > FILE_LIMIT_BYTES:
        reason = f"It has more than {FILE_LIMIT_BYTES} bytes. Name another file."
        raise Invalid(f"{escaped_path}: {reason}", code="bad_setting")
    try:
        return status, body.decode()
    except UnicodeDecodeError as error:
        number = body.count(b"\n", 0, error.start) + 1
    # outside of the handler: the decoder's error contains the whole file
    reason = f"Line {number} is not UTF-8. Write the file in UTF-8."
    raise Invalid(f"{escaped_path}: {reason}", code="bad_setting")


def _fingerprint(status: os.stat_result) -> tuple[int, ...]:
    """Return the facts of a file's status that change with its content."""
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size


def _unreadable(escaped_path: str, error: OSError) -> Invalid:
    """Return the error for a file that cannot be read."""
    return Invalid(
        f"{escaped_path} cannot be read: {error.strerror}. Name a file that the server may read.",
        code="bad_setting",
    )
