"""
Verify every byte, digest, link and document of a store, and mend what can be mended.

A problem is damage: listed bytes that are missing or changed, a journal or a document that does
not add up. A note is what a crash leaves behind, and what `check` puts right by itself or what
`--sweep` removes. Only problems make the command fail.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256

from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.codec import Codec, digest
from wheelyard.catalog.files import ORPHAN_AGE
from wheelyard.catalog.names import NameList
from wheelyard.catalog.projects import Projects
from wheelyard.errors import Conflict, IndexFault, NotFound
from wheelyard.model.ambient import Ambient
from wheelyard.model.project import Commit, File, Project, fold
from wheelyard.storage.base import ABSENT, Entry, Key, ObjectVersion, Store, Stored
from wheelyard.storage.spool import Spool


@dataclass(slots=True)
class Findings:
    """What a check has found so far."""

    projects: int = 0
    files: int = 0
    size: int = 0
    """Bytes that were read and hashed."""
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    rebuilt: int = 0
    """Documents that were folded again from their journal."""
    swept: int = 0
    """Leftovers that were removed."""


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What else a check is to do."""

    rebuild: bool = False
    sweep: bool = False


Progress = Callable[[str, int], None]
"""Told what is being looked at, and how many bytes of it were read just now."""


@dataclass(frozen=True, slots=True)
class Check:
    """The check operation, wired."""

    store: Store
    spool: Spool
    projects: Projects
    ambient: Ambient

    def run(self, options: CheckOptions, progress: Progress) -> Findings:
        """
        Check the whole store, and return what was found.

        Raises:
            Unavailable: The store does not answer.
        """
        findings = Findings()
        listed: set[Key] = set()
        gone: set[tuple[NormalizedName, str]] = set()
        names = self._names_of_documents_and_journals()
        self._ensure_readable_names(names, findings)
        for name in names:
            findings.projects += 1
            project = ProjectCheck(self.store, name, findings, progress).run(options.rebuild)
            if project is None:
                continue
            listed.update(_keys_of(project))
            gone.update((name, filename) for filename in project.gone)
            self._ensure_named(project, findings)
        self._check_names(findings)
        self._check_leftovers(listed, gone, findings, options)
        return findings

    def _names_of_documents_and_journals(self) -> list[NormalizedName]:
        names = {
            entry.key.removeprefix(keys.PROJECTS).removesuffix(".json")
            for entry in self.store.list(keys.PROJECTS)
        }
        names |= {entry.key.split("/")[1] for entry in self.store.list(keys.JOURNAL)}
        return sorted(NormalizedName(name) for name in names)

    def _ensure_readable_names(self, names: list[NormalizedName], findings: Findings) -> None:
        """Write the name list again if it is damaged: it follows from all the others."""
        found = self.store.get(keys.NAMES)
        if not isinstance(found, Stored):
            return
        codec = Codec(NameList)
        try:
            codec.decode(keys.NAMES, found.body)
        except IndexFault:
            with suppress(Conflict):  # somebody else has just done it
                self.store.put(keys.NAMES, codec.encode(NameList(tuple(names))), found.version)
            findings.mended.append("the list of projects was damaged, and is written again")

    def _ensure_named(self, project: Project, findings: Findings) -> None:
        known = self.projects.names.current().value
        if known is None or project.name not in known.known:
            self.projects.names.ensure(project.name)
            findings.mended.append(f"{project.name}: added to the list of projects")

    def _check_names(self, findings: Findings) -> None:
        known = self.projects.names.current().value
        for name in known.names if known else ():
            if self.store.get(keys.project(name)) is None:
                findings.problems.append(f"{name}: listed, but it has no document")

    def _check_leftovers(
        self,
        listed: set[Key],
        gone: set[tuple[NormalizedName, str]],
        findings: Findings,
        options: CheckOptions,
    ) -> None:
        """Count bytes that nothing lists, and scratch files; remove those that are old enough."""
        cutoff = (self.ambient.now() - ORPHAN_AGE).timestamp()
        orphans = 0
        for entry in self._orphans(listed):
            # a deleted filename never comes back, so its bytes need not wait
            may_go = entry.modified < cutoff or _owner(entry.key) in gone
            if options.sweep and may_go and self._sweep(entry):
                findings.swept += 1
            else:
                orphans += 1
        for path in self.spool.leftovers(cutoff) if options.sweep else ():
            path.unlink(missing_ok=True)
            findings.swept += 1
        scratch = sum(1 for _ in self.spool.leftovers(self.ambient.now().timestamp()))
        if orphans:
            findings.notes.append(
                f"{orphans} objects under {keys.FILES} belong to no listed file: leftovers of "
                "uploads that did not finish, or that are under way"
            )
        if scratch:
            findings.notes.append(f"{scratch} scratch files of uploads lie in {self.spool.folder}")

    def _orphans(self, listed: set[Key]) -> Iterator[Entry]:
        return (entry for entry in self.store.list(keys.FILES) if entry.key not in listed)

    def _sweep(self, entry: Entry) -> bool:
        """Remove an orphan unless it was listed or renewed just now; return whether it is gone."""
        name, filename = _owner(entry.key)
        project = self.projects.documents.reload(keys.project(name)).value
        file = project.by_filename.get(filename) if project else None
        if file is not None and file.sha256 in entry.key:
            return False
        with suppress(Conflict):
            self.store.delete(entry.key, entry.version)
            return True
        return False


