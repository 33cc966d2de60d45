"""What the pages look like where the browser or the window is not the usual one."""

import pytest

from tests.browser.chromium import Person
from tests.browser.site import PASSWORD, USER
from tests.fake_time import START
from tests.http.servers import RunningServer
from tests.upstream.fake_pages import FakeFile
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel

pytestmark = pytest.mark.integration
WIDTHS = (320, 480, 760, 1000, 1280, 1600)
LINE_PIXELS = 25
"""The height of a line of text."""
ON_SEVERAL_LINES = """
all => all.filter((one) => new Set([...one.getClientRects()].map(({top}) => top)).size > 1)
  .map((one) => one.innerText)
"""
"""Finds the texts that go over several lines."""


@pytest.mark.parametrize("path", ["/-/admin/journal/", "/-/admin/requests/", "/-/admin/names/"])
def test_names_of_projects_are_whole_in_tables(ana: Person, path: str) -> None:
    """The name of a project is on one line at every width of the window."""
    ana.open(path)
    for width in WIDTHS:
        ana.look("light", width)
        names = ana.page.locator("th[scope=row]").locator("a, span, bdi")
        assert names.count() > 1
        assert names.evaluate_all(ON_SEVERAL_LINES) == []
        assert ana.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("length", [30, 60])
def test_long_names_are_on_one_line(
    ana: Person, site: RunningServer, public: FakeUpstream, length: int
) -> None:
    """A long name has a line of its table for itself, and breaks only where that is narrower."""
    name, who = ("-".join(["acme", "longer"] * 6))[:length].rstrip("-"), (USER, PASSWORD)
    public.publish(FakeFile.of(public_wheel(name, "1.0"), START))
    block = {"project": name, "reason": "its licence"}
    assert site.client.post("/api/v1/upstream/block", json=block, auth=who).status_code == 200
    wanted = {"project": name, "reason": "we need it"}
    assert site.client.post("/api/v1/upstream/request", json=wanted, auth=who).status_code == 201
    for path in ("/-/admin/journal/", "/-/admin/requests/"):
        ana.open(path)
        link = ana.page.get_by_role("link", name=name, exact=True).first
        for width in (360, 768, 1000, 1280):
            ana.look("light", width)
            assert ana.page.evaluate("document.documentElement.scrollWidth") <= width
            is_one_line = link.bounding_box()["height"] < 2 * LINE_PIXELS
            assert is_one_line or (length, width) == (60, 360)
            link.click(trial=True)


def test_requests_fit_beside_long_names_and_buttons(
    ana: Person, site: RunningServer, public: FakeUpstream
) -> None:
    """A blocked package with a long name, and with a reason to want it, is wholly in the window."""
    name, who = "a-public-package-of-acme", (USER, PASSWORD)
    public.publish(FakeFile.of(public_wheel(name, "1.0"), START))
    block = {"project": name, "reason": "its licence"}
    assert site.client.post("/api/v1/upstream/block", json=block, auth=who).status_code == 200
    wanted = {"project": name, "reason": f"we need {name}"}
    assert site.client.post("/api/v1/upstream/request", json=wanted, auth=who).status_code == 201
    ana.open("/-/admin/requests/")
    assert name in ana.text
    for width in (740, *WIDTHS):
        ana.look("light", width)
        assert ana.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("tabs", [".tabs a", ".choices > label"])
def test_one_tab_is_open_in_forced_colours(person: Person, tabs: str) -> None:
    """Where the system chooses the colours, the open tab is the one that has a line below it."""
    person.page.emulate_media(forced_colors="active", reduced_motion="reduce")
    person.open("/project/acme-core/")
    has_line = """one => {
      const style = getComputedStyle(one), canvas = getComputedStyle(document.body).backgroundColor;
      return style.borderBottomStyle !== "none" && style.borderBottomColor !== canvas;
    }"""
    lines = [tab.evaluate(has_line) for tab in person.page.locator(tabs).all()]

    assert (len(lines) > 1, lines.index(True), lines.count(True)) == (True, 0, 1)


