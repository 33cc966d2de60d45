"""
Copying a store into another one: incremental, verified, and safe while the source is written.

The target can be served at any time, also after a copy that was interrupted. The next one goes on:
it compares the same projects, and copies only what the target lacks. The docstring of this package
has the steps, and why they are in this order.
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
"""The records of files that are kept from the first look to the commits, of about 2 KB each."""
MAX_RETRIES: Final = 4
"""How often the bytes are copied again for a later moment, because files were deleted."""

T = TypeVar("T")
R = TypeVar("R")

CopyProgress = Callable[[str, int], None]
"""Called in several threads with a project's name and the bytes of it that were just copied."""


class CopyReport(Struct):
    """The results of a copy."""

    moment: datetime | None = None
    """The time of the newest commit in the source, in UTC. Later ones are not in the target."""
    projects: int = 0
    """Names in the list of the target, but those that were left out."""
    changed: int = 0
    """Projects, also with a name that was released, of which commits were copied."""
    objects: int = 0
    """Objects with the bytes or the core metadata of a distribution that were written."""
    size: int = 0
    """Bytes of these objects."""
    decisions: int = 0
    """Decisions about upstream packages that were copied."""
    upstream: int = 0
    """Objects with owners of public names, or digests of their files, that were written."""
    credentials: int = 0
    """Objects below `credentials/` that were written."""
    problems: list[str] = []
    """Projects that stay in the target as they were. Each sentence says why."""
    warnings: list[str] = []
    """What the operator has to know of a copy without a problem."""

    def add(self, index: str, report: "CopyReport") -> None:
        """Add what was copied of another index."""
        moments = [moment for moment in (self.moment, report.moment) if moment is not None]
        self.moment = max(moments, default=None)
        self.projects += report.projects
        self.changed += report.changed
        self.objects += report.objects
        self.size += report.size
        self.problems += (f"index {index}: {problem}" for problem in report.problems)


class CopyState(Struct, frozen=True):
    """The stored document of what the last copy into a store has seen."""

    origin: str
    """Where it copied from."""
    source: int
    """A serial of the source. Of all changes up to it, those of `again` may be missing here."""
    target: int
    """A serial of the target. All changes up to it are the copy's own, but those of `again`."""
    moment: datetime | None
    again: tuple[NormalizedName, ...]
    """Projects that the next copy has to compare, whether they have changed or not."""


_STATES: Final = Codec(CopyState)


class StoreCopy(Struct, frozen=True, kw_only=True):
    """A copy from one store to another one."""

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
    """Copies what is remembered of upstream indexes, or None if both stores share that."""
    spool: Spool
    """Where the bytes of an object wait until their digest is verified."""
    threads: int
    claims_names: bool = False
    """Whether the names come first, so that no upstream index is asked for them meanwhile."""
    name: str = MAIN
    """The name of the index whose documents these are. With main, all others are copied as well."""
    indexes: "IndexCopies | None" = None
    """How the other indexes are copied, or None for a store that cannot have any."""

    def run(self, progress: CopyProgress, *, with_credentials: bool = False) -> CopyReport:
        """
        Copy projects, names, decisions, owners of public names, and credentials if asked for.

        With main, the definitions and the packages of all other indexes are copied as well. Counts
        of downloads always are. Outdated lines of htpasswd files are copied in any case, so that
        none counts at a server of the target. `progress` is called from several threads.

        A damaged project is reported and left out. Raises Conflict or Unavailable, before any
        package is copied, if the list of indexes of the source is damaged or lost. Raises
        Unavailable if one of the stores does not answer, or is full. A later copy continues.
        """
        copying = _Copying(self, progress)
        copying.begin()
        if self.indexes is not None and self.name == MAIN:
            # before any package: a copy that dies has to leave closed what is closed
            copying.require_list_of_indexes(self.indexes)
            copying.copy_list_of_indexes(self.indexes)
        plans = copying.copy_bytes()
        for _ in range(MAX_RETRIES):
            if not copying.deleted:
                break
            plans = copying.copy_bytes()

        # the bytes are there: a copy that dies in between leaves objects that no project lists
        copying.copy_commits(plans)
        copying.copy_counts()
        if self.name != MAIN:
            return copying.end()
        copying.copy_documents(with_credentials=with_credentials)
        index_reports = dict[str, CopyReport]()
        if self.indexes is not None:
            for name in self.indexes.names(self.source):
                index_reports[name] = self.indexes.copy_of(name, self).run(progress)
            # what has changed meanwhile, and why it could not be copied
            copying.copy_list_of_indexes(self.indexes)
        report = copying.end()
        for name, index_report in index_reports.items():
            report.add(name, index_report)
        return report


