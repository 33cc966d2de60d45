"""The documentation below `/-/docs/`: each page of it as a reader without internet finds it."""

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urldefrag, urljoin, urlsplit

import pytest
from uv import find_uv_bin

from tests.clients.harness import REPOSITORY
from tests.http.browser import Browser
from tests.http.handlers.admin.administering import PASSWORD, TABLES, settings_in
from tests.http.in_process import in_process
from tests.http.servers import Answer, RunningServer, running_server
from wheelyard.settings.sections import AccessSettings, ServerSettings, Settings

pytestmark = pytest.mark.integration

DOCS = REPOSITORY / "docs"
FRONT = "/-/docs/"
FORGE = re.compile(rf"https://github\.com/wheelyard/wheelyard/blob/v{version('wheelyard')}/([^#]+)")
"""A link to what is in the repository, and not in the documentation."""
TYPES = {"json": "application/json", "svg": "image/svg+xml", "webp": "image/webp"}
BROWSER = ("accept", "text/html")


class PageParts(HTMLParser):
    """The elements of a page that have a name or lead somewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags = list[str]()
        self.ids = list[str]()
        self.links = list[str]()
        self.pictures = list[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an element."""
        fields = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.ids += [fields["id"]] if "id" in fields else []
        self.links += [fields[name] for name in ("href", "src") if name in fields]
        self.pictures += [fields["src"]] if tag == "img" else []


def read_all(server: RunningServer) -> dict[str, Answer]:
    """Return everything of the documentation that is reached from its front page, by path."""
    answers, unread = dict[str, Answer](), [FRONT]
    while unread:
        path = unread.pop()
        answers[path] = answer = server.get(path, Accept="text/html")
        assert answer.status_code == 200, path
        if answer.headers["Content-Type"].startswith("text/html"):
            links = {urldefrag(urljoin(path, link)).url for link in PageParts(answer.text).links}
            unread += [
                link for link in links if link.startswith(FRONT) and link not in {*answers, *unread}
            ]
    return answers


def pages_in(answers: dict[str, Answer]) -> Iterator[tuple[str, str, PageParts]]:
    """Yield the path, the text and the parts of each page among some answers."""
    for path, answer in answers.items():
        if path.endswith("/"):
            yield path, answer.text, PageParts(answer.text)


@pytest.fixture(scope="module")
def answers(private: RunningServer) -> dict[str, Answer]:
    """Everything of the documentation, as a private index serves it to a stranger."""
    return read_all(private)


def test_every_page_is_reached(answers: dict[str, Answer]) -> None:
    """From the front page, links lead to each page of the documentation, and to no dead one."""
    pages = {
        f"{FRONT}{page.relative_to(DOCS).with_suffix('').as_posix()}/"
        for page in DOCS.rglob("*.md")
    }

    assert {path for path in answers if path.endswith("/")} == {
        page.removesuffix("README/") for page in pages
    }


def test_anchors_are_there(answers: dict[str, Answer]) -> None:
    """A link to a part of a page leads to a heading, as on GitHub, and each name is unique."""
    parts = {path: page for path, _, page in pages_in(answers)}
    wrong = [
        f"{path}: {link}"
        for path, page in parts.items()
        for link in page.links
        for target, anchor in [urldefrag(urljoin(path, link))]
        if anchor and target in parts and anchor not in parts[target].ids
    ]

    assert wrong == []
    assert "running-behind-a-proxy" in parts[f"{FRONT}operating/"].ids
    assert [path for path, page in parts.items() if len(set(page.ids)) < len(page.ids)] == []


def test_pages_are_rendered(answers: dict[str, Answer]) -> None:
    """Each page has one main heading, the version, tables that scroll, own pictures, no script."""
    for path, text, page in pages_in(answers):
        assert page.tags.count("h1") == 1, path
        assert f"of wheelyard {version('wheelyard')}" in text, path
        assert "script" not in page.tags, path
        assert not [url for url in page.pictures if urlsplit(url).scheme], path
        assert not re.search(r'<[^>]* on\w+=|javascript:|user-content-|="[^":]*\.md["#]', text), (
            path
        )
        assert text.count("<table") == text.count('class="scrolling"'), path
    assert '<span class="' in answers[f"{FRONT}settings/"].text  # code is highlighted


def test_the_policy_is_that_of_other_pages(
    private: RunningServer, answers: dict[str, Answer]
) -> None:
    """Pages of the documentation have the security headers of other pages of the index."""
    home = private.get("/", private.token, Accept="text/html")
    for path, _, _ in pages_in(answers):
        for name in ("Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy"):
            assert answers[path].headers[name] == home.headers[name], path


