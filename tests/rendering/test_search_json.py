"""`/search.json`: an entry for each project, or what a search finds."""

import json

from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import NormalizedName

from tests.rendering.examples import TEXT
from wheelyard.rendering.project_facts import ProjectFacts, results_json, search_json

NAMES = st.text("ab0-", min_size=1, max_size=5).map(NormalizedName)
STATUSES = st.sampled_from(["", "deprecated", "yanked"])
ORIGINS = st.sampled_from(["", "pypi"])
FACTS = st.builds(ProjectFacts, NAMES, TEXT, TEXT, TEXT, status=STATUSES, origin=ORIGINS)


def entry_of(facts: ProjectFacts) -> list[str]:
    """Return the entry of a project in the JSON."""
    if facts.status or facts.origin:
        origin = [facts.origin] if facts.origin else []
        described = [facts.name, facts.version, facts.summary, facts.keywords]
        return [*described, facts.status, *origin]
    keywords = [facts.keywords] if facts.keywords else []
    return [facts.name, facts.version, facts.summary, *keywords]


@given(st.lists(FACTS, max_size=5, unique_by=lambda each: each.name))
def test_each_project_has_one_entry(every: list[ProjectFacts]) -> None:
    """There is one entry on a line for each project, sorted by name, with what it has."""
    body = search_json(every)

    assert json.loads(body) == sorted(map(entry_of, every))
    assert len(body.splitlines()) == (len(every) + 2 if every else 1)
    assert search_json(reversed(every)) == body


def test_import_names_are_the_last_value() -> None:
    """What a project is imported as is the last value, so that a static site finds it."""
    made = ProjectFacts(NormalizedName("a"), "1.0", imports=" acme.x acme.* ")
    assert json.loads(search_json([made])) == [["a", "1.0", "", "", "", "", "acme.x acme.*"]]


def test_results_say_how_many_were_found() -> None:
    """The answer to a search says how many were found, and has the first of them."""
    found = [ProjectFacts(NormalizedName(name), "1.0", "About") for name in ("a", "b", "c")]

    assert json.loads(results_json(3, found[:2])) == {
        "total": 3,
        "projects": [["a", "1.0", "About"], ["b", "1.0", "About"]],
    }
