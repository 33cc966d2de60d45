"""
Copying a store into another one: incremental, verified, and safe while the source is written.

What arrives is the state of the source at one moment: the time of the newest commit that the copy
finds when it begins. A commit with a later time is left to the next copy. First the bytes of all
projects are copied, then each project's commits are added (`catalog/commit_transfer.py`), and then
the names. So the target can be served at any time, also after a copy that was interrupted. The next
copy continues: it compares what both stores list, and copies only what the target lacks.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Final, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.commit_transfer import (
    diverged,
    finish_transfer,
    transfer,
)
from wheelyard.catalog.document_cache import Codec, digest
from wheelyard.catalog.files import RENEWAL_AGE, listed_objects
from wheelyard.catalog.journaled_document import Journal
from wheelyard.catalog.journals import DECISIONS, project_journal
from wheelyard.catalog.projects import NameList, ProjectNames
from wheelyard.concurrency.prefetch import prefetch_map
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.errors import UNREADABLE_CODES, Conflict, NotFound, Unavailable, WheelyardError
from wheelyard.model.project import Commit, Project
from wheelyard.operations.copying.credential_copy import CredentialCopy
from wheelyard.operations.copying.journaled_copy import JournaledCopy, source_faults
from wheelyard.operations.copying.upstream_copy import UpstreamCopy
from wheelyard.storage.base import Entry, Key, Stored, Stores
from wheelyard.storage.filesystem import storage_faults, write_all
from wheelyard.storage.spool import Spool

MAX_RETRIES: Final = 4
"""How often the bytes are copied again for a later moment, because files were deleted."""

T = TypeVar("T")
R = TypeVar("R")

CopyProgress = Callable[[str, int], None]
"""Called in several threads with a project's name and the bytes of it that were just copied."""


class CopyReport(Struct):
    """The results of a copy."""

    moment: datetime | None = None
    """UTC; the time of the newest commit in the source. Later ones are not in the target."""
    projects: int = 0
    """Projects that the target has as they were at that moment."""
    changed: int = 0
    """Projects of which commits were copied."""
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
    notes: list[str] = []
    """What has arrived in part only, as sentences."""
    problems: list[str] = []
    """Projects that stay in the target as they were; each sentence says why."""


class StoreCopy(Struct, frozen=True, kw_only=True):
    """A copy from one store to another one, which has the same format."""

    source: Stores
    target: Stores
    upstream: UpstreamCopy | None
    """Copies what is remembered of upstream indexes; None if both stores share that."""
    names: ProjectNames
    """The list of names of the target."""
    spool: Spool
    """Where the bytes of an object wait until their digest is verified."""
    retries: ConflictRetries
    threads: int
    claims_names: bool = False
    """Whether the names come first, so that no upstream index is asked for them meanwhile."""

    def run(self, progress: CopyProgress, *, with_credentials: bool = False) -> CopyReport:
        """
        Copy projects, names, decisions, owners of public names, and credentials if asked for.

        A damaged project is reported and left out. Raises Unavailable if one of the stores does not
        answer, or is full; a later copy continues.
        """
        copying = _Copying(self, progress)
        copying.finish_transfers()
        if self.claims_names:
            copying.claim_names()
        plans = copying.copy_bytes()
        for _ in range(MAX_RETRIES):
            if not copying.deleted:
                break
            plans = copying.copy_bytes()
        copying.copy_commits(plans)
        copying.copy_decisions()
        copying.copy_upstream()
        if with_credentials:
            copying.copy_credentials()
        return copying.finished_report()


class _Moment(Struct, frozen=True):
    """A state of the source: each project up to its first commit after `at`."""

    at: datetime | None = None
    revisions: Mapping[NormalizedName, int] = {}
    """Revisions that were read before `at` was known; none of their commits is later."""


class _Missing(Struct, frozen=True):
    """An object of a project that the target lacks."""

    name: NormalizedName
    key: Key
    sha256: str
    filename: str


class _Plan(Struct, frozen=True):
    """What the target needs of a project, so that it has it as it was at the moment."""

    name: NormalizedName
    revision: int
    sha256: str
    """The digest of the document of this revision."""
    is_changed: bool
    is_released: bool
    """Whether its name was given up, so that it leaves the list of names."""
    missing: tuple[_Missing, ...]


