"""The pages for people in a real browser: a search that needs no server's help."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.exporting.browser import Page, running_browser
from tests.exporting.serving import python_web
from tests.exporting.yard import Yard
from tests.http.packages import publish, wheel
from tests.http.servers import running_site
from wheelyard.operations.exporting.manifest import Asked

pytestmark = [pytest.mark.slow, pytest.mark.clients]

PACKAGES = (
    wheel("acme-core", "1.4", "Summary: What every service of ours needs"),
    wheel("acme-web", "2.0", "Summary: Größere Seiten <b>für</b> alle"),
    wheel("zebra", "0.1rc1", "Summary: Stripes, by the CORE team"),
    wheel("plain", "1.0"),
)
SHOWN = """
[...document.querySelectorAll(".names li")]
  .filter((item) => item.offsetParent !== null)
  .map((item) => item.querySelector("a").textContent)
"""

CLEAR = """
(() => {
  const box = document.getElementById("search");
  box.value = "";
  box.dispatchEvent(new Event("input"));
  box.focus();
})()
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A browser."""
    with running_browser(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a site in it that was not told its address."""
    yard = Yard(tmp_path_factory.mktemp("yard"))
    yard.publish(*PACKAGES)
    yard.export(yard.folder / "www/deep/down", Asked())
    return yard.folder / "www"


def search(page: Page, text: str) -> list[str]:
    """Type into the empty search box; return the names that are still to be seen."""
    page.evaluate(CLEAR)
    page.type(text)
    page.wait('document.querySelectorAll(".names .about").length > 0')
    shown: list[str] = page.evaluate(SHOWN)
    return shown


def assert_searches(page: Page) -> None:
    """Names and summaries are searched, all words have to be there, spelling is forgiven."""
    everything = ["acme-core", "acme-web", "plain", "zebra"]
    assert page.evaluate(SHOWN) == everything
    assert page.evaluate('document.getElementById("search").offsetParent !== null')
    for text, names in (
        ("acme", ["acme-core", "acme-web"]),
        ("core", ["acme-core", "zebra"]),
        ("Acme_Core", ["acme-core"]),
        ("größere", ["acme-web"]),
        ("team zeb", ["zebra"]),
        ("<b>", ["acme-web"]),
        ("nothing like it", []),
        ("   ", everything),
    ):
        assert search(page, text) == names, text
        said = page.evaluate('document.getElementById("count").textContent')
        assert said == (f"{len(names)} found" if text.strip() else "")
    about = page.evaluate('document.querySelectorAll(".names .about")[1].textContent')
    assert about == "2.0 · Größere Seiten <b>für</b> alle"
    assert [line for line in page.said if "favicon.ico" not in line] == []


@pytest.mark.parametrize("path", ["deep/down/", "deep/down/index.html?x=1#y"])
def test_a_site(browser: Page, exported: Path, tmp_path: Path, path: str) -> None:
    """On a plain web server typing filters by name and summary, and the URL is the site's own."""
    with python_web(exported, tmp_path) as web:
        browser.open(f"http://{web.address}/{path}")
        url = f"http://{web.address}/deep/down/simple/"
        assert f"pip install --index-url {url} NAME" in browser.evaluate("document.body.innerText")

        assert_searches(browser)

        browser.open(f"http://{web.address}/deep/down/project/acme-core/")
        line = f"pip install --index-url {url} acme-core"
        assert line in browser.evaluate("document.body.innerText")


def test_a_live_page(browser: Page, tmp_path: Path) -> None:
    """On a server, whose policy for pages is strict, the search works as well."""
    with running_site(tmp_path / "live") as site:
        publish(site, *PACKAGES)
        browser.open(f"{site.url}/")

        assert_searches(browser)

        assert f"{site.url}/simple/ NAME" in browser.evaluate("document.body.innerText")


def test_without_scripts(exported: Path) -> None:
    """Where no script runs there is no box that does nothing, and every name is there."""
    page = (exported / "deep/down/index.html").read_text()

    assert '<input type="search" id="search" hidden' in page
    for package in PACKAGES:
        assert f'href="project/{package.filename.split("-")[0].replace("_", "-")}/"' in page
