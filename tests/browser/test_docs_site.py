"""The site of docs/ in a browser: two versions of it, with and without scripts."""

from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler

import pytest

from tests.browser.axe import axe_violations
from tests.browser.chromium import Browser, Person
from tests.docs_site.building import built_site
from tests.http_server import serving

THEME = ("label-content-name-mismatch", "landmark-unique", "scrollable-region-focusable")
"""
What axe-core finds in the theme: the button of the versions, the copy buttons, which have all the
same label, and tables that scroll, to which today's browsers lead a keyboard by themselves.
"""
DARK = "rgb(11, 12, 15)"
LIGHT = "rgb(255, 255, 255)"
BACKGROUND = "color => getComputedStyle(document.body).backgroundColor === color"
IS_TOO_WIDE = "document.documentElement.scrollWidth > innerWidth"


@pytest.fixture(scope="module")
def docs_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a site with the versions 0.2 and 0.1."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "wheelyard").symlink_to(built_site())

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

    with serving(Handler) as url:
        yield f"{url}/wheelyard"


@pytest.fixture(scope="module")
def window(browser: Browser, docs_url: str) -> Iterator[Person]:
    """A window for all tests."""
    with browser.person(docs_url) as window:
        yield window


@pytest.fixture
def reader(window: Person) -> Iterator[Person]:
    """Somebody who reads the documentation."""
    with window.anew() as reader:
        yield reader
        reader.page.wait_for_load_state("networkidle")
        reader.page.evaluate("localStorage.clear(), sessionStorage.clear()")


def _open(reader: Person, path: str) -> None:
    """Open a page, and wait for what its scripts load: they complain if it is cancelled."""
    reader.open(path)
    reader.page.wait_for_load_state("networkidle")


def test_search_finds_a_heading(reader: Person) -> None:
    """Whoever types a word into the search gets to the part of the page that is about it."""
    _open(reader, "latest/")

    reader.page.get_by_role("button", name="Search").click()
    reader.page.get_by_role("combobox").fill("twine")
    reader.page.get_by_role("option", name="twine", exact=True).click()

    reader.page.wait_for_url("**/latest/publish/*#twine")


def test_a_copied_command_has_no_prompt(reader: Person) -> None:
    """The button beside a command copies what a shell understands."""
    _open(reader, "latest/publish/")

    reader.page.get_by_role("button", name="Copy to clipboard").first.click()

    copied = reader.page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("twine upload ")


def test_colours_follow_the_system_and_a_switch(reader: Person) -> None:
    """Pages are dark where the system is, and as somebody has chosen on another page."""
    _open(reader, "latest/")
    for scheme, background in (("dark", DARK), ("light", LIGHT)):
        reader.look(scheme, 1440)
        reader.page.wait_for_function(BACKGROUND, arg=background)

    reader.page.get_by_title("Switch to light colours").click()
    reader.page.get_by_title("Switch to dark colours").click()
    _open(reader, "latest/publish/")

    assert reader.page.evaluate(BACKGROUND, DARK)


def test_another_version_of_a_page(reader: Person) -> None:
    """The list of versions leads to the same page of another version, which names the latest."""
    _open(reader, "latest/publish/")

    reader.page.get_by_role("button", name="Select version").focus()
    reader.page.get_by_role("link", name="0.1", exact=True).first.click()

    reader.page.wait_for_url("**/0.1/publish/")
    assert "These are the pages of version 0.1. The latest version is 0.2." in reader.text


def test_reading_without_scripts(browser: Browser, docs_url: str) -> None:
    """Without JavaScript all pages and versions can be read, in the colours of the system."""
    with browser.person(docs_url, java_script_enabled=False, color_scheme="dark") as reader:
        reader.open()
        reader.page.wait_for_url("**/latest/")
        reader.follow("Publishing packages")
        assert reader.page.title() == "Publishing packages - wheelyard"
        assert "Search" not in reader.text
        reader.follow("0.1")
        reader.page.wait_for_url("**/0.1/")
        picture = reader.page.screenshot()
        reader.page.emulate_media(color_scheme="light")
        assert reader.page.screenshot() != picture


def test_pages_are_accessible(reader: Person) -> None:
    """axe-core finds nothing but of the theme, and nothing is wider than a telephone."""
    found = list[str]()
    windows = (("light", 320), ("dark", 1440), ("light", 320))
    paths = ("latest/", "latest/access/", "404.html")
    for path, (scheme, width) in zip(paths, windows, strict=True):
        reader.look(scheme, width)
        _open(reader, path)
        found += axe_violations(reader)
        assert not reader.page.evaluate(IS_TOO_WIDE), path
    reader.look("light", 320)
    _open(reader, "latest/settings/")
    assert not reader.page.evaluate(IS_TOO_WIDE)

    assert [each for each in found if not any(f" {rule}: " in each for rule in THEME)] == []
