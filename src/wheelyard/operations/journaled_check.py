"""
Verification of a document with a journal of its own, such as the grants: both have to agree.

Servers answer 503 where they depend on a damaged document, so damage is a problem, and `rebuild`
writes the document as its journal says.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import digest
from wheelyard.catalog.journaled_document import C, D, E, JournalKind
from wheelyard.errors import WheelyardError
from wheelyard.operations.findings import Findings, read_or_report, repair
from wheelyard.storage.base import ABSENT, ObjectVersion, Store, Stored


@dataclass(slots=True)
class JournaledCheck(Generic[D, C, E]):
    """Checks one document with its journal; adds the results to `findings`."""

    kind: JournalKind[D, C, E]
    store: Store
    findings: Findings
    commits: dict[int, C] = field(default_factory=dict)
    """The intact journal entries, by number."""
    damaged: dict[int, ObjectVersion] = field(default_factory=dict)
    """The object versions of malformed journal entries, by number."""

    def run(self, *, rebuild: bool) -> None:
        """Check document and journal, and write a missing last entry; `rebuild` the document."""
        kind = self.kind
        for entry in self.store.list(kind.entries):
            number = keys.entry_number(kind.entries, entry.key)
            if number is None:
                self.findings.add_foreign_object(entry.key)
            else:
                self._read_commit(number)
        # read after the journal, so that a concurrent change cannot make the document older
        found = read_or_report(self.store, kind.key, self.findings)
        if isinstance(found, WheelyardError):
            return
        document = self._document(found)
        if document is not None and not self._complete(document):
            self._report(
                f"{kind.key} and its journal have different changes of one number, as after a "
                "restore; restore one of them from the same backup as the other"
            )
        elif (found or self.commits) and (folded := self._fold()) not in (None, document):
            self._repair(found, folded, rebuild=rebuild)

    def _repair(self, found: Stored | None, folded: D, *, rebuild: bool) -> None:
        key = self.kind.key
        if not rebuild:
            self._report(
                f"{key} is not what its journal says, so that {self.kind.consequence}; fold it "
                "again with --rebuild"
            )
            return
        body, expect = self.kind.documents.encode(folded), found.version if found else ABSENT
        if repair(self.store, key, body, expect, self.findings):
            self.findings.rebuilt += 1
            self.findings.repaired.append(f"{key}: written again from its journal")

    def _report(self, what: str) -> None:
        self.findings.problems.append(what)

    def _read_commit(self, number: int) -> None:
        key = self.kind.entry_key(number)
        found = read_or_report(self.store, key, self.findings)
        if isinstance(found, Stored):
            self.damaged[number] = found.version
            with suppress(WheelyardError):
                commit = self.kind.commits.decode(key, found.body)
                if commit.number == number and self.kind.commits.encode(commit) == found.body:
                    self.commits[number] = commit
                    del self.damaged[number]

    def _document(self, found: Stored | None) -> D | None:
        """Return the document; None if it is missing, damaged, or has what cannot be."""
        with suppress(WheelyardError):
            if found is not None:
                document = self.kind.documents.decode(self.kind.key, found.body)
                self.kind.require_valid(document)
                return document
        return None

    def _complete(self, document: D) -> bool:
        """
        Read entries that are newer than the listing; return whether they agree with the document.

        If the journal lacks the document's last commit, or has it damaged, it is written there.
        """
        for number in range(max(self.commits, default=0) + 1, document.revision):
            if number not in self.damaged:
                self._read_commit(number)
        last = self.kind.last_commit(document)
        if last is None or last.number in self.commits:
            return last is None or self.commits[last.number] == last
        self.commits[last.number] = last
        expect = self.damaged.pop(last.number, ABSENT)
        key, body = self.kind.entry_key(last.number), self.kind.commits.encode(last)
        if repair(self.store, key, body, expect, self.findings):
            self.findings.repaired.append(f"{self.kind.key}: journal entry {last.number} written")
        return True

    def _fold(self) -> D | None:
        document, previous = self.kind.empty, ""
        for number in range(1, max([*self.commits, *self.damaged], default=0) + 1):
            commit = self.commits.get(number)
            if commit is None or commit.previous != previous:
                what = "damaged" if commit or number in self.damaged else "missing"
                key = self.kind.entry_key(number)
                self._report(
                    f"the journal of {self.kind.what} is broken: {key} is {what}; restore it "
                    "from a backup"
                )
                return None
            document = self.kind.fold(document, commit)
            previous = digest(self.kind.commits.encode(commit))
        return document
