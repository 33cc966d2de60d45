"""Every path that the index answers, what it leads to, and what leads nowhere."""

import json
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.distributions import make_wheel
from tests.http.in_process import InProcessServer, in_process
from tests.http.raw_client import raw_connection
from tests.http.servers import RunningServer
from wheelyard.settings.sections import ServerSettings, Settings

JSON = "application/vnd.pypi.simple.v1+json"
ROOTS = ("/simple/", "/pypi/simple/", "/pypi/", "/", "/acme/")
EVERY_ROOT = (
    *ROOTS,
    *(f"{root}+simple/" for root in ("/", "/simple/", "/pypi/", "/legacy/", "/acme/")),
    *(f"{root}%2Bsimple/" for root in ("/", "/simple/", "/pypi/", "/legacy/", "/acme/")),
)
DEMO = make_wheel("demo", "1.0", "Requires-Python: >=3.9", "Summary: A demo of <b>it</b>")


@pytest.mark.parametrize("kind", [JSON, "text/html"], ids=["json", "html"])
@pytest.mark.parametrize("root", EVERY_ROOT)
def test_links_of_a_page_lead_to_files(stocked_app: InProcessServer, root: str, kind: str) -> None:
    """Every root lists the projects, and relative links of their pages lead to the files."""
    assert (
        stocked_app.get(root, ("Accept", JSON)).body
        == stocked_app.get("/simple/", ("Accept", JSON)).body
    )
    address = f"{root}demo/"
    answer = stocked_app.get(f"{root}demo/", ("Accept", kind))
    assert answer.body == stocked_app.get("/simple/demo/", ("Accept", kind)).body

    files = stocked_app.get(f"{root}demo/", ("Accept", JSON)).json()["files"]
    assert len(files) == 3
    for file in files:
        assert file["url"] in answer.text
        fetched = stocked_app.get(urljoin(address, file["url"]))
        assert fetched.status == 200
        assert len(fetched.body) == file["size"]


@pytest.mark.parametrize(
    "path",
    [
        "/files/demo/{sha256}/{filename}",
        "/files/demo/{filename}",
        "/files/Demo/{filename}",
        "/packages/{filename}",
        "/packages/py3/{filename}",
        "/packages/demo/1.0/{filename}",
        "/packages/ab/cd/ef01/{filename}",
        "/raw/{filename}",
    ],
)
def test_file_has_several_addresses(stocked_app: InProcessServer, path: str) -> None:
    """A file is answered in place, alike, at its own address and at those of older systems."""
    path = path.format(sha256=DEMO.sha256, filename=DEMO.filename)
    answer = stocked_app.get(path)

    assert answer.status == 200
    assert answer.body == DEMO.body
    assert answer.headers["etag"] == f'"{DEMO.sha256}"'
    assert stocked_app.get(f"{path}.metadata").body == DEMO.metadata


@pytest.mark.parametrize(
    ("asked", "leads_to"),
    [
        ("/simple", "/simple/"),
        ("/pypi", "/pypi/"),
        ("/acme", "/acme/"),
        ("/pypi/simple", "/pypi/simple/"),
        ("/+simple", "/%2Bsimple/"),
        ("/simple/demo", "/simple/demo/"),
        ("/simple/demo?x=1&y=a+b", "/simple/demo/?x=1&y=a+b"),
        ("/simple/Demo/", "/simple/demo/"),
        ("/simple/DEMO/?x=%2F", "/simple/demo/?x=%2F"),
        ("/pypi/simple/De_-.mo/", "/pypi/simple/de-mo/"),
        ("/legacy/%2Bsimple/Demo/", "/legacy/%2Bsimple/demo/"),
        ("/acme/Demo/?q", "/acme/demo/?q"),
        ("/demo", "/demo/"),
        ("/Demo/", "/demo/"),
        ("/project/demo", "/project/demo/"),
        ("/project/Demo/", "/project/demo/"),
        ("//simple//demo", "/simple/demo/"),
        ("//evil.example", "/evil.example/"),
    ],
)
def test_page_is_redirected_to_its_normal_address(
    stocked_app: InProcessServer, asked: str, leads_to: str
) -> None:
    """A page is sent to its normal address, as a path of this very host, with its query."""
    answer = stocked_app.raw(f"GET {asked}")

    assert answer.status == 301
    assert answer.header("location") == leads_to
    assert answer.header("cache-control") == "no-store"  # who may read may change
    assert not answer.header("location").startswith("//")


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("//evil.example/simple", 404),
        ("///evil.example/%2e%2e", 404),
        ("/%2F%2Fevil.example", 404),
        ("/simple%2Fdemo/", 404),
        ("/%5Cevil.example", 400),
    ],
)
def test_what_is_no_page_has_no_normal_address(
    stocked_app: InProcessServer, asked: str, status: int
) -> None:
    """An address that hides another host or path is refused, and leads nowhere."""
    answer = stocked_app.raw(f"GET {asked}")

    assert (answer.status, "location" in answer.headers) == (status, False)


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("format=text/html", "?format=text/html"),
        ("access_token=abc", ""),
        ("x=wyd_0123456789", ""),
        ("x=ya29.abc", ""),
        ("id=eyJhbGciOiJub25lIn0.e30.", ""),
    ],
)
def test_redirect_keeps_a_query_without_secrets(
    stocked_app: InProcessServer, query: str, kept: str
) -> None:
    """A redirect keeps the query, unless it contains a secret."""
    answer = stocked_app.raw(f"GET /simple/demo?{query}")

    assert answer.header("location") == f"/simple/demo/{kept}"


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/simple/", "/simple/demo/", "/simple/nothing/", "/simple/Demo/", "/project/demo/"),
        *(
            "/pypi/demo/json",
            "/legacy/",
            "/health",
            "/ready",
            "/api/v1/projects",
            "/api/v1/projects/demo",
        ),
        f"/files/demo/{DEMO.sha256}/{DEMO.filename}",
        f"/files/demo/{DEMO.sha256}/{DEMO.filename}.metadata",
        *(f"/packages/{DEMO.filename}", "/nowhere/at/all", "/%zz"),
    ],
)
def test_head_is_get_without_its_body(stocked_app: InProcessServer, path: str) -> None:
    """HEAD gets the very headers that GET gets, and no body."""
    got = stocked_app.raw(f"GET {path}")
    head = stocked_app.raw(f"HEAD {path}")

    assert head.status == got.status
    assert sorted(head.lines) == sorted(got.lines)
    assert head.body == b""
    assert got.header("x-content-type-options") == "nosniff"
    assert len(got.body) == int(got.header("content-length"))


