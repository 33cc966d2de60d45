"""The check of one project: its journal, its document, and the bytes of its files."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, fields
from hashlib import sha256
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.documents import Codec, digest
from wheelyard.catalog.files import listed_objects
from wheelyard.errors import Conflict, IndexFault, NotFound
from wheelyard.model.project import Commit, File, Project, fold
from wheelyard.storage.base import ABSENT, Key, ObjectVersion, Store, Stored

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
    mended: list[str] = field(default_factory=list)
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
    except IndexFault as fault:
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
    except IndexFault as fault:
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
        with suppress(IndexFault):
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
        with suppress(IndexFault):
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
            self.findings.mended.append(f"{self.name}: journal entry {last.number} written")
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
                self.findings.mended.append(f"{self.name}: document written again from its journal")
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
        except IndexFault as fault:
            self._problem(
                f"{key} cannot be read: {fault.message} If that stays so, remove it, then {advice}"
            )
        else:
            if found.hexdigest() != expected:
                self._problem(f"{key} has not the bytes that were uploaded; {advice}")
