"""
The OSV database that an operator supplies: a JSON file, a zip such as `all.zip`, or a folder.

Malformed entries are skipped and counted. `current` looks from time to time whether the database
has changed, and reads it again. If it then has no entries, or lacks more than a tenth of the
entries of the database that was accepted last, the accepted one stays in force, and the log says
so: a broken file must not let through what was blocked.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from operator import itemgetter
from pathlib import Path
from stat import S_ISDIR
from threading import Lock
from typing import Final
from zipfile import BadZipFile, ZipFile
from zlib import error as ZlibError  # noqa: N812 - a class with the name of a function

from msgspec import DecodeError, Struct
from msgspec.json import Decoder, Encoder
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import gunzipped, gzipped
from wheelyard.errors import Invalid, Unavailable
from wheelyard.model.decoding import escaped
from wheelyard.storage.base import ABSENT, NotModified, ObjectVersion, Store
from wheelyard.upstream.policy.advisories import Advisory, AdvisoryTable, OsvReader

SIZE_LIMIT: Final = 1024**3
"""Bytes of the largest document that is read, before compression."""
CHECK_INTERVAL_SECONDS: Final = 4.0
"""The time between two looks for changes, unless looking at a large folder takes long."""
CHECK_COST: Final = 100
"""How many times longer than a look the pause after it is, so that looks take 1% of the time."""
ENTRY_LIMIT_BYTES: Final = 256 * 1024**2
"""Bytes of one JSON file, which may have all entries."""
SUFFIXES: Final = (".json", ".zip")
"""The files of a folder that are read. The others may be notes, signatures or checksums."""

MAX_LOSS: Final = 0.1
"""The largest part of the accepted entries that a new database may lack."""
STILL_IN_FORCE: Final = "Until then, what it said before stays in force."
USUAL_REMEDY: Final = "Replace it by a database in OSV format, such as all.zip of PyPI's ecosystem."
TOO_LARGE: Final = f"it has more than {ENTRY_LIMIT_BYTES} bytes"

logger = logging.getLogger("wheelyard")


class AcceptedOsv(Struct, frozen=True, omit_defaults=True):
    """What is kept of an accepted database."""

    entries: int
    """How many usable entries it had, of any ecosystem and severity."""
    modified_at: float
    """When its newest file was written, in seconds since the epoch."""
    advisories: dict[NormalizedName, tuple[Advisory, ...]] = {}
    """The advisories that counted by the settings of that time."""
    skipped: int = 0
    """How many malformed entries it had, and how many files that could not be read, together."""
    first_skipped: str = ""
    """Where the first skipped entry or file was, and what was wrong with it, or an empty text."""


_DECODER: Final = Decoder(AcceptedOsv)


class AcceptedOsvRecord:
    """Reads and writes the accepted database in the store. One thread at a time may use it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._version: ObjectVersion = ABSENT

    def load(self) -> AcceptedOsv | None:
        """
        Return the database that was accepted last, or None without one, or if it is damaged.

        Raises Unavailable if the store does not answer.
        """
        stored = self._store.get(keys.UPSTREAM_ADVISORIES)
        if stored is None or isinstance(stored, NotModified):
            return None
        self._version = stored.version
        try:
            return _DECODER.decode(gunzipped(stored.body, SIZE_LIMIT) or b"")
        except (DecodeError, UnicodeDecodeError):
            logger.warning("upstream: %s is damaged, and is written anew", keys.UPSTREAM_ADVISORIES)
            return None

    def has_changed(self) -> bool:
        """
        Return whether another database was accepted since `load` or `save`.

        Raises Unavailable if the store does not answer.
        """
        stored = self._store.get(keys.UPSTREAM_ADVISORIES, self._version or None)
        return stored is not None and not isinstance(stored, NotModified)

    def save(self, accepted: AcceptedOsv) -> None:
        """
        Write an accepted database over the one before it.

        Raises Unavailable if the store does not take it.
        """
        body = gzipped(Encoder().encode(accepted))
        self._version = self._store.put(keys.UPSTREAM_ADVISORIES, body, None)


