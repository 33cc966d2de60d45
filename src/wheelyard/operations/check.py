"""
Verify every byte, digest, link and document of a store, and mend what can be mended.

A problem is damage: listed bytes that are missing or changed, a journal or a document that does
not add up. A note is what a crash or a person leaves behind. Only problems make the command fail.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, fields
from hashlib import sha256
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.documents import Codec, digest
from wheelyard.catalog.files import ORPHAN_AGE, listed_objects
from wheelyard.catalog.projects import NameList, Projects
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Conflict, NotFound, WheelyardError
from wheelyard.model.project import Commit, File, Project, fold
from wheelyard.model.text import counted
from wheelyard.model.token import TokenRecord, is_token_id
from wheelyard.operations.publishing_cleanup import PublishingCleanup
from wheelyard.storage.base import ABSENT, Entry, Key, ObjectVersion, Store, Stored
from wheelyard.storage.spool import Spool

_NAME: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")

Progress = Callable[[str, int], None]
"""Told what is being looked at, and how many bytes of it were read just now."""


@dataclass(slots=True)
class Findings:
    """What a check has found so far."""

    projects: int = 0
    files: int = 0
    size: int = 0
    """Bytes that were read and hashed."""
    problems: list[str] = field(default_factory=list)
    """Damage, each with what can be done about it."""
    notes: list[str] = field(default_factory=list)
    """What a crash or a person may leave behind, and what does no harm."""
    repaired: list[str] = field(default_factory=list)
    rebuilt: int = 0
    """Documents that were folded again from their journal."""
    swept: int = 0
    """Leftovers that were removed."""

    def add(self, others: "Findings") -> None:
        """Add what was found elsewhere."""
        for each in fields(self):
            # lists and numbers both know how to be added to
            setattr(self, each.name, getattr(self, each.name) + getattr(others, each.name))

    def note_stray(self, key: Key) -> None:
        """Note an object that nothing of wheelyard's has made."""
        self.notes.append(f"{key} is no object of wheelyard's")


class Unreadable:
    """The answer of `look` where an object is there and cannot be read."""

    __slots__ = ()


UNREADABLE: Final = Unreadable()


def look(store: Store, key: Key, findings: Findings) -> Stored | Unreadable | None:
    """Return an object, None where there is none; one that cannot be read is a problem."""
    try:
        found = store.get(key)
    except WheelyardError as fault:
        findings.problems.append(
            f"{key} cannot be read: {fault.message} If something else lies in its place, remove it"
        )
        return UNREADABLE
    return found if isinstance(found, Stored) else None


def mend(store: Store, key: Key, body: bytes, expect: ObjectVersion, findings: Findings) -> bool:
    """Write what was found missing; return False if somebody else has."""
    try:
        store.put(key, body, expect)
    except Conflict:
        return False
    except WheelyardError as fault:
        findings.problems.append(f"{key} could not be mended: {fault.message}")
        return False
    return True


@dataclass(frozen=True, slots=True)
class CheckedProject:
    """What is left of a project after its check."""

    name: NormalizedName
    project: Project | None
    """Its document, read or folded again; None if neither could be had."""
    is_sound: bool
    """Whether document and journal agree; if not, nobody knows which bytes belong to it."""

    def listed_keys(self) -> Iterator[Key]:
        """Yield the keys of all bytes that it lists."""
        for file in self.project.files if self.project else ():
            yield from (key for key, _ in listed_objects(self.name, file))


