"""
Copying a store into another one: incremental, verified, and safe while the source is written.

The target can be served at any time, also after a copy that was interrupted. The next copy compares
the same projects, and copies only what the target lacks. The docstring of this package has the
steps, and why they are in this order.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from itertools import groupby
from typing import Final, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys, removed
from wheelyard.catalog.changes import Changes
from wheelyard.catalog.commits import diverged
from wheelyard.catalog.document_cache import Codec, UnreadableIgnored, digest, lost
from wheelyard.catalog.file_removal import FileRemoval
from wheelyard.catalog.files import listed_objects
from wheelyard.catalog.journaled_documents import DecisionRecords, IndexRecords, project_journal
from wheelyard.catalog.opening import Catalog
from wheelyard.catalog.projects import NameList, Projects
from wheelyard.catalog.store_clock import StoreClock
from wheelyard.concurrency.threads import prefetch_map
from wheelyard.downloads.upkeep import copy_counts
from wheelyard.errors import (
    DAMAGED,
    UNREADABLE_CODES,
    Conflict,
    NotFound,
    Unavailable,
    WheelyardError,
)
from wheelyard.model.index_name import MAIN
from wheelyard.model.project import Commit, File, Project
from wheelyard.operations.copying.credential_copy import (
    CredentialCopy,
    RightsRecords,
    UpstreamCopy,
    commits_of,
    copy_document,
    source_faults,
    target_faults,
)
from wheelyard.operations.copying.project_plan import (
    ComparedProject,
    MissingObject,
    ProjectPair,
    ProjectPlan,
)
from wheelyard.operations.sweep import RENEWAL_AGE
from wheelyard.storage.base import STORAGE_DENIED, Entry, Key, Stored, Stores
from wheelyard.storage.filesystem import storage_faults, write_all
from wheelyard.storage.forwarding import PrefixedStore
from wheelyard.storage.spool import Spool

MOST_RECORDS: Final = 20_000
"""
How many records of files, of about 2 KB each, stay in memory from the comparison to the commits.
"""
MAX_RETRIES: Final = 4
"""How often the bytes are copied again for a later moment, if files were deleted meanwhile."""

T = TypeVar("T")
R = TypeVar("R")

CopyProgress = Callable[[str, int], None]
"""Called in several threads with a project's name and the bytes of it that were just copied."""


class CopyReport(Struct):
    """The results of a copy."""

    moment: datetime | None = None
    """The time of the newest commit in the source, in UTC. Later ones are not in the target."""
    projects: int = 0
    """The number of names in the list of the target, without projects that were left out."""
    changed: int = 0
    """The number of projects, also with a released name, of which commits were copied."""
    objects: int = 0
    """
    The number of objects with the bytes or the core metadata of a distribution that were written.
    """
    size: int = 0
    """The bytes of these objects."""
    decisions: int = 0
    """The number of decisions about upstream packages that were copied."""
    upstream: int = 0
    """
    The number of objects with owners of public names, or digests of their files, that were written.
    """
    credentials: int = 0
    """The number of objects below `credentials/` that were written."""
    problems: list[str] = []
    """Sentences about the projects that stay in the target as they were, and why."""
    warnings: list[str] = []
    """Sentences for the operator that are no problems."""

    def add(self, index: str, report: "CopyReport") -> None:
        """Add the report about another index to this report."""
        if self.moment is None:
            self.moment = report.moment
        elif report.moment is not None:
            self.moment = max(self.moment, report.moment)
        self.projects += report.projects
        self.changed += report.changed
        self.objects += report.objects
        self.size += report.size
        self.problems += (f"index {index}: {problem}" for problem in report.problems)


class CopyState(Struct, frozen=True):
    """The stored document about the last copy into a store."""

    origin: str
    """The location that was copied from."""
    source: int
    """
    A serial of the source. The target has all changes up to this serial, but perhaps not those of
    the projects in `again`.
    """
    target: int
    """
    A serial of the target. Copies have made all changes up to this serial, but perhaps not those of
    the projects in `again`.
    """
    moment: datetime | None
    again: tuple[NormalizedName, ...]
    """Projects that the next copy has to compare, whether they have changed or not."""


