"""
Operations on counts of downloads.

Each raises Unavailable if the store does not answer, or a document that it needs is damaged.
"""

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct
from packaging.utils import NormalizedName

from wheelyard.api.operation import Call
from wheelyard.authentication.authorization import project_not_found, require_server_admin
from wheelyard.errors import NotFound
from wheelyard.model.access import Caller
from wheelyard.model.downloads import (
    KEPT_DAYS,
    SHOWN_DAYS,
    CountByDay,
    CountByVersion,
)
from wheelyard.operations.search.project_table import ProjectTable
from wheelyard.wiring.index import Index

if TYPE_CHECKING:
    from wheelyard.downloads.reading import Downloads
    from wheelyard.wiring.server import Server


class DownloadsQuery(Struct, frozen=True):
    """A query for the downloads of a project."""

    days: Annotated[int, Meta(ge=1, le=KEPT_DAYS)] = SHOWN_DAYS
    """The number of days that are counted. The last of these days is today, in UTC."""


class DownloadsAnswer(Struct, frozen=True, kw_only=True):
    """The downloads of the files of a project."""

    name: NormalizedName
    since: date
    """The first of the counted days, in UTC."""
    downloads: int
    last: date | None
    """The last of the counted days on which there was a download, or None without a download."""
    by_day: tuple[CountByDay, ...]
    """The downloads on each of the counted days, also on a day without any, the oldest first."""
    by_version: tuple[CountByVersion, ...]
    """The downloads of each version, the most frequent version first."""


def show_downloads(call: Call, name: NormalizedName, body: DownloadsQuery) -> DownloadsAnswer:
    """
    Count the downloads of a project by day and version.

    The project is one of the own packages of the index or of its layers. Downloads that other
    servers have counted within the last hour may be missing. Raises Unauthenticated, Forbidden or
    NotFound if the caller may not read the project, whether or not it exists. Raises NotFound if it
    does not exist, or (code `downloads_not_counted`) if this index does not count.
    """
    index = call.index
    index.read_policy.require_project_read(call.caller, name)
    if not _has_project(index, name):
        raise project_not_found(name)
    if index.downloads is None:
        message = "This index does not count downloads: the setting downloads.count is false."
        raise NotFound(message, code="downloads_not_counted")
    report, _ = index.downloads.report(name, body.days)
    return DownloadsAnswer(
        name=name,
        since=report.since,
        downloads=report.downloads,
        last=report.last,
        by_day=report.days,
        by_version=report.versions,
    )


def _has_project(index: Index, name: NormalizedName) -> bool:
    """Return whether a project is one of the own packages of an index or of its layers."""
    for own_packages in index.repository.own_packages():
        snapshot = own_packages.projects.peek(name) or own_packages.projects.load(name)
        if snapshot.value is not None:
            return True
    return False


def count_all_downloads(server: "Server[Any]", caller: Caller) -> tuple[int, ...]:
    """
    Count the downloads of all projects of all indexes on each of the last `SHOWN_DAYS` days.

    The last of these days is today, in UTC. Indexes that do not count are left out. Raises
    Unauthenticated or Forbidden unless the caller is an administrator of the server.
    """
    require_server_admin(caller, "see how often all projects were downloaded")
    days = [0] * SHOWN_DAYS
    for index in server.indexes.all():
        if index.downloads is not None:
            totals, _ = index.downloads.totals(SHOWN_DAYS)
            days = [total + count for total, count in zip(days, totals.days, strict=True)]
    return tuple(days)


def downloads_by_project(
    downloads: "Downloads", table: ProjectTable, caller: Caller
) -> tuple[Mapping[NormalizedName, int], float]:
    """
    Count the downloads of the private projects of a table that a caller may read.

    They are the downloads of `SHOWN_DAYS` days, the last of which is today. Return the counts by
    name, without projects that have no download, and the time on the monotonic clock until which
    the counts may be shown. The counts of all projects are read at once, and kept for a while.
    """
    totals, valid_until = downloads.totals(SHOWN_DAYS)
    # not of public packages: counts of such a name are of a private project that it had before
    counts = {}
    for project in table.readable_by(caller).private:
        if project.name in totals.projects:
            counts[project.name] = totals.projects[project.name]
    return counts, valid_until
