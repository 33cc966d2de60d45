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
        Check that the list has the newest commit of each project, and mark the others.

        `revisions` has the number of the newest commit by project. A marked commit gets a serial
        later. With `rebuild`, a damaged list begins again. A list that cannot be read or written is
        a problem in `findings`, and no error. Raises Unavailable if objects cannot be listed.
        """
        self._note_foreign_objects()
        try:
            unmarked_revisions = self._find_unmarked(revisions, rebuild=rebuild)
            self.changes.mark(unmarked_revisions)
        except WheelyardError as fault:
            advice = fault.message
            if fault.code == DAMAGED:
                advice = (
                    f"{fault.message} With --rebuild the list of changes begins again, and whoever "
                    "follows it has to look at all projects once more"
                )
            self.findings.problems.append(f"the list of changes cannot be read: {advice}")
        else:
            for name in unmarked_revisions:
                self.findings.repaired.append(
                    f"{name}: its last change will be in the list of changes"
                )

    def _find_unmarked(
        self, revisions: Mapping[NormalizedName, int], *, rebuild: bool
    ) -> Mapping[NormalizedName, int]:
        """
        Return the revisions that have neither a serial nor a mark, by project.

        With `rebuild`, a damaged list of changes begins again. Without it, raises Unavailable if
        the list is damaged.
        """
        try:
            return self.changes.unmarked(revisions)
        except WheelyardError as fault:
            if not rebuild or fault.code != DAMAGED:
                raise
        # only if asked for: whoever follows the list has to look at all projects again
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
    """
    The facts about a checked project that the rest of the check needs.

    The document is not kept, as a store may have very many of them.
    """

    name: NormalizedName
    has_document: bool
    """Whether the document was read or rebuilt: not if it is missing, damaged or unreadable."""
    revision: int
    """The number of the newest commit, or 0 without a document."""
    exists: bool
    """Whether the project has a document, and its name was not released."""
    is_consistent: bool
    """
    Whether document and journal are intact and agree. If not, nobody knows which files the project
    lists.
    """


CheckedProjects = Mapping[NormalizedName, CheckedProject]


class CheckedIndex(Struct, frozen=True):
    """What the check of an index has found out."""

    projects: CheckedProjects
    listed_names: Names | None
    """
    The list of names before the check repaired it, or None if the list is missing or unreadable.
    """
    name: str = MAIN
    """The name of the index."""

    @property
    def existing_projects(self) -> frozenset[str]:
        """The names of projects that have a document, and were not released."""
        return frozenset(name for name, checked in self.projects.items() if checked.exists)

    @property
    def has_all_names(self) -> bool:
        """Whether all projects of the index are known, by a list of names or as there are none."""
        return self.listed_names is not None or (self.name != MAIN and not self.projects)

    def may_list_more(self, name: NormalizedName) -> bool:
        """Return whether a project may list more files once its damaged objects are restored."""
        project = self.projects.get(name)
        if project is not None:
            return not project.is_consistent
        if not self.has_all_names:
            return True
        return self.listed_names is not None and name in self.listed_names


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
    file_faults: dict[Key, str]
    """
    The fault, in words, of each object of a file that was read for an index before this one, or an
    empty text if the object is intact.
    """
    is_last: bool
    """Whether this is the last index that is checked, so that no other one needs `file_faults`."""

    def run(self, findings: Findings, progress: CheckProgress, *, rebuild: bool) -> CheckedIndex:
        """
        Check the index, repair simple damage, and add the results to `findings`.

        Missing last entries of journals, missing names, and marks of commits without a serial are
        written. With `rebuild`, damaged documents and the list of changes are made again.
        `progress` is called from several threads. Raises Unavailable if objects cannot be listed.
        """
        # apart from `findings`, as the messages of an index get its name at the end
        index_findings = Findings()
        checked_projects = dict[NormalizedName, CheckedProject]()
        # first, as a mark may have journal entries of a copy that died: without them a project
        # would be reported as damaged
        with suppress(WheelyardError):  # a journal that is not completed is a problem below
            self.changes.complete_journals()
        names = self._find_project_names(index_findings)
        check = partial(self._check_project, progress=progress, rebuild=rebuild)
        # each thread has findings of its own, which only this thread adds up
        for project_findings, project in prefetch_map(check, names, self.threads):
            index_findings.add(project_findings)
            checked_projects[project.name] = project
        listed_names = self._repair_names(checked_projects.values(), index_findings)
        revisions = {project.name: project.revision for project in checked_projects.values()}
        ChangesCheck(self.changes, index_findings).run(revisions, rebuild=rebuild)
        if self.name != MAIN:
            index_findings = index_findings.in_index(self.name)
        findings.add(index_findings)
        return CheckedIndex(checked_projects, listed_names, self.name)

    def _check_project(
        self, name: NormalizedName, progress: CheckProgress, *, rebuild: bool
    ) -> tuple[Findings, CheckedProject]:
        """
        Check a project's journal, document and files.

        Several threads call this, each with another project. So the findings are returned, and
        not added to those of the index.
        """
        findings = Findings(projects=1)
        check = JournaledCheck(project_journal(name), self.documents, findings)
        project = check.run(rebuild=rebuild)
        files: Iterable[File] = ()
        revision = 0
        exists = False
        if project is not None:
            # also the files in the trash, as they can be restored
            files = self.removal.held(project, self.now)
            revision = project.revision
            exists = project.exists
        for file in files:
            if file.keep_until is None:
                findings.files += 1
            progress(file.filename, 0)
            for key, expected_digest in listed_objects(name, file):
                fault = self.file_faults.get(key)
                if fault is None:  # a file that several indexes list is read once
                    fault = self._find_fault(key, expected_digest, file, findings, progress)
                    if not self.is_last:
                        self.file_faults[key] = fault
                if fault:
                    findings.problems.append(f"{name}: {key} {fault}")
        return findings, CheckedProject(
            name=name,
            has_document=project is not None,
            revision=revision,
            exists=exists,
            is_consistent=check.is_consistent,
        )

    def _find_fault(
        self,
        key: Key,
        expected_digest: str,
        file: File,
        findings: Findings,
        progress: CheckProgress,
    ) -> str:
        """
        Read an object of a file, and return what is wrong with it, and what to do.

        An empty text means that the object is intact. Adds the bytes that were read to `findings`.
        """
        actual_digest = sha256()
        repetition = f"upload {file.filename} again"
        if expected_digest == file.provenance:
            repetition += " with its attestations"
        if expected_digest == file.provenance and file.source_index:
            repetition += f" to {file.source_index}, and promote it again"
        advice = f"{repetition}, or restore {key} from a backup"
        try:
            for chunk in self.files.read(key):
                actual_digest.update(chunk)
                findings.size += len(chunk)
                progress(file.filename, len(chunk))
        except NotFound:
            return f"is missing; {advice}"
        except WheelyardError as fault:
            return f"cannot be read: {fault.message} If that stays so, remove it, then {advice}"
        if actual_digest.hexdigest() == expected_digest:
            return ""
        return f"differs from the uploaded file; {advice}"

    def _find_project_names(self, findings: Findings) -> list[NormalizedName]:
        """
        Return the names of all projects with a document or a journal, sorted.

        Adds a note for each object that is neither.
        """
        names = set[NormalizedName]()
        # a project that has lost its document is found by its journal
        for prefix, end_of_name in ((keys.PROJECTS, ".json"), (keys.JOURNAL, "/")):
            for entry in self.documents.list(prefix):
                text, separator, _ = entry.key.removeprefix(prefix).partition(end_of_name)
                name = NormalizedName(text)
                is_valid = separator and _PROJECT_NAME.fullmatch(name)
                # below a journal there are entries, but at a document nothing follows the name
                if is_valid and (prefix == keys.JOURNAL or entry.key == keys.project(name)):
                    names.add(name)
                else:
                    findings.add_foreign_object(self.documents.whole_key(entry.key))
        return sorted(names)

    def _repair_names(
        self, checked_projects: Iterable[CheckedProject], findings: Findings
    ) -> Names | None:
        """
        Add missing projects to the list of names, and report names whose project is lost.

        Returns the names that the list had before, or None if the list is missing or unreadable.
        """
        read = read_or_report(self.documents, keys.PROJECT_NAMES, findings)
        codec = Codec(NameList)
        version = ABSENT
        stored_list: NameList | None = None
        if read.stored is not None:
            version = read.stored.version
            with suppress(WheelyardError):  # a damaged list counts as an empty one
                stored_list = codec.decode(keys.PROJECT_NAMES, read.stored.body)
        name_list = stored_list or NameList()
        listed_names = name_list.as_set
        checked_names = {project.name for project in checked_projects}
        self._check_claims(sorted(listed_names - checked_names), findings)

        # a malformed object at the key of a document is not a project
        existing_names = {project.name for project in checked_projects if project.has_document}
        missing_names = set[NormalizedName]()
        for name in existing_names - listed_names:
            if not self._is_released(name):
                missing_names.add(name)

        # a list that could not be read may be intact, and have private names without a project
        if missing_names and not read.has_failed:
            all_names = missing_names | listed_names
            body = codec.encode(name_list.with_names(all_names, self.runtime.new_id()))
            if repair(self.documents, keys.PROJECT_NAMES, body, version, findings):
                added = ", ".join(sorted(missing_names))
                findings.repaired.append(f"added to the list of projects: {added}")
        if stored_list is None:
            return None
        return listed_names

    def _is_released(self, name: NormalizedName) -> bool:
        """Return whether a name was given up, so that it has a document, but is not listed."""
        document = self.projects.documents.get(keys.project(name), "current").value
        return document is not None and document.is_released

    def _check_claims(self, names: Iterable[NormalizedName], findings: Findings) -> None:
        """Report listed names that have neither document nor journal."""
        # younger files may be of an upload that is not committed yet
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