class OsvSource:
    """
    The advisories of an OSV database, as of its last accepted content.

    Threads may share it. The database is read when it is first needed, as most commands do not need
    it. A server reads it at its start by `load`. With `record`, the accepted database is kept in
    the store, and new ones are compared with it.
    """

    def __init__(
        self,
        path: Path,
        min_cvss: float,
        monotonic: Callable[[], float],
        record: AcceptedOsvRecord | None = None,
    ) -> None:
        self._path = path
        self._min_cvss = min_cvss
        self._monotonic = monotonic
        self._record = record
        self._lock = Lock()
        self._table: AdvisoryTable | None = None
        self._seen_fingerprint = ""
        """The fingerprint of the files that were read last, also if they were refused."""
        self._next_check = 0.0
        self.in_force = AcceptedOsv(0, 0.0)
        """The database in force, which has no entries before the first `load`."""
        self.error = ""
        """Why the last attempt to read the database failed, in sentences, or an empty text."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is wrong with the database, in sentences."""
        warnings = list[str]()
        if self.error:
            warnings.append(f"{self.error} {STILL_IN_FORCE}")
        if self.in_force.skipped:
            warnings.append(f"upstream.osv: {_describe_skipped(self.in_force)}.")
        return tuple(warnings)

    def peek(self) -> AdvisoryTable | None:
        """Return the advisories in force, or None if `current` would look for changes now."""
        if self._monotonic() >= self._next_check:
            return None
        return self._table

    def load(self) -> AdvisoryTable:
        """
        Return the advisories in force, after the database is read, unless it was read before.

        An accepted database is kept in the store. If the database is refused, that is logged, and
        in force are the advisories of the accepted one in the store, and those that the refused one
        adds. Raises Invalid (code `bad_setting`) if none was accepted before: without advisories,
        malicious versions would be served. Raises Unavailable if the store does not answer.
        """
        with self._lock:
            if self._table is None:
                # the database may be compared with one that another process has accepted
                accepted = self._record.load() if self._record else None
                database: AcceptedOsv | None = None
                try:
                    # before the files are read: if one changes meanwhile, the next look sees it
                    self._seen_fingerprint = _fingerprint(self._path)
                    database = self._read()
                    self._take(database, accepted)
                except Invalid as fault:
                    if accepted is None:
                        raise
                    self._log_error(fault.message)
                    generation = f"kept-{self._seen_fingerprint}"
                    self._table = _joined(accepted, database, generation)
                    self.in_force = accepted
                self._next_check = self._monotonic() + CHECK_INTERVAL_SECONDS
            assert self._table is not None  # noqa: S101 - set by `_take`, or from the store
            return self._table

    def current(self) -> AdvisoryTable:
        """
        Return the advisories in force, after a look for changes if that is due.

        A changed database is put into force, and kept in the store. If it is refused, that is
        logged, and the one before it stays in force. While one thread looks or reads, the others
        get the old advisories at once.

        Only while nothing was accepted yet, raises Invalid (code `bad_setting`) if the database
        cannot be read or has no usable entry, and Unavailable if the store does not answer.
        """
        table = self._table or self.load()
        if self.peek() is None and self._lock.acquire(blocking=False):
            try:
                self._check(table)
            finally:
                self._lock.release()
        return self._table or table

    def accept(self) -> tuple[AcceptedOsv | None, AcceptedOsv]:
        """
        Accept the database as it is, and return the one that was accepted before, and this one.

        The first is None if none was accepted, or it is damaged. The database is kept in the store.
        Raises Invalid (code `bad_setting`) if it cannot be read, or has no usable entry. Raises
        Unavailable if the store does not answer.
        """
        assert self._record is not None  # noqa: S101 - only commands that have a store call it
        with self._lock:
            self._seen_fingerprint = _fingerprint(self._path)
            database = self._read()
            accepted_before = self._record.load()
            # stored first: running servers see it there, and then accept what they had refused
            self._record.save(database)
            self._use(database)
            return accepted_before, database

    def _check(self, table: AdvisoryTable) -> None:
        """Look for changes, and put a changed database into force. The caller holds the lock."""
        began_at = self._monotonic()
        pause = CHECK_INTERVAL_SECONDS
        try:
            fingerprint = _fingerprint(self._path)
            pause = max(pause, CHECK_COST * (self._monotonic() - began_at))
            # somebody may have accepted at another server what was refused here
            is_decided = self.error and self._record and self._record.has_changed()
            if fingerprint == table.generation:
                self.error = ""  # the broken database was replaced by the one in force
            # a database that stays broken is not read again and again
            elif fingerprint != self._seen_fingerprint or is_decided:
                accepted = self._record.load() if self._record else None
                self._seen_fingerprint = fingerprint
                self._take(self._read(), accepted)
                logger.info("%s has changed, and was read again.", escaped(str(self._path)))
        except (Invalid, Unavailable) as fault:
            # the database in force stays, and the next look compares again
            self._log_error(fault.message)
        self._next_check = self._monotonic() + pause

    def _take(self, database: AcceptedOsv, accepted: AcceptedOsv | None) -> None:
        """
        Put a database into force, and keep it in the store.

        Raises Invalid if the database lacks too many entries of the accepted one.
        """
        if accepted is not None and database.entries < accepted.entries * (1 - MAX_LOSS):
            raise _unusable(
                self._path,
                f"it has {database.entries} usable entries, and the one that was accepted last had "
                f"{accepted.entries}: more than a tenth is missing",
                "If that is right, accept it (upstream accept-osv); else replace it.",
            )
        # kept first, so that a new process does not compare with an older database
        if self._record is not None and database != accepted:
            with suppress(Unavailable):  # the server only reads, or the store is full
                self._record.save(database)
        self._use(database)

    def _use(self, database: AcceptedOsv) -> None:
        """Put a database into force, and log which entries are skipped."""
        if database.skipped:
            path = escaped(str(self._path))
            logger.warning(
                "%s: %s; the first: %s", path, _describe_skipped(database), database.first_skipped
            )
        self._table = AdvisoryTable(self._seen_fingerprint, database.advisories)
        self.in_force = database
        self.error = ""

    def _log_error(self, message: str) -> None:
        """Remember why the database is refused, and log it once."""
        if message != self.error:
            logger.error("%s %s", message, STILL_IN_FORCE)
        self.error = message

    def _read(self) -> AcceptedOsv:
        """
        Return the database that the files have.

        Raises Invalid if they cannot be read, or have no usable entry.
        """
        reader = OsvReader(self._min_cvss)
        modified_at = 0.0
        # in the order of names, so that equal content gives an equal document
        for name, status in sorted(_entries(self._path), key=itemgetter(0)):
            modified_at = max(modified_at, status.st_mtime)
            _read_file(reader, Path(name))
        if not reader.entries:
            why = "there is no OSV entry in it"
            if reader.first_skipped:
                why += f" ({reader.first_skipped})"
            raise _unusable(self._path, why)
        advisories = {name: tuple(of_name) for name, of_name in reader.by_name.items()}
        return AcceptedOsv(
            reader.entries, modified_at, advisories, reader.skipped, reader.first_skipped
        )


