"""
Operations on counts of downloads.

They raise Unavailable if the store does not answer, or has a damaged document.
"""

from datetime import date
from typing import Annotated

from msgspec import Meta, Struct
from packaging.utils import NormalizedName

from wheelyard.api.operation import Call
from wheelyard.authentication.authorization import project_not_found
from wheelyard.errors import NotFound
from wheelyard.model.downloads import (
    KEPT_DAYS,
    SHOWN_DAYS,
    CountByDay,
    CountByVersion,
)


class DownloadsQuery(Struct, frozen=True):
    """A query for the downloads of a project."""

    days: Annotated[int, Meta(ge=1, le=KEPT_DAYS)] = SHOWN_DAYS
    """In how many days, the last of which is today, in UTC."""


class DownloadsAnswer(Struct, frozen=True, kw_only=True):
    """The downloads of the files of a project."""

    name: NormalizedName
    since: date
    """The first day, in UTC."""
    downloads: int
    last: date | None
    """The day of the last download in this time, or null without one."""
    by_day: tuple[CountByDay, ...]
    """Each day, also without downloads, oldest first."""
    by_version: tuple[CountByVersion, ...]
    """The most frequent first."""


def show_downloads(call: Call, name: NormalizedName, body: DownloadsQuery) -> DownloadsAnswer:
    """
    Count the downloads of a project by day and version.

    What other servers have counted within the last hour may be missing. Raises as
    `ReadPolicy.require_project_read`, and NotFound if the project does not exist, or this index
    does not count.
    """
    index = call.index
    index.read_policy.require_project_read(call.caller, name)
    shown = (
        part.projects.peek(name) or part.projects.load(name)
        for part in index.repository.own_packages()
    )
    if all(snapshot.value is None for snapshot in shown):
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
