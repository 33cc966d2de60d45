"""The search index of `/search.json`: one entry for each project."""

from collections.abc import Iterable
from operator import attrgetter

from msgspec import Struct
from msgspec.json import Encoder
from packaging.utils import NormalizedName

from wheelyard.model.project import Project
from wheelyard.rendering.releases import Release


class SearchEntry(Struct, frozen=True, array_like=True):
    """What a search shows of a project: `["acme-core", "1.4.0", "What every service needs"]`."""

    name: NormalizedName
    version: str
    """Of the release that speaks for the project, if any."""
    summary: str


def search_entry(project: Project, described: Release | None) -> SearchEntry:
    """Return what a search shows of a project."""
    return SearchEntry(project.name, described.version if described else "", project.summary)


def search_json(projects: Iterable[SearchEntry]) -> bytes:
    """Return the search index, one project to a line, by name."""
    encoder = Encoder()
    ordered = sorted(projects, key=attrgetter("name"))
    lines = b",\n".join(encoder.encode(each) for each in ordered)
    return b"[\n" + lines + b"\n]\n" if lines else b"[]\n"