@dataclass(slots=True)
class ProjectCheck:
    """The check of one project, which adds to `findings`."""

    store: Store
    name: NormalizedName
    findings: Findings
    progress: Progress
    commits: Codec[Commit] = field(default_factory=lambda: Codec(Commit))
    documents: Codec[Project] = field(default_factory=lambda: Codec(Project))
    is_sound: bool = True
    damaged: dict[int, ObjectVersion] = field(default_factory=dict)
    """Journal entries that cannot be read, by their number."""

    def run(self, *, rebuild: bool) -> CheckedProject:
        """Check everything; with `rebuild`, write the document again from the journal."""
        commits = self._journal()
        # read after the journal, the document is never behind it, whoever commits meanwhile
        found = look(self.store, keys.project(self.name), self.findings)
        stored = found if isinstance(found, Stored) else None
        project = self._document(stored)
        agrees = project is None or self._complete(commits, project)
        folded = self._fold(commits)
        if not agrees:
            self._unsound(
                "its document and its journal have different commits of one number, as after a "
                "restore; restore one of them from the same backup as the other"
            )
        elif isinstance(found, Unreadable):
            self.is_sound = False
        elif rebuild and folded is not None:
            project = self._rebuild(folded, stored)
        elif project is None or stored is None:
            advice = "fold it again with --rebuild" if folded else "restore it from a backup"
            self._unsound(f"its document is missing or damaged; {advice}")
        elif folded is not None and self.documents.encode(folded) != stored.body:
            self._unsound("its document is not what its journal says; fold it again with --rebuild")
        for file in project.files if project else ():
            self.findings.files += 1
            self.progress(file.filename, 0)
            for key, expected in listed_objects(self.name, file):
                self._check_object(key, expected, file)
        return CheckedProject(self.name, project, self.is_sound)

    def _problem(self, what: str) -> None:
        self.findings.problems.append(f"{self.name}: {what}")

    def _unsound(self, what: str) -> None:
        self.is_sound = False
        self._problem(what)

    def _document(self, stored: Stored | None) -> Project | None:
        with suppress(WheelyardError):
            if stored is not None:
                project = self.documents.decode(keys.project(self.name), stored.body)
                return project if project.name == self.name else None
        return None

    def _journal(self) -> dict[int, Commit]:
        commits = dict[int, Commit]()
        for entry in self.store.list(keys.journal(self.name)):
            number = keys.number_of(entry.key)
            if number is None:
                self.findings.note_stray(entry.key)
            elif (commit := self._commit(number)) is not None:
                commits[number] = commit
        return commits

    def _commit(self, number: int) -> Commit | None:
        key, codec = keys.commit(self.name, number), self.commits
        found = look(self.store, key, self.findings)
        if not isinstance(found, Stored):
            self.is_sound = self.is_sound and found is None
            return None
        with suppress(WheelyardError):
            commit = codec.decode(key, found.body)
            if commit.number == number and codec.encode(commit) == found.body:
                return commit
        self.damaged[number] = found.version
        return None

    def _complete(self, commits: dict[int, Commit], project: Project) -> bool:
        """
        Add what was committed meanwhile; return whether the journal agrees with the document.

        The last commit may be whole in the document alone.
        """
        first_missing = max(commits, default=0) + 1
        for number in range(first_missing, project.revision):
            if number not in self.damaged and (commit := self._commit(number)) is not None:
                commits[number] = commit
        last = project.commit
        if last is None or last.number in commits:
            return last is None or commits[last.number] == last
        commits[last.number] = last
        expect = self.damaged.pop(last.number, ABSENT)
        key, body = keys.commit(self.name, last.number), self.commits.encode(last)
        if mend(self.store, key, body, expect, self.findings):
            self.findings.repaired.append(f"{self.name}: journal entry {last.number} written")
        return True

    def _fold(self, commits: dict[int, Commit]) -> Project | None:
        folded, previous = Project(name=self.name), ""
        for number in range(1, max([*commits, *self.damaged], default=0) + 1):
            commit = commits.get(number)
            if commit is None or commit.previous != previous:
                what = "damaged" if commit or number in self.damaged else "missing"
                key = keys.commit(self.name, number)
                self._unsound(f"its journal is broken: {key} is {what}; restore it from a backup")
                return None
            folded = fold(folded, commit)
            previous = digest(self.commits.encode(commit))
        return folded if commits else None

    def _rebuild(self, folded: Project, stored: Stored | None) -> Project:
        body = self.documents.encode(folded)
        self.findings.rebuilt += 1
        if stored is None or stored.body != body:
            expect = stored.version if stored else ABSENT
            if mend(self.store, keys.project(self.name), body, expect, self.findings):
                self.findings.repaired.append(
                    f"{self.name}: document written again from its journal"
                )
        return folded

    def _check_object(self, key: Key, expected: str, file: File) -> None:
        found = sha256()
        advice = f"upload {file.filename} again, or restore {key} from a backup"
        try:
            for chunk in self.store.read(key):
                found.update(chunk)
                self.findings.size += len(chunk)
                self.progress(file.filename, len(chunk))
        except NotFound:
            self._problem(f"{key} is missing; {advice}")
        except WheelyardError as fault:
            self._problem(
                f"{key} cannot be read: {fault.message} If that stays so, remove it, then {advice}"
            )
        else:
            if found.hexdigest() != expected:
                self._problem(f"{key} has not the bytes that were uploaded; {advice}")