@pytest.mark.parametrize("width", [320, 360])
def test_the_frame_of_a_page_is_low_on_phones(ana: Person, width: int) -> None:
    """On a phone, the header has two rows, and the tabs have one, in which the open one is seen."""
    ana.look("light", width)
    ana.open("/project/acme-core/access/")
    tops = ana.page.locator("header").evaluate(
        """header => new Set([...header.querySelectorAll("input, nav a")].map(one =>
          Math.round(one.getBoundingClientRect().top / 20))).size"""
    )
    tabs, tab = ana.page.locator(".tabs"), ana.page.locator(".tabs [aria-current]")
    row, opened = tabs.bounding_box(), tab.bounding_box()

    assert tops == 2
    assert row["height"] < 2 * LINE_PIXELS
    assert (row["x"] <= opened["x"], opened["x"] + opened["width"] <= width) == (True, True)


def test_the_open_tab_is_seen_without_scripts(scriptless: Person) -> None:
    """Also without scripts, the row of tabs begins where the open one is seen."""
    scriptless.look("light", 320)
    scriptless.open("/project/acme-core/downloads/")
    opened = scriptless.page.locator(".tabs [aria-current]").bounding_box()

    assert 0 <= opened["x"] < opened["x"] + opened["width"] <= 320


def test_the_sections_of_the_administration_fold_on_phones(ana: Person) -> None:
    """On a phone, the sections are behind the name of the open one, above its heading."""
    ana.look("light", 360)
    ana.open("/-/admin/journal/")
    navigation = ana.page.get_by_role("navigation", name="Administration")
    assert navigation.get_by_role("link").count() == 0
    assert navigation.bounding_box()["height"] < 3 * LINE_PIXELS

    navigation.get_by_text("Administration: Journal").press("Enter")
    navigation.get_by_role("link", name="Grants").click()

    assert ana.page.get_by_role("heading", level=1).inner_text() == "Grants"
    ana.look("light", 1280)
    assert navigation.get_by_role("link", name="Journal").is_visible()
    assert not navigation.locator("summary").is_visible()


def test_one_section_is_open_in_forced_colours(ana: Person) -> None:
    """Where the system chooses the colours, the open section is the one with a line beside it."""
    ana.look("light", 1280)
    ana.open("/-/admin/journal/")
    ana.page.emulate_media(forced_colors="active", reduced_motion="reduce")
    has_line = """one => getComputedStyle(one).borderInlineStartColor
      !== getComputedStyle(document.body).backgroundColor"""
    links = ana.page.locator(".administration nav > ul a").all()
    marked = [link.inner_text() for link in links if link.evaluate(has_line)]

    assert marked == ["Journal"]


def test_a_filter_of_files_leaves_the_search_alone(person: Person) -> None:
    """The words of a filter of files are not those of the search for projects."""
    person.open("/project/many-wheels/files/?q=3.12")
    search = person.page.get_by_label("Search projects")

    assert search.input_value() == ""
    assert not search.evaluate("one => one === document.activeElement")
    assert not person.page.locator(".results").is_visible()


@pytest.mark.parametrize("width", [360, 768])
def test_a_description_is_above_most_facts_on_phones(person: Person, width: int) -> None:
    """On a phone and a tablet, only details and links are above the description of a project."""
    person.look("light", width)
    person.open("/project/acme-core/")
    tops = [
        person.page.locator(selector).bounding_box()["y"]
        for selector in ("#links", ".description", "#releases")
    ]

    assert tops == sorted(tops)


@pytest.mark.parametrize(
    "path", ["/-/admin/journal/", "/-/admin/requests/", "/-/admin/names/", "/-/admin/tokens/"]
)
def test_tables_fit_with_text_of_twice_the_size(ana: Person, path: str) -> None:
    """Whoever reads text at twice its size needs no wider window for the tables of lists."""
    ana.open(path)
    ana.page.evaluate("document.documentElement.style.fontSize = '200%'")
    for width in (760, 1000, 1280, 1600):
        ana.look("light", width)
        assert ana.page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_page_is_printed_in_black_on_white(ana: Person) -> None:
    """On paper, a page of a dark window is black on white, without what one can only press."""
    ana.open("/project/acme-core/")
    ana.page.emulate_media(media="print", color_scheme="dark")
    body = ana.page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    pressed = ana.page.locator("header, button, .button, nav:not(.places), [type=search]").all()
    visible = [each.inner_text() for each in pressed if each.is_visible()]
    text = ana.text

    assert (body, visible) == (["rgb(0, 0, 0)", "rgb(255, 255, 255)"], [])
    assert "uv add" in text
    assert "pip install" not in text
