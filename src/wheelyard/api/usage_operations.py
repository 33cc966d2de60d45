"""The operation by which administrators see how much an index stores, and how much of its quota."""

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
    """The number of deleted files that can be restored, which count for no quota."""
    kept_bytes: int = 0
    share: float | None = None
    """How much of its quota the project uses, where 1 is all, or None without a quota."""


class IndexUsage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the private projects of an index store: files without core metadata."""

    index: str = ""
    """The name of the index, or an empty text for main from an older server."""
    projects: tuple[ProjectUsage, ...]
    """The projects of the index, the largest first."""
    files: int
    """The number of files that all projects list together."""
    bytes: int
    unread: int
    """The number of projects that this process has not looked at yet, which count as empty."""
    kept_files: int = 0
    """The number of deleted files that can be restored, which count for no quota."""
    kept_bytes: int = 0
    quota: Quota = Quota()
    """The quota of all projects together, where 0 is no limit."""
    project_quota: Quota = Quota()
    """The quota of each project, where 0 is no limit."""
    share: float | None = None
    """How much of its quota the index uses, where 1 is all, or None without a quota."""
    problem: Caution | None = None
    """Why the index cannot be read, so that it counts as empty, or None if it can be read."""


class Usage(IndexUsage, frozen=True, kw_only=True, omit_defaults=True):
    """What the private projects of an index store, and for main, of the other indexes, too."""

    indexes: tuple[IndexUsage, ...] = ()
    """The usage of the other indexes of the store, if this is the usage of main."""
    stored_files: int = 0
    """
    The number of listed and kept files of all indexes in this answer, where a file that several
    indexes have counts once.
    """
    stored_bytes: int = 0
    public_bytes: int = 0
    """
    The bytes of the public packages that are kept, with core metadata, as counted in the last ten
    minutes. 0 for any other index than main.
    """


class _IndexTable(Struct, frozen=True):
    """The private projects of an index, as the table for searches has them."""

    index: "Index"
    projects: Mapping[NormalizedName, ProjectFacts]
    problem: Caution | None = None
    """Why the list of names cannot be read, so that there are no projects."""


class _ProjectFiles(Struct, frozen=True):
    """The files of a project, as its document has them."""

    name: NormalizedName
    listed_files: Sequence[File] = ()
    kept_files: Sequence[File] = ()
    """Deleted files that can be restored."""


class _IndexReading(Struct, frozen=True):
    """The usage of an index, and the files of those projects whose documents were read."""

    usage: IndexUsage
    files_by_project: Mapping[NormalizedName, _ProjectFiles]


def show_usage(call: Call) -> Usage:
    """
    Show how much the private projects store, and how much public packages take that are kept.

    The sizes are those of the table for searches: no file is looked at. Documents are read only of
    projects that have deleted files, that several indexes have, or that are in an index of the
    store which this process does not serve. Of a damaged project, deleted files are left out, and
    in the sum of all indexes also its listed files if several indexes have the project. An index
    whose list of names is damaged counts as empty, with the reason in `problem`. Public packages
    are counted by their keys, at most every ten minutes. Raises Unavailable if the store does not
    answer.
    """
    served_indexes = _served_indexes(call.index)
    unserved_readings = list[_IndexReading]()
    if call.index.definition.is_main:
        served_names = {index.name for index in served_indexes}
        unserved_readings += _read_unserved_indexes(call.index, served_names)
    tables = [_read_table(index) for index in served_indexes]
    names_in_several = _names_in_several_indexes(tables, unserved_readings)
    readings = [_read_served_index(table, names_in_several) for table in tables]
    own_reading = readings[0]
    other_readings = readings[1:] + unserved_readings
    other_readings.sort(key=attrgetter("usage.index"))
    stored_sum = _sum_of_stored([own_reading, *other_readings], names_in_several)
    public_bytes = 0
    if call.index.definition.is_main:
        public_bytes = call.index.server.kept_size.latest().bytes
    return Usage(
        **asdict(own_reading.usage),
        indexes=tuple(reading.usage for reading in other_readings),
        stored_files=stored_sum.files,
        stored_bytes=stored_sum.bytes,
        public_bytes=public_bytes,
    )


def _served_indexes(index: "Index") -> list["Index"]:
    """Return an index and, if it is main, all other served indexes that have packages."""
    indexes = [index]
    if index.definition.is_main:
        for other_index in index.server.indexes.all():
            # a view has no packages of its own
            if other_index.name == MAIN or not other_index.definition.has_packages:
                continue
            indexes.append(other_index)
    return indexes


def _read_table(index: "Index") -> _IndexTable:
    """
    Return the facts of the private projects of an index: none if its list of names is damaged.

    Raises Unavailable if the store does not answer.
    """
    try:
        facts_by_name = {facts.name: facts for facts in index.search.table().private}
    except Unavailable as fault:
        if fault.code not in UNREADABLE_CODES:
            raise
        return _IndexTable(index, {}, Caution(fault.message, fault.advice))
    return _IndexTable(index, facts_by_name)


def _names_in_several_indexes(
    tables: Iterable[_IndexTable], unserved: Iterable[_IndexReading]
) -> frozenset[NormalizedName]:
    """Return the projects that several indexes have, which may list the same files."""
    counts = Counter[NormalizedName]()
    for table in tables:
        counts.update(table.projects.keys())
    for reading in unserved:
        counts.update(reading.files_by_project.keys())
    return frozenset(name for name, count in counts.items() if count > 1)


def _sum_of_stored(
    readings: Iterable[_IndexReading], names_in_several: Container[NormalizedName]
) -> ListedAmount:
    """Return what indexes store together: a file that several of them have counts once."""
    stored_bytes = 0
    stored_files = 0
    size_by_object = dict[str, int]()
    for reading in readings:
        for project in reading.usage.projects:
            if project.name not in names_in_several:
                stored_bytes += project.bytes + project.kept_bytes
                stored_files += project.files + project.kept_files
                continue
            project_files = reading.files_by_project.get(project.name, _ProjectFiles(project.name))
            # a promoted file is the same object, under the digest in its key
            for file in (*project_files.listed_files, *project_files.kept_files):
                size_by_object[f"{project.name}/{file.sha256}"] = file.size
    stored_bytes += sum(size_by_object.values())
    stored_files += len(size_by_object)
    return ListedAmount(stored_bytes, stored_files)


def _read_unserved_indexes(index: "Index", served_names: Container[str]) -> Iterator[_IndexReading]:
    """Yield the readings of those indexes of the store that this process does not serve."""
    now = index.lifecycle.removal.clock.estimate()
    threads = 1 if index.server.is_local else PREFETCH_THREADS
    for key in index.lifecycle.removal.indexes():
        name = keys.index_in(key)
        if name in served_names:
            continue
        # from documents, as only served indexes have a table for searches
        projects = index.server.indexes.projects_of(name)
        entries = projects.store.list(keys.PROJECTS)
        usages = list[ProjectUsage]()
        files_by_project = dict[NormalizedName, _ProjectFiles]()
        for project in projects.documents.read_listed(entries, threads):
            kept_files = project.kept_files(now)
            if project.files or kept_files:
                listed_sum = _sum_of_files(project.files)
                kept_sum = _sum_of_files(kept_files)
                files_by_project[project.name] = _ProjectFiles(
                    project.name, project.files, kept_files
                )
                usage = ProjectUsage(
                    project.name, listed_sum.files, listed_sum.bytes, kept_sum.files, kept_sum.bytes
                )
                usages.append(usage)
        # an index without projects was removed
        if usages:
            yield _IndexReading(_usage_of_projects(name, usages), files_by_project)


def _sum_of_files(files: Sequence[File]) -> ListedAmount:
    """Return the bytes and the number of files."""
    return ListedAmount(sum(file.size for file in files), len(files))


def _usage_of_projects(index: str, projects: Iterable[ProjectUsage]) -> IndexUsage:
    """Return the usage of an index that has these projects, without its quotas."""
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


def _read_project_files(index: "Index", now: datetime, name: NormalizedName) -> _ProjectFiles:
    """
    Return the files of a project of an index, which are none if its document is damaged.

    Raises Unavailable if the store does not answer.
    """
    try:
        project = index.projects.get(name)
    except Unavailable as fault:
        # if the store does not answer, there is no sum at all
        if fault.code not in UNREADABLE_CODES:
            raise
        return _ProjectFiles(name)
    return _ProjectFiles(name, project.files, project.kept_files(now))


def _read_files_of_projects(
    index: "Index", names: Sequence[NormalizedName]
) -> dict[NormalizedName, _ProjectFiles]:
    """Return the files of these projects of an index, by the names of the projects."""
    # in threads, as each document is a request on a bucket
    threads = 1 if index.server.is_local else PREFETCH_THREADS
    now = index.lifecycle.removal.clock.estimate()
    files_by_project = dict[NormalizedName, _ProjectFiles]()
    for project_files in prefetch_map(partial(_read_project_files, index, now), names, threads):
        files_by_project[project_files.name] = project_files
    return files_by_project


def _read_served_index(
    table: _IndexTable, names_in_several: Container[NormalizedName]
) -> _IndexReading:
    """Return the reading of an index, with the files of projects that several indexes have."""
    index = table.index
    projects = table.projects.values()
    names = list[NormalizedName]()
    for facts in projects:
        if facts.has_kept_files or facts.name in names_in_several:
            names.append(facts.name)
    files_by_project = _read_files_of_projects(index, names)
    quotas = index.uploads.quotas
    usages = list[ProjectUsage]()
    for facts in projects:
        project_files = files_by_project.get(facts.name, _ProjectFiles(facts.name))
        kept_sum = _sum_of_files(project_files.kept_files)
        share = quotas.project.share(ListedAmount(facts.bytes, facts.files))
        usage = ProjectUsage(
            facts.name, facts.files, facts.bytes, kept_sum.files, kept_sum.bytes, share
        )
        usages.append(usage)
    total = _usage_of_projects(index.name, usages)
    index_share: float | None = None
    if table.problem is None:
        index_share = quotas.index.share(ListedAmount(total.bytes, total.files))
    usage_of_index = replace(
        total,
        unread=sum(not facts.document for facts in projects),
        quota=quotas.index,
        project_quota=quotas.project,
        share=index_share,
        problem=table.problem,
    )
    return _IndexReading(usage_of_index, files_by_project)
