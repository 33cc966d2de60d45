"""The web UI: readable without scripts, complete, and safe against injection."""

import gzip
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, urldefrag, urljoin

import pytest
from msgspec.structs import replace

from tests.authentication.verifiers.test_password_hashes import SHA
from tests.distributions import make_wheel
from tests.http.in_process import InProcessServer, in_process
from tests.index_tables import toml_of
from wheelyard.rendering.client_settings import CLIENTS, ClientSettings, client_text
from wheelyard.settings.sections import AccessSettings, ServerSettings, Settings
from wheelyard.settings.upstream_section import UpstreamSettings

VOID = {"meta", "br", "link", "img", "hr", "input"}
HARMLESS = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "h1", "h2", "h3", "p"),
    *("pre", "ul", "li", "a", "bdi", "dl", "dt", "dd", "code", "span", "table", "thead", "tbody"),
    *("tr", "th", "td", "div", "time", "br", "input", "link", "form", "button", "nav", "footer"),
    *("img", "details", "summary", "kbd"),
    *("section", "aside", "strong", "summary", "details", "label", "select", "option"),
    *("fieldset", "legend", "noscript"),
}
INERT = {"style", "script"}
"""Elements whose text is not displayed."""


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


def read(app: InProcessServer, path: str, status: int = 200) -> Page:
    """Ask for a page as a browser does."""
    answer = app.get(path, ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8"))
    assert answer.status == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["referrer-policy"] == "same-origin"
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


def test_home_lists_projects(stocked_app: InProcessServer) -> None:
    """The home page names every project, links to its page, and to the settings of clients."""
    page = read(stocked_app, "/")
    assert {f"./project/{name}/" for name in ("demo", "epoch", "local")} <= set(page.links)


def test_setup_page_has_the_settings_of_each_client(tmp_path: Path) -> None:
    """The set-up page has the lines of `print-settings` for this server, behind a proxy, too."""
    root = "https://packages.example.com/py"
    server = ServerSettings(public_url=root, path_prefix="/py")
    with in_process(tmp_path, Settings(server=server)) as app:
        page = Page(app.get("/py/setup/", ("Accept", "text/html")).body.decode())
    for client in CLIENTS:
        assert without_comment(client_text(client, ClientSettings(root=root))) in page.text


@pytest.mark.parametrize(
    ("public_url", "host", "is_left_to_a_script"),
    [
        ("", "127.0.0.1", True),
        ("https://packages.example.com/", "packages.example.com", False),
    ],
    ids=["where it listens", "its public URL"],
)
def test_a_known_host_is_left_to_no_script(
    tmp_path: Path,
    public_url: str,
    host: str,
    is_left_to_a_script: bool,  # noqa: FBT001 - a case
) -> None:
    """The line of ~/.netrc has the public host, which no script in the page replaces."""
    server, private = ServerSettings(public_url=public_url), AccessSettings(private=True)
    with in_process(tmp_path, Settings(server=server, access=private)) as app:
        reader = app.bearer(can="read")
        page = Page(app.get("/setup/", ("Accept", "text/html"), reader).text)
    assert f"machine {host} login" in page.text
    assert ("data-host" in page.attributes) == is_left_to_a_script


def without_comment(text: str) -> str:
    """Return the text of settings without the comment at its beginning."""
    return re.sub(r"\A(#.*\n)+", "", text)


def test_setup_page_names_what_a_project_needs(tmp_path: Path) -> None:
    """From a project, the page names it and all private ones that it needs, and no others."""
    private = AccessSettings(private=True)
    with in_process(tmp_path, Settings(access=private)) as app:
        app.publish(
            make_wheel("app", "1.0", "Requires-Dist: core", "Requires-Dist: requests"),
            *(make_wheel(name) for name in ("core", "other", "secret")),
        )
        reader = app.bearer("app", "core", can="read")
        html = ("Accept", "text/html")
        answer = app.get("/setup/?client=poetry&project=App", html, reader)
        settings = ClientSettings(root="http://127.0.0.1:8080", projects=("app", "core"))
        page = Page(answer.body.decode())
        for client in ("uv", "poetry"):
            assert without_comment(client_text(client, settings)) in page.text
        settings = replace(settings, token="${WHEELYARD_TOKEN}")
        for client in ("pdm", "pipenv"):  # as they are, with the credential in its place
            assert without_comment(client_text(client, settings)) in page.text
        assert "machine 127.0.0.1 login" in page.text
        # nothing of the comment that the steps say by themselves
        for said in ("Credential:", "Then:", "This prints", "pyproject.toml. ", "Make one on"):
            assert said not in page.text
        assert "Take the one that you have signed in with" in page.text
        assert "It needs a credential" in app.get("/project/app/", html, reader).body.decode()
        assert "poetry add --source wheelyard app" in page.text
        assert b'value="poetry" checked' in answer.body
        assert answer.headers["cache-control"] == "no-store"
        for name, status in (("secret", 404), ("nothing", 404), ("<b>", 404)):
            missing = app.get(f"/setup/?project={quote(name)}", html, reader)
            assert missing.status == status
            assert b"There is no such project here, or you may not read it." in missing.body
            assert b"<b>" not in missing.body
        assert app.get("/setup/", html).status == 401


def test_setup_page_of_an_index(tmp_path: Path) -> None:
    """The set-up page of an index names it for each client, and as a view no way to publish."""
    root = "https://packages.example.com/py"
    (tmp_path / "htpasswd").write_text(f"ana:{SHA}\n")
    settings = Settings(
        server=ServerSettings(public_url=root, path_prefix="/py"),
        access=AccessSettings(
            cookie_login=True, htpasswd_file=f"{tmp_path}/htpasswd", private=True
        ),
    )
    with in_process(tmp_path, settings, tables=toml_of(index=({"name": "dev"},))) as app:
        reader = app.bearer("*", can="read")
        pages = [
            Page(app.get(f"/py/{path}/setup/", ("Accept", "text/html"), reader).body.decode())
            for path in ("dev", "dev/as-of-2026-01-01")
        ]
    dev, day = (page.text for page in pages)
    for words in ("poetry add --source", "twine upload --repository", "hatch publish --repo"):
        assert f"{words} wheelyard-dev" in dev
    assert f"wheelyard login {root}/ --index dev" in dev
    assert f"wheelyard login {root}/ --index dev" in day
    assert 'name = "wheelyard-dev-as-of-2026-01-01"' in day
    assert "publish-url" in dev
    assert "publish-url" not in day
    assert "twine" not in day


def test_public_packages_come_from_an_index_that_shows_them(tmp_path: Path) -> None:
    """Only an index with the layer `upstream` is set up as the one for public packages, too."""
    upstream = UpstreamSettings(enabled=True, url="https://index.example.com/simple/")
    team = {"name": "team", "layers": ["dev", "upstream"], "read": "anyone"}
    indexes = ({"name": "dev", "read": "anyone"}, team)
    settings, tables = Settings(upstream=upstream), toml_of(index=indexes)
    with in_process(tmp_path, settings, tables=tables) as app:
        for name, is_whole in (("dev", False), ("team", True)):
            page = app.get(f"/{name}/setup/", ("Accept", "text/html")).body
            assert (b"default = true\n" in page) is is_whole


def test_setup_page_finds_its_address(stocked_app: InProcessServer) -> None:
    """Where no setting says what the server's URL is, the browser's address bar does."""
    page = read(stocked_app, "/setup/")

    text = without_comment(client_text("uv", ClientSettings(root="http://127.0.0.1:8080")))
    assert text in page.text
    assert {"../simple/", "../simple", "../legacy/"} == page.roots
    assert "setup/" in read(stocked_app, "/").links
    assert (
        stocked_app.get("/setup/", ("Accept", "application/json")).status == 404
    )  # no such project
    assert stocked_app.get("/setup", ("Accept", "text/html")).headers["location"] == "/setup/"


def test_project_page_names_the_server(stocked_app: InProcessServer) -> None:
    """A project's page has its summary as text, and commands with the address of the server."""
    page = read(stocked_app, "/project/demo/")

    assert "uv pip install --index http://127.0.0.1:8080/simple/ demo" in page.text
    assert "A demo of <b>it</b>" in page.text


@pytest.mark.integration  # some links lead to the documentation, which a process renders
@pytest.mark.parametrize("name", ["demo", "epoch", "local"])
def test_every_link_leads_somewhere(stocked_app: InProcessServer, name: str) -> None:
    """No link of a page is broken."""
    project = f"/project/{name}/"
    releases = (link for link in read(stocked_app, project).links if link[0].isdigit())
    for path in ("/", "/setup/", project, *(urljoin(project, release) for release in releases)):
        links = read(stocked_app, path).links
        assert links
        for link in links:
            assert stocked_app.get(urldefrag(urljoin(path, link)).url).status == 200, link


def test_refusals_are_pages_too(stocked_app: InProcessServer, private_app: InProcessServer) -> None:
    """A browser that asks for a project that is not there, or not for it, gets a readable page."""
    assert "Not found" in read(stocked_app, "/project/nothing/", 404).text
    assert "<script>" not in read(stocked_app, "/project/%3Cscript%3E/", 404).tags
    assert "token" in read(private_app, "/project/demo/", 401).text
    assert private_app.get("/project/demo/", ("Accept", "text/html")).headers["www-authenticate"]


def test_assets_are_kept_for_ever(private_app: InProcessServer) -> None:
    """Whoever may sign in gets the style sheet, and a browser never asks for the same one again."""
    page = Page(private_app.get("/project/demo/", ("Accept", "text/html")).text)
    assets = [link for link in page.links if "-/assets/" in link]
    assert {link.rpartition(".")[2] for link in assets} == {"css", "js", "svg"}
    for link in assets:
        answer = private_app.get(urljoin("/project/demo/", link))
        assert answer.status == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"
        packed = private_app.get(urljoin("/project/demo/", link), ("accept-encoding", "gzip"))
        assert packed.headers["content-encoding"] == "gzip"
        assert gzip.decompress(packed.body) == answer.body
    assert private_app.get("/-/assets/style-0123456789abcdef.css").status == 404
