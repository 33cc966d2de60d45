"""
Verification of the grants and groups in the store: the document, and the journal of its changes.

A server answers 503 to callers whose rights depend on a damaged document, so damage is a problem,
and `rebuild` writes the document as its journal says.
"""

from contextlib import suppress
from dataclasses import dataclass, field

from wheelyard.catalog import keys
from wheelyard.catalog.access_records import COMMITS, RULES
from wheelyard.catalog.document_cache import digest
from wheelyard.errors import WheelyardError
from wheelyard.model.access_rules import AccessCommit, AccessRules, fold, merge
from wheelyard.model.grants import Grants
from wheelyard.operations.findings import Findings, read_or_report, repair
from wheelyard.storage.base import ABSENT, ObjectVersion, Store, Stored


@dataclass(slots=True)
class AccessCheck:
    """Checks the grants and groups of a store; adds the results to `findings`."""

    store: Store
    findings: Findings
    commits: dict[int, AccessCommit] = field(default_factory=dict)
    """The intact journal entries, by number."""
    damaged: dict[int, ObjectVersion] = field(default_factory=dict)
    """The object versions of malformed journal entries, by number."""

    def run(self, *, rebuild: bool) -> None:
        """Check document and journal, and write a missing last entry; `rebuild` the document."""
        for entry in self.store.list(keys.ACCESS_JOURNAL):
            number = keys.access_commit_number(entry.key)
            if number is None:
                self.findings.add_foreign_object(entry.key)
            else:
                self._read_commit(number)
        # read after the journal, so that a concurrent change cannot make the document older
        found = read_or_report(self.store, keys.ACCESS, self.findings)
        if isinstance(found, WheelyardError):
            return
        rules = _document(found)
        if rules is not None and not self._complete(rules):
            self._report(
                f"{keys.ACCESS} and its journal have different changes of one number, as after a "
                "restore; restore one of them from the same backup as the other"
            )
        elif (found or self.commits) and (folded := self._fold()) not in (None, rules):
            self._repair(found, folded, rebuild=rebuild)

    def _repair(self, found: Stored | None, folded: AccessRules, *, rebuild: bool) -> None:
        if not rebuild:
            self._report(
                f"{keys.ACCESS} is not what its journal says, so that servers may refuse callers "
                "who have a grant; fold it again with --rebuild"
            )
            return
        body, expect = RULES.encode(folded), found.version if found else ABSENT
        if repair(self.store, keys.ACCESS, body, expect, self.findings):
            self.findings.rebuilt += 1
            self.findings.repaired.append(f"{keys.ACCESS}: written again from its journal")

    def _report(self, what: str) -> None:
        self.findings.problems.append(what)

    def _read_commit(self, number: int) -> None:
        key = keys.access_commit(number)
        found = read_or_report(self.store, key, self.findings)
        if isinstance(found, Stored):
            self.damaged[number] = found.version
            with suppress(WheelyardError):
                commit = COMMITS.decode(key, found.body)
                if commit.number == number and COMMITS.encode(commit) == found.body:
                    self.commits[number] = commit
                    del self.damaged[number]

    def _complete(self, rules: AccessRules) -> bool:
        """
        Read entries that are newer than the listing; return whether they agree with the document.

        If the journal lacks the document's last commit, or has it damaged, it is written there.
        """
        for number in range(max(self.commits, default=0) + 1, rules.revision):
            if number not in self.damaged:
                self._read_commit(number)
        last = rules.commit
        if last is None or last.number in self.commits:
            return last is None or self.commits[last.number] == last
        self.commits[last.number] = last
        expect = self.damaged.pop(last.number, ABSENT)
        key, body = keys.access_commit(last.number), COMMITS.encode(last)
        if repair(self.store, key, body, expect, self.findings):
            self.findings.repaired.append(f"{keys.ACCESS}: journal entry {last.number} written")
        return True

    def _fold(self) -> AccessRules | None:
        rules, previous = AccessRules(), ""
        for number in range(1, max([*self.commits, *self.damaged], default=0) + 1):
            commit = self.commits.get(number)
            if commit is None or commit.previous != previous:
                what = "damaged" if commit or number in self.damaged else "missing"
                key = keys.access_commit(number)
                self._report(
                    f"the journal of the grants is broken: {key} is {what}; restore it "
                    "from a backup"
                )
                return None
            rules, previous = fold(rules, commit), digest(COMMITS.encode(commit))
        return rules


def _document(found: Stored | None) -> AccessRules | None:
    """Return the document; None if it is missing, damaged, or has an impossible grant."""
    with suppress(WheelyardError):
        if found is not None:
            rules = RULES.decode(keys.ACCESS, found.body)
            merge(Grants(), rules)
            return rules
    return None
