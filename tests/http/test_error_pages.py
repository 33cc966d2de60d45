"""Errors as pages for people, and as JSON for programs."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tests.distributions import make_wheel
from tests.fake_store import ALWAYS, FakeStore, Fault
from tests.http.browser import FORM, HTML
from tests.http.in_process import InProcessServer, in_process
from wheelyard.catalog.document_cache import damaged
from wheelyard.errors import STORAGE_FULL, UPSTREAM_UNAVAILABLE, Unavailable
from wheelyard.http.web_pages import WebPages
from wheelyard.http_client.urls import parse_url
from wheelyard.settings.sections import AccessSettings, ServerSettings, Settings, WebSettings
from wheelyard.storage.memory import MemoryStore
from wheelyard.upstream.settings import UpstreamServer, unproven_error

SIMPLE_V1 = "application/vnd.pypi.simple.v1"
PROGRAMS = {
    "pip": (f"{SIMPLE_V1}+json, {SIMPLE_V1}+html; q=0.1, text/html; q=0.01", "pip/25.0 {}"),
    "pip 21": ("text/html", 'pip/21.3.1 {"ci":null}'),
    "uv": (f"{SIMPLE_V1}+json, {SIMPLE_V1}+html;q=0.2, text/html;q=0.01", "uv/0.5.1"),
    "uv publish": ("application/json;q=0.9, text/plain;q=0.8, text/html;q=0.7", "uv/0.5.1"),
    "twine": ("*/*", "twine/6.0"),
    "curl": ("*/*", "curl/8.5"),
    "fetch": ("*/*", "Mozilla/5.0"),
}
BROWSERS = {
    "chromium": HTML[1],
    "firefox": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "lynx": "text/html, text/plain, text/sgml, application/xhtml+xml, */*;q=0.01",
}
UPSTREAM = UpstreamServer(url=parse_url("https://index.acme.dev/simple/"), label="public")
PATHS = ("/simple/nothing/", "/a/b/c/d", "/project/nothing/", "/files/x/y.whl", "/nothing/")


@pytest.fixture(scope="module")
def store() -> FakeStore:
    """Return a store that can be broken."""
    return FakeStore(MemoryStore(lambda: 0.0))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, store: FakeStore) -> Iterator[InProcessServer]:
    """Serve a public index, whose operator has an address."""
    settings = Settings(
        server=ServerSettings(public_url="http://index"),
        access=AccessSettings(trusted_hosts=("index",)),
        web=WebSettings(contact="https://help.acme.dev/packages"),
    )
    with in_process(tmp_path_factory.mktemp("errors"), settings, store=store) as opened:
        yield opened


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_get_no_page(server: InProcessServer, program: str) -> None:
    """An installer, an uploader or a script gets every error as JSON."""
    accept, agent = PROGRAMS[program]
    for path in PATHS:
        answer = server.get(path, ("Accept", accept), ("User-Agent", agent))
        assert (answer.status, answer.headers["content-type"]) == (404, "application/json"), path


@pytest.mark.parametrize("browser", BROWSERS)
def test_browsers_get_a_page_everywhere(server: InProcessServer, browser: str) -> None:
    """A person who lands on any path that has nothing gets a page that says what to do next."""
    for path in PATHS:
        answer = server.get(path, ("Accept", BROWSERS[browser]))
        assert (answer.status, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert answer.headers["cache-control"] == "no-store"
        text = answer.body.decode()
        assert "<h1>Not found</h1>" in text
        assert '<a href="/">search the projects</a>' in text
    assert server.get(PATHS[0], HTML, method="HEAD").status == 404


@pytest.mark.parametrize(
    ("request_line", "headers", "status", "title", "hint"),
    [
        ("GET /%zz", (), 400, "Bad Request", "home page"),
        ("GET /project/a%00/", (), 400, "Bad Request", "home page"),
        ("GET /project/a%5Cb/", (), 400, "Bad Request", "home page"),
        ("GET /", (("Authorization", "Bearer \u00e9"),), 400, "Bad Request", "home page"),
        ("POST /legacy/", (), 401, "Sign in first", "Load this page again"),
        ("POST /", (("Origin", "https://evil.example"),), 403, "Not allowed", "home page"),
        ("POST /search.json", (), 405, "Method Not Allowed", "home page"),
        (f"GET /{'x' * 5000}", (), 414, "URI Too Long", "home page"),
        ("GET /", (("If-Match", '"x"'),), 412, "Precondition Failed", "home page"),
    ],
)
def test_each_error_has_its_page(
    server: InProcessServer,
    request_line: str,
    headers: tuple[tuple[str, str], ...],
    status: int,
    title: str,
    hint: str,
) -> None:
    """Each kind of error has a title, its message, whom to ask, and the status of its JSON."""
    method, _, path = request_line.partition(" ")
    answer = server.get(path, HTML, *headers, method=method)
    text = answer.body.decode()

    assert (answer.status, answer.headers["content-length"]) == (status, str(len(answer.body)))
    assert f"<h1>{title}</h1>" in text
    assert hint in text
    assert '<a href="https://help.acme.dev/packages">' in text
    assert server.get(path, *headers, method=method).status == status


def test_a_page_behind_the_last_one_leads_back(server: InProcessServer) -> None:
    """Whoever asks for a page that a list has not is told so, and led to its first and last one."""
    server.publish(*(make_wheel(f"many-{number:03}") for number in range(101)))
    server.publish(make_wheel("demo"))

    listed = server.get("/-/projects/99/?show=all&sort=name", HTML)
    found = server.get("/?q=many&page=99", HTML)
    history = server.get("/project/demo/history/7/", HTML)
    files = server.get("/project/demo/files/?page=2", HTML)

    for answer, links in (
        (listed, ["../1/?show=all&sort=name", "../2/?show=all&sort=name"]),
        (found, ["?q=many&page=1", "?q=many&page=3"]),
        (history, ["../"]),
        (files, ["?page=1"]),
    ):
        page = answer.body.decode()
        advice = page.partition("What you can do")[2].partition("</main>")[0]
        assert (answer.status, "There is no such page" in page) == (404, True)
        assert re.findall('href="([^"]*)"', unescape(advice)) == links
        assert "spelling" not in advice
    assert b"This list has no page 99. Its last one is 2." in listed.body


def test_another_host_is_said(server: InProcessServer) -> None:
    """Whoever comes by a host name that the index does not know is told so."""
    answer = server.get("/", HTML, host="elsewhere")
    assert (answer.status, b"<h1>Another address</h1>" in answer.body) == (421, True)


def test_a_request_for_no_host_is_refused(server: InProcessServer) -> None:
    """A request that does not say which host it is for is refused for that reason."""
    answer = server.get("/", host="")
    assert (answer.status, b"names no host" in answer.body) == (400, True)


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/dev/simple/", 404), ("DELETE", "/dev/", 405)]
)
def test_no_index_is_missing_while_nobody_knows(
    server: InProcessServer, store: FakeStore, method: str, path: str, status: int
) -> None:
    """While the store does not say which indexes there are, none is said to lack something."""
    store.follow(Fault(Unavailable("The store does not answer."), "*", times=ALWAYS))
    answer = server.get(path, method=method)
    store.follow()

    assert (answer.status, server.get(path, method=method).status) == (503, status)


def test_failures_show_nothing_of_the_inside(
    server: InProcessServer, store: FakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    """When store or server fail, the page says so, and names the error in the log."""
    server.clock.advance(minutes=1)  # the log has only so many errors of the store in a minute
    server.get("/", HTML)
    outage = Unavailable("The store does not answer.", retry_after=7)
    store.follow(Fault(outage, "get", times=ALWAYS))
    unavailable = server.get("/project/nothing/", HTML)
    store.follow(Fault(RuntimeError("secret of the inside"), "get", times=ALWAYS))
    failed = server.get("/project/nothing/", HTML)
    store.follow()

    assert (unavailable.status, failed.status) == (503, 500)
    assert unavailable.headers["retry-after"] == "7"
    assert "Try again in 7 seconds." in unavailable.body.decode()
    assert "The server itself is running" in unavailable.body.decode()
    text = failed.body.decode()
    number = text.partition("its operator: error ")[2][:8]
    assert len(number) == 8
    assert f"a request failed ({number}): GET /project/nothing/" in caplog.text
    assert f"a request was refused, {outage.code}: {outage.message}" in caplog.text
    assert "secret of the inside" not in text


@pytest.mark.parametrize(
    ("fault", "shown", "advice"),
    [
        (
            damaged("A is damaged."),
            "A is damaged. Tell the operator of this index, who can check the store.",
            "Part of the index is damaged or lost.",
        ),
        (
            unproven_error(UPSTREAM, "it is a page for logging in"),
            "Tell the operator of this index, who can check the settings.",
            "may be that of something else.",
        ),
        (Unavailable("No space is left.", code=STORAGE_FULL), "No space is left.", "no space"),
        (Unavailable("Not allowed.", code="storage_denied"), "Not allowed.", "permission"),
        (
            Unavailable("Never asked.", code=UPSTREAM_UNAVAILABLE),
            "Never asked.",
            "upstream.offline",
        ),
    ],
)
def test_lasting_failure_asks_for_no_reload(
    server: InProcessServer, store: FakeStore, fault: Unavailable, shown: str, advice: str
) -> None:
    """Of a failure that does not pass, the page says whom to tell what, and not to try again."""
    store.follow(Fault(fault, "get", times=ALWAYS))
    page = server.get("/project/nothing/", HTML).body.decode()
    answer = server.get("/project/nothing/")
    store.follow()

    lead, _, rest = page.partition("What you can do")
    assert shown in lead
    assert "wheelyard" not in lead.partition("<main")[2]
    assert "wheelyard" not in rest.partition("</main")[0]
    assert "in a few seconds" not in page
    assert "To load this page again does not help." in rest
    assert advice in rest
    assert fault.message in answer.body.decode()  # programs get what the operator needs


def test_no_command_for_who_has_no_command_line(tmp_path: Path) -> None:
    """Who may not do something is told whom to ask; only programs are told of commands."""
    settings = Settings(
        access=AccessSettings(private=True), web=WebSettings(contact="platform@acme.dev")
    )
    with in_process(tmp_path, settings) as app:
        login = app.bearer(can="read")
        for path, who, status in (("/-/upload/", (login,), 403), ("/", (), 401)):
            page, answer = app.get(path, HTML, *who), app.get(path, *who)
            text = page.body.decode()
            assert (page.status, answer.status) == (status, status)
            assert "wheelyard token" not in text
            assert "platform@acme.dev" in text
            assert "wheelyard token create" in answer.body.decode()


def test_error_without_templates_has_a_plain_page(
    server: InProcessServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the templates cannot be read, an error still has a page, only a plain one."""

    def fail(*_: object) -> Any:  # noqa: ANN401 - as the method
        raise OSError("The templates cannot be read.")

    monkeypatch.setattr(WebPages, "error_page", fail)
    answer = server.get("/<b>/x/y/", HTML)

    assert (answer.status, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert b"<h1>Not found</h1>" in answer.body
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_scripts_raise_no_dialog(tmp_path: Path) -> None:
    """Where people sign in, neither page nor script makes a browser ask for a password."""
    access = AccessSettings(private=True, cookie_login=True)
    with in_process(tmp_path, Settings(access=access)) as server:
        script = server.get("/search.json", ("Sec-Fetch-Mode", "cors"))
        page = server.get("/", HTML)
        program = server.get("/search.json")

        challenges = [each.headers["www-authenticate"] for each in (script, page, program)]
        assert [challenge.partition(" ")[0] for challenge in challenges] == [
            "Bearer",
            "Bearer",
            "Basic",
        ]
        assert [each.status for each in (script, page, program)] == [401] * 3


def test_a_long_form_is_refused(tmp_path: Path) -> None:
    """A form that is too long, or none at all, is refused with a page."""
    access = AccessSettings(private=True, cookie_login=True)
    with in_process(tmp_path, Settings(access=access)) as server:
        long = server.get("/-/sign-in/", HTML, FORM, method="POST", body=[b"x" * 70_000])
        other = server.get("/-/sign-in/", HTML, method="POST", body=[b"x"])

        assert (long.status, b"<h1>Content Too Large</h1>" in long.body) == (413, True)
        assert (other.status, b"<h1>Unsupported Media Type</h1>" in other.body) == (415, True)
