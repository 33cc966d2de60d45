"""The operation by which administrators see what an index stores, and how much of its quota."""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import asdict, replace
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
    """The name of the index. Empty for main from an older server."""
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


class _ProjectFiles(Struct, frozen=True):
    """The files of a project by its document."""

    name: NormalizedName
    listed: Sequence[File] = ()
    kept: Sequence[File] = ()
    """Deleted ones that can be restored."""


class _IndexReading(Struct, frozen=True):
    """What is known of an index: its usage, and the files of projects that were read."""

    usage: IndexUsage
    files: Mapping[NormalizedName, _ProjectFiles]


def show_usage(call: Call) -> Usage:
    """
    Show how much the private projects store, and how much public packages take that are kept.

    It is known from the search: no file is looked at. Documents are read only of projects that have
    deleted files, that several indexes have, or that are in an index of the store which this
    process does not serve. Of a damaged project, deleted files are left out, and in the sum of all
    indexes also its listed files if several indexes have the project. An index whose list of
    names is damaged counts as empty, and says so. Public packages are counted by their keys, at
    most every ten minutes. Raises Unavailable if the store does not answer.
    """
    served = _served(call.index)
    unserved = list[_IndexReading]()
    if call.index.definition.is_main:
        unserved += _read_unserved(call.index, {index.name for index in served})
    tables = [_table(index) for index in served]
    names_in_several = _names_in_several(tables, unserved)
    readings = [_read_served(table, names_in_several) for table in tables]
    own = readings[0]
    other_indexes = sorted(readings[1:] + unserved, key=lambda reading: reading.usage.index)
    stored = _stored([own, *other_indexes], names_in_several)
    public_bytes = 0
    if call.index.definition.is_main:
        public_bytes = call.index.server.kept_size.latest().bytes
    return Usage(
        **asdict(own.usage),
        indexes=tuple(reading.usage for reading in other_indexes),
        stored_files=stored.files,
        stored_bytes=stored.bytes,
        public_bytes=public_bytes,
    )


def _served(index: "Index") -> list["Index"]:
    """Return an index, and if it is main, each other one with packages that this process serves."""
    indexes = [index]
    if index.definition.is_main:
        for other in index.server.indexes.all():
            # a view has no packages of its own
            if other.name == MAIN or not other.definition.has_packages:
                continue
            indexes.append(other)
    return indexes


def _table(index: "Index") -> _IndexTable:
    """Return the facts of the private projects of an index: none if its names are damaged."""
    try:
        facts_by_name = {facts.name: facts for facts in index.search.table().private}
    except Unavailable as fault:
        if fault.code not in UNREADABLE_CODES:
            raise
        return _IndexTable(index, {}, Caution(fault.message, fault.advice))
    return _IndexTable(index, facts_by_name)


def _names_in_several(
    tables: Iterable[_IndexTable], unserved: Iterable[_IndexReading]
) -> frozenset[NormalizedName]:
    """Return the projects that several indexes have, so that they may have the same files."""
    counts = Counter[NormalizedName]()
    for table in tables:
        counts.update(table.projects.keys())
    for reading in unserved:
        counts.update(reading.files.keys())
    return frozenset(name for name, count in counts.items() if count > 1)


def _stored(
    readings: Iterable[_IndexReading], names_in_several: Container[NormalizedName]
) -> ListedAmount:
    """Return what indexes store together, where a file that several have counts once."""
    stored_bytes = 0
    stored_files = 0
    sizes = dict[str, int]()
    for reading in readings:
        for project in reading.usage.projects:
            if project.name not in names_in_several:
                stored_bytes += project.bytes + project.kept_bytes
                stored_files += project.files + project.kept_files
                continue
            files = reading.files.get(project.name, _ProjectFiles(project.name))
            # a promoted file is the same object, under the digest in its key
            for file in (*files.listed, *files.kept):
                sizes[f"{project.name}/{file.sha256}"] = file.size
    return ListedAmount(stored_bytes + sum(sizes.values()), stored_files + len(sizes))


def _read_unserved(index: "Index", served: Container[str]) -> Iterator[_IndexReading]:
    """Yield what other indexes of the store have, by their documents."""
    now = index.lifecycle.removal.clock.estimate()
    threads = 1 if index.server.is_local else PREFETCH_THREADS
    for key in index.lifecycle.removal.indexes():
        name = keys.index_in(key)
        if name in served:
            continue
        # without a search table: that is of an index which this process serves
        projects = index.server.indexes.projects_of(name)
        entries = projects.store.list(keys.PROJECTS)
        usages = list[ProjectUsage]()
        files = dict[NormalizedName, _ProjectFiles]()
        for project in projects.documents.read_listed(entries, threads):
            kept_files = project.kept_files(now)
            if project.files or kept_files:
                listed = _amount(project.files)
                kept = _amount(kept_files)
                files[project.name] = _ProjectFiles(project.name, project.files, kept_files)
                usage = ProjectUsage(
                    project.name, listed.files, listed.bytes, kept.files, kept.bytes
                )
                usages.append(usage)
        # without any, the index was removed
        if usages:
            yield _IndexReading(_sum_of(name, usages), files)


def _amount(files: Sequence[File]) -> ListedAmount:
    """Return how many files these are, and their bytes."""
    return ListedAmount(sum(file.size for file in files), len(files))


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


def _read_files(index: "Index", now: datetime, name: NormalizedName) -> _ProjectFiles:
    """
    Return the files of a project of an index, none of a damaged one.

    Raises Unavailable if the store does not answer.
    """
    try:
        project = index.projects.get(name)
    except Unavailable as fault:
        # a damaged document has no files for this; a store without an answer has no figure
        if fault.code not in UNREADABLE_CODES:
            raise
        return _ProjectFiles(name)
    return _ProjectFiles(name, project.files, project.kept_files(now))


def _read_served(table: _IndexTable, names_in_several: Container[NormalizedName]) -> _IndexReading:
    """Return what is known of an index, with the files of projects that several indexes have."""
    index = table.index
    private = table.projects.values()
    names = list[NormalizedName]()
    for facts in private:
        if facts.has_kept_files or facts.name in names_in_several:
            names.append(facts.name)

    # in threads: on a bucket each document is a request
    threads = 1 if index.server.is_local else PREFETCH_THREADS
    now = index.lifecycle.removal.clock.estimate()
    files = dict[NormalizedName, _ProjectFiles]()
    for project_files in prefetch_map(partial(_read_files, index, now), names, threads):
        files[project_files.name] = project_files
    quotas = index.uploads.quotas
    usages = list[ProjectUsage]()
    for facts in private:
        kept = _amount(files.get(facts.name, _ProjectFiles(facts.name)).kept)
        share = quotas.project.share(ListedAmount(facts.bytes, facts.files))
        usage = ProjectUsage(facts.name, facts.files, facts.bytes, kept.files, kept.bytes, share)
        usages.append(usage)
    total = _sum_of(index.name, usages)
    index_share: float | None = None
    if table.problem is None:
        index_share = quotas.index.share(ListedAmount(total.bytes, total.files))
    usage_of_index = replace(
        total,
        unread=sum(not facts.document for facts in private),
        quota=quotas.index,
        project_quota=quotas.project,
        share=index_share,
        problem=table.problem,
    )
    return _IndexReading(usage_of_index, files)
