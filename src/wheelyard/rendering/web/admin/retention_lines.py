"""The line of time of a project on the page of retention: which releases stay, and which go."""

from collections.abc import Mapping, Sequence
from datetime import date
from types import MappingProxyType
from typing import Final

from markupsafe import Markup

from wheelyard.model.decoding import counted
from wheelyard.model.distribution_filename import listed_version
from wheelyard.model.retention import DatedRelease, ThinnedProject
from wheelyard.rendering.web.figures import Dot, draw_timeline

PLACES: Final = 50
"""Into so many times of whole days a line is divided at most: releases of one share a dot."""

_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {"deleted": "goes", "prerelease": "pre-release", "yanked": "yanked"}
)
"""What each kind of a dot is called."""
_Place = tuple[int, tuple[str, ...]]
"""The number of such a time, and the kinds of a dot."""


def draw_releases(project: ThinnedProject) -> Markup:
    """Return the line of time of a project, or nothing if all releases are of one day."""
    releases = project.releases
    first = releases[0].day
    last = releases[-1].day
    if first == last:  # dots in one place say nothing
        return Markup()
    places = dict[_Place, list[DatedRelease]]()
    step = (last - first).days // PLACES + 1
    for release in releases:
        number = (release.day - first).days // step
        places.setdefault((number, _kinds_of(release)), []).append(release)
    dots = [_dot(shared, kinds) for (_, kinds), shared in places.items()]
    # what goes is on top of what stays
    dots.sort(key=lambda dot: "deleted" in dot.kinds)
    deleted = [release.day for release in releases if release.is_deleted]
    summary = (
        f"{project.deleted:,} of {counted(len(releases), 'release')} of {project.name} would be "
        f"deleted, {_period(deleted[0], deleted[-1])}. The list below has them."
    )
    return draw_timeline(dots, summary, last)


def _kinds_of(release: DatedRelease) -> tuple[str, ...]:
    if release.is_deleted:
        return ("deleted",)
    kinds = list[str]()
    if listed_version(release.version).is_prerelease:
        kinds.append("prerelease")
    if release.is_yanked:
        kinds.append("yanked")
    return tuple(kinds)


def _dot(releases: Sequence[DatedRelease], kinds: tuple[str, ...]) -> Dot:
    """Return the dot of releases of the same kinds, of which the oldest is the first."""
    first = releases[0]
    name = f"{first.version}, {first.day}"
    if len(releases) > 1:
        name = f"{counted(len(releases), 'release')} from {name} on"
    return Dot(first.day, ", ".join([name, *(_WORDS[kind] for kind in kinds)]), kinds)


def _period(first: date, last: date) -> str:
    return f"{first}" if first == last else f"{first} to {last}"
