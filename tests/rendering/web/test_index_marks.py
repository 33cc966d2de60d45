"""The marks of indexes, and of private projects beside public ones."""

import re
from itertools import combinations

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.rendering.examples import file, project
from tests.rendering.web.pages import (
    ENVIRONMENT,
    core,
    release_content,
    release_head,
    shown_release,
)
from tests.rendering.web.test_project_page import in_text
from wheelyard.model.project import Status
from wheelyard.rendering.project_facts import ProjectFacts
from wheelyard.rendering.web.accent import contrast, parse_colour
from wheelyard.rendering.web.assets import STYLE, load_assets
from wheelyard.rendering.web.environment import PageEnvironment, project_marks
from wheelyard.rendering.web.index_marks import HUES, index_marks
from wheelyard.rendering.web.release_page import release_page
from wheelyard.rendering.web.viewer import ANYONE, Viewer

READABLE = 4.5
WHITE = (1.0, 1.0, 1.0)
BOTH = PageEnvironment("http://index.example/simple/", serves_public=True)


def test_names_of_indexes_are_readable_on_their_colours() -> None:
    """White text on the colour of an index has the contrast of WCAG, level AA."""
    style = load_assets()[STYLE].body.decode()

    hues = re.findall(r"\.hue-(\d) \{ --hue: (#\w{6}); \}", style)

    assert [int(number) for number, _ in hues] == list(range(HUES + 1))
    assert len({colour for _, colour in hues}) == HUES + 1
    for _, colour in hues:
        assert contrast(parse_colour(colour), WHITE) >= READABLE


def test_indexes_have_different_colours() -> None:
    """As long as there are colours, no two indexes share one, and main comes first with its own."""
    names = ("dev", "prod", "stage", "qa", "team", "science", "legacy")

    marks = index_marks((*names, "main"))

    assert [mark.name for mark in marks] == ["main", *sorted(names)]
    assert sorted(mark.hue for mark in marks) == list(range(HUES + 1))
    assert len(index_marks(f"index-{number}" for number in range(20))) == 20
    for pair in combinations(names, 2):
        assert len({mark.hue for mark in index_marks(pair)}) == 2
    assert index_marks(["prod"]) == index_marks(iter(["prod"]))


def test_the_mark_is_beside_the_brand() -> None:
    """With several indexes, the header has the name of this one; with one it has no mark."""
    one = project(file())
    marks = index_marks(("main", "dev"))
    dev = PageEnvironment("http://index.example/dev/simple/", index_name="dev")
    day = PageEnvironment("http://index.example/simple/", index_name="as-of-2026-01-01")
    several = Viewer(indexes=marks)

    for environment, name in ((ENVIRONMENT, "main"), (dev, "dev"), (day, "main/as-of-2026-01-01")):
        shown = shown_release(one, "1.0", viewer=several, environment=environment)
        assert re.search(rf'<span class="index hue-\d">{name}</span></a>', shown)
    assert 'class="index' not in shown_release(one, "1.0")
    assert "wheelyard dev</a>" in shown_release(one, "1.0", environment=dev)


def test_private_projects_are_marked_where_there_are_public_ones() -> None:
    """A private project has a mark in its head always, and in lists beside public ones."""
    private = ProjectFacts(NormalizedName("ours"))
    public = ProjectFacts(NormalizedName("theirs"), origin="pypi")

    assert 'class="mark lock">private<' in project_marks(private, tells_private=True)
    assert project_marks(private) == ""
    for tells_private in (True, False):
        marks = project_marks(public, tells_private=tells_private)
        assert marks == ' <span class="mark">public</span>'
    assert "demo 1.0 private" in in_text(shown_release(project(file()), "1.0"))


@pytest.mark.parametrize(
    ("status", "kind"),
    [(Status.QUARANTINED, "danger"), (Status.ARCHIVED, "warning"), (Status.DEPRECATED, "warning")],
)
def test_a_state_is_as_conspicuous_as_it_is_grave(status: Status, kind: str) -> None:
    """In lists a project in quarantine has the mark of a danger, and another state a warning."""
    marks = project_marks(ProjectFacts(NormalizedName("demo"), status=status))

    assert marks == f' <span class="mark {kind}">{status}</span>'


def test_dependencies_say_what_is_private_and_public() -> None:
    """Beside public packages, known dependencies say which they are, and unknown ones nothing."""
    metadata = core("Requires-Dist: ours", "Requires-Dist: theirs", "Requires-Dist: nobodys")
    is_public = {NormalizedName("ours"): False, NormalizedName("theirs"): True}
    content = release_content(release_head(project(file()), "1.0"), metadata)
    content = replace(content, linked_names=is_public)

    beside = in_text(release_page(BOTH, ANYONE, content).decode())
    alone = in_text(release_page(ENVIRONMENT, ANYONE, content).decode())

    assert "ours private theirs public nobodys For programs" in beside
    assert "ours theirs nobodys For programs" in alone
