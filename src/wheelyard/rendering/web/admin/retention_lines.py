"""The line of time of a project on the page of retention: which releases stay, and which go."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from markupsafe import Markup

from wheelyard.model.decoding import counted
from wheelyard.model.distribution_filename import listed_version
from wheelyard.model.retention_report import DatedRelease, ThinnedProject
from wheelyard.rendering.web.figures import Dot, draw_timeline, time_in_words

PLACES: Final = 40
"""How many places a line has: a page has lines of twenty projects."""

_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {"deleted": "goes", "prerelease": "pre-release", "yanked": "yanked"}
)
"""What each kind of a dot is called."""


def draw_releases(project: ThinnedProject) -> Markup:
    """Return the line of time of a project, or nothing if all releases are of one day."""
    releases = project.releases
    if releases[0].day == releases[-1].day:  # dots in one place say nothing
        return Markup()
    deleted = [release.day for release in releases if release.is_deleted]
    summary = (
        f"{project.deleted:,} of {counted(len(releases), 'release')} of {project.name} would be "
        f"deleted, {time_in_words(deleted[0], deleted[-1])}. The list below has them."
    )
    return draw_timeline(list(map(_dot, releases)), summary, places=PLACES)


def _dot(release: DatedRelease) -> Dot:
    kinds = _kinds_of(release)
    words = [f"{release.version}, {release.day}"]
    words += [_WORDS[kind] for kind in kinds]
    return Dot(release.day, ", ".join(words), kinds)


def _kinds_of(release: DatedRelease) -> tuple[str, ...]:
    if release.is_deleted:
        # what becomes of it matters more here than what it is
        return ("deleted",)
    kinds = list[str]()
    if listed_version(release.version).is_prerelease:
        kinds.append("prerelease")
    if release.is_yanked:
        kinds.append("yanked")
    return tuple(kinds)