def _joined(accepted: AcceptedOsv, refused: AcceptedOsv | None, generation: str) -> AdvisoryTable:
    """Return the advisories of an accepted database, and those that a refused one adds, if any."""
    advisories = dict(accepted.advisories)
    if refused is not None:
        for name, refused_advisories in refused.advisories.items():
            all_advisories = advisories.get(name, ()) + refused_advisories
            advisories[name] = tuple(dict.fromkeys(all_advisories))
    return AdvisoryTable(generation, advisories)


def _describe_skipped(database: AcceptedOsv) -> str:
    return f"entries that are malformed and skipped: {database.skipped}"


def _read_file(reader: OsvReader, path: Path) -> None:
    """Read one file into `reader`, which counts what cannot be read."""
    where = str(path)
    try:
        if path.suffix == ".zip":
            _read_archive(reader, path)
        elif path.stat().st_size > ENTRY_LIMIT_BYTES:
            reader.skip(where, TOO_LARGE)
        else:
            reader.read(path.read_bytes(), where)
    except BadZipFile as error:
        reader.skip(where, f"the archive is damaged: {error}")
    except OSError as error:
        reader.skip(where, f"it cannot be read: {error.strerror or error}")


def _read_archive(reader: OsvReader, path: Path) -> None:
    """Read the JSON files of an archive into `reader`, which counts what cannot be read."""
    with ZipFile(path) as archive:
        for member in archive.infolist():
            where = f"{path}/{member.filename}"
            if not member.filename.endswith(".json"):
                continue
            if member.file_size > ENTRY_LIMIT_BYTES:  # `read` gives no more than the size says
                reader.skip(where, TOO_LARGE)
                continue
            try:
                body = archive.read(member)
            except (BadZipFile, ZlibError, EOFError, NotImplementedError, RuntimeError) as error:
                reader.skip(where, f"the archive is damaged: {error}")
            else:
                reader.read(body, where)


def _entries(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    """
    Yield the path and the status of each file of the database.

    Folders whose name begins with a dot are left out: `.git`, and where Kubernetes has the files of
    a mounted volume a second time. Symbolic links to files are followed, those to folders are not.
    Raises Invalid if the path, or a folder in it, cannot be read.
    """
    try:
        status = path.stat()
        if not S_ISDIR(status.st_mode):
            yield str(path), status
            return
        folders = [str(path)]
        while folders:
            with os.scandir(folders.pop()) as folder:
                for entry in folder:
                    if entry.is_dir(follow_symlinks=False):
                        if not entry.name.startswith("."):
                            folders.append(entry.path)
                    elif entry.name.endswith(SUFFIXES):
                        yield entry.path, entry.stat()
    except OSError as error:
        raise _unusable(path, f"it cannot be read: {error.strerror or error}") from error


def _fingerprint(path: Path) -> str:
    """
    Return a digest of the names, times and sizes of the files of the database.

    Raises Invalid if they cannot be read.
    """
    digest = sha256()
    for name, status in sorted(_entries(path)):
        facts = (name, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size)
        digest.update(repr(facts).encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def _unusable(path: Path, why: str, remedy: str = USUAL_REMEDY) -> Invalid:
    """Return the error (code `bad_setting`) for a database that cannot be used."""
    message = f"upstream.osv: {escaped(str(path))}: {why}. {remedy}"
    return Invalid(message, code="bad_setting")
