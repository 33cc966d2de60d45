"""
Check of one index of a store: its projects with their files, its names, its list of changes.

The docstring of `check_store` says what is a problem, and what is repaired.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.changes import Changes
from wheelyard.catalog.document_cache import Codec
from wheelyard.catalog.file_removal import FileRemoval
from wheelyard.catalog.files import listed_objects
from wheelyard.catalog.journaled_documents import project_journal
from wheelyard.catalog.projects import NameList, Projects
from wheelyard.concurrency.runtime import Runtime
from wheelyard.concurrency.threads import prefetch_map
from wheelyard.errors import DAMAGED, NotFound, WheelyardError
from wheelyard.model.index_name import MAIN
from wheelyard.model.project import File
from wheelyard.operations.findings import Findings, JournaledCheck, read_or_report, repair
from wheelyard.operations.sweep import ORPHAN_AGE
from wheelyard.storage.base import ABSENT, Key, Store

_PROJECT_NAME: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")

CheckProgress = Callable[[str, int], None]
"""Called with a distribution's filename, and how many bytes were just read, 0 at its start."""

Names = frozenset[NormalizedName]


class ChangesCheck(Struct, frozen=True):
    """Checks the list of changes, and marks commits that have no serial."""

    changes: Changes
    findings: Findings

    def run(self, revisions: Mapping[NormalizedName, int], *, rebuild: bool) -> None:
        """
        Check that projects with these revisions are in the list, and mark those that are not.

        What is marked gets a serial later. With `rebuild`, a damaged list begins again. A list that
        cannot be read or written is a problem in `findings`, and no error. Raises Unavailable if
        objects cannot be listed.
        """
        self._note_foreign_objects()
        try:
            unmarked = self._unmarked(revisions, rebuild=rebuild)
            self.changes.mark(unmarked)
        except WheelyardError as fault:
            advice = fault.message
            if fault.code == DAMAGED:
                advice = (
                    f"{fault.message} With --rebuild the list of changes begins again, and whoever "
                    "follows it has to look at all projects once more"
                )
            self.findings.problems.append(f"the list of changes cannot be read: {advice}")
        else:
            for name in unmarked:
                self.findings.repaired.append(
                    f"{name}: its last change will be in the list of changes"
                )

    def _unmarked(
        self, revisions: Mapping[NormalizedName, int], *, rebuild: bool
    ) -> Mapping[NormalizedName, int]:
        try:
            return self.changes.unmarked(revisions)
        except WheelyardError as fault:
            if not rebuild or fault.code != DAMAGED:
                raise
        # only if asked for: whoever follows the list looks at all projects once more then
        self.changes.rebuild(revisions)
        self.findings.repaired.append(
            f"{self.changes.store.whole_key(keys.CHANGES)}: the list of changes begins again"
        )
        return self.changes.unmarked(revisions)

    def _note_foreign_objects(self) -> None:
        store = self.changes.store
        for entry in store.list(keys.PENDING):
            if keys.parse_pending_mark(entry.key) is None:
                self.findings.add_foreign_object(store.whole_key(entry.key))
        for entry in store.list(keys.SEALED_CHANGES):
            if keys.entry_number(keys.SEALED_CHANGES, entry.key) is None:
                self.findings.add_foreign_object(store.whole_key(entry.key))


class CheckedProject(Struct, frozen=True):
    """A checked project: what is needed of its document, of which a store has very many."""

    name: NormalizedName
    has_document: bool
    """Whether it was read or rebuilt: not if it is missing, damaged or unreadable."""
    revision: int
    """0 without a document."""
    exists: bool
    """Whether it has a document, and was not released."""
    is_consistent: bool
    """Whether document and journal are intact and agree. If not, its list of files is uncertain."""


CheckedProjects = Mapping[NormalizedName, CheckedProject]


