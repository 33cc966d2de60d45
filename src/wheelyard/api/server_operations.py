"""
Operations on a whole index, for administrators: what it stores, and how it is.

Each raises Unavailable if the store does not answer.
"""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.api.operation import Call
from wheelyard.catalog import keys
from wheelyard.concurrency.threads import PREFETCH_THREADS, prefetch_map
from wheelyard.errors import UNREADABLE_CODES, Unavailable
from wheelyard.model.index_name import MAIN
from wheelyard.model.project import File
from wheelyard.model.quotas import ListedAmount, Quota
from wheelyard.remedies import Caution
from wheelyard.rendering.project_facts import ProjectFacts

if TYPE_CHECKING:
    from wheelyard.wiring.index import Index

USAGE: Final = "see what is stored"
"""What only administrators may do."""


class ProjectUsage(Struct, frozen=True, omit_defaults=True):
    """What a private project stores."""

    name: NormalizedName
    files: int
    bytes: int
    kept_files: int = 0
    """Deleted ones that can be restored, which count for no quota."""
    kept_bytes: int = 0
    share: float | None = None
    """How much of its quota the project uses, where 1 is all, or None without a quota."""


class IndexUsage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the private projects of an index store: files without core metadata."""

    index: str = ""
    """The name of the index; empty for main from an older server."""
    projects: tuple[ProjectUsage, ...]
    """The largest first."""
    files: int
    """Files that projects list, of all of them together."""
    bytes: int
    unread: int
    """Projects that this process has not looked at yet, which count as empty."""
    kept_files: int = 0
    """Deleted ones that can be restored, which count for no quota."""
    kept_bytes: int = 0
    quota: Quota = Quota()
    """That of all projects together, where 0 is no limit."""
    project_quota: Quota = Quota()
    """That of each project."""
    share: float | None = None
    """How much of its quota the index uses, where 1 is all, or None without a quota."""
    problem: Caution | None = None
    """Why the index cannot be read, so that it counts as empty."""


class Usage(IndexUsage, frozen=True, kw_only=True, omit_defaults=True):
    """What the private projects of an index store, and those of the others of the store."""

    indexes: tuple[IndexUsage, ...] = ()
    """The other indexes, if it is that of main."""
    stored_files: int = 0
    """Listed and kept files of all these indexes, where a file that several have counts once."""
    stored_bytes: int = 0
    public_bytes: int = 0
    """What public packages take that are kept, with core metadata, as counted in the last ten
    minutes. 0 for any other index than main."""


class _IndexTable(Struct, frozen=True):
    """The private projects of an index, as the search knows them."""

    index: "Index"
    projects: Mapping[NormalizedName, ProjectFacts]
    problem: Caution | None = None
    """Why they cannot be read."""


class _IndexReading(Struct, frozen=True):
    """What is known of an index: its usage, and the files of projects that were read."""

    usage: IndexUsage
    files: Mapping[NormalizedName, Sequence[File]]
    """Listed and kept ones."""


def show_usage(call: Call) -> Usage:
    """
    Show how much the private projects store, and how much public packages take that are kept.

    It is known from the search: no file is looked at. Documents are read only of projects that have
    deleted files, that several indexes have, or that are in an index of the store which this
    process does not serve. Of a damaged one, deleted files are left out. An index whose list of
    names is damaged counts as empty, and says so. Public packages are counted by their keys, at
    most every ten minutes.
    """
    indexes, unserved = [call.index], list[_IndexReading]()
    is_main = call.index.definition.is_main
    if is_main:
        others = (index for index in call.index.server.indexes.all() if index.name != MAIN)
        indexes += [index for index in others if index.definition.has_packages]
        unserved = list(_read_unserved(call.index, {index.name for index in indexes}))
    tables = [_table(index) for index in indexes]
    counts = Counter(name for table in tables for name in table.projects)
    counts.update(name for reading in unserved for name in reading.files)
    several = frozenset(name for name, count in counts.items() if count > 1)
    first, *read = [_read(table, several) for table in tables]
    rest = sorted((*read, *unserved), key=lambda reading: reading.usage.index)
    usages, stored = [first.usage, *(other.usage for other in rest)], dict[str, int]()
    for name in several:
        for reading in (first, *rest):
            stored |= {f"{name}/{file.sha256}": file.size for file in reading.files.get(name, ())}
    alone = [project for usage in usages for project in usage.projects if counts[project.name] == 1]
    fields = {name: getattr(first.usage, name) for name in IndexUsage.__struct_fields__}
    return Usage(
        **fields,
        indexes=tuple(usages[1:]),
        stored_files=len(stored) + sum(project.files + project.kept_files for project in alone),
        stored_bytes=sum(stored.values())
        + sum(project.bytes + project.kept_bytes for project in alone),
        public_bytes=call.index.server.kept_size.latest().bytes if is_main else 0,
    )


def _table(index: "Index") -> _IndexTable:
    """Return the facts of the private projects of an index: none if its names are damaged."""
    try:
        return _IndexTable(index, {facts.name: facts for facts in index.search.table().private})
    except Unavailable as fault:
        if fault.code not in UNREADABLE_CODES:
            raise
        return _IndexTable(index, {}, Caution(fault.message, fault.advice))


def _read_unserved(index: "Index", served: Container[str]) -> Iterator[_IndexReading]:
    """Yield what other indexes of the store have, by their documents."""
    now = index.lifecycle.removal.clock.estimate()
    threads = 1 if index.server.is_local else PREFETCH_THREADS
    for name in map(keys.index_in, index.lifecycle.removal.indexes()):
        if name in served:
            continue
        projects = index.server.indexes.projects_of(name)
        entries = projects.store.list(keys.PROJECTS)
        usages, files = list[ProjectUsage](), dict[NormalizedName, Sequence[File]]()
        for project in projects.documents.read_listed(entries, threads):
            kept = project.kept_files(now)
            if project.files or kept:
                files[project.name] = (*project.files, *kept)
                usages.append(
                    ProjectUsage(
                        project.name,
                        len(project.files),
                        sum(file.size for file in project.files),
                        len(kept),
                        sum(file.size for file in kept),
                    )
                )
        if usages:  # else the index was removed
            yield _IndexReading(_sum_of(name, usages), files)


def _sum_of(index: str, projects: Iterable[ProjectUsage]) -> IndexUsage:
    """Return the usage of an index without quotas that has these projects."""
    ordered = tuple(sorted(projects, key=attrgetter("bytes", "files"), reverse=True))
    return IndexUsage(
        index=index,
        projects=ordered,
        files=sum(project.files for project in ordered),
        bytes=sum(project.bytes for project in ordered),
        unread=0,
        kept_files=sum(project.kept_files for project in ordered),
        kept_bytes=sum(project.kept_bytes for project in ordered),
    )


def _read(table: _IndexTable, several: frozenset[NormalizedName]) -> _IndexReading:
    index = table.index
    quotas = index.uploads.quotas
    nothing = ListedAmount()
    now, kept = index.lifecycle.removal.clock.estimate(), dict[NormalizedName, ListedAmount]()

    def read(name: NormalizedName) -> tuple[NormalizedName, tuple[File, ...], tuple[File, ...]]:
        try:
            project = index.projects.get(name)
        except Unavailable as fault:
            if fault.code not in UNREADABLE_CODES:
                raise
            return name, (), ()
        return name, project.files, project.kept_files(now)

    files = dict[NormalizedName, Sequence[File]]()
    private = table.projects.values()
    names = [facts.name for facts in private if facts.has_kept_files or facts.name in several]
    threads = 1 if index.server.is_local else PREFETCH_THREADS
    for name, listed, deleted in prefetch_map(read, names, threads):
        files[name] = (*listed, *deleted)
        kept[name] = ListedAmount(sum(file.size for file in deleted), len(deleted))
    projects = [
        ProjectUsage(
            facts.name,
            facts.files,
            facts.bytes,
            kept.get(facts.name, nothing).files,
            kept.get(facts.name, nothing).bytes,
            quotas.project.share(ListedAmount(facts.bytes, facts.files)),
        )
        for facts in private
    ]
    usage = _sum_of(index.name, projects)
    share: float | None = None
    if table.problem is None:
        share = quotas.index.share(ListedAmount(usage.bytes, usage.files))
    usage = replace(
        usage,
        unread=sum(not facts.document for facts in private),
        quota=quotas.index,
        project_quota=quotas.project,
        share=share,
        problem=table.problem,
    )
    return _IndexReading(usage, files)
