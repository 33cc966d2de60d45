"""Which methods a path takes, and that OPTIONS and every 405 say so, for each route there is."""

from functools import cache
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import compile_path

from tests.distributions import make_wheel
from tests.http.in_process import InProcessServer, in_process
from tests.http.raw_client import basic, raw_answer
from tests.http.servers import RunningServer, token_of
from wheelyard.errors import Invalid
from wheelyard.http.requests import decode_path
from wheelyard.http.routing import ALL_METHODS, RouteTable
from wheelyard.model.index_name import parse_index_name
from wheelyard.settings.sections import ServerSettings, Settings

DEMO = make_wheel("demo", "1.0")
NAMED = f"/files/demo/{DEMO.sha256}/{DEMO.filename}"
READ = "GET, HEAD, OPTIONS"
READ_OR_UPLOAD = "GET, HEAD, POST, OPTIONS"
POST = "POST, OPTIONS"
DELETE = "DELETE, OPTIONS"
EVERY: Final = (*ALL_METHODS, "OPTIONS", "PUT", "PATCH", "TRACE", "BREW", "get", "options")

LISTED: Final = {
    READ_OR_UPLOAD: (
        "/ /simple /simple/ /pypi/ /acme/ /acme /legacy /legacy/ /api/v1/tokens /-/sign-in/ "
        # an upload to what is no root is told so
        "/demo/ /setup/ /+simple/ /health/"
    ),
    READ: (
        "* /setup /pypi/simple/ /legacy/+simple/ "
        "/simple/demo /simple/demo/ /simple/nothing/ /acme/demo/ "
        "/project/demo /project/demo/ /pypi/demo/json /pypi/demo/1.0/json /health /ready /metrics "
        "/search.json /favicon.ico /robots.txt /project/demo/feed.xml "
        "/_/oidc/audience /.well-known/pytp /api/v1/whoami "
        "/api/v1/projects /api/v1/projects/demo /api/v1/projects/demo/journal "
        f"{NAMED} {NAMED}.metadata /acme{NAMED} /files/demo/{DEMO.filename} "
        f"/integrity/demo/1.0/{DEMO.filename}/provenance "
        f"/packages/x/{DEMO.filename} /-/assets/style.css /-/projects/1/ /-/sign-in "
        "/-/docs/ /-/docs/tokens/ /simple/namespaces /simple/namespace/acme "
        "/api/v1/webhooks /api/v1/webhooks/history /api/v1/webhooks/deliveries"
    ),
    POST: (
        "/_/oidc/mint-token /_/oidc/github/mint-token /_/oidc/burn-token "
        "/api/v1/projects/demo/yank /api/v1/projects/demo/unyank /api/v1/projects/demo/delete "
        "/api/v1/projects/demo/status /api/v1/tokens/self/revoke /-/sign-out/ /-/upload/check/ "
        "/api/v1/webhooks/add /api/v1/webhooks/new-secret /api/v1/webhooks/send-again "
        "/api/v1/webhooks/test"
    ),
    DELETE: "/api/v1/tokens/0123456789",
}
PATHS: Final = {path: listed for listed, paths in LISTED.items() for path in paths.split()}
RENDERED: Final = ("/-/docs/", "/-/docs/tokens/")
"""Pages that a process renders."""
ROWS = [
    *(path for path in PATHS if path not in RENDERED),
    *(pytest.param(path, marks=pytest.mark.integration) for path in RENDERED),
]
NO_PATHS = ("/a/b/c/d", "/api/v1", "/api/v1/nothing", "/api/v1/tokens/x/y", f"{NAMED}/")