class CheckedIndex(Struct, frozen=True):
    """What the check of an index has found out."""

    projects: CheckedProjects
    listed: Names | None
    """The names that were listed before, or None if the list is missing or unreadable."""
    name: str = MAIN
    """The name of the index."""

    @property
    def existing(self) -> frozenset[str]:
        """The names of projects that have a document, and were not released."""
        return frozenset(name for name, checked in self.projects.items() if checked.exists)

    @property
    def has_names(self) -> bool:
        """Whether all projects of the index are known: it has a list of them, or has none yet."""
        return self.listed is not None or (self.name != MAIN and not self.projects)

    def may_list(self, name: NormalizedName) -> bool:
        """Return whether a project may list more files, once what is damaged is restored."""
        project = self.projects.get(name)
        if project is not None:
            return not project.is_consistent
        return not self.has_names or (self.listed is not None and name in self.listed)


class IndexCheck(Struct, frozen=True, kw_only=True):
    """Checks one index, and repairs simple damage."""

    name: str
    documents: Store
    """The documents of the index."""
    files: Store
    """The files of all indexes."""
    projects: Projects
    changes: Changes
    removal: FileRemoval
    runtime: Runtime
    now: datetime
    """When the check began, by the store's clock."""
    threads: int
    """The number of projects that are checked concurrently."""
    verified: dict[Key, str]
    """What is wrong with the objects of files that were read for an index before this one."""
    is_last: bool
    """Whether this is the last index that is checked, so that no other one needs `verified`."""

    def run(self, findings: Findings, progress: CheckProgress, *, rebuild: bool) -> CheckedIndex:
        """
        Check the index, repair simple damage, and add what is wrong to `findings`.

        Missing last entries of journals, missing names, and marks of commits without a serial are
        written. With `rebuild`, damaged documents and the list of changes are made again.
        `progress` is called from several threads. Raises Unavailable if objects cannot be listed.
        """
        # its own ones first: their messages get the name of the index at the end
        own = Findings()
        checked = dict[NormalizedName, CheckedProject]()
        # first, as a mark may have journal entries of a copy that died: without them a project
        # would be reported as damaged
        with suppress(WheelyardError):  # what is not completed is a problem below
            self.changes.complete_journals()
        names = self._project_names(own)
        check = partial(self._check_project, progress=progress, rebuild=rebuild)
        # each thread has findings of its own, which only this one adds up
        for project_findings, project in prefetch_map(check, names, self.threads):
            own.add(project_findings)
            checked[project.name] = project
        listed = self._repair_names(checked.values(), own)
        revisions = {name: checked_project.revision for name, checked_project in checked.items()}
        ChangesCheck(self.changes, own).run(revisions, rebuild=rebuild)
        if self.name != MAIN:
            own = own.in_index(self.name)
        findings.add(own)
        return CheckedIndex(checked, listed, self.name)

    def _check_project(
        self, name: NormalizedName, progress: CheckProgress, *, rebuild: bool
    ) -> tuple[Findings, CheckedProject]:
        """Check a project's journal, document and files, in one of several threads."""
        findings = Findings(projects=1)
        check = JournaledCheck(project_journal(name), self.documents, findings)
        project = check.run(rebuild=rebuild)
        files: Iterable[File] = ()
        revision = 0
        exists = False
        if project is not None:
            # also those in the trash, as they can be restored
            files = self.removal.held(project, self.now)
            revision = project.revision
            exists = project.exists
        for file in files:
            if file.keep_until is None:
                findings.files += 1
            progress(file.filename, 0)
            for key, expected in listed_objects(name, file):
                problem = self.verified.get(key)
                if problem is None:  # a file that several indexes list is read once
                    problem = self._fault_of(key, expected, file, findings, progress)
                    if not self.is_last:
                        self.verified[key] = problem
                if problem:
                    findings.problems.append(f"{name}: {key} {problem}")
        return findings, CheckedProject(
            name=name,
            has_document=project is not None,
            revision=revision,
            exists=exists,
            is_consistent=check.is_consistent,
        )

    def _fault_of(
        self, key: Key, expected: str, file: File, findings: Findings, progress: CheckProgress
    ) -> str:
        """Return what is wrong with an object of a file, and what to do, or an empty text."""
        actual = sha256()
        again = f"upload {file.filename} again"
        if expected == file.provenance:
            again += " with its attestations"
        if expected == file.provenance and file.source_index:
            again += f" to {file.source_index}, and promote it again"
        advice = f"{again}, or restore {key} from a backup"
        try:
            for chunk in self.files.read(key):
                actual.update(chunk)
                findings.size += len(chunk)
                progress(file.filename, len(chunk))
        except NotFound:
            return f"is missing; {advice}"
        except WheelyardError as fault:
            return f"cannot be read: {fault.message} If that stays so, remove it, then {advice}"
        if actual.hexdigest() == expected:
            return ""
        return f"differs from the uploaded file; {advice}"

    def _project_names(self, findings: Findings) -> list[NormalizedName]:
        """Return the names of all projects with a document or a journal, sorted."""
        names = set[NormalizedName]()
        # a journal without a document is of a project that has lost it
        for prefix, end in ((keys.PROJECTS, ".json"), (keys.JOURNAL, "/")):
            for entry in self.documents.list(prefix):
                text, separator, _ = entry.key.removeprefix(prefix).partition(end)
                name = NormalizedName(text)
                is_ours = prefix == keys.JOURNAL or entry.key == keys.project(name)
                if _PROJECT_NAME.fullmatch(name) and separator and is_ours:
                    names.add(name)
                else:
                    findings.add_foreign_object(self.documents.whole_key(entry.key))
        return sorted(names)

    def _repair_names(self, checked: Iterable[CheckedProject], findings: Findings) -> Names | None:
        """
        Add missing projects to the list of names, and report names whose project is lost.

        Return the names that were listed before, or None if the list is missing or unreadable.
        """
        read = read_or_report(self.documents, keys.PROJECT_NAMES, findings)
        codec = Codec(NameList)
        version = ABSENT
        name_list: NameList | None = None
        if read.stored is not None:
            version = read.stored.version
            with suppress(WheelyardError):  # a damaged list counts as an empty one
                name_list = codec.decode(keys.PROJECT_NAMES, read.stored.body)
        before = name_list or NameList()
        listed = before.as_set
        self._check_claims(sorted(listed - {project.name for project in checked}), findings)

        # a malformed object at the key of a document is not a project
        existing = {project.name for project in checked if project.has_document}
        missing = {name for name in existing - listed if not self._is_released(name)}

        # a list that could not be read may be intact, and have private names without a project
        if missing and not read.has_failed:
            body = codec.encode(before.with_names(missing | listed, self.runtime.new_id()))
            if repair(self.documents, keys.PROJECT_NAMES, body, version, findings):
                added = ", ".join(sorted(missing))
                findings.repaired.append(f"added to the list of projects: {added}")
        if name_list is None:
            return None
        return listed

    def _is_released(self, name: NormalizedName) -> bool:
        """Return whether a name was given up: its document stays, and it is not listed."""
        document = self.projects.documents.get(keys.project(name), "current").value
        return document is not None and document.is_released

    def _check_claims(self, names: Iterable[NormalizedName], findings: Findings) -> None:
        """Report listed names that have neither document nor journal."""
        # files that are younger may be those of an upload that is not committed yet
        cutoff = (self.now - ORPHAN_AGE).timestamp()
        for name in names:
            files = self.files.list(f"{keys.FILES}{name}/")
            if any(entry.modified < cutoff for entry in files):
                findings.problems.append(
                    f"{name}: listed, and its document and journal are gone; restore them from a "
                    "backup"
                )
            else:
                findings.add_note(
                    f"{name}: private, and nothing is published under it: an upload did not "
                    "finish, or is under way; if it had files, restore them from a backup, and if "
                    "nobody needs the name, release it"
                )