class _Copying(Struct):
    """One run of a copy: its report, and the projects that it had to leave out."""

    copy: StoreCopy
    progress: CopyProgress
    report: CopyReport = field(default_factory=CopyReport)
    problems: dict[str, str] = {}
    """The reason by project, or by the key of a credential."""
    deleted: set[NormalizedName] = set()
    """Projects of which a file was deleted in the source before its bytes were copied."""
    listed: frozenset[NormalizedName] = frozenset()
    """The list of names in the source."""
    claimed: set[NormalizedName] = set()
    """Private names of the source under which nothing is published yet."""

    def finish_transfers(self) -> None:
        """Complete what an interrupted copy has begun to write; problems are found again later."""
        target, runtime = self.copy.target.documents, self.copy.retries.runtime
        entries = [entry.key for entry in target.list(keys.INCOMING)]
        for _ in self._each(lambda key: finish_transfer(target, runtime, key), entries, str):
            pass

    def claim_names(self) -> None:
        """List the names of the source in the target, before what they are the names of."""
        self._names()
        self.copy.names.claim(*filter(keys.is_project_name, self.listed))

    def copy_bytes(self) -> list[_Plan]:
        """Copy all bytes that the target lacks for one moment; return what else it needs."""
        self.problems.clear()
        self.deleted.clear()
        moment, plans = self._read_moment(), list[_Plan]()
        self.report.moment = moment.at
        present = {entry.key: entry for entry in self.copy.target.files.list(keys.FILES)}

        def missing() -> Iterator[_Missing]:
            for plan in self._each(
                lambda name: self._plan(name, moment, present), self._names(), str
            ):
                if plan is not None:
                    plans.append(replace(plan, missing=()))
                    yield from plan.missing

        for size in self._each(self._copy_object, missing(), lambda each: each.name):
            self.report.objects += 1 if size is not None else 0
            self.report.size += size or 0
        return plans

    def copy_commits(self, plans: list[_Plan]) -> None:
        """Add the commits of all projects whose bytes are there; then add and remove names."""
        arrived, released = [*self.claimed], list[NormalizedName]()
        complete = (plan for plan in plans if plan.name not in self.problems)
        try:
            for plan in self._each(self._copy_project, complete, lambda each: each.name):
                if plan is not None:
                    (released if plan.is_released else arrived).append(plan.name)
                    self.report.projects += 1
                    self.report.changed += plan.is_changed
        finally:
            self.copy.names.claim(*arrived)
            self.copy.names.remove(*released)

    def copy_decisions(self) -> None:
        """Copy the decisions about upstream packages that the target lacks."""
        work = JournaledCopy(
            DECISIONS, self.copy.source.documents, self.copy.target.documents, self.copy.retries
        )
        for written in self._each(lambda _: work.copy(), (keys.DECISIONS,), str):
            self.report.decisions += written or 0

    def copy_upstream(self) -> None:
        """Copy what the target lacks of the memory of upstream indexes."""
        work = self.copy.upstream
        if work is not None:
            for written in self._each(work.copy, work.wanted(), str):
                self.report.upstream += written or 0

    def copy_credentials(self) -> None:
        """Copy the credentials that the target lacks, and those that have changed."""
        work = CredentialCopy(
            self.copy.source.credentials, self.copy.target.credentials, self.copy.retries
        )
        for written in self._each(work.copy, work.wanted(), str):
            self.report.credentials += written or 0

    def finished_report(self) -> CopyReport:
        """Return the report, with all problems."""
        self.report.problems = [f"{what}: {why}" for what, why in sorted(self.problems.items())]
        return self.report

    def _each(
        self, work: Callable[[T], R], items: Iterable[T], name_of: Callable[[T], str]
    ) -> Iterator[R | None]:
        """Yield the result of `work` for each item; None if it failed, with the reason noted."""

        def attempt(item: T) -> R | None:
            try:
                return work(item)
            except WheelyardError as fault:
                if isinstance(fault, Unavailable) and fault.code not in UNREADABLE_CODES:
                    raise
                self.problems.setdefault(name_of(item), fault.message)
                return None

        return prefetch_map(attempt, items, self.copy.threads)

    def _names(self) -> list[NormalizedName]:
        """Return the projects of the source: those with a document, and those that are listed."""
        source = self.copy.source.documents
        names = {keys.project_of(entry.key) for entry in source.list(keys.PROJECTS)}
        found = source.get(keys.PROJECT_NAMES)
        try:
            if isinstance(found, Stored):
                self.listed = Codec(NameList).decode(keys.PROJECT_NAMES, found.body).as_set
        except Unavailable as fault:
            self.problems[keys.PROJECT_NAMES] = fault.message
        others = self.listed - names
        self.claimed = {
            name
            for name in others
            if keys.is_project_name(name) and not any(source.list(keys.journal(name)))
        }
        return sorted(filter(None, names | (others - self.claimed)))

    def _read_moment(self) -> _Moment:
        at, revisions = None, dict[NormalizedName, int]()
        for project in self._each(self._newest, self._names(), str):
            if project is not None and project.commit is not None:
                revisions[project.name] = project.revision
                times = [event.at for event in project.commit.events]
                at = max([*times, at] if at else times)
        return _Moment(at, revisions)

    def _newest(self, name: NormalizedName) -> Project:
        with source_faults(self.copy.source.documents):
            project, _ = project_journal(name).read(self.copy.source.documents)
        if not project.revision:
            raise NotFound("its document in FROM is lost. Run 'wheelyard check' there.")
        return project

    def _plan(
        self, name: NormalizedName, moment: _Moment, present: Mapping[Key, Entry]
    ) -> _Plan | None:
        """Compare a project in both stores; return None if it did not exist at the moment."""
        kind, newest, there = project_journal(name), self._newest(name), self._there(name)
        source = self.copy.source.documents
        with source_faults(source):
            if not kind.is_state_of(there, source, newest):
                raise diverged()
        revision = self._revision_at(newest, moment)
        if not revision:
            return None
        project = newest
        if revision <= there.revision:
            project = there
        elif revision < newest.revision:
            project = kind.fold_all(there, self._commits(newest, there.revision, revision))
        encode = kind.documents.encode
        body = encode(project)
        if project is there and revision == newest.revision and encode(newest) != body:
            raise Conflict(
                "the documents of FROM and TO differ, and their last commits do not. Run "
                "'wheelyard check' on both."
            )
        return _Plan(
            name=name,
            revision=project.revision,
            sha256=digest(body),
            is_changed=project.revision > there.revision,
            is_released=project.is_released and name not in self.listed,
            missing=tuple(self._missing(project, there, present)),
        )

    def _revision_at(self, newest: Project, moment: _Moment) -> int:
        revision = moment.revisions.get(newest.name, 0)
        while revision < newest.revision:
            commit = self._commit(newest, revision + 1)
            if moment.at is None or any(event.at > moment.at for event in commit.events):
                break
            revision += 1
        return revision

    def _missing(
        self, project: Project, there: Project, present: Mapping[Key, Entry]
    ) -> Iterator[_Missing]:
        listed = {key for file in there.files for key, _ in listed_objects(there.name, file)}
        oldest = self.copy.retries.runtime.seconds() - RENEWAL_AGE.total_seconds()
        for file in project.files:
            for key, expected in listed_objects(project.name, file):
                entry = present.get(key)
                is_whole = entry is not None and (
                    expected != file.sha256 or entry.size == file.size
                )
                # a sweep of the target may delete old bytes that it does not list
                is_safe = key in listed or (entry is not None and entry.modified > oldest)
                if not (is_whole and is_safe):
                    yield _Missing(project.name, key, expected, file.filename)

    def _copy_object(self, missing: _Missing) -> int:
        """Copy one object through the spool, and return its size."""
        try:
            return self._copy_verified(missing)
        except NotFound as fault:
            if missing.filename not in self._newest(missing.name).deleted_filenames:
                raise NotFound(f"{fault.message} Run 'wheelyard check' there.") from fault
            self.deleted.add(missing.name)
            raise Conflict("files were deleted while they were copied. Copy again.") from fault

    def _copy_verified(self, missing: _Missing) -> int:
        actual, size = sha256(), 0
        source = self.copy.source
        with self.copy.spool.scratch_file() as (path, spooled):
            with storage_faults(missing.key), source_faults(source.documents):
                for chunk in source.files.read(missing.key):
                    write_all(spooled.fileno(), chunk)
                    actual.update(chunk)
                    size += len(chunk)
                    self.progress(missing.name, len(chunk))
            if actual.hexdigest() != missing.sha256:
                raise Conflict(
                    f"{missing.key} is damaged in FROM: its bytes have another digest. Run "
                    "'wheelyard check' there."
                )
            self.copy.target.files.put_file(missing.key, path)
        return size

    def _copy_project(self, plan: _Plan) -> _Plan:
        if plan.is_changed:
            kind, there = project_journal(plan.name), self._there(plan.name)
            commits = self._commits(self._newest(plan.name), there.revision, plan.revision)
            if digest(kind.documents.encode(kind.fold_all(there, commits))) != plan.sha256:
                unknown = kind.unknown_parts(self._newest(plan.name), commits)
                if unknown:
                    raise Conflict(
                        f"this version of wheelyard does not know {', '.join(unknown)} of it. Copy "
                        "with the version that has written it."
                    )
                raise Conflict(
                    "its document in FROM is not what its journal says. Run 'wheelyard check' "
                    "there."
                )
            if commits:
                runtime = self.copy.retries.runtime
                transfer(self.copy.target.documents, runtime, plan.name, commits)
        return plan

    def _commits(self, newest: Project, after: int, last: int) -> list[Commit]:
        return [self._commit(newest, number) for number in range(after + 1, last + 1)]

    def _commit(self, newest: Project, number: int) -> Commit:
        source = self.copy.source.documents
        with source_faults(source):
            return Journal(project_journal(newest.name), source, newest).read(number)

    def _there(self, name: NormalizedName) -> Project:
        try:
            return project_journal(name).read(self.copy.target.documents)[0]
        except Unavailable as fault:
            if fault.code not in UNREADABLE_CODES:
                raise
            raise Conflict(f"in TO: {fault.message}") from fault