@pytest.mark.integration
@pytest.mark.parametrize("path", ["/", "/simple/nothing/", f"/packages/{DEMO.filename}"])
def test_head_has_no_body_over_a_wire(stocked_server: RunningServer, path: str) -> None:
    """What follows the head of an answer to HEAD is the next answer."""
    with raw_connection(stocked_server) as line:
        line.ask(f"HEAD {path} HTTP/1.1")
        head = line.reply(bodiless=True)
        line.ask(f"GET {path} HTTP/1.1")
        got = line.reply()

    assert head is not None
    assert got is not None
    assert got.status == head.status
    assert len(got.body) == int(head.header("content-length"))


@pytest.mark.parametrize(
    "path",
    [
        *("/simple/nothing/", "/nothing/", "/simple/demo/demo/", "/simple/..-x/", "/simple/x.-/"),
        *("/pypi/nothing/json", "/pypi/demo/9.9/json", "/project/nothing/", "/a/b/c/d"),
        *("/pypi/-x-/json", "/pypi/demo/latest/json"),
        *("/files/", "/packages/", "/raw/nothing.txt", "/raw/-.whl", "/api/v1", "/api/v1/nothing"),
        *("/files/demo/nothing-1.0.tar.gz", "/files/demo/demo-1.0.tar.gz.metadata"),
        f"/files/demo/{'0' * 64}/{DEMO.filename}",
        *(f"/files/{each}/{DEMO.sha256}/{DEMO.filename}" for each in ("-x-", "a%20b", "x" * 129)),
        *(
            f"/files/demo/{DEMO.sha256}/{DEMO.filename}{end}"
            for end in ("/", ".asc", ".provenance")
        ),
        f"/files/epoch/{DEMO.sha256}/{DEMO.filename}",
        f"/files/epoch/{DEMO.filename}",
    ],
)
def test_unknown_path_is_not_found(
    stocked_app: InProcessServer, private_app: InProcessServer, path: str
) -> None:
    """Unknown paths are 404 to readers, and 401 to callers without any read access."""
    answer = stocked_app.get(path, ("Accept", "*/*"))

    assert (answer.status, answer.headers["content-type"]) == (404, "application/json")
    assert answer.json().keys() - {"fact", "advice"} == {"message", "code", "title", "error"}
    assert answer.json()["error"] == "not_found"
    assert private_app.get(path).status == 401
    assert private_app.get(path, private_app.bearer()).status == 404


@pytest.mark.parametrize("path", ["/health", "/ready", "/legacy/", "/legacy"])
def test_health_is_open_to_everybody(private_app: InProcessServer, path: str) -> None:
    """Whether the server lives, and what an upload URL is, may be asked by anybody."""
    answer = private_app.get(path)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("path", "kind", "start"),
    [
        ("/favicon.ico", "image/x-icon", b"\0\0\1\0"),
        ("/robots.txt", "text/plain; charset=utf-8", b"User-agent: *\nDisallow: /\n"),
    ],
)
def test_icon_and_robots_are_open_to_everybody(
    private_app: InProcessServer, path: str, kind: str, start: bytes
) -> None:
    """Browsers get an icon once a day, and search engines are told to leave out every page."""
    answer = private_app.get(path)
    assert (answer.status, answer.headers["content-type"]) == (200, kind)
    assert answer.body.startswith(start)
    assert answer.header("cache-control") == "public, max-age=86400"
    assert private_app.get(path, method="POST").status == 405


def test_project_named_like_a_route(tmp_path: Path) -> None:
    """A project may be called health, files, packages, raw, project or acme."""
    names = ["health", "files", "packages", "raw", "project", "acme", "api", "json"]
    settings = Settings(server=ServerSettings(roots=("acme",)))
    with in_process(tmp_path, settings) as app:
        for name in names:
            made = make_wheel(name)
            app.publish(made)
            pages = [
                json.loads(app.get(f"{root}{name}/", ("Accept", JSON)).body)
                for root in ("/pypi/simple/", "/pypi/", "/+simple/", "/simple/")
            ]
            assert {page["name"] for page in pages} == {name}
            (file,) = pages[-1]["files"]
            for path in (urljoin(f"/simple/{name}/", file["url"]), f"/packages/{made.filename}"):
                answer = app.get(path)
                assert (answer.status, len(answer.body)) == (200, len(made.body))
