"""The line of time of a project on the page of retention: which releases stay, which go."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from markupsafe import Markup

from wheelyard.model.decoding import counted
from wheelyard.model.distribution_filename import listed_version
from wheelyard.model.retention_report import DatedRelease, ThinnedProject
from wheelyard.rendering.web.figures import Dot, draw_timeline, time_in_words

PLACES: Final = 40
"""How many places a line of time has. They are few, as a page has lines of twenty projects."""

_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {"deleted": "goes", "prerelease": "pre-release", "yanked": "yanked"}
)
"""The words for each kind of a dot."""


def draw_releases(project: ThinnedProject) -> Markup:
    """Return the line of time of a project, or nothing if all releases are of one day."""
    releases = project.releases
    # dots in one place say nothing
    if releases[0].day == releases[-1].day:
        return Markup()
    days_of_deleted = [release.day for release in releases if release.is_deleted]
    days = time_in_words(days_of_deleted[0], days_of_deleted[-1])
    summary = (
        f"{project.deleted:,} of {counted(len(releases), 'release')} of {project.name} would be "
        f"deleted, {days}. The list below has them."
    )
    dots = [_release_dot(release) for release in releases]
    return draw_timeline(dots, summary, places=PLACES)


def _release_dot(release: DatedRelease) -> Dot:
    """Return the dot of a release on the line of time."""
    kinds = _kinds_of(release)
    words = [f"{release.version}, {release.day}"]
    words += [_WORDS[kind] for kind in kinds]
    return Dot(release.day, ", ".join(words), kinds)


def _kinds_of(release: DatedRelease) -> tuple[str, ...]:
    """Return the kinds of the dot of a release: `deleted` alone, or what the release is."""
    if release.is_deleted:
        return ("deleted",)
    kinds = list[str]()
    if listed_version(release.version).is_prerelease:
        kinds.append("prerelease")
    if release.is_yanked:
        kinds.append("yanked")
    return tuple(kinds)