class IndexCopies(Struct, frozen=True, kw_only=True):
    """Copies the indexes of a store but main, also if nobody defines them."""

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
        return [name for name in map(keys.index_in, removal.indexes()) if name != MAIN]

    def copy_of(self, name: str, store_copy: StoreCopy) -> StoreCopy:
        """Return the copy of one index, made from that of main."""
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
    """One run of a copy: its report, and the projects that it had to leave out."""

    copy: StoreCopy
    progress: CopyProgress
    report: CopyReport = field(default_factory=CopyReport)
    state: CopyState | None = None
    """What the last copy has seen, or None if this one compares all projects."""
    serial: int | None = None
    """The newest serial of the source before this copy, or None if there is none."""
    target_serial: int | None = None
    """The newest serial of the target before this copy, or None if its feed is damaged."""
    again: frozenset[NormalizedName] = frozenset()
    """Projects to compare beside those that have changed in the source."""
    listed: frozenset[NormalizedName] = frozenset()
    """The list of names in the source."""
    claimed: set[NormalizedName] = set()
    """Private names of the source under which nothing is published yet."""
    deleted: set[NormalizedName] = set()
    """Projects of which a file was deleted in the source before its bytes were copied."""
    problems: dict[str, str] = {}
    """The reason by project, or by the key of another document."""
    revisions: dict[NormalizedName, int] = {}
    """The revisions of the source's projects when their documents were read first."""
    complete: dict[NormalizedName, ProjectPlan] = {}
    """The plans of projects that the target had with all commits when they were looked at first."""
    pairs: dict[NormalizedName, ProjectPair] = {}
    """The documents of all others at the first look, as far as memory may keep them."""
    records_left: int = 0
    """How many more records `pairs` may keep."""
    arrived: dict[NormalizedName, int] = {}
    """The revisions that the target has, by this copy or an earlier one."""

    def begin(self) -> None:
        """Find out what the last copy has seen, and what has changed in the target since."""
        # what copies have left that were killed
        self.copy.spool.remove_abandoned()
        target = self.copy.target.documents
        # without a state, or with a serial that a restored store does not know, all is compared
        with suppress(NotFound), UnreadableIgnored():
            stored = target.get(keys.COPIED)
            state: CopyState | None = None
            if isinstance(stored, Stored):
                state = _STATES.decode(keys.COPIED, stored.body)
            if state is not None and state.origin == self.copy.origin:
                changes, self.target_serial = self.copy.target_changes.since(state.target)
                self.again = frozenset(state.again).union(change.project for change in changes)
                self.state = state
        if self.state is None:
            with UnreadableIgnored():
                self.target_serial = self.copy.target_changes.newest()
        if self.copy.claims_names:
            names = filter(keys.is_project_name, self._listed_names())
            self.copy.projects.names.claim(*names)

    def copy_bytes(self) -> list[ProjectPlan]:
        """Copy all bytes that the target lacks for one moment, and return what else it needs."""
        # this may be a second attempt, for a later moment
        self.problems.clear()
        self.deleted.clear()
        self.claimed.clear()
        self.revisions.clear()
        self.complete.clear()
        self.pairs.clear()
        self.records_left = MOST_RECORDS
        moments = list[datetime]()
        if self.state is not None and self.state.moment is not None:
            moments.append(self.state.moment)
        names, self.serial = self._names()
        for project in self._run_all(self._look, self._tasks(names)):
            if project is not None and project.commit is not None:
                moments.append(max(event.at for event in project.commit.events))
        self.report.moment = max(moments, default=None)
        plans = list[ProjectPlan]()
        if names:
            # once more: a commit of the moment may have been made while documents were read
            names = self._later_names(names)
        for size in self._run_all(self._copy_object, self._missing_objects(names, plans)):
            if size is not None:
                self.report.objects += 1
                self.report.size += size
        return plans

    def _tasks(self, names: Iterable[NormalizedName]) -> Iterator[ComparedProject]:
        """Yield the projects to look at: if these are all, with their objects, by one listing."""
        if self.state is not None:
            yield from (ComparedProject(name, None) for name in names)
            return
        left = set(names)
        # a listing is sorted by key, so the objects of a project come together
        for name, group in groupby(self.copy.target.files.list(keys.FILES), _project_of):
            if name in left:
                project = NormalizedName(name)
                left.remove(project)
                yield ComparedProject(project, tuple(group))
        yield from (ComparedProject(name, ()) for name in sorted(left))

    def _look(self, task: ComparedProject) -> Project:
        """
        Return a project of the source, and keep what was read of it for its plan.

        Threads call it, each with another project.
        """
        in_source = self._read_source(task.name)
        in_target = self._read_target(task.name)
        if not in_source.revision:
            return in_source
        self.revisions[task.name] = in_source.revision
        kind = project_journal(task.name)
        pair = ProjectPair(in_source, in_target, task.entries)
        encode = kind.documents.encode
        if in_source.revision == in_target.revision and encode(in_source) == encode(in_target):
            if not self._is_intact(task.name):  # a copy may have died before its last entry
                with target_faults():
                    kind.ensure_journaled(self.copy.target.documents, in_target)
            self.complete[task.name] = ProjectPlan(
                name=task.name,
                revision=in_source.revision,
                sha256="",
                is_released=in_source.is_released,
                missing=tuple(self._missing(pair)),
                is_complete=True,
            )
        elif self.records_left > 0:  # threads may take a little more
            self.records_left -= pair.records
            self.pairs[task.name] = pair
        return in_source

    def _later_names(self, names: list[NormalizedName]) -> list[NormalizedName]:
        """Return the projects to plan, and forget what was read of those that changed meanwhile."""
        listed = self.listed
        if self.serial is not None:
            with suppress(NotFound), UnreadableIgnored():
                later, _ = self.copy.source_changes.since(self.serial)
                self.listed = self._listed_names()
                for change in later:
                    if self.revisions.get(change.project) != change.revision:
                        self.complete.pop(change.project, None)
                        self.pairs.pop(change.project, None)
                later_names = set(names) | (self.listed - listed)
                later_names.update(change.project for change in later)
                return sorted(later_names)
        # nobody knows what has changed meanwhile, so everything is read again
        self.complete.clear()
        self.pairs.clear()
        return self._names()[0]

    def _missing_objects(
        self, names: Iterable[NormalizedName], plans: list[ProjectPlan]
    ) -> Iterator[MissingObject]:
        """Add the plans of all projects to `plans`, and yield the objects that they lack."""
        for plan in self._run_all(self._plan, names):
            if plan is not None:
                plans.append(replace(plan, missing=()))
                yield from plan.missing

    def copy_commits(self, plans: list[ProjectPlan]) -> None:
        """Add the commits of all projects whose bytes are there, then add and remove names."""
        complete = [plan for plan in plans if plan.name not in self.problems]
        names = list(self.claimed)
        released = list[NormalizedName]()
        copied = self._run_all(self._copy_project, complete)
        try:
            for plan, is_changed in zip(complete, copied, strict=True):
                if is_changed is None:
                    continue
                # a released name may be reserved again
                if plan.is_released and plan.name not in self.listed:
                    released.append(plan.name)
                else:
                    names.append(plan.name)
                self.arrived[plan.name] = plan.revision
                self.report.changed += is_changed
        finally:
            # also after an error: what has a document in the target has to be private there
            self.copy.projects.names.claim(*names)
            if keys.PROJECT_NAMES not in self.problems:  # one may have been reserved again
                self.copy.projects.names.remove(*released)

    def copy_documents(self, *, with_credentials: bool) -> None:
        """Copy decisions, what is remembered of upstream indexes, and the credentials."""
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
        Return the keys of all credentials, or of the outdated lines alone, if there are some.

        Adds a warning if whoever copies may not know whether there are.
        """
        if with_all:
            return credentials.keys_to_copy()
        key = removed.CHANGED_PASSWORDS
        try:
            if not credentials.has_outdated_lines():
                return ()
        except Unavailable as fault:
            # whoever copies packages alone need not have a right to the credentials
            is_denied = fault.code == STORAGE_DENIED
            if not is_denied and not isinstance(fault.__cause__, PermissionError):
                return (key,)
            self.report.warnings.append(
                f"{key} of FROM may not be read. If there is one, old lines of an htpasswd file "
                f"may work again at a server of TO. {fault.message}"
            )
            return ()
        return (key,)

    def copy_counts(self) -> None:
        """Copy the counts of downloads."""
        list(self._run_all(self._copy_counts, (Key(keys.DOWNLOADS),)))

    def require_list_of_indexes(self, indexes: IndexCopies) -> None:
        """Raise Conflict or Unavailable if the source does not say who may read its indexes."""
        source = self.copy.source.documents
        kind = indexes.records.kind
        with source_faults(source):
            in_source, _ = kind.read(source)
        if not in_source.revision and next(source.list(kind.entries), None) is not None:
            raise lost(
                f"The document {kind.key} of FROM is lost, so nobody knows who may read its "
                "indexes. Nothing was copied."
            )

    def copy_list_of_indexes(self, indexes: IndexCopies) -> None:
        """Copy the definitions of indexes."""

        def copy(_key: Key) -> int:
            return copy_document(self.copy.source.documents, indexes.records)

        list(self._run_all(copy, (keys.INDEX_LIST,)))

    def _copy_counts(self, _key: Key) -> int:
        copy_counts(self.copy.source.documents, self.copy.target.documents)
        return 0

    def _copy_decisions(self, _key: Key) -> int:
        return copy_document(self.copy.source.documents, self.copy.decisions)

    def end(self) -> CopyReport:
        """Note what this copy has seen for the next one, and return the report."""
        # a problem may also be of another document, whose key is no name of a project
        left_out = frozenset(map(NormalizedName, filter(keys.is_project_name, self.problems)))
        self.report.problems = [f"{what}: {why}" for what, why in sorted(self.problems.items())]
        self.report.projects = len(self.copy.projects.names.get_current().as_set - left_out)
        if self.target_serial is None:
            return self.report
        with suppress(NotFound), UnreadableIgnored():
            # also gives serials to what has arrived, as perhaps no server of the target does
            changes, target = self.copy.target_changes.since(self.target_serial)
            again_names = set(left_out)
            for change in changes:
                # somebody else has written it into the target
                if self.arrived.get(change.project) != change.revision:
                    again_names.add(change.project)
            again = tuple(sorted(again_names))
            # without a serial of the source, the next copy compares everything again
            if self.serial is not None:
                state = CopyState(self.copy.origin, self.serial, target, self.report.moment, again)
                if state != self.state:
                    self.copy.target.documents.put(keys.COPIED, _STATES.encode(state), None)
        return self.report

    def _run_all(self, work: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R | None]:
        """
        Yield the result of `work` for each task, or None if it failed.

        The reason is then a problem of the task, by its text. Threads do the work, so it changes
        nothing here but sets and dictionaries. Raises Unavailable if a store does not answer.
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

    def _listed_names(self) -> frozenset[NormalizedName]:
        """Return the list of names of the source, empty with a problem if it is lost or damaged."""
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

    def _names(self) -> tuple[list[NormalizedName], int | None]:
        """Return the projects to compare, and the newest serial of the source, if it has one."""
        self.listed = self._listed_names()
        changes = self.copy.source_changes
        serial = None
        try:
            if self.state is not None:
                with suppress(NotFound):  # the source was restored
                    later, serial = changes.since(self.state.source)
                    names = {change.project for change in later} | self.again
                    # a reserved name is in the list before it has a commit
                    names |= self.listed - self.copy.projects.names.get_current().as_set
                    return sorted(names), serial
            serial = changes.newest()
        except Unavailable as fault:
            # a source in which nothing can be read any more is found out by the listing
            if fault.code == DAMAGED:
                self.problems[keys.CHANGES] = (
                    f"in FROM: {fault.fact} So all projects were compared. Rebuild the list of "
                    "changes of FROM, by check --rebuild"
                )
        self.state = None
        documents = self.copy.source.documents.list(keys.PROJECTS)
        stored = (keys.project_of(entry.key) for entry in documents)
        return sorted(self.listed.union(name for name in stored if name)), serial

    def _read_source(self, name: NormalizedName) -> Project:
        """Return a project of the source, without commits if there is none, or only a claim."""
        source = self.copy.source.documents
        kind = project_journal(name)
        with source_faults(source):
            project, _ = kind.read(source)
        if project.revision:
            return project
        if not keys.is_project_name(name) or any(source.list(keys.journal(name))):
            # its first commit may have been made just now, and the document comes first
            with source_faults(source):
                project, _ = kind.read(source)
            if not project.revision:
                raise NotFound("its document in FROM is lost. Check FROM.")
        elif name in self.listed:
            self.claimed.add(name)
        return project

    def _plan(self, name: NormalizedName) -> ProjectPlan | None:
        """Return what the target needs of a project, or None if it did not exist at the moment."""
        if name in self.complete:
            return self.complete.pop(name)
        at = self.report.moment
        kind = project_journal(name)
        source = self.copy.source.documents
        pair = self.pairs.get(name)
        if pair is None:
            pair = ProjectPair(self._read_source(name), self._read_target(name), None)
        in_source = pair.in_source
        in_target = pair.in_target
        if not in_source.revision:
            return None
        with source_faults(source):
            if not kind.is_state_of(in_target, source, in_source):
                raise diverged()
        revision = max(in_target.revision, self.revisions.get(name, 0))

        # commits were made since that belong to the moment, as their time was taken before
        while revision < in_source.revision:
            (commit,) = self._commits(in_source, revision, revision + 1)
            if at is None or any(event.at > at for event in commit.events):
                break
            revision += 1
        if not revision:
            return None
        project = in_source
        if revision < in_source.revision:
            # the document of the source is of a later time than the moment
            commits = self._commits(in_source, in_target.revision, revision)
            project = kind.fold_all(in_target, commits)
        return ProjectPlan(
            name=name,
            revision=revision,
            sha256=digest(kind.documents.encode(project)),
            is_released=project.is_released,
            missing=tuple(self._missing(replace(pair, in_source=project))),
        )

    def _missing(self, pair: ProjectPair) -> Iterator[MissingObject]:
        """Yield the objects that the target lacks of a project, which is `pair.in_source`."""
        project = pair.in_source
        in_target = pair.in_target
        now = self.copy.target_clock.now()
        oldest = (now - RENEWAL_AGE).timestamp()
        listed = set[Key]()
        for file in in_target.files + in_target.kept_files(now):
            listed.update(key for key, _ in listed_objects(in_target.name, file))
        is_intact = self._is_intact(project.name)
        needed = list[tuple[File, Key, str]]()
        for file in project.files + project.kept_files(now):
            for key, expected in listed_objects(project.name, file):
                if not (is_intact and key in listed):
                    needed.append((file, key, expected))
        objects: Iterable[Entry] = pair.entries or ()

        # a listing costs a request: not where nothing is needed
        if pair.entries is None and needed:
            objects = self.copy.target.files.list(keys.files_of(project.name))
        present = {entry.key: entry for entry in objects}
        for file, key, expected in needed:
            entry = present.get(key)
            is_whole = entry is not None and (expected != file.sha256 or entry.size == file.size)
            # a sweep of the target may delete old bytes that it does not list
            is_safe = key in listed or (entry is not None and entry.modified > oldest)
            if not (is_whole and is_safe):
                is_deleted = file.keep_until is not None
                yield MissingObject(project.name, key, expected, file.filename, is_deleted)

    def _is_intact(self, name: NormalizedName) -> bool:
        """
        Return whether the target has what its document of a project says.

        The last copy has seen that, and no check has found a problem since.
        """
        return self.state is not None and name not in self.again

    def _copy_object(self, missing: MissingObject) -> int | None:
        """Copy one object through the spool, and return its size, or None if it is not needed."""
        try:
            return self._copy_verified(missing)
        except NotFound as fault:
            if missing.is_deleted:
                return None
            # the document says whether somebody has deleted the file since, or the bytes are lost
            if missing.filename not in self._read_source(missing.name).deleted_filenames:
                raise NotFound(f"{fault.message} Check FROM.") from fault
            self.deleted.add(missing.name)
            raise Conflict("files were deleted while they were copied. Copy again.") from fault

    def _copy_verified(self, missing: MissingObject) -> int:
        """Copy one object, and return its size. Raises Conflict if its bytes are others."""
        actual = sha256()
        size = 0
        source = self.copy.source
        with self.copy.spool.scratch_file() as (path, spooled):
            with storage_faults(missing.key), source_faults(source.documents):
                for chunk in source.files.read(missing.key):
                    write_all(spooled.fileno(), chunk)
                    actual.update(chunk)
                    size += len(chunk)
                    self.progress(missing.name, len(chunk))
            # before the write: what is damaged in the source never comes into the target
            if actual.hexdigest() != missing.sha256:
                raise Conflict(
                    f"{missing.key} is damaged in FROM: its bytes have another digest. Check FROM."
                )
            self.copy.target.files.put_file(missing.key, path)
        return size

    def _copy_project(self, plan: ProjectPlan) -> bool:
        """Add the commits that the target lacks of a project, and return whether there are any."""
        if plan.is_complete:
            return False
        kind = project_journal(plan.name)
        pair = self.pairs.pop(plan.name, None)
        if pair is None:
            pair = ProjectPair(self._read_source(plan.name), self._read_target(plan.name), None)
        in_source = pair.in_source
        in_target = pair.in_target
        if in_target.revision > plan.revision:  # another copy has brought a later moment
            return False
        commits = self._commits(in_source, in_target.revision, plan.revision)

        # the bytes were compared for exactly this document
        if digest(kind.documents.encode(kind.fold_all(in_target, commits))) != plan.sha256:
            unknown = kind.unknown_parts(in_source, commits)
            if unknown:
                raise Conflict(
                    f"this version of wheelyard does not know {', '.join(unknown)} of it. Copy "
                    "with the version that has written it."
                )
            raise Conflict("its document in FROM is not what its journal says. Check FROM.")
        with target_faults():
            self.copy.projects.commits.add(kind, commits)
        return bool(commits)

    def _commits(self, in_source: Project, after: int, last: int) -> list[Commit]:
        """Return the commits of a project of the source behind a number, up to the last one."""
        numbers = range(after + 1, last + 1)
        kind = project_journal(in_source.name)
        return commits_of(kind, self.copy.source.documents, in_source, numbers)

    def _read_target(self, name: NormalizedName) -> Project:
        with target_faults():
            return project_journal(name).read(self.copy.target.documents)[0]


def _project_of(entry: Entry) -> str | None:
    """Return the name of the project that an object is of, or None for a foreign object."""
    owner = keys.parse_file_key(entry.key)
    if owner is None:
        return None
    return owner.project
