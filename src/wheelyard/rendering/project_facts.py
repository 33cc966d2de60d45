"""
The facts of a project that pages about several projects show, and that a search looks at.

They are made from the project's document, or from its page of an upstream index, and the core
metadata of its latest release.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, NamedTuple, TypeVar

from msgspec import Meta, Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.model.project import SUMMARY_LIMIT, Project, Status
from wheelyard.rendering.releases import Release, ReleaseOf
from wheelyard.rendering.shown import ShownFile, ShownProject
from wheelyard.rendering.simple_pages import served_files

KEYWORDS_LIMIT: Final = 512
"""Characters of the keywords of a project that can be searched."""

Milliseconds = Annotated[int, Meta(ge=0, lt=253_402_300_800_000)]  # before the year 10000
"""Milliseconds since the epoch; 0 for never."""

F = TypeVar("F", bound=ShownFile)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SEPARATORS: Final = re.compile(r"[-_.]+")
_REQUIRED_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


class Description(NamedTuple):
    """What the core metadata of a release say about it, as far as it can be searched."""

    summary: str = ""
    keywords: str = ""
    requirements: Sequence[str] = ()


NOT_DESCRIBED: Final = Description()


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
    """
    The revision of the document that this was made from; empty if only the name is known.

    Of a public project, it changes with its page and with what was decided about it.
    """
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


def private_facts_of(
    project: Project, latest: Release | None, description: Description
) -> ProjectFacts:
    """Return the facts of a private project; its own summary takes the place of a missing one."""
    description = description._replace(summary=description.summary or project.summary)
    events = project.commit.events if project.commit else ()
    changed = max((_milliseconds(event.at) for event in events), default=0)
    return replace(
        facts_of(project, latest, description), changed=changed, document=str(project.revision)
    )


def facts_of(
    project: ShownProject[F],
    latest: ReleaseOf[F] | None,
    description: Description = NOT_DESCRIBED,
) -> ProjectFacts:
    """Return the facts of a project; `description` is that of its latest release."""
    name, shown = project.name, _encodable(description.summary[:SUMMARY_LIMIT] if latest else "")
    words = _encodable(description.keywords[:KEYWORDS_LIMIT])
    uploads = [
        (file.uploaded_at, file.filename, file.version)
        for file in served_files(project)
        if file.yanked is None and file.uploaded_at is not None
    ]
    at, _, version = max(uploads, default=(_EPOCH, "", ""))
    required = {required_name(text) for text in description.requirements} - {"", name}
    return ProjectFacts(
        name,
        version=latest.version if latest else "",
        summary=shown,
        keywords=words,
        requires=f" {' '.join(sorted(required))} " if required else "",
        uploaded_version=version,
        uploaded=_milliseconds(at),
        text=fold(f"{name} {shown} {words}"),
        status=_status(project, latest),
    )


def required_name(requirement: str) -> str:
    """Return the normalised name of the project that a requirement (PEP 508) names, or ""."""
    found = _REQUIRED_NAME.match(requirement.lstrip())
    return fold(found[0]) if found else ""


def _status(project: ShownProject[F], latest: ReleaseOf[F] | None) -> str:
    if project.status is not Status.ACTIVE:
        return project.status.value
    return "yanked" if latest is not None and latest.is_yanked else ""


def _milliseconds(moment: datetime) -> int:
    return max(0, (moment - _EPOCH) // timedelta(milliseconds=1))


def _encodable(text: str) -> str:
    # metadata may have lone surrogates
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
