"""The web UI: readable without scripts, complete, and safe against injection."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.http.in_process import in_process
from tests.http.packages import publish, sdist, wheel
from tests.http.servers import RunningServer
from wheelyard.rendering.client_settings import CLIENTS, ClientSettings
from wheelyard.settings.sections import ServerSettings, Settings

pytestmark = pytest.mark.integration

VOID = {"meta", "br", "link", "img", "hr", "input"}
HARMLESS = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "h1", "h2", "h3", "p"),
    *("pre", "ul", "li", "a", "bdi", "dl", "dt", "dd", "code", "span", "table", "thead", "tbody"),
    *("tr", "th", "td", "div", "time", "br", "input", "link", "form", "button", "nav", "footer"),
    *("img", "details", "summary", "kbd"),
    *("section", "aside", "strong", "summary", "details"),
}
INERT = {"style", "script"}
"""Elements whose text is not displayed."""
PAYLOADS = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "</title><svg onload=alert(1)>",
    "{{ 7 * 7 }} {% raw %}",
    "<b>bold</b> & \u00ad hyphenated",
]


class Page(HTMLParser):
    """The content of a page, parsed as a browser does."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.roots: set[str] = set()
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an element."""
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.roots |= {value or "" for name, value in attrs if name == "data-root"}
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Take the end of an element, which has to be the one that is open."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Take text."""
        if "script" in self._open or "style" in self._open:
            assert not data.strip()  # the policy forbids it
        elif not INERT & set(self._open):
            self.text += data


def read(server: RunningServer, path: str, status: int = 200) -> Page:
    """Ask for a page as a browser does."""
    answer = server.get(path, Accept="text/html,application/xhtml+xml,*/*;q=0.8")
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["Referrer-Policy"] == "same-origin"
    page = Page(answer.text)
    assert page.tags - {"script"} <= HARMLESS
    assert not any(name.startswith("on") for name in page.attributes)
    return page


def test_empty_home_says_how_to_begin(tmp_path: Path) -> None:
    """The page of an empty index tells how to publish the first package."""
    settings = Settings(server=ServerSettings(public_url="https://packages.example.com"))
    with in_process(tmp_path, settings) as app:
        page = Page(app.get("/", ("Accept", "text/html")).body.decode())
    assert "Nothing has been published" in page.text
    assert "twine upload --repository-url https://packages.example.com/legacy/" in page.text


def test_home_lists_projects(stocked: RunningServer) -> None:
    """The home page names every project, links to its page, and has settings for clients."""
    page = read(stocked, "/")
    assert {"project/demo/", "project/epoch/", "project/local/"} <= set(page.links)
    for client in ("pip", "uv", "poetry", "pdm"):
        assert CLIENTS[client](ClientSettings(root=stocked.url)) in page.text


def test_setup_page_has_the_settings_of_each_client(tmp_path: Path) -> None:
    """The set-up page has the text of `print-settings` for this server, behind a proxy, too."""
    root = "https://packages.example.com/py"
    server = ServerSettings(public_url=root, path_prefix="/py")
    with in_process(tmp_path, Settings(server=server)) as app:
        page = Page(app.get("/py/setup/", ("Accept", "text/html")).body.decode())
    for make in CLIENTS.values():
        assert make(ClientSettings(root=root)) in page.text


def test_setup_page_finds_its_address(stocked: RunningServer) -> None:
    """Where no setting says what the server's URL is, the browser's address bar does."""
    page = read(stocked, "/setup/")

    text = CLIENTS["uv"](ClientSettings(root=stocked.url))
    assert text in page.text
    assert {"../simple/", "../simple", "../legacy/"} == page.roots
    assert "setup/" in read(stocked, "/").links
    assert stocked.get("/setup/", Accept="application/json").status_code == 404  # no such project
    assert stocked.get("/setup", Accept="text/html").headers["Location"] == "/setup/"


def test_project_page_has_what_people_need(stocked: RunningServer) -> None:
    """A project's page has its summary, versions, files with size, digest and date, and more."""
    page = read(stocked, "/project/demo/")
    files = stocked.get("/simple/demo/", Accept="application/json").json()["files"]

    assert f"uv pip install --index {stocked.url}/simple/ demo" in page.text
    for wanted in ("A demo of <b>it</b>", "1.0", "1.1", ">=3.10", "Requires Python"):
        assert wanted in page.text
    for file in files:
        path = f"/project/demo/{file['filename'].split('-')[1].removesuffix('.tar.gz')}/"
        release = read(stocked, path)
        for wanted in (file["filename"], file["hashes"]["sha256"], file["upload-time"][:10]):
            assert wanted in release.text
        (link,) = (link for link in release.links if link.endswith(file["filename"]))
        assert len(stocked.get(urljoin(path, link)).content) == file["size"]
    assert " bytes" in page.text


