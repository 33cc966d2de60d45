"""The findings of a check, and the check of one document with its journal, which adds to them."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Final, Generic

from msgspec import Struct
from msgspec.json import Decoder
from msgspec.structs import fields, replace

from wheelyard.catalog import keys
from wheelyard.catalog.commits import C, D, JournalKind
from wheelyard.errors import NEWER_DOCUMENT, Conflict, Unavailable, WheelyardError
from wheelyard.remedies import Caution
from wheelyard.storage.base import ABSENT, Key, ObjectVersion, Store, Stored

_JSON: Final = Decoder()


class Findings(Struct):
    """The results of a check: counts, damage, notes and repairs."""

    projects: int = 0
    files: int = 0
    size: int = 0
    """Bytes that were read and hashed."""
    problems: list[str] = []
    """Damage. Each sentence says what the operator can do."""
    notes: list[Caution] = []
    """Harmless leftovers of crashes or operators, and rules that were removed."""
    repaired: list[str] = []
    rebuilt: int = 0
    """Documents that were computed again from their journal."""
    swept: int = 0
    """Leftovers that were deleted."""

    def add(self, other: "Findings") -> None:
        """Add the counts and messages of other findings to these findings."""
        for field in fields(self):
            # `+` adds two counts, and joins two lists of messages
            total = getattr(self, field.name) + getattr(other, field.name)
            setattr(self, field.name, total)

    def in_index(self, name: str) -> "Findings":
        """Return these findings, with the name of an index at the beginning of each message."""
        prefix = f"index {name}: "
        return replace(
            self,
            problems=[prefix + message for message in self.problems],
            notes=[replace(note, message=prefix + note.message) for note in self.notes],
            repaired=[prefix + message for message in self.repaired],
        )

    def add_note(self, message: str) -> None:
        """Add a note about something against which nothing has to be done."""
        self.notes.append(Caution(message))

    def add_foreign_object(self, key: Key) -> None:
        """Add a note that the object at `key` is not one of wheelyard's."""
        self.add_note(f"{key} is no object of wheelyard's")


class ReadObject(Struct, frozen=True):
    """The result of reading an object."""

    stored: Stored | None = None
    """The object, or None if it is missing or could not be read."""
    has_failed: bool = False
    """Whether the object could not be read, so that nobody knows whether the store has it."""


def read_or_report(store: Store, key: Key, findings: Findings) -> ReadObject:
    """Return an object, and add a problem to `findings` if it cannot be read."""
    try:
        stored = store.get(key)
    except WheelyardError as error:
        findings.problems.append(
            f"{store.whole_key(key)} cannot be read: {error.message} If something else lies in its "
            "place, remove it"
        )
        return ReadObject(has_failed=True)
    if not isinstance(stored, Stored):
        return ReadObject()
    return ReadObject(stored)


def repair(store: Store, key: Key, body: bytes, expect: ObjectVersion, findings: Findings) -> bool:
    """
    Write an object over the version `expect`, and return whether that succeeded.

    A conflict is ignored, as another process was first. Any other failure is added as a problem.
    """
    try:
        store.put(key, body, expect)
    except Conflict:
        return False
    except WheelyardError as fault:
        findings.problems.append(f"{store.whole_key(key)} could not be repaired: {fault.message}")
        return False
    return True


