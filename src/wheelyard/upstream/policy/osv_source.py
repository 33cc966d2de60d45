"""
The OSV database that an operator supplies: a JSON file, a zip such as `all.zip`, or a folder.

It is accepted as a whole or not at all. `current` looks from time to time whether it has changed,
and reads it again. If it cannot be read then, the last good content stays in force, and the log
says so: a broken file must not let through what was blocked.
"""

import logging
import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from stat import S_ISDIR
from threading import Lock
from typing import Final
from zipfile import BadZipFile, ZipFile
from zlib import error as ZlibError  # noqa: N812 - a class with the name of a function

from msgspec import DecodeError

from wheelyard.errors import Invalid
from wheelyard.model.text import escaped
from wheelyard.upstream.policy.advisories import AdvisoryTable
from wheelyard.upstream.policy.osv_format import OsvReader

CHECK_INTERVAL_SECONDS: Final = 4.0
"""The time between two looks for changes, unless looking at a large folder takes long."""
CHECK_COST: Final = 100
"""How many times as long as a look the pause after it is, so that looking costs a hundredth."""
ENTRY_LIMIT_BYTES: Final = 256 * 1024**2
"""Bytes of one JSON file, which may have all entries."""
SUFFIXES: Final = (".json", ".zip")
"""The files of a folder that are read; the others may be notes, signatures or checksums."""

logger = logging.getLogger("wheelyard")


class OsvSource:
    """
    The advisories of an OSV database, as of its last good content; thread-safe.

    It is read when it is first needed, as most commands need none of it; a server reads it at its
    start by `load`.
    """

    def __init__(self, path: Path, min_cvss: float, monotonic: Callable[[], float]) -> None:
        self._path = path
        self._min_cvss = min_cvss
        self._monotonic = monotonic
        self._lock = Lock()
        self._table: AdvisoryTable | None = None
        self._seen = ""
        self._next_check = 0.0
        self.error = ""
        """Why the last attempt to read it failed, in sentences; empty if it did not."""

    def peek(self) -> AdvisoryTable | None:
        """Return the last good content; None if `current` would look for changes now."""
        return self._table if self._monotonic() < self._next_check else None

    def load(self) -> AdvisoryTable:
        """
        Return the last good content, which is read if it never was.

        Raise Invalid (code `bad_setting`) if that fails: without it malicious versions would be
        served.
        """
        with self._lock:
            if self._table is None:
                self._seen = _fingerprint(self._path)
                self._table = self._read()
                self._next_check = self._monotonic() + CHECK_INTERVAL_SECONDS
            return self._table

    def current(self) -> AdvisoryTable:
        """
        Return the last good content, after a look for changes if one is due; else as `load`.

        While one thread looks or reads, the others get the old content at once.
        """
        known = self._table or self.load()
        if self.peek() is None and self._lock.acquire(blocking=False):
            try:
                self._check(known)
            finally:
                self._lock.release()
        return self._table or known

    def _check(self, known: AdvisoryTable) -> None:
        began_at = self._monotonic()
        pause = CHECK_INTERVAL_SECONDS
        try:
            found = _fingerprint(self._path)
            pause = max(pause, CHECK_COST * (self._monotonic() - began_at))
            if found == known.generation:
                self.error = ""
            elif found != self._seen:  # what stays broken is not read again and again
                self._seen = found
                self._table, self.error = self._read(), ""
                logger.info("%s has changed, and was read again.", escaped(str(self._path)))
        except Invalid as fault:
            self._log_error(fault.message)
        self._next_check = self._monotonic() + pause

    def _log_error(self, message: str) -> None:
        if message != self.error:
            logger.error("%s Until then, what it said before stays in force.", message)
        self.error = message

    def _read(self) -> AdvisoryTable:
        reader = OsvReader(self._min_cvss)
        for path in _files(self._path):
            _read_file(reader, path)
        if not reader.entries:
            raise _unusable(self._path, "there is no OSV entry in it")
        found = {name: tuple(some) for name, some in reader.found.items()}
        return AdvisoryTable(self._seen, found)


def _read_file(reader: OsvReader, path: Path) -> None:
    """Read one file into `reader`; raise Invalid, with its name, if it is broken."""
    where = path
    try:
        if path.suffix != ".zip":
            _require_size(path, path.stat().st_size)
            reader.read(path.read_bytes())
            return
        with ZipFile(path) as archive:
            for member in archive.infolist():
                where = path / member.filename
                if member.filename.endswith(".json"):
                    _require_size(where, member.file_size)
                    reader.read(archive.read(member))
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unusable(where, f"it is no OSV entry in JSON: {error}") from error
    except (BadZipFile, ZlibError, EOFError, NotImplementedError, RuntimeError) as error:
        raise _unusable(where, f"the archive is damaged: {error}") from error
    except OSError as error:
        raise _unusable(where, f"it cannot be read: {error.strerror or error}") from error


def _require_size(path: Path, size: int) -> None:
    if size > ENTRY_LIMIT_BYTES:
        raise _unusable(path, f"it has more than {ENTRY_LIMIT_BYTES} bytes")


def _files(path: Path) -> Iterator[Path]:
    """Yield the files of the database in order: the file itself, or those of the folder."""
    return iter([Path(each) for each, _ in sorted(_entries(path))])


def _entries(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    """
    Yield path and status of each file of the database.

    Folders whose name begins with a dot are left out: `.git`, and where Kubernetes has the files of
    a mounted volume a second time. Symbolic links to files are followed, those to folders are not.
    """
    try:
        status = path.stat()
        if not S_ISDIR(status.st_mode):
            yield str(path), status
            return
        waiting = [str(path)]
        while waiting:
            with os.scandir(waiting.pop()) as found:
                for entry in found:
                    if entry.is_dir(follow_symlinks=False):
                        waiting += [entry.path] if not entry.name.startswith(".") else []
                    elif entry.name.endswith(SUFFIXES):
                        yield entry.path, entry.stat()
    except OSError as error:
        raise _unusable(path, f"it cannot be read: {error.strerror or error}") from error


def _fingerprint(path: Path) -> str:
    """Return a digest of names, times and sizes of the files; it changes when one of them does."""
    known = sha256()
    for name, status in sorted(_entries(path)):
        facts = (name, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size)
        known.update(repr(facts).encode(errors="surrogateescape"))
    return known.hexdigest()[:16]


def _unusable(path: Path, why: str) -> Invalid:
    return Invalid(
        f"[upstream] osv: {escaped(str(path))}: {why}. Replace it by a database in OSV format, "
        "such as all.zip of PyPI's ecosystem.",
        code="bad_setting",
    )