Checked = Mapping[NormalizedName, CheckedProject]
Names = frozenset[NormalizedName]


@dataclass(frozen=True, slots=True)
class Check:
    """The check operation, wired."""

    store: Store
    spool: Spool
    projects: Projects
    runtime: Runtime
    publishing_cleanup: PublishingCleanup
    threads: int = 1
    """Projects that are checked at a time."""

    def run(
        self,
        progress: Progress = lambda _what, _size: None,
        *,
        rebuild: bool = False,
        sweep: bool = False,
    ) -> Findings:
        """
        Check the whole store, and return what was found.

        Args:
            progress: Told of every file.
            rebuild: Fold every journal again into its document.
            sweep: Remove leftovers.
        """
        findings = Findings()
        checked = dict[NormalizedName, CheckedProject]()
        for found, project in self._checked(self._names(findings), progress, rebuild=rebuild):
            findings.add(found)
            checked[project.name] = project
        known = self._mend_names(checked.values(), findings)
        self._check_tokens(findings, sweep=sweep)
        self._look_at_leftovers(checked, known, findings, sweep=sweep)
        if sweep:
            findings.swept += self.publishing_cleanup.run()
        return findings

    def _checked(
        self, names: Iterable[NormalizedName], progress: Progress, *, rebuild: bool
    ) -> Iterator[tuple[Findings, CheckedProject]]:
        def check(name: NormalizedName) -> tuple[Findings, CheckedProject]:
            findings = Findings(projects=1)
            project = ProjectCheck(self.store, name, findings, progress)
            return findings, project.run(rebuild=rebuild)

        if self.threads == 1:
            yield from map(check, names)
            return
        with ThreadPoolExecutor(self.threads) as pool:
            try:
                yield from pool.map(check, names)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)  # nothing more after Ctrl-C

    def _names(self, findings: Findings) -> list[NormalizedName]:
        found = set[NormalizedName]()
        for prefix, end in ((keys.PROJECTS, ".json"), (keys.JOURNAL, "/")):
            for entry in self.store.list(prefix):
                text, separator, _ = entry.key.removeprefix(prefix).partition(end)
                name = NormalizedName(text)
                is_ours = prefix == keys.JOURNAL or entry.key == keys.project(name)
                if _NAME.fullmatch(name) and separator and is_ours:
                    found.add(name)
                else:
                    findings.note_stray(entry.key)
        return sorted(found)

    def _mend_names(self, checked: Iterable[CheckedProject], findings: Findings) -> Names | None:
        """Write the name list again if it lacks a project; return what it had, if it was whole."""
        found = look(self.store, keys.NAMES, findings)
        stored = found if isinstance(found, Stored) else None
        codec, known = Codec(NameList), None
        with suppress(WheelyardError):
            known = codec.decode(keys.NAMES, stored.body).known if stored else None
        listed = known or frozenset()
        findings.problems += [
            f"{name}: listed, and its document and journal are gone; restore them from a backup"
            for name in sorted(listed - {each.name for each in checked})
        ]
        # an object that only lies where a document would lie makes no project
        real = {each.name for each in checked if each.project is not None}
        if real - listed and not isinstance(found, Unreadable):
            body = codec.encode(NameList(tuple(sorted(real | listed))))
            expect = stored.version if stored else ABSENT
            if mend(self.store, keys.NAMES, body, expect, findings):
                added = ", ".join(sorted(real - listed))
                findings.repaired.append(f"added to the list of projects: {added}")
        return known

    def _check_tokens(self, findings: Findings, *, sweep: bool) -> None:
        codec = Codec(TokenRecord)
        uses = self._uses(findings)  # first, so that a token which is made just now has none yet
        for entry in self.store.list(keys.TOKENS):
            token_id = entry.key.removeprefix(keys.TOKENS).removesuffix(".json")
            if not is_token_id(token_id) or entry.key != keys.token(token_id):
                findings.note_stray(entry.key)
                continue
            uses.pop(token_id, None)
            found = look(self.store, entry.key, findings)
            try:
                if isinstance(found, Stored):
                    codec.decode(entry.key, found.body)
            except WheelyardError:
                findings.problems.append(
                    f"{entry.key} is damaged, so its token opens nothing; remove it, and make "
                    "another token"
                )
        if uses and sweep:
            for entry in uses.values():
                self.store.delete(entry.key, None)
            findings.swept += len(uses)
        elif uses:
            objects = counted(len(uses), "object")
            findings.notes.append(f"{objects} under {keys.USES} belong to no token")

    def _uses(self, findings: Findings) -> dict[str, Entry]:
        uses = dict[str, Entry]()
        for entry in self.store.list(keys.USES):
            token_id = keys.token_id_of_use(entry.key)
            if token_id is None:
                findings.note_stray(entry.key)
            else:
                uses[token_id] = entry
        return uses

    def _look_at_leftovers(
        self, checked: Checked, known: Names | None, findings: Findings, *, sweep: bool
    ) -> None:
        now = self.runtime.now()
        cutoff, orphans = (now - ORPHAN_AGE).timestamp(), 0
        for entry, owner in self._orphans(checked, known, findings):
            found = checked.get(NormalizedName(owner.project))
            # a deleted filename never comes back, so its bytes need not wait
            project = found and found.project
            is_deleted = bool(project and owner.filename in project.deleted_filenames)
            may_go = sweep and (is_deleted or entry.modified < cutoff)
            if may_go and self._sweep(entry, owner):
                findings.swept += 1
            else:
                orphans += 1
        for path in self.spool.leftovers(cutoff) if sweep else ():
            path.unlink(missing_ok=True)
            findings.swept += 1
        scratch = sum(1 for _ in self.spool.leftovers(now.timestamp()))
        if orphans:
            findings.notes.append(
                f"{counted(orphans, 'object')} under {keys.FILES} belong to no listed file: "
                "leftovers of uploads that did not finish, or that are under way"
            )
        if scratch:
            files = counted(scratch, "scratch file")
            findings.notes.append(f"{files} of uploads in {self.spool.folder}")

    def _orphans(
        self, checked: Checked, known: Names | None, findings: Findings
    ) -> Iterator[tuple[Entry, keys.Owner]]:
        """Yield bytes that nothing lists, and whose; none of a project that may list them."""
        listed = {key for each in checked.values() for key in each.listed_keys()}
        for entry in self.store.list(keys.FILES):
            if entry.key in listed:
                continue
            owner = keys.owner_of(entry.key)
            if owner is None:
                findings.note_stray(entry.key)
                continue
            found = checked.get(NormalizedName(owner.project))
            # where the list of names is lost, any project may have been there
            if found.is_sound if found else known is not None and owner.project not in known:
                yield entry, owner

    def _sweep(self, entry: Entry, owner: keys.Owner) -> bool:
        key = keys.project(NormalizedName(owner.project))
        project = self.projects.documents.get(key, "now").value
        file = project.by_filename.get(owner.filename) if project else None
        if file is not None and file.sha256 == owner.sha256:
            return False
        with suppress(Conflict):
            self.store.delete(entry.key, entry.version)
            return True
        return False