class JournaledCheck(Struct, Generic[D, C]):
    """
    Checks one document with its journal, and adds the results to `findings`.

    `D` is the type of the document, and `C` that of the commits in its journal.
    """

    kind: JournalKind[D, C]
    store: Store
    findings: Findings
    commits: dict[int, C] = {}
    """The intact journal entries, by number."""
    damaged: dict[int, ObjectVersion] = {}
    """The object versions of malformed journal entries, by number."""
    unknown_parts: list[str] = []
    """
    What only a newer version knows, in words: a part of the document, or of a commit.

    Always empty for a project, whose unknown parts are kept.
    """
    is_consistent: bool = True
    """Whether document and journal are intact and agree, as far as they were checked."""

    def run(self, *, rebuild: bool) -> D | None:
        """
        Check document and journal, and write a missing last entry.

        With `rebuild`, the document is made again from an intact journal. Returns the document that
        was read or rebuilt. Returns None if the document is missing, damaged or unreadable, or if
        only a newer version of wheelyard can read it. Raises Unavailable if the journal cannot be
        listed.
        """
        self._read_journal()

        # read after the journal, so that a concurrent change cannot make the document older
        read = read_or_report(self.store, self.kind.key, self.findings)
        try:
            document = self._decode_document(read.stored)
        except Unavailable as fault:  # only a newer version can say more about this document
            self._report(f"{fault.message} Until then it cannot be compared with its journal")
            return None
        if self.unknown_parts:
            # this version would write the document without the parts that it does not know
            advice = _describe_unknown_parts(dict.fromkeys(self.unknown_parts, ""))
            self.findings.add_note(f"{self._key} cannot be compared: {advice}")
            return document
        # a missing document contradicts no commit
        contradicts_journal = document is not None and not self._complete_journal(document)
        folded = self._fold()
        if read.has_failed:
            self.is_consistent = False
            return None
        if contradicts_journal:
            self._report(
                f"{self._key} and its journal have different commits of one number, as after a "
                "restore; restore one of them from the same backup as the other"
            )
            return document
        return self._compare(document, folded, read.stored, rebuild=rebuild)

    def _compare(
        self, document: D | None, folded: D | None, stored: Stored | None, *, rebuild: bool
    ) -> D | None:
        """
        Compare the document with `folded`, which is the document that its journal makes.

        Returns `document`, or with `rebuild`, `folded`, which is then written.
        """
        key = self._key
        unknown_parts = self._find_unknown_parts(document)

        # this version would write the document without the parts that it does not know
        if folded is not None and rebuild and not unknown_parts:
            self._rebuild(folded, stored)
            return folded
        if document is None:
            self.is_consistent = False
            # without an object and a journal, there has never been a document
            if stored or self.commits or self.damaged:
                advice = unknown_parts or _advice_for_missing(can_be_folded=folded is not None)
                self._report(
                    f"{key} is missing or damaged, so that {self.kind.consequence}; {advice}"
                )
            return None
        if unknown_parts:
            self.findings.add_note(f"{key} cannot be compared with its journal: {unknown_parts}")
            return document
        if folded is not None and stored and not self._are_equal(folded, document, stored.body):
            self._report(
                f"{key} is not what its journal says, so that {self.kind.consequence}; fold it "
                "again with --rebuild"
            )
        return document

    def _are_equal(self, folded: D, document: D, body: bytes) -> bool:
        """Return whether a document, with the stored bytes `body`, is what its journal makes."""
        encoded = self.kind.documents.encode(document)
        if self.kind.documents.encode(folded) != encoded:
            return False
        # not the bytes: an older version writes the fields that it does not know in another order
        return len(encoded) == len(body)

    @property
    def _key(self) -> Key:
        """The key of the document, as messages have it."""
        return self.store.whole_key(self.kind.key)

    def _report(self, problem: str) -> None:
        """Add a problem by which document and journal do not agree."""
        self.is_consistent = False
        self.findings.problems.append(problem)

    def _read_journal(self) -> None:
        """Read all entries of the journal that a listing of the store has."""
        for entry in self.store.list(self.kind.entries):
            number = keys.entry_number(self.kind.entries, entry.key)
            if number is None:
                self.findings.add_foreign_object(self.store.whole_key(entry.key))
            else:
                self._read_commit(number)

    def _read_commit(self, number: int) -> None:
        """Read one entry of the journal, and add it to `commits`, or to `damaged`."""
        read = read_or_report(self.store, self.kind.entry_key(number), self.findings)
        if read.has_failed:
            self.is_consistent = False
            return
        if read.stored is None:
            return
        with suppress(WheelyardError):
            commit = self.kind.decode_entry(self.store, number, read.stored.body)
            encoded = self.kind.commits.encode(commit)
            # the next commit has the digest of these bytes, so they have to be exactly the same
            if encoded == read.stored.body:
                self.commits[number] = commit
                return
            self._note_unknown(f"a part of commit {number}", read.stored, encoded)
        self.damaged[number] = read.stored.version

    def _decode_document(self, stored: Stored | None) -> D | None:
        """
        Return the document, or None if it is missing, damaged or invalid.

        Raises Unavailable if only a newer version of wheelyard can read the document.
        """
        if stored is None:
            return None
        try:
            document = self.kind.documents.decode(self._key, stored.body)
            self.kind.require_valid(document)
            encoded = self.kind.documents.encode(document)
            self._note_unknown(f"a part of {self._key}", stored, encoded)
        except WheelyardError as fault:
            if fault.code == NEWER_DOCUMENT:
                raise
            return None
        return document

    def _note_unknown(self, part: str, stored: Stored, encoded: bytes) -> None:
        """
        Add `part` to `unknown_parts` if this version does not know all that is stored of it.

        `encoded` are the bytes that this version writes of the stored object.
        """
        # of a project, all parts are kept
        if self.kind.project is None and _JSON.decode(stored.body) != _JSON.decode(encoded):
            self.unknown_parts.append(part)

    def _find_unknown_parts(self, document: D | None) -> str:
        """
        Return which parts of document and journal only a newer version knows, and what to do.

        An empty text means that this version knows all parts.
        """
        commits = [self.commits[number] for number in sorted(self.commits)]
        versions_by_part = self.kind.unknown_parts(document or self.kind.empty, commits)
        if not versions_by_part:
            return ""
        return _describe_unknown_parts(versions_by_part)

    def _complete_journal(self, document: D) -> bool:
        """
        Read the entries that are newer than the listing, and write a missing last entry.

        If the journal lacks the last commit of the document, or has a damaged entry in its place,
        the commit is written, as the next commit would do. Returns whether the last entry is the
        last commit of the document.
        """
        for number in range(max(self.commits, default=0) + 1, document.revision):
            if number not in self.damaged:
                self._read_commit(number)
        last = self.kind.last_commit(document)
        if last is None:  # the document has no commit yet
            return True
        if last.number in self.commits:
            encode = self.kind.commits.encode
            return encode(self.commits[last.number]) == encode(last)
        # the process that made the commit has died, or has not written its journal entry yet
        self._write_last_entry(last)
        return True

    def _write_last_entry(self, last: C) -> None:
        """Write the entry of the last commit of the document, unless that commit may be forged."""
        self.commits[last.number] = last
        expect = self.damaged.pop(last.number, ABSENT)
        previous = last.number - 1
        lacks_two_entries = (
            previous > 0 and previous not in self.commits and previous not in self.damaged
        )
        # no process leaves two entries out, so the document may be forged: nothing is written
        if lacks_two_entries:
            return
        key = self.kind.entry_key(last.number)
        body = self.kind.commits.encode(last)
        if repair(self.store, key, body, expect, self.findings):
            self.findings.repaired.append(f"{self._key}: journal entry {last.number} written")

    def _fold(self) -> D | None:
        """
        Return the document that the journal makes.

        Returns None if the journal has no entries, or reports a problem and returns None if an
        entry is missing or damaged.
        """
        document = self.kind.empty
        last_number = max(self.commits.keys() | self.damaged.keys(), default=0)
        for number in range(1, last_number + 1):
            commit = self.commits.get(number)
            # after a restore, an entry may follow another commit than the one before it
            if commit is None or commit.previous != self.kind.digest(document):
                fault = "missing"
                if commit is not None or number in self.damaged:
                    fault = "damaged"
                entry_key = self.store.whole_key(self.kind.entry_key(number))
                self._report(
                    f"{self._key}: its journal is broken: {entry_key} is {fault}; restore it from "
                    "a backup"
                )
                return None
            document = self.kind.fold(document, commit)
        if not self.commits:
            return None
        return document

    def _rebuild(self, folded: D, stored: Stored | None) -> None:
        """Write the document that the journal makes, over the version that was read."""
        key = self.kind.key
        body = self.kind.documents.encode(folded)
        self.findings.rebuilt += 1
        expect = ABSENT
        if stored is not None:
            if stored.body == body:
                return
            expect = stored.version
        # a commit that was made meanwhile is not lost, as it has given the object another version
        if repair(self.store, key, body, expect, self.findings):
            self.findings.repaired.append(f"{self._key}: written again from its journal")


def _advice_for_missing(*, can_be_folded: bool) -> str:
    """Return what to do about a document that is missing or damaged."""
    if can_be_folded:
        return "fold it again with --rebuild"
    return "restore it from a backup"


def _describe_unknown_parts(versions_by_part: Mapping[str, str]) -> str:
    """
    Return which parts this version does not know, and with which version to check, in words.

    `versions_by_part` has the version that knows a part, or an empty text if nobody can tell.
    """
    known_versions = {version for version in versions_by_part.values() if version}
    checker = "a newer version of wheelyard"
    if known_versions:
        checker = f"wheelyard {' and '.join(sorted(known_versions))} or newer"
    return f"this version does not know {', '.join(versions_by_part)}; check it with {checker}"
