"""The format of `/search.json`: an entry for each project."""

from collections.abc import Iterable
from operator import attrgetter

from msgspec import Struct
from msgspec.json import Encoder
from packaging.utils import NormalizedName

from wheelyard.model.project import Project
from wheelyard.rendering.releases import Release


class SearchEntry(Struct, frozen=True, array_like=True):
    """A project's entry in `/search.json`: `["acme-core", "1.4.0", "What every service needs"]`."""

    name: NormalizedName
    version: str
    """Of the latest release; empty without releases."""
    summary: str


def search_entry(project: Project, described: Release | None) -> SearchEntry:
    """Return a project's entry in the search index; `described` is its latest release, if any."""
    return SearchEntry(project.name, described.version if described else "", project.summary)


def search_json(entries: Iterable[SearchEntry]) -> bytes:
    """Return the bytes of `/search.json`: a JSON list, sorted by name, one entry on a line."""
    ordered = sorted(entries, key=attrgetter("name"))
    lines = Encoder().encode_lines(ordered)[:-1].replace(b"\n", b",\n")  # none within an entry
    return b"[\n" + lines + b"\n]\n" if lines else b"[]\n"