_STATES: Final = Codec(CopyState)


class StoreCopy(Struct, frozen=True, kw_only=True):
    """Copies one store into another one: of main with all indexes, or of one index alone."""

    source: Stores
    source_changes: Changes
    """The feed of the source."""
    origin: str
    """The location of the source."""
    target: Stores
    target_clock: StoreClock
    target_changes: Changes
    projects: Projects
    """The projects of the target."""
    rights: RightsRecords
    """The documents of the target below `credentials/` that have a journal."""
    decisions: DecisionRecords
    """The decisions of the target."""
    upstream: UpstreamCopy | None
    """Copies what is known of upstream indexes. None if both stores share that."""
    spool: Spool
    """Where the bytes of an object wait until their digest is verified."""
    threads: int
    claims_names: bool = False
    """
    Whether the names are copied first, so that the target asks no upstream index for them
    meanwhile.
    """
    name: str = MAIN
    """The name of the index that is copied. With main, all other indexes are copied as well."""
    indexes: "IndexCopies | None" = None
    """How the other indexes are copied, or None for a store that cannot have other indexes."""

    def run(self, progress: CopyProgress, *, with_credentials: bool = False) -> CopyReport:
        """
        Copy projects, names, decisions and owners of public names.

        Credentials are copied if `with_credentials` is set, and only with main. With main, the
        definitions and the packages of all other indexes are copied as well. Counts of downloads
        are always copied. Outdated lines of htpasswd files are copied in any case, so that no
        server of the target accepts such a line. `progress` is called from several threads.

        A damaged project is reported and left out. Raises Conflict or Unavailable, before any
        package is copied, if the list of indexes of the source is damaged or lost. Raises
        Unavailable if one of the stores does not answer, or is full. A later copy does the rest.
        """
        copying = _Copying(self, progress)
        copying.begin()
        if self.indexes is not None and self.name == MAIN:
            # before any package: after a copy that dies, a closed index must not be open
            copying.require_list_of_indexes(self.indexes)
            copying.copy_list_of_indexes_first(self.indexes)
        plans = copying.copy_bytes()
        for _ in range(MAX_RETRIES):
            if not copying.names_with_deletions:
                break
            plans = copying.copy_bytes()

        # after the bytes: a copy that dies in between leaves objects that no project lists
        copying.copy_commits(plans)
        copying.copy_counts()
        if self.name != MAIN:
            return copying.end()
        copying.copy_documents(with_credentials=with_credentials)
        index_reports = dict[str, CopyReport]()
        if self.indexes is not None:
            for name in self.indexes.names(self.source):
                index_reports[name] = self.indexes.copy_of(name, self).run(progress)
            # again, as the list may have changed meanwhile
            copying.copy_list_of_indexes(self.indexes)
        report = copying.end()
        for name, index_report in index_reports.items():
            report.add(name, index_report)
        return report


class IndexCopies(Struct, frozen=True, kw_only=True):
    """Copies all indexes of a store but main, also indexes without a definition."""

    records: IndexRecords
    """The list of indexes in the target."""
    source_changes: Callable[[str], Changes]
    """Returns the feed of an index in the source."""
    target: Callable[[str], Catalog]
    """Returns the catalog of an index in the target."""

    def names(self, source: Stores) -> list[str]:
        """
        Return the names of the other indexes of which a store has something.

        Raises Unavailable if the store does not answer.
        """
        clock = StoreClock(source.documents, self.records.commits.runtime)
        removal = FileRemoval(source, clock)
        names = list[str]()
        for prefix in removal.indexes():
            name = keys.index_in(prefix)
            if name != MAIN:
                names.append(name)
        return names

    def copy_of(self, name: str, store_copy: StoreCopy) -> StoreCopy:
        """Return the copy of one index. `store_copy` is the copy of main."""
        documents = PrefixedStore(store_copy.source.documents, keys.index_folder(name))
        catalog = self.target(name)
        return replace(
            store_copy,
            source=replace(store_copy.source, documents=documents),
            source_changes=self.source_changes(name),
            target=catalog.stores,
            target_changes=catalog.changes,
            projects=catalog.projects,
            name=name,
        )