@dataclass(frozen=True, slots=True)
class ProjectCheck:
    """The check of one project."""

    store: Store
    name: NormalizedName
    findings: Findings
    progress: Progress

    def run(self, rebuild: bool) -> Project | None:  # noqa: FBT001 - one call, above
        """Return the project if its document can be read or was folded again, else None."""
        commits = self._journal()
        # read after the journal, the document is never behind it, whoever commits meanwhile
        found = self.store.get(keys.project(self.name))
        stored = found if isinstance(found, Stored) else None
        project = self._document(stored)
        if project is not None:
            self._complete(commits, project)
        folded = self._fold(commits)
        if rebuild and folded is not None:
            project = self._rebuild(folded, stored)
        elif stored is None or project is None:
            self._problem("its document is missing or damaged; --rebuild folds it from the journal")
        elif folded is not None and Codec(Project).encode(folded) != stored.body:
            self._problem("its document is not what its journal says; --rebuild folds it again")
        for file in project.files if project else ():
            self._check_file(file)
        return project

    def _problem(self, what: str) -> None:
        self.findings.problems.append(f"{self.name}: {what}")

    def _document(self, stored: Stored | None) -> Project | None:
        if stored is None:
            return None
        try:
            project = Codec(Project).decode(keys.project(self.name), stored.body)
        except IndexFault:
            return None
        return project if project.name == self.name else None

    def _journal(self) -> list[Commit]:
        """Return the commits that the journal has, in order."""
        entries = self.store.list(keys.journal(self.name))
        commits = [self._commit(entry.key) for entry in entries]
        return [commit for commit in commits if commit is not None]

    def _commit(self, key: Key) -> Commit | None:
        found = self.store.get(key)
        if not isinstance(found, Stored):
            return None
        codec = Codec(Commit)
        with suppress(IndexFault):
            commit = codec.decode(key, found.body)
            if codec.encode(commit) == found.body:
                return commit
        self._problem(f"the journal entry {key} is damaged")
        return None

    def _complete(self, commits: list[Commit], project: Project) -> None:
        """Add what was committed meanwhile; the last commit may be in the document alone."""
        numbers = range(commits[-1].number + 1 if commits else 1, project.revision)
        found = (self._commit(keys.commit(self.name, number)) for number in numbers)
        commits.extend(commit for commit in found if commit is not None)
        last = project.commit
        if last is not None and (not commits or commits[-1].number < last.number):
            commits.append(last)
            key = keys.commit(self.name, last.number)
            with suppress(Conflict):  # written by its committer just now
                self.store.put(key, Codec(Commit).encode(last), ABSENT)
                self.findings.mended.append(f"{self.name}: journal entry {last.number} written")

    def _fold(self, commits: list[Commit]) -> Project | None:
        """Return the fold of the whole journal, or None where there is none or it is broken."""
        folded, previous = Project(name=self.name), ""
        for number, commit in enumerate(commits, 1):
            if (commit.number, commit.previous) != (number, previous):
                self._problem(f"its journal is broken at commit {number}")
                return None
            folded = fold(folded, commit)
            previous = digest(Codec(Commit).encode(commit))
        return folded if commits else None

    def _rebuild(self, folded: Project, stored: Stored | None) -> Project:
        body = Codec(Project).encode(folded)
        self.findings.rebuilt += 1
        if stored is None or stored.body != body:
            expect: ObjectVersion = stored.version if stored else ABSENT
            with suppress(Conflict):  # somebody commits just now: their document is the newer one
                self.store.put(keys.project(self.name), body, expect)
            self.findings.mended.append(f"{self.name}: document written again from its journal")
        return folded

    def _check_file(self, file: File) -> None:
        self.findings.files += 1
        self.progress(file.filename, 0)
        name, sha = self.name, file.sha256
        body = self._hash(keys.distribution(name, sha, file.filename), file.filename)
        if body is not None and body != (sha, file.size):
            self._problem(f"the bytes of {file.filename} are not those that were uploaded")
        metadata = self._hash(keys.core_metadata(name, sha, file.filename), file.filename)
        if metadata is not None and metadata[0] != file.core_metadata:
            self._problem(f"the core metadata of {file.filename} has changed")

    def _hash(self, key: Key, filename: str) -> tuple[str, int] | None:
        digest_, size = sha256(), 0
        try:
            for chunk in self.store.read(key):
                digest_.update(chunk)
                size += len(chunk)
                self.progress(filename, len(chunk))
        except NotFound:
            self._problem(f"{key} is missing")
            return None
        self.findings.size += size
        return digest_.hexdigest(), size


def _keys_of(project: Project) -> Iterator[Key]:
    for file in project.files:
        yield keys.distribution(project.name, file.sha256, file.filename)
        yield keys.core_metadata(project.name, file.sha256, file.filename)


def _owner(key: Key) -> tuple[NormalizedName, str]:
    """Return the project and the filename that a key under `files/` belongs to."""
    _, name, _, filename = key.split("/", 3)
    return NormalizedName(name), filename.removesuffix(".metadata")
