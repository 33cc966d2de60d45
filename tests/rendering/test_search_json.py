"""The search index: one line for each project."""

import json

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.rendering.examples import PROJECTS, TEXT, file, project
from wheelyard.model.project import Project, Status
from wheelyard.rendering.releases import latest_release, releases_of
from wheelyard.rendering.search_json import SearchEntry, search_entry, search_json

NAMES = st.from_regex(r"[a-z0-9]+(-[a-z0-9]+)*", fullmatch=True).map(NormalizedName)
FOUND = st.builds(SearchEntry, NAMES, TEXT, TEXT)


def line_of(made: Project) -> SearchEntry:
    """Return what a search shows of a project."""
    return search_entry(made, latest_release(releases_of(made)))


def test_one_project() -> None:
    """A project is shown with the version that speaks for it, and its summary."""
    made = replace(project(file("1.0"), file("1.1", yanked="")), summary="What it is")

    assert line_of(made) == SearchEntry(NormalizedName("demo"), "1.0", "What it is")


def test_nothing_to_install() -> None:
    """A project without files, or one that is quarantined, is found and has no version."""
    for made in (project(), project(file(), status=Status.QUARANTINED)):
        assert line_of(made).version == ""


def test_nothing_at_all() -> None:
    """An empty index has an empty search index."""
    assert search_json([]) == b"[]\n"


@given(st.lists(FOUND, unique_by=lambda each: each.name))
def test_any_projects(every: list[SearchEntry]) -> None:
    """The index of the search has one entry for each project, sorted by name."""
    body = search_json(every)

    assert json.loads(body) == sorted([each.name, each.version, each.summary] for each in every)
    assert len(body.splitlines()) == (len(every) + 2 if every else 1)
    assert search_json(reversed(every)) == body


@given(PROJECTS)
def test_any_project(made: Project) -> None:
    """Any project can be searched for."""
    ((name, _, _),) = json.loads(search_json([line_of(made)]))

    assert name == made.name