@pytest.mark.parametrize("path", ROWS)
def test_options_lists_the_methods_of_a_path(stocked_app: InProcessServer, path: str) -> None:
    """OPTIONS and 405 list the very methods that a path does not answer with 405."""
    listed = PATHS[path]
    credential = basic("__token__", token_of(stocked_app.index, "x", can="read"))

    options = stocked_app.raw(f"OPTIONS {path}")
    assert (options.status, options.header("allow"), options.body) == (204, listed, b"")
    for method in EVERY:
        answer = stocked_app.raw(f"{method} {path}", credential)
        assert (answer.status == 405) == (method not in listed.split(", ")), method
        if answer.status == 405:
            assert answer.header("allow") == listed
            assert answer.header("content-type") == "application/json"


@pytest.mark.integration
def test_methods_come_over_a_wire(stocked_server: RunningServer) -> None:
    """A server gets any method as it is written, and its answer lists those that it takes."""
    for method in EVERY:
        answer = raw_answer(stocked_server, f"{method} /simple/demo/ HTTP/1.1")
        assert answer.status == {"GET": 200, "HEAD": 200, "OPTIONS": 204}.get(method, 405), method
        assert method in ("GET", "HEAD") or answer.header("allow") == READ
    assert raw_answer(stocked_server, "OPTIONS * HTTP/1.1").header("allow") == READ


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "POST", "GET"])
@pytest.mark.parametrize("path", NO_PATHS)
def test_missing_path_has_no_methods(stocked_app: InProcessServer, path: str, method: str) -> None:
    """A path that leads nowhere is not found by any method."""
    assert stocked_app.raw(f"{method} {path}").status == 404


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> RouteTable:
    """Return the table of routes of an index with a root of its own."""
    settings = Settings(server=ServerSettings(roots=("acme",)))
    with in_process(tmp_path_factory.mktemp("routes"), settings) as server:
        return server.app.routes


def test_each_route_has_a_path_above(routes: RouteTable) -> None:
    """Each route of the server has a path here whose methods are tested."""
    paths = [decode_path(path.encode()) for path in PATHS]
    answers = (routes.find(path, method) for path in paths for method in ALL_METHODS)
    reached = {answer[0].name for answer in answers if answer is not None}
    assert reached == {route.name for route in routes.rows}


def test_no_index_has_the_name_of_a_path(routes: RouteTable) -> None:
    """Whatever a path of the server begins with is refused as the name of an index."""
    starts = {route.path.split("/")[1] for route in routes.rows if route.path}
    words = {start.removesuffix("?") for start in starts if "{" not in start} - {"acme"}
    for word in words:
        with pytest.raises(Invalid):
            parse_index_name(word)


WORDS = [
    *("", "simple", "pypi", "legacy", "acme", "+simple", "files", "packages", "project", "demo"),
    *("api", "v1", "tokens", "self", "revoke", "projects", "yank", "journal", "whoami", "json"),
    *("_", "oidc", "mint-token", "health", "metrics", "0" * 64, DEMO.filename),
]


@given(words=st.lists(st.sampled_from(WORDS), max_size=6), slash=st.booleans())
def test_path_with_methods_takes_options(
    routes: RouteTable, words: list[str], *, slash: bool
) -> None:
    """A path that takes any method takes OPTIONS, and one that takes none leads nowhere."""
    path = "".join(f"/{word}" for word in words if word) + "/" * slash
    listed = routes.allowed_methods(path)
    for method in (*ALL_METHODS, "PUT"):
        assert (routes.find(path, method) is not None) == (method in listed)
    assert ("OPTIONS" in listed) == any(routes.matching(path))


compiled = cache(compile_path)


@given(words=st.lists(st.sampled_from([*WORDS, "{root}"]), max_size=6), slash=st.booleans())
def test_skipped_routes_change_no_answer(
    routes: RouteTable, words: list[str], *, slash: bool
) -> None:
    """A path is answered as if all routes were tried, though most are left out."""
    path = "".join(f"/{word}" for word in words if word) + "/" * slash or "/"
    every = [route for route in routes.rows if compiled(route.path)[0].match(path)]
    fixed = next((number for number, route in enumerate(every, 1) if route.is_fixed), None)
    assert [route for route, _ in routes.matching(path)] == every[:fixed]
