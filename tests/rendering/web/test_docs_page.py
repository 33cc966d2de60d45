"""Where the links of the documentation lead, and what a search in it finds."""

import re

import pytest

from tests.rendering.web.pages import ENVIRONMENT
from wheelyard.rendering.web.docs_page import (
    LinkTargets,
    SearchedPage,
    docs_search_page,
    forge_reference,
)
from wheelyard.rendering.web.viewer import ANYONE

PAGES = {"README.md": "", "tokens.md": "tokens/", "deploy/linux.md": "deploy/linux/"}
FILES = {"images/overview.svg"}
FORGE = "https://github.com/wheelyard/wheelyard/blob"


@pytest.mark.parametrize(
    ("target", "leads_to"),
    [
        ("linux.md#upgrading", "deploy/linux/#upgrading"),
        ("../tokens.md", "tokens/"),
        ("../README.md#reference", "#reference"),
        ("../images/overview.svg", "images/overview.svg"),
        ("#here", "#here"),
        ("https://example.com/a.md", "https://example.com/a.md"),
        ("../../deploy/linux/", f"{FORGE}/v1.2/deploy/linux/"),
        ("../../SECURITY.md#scope", f"{FORGE}/v1.2/SECURITY.md#scope"),
        ("nothing.md", f"{FORGE}/v1.2/docs/deploy/nothing.md"),
    ],
)
def test_links(target: str, leads_to: str) -> None:
    """A link leads to the page or the picture here, and all else to this version at the forge."""
    assert LinkTargets("1.2", PAGES, FILES).resolve(target, "deploy/linux.md") == leads_to


def test_reference() -> None:
    """A version that was released has a tag, any other one is on the main branch."""
    assert forge_reference("1.2.3") == "v1.2.3"
    assert forge_reference("1.3.0rc1") == "v1.3.0rc1"
    assert forge_reference("1.3.0.dev4") == forge_reference("1.2.3+local") == "main"


SEARCHED_HTML = (
    '<p>Each token has a period.</p><h2 id="limits">Limits</h2><p>The <b>size</b> of a file.</p>'
    '<h3 id="sizes">Size of <code>docs</code></h3><p>Less.</p><h2 id="size">Other</h2><p>None.</p>'
)
SEARCHED = (
    SearchedPage("settings/", "Settings", "Each token has a period. Limits, size", SEARCHED_HTML),
    SearchedPage("linux/", "Linux", "A service of systemd."),
    SearchedPage("tokens/", "Tokens", "A token has rights."),
)


@pytest.mark.parametrize(
    ("words", "found", "count"),
    [
        ("TOKEN", ["tokens/", "settings/"], "2 pages"),
        ("token period", ["settings/"], "1 page"),
        ("nothing", [], "0 pages"),
        ("", ["settings/", "linux/", "tokens/"], "3 pages"),
    ],
)
def test_a_search_finds_pages(words: str, found: list[str], count: str) -> None:
    """A search leads to each page that has all words, first to those that are named so."""
    page = docs_search_page(ENVIRONMENT, ANYONE, SEARCHED, words, "1.0").decode()

    assert re.findall(r'<h2><a href="\./([^"]*)">', page) == found
    assert f"<p>{count}" in page


def test_a_search_finds_parts_of_a_page() -> None:
    """Below a page that is found, links lead to the parts with all words in heading or text."""
    page = docs_search_page(ENVIRONMENT, ANYONE, SEARCHED, "size", "1.0").decode()

    assert re.findall(r'<a href="\./settings/#([^"]*)">(.*?)</a>', page) == [
        ("limits", "Limits"),
        ("sizes", "Size of docs"),
    ]
