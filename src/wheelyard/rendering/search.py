"""
The search index: one line for each project, small enough to be fetched whole by a browser.

    [["acme-core", "1.4.0", "What every service of ours needs"], ...]
"""

from collections.abc import Iterable
from operator import attrgetter

from msgspec import Struct
from msgspec.json import Encoder
from packaging.utils import NormalizedName

from wheelyard.model.project import Project
from wheelyard.rendering.releases import Release


class Found(Struct, frozen=True, array_like=True):
    """What a search shows of a project."""

    name: NormalizedName
    version: str
    """Of the release that speaks for the project; empty where there is none."""
    summary: str


def found(project: Project, described: Release | None) -> Found:
    """Return what a search shows of a project and the release that speaks for it."""
    return Found(project.name, described.version if described else "", project.summary)


def search_json(projects: Iterable[Found]) -> bytes:
    """Return the search index, one project to a line, in the order of their names."""
    encoder = Encoder()
    ordered = sorted(projects, key=attrgetter("name"))
    lines = b",\n".join(encoder.encode(each) for each in ordered)
    return b"[\n" + lines + b"\n]\n" if lines else b"[]\n"