class _Copying(Struct):
    """One run of a copy, with all that it finds out on the way."""

    copy: StoreCopy
    progress: CopyProgress
    report: CopyReport = field(default_factory=CopyReport)
    state: CopyState | None = None
    """The document of the last copy, or None if this copy compares all projects."""
    source_serial: int | None = None
    """The newest serial of the source before this copy, or None if its feed is damaged."""
    target_serial: int | None = None
    """The newest serial of the target before this copy, or None if its feed is damaged."""
    names_to_recheck: frozenset[NormalizedName] = frozenset()
    """Projects to compare beside those that have changed in the source."""
    listed_names: frozenset[NormalizedName] = frozenset()
    """The list of names in the source."""
    claimed_names: set[NormalizedName] = set()
    """Private names of the source under which nothing is published yet."""
    names_with_deletions: set[NormalizedName] = set()
    """Projects of which a file was deleted in the source before its bytes were copied."""
    problems: dict[str, str] = {}
    """Why something was not copied, by the name of a project or the key of another document."""
    source_revisions: dict[NormalizedName, int] = {}
    """The revisions of the source's projects when they were compared."""
    complete_plans: dict[NormalizedName, ProjectPlan] = {}
    """The plans of projects of which the target had all commits when they were compared."""
    pairs: dict[NormalizedName, ProjectPair] = {}
    """The documents of all other compared projects, as far as memory may keep them."""
    records_left: int = 0
    """How many more records `pairs` may keep."""
    copied_revisions: dict[NormalizedName, int] = {}
    """The revision that the target has of each project, by this copy or an earlier one."""

    def begin(self) -> None:
        """Read the document of the last copy, and find what has changed in the target since."""
        # the scratch files of copies that were killed
        self.copy.spool.remove_abandoned()
        target = self.copy.target.documents
        # without a state, all projects are compared: also if the target was restored, so that it
        # does not know the serial (NotFound)
        with suppress(NotFound), UnreadableIgnored():
            stored = target.get(keys.COPIED)
            state: CopyState | None = None
            if isinstance(stored, Stored):
                state = _STATES.decode(keys.COPIED, stored.body)
            if state is not None and state.origin == self.copy.origin:
                changes, self.target_serial = self.copy.target_changes.since(state.target)
                changed_names = {change.project for change in changes}
                self.names_to_recheck = frozenset(state.again) | changed_names
                self.state = state
        if self.state is None:
            with UnreadableIgnored():
                self.target_serial = self.copy.target_changes.newest()
        if self.copy.claims_names:
            names = filter(keys.is_project_name, self._read_name_list())
            self.copy.projects.names.claim(*names)

    def copy_bytes(self) -> list[ProjectPlan]:
        """Copy all bytes that the target lacks for one moment, and return the plans of projects."""
        self._forget()
        moments = list[datetime]()
        if self.state is not None and self.state.moment is not None:
            moments.append(self.state.moment)
        names, self.source_serial = self._find_names()
        for project in self._run_all(self._compare, self._projects_to_compare(names)):
            if project is not None and project.commit is not None:
                moments.append(max(event.at for event in project.commit.events))
        self.report.moment = max(moments, default=None)
        plans = list[ProjectPlan]()
        if names:
            # again, as a commit of the moment may have been made while documents were read
            names = self._find_later_names(names)
        for size in self._run_all(self._copy_object, self._missing_objects(names, plans)):
            if size is not None:
                self.report.objects += 1
                self.report.size += size
        return plans

    def _forget(self) -> None:
        """Drop all that an attempt for an earlier moment has read."""
        self.problems.clear()
        self.names_with_deletions.clear()
        self.claimed_names.clear()
        self.source_revisions.clear()
        self.complete_plans.clear()
        self.pairs.clear()
        self.records_left = MOST_RECORDS

    def _projects_to_compare(self, names: Iterable[NormalizedName]) -> Iterator[ComparedProject]:
        """
        Yield the projects with these names.

        If all projects are compared, each has its objects of the target, by one listing of all.
        """
        if self.state is not None:
            for name in names:
                yield ComparedProject(name, None)
            return
        unlisted_names = set(names)
        # a listing is sorted by key, so the objects of a project come together
        for owner, entries in groupby(self.copy.target.files.list(keys.FILES), _project_of):
            if owner in unlisted_names:
                name = NormalizedName(owner)
                unlisted_names.remove(name)
                yield ComparedProject(name, tuple(entries))
        for name in sorted(unlisted_names):
            yield ComparedProject(name, ())

    def _compare(self, compared: ComparedProject) -> Project:
        """
        Read a project in both stores, and return that of the source.

        Adds its plan to `complete_plans` if the target has all commits, or else both documents to
        `pairs`. Several threads call this, each with another project.
        """
        name = compared.name
        source_project = self._read_source(name)
        target_project = self._read_target(name)
        if not source_project.revision:
            return source_project
        self.source_revisions[name] = source_project.revision
        kind = project_journal(name)
        pair = ProjectPair(source_project, target_project, compared.entries)
        is_complete = False
        if source_project.revision == target_project.revision:
            encode = kind.documents.encode
            is_complete = encode(source_project) == encode(target_project)
        if is_complete:
            if not self._is_intact(name):  # a copy may have died before the last journal entry
                with target_faults():
                    kind.ensure_journaled(self.copy.target.documents, target_project)
            self.complete_plans[name] = ProjectPlan(
                name=name,
                revision=source_project.revision,
                sha256="",
                is_released=source_project.is_released,
                missing=tuple(self._find_missing(pair)),
                is_complete=True,
            )
        elif self.records_left > 0:  # threads at once may take a little more
            self.records_left -= pair.records
            self.pairs[name] = pair
        return source_project

    def _find_later_names(self, names: list[NormalizedName]) -> list[NormalizedName]:
        """
        Return the projects to plan: those in `names`, and those that have changed meanwhile.

        Drops what was read of projects that have changed meanwhile.
        """
        names_before = self.listed_names
        if self.source_serial is not None:
            with suppress(NotFound), UnreadableIgnored():
                later_changes, _ = self.copy.source_changes.since(self.source_serial)
                self.listed_names = self._read_name_list()
                for change in later_changes:
                    if self.source_revisions.get(change.project) != change.revision:
                        self.complete_plans.pop(change.project, None)
                        self.pairs.pop(change.project, None)
                new_names = self.listed_names - names_before
                changed_names = {change.project for change in later_changes}
                return sorted(new_names.union(names, changed_names))
        # nobody knows what has changed meanwhile, so everything is read again
        self.complete_plans.clear()
        self.pairs.clear()
        return self._find_names()[0]

    def _missing_objects(
        self, names: Iterable[NormalizedName], plans: list[ProjectPlan]
    ) -> Iterator[MissingObject]:
        """Plan all projects, add the plans to `plans`, and yield the objects to copy."""
        for plan in self._run_all(self._plan_project, names):
            if plan is not None:
                plans.append(replace(plan, missing=()))
                yield from plan.missing

    def copy_commits(self, plans: list[ProjectPlan]) -> None:
        """
        Add the commits of all projects whose bytes were copied, then add and remove names.

        A project with a problem is left out.
        """
        plans_without_problem = [plan for plan in plans if plan.name not in self.problems]
        names_to_list = list(self.claimed_names)
        released_names = list[NormalizedName]()
        results = self._run_all(self._copy_project, plans_without_problem)
        try:
            for plan, has_new_commits in zip(plans_without_problem, results, strict=True):
                if has_new_commits is None:
                    continue
                # a released name may be reserved again
                if plan.is_released and plan.name not in self.listed_names:
                    released_names.append(plan.name)
                else:
                    names_to_list.append(plan.name)
                self.copied_revisions[plan.name] = plan.revision
                self.report.changed += has_new_commits
        finally:
            # also after an error: the name of a project with a document has to be private
            self.copy.projects.names.claim(*names_to_list)
            # without the list of the source, nobody knows which of them are reserved again
            if keys.PROJECT_NAMES not in self.problems:
                self.copy.projects.names.remove(*released_names)

    def copy_documents(self, *, with_credentials: bool) -> None:
        """
        Copy decisions, what is known of upstream indexes, and credentials.

        Without `with_credentials`, the outdated lines of htpasswd files are the only credentials.
        """
        source = self.copy.source
        target = self.copy.target
        upstream = self.copy.upstream
        for count in self._run_all(self._copy_decisions, (keys.DECISIONS,)):
            self.report.decisions += count or 0
        if upstream is not None:
            for count in self._run_all(upstream.copy, upstream.keys_to_copy()):
                self.report.upstream += count or 0
        credentials = CredentialCopy(source.credentials, target.credentials, self.copy.rights)
        credential_keys = self._credential_keys(credentials, with_all=with_credentials)
        for count in self._run_all(credentials.copy, credential_keys):
            self.report.credentials += count or 0

    def _credential_keys(self, credentials: CredentialCopy, *, with_all: bool) -> Iterable[Key]:
        """
        Return the keys of all credentials, or without `with_all`, the key of the outdated lines.

        Returns nothing if the source has no outdated lines. If the source refuses the answer, adds
        a warning, and returns nothing.
        """
        if with_all:
            return credentials.keys_to_copy()
        key = removed.CHANGED_PASSWORDS
        try:
            if not credentials.has_outdated_lines():
                return ()
        except Unavailable as fault:
            # the operator needs no right to the credentials to copy packages alone
            is_denied = fault.code == STORAGE_DENIED
            if not is_denied and not isinstance(fault.__cause__, PermissionError):
                # the copy of this key then says what the problem is
                return (key,)
            self.report.warnings.append(
                f"{key} of FROM may not be read. If there is one, old lines of an htpasswd file "
                f"may work again at a server of TO. {fault.message}"
            )
            return ()
        return (key,)

    def copy_counts(self) -> None:
        """Copy the counts of downloads."""
        # `list` runs the copy: the result is of no use
        list(self._run_all(self._copy_counts, (Key(keys.DOWNLOADS),)))

    def require_list_of_indexes(self, indexes: IndexCopies) -> None:
        """Raise Conflict or Unavailable if the list of indexes of the source is damaged or lost."""
        source = self.copy.source.documents
        kind = indexes.records.kind
        with source_faults(source):
            index_list, _ = kind.read(source)
        if not index_list.revision and next(source.list(kind.entries), None) is not None:
            raise lost(
                f"The document {kind.key} of FROM is lost, so nobody knows who may read its "
                "indexes. Nothing was copied."
            )

    def copy_list_of_indexes_first(self, indexes: IndexCopies) -> None:
        """
        Copy the definitions of indexes before any package.

        Raises Unavailable if a store does not answer, and Conflict if a list of indexes cannot be
        read: no package may come into an index of which nobody knows that it is closed. A target
        with definitions of its own is a problem, and no more, as it says itself who may read.
        """
        try:
            copy_document(self.copy.source.documents, indexes.records)
        except Conflict as fault:
            if fault.message != diverged().message:
                raise
            self.problems[keys.INDEX_LIST] = fault.message

    def copy_list_of_indexes(self, indexes: IndexCopies) -> None:
        """Copy the definitions of indexes."""

        def copy(_key: Key) -> int:
            return copy_document(self.copy.source.documents, indexes.records)

        # `list` runs the copy: the result is of no use
        list(self._run_all(copy, (keys.INDEX_LIST,)))

    def _copy_counts(self, _key: Key) -> int:
        copy_counts(self.copy.source.documents, self.copy.target.documents)
        return 0

    def _copy_decisions(self, _key: Key) -> int:
        return copy_document(self.copy.source.documents, self.copy.decisions)

    def end(self) -> CopyReport:
        """Complete the report, write the document for the next copy, and return the report."""
        left_out_names = set[NormalizedName]()
        for name_or_key, reason in sorted(self.problems.items()):
            self.report.problems.append(f"{name_or_key}: {reason}")
            # other problems are about a document, whose key is no name of a project
            if keys.is_project_name(name_or_key):
                left_out_names.add(NormalizedName(name_or_key))
        target_names = self.copy.projects.names.get_current().as_set
        self.report.projects = len(target_names - left_out_names)
        if self.target_serial is None:
            return self.report
        with suppress(NotFound), UnreadableIgnored():
            # this also gives serials to the copied commits, as perhaps no server of the target does
            changes, newest_serial = self.copy.target_changes.since(self.target_serial)
            again = set(left_out_names)
            for change in changes:
                # somebody else has written this change into the target
                if self.copied_revisions.get(change.project) != change.revision:
                    again.add(change.project)
            # without a serial of the source, the next copy compares everything again
            if self.source_serial is not None:
                state = CopyState(
                    origin=self.copy.origin,
                    source=self.source_serial,
                    target=newest_serial,
                    moment=self.report.moment,
                    again=tuple(sorted(again)),
                )
                if state != self.state:
                    self.copy.target.documents.put(keys.COPIED, _STATES.encode(state), None)
        return self.report

    def _run_all(self, work: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R | None]:
        """
        Yield the result of `work` for each task, or None if it failed.

        After a failure, `problems` has the reason, by the text of the task. Several threads call
        `work`, so it changes no attributes but sets and dictionaries. Raises Unavailable if a store
        does not answer.
        """

        def attempt(task: T) -> R | None:
            try:
                return work(task)
            except WheelyardError as fault:
                if isinstance(fault, Unavailable) and fault.code not in UNREADABLE_CODES:
                    raise
                self.problems.setdefault(str(task), fault.message)
                return None

        return prefetch_map(attempt, tasks, self.copy.threads)

    def _read_name_list(self) -> frozenset[NormalizedName]:
        """
        Return the list of names of the source.

        Returns nothing, and adds a problem, if the list is lost or damaged.
        """
        source = self.copy.source.documents
        key = keys.PROJECT_NAMES
        stored = source.get(key)
        if stored is None and any(True for _ in source.list(keys.PROJECTS)):
            stored = source.get(key)  # perhaps the first upload has just made it
            if stored is None:
                self.problems[key] = (
                    f"in FROM: {key} is lost, so names that nothing is published under are not "
                    "copied. Restore it from a backup, then check FROM"
                )
        try:
            if isinstance(stored, Stored):
                return Codec(NameList).decode(key, stored.body).as_set
        except Unavailable as fault:
            self.problems[key] = fault.message
        return frozenset()

    def _find_names(self) -> tuple[list[NormalizedName], int | None]:
        """
        Return the projects to compare, and the newest serial of the source.

        The serial is None if the feed of the source is damaged. Sets `listed_names`, and `state` to
        None if all projects have to be compared.
        """
        self.listed_names = self._read_name_list()
        changes = self.copy.source_changes
        serial = None
        try:
            if self.state is not None:
                with suppress(NotFound):  # the source was restored
                    later_changes, serial = changes.since(self.state.source)
                    names = {change.project for change in later_changes} | self.names_to_recheck
                    # a reserved name is in the list before it has a commit
                    target_names = self.copy.projects.names.get_current().as_set
                    names |= self.listed_names - target_names
                    return sorted(names), serial
            serial = changes.newest()
        except Unavailable as fault:
            # if the whole source cannot be read, the listing below raises the error
            if fault.code == DAMAGED:
                self.problems[keys.CHANGES] = (
                    f"in FROM: {fault.fact} So all projects were compared. Rebuild the list of "
                    "changes of FROM, by check --rebuild"
                )
        self.state = None
        all_names = set(self.listed_names)
        for entry in self.copy.source.documents.list(keys.PROJECTS):
            name = keys.project_of(entry.key)
            if name is not None:
                all_names.add(name)
        return sorted(all_names), serial

    def _read_source(self, name: NormalizedName) -> Project:
        """
        Return a project of the source.

        The project has no commits if the source does not have it. Its name is then added to
        `claimed_names` if it is listed. Raises NotFound if the document of the project is lost.
        """
        source = self.copy.source.documents
        kind = project_journal(name)
        with source_faults(source):
            project, _ = kind.read(source)
        if project.revision:
            return project
        if not keys.is_project_name(name) or any(source.list(keys.journal(name))):
            # its first commit may have been made just now, and writes the document first
            with source_faults(source):
                project, _ = kind.read(source)
            if not project.revision:
                raise NotFound("its document in FROM is lost. Check FROM.")
        elif name in self.listed_names:
            self.claimed_names.add(name)
        return project

    def _plan_project(self, name: NormalizedName) -> ProjectPlan | None:
        """
        Return what the target needs of a project, or None if it did not exist at the moment.

        Raises Conflict if the target has commits that the source lacks.
        """
        if name in self.complete_plans:
            return self.complete_plans.pop(name)
        kind = project_journal(name)
        source = self.copy.source.documents
        pair = self.pairs.get(name)
        if pair is None:
            pair = ProjectPair(self._read_source(name), self._read_target(name), None)
        source_project = pair.source_project
        target_project = pair.target_project
        if not source_project.revision:
            return None
        with source_faults(source):
            if not kind.is_state_of(target_project, source, source_project):
                raise diverged()
        revision = self._revision_at_moment(name, pair)
        if not revision:
            return None
        project = source_project
        if revision < source_project.revision:
            # the document of the source is later than the moment
            commits = self._read_commits(source_project, target_project.revision, revision)
            project = kind.fold_all(target_project, commits)
        pair_at_moment = replace(pair, source_project=project)
        return ProjectPlan(
            name=name,
            revision=revision,
            sha256=digest(kind.documents.encode(project)),
            is_released=project.is_released,
            missing=tuple(self._find_missing(pair_at_moment)),
        )

    def _revision_at_moment(self, name: NormalizedName, pair: ProjectPair) -> int:
        """Return the revision that a project of the source had at the moment, or 0 for none."""
        moment = self.report.moment
        source_project = pair.source_project
        compared_revision = self.source_revisions.get(name, 0)
        revision = max(pair.target_project.revision, compared_revision)
        # Commits that were made after the comparison may belong to the moment, as the time of a
        # commit is taken before it is made.
        while revision < source_project.revision:
            (commit,) = self._read_commits(source_project, revision, revision + 1)
            if moment is None or any(event.at > moment for event in commit.events):
                break
            revision += 1
        return revision

    def _find_missing(self, pair: ProjectPair) -> Iterator[MissingObject]:
        """Yield the objects of the source's project that have to be copied into the target."""
        project = pair.source_project
        target_project = pair.target_project
        now = self.copy.target_clock.now()
        oldest_safe = (now - RENEWAL_AGE).timestamp()
        listed_keys = set[Key]()
        for file in target_project.files + target_project.kept_files(now):
            listed_keys.update(key for key, _ in listed_objects(target_project.name, file))
        is_intact = self._is_intact(project.name)
        needed_objects = list[tuple[File, Key, str]]()
        for file in project.files + project.kept_files(now):
            for key, expected_digest in listed_objects(project.name, file):
                if not (is_intact and key in listed_keys):
                    needed_objects.append((file, key, expected_digest))
        entries: Iterable[Entry] = pair.entries or ()

        # not if nothing is needed, as a listing costs a request
        if pair.entries is None and needed_objects:
            entries = self.copy.target.files.list(keys.files_of(project.name))
        entries_by_key = {entry.key: entry for entry in entries}
        for file, key, expected_digest in needed_objects:
            entry = entries_by_key.get(key)
            is_distribution = expected_digest == file.sha256
            is_whole = entry is not None and (not is_distribution or entry.size == file.size)
            # a sweep of the target may delete old bytes that the target does not list
            is_recent = entry is not None and entry.modified > oldest_safe
            is_safe = key in listed_keys or is_recent
            if not (is_whole and is_safe):
                is_deleted = file.keep_until is not None
                yield MissingObject(project.name, key, expected_digest, file.filename, is_deleted)

    def _is_intact(self, name: NormalizedName) -> bool:
        """
        Return whether the target surely has all objects that its document of a project lists.

        So it is if the last copy has compared the project, and no check has found a problem since.
        """
        return self.state is not None and name not in self.names_to_recheck

    def _copy_object(self, missing: MissingObject) -> int | None:
        """
        Copy one object through the spool, and return its size.

        Returns None if the bytes of a file in the trash are gone from the source. Raises NotFound
        if the source has lost the bytes. Raises Conflict, and adds the project to
        `names_with_deletions`, if the file was deleted meanwhile.
        """
        try:
            return self._copy_verified(missing)
        except NotFound as fault:
            if missing.is_deleted:
                return None
            # the document says whether somebody has deleted the file, or the bytes are lost
            source_project = self._read_source(missing.name)
            if missing.filename not in source_project.deleted_filenames:
                raise NotFound(f"{fault.message} Check FROM.") from fault
            self.names_with_deletions.add(missing.name)
            raise Conflict("files were deleted while they were copied. Copy again.") from fault

    def _copy_verified(self, missing: MissingObject) -> int:
        """Copy one object, and return its size. Raises Conflict if its digest is wrong."""
        actual_digest = sha256()
        size = 0
        source = self.copy.source
        with self.copy.spool.scratch_file() as (path, spooled):
            with storage_faults(missing.key), source_faults(source.documents):
                for chunk in source.files.read(missing.key):
                    write_all(spooled.fileno(), chunk)
                    actual_digest.update(chunk)
                    size += len(chunk)
                    self.progress(missing.name, len(chunk))
            # before the write, so that damaged bytes never come into the target
            if actual_digest.hexdigest() != missing.sha256:
                raise Conflict(
                    f"{missing.key} is damaged in FROM: its bytes have another digest. Check FROM."
                )
            self.copy.target.files.put_file(missing.key, path)
        return size

    def _copy_project(self, plan: ProjectPlan) -> bool:
        """
        Add the commits that the target lacks of a project, and return whether there were any.

        Raises Conflict if the document of the source is not what its journal makes, or has parts
        that this version does not know.
        """
        if plan.is_complete:
            return False
        kind = project_journal(plan.name)
        pair = self.pairs.pop(plan.name, None)
        if pair is None:
            pair = ProjectPair(self._read_source(plan.name), self._read_target(plan.name), None)
        source_project = pair.source_project
        target_project = pair.target_project
        if target_project.revision > plan.revision:  # another copy has brought a later moment
            return False
        commits = self._read_commits(source_project, target_project.revision, plan.revision)
        project = kind.fold_all(target_project, commits)

        # the bytes that were copied are those of the planned document, and of no other one
        if digest(kind.documents.encode(project)) != plan.sha256:
            unknown_parts = kind.unknown_parts(source_project, commits)
            if unknown_parts:
                raise Conflict(
                    f"this version of wheelyard does not know {', '.join(unknown_parts)} of it. "
                    "Copy with the version that has written it."
                )
            raise Conflict("its document in FROM is not what its journal says. Check FROM.")
        with target_faults():
            self.copy.projects.commits.add(kind, commits)
        return bool(commits)

    def _read_commits(self, project: Project, after: int, last: int) -> list[Commit]:
        """Return the commits of a project of the source from `after + 1` to `last`."""
        numbers = range(after + 1, last + 1)
        kind = project_journal(project.name)
        return commits_of(kind, self.copy.source.documents, project, numbers)

    def _read_target(self, name: NormalizedName) -> Project:
        """Return a project of the target, without commits if the target does not have it."""
        with target_faults():
            project, _ = project_journal(name).read(self.copy.target.documents)
        return project


def _project_of(entry: Entry) -> str | None:
    """Return the name of the project to which a file belongs, or None for a foreign object."""
    owner = keys.parse_file_key(entry.key)
    if owner is None:
        return None
    return owner.project
