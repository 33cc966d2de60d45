"""
The facts of a project that pages about several projects show, and that a search looks at.

They are made from the project's document and the core metadata of its latest release.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Annotated, Final, NamedTuple

from msgspec import Meta, Struct
from packaging.utils import NormalizedName

from wheelyard.model.project import SUMMARY_LIMIT, Project, Status
from wheelyard.rendering.releases import Release
from wheelyard.rendering.simple_pages import served_files

KEYWORDS_LIMIT: Final = 512
"""Characters of the keywords of a project that can be searched."""

Milliseconds = Annotated[int, Meta(ge=0, lt=253_402_300_800_000)]  # before the year 10000
"""Milliseconds since the epoch; 0 for never."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SEPARATORS: Final = re.compile(r"[-_.]+")
_REQUIRED_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


class ProjectUser(NamedTuple):
    """A project whose latest release requires another one."""

    name: NormalizedName
    status: str
    """As in `ProjectFacts`."""


class ProjectFacts(Struct, frozen=True, array_like=True, gc=False):
    """
    What is known of one project.

    Its stored form is an array, and a field is only ever added at the end, with a default. An index
    may have 100,000 of them in memory, so texts are joined.
    """

    name: NormalizedName
    version: str = ""
    """Of the latest release; empty without releases."""
    summary: str = ""
    """Of the latest release; empty without releases."""
    keywords: str = ""
    """As the latest release has them, at most `KEYWORDS_LIMIT` characters."""
    requires: str = ""
    """The names of all projects that the latest release requires, each between two spaces."""
    uploaded_version: str = ""
    """The release of the latest upload; empty without a file that installers would choose."""
    uploaded: Milliseconds = 0
    """When its newest file was uploaded that is neither yanked nor in quarantine."""
    changed: Milliseconds = 0
    text: str = ""
    """Name, summary and keywords, folded by `fold`."""
    document: str = ""
    """The version of the document that this was made from; empty if only the name is known."""
    status: str = ""
    """The status unless it is active, else `yanked` if every release is; empty for all others."""
    origin: str = ""
    """The label of the upstream index of a public project; empty for a private one."""

    @property
    def required_names(self) -> tuple[NormalizedName, ...]:
        """The names of the projects that the latest release requires, sorted; extras count."""
        return tuple(map(NormalizedName, self.requires.split()))

    @property
    def uploaded_at(self) -> datetime:
        """The time of the latest upload, UTC."""
        return _EPOCH + timedelta(milliseconds=self.uploaded)


def fold(text: str) -> str:
    """Return `text` in lower case, with `-` for each run of `-`, `_` and `.`, as in names."""
    return _SEPARATORS.sub("-", text.lower())


def name_facts(name: NormalizedName) -> ProjectFacts:
    """Return the facts of a project of which only the name is known."""
    return ProjectFacts(name, text=name)


def facts_of(
    project: Project,
    latest: Release | None,
    summary: str | None = None,
    keywords: str | None = None,
    requirements: Iterable[str] = (),
    document: str = "",
) -> ProjectFacts:
    """Return the facts of a project, with what the core metadata of its latest release say."""
    name, events = project.name, project.commit.events if project.commit else ()
    shown = (summary or project.summary)[:SUMMARY_LIMIT] if latest else ""
    summary, words = _encodable(shown), _encodable((keywords or "")[:KEYWORDS_LIMIT])
    current = [file for file in served_files(project) if file.yanked is None]
    newest = max(current, key=attrgetter("uploaded_at", "filename"), default=None)
    required = {required_name(each) for each in requirements} - {"", name}
    return ProjectFacts(
        name,
        version=latest.version if latest else "",
        summary=summary,
        keywords=words,
        requires=f" {' '.join(sorted(required))} " if required else "",
        uploaded_version=newest.version if newest else "",
        uploaded=_milliseconds(newest.uploaded_at) if newest else 0,
        changed=max((_milliseconds(each.at) for each in events), default=0),
        text=fold(f"{name} {summary} {words}"),
        document=document,
        status=_status(project, latest),
    )


def required_name(requirement: str) -> str:
    """Return the normalised name of the project that a requirement (PEP 508) names, or ""."""
    found = _REQUIRED_NAME.match(requirement.lstrip())
    return fold(found[0]) if found else ""


def _status(project: Project, latest: Release | None) -> str:
    if project.status is not Status.ACTIVE:
        return project.status.value
    return "yanked" if latest is not None and latest.is_yanked else ""


def _milliseconds(moment: datetime) -> int:
    return max(0, (moment - _EPOCH) // timedelta(milliseconds=1))


def _encodable(text: str) -> str:
    # metadata may have lone surrogates
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