@pytest.mark.parametrize("name", ["demo", "epoch", "local"])
def test_every_link_leads_somewhere(stocked: RunningServer, name: str) -> None:
    """No link of a page is broken."""
    project = f"/project/{name}/"
    releases = (link for link in read(stocked, project).links if link[0].isdigit())
    for path in ("/", "/setup/", project, *(urljoin(project, each) for each in releases)):
        links = read(stocked, path).links
        assert links
        for link in links:
            assert stocked.get(urljoin(path, link)).status_code == 200, link


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_markup_in_metadata_is_text(server: RunningServer, payload: str) -> None:
    """Markup in summary, author, license, links, yank reason and status is shown as text (P03)."""
    number = PAYLOADS.index(payload)
    name = f"markup-{number}"
    lines = [f"{field}: {payload}" for field in ("Summary", "Author", "License", "Keywords")]
    lines.append(f"Project-URL: {payload[:20].replace(',', '')}, https://example.com/?{payload}")
    publish(server, wheel(name, "1.0", *lines), wheel(name, "1.1"))
    server.change(name, "yank", version="1.1", reason=payload)
    server.change(name, "status", status="archived", reason=payload)
    page = read(server, f"/project/{name}/")

    assert page.text.count(payload) >= 4


NO_LINKS = ("javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "vbscript:x", "/x")


@pytest.mark.parametrize("url", NO_LINKS)
def test_only_web_addresses_are_links(server: RunningServer, url: str) -> None:
    """An address that is not of the web is shown and not linked (P02)."""
    name = f"links-{NO_LINKS.index(url)}"
    lines = (f"Project-URL: Bad, {url}", "Project-URL: Good, https://g.example")
    publish(server, wheel(name, "1.0", *lines))
    page = read(server, f"/project/{name}/")

    assert url in page.text
    assert url not in page.links
    assert "https://g.example" in page.links


def test_states_are_shown(server: RunningServer) -> None:
    """Yanks, statuses and deletions are told with their reasons."""
    publish(server, wheel("states", "1.0"), sdist("states", "1.0"), wheel("states", "1.1"))
    server.change("states", "yank", version="1.1", reason="broken on Mondays")
    server.change("states", "yank", version="1.0", file="states-1.0.tar.gz", reason="unsigned")
    server.change("states", "status", status="deprecated", reason="use camelot")
    page = read(server, "/project/states/")
    for wanted in ("yanked", "broken on Mondays", "unsigned", "deprecated", "use camelot"):
        assert wanted in page.text
    assert "states 1.0" in page.text  # the newest release that is not yanked speaks

    server.change("states", "status", status="quarantined")
    hidden = read(server, "/project/states/")
    assert "quarantined" in hidden.text
    assert "states-1.0" not in hidden.text

    server.change("states", "status", status="active")
    for version in ("1.0", "1.1"):
        server.change("states", "delete", version=version)
    assert "all of them were deleted" in read(server, "/project/states/").text


def test_refusals_are_pages_too(server: RunningServer, private: RunningServer) -> None:
    """A browser that asks for a project that is not there, or not for it, gets a readable page."""
    assert "Not found" in read(server, "/project/nothing/", 404).text
    assert "<script>" not in read(server, "/project/%3Cscript%3E/", 404).tags
    assert "token" in read(private, "/project/demo/", 401).text
    assert private.get("/project/demo/", Accept="text/html").headers["WWW-Authenticate"]


def test_assets_are_kept_for_ever(private: RunningServer) -> None:
    """Whoever may sign in gets the style sheet, and a browser never asks for the same one again."""
    page = Page(private.get("/project/demo/", Accept="text/html").text)
    assets = [link for link in page.links if "-/assets/" in link]
    assert {link.rpartition(".")[2] for link in assets} == {"css", "js", "svg"}
    for link in assets:
        answer = private.get(urljoin("/project/demo/", link))
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert private.get("/-/assets/style-0123456789abcdef.css").status_code == 404
