"""What checks report, and the check of a document with its journal."""

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
        """Add the counts and messages of `other` to these."""
        # numbers and lists alike: `+` adds the ones and joins the others
        for counter in fields(self):
            total = getattr(self, counter.name) + getattr(other, counter.name)
            setattr(self, counter.name, total)

    def in_index(self, name: str) -> "Findings":
        """Return these results, with the name of an index in each message."""
        beginning = f"index {name}: "
        return replace(
            self,
            problems=[beginning + text for text in self.problems],
            notes=[replace(note, message=beginning + note.message) for note in self.notes],
            repaired=[beginning + text for text in self.repaired],
        )

    def add_note(self, message: str) -> None:
        """Add a note against which nothing has to be done."""
        self.notes.append(Caution(message))

    def add_foreign_object(self, key: Key) -> None:
        """Add a note that the object at `key` is not one of wheelyard's."""
        self.add_note(f"{key} is no object of wheelyard's")


class ReadObject(Struct, frozen=True):
    """The result of reading an object."""

    stored: Stored | None = None
    """The object, or None if it is missing or could not be read."""
    has_failed: bool = False
    """Whether it could not be read, so that it may be there."""


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
    """Checks one document with its journal, and adds the results to `findings`."""

    kind: JournalKind[D, C]
    store: Store
    findings: Findings
    commits: dict[int, C] = {}
    """The intact journal entries, by number."""
    damaged: dict[int, ObjectVersion] = {}
    """The object versions of malformed journal entries, by number."""
    newer: list[str] = []
    """What of the documents and commits that are no project's only a newer version knows."""
    is_consistent: bool = True
    """Whether document and journal are intact and agree, as far as they were checked."""

    def run(self, *, rebuild: bool) -> D | None:
        """
        Check document and journal, and write a missing last entry.

        With `rebuild`, the document is made again from an intact journal. Return the document, read
        or rebuilt. Return None if it is missing, damaged or unreadable, or only a newer version of
        wheelyard can read it. Raises Unavailable if the journal cannot be listed.
        """
        self._read_journal()

        # read after the journal, so that a concurrent change cannot make the document older
        read = read_or_report(self.store, self.kind.key, self.findings)
        try:
            document = self._document(read.stored)
        except Unavailable as fault:  # of a newer version, whatever else it may be
            self._report(f"{fault.message} Until then it cannot be compared with its journal")
            return None
        if self.newer:
            # written again by this version, it would lose what only a newer one knows
            unknown = _unknown_to_this_version(dict.fromkeys(self.newer, ""))
            self.findings.add_note(f"{self._key} cannot be compared: {unknown}")
            return document
        agrees = document is None or self._complete(document)
        folded = self._fold()
        if read.has_failed:
            self.is_consistent = False
        elif agrees:
            return self._compare(document, folded, read.stored, rebuild=rebuild)
        else:
            self._report(
                f"{self._key} and its journal have different commits of one number, as after a "
                "restore; restore one of them from the same backup as the other"
            )
        return document

    def _compare(
        self, document: D | None, folded: D | None, stored: Stored | None, *, rebuild: bool
    ) -> D | None:
        """Compare the document with `folded`, which its journal says, and return the right one."""
        key = self._key
        unknown = self._unknown(document)

        # made again by this version, it would lose what only a newer one knows
        if folded is not None and rebuild and not unknown:
            self._rebuild(folded, stored)
            return folded
        if document is None:
            self.is_consistent = False
            if stored or self.commits or self.damaged:
                advice = unknown
                if not advice and folded:
                    advice = "fold it again with --rebuild"
                elif not advice:
                    advice = "restore it from a backup"
                self._report(
                    f"{key} is missing or damaged, so that {self.kind.consequence}; {advice}"
                )
        elif unknown:
            self.findings.add_note(f"{key} cannot be compared with its journal: {unknown}")
        elif folded is not None and stored and not self._are_equal(folded, document, stored.body):
            self._report(
                f"{key} is not what its journal says, so that {self.kind.consequence}; fold it "
                "again with --rebuild"
            )
        return document

    def _are_equal(self, folded: D, document: D, body: bytes) -> bool:
        """Return whether a document, with these bytes, is what its journal says."""
        written = self.kind.documents.encode(document)
        # an older version writes the fields that it does not know last, so their order may differ
        return self.kind.documents.encode(folded) == written and len(written) == len(body)

    @property
    def _key(self) -> Key:
        """The key of the document, as messages have it."""
        return self.store.whole_key(self.kind.key)

    def _report(self, what: str) -> None:
        """Add a problem by which document and journal do not agree."""
        self.is_consistent = False
        self.findings.problems.append(what)

    def _read_journal(self) -> None:
        """Read the entries of the journal that a listing has."""
        for entry in self.store.list(self.kind.entries):
            number = keys.entry_number(self.kind.entries, entry.key)
            if number is None:
                self.findings.add_foreign_object(self.store.whole_key(entry.key))
            else:
                self._read_commit(number)

    def _read_commit(self, number: int) -> None:
        """Read one entry of the journal, and keep its commit, or its version if it is damaged."""
        read = read_or_report(self.store, self.kind.entry_key(number), self.findings)
        if read.has_failed:
            self.is_consistent = False
            return
        if read.stored is None:
            return
        with suppress(WheelyardError):
            commit = self.kind.decode_entry(self.store, number, read.stored.body)
            written = self.kind.commits.encode(commit)
            # the next commit has the digest of the bytes, so they have to be exactly these
            if written == read.stored.body:
                self.commits[number] = commit
                return
            self._note_newer(f"a part of commit {number}", read.stored, written)
        self.damaged[number] = read.stored.version

    def _document(self, stored: Stored | None) -> D | None:
        """
        Return the document, or None if it is missing, damaged, or has what cannot be.

        Raises Unavailable if only a newer version of wheelyard can read it.
        """
        if stored is None:
            return None
        try:
            document = self.kind.documents.decode(self._key, stored.body)
            self.kind.require_valid(document)
            written = self.kind.documents.encode(document)
            self._note_newer(f"a part of {self._key}", stored, written)
        except WheelyardError as fault:
            if fault.code == NEWER_DOCUMENT:
                raise
            return None
        return document

    def _note_newer(self, what: str, stored: Stored, written: bytes) -> None:
        """Note `what` if it is stored with parts that this version has not `written`."""
        # of a project, all parts are kept
        if self.kind.project is None and _JSON.decode(stored.body) != _JSON.decode(written):
            self.newer.append(what)

    def _unknown(self, document: D | None) -> str:
        """Return what only a newer version knows of document and journal, and what to do then."""
        commits = [self.commits[number] for number in sorted(self.commits)]
        unknown = self.kind.unknown_parts(document or self.kind.empty, commits)
        if not unknown:
            return ""
        return _unknown_to_this_version(unknown)

    def _complete(self, document: D) -> bool:
        """
        Read entries that are newer than the listing.

        If the journal lacks the document's last commit, or has it damaged, it is written there, as
        the next commit would do. Return whether that entry agrees with the document.
        """
        for number in range(max(self.commits, default=0) + 1, document.revision):
            if number not in self.damaged:
                self._read_commit(number)
        last = self.kind.last_commit(document)
        if last is None:
            return True
        if last.number in self.commits:
            encode = self.kind.commits.encode
            return encode(self.commits[last.number]) == encode(last)

        # the writer of the commit died, or still is between the document and the journal
        self.commits[last.number] = last
        expect = self.damaged.pop(last.number, ABSENT)
        previous = last.number - 1
        if previous and previous not in self.commits and previous not in self.damaged:
            # no writer leaves two entries out, so somebody may have made the document up
            return True
        key = self.kind.entry_key(last.number)
        body = self.kind.commits.encode(last)
        if repair(self.store, key, body, expect, self.findings):
            self.findings.repaired.append(f"{self._key}: journal entry {last.number} written")
        return True

    def _fold(self) -> D | None:
        """Return the document as the journal says, or None if there is no unbroken journal."""
        document = self.kind.empty
        last = max(self.commits.keys() | self.damaged.keys(), default=0)
        for number in range(1, last + 1):
            commit = self.commits.get(number)
            # an entry of a store that was restored may have the number, and another one before it
            if commit is None or commit.previous != self.kind.digest(document):
                what = "missing"
                if commit is not None or number in self.damaged:
                    what = "damaged"
                entry = self.store.whole_key(self.kind.entry_key(number))
                self._report(
                    f"{self._key}: its journal is broken: {entry} is {what}; restore it from a "
                    "backup"
                )
                return None
            document = self.kind.fold(document, commit)
        if not self.commits:
            return None
        return document

    def _rebuild(self, folded: D, stored: Stored | None) -> None:
        """Write the document as its journal says, over the version that was read."""
        key = self.kind.key
        body = self.kind.documents.encode(folded)
        self.findings.rebuilt += 1
        expect = ABSENT
        if stored is not None:
            if stored.body == body:
                return
            expect = stored.version
        # a commit that was made meanwhile is not lost: its version is another one
        if repair(self.store, key, body, expect, self.findings):
            self.findings.repaired.append(f"{self._key}: written again from its journal")


def _unknown_to_this_version(unknown: Mapping[str, str]) -> str:
    """Return what this version does not know, with the versions that do, and what to do then."""
    versions = " and ".join(sorted(filter(None, set(unknown.values()))))
    newer = "a newer version of wheelyard"
    if versions:
        newer = f"wheelyard {versions} or newer"
    return f"this version does not know {', '.join(unknown)}; check it with {newer}"