def test_links_to_the_repository(answers: dict[str, Answer]) -> None:
    """Links to files outside the documentation lead to the forge, and to files that exist."""
    links = {link for _, _, page in pages_in(answers) for link in page.links}
    paths = {match[1] for link in links if (match := FORGE.match(link))}

    assert {"ARCHITECTURE.md", "CHANGELOG.md"} < paths
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []


def test_pictures_run_nothing(private: RunningServer, answers: dict[str, Answer]) -> None:
    """Pictures have their types, no script, and an ETag by which a browser asks again."""
    files = {path: answer for path, answer in answers.items() if not path.endswith("/")}
    assert {path.rpartition(".")[2] for path in files} == TYPES.keys()
    for path, answer in files.items():
        assert answer.headers["Content-Type"] == TYPES[path.rpartition(".")[2]], path
        assert answer.content == (DOCS / path.removeprefix(FRONT)).read_bytes()
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"].endswith("; sandbox")
        known = private.get(path, If_None_Match=answer.headers["ETag"])
        assert (known.status_code, known.content) == (304, b"")


def test_a_page_has_one_path(private: RunningServer) -> None:
    """Other spellings of a page's path lead to the page, and a path without a page is not found."""
    for path, usual in {
        "tokens": "tokens/",
        "tokens.md": "tokens/",
        "README.md": "",
        "deploy": "deploy/",
        "deploy/README.md": "deploy/",
        "deploy/linux.md": "deploy/linux/",
    }.items():
        answer = private.get(f"{FRONT}{path}")
        assert (answer.status_code, answer.headers["Location"]) == (301, f"{FRONT}{usual}"), path
    assert private.get("/-/docs").headers["Location"] == FRONT
    for path in ("images/", "nothing/", "images/nothing.svg", "//evil/"):
        answer = private.get(f"{FRONT}{path}")
        assert answer.status_code == 404, path
        assert f'<a href="{FRONT}">All pages' in answer.text
    for path, status in {
        "%2e%2e/pyproject.toml": 404,
        "..%2fpyproject.toml": 404,
        "deploy/..%5c..%5cLICENSE": 400,
    }.items():
        assert private.get(f"{FRONT}{path}").status_code == status, path
    head = private.ask("HEAD", FRONT)
    assert (head.status_code, head.content) == (200, b"")
    assert private.ask("POST", f"{FRONT}tokens/").status_code == 405


def test_everybody_gets_the_same(private: RunningServer, answers: dict[str, Answer]) -> None:
    """The documentation needs no credential, and a wrong one does not hinder."""
    for token in (private.token, "wrong"):
        assert private.get(FRONT, token, Accept="text/html").content == answers[FRONT].content
    assert answers[FRONT].headers["Cache-Control"] == "public, no-cache"
    assert private.get("/", Accept="text/html").status_code == 401
    assert f'<a href="{FRONT}">Help</a>' in private.get("/", Accept="text/html").text


def test_whoever_has_signed_in_sees_it_in_the_head(tmp_path: Path) -> None:
    """The head of a page is that of other pages, and a session that has ended does not hinder."""
    with in_process(tmp_path, settings_in(tmp_path), tables=TABLES) as app:
        browser, path = Browser(app), f"{FRONT}tokens/"
        stranger = browser.open(path)
        assert browser.sign_in("admin", PASSWORD).status == 303
        admin = browser.open(path)
        ended = app.get(path, BROWSER, ("cookie", "wheelyard-session=eyJhbGciOiJub25lIn0.e30.x"))
        missing = browser.open(f"{FRONT}nothing/")

    assert b'-/sign-in/">Sign in</a>' in stranger.body
    assert (stranger.headers["cache-control"], admin.headers["cache-control"]) == (
        "public, no-cache",
        "private, no-cache",
    )
    assert "Cookie" in stranger.headers["vary"]
    for page in (admin, missing):
        assert b'-/admin/">Administration</a>' in page.body
        assert b">admin</a>" in page.body
    assert (ended.status, ended.body) == (200, stranger.body)


