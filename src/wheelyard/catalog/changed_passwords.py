"""
The document of changed passwords, which all servers of an index read.

It is one for all people, so nobody learns from a read, or from the time that one takes, whether a
name exists. A server that has it cached knows a change of another server after as long as a revoked
token; a password or session that does not fit has it read again at once, as it may be a new one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from types import MappingProxyType
from typing import Final

from msgspec.structs import replace

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import DocumentCache, MaxAge, Snapshot
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.errors import Conflict
from wheelyard.model.changed_password import ChangedPassword, ChangedPasswords, with_password

NONE: Final[Mapping[str, ChangedPassword]] = MappingProxyType({})
REREAD_SECONDS: Final = 1.0
"""How often the document is read again because a password or a session does not fit."""


@dataclass(slots=True)
class ChangedPasswordRecords:
    """
    Reads and writes the changed passwords, each by the digest of its line of the htpasswd file.

    Threads may share it. Every method but `known` raises Unavailable if the store does not answer,
    or if the document is damaged: a password that was changed must not count again.
    """

    documents: DocumentCache[ChangedPasswords]
    retries: ConflictRetries
    _reread_at: float = field(default=-inf, init=False)

    def current(self) -> Mapping[str, ChangedPassword]:
        """Return the passwords, read from the store unless a fresh document is cached."""
        return self._read("fresh")

    def latest(self) -> Mapping[str, ChangedPassword]:
        """Return the passwords as they are in the store now, or were in the last second."""
        monotonic = self.retries.runtime.monotonic()
        # two threads may both read it here, which does no harm
        if monotonic - self._reread_at < REREAD_SECONDS:
            return self._read("fresh")
        self._reread_at = monotonic
        return self._read("current")

    def known(self) -> Mapping[str, ChangedPassword]:
        """Return the passwords as this process knows them, without a look at the store."""
        return _passwords_in(self.documents.peek(keys.CHANGED_PASSWORDS, "any"))

    def change(self, line: str, changed: ChangedPassword, replaces: str) -> None:
        """
        Store a password, in place of one with the hash `replaces`, or of that of the line for "".

        Raises Conflict if the password has been changed since.
        """
        codec = self.documents.codec
        for _ in self.retries.attempts():
            snapshot = self.documents.get(keys.CHANGED_PASSWORDS, "current")
            passwords = snapshot.value or ChangedPasswords()
            before = passwords.by_line.get(line)
            if (before.hash if before else "") != replaces:
                raise Conflict("Your password was changed by somebody else just now. Try again.")
            if snapshot.value is not None:
                codec.require_whole(keys.CHANGED_PASSWORDS, passwords, snapshot.size)
            write_id = self.retries.runtime.new_id()
            written = replace(
                passwords,
                by_line=with_password(passwords, line, changed),
                revision=passwords.revision + 1,
                write_id=write_id,
            )

            def was_written(current: ChangedPasswords | None, own: str = write_id) -> bool:
                return current is not None and current.write_id == own

            if self.documents.swap(keys.CHANGED_PASSWORDS, written, snapshot.version, was_written):
                return
        raise self.retries.exhausted("the passwords")

    def _read(self, max_age: MaxAge) -> Mapping[str, ChangedPassword]:
        return _passwords_in(self.documents.get(keys.CHANGED_PASSWORDS, max_age))


def _passwords_in(snapshot: Snapshot[ChangedPasswords] | None) -> Mapping[str, ChangedPassword]:
    return snapshot.value.by_line if snapshot and snapshot.value else NONE