def test_the_help_is_searched(private: RunningServer) -> None:
    """A search finds the pages with all words, those named so first, and leads to their parts."""
    for path in (FRONT, f"{FRONT}tokens/", f"{FRONT}settings/"):
        assert private.get(path).status_code == 200
    form = private.get(f"{FRONT}deploy/linux/").text
    assert '<form class="toolbar" action="../../" role="search"' in form

    found = private.get(f"{FRONT}?q=Token+API").text
    setting = private.get(f"{FRONT}?q=htpasswd_may").text
    nothing = private.get(f"{FRONT}?q=%3Cb%3Enothing-like-it")

    assert '<h2><a href="./tokens/">API tokens</a></h2>' in found
    assert '<a href="./tokens/#token-api">Token API</a>' in found
    assert '<h2><a href="./settings/">Configuration</a></h2>' in setting
    assert (nothing.status_code, "0 pages have all these words" in nothing.text) == (200, True)
    assert "<b>" not in nothing.text


def test_pictures_have_their_sizes(answers: dict[str, Answer]) -> None:
    """A page knows how large its pictures are, so that nothing moves once they are there."""
    pages = {path: text for path, text, _ in pages_in(answers)}
    pictures = [tag for text in pages.values() for tag in re.findall("<main.*", text, re.DOTALL)]
    tags = [tag for text in pictures for tag in re.findall("<img [^>]*>", text)]

    assert len(tags) > 10
    assert [tag for tag in tags if not re.search(r' width="\d+" height="\d+"', tag)] == []
    assert 'images/overview.svg" width="880" height="300"' in pages[FRONT]


def test_below_a_prefix_and_read_only(tmp_path: Path, answers: dict[str, Answer]) -> None:
    """The pages of the documentation are also there below a path prefix of a read-only server."""
    server = ServerSettings(path_prefix="/python", read_only=True)
    with in_process(tmp_path, Settings(server=server, access=AccessSettings(private=True))) as app:
        page = app.get("/python/-/docs/deploy/linux/", BROWSER)
        assert page.status == 200
        assert app.get("/python/-/docs/tls/", BROWSER).status == 200
        for link in PageParts(page.body.decode()).links:
            if not link.startswith(("#", "https:")):
                target = urldefrag(urljoin("/python/-/docs/deploy/linux/", link)).url
                is_help = target.removeprefix("/python") in answers
                assert is_help or app.get(target, BROWSER).status in {200, 401}, target
        moved = app.get("/python/-/docs/tokens.md")
        assert (moved.status, moved.headers["location"]) == (301, "/python/-/docs/tokens/")
        assert b'"/python/-/docs/"' in app.get("/python/-/docs/nothing/").body


def test_without_a_process_a_page_is_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no process can be started, a page is its Markdown, and later it is rendered."""
    with in_process(tmp_path) as app:
        with monkeypatch.context() as context:
            context.setattr("sys.executable", "/nonexistent/python")
            text = app.get(f"{FRONT}tokens/", BROWSER)
        rendered = app.get(f"{FRONT}tokens/", BROWSER)

    assert (text.status, text.headers["cache-control"]) == (200, "no-store")
    assert b"\n# API tokens" in text.body or b"># API tokens" in text.body
    assert b'<h1 id="api-tokens">' in rendered.body


def test_nothing_is_done_before_the_first_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server does not look for pages of the documentation until somebody asks for one."""
    asked = list[str]()
    monkeypatch.setattr(Path, "rglob", lambda path, pattern: asked.append(f"{path} {pattern}"))
    with in_process(tmp_path) as app:
        assert app.get("/setup/", BROWSER).status == 200
    assert asked == []


def test_an_installation_without_documentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the documentation is not installed, the addresses of its pages lead to the site."""
    monkeypatch.setattr("wheelyard.http.context_building.find_folder", lambda: tmp_path / "nothing")
    with in_process(tmp_path) as app:
        for path in (FRONT, f"{FRONT}tokens/", f"{FRONT}images/overview.svg"):
            answer = app.get(path, BROWSER)
            assert answer.status == 404
            assert b'<a href="https://wheelyard.github.io/wheelyard/"' in answer.body


def test_the_wheel_has_the_documentation(tmp_path: Path, answers: dict[str, Answer]) -> None:
    """A server that was installed from the wheel serves the same pages, and all their pictures."""
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "-d"]
    subprocess.run([*build, tmp_path], cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    place = tmp_path / "installed"
    install = [find_uv_bin(), "pip", "install", "--no-config", "--offline", "--no-deps", "--quiet"]
    subprocess.run([*install, f"--target={place}", wheel], check=True)

    environment = {"PYTHONPATH": str(place)}
    # several workers are processes of the installed program, not of this one
    with running_server(tmp_path / "s", "--workers", "2", environment=environment) as server:
        installed = read_all(server)

    assert (place / "wheelyard" / "docs" / "README.md").is_file()
    assert installed.keys() == answers.keys()
    assert [path for path in answers if installed[path].content != answers[path].content] == []
