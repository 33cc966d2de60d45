"""The fast path, which repeats the response to an identical request."""

import asyncio
import gc
import os
import sys
import tracemalloc
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from random import Random
from types import FrameType

import pytest
from packaging.utils import NormalizedName
from packaging.version import Version

import wheelyard
from tests.authentication.verifiers.test_password_hashes import SHA
from tests.distributions import make_wheel
from tests.http.browser import Browser
from tests.http.handlers.admin.administering import TABLES, Administrator, settings_in
from tests.http.in_process import InProcessResponse, InProcessServer, in_process
from tests.http.servers import token_of
from tests.operations.in_memory_index import ALICE
from wheelyard.http.file_delivery import SMALL_FILE_BYTES
from wheelyard.http.page_cache import CurrentVersions, project_key
from wheelyard.operations.lifecycle import Selection
from wheelyard.settings.sections import AccessSettings, HttpSettings, ServerSettings, Settings
from wheelyard.storage.local import LocalStore

DEMO = make_wheel("demo")
PAGE = "/simple/demo/"
AS_HTML = f"{PAGE}?format=text/html"
METADATA = f"/packages/{DEMO.filename}.metadata"
MAX_CALLS = 40
"""Calls of Python functions for a request on the fast path, with a credential."""
MAX_BYTES = 6 * 1024
"""Memory for a request on the fast path: scope, response, and the event loop of this test."""

Header = tuple[str, str]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[InProcessServer]:
    """An application with one project, which anybody may read."""
    with in_process(tmp_path) as app:
        app.publish(DEMO)
        yield app


def is_same(one: InProcessResponse, other: InProcessResponse) -> bool:
    """Return whether two responses have the same status, headers and body."""
    return (one.status, one.headers, one.body) == (other.status, other.headers, other.body)


MANY = [("x-y", "z" * 1000)] * 24
"""More headers than the fast path takes, with Host."""


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("target", [PAGE, "/simple/", "/pypi/demo/json", AS_HTML, METADATA])
@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("accept", "application/vnd.pypi.simple.v1+json"), ("accept-encoding", "gzip, deflate")],
        [("accept", "text/html"), ("user-agent", "pip/26.0"), ("cache-control", "max-age=0")],
        [("if-none-match", "*")],
        MANY[1:],
    ],
    ids=["none", "uv", "pip", "known", "many"],
)
def test_identical_request_gets_the_same_response_at_once(
    app: InProcessServer, target: str, method: str, headers: list[Header]
) -> None:
    """An identical request gets the same response again, at once."""
    first = app.get(target, *headers, method=method)
    second = app.get(target, *headers, method=method)

    assert (first.was_quick, second.was_quick) == (False, True)
    assert first.status in {200, 304}
    assert is_same(first, second)


LOGIN = ("authorization", "Basic eDp5")
OTHERS: dict[str, tuple[str, str, list[Header]]] = {
    "name": ("/simple/Demo/", "GET", []),
    "missing": ("/simple/nothing/", "GET", []),
    "post": (PAGE, "POST", []),
    "match": (PAGE, "GET", [("if-match", '"x"')]),
    "length": (PAGE, "GET", [("content-length", "0")]),
    "chunked": (PAGE, "GET", [("transfer-encoding", "chunked")]),
    "login": (PAGE, "GET", [LOGIN]),
    "logins": (PAGE, "GET", [LOGIN, LOGIN]),
    "long": (PAGE, "GET", [("x", "y" * 1024)]),
    "name-too-long": (PAGE, "GET", [("x" * 1024, "y")]),
    "many": (PAGE, "GET", MANY),
    "newest": (PAGE, "GET", [("cache-control", "No-Cache")]),
}


@pytest.mark.parametrize(("target", "method", "headers"), OTHERS.values(), ids=OTHERS)
def test_every_other_request_is_looked_at_anew(
    app: InProcessServer, target: str, method: str, headers: list[Header]
) -> None:
    """A request that the fast path may not answer is looked at from its beginning, each time."""
    answers = [app.get(target, *headers, method=method) for _ in range(2)]

    assert [answer.was_quick for answer in answers] == [False, False]
    assert is_same(*answers)


def test_a_cookie_of_no_session_changes_nothing(tmp_path: Path) -> None:
    """Where people sign in, a browser without a session gets a page again at once, too."""
    access = AccessSettings(cookie_login=True, htpasswd_file=str(tmp_path / "htpasswd"))
    (tmp_path / "htpasswd").write_text(f"ana:{SHA}\n")
    server = ServerSettings(public_url="http://index")
    with in_process(tmp_path, Settings(access=access, server=server)) as app:
        app.publish(DEMO)
        pages = [app.get(PAGE, ("cookie", "theme=dark")) for _ in range(2)]

    assert [page.was_quick for page in pages] == [False, True]
    assert is_same(*pages)


def test_long_cookie_is_refused(app: InProcessServer) -> None:
    """A request with too many bytes of headers is refused, also for a page that is remembered."""
    answers = [app.get(PAGE, ("cookie", "y" * 1024 * each)) for each in (1, 31, 32)]

    assert [answer.status for answer in answers] == [200, 200, 431]
    assert answers[1].was_quick


METHODS = ("GET", "HEAD")
TARGETS = (PAGE, AS_HTML, "/simple/", "/simple", "/simple/secret/", "/pypi/demo/json", METADATA)
ACCEPT = ("", "application/vnd.pypi.simple.v1+json", "x/y")
ENCODING = ("", "gzip", "br")
ETAGS = ("", "*", PAGE, "/simple/")
CALLERS = ("", "all", "demo", "wrong")


@pytest.mark.slow
def test_each_request_gets_its_own_response_in_any_order(tmp_path: Path) -> None:
    """Whatever was requested before, and by whom, each request gets its own response."""
    private = Settings(access=AccessSettings(private_names=("secret",)))
    all_requests = list(product(METHODS, TARGETS, ACCEPT, ENCODING, ETAGS, CALLERS))
    requests = Random(1).sample(all_requests, 800)
    with in_process(tmp_path, private) as app:
        app.publish(
            *(make_wheel("demo", f"{number}.0") for number in range(6)), make_wheel("secret")
        )
        logins = {"wrong": "x", "all": token_of(app.index, can="read")}
        logins["demo"] = token_of(app.index, "demo", can="read")
        etags = {each: app.get(each).headers["etag"] for each in (PAGE, "/simple/")}

        def ask(request: tuple[str, ...], *more: Header) -> InProcessResponse:
            method, target, accept, encoding, etag, who = request
            named = {"accept": accept, "accept-encoding": encoding}
            named["if-none-match"] = etags.get(etag, etag)
            headers = [(name, value) for name, value in named.items() if value]
            if who:
                headers.append(login(logins[who]))
            return app.get(target, *headers, *more, method=method)

        quick = 0
        for request in requests:
            found, expected = ask(request), ask(request, ("x-long", "x" * 1025))
            assert is_same(found, expected), request
            quick += ask(request).was_quick
    assert quick > len(requests) // 4


def login(secret: str) -> Header:
    """Return the header of a token."""
    return ("authorization", "Basic " + b64encode(f"__token__:{secret}".encode()).decode())


def test_a_page_in_memory_is_for_its_caller_alone(tmp_path: Path) -> None:
    """A list in memory of who may read all projects is not sent to who may read one or none."""
    with in_process(tmp_path, Settings(access=AccessSettings(private=True))) as app:
        app.publish(DEMO, make_wheel("other"))
        may_read = [login(token_of(app.index, *of, can="read")) for of in ((), ("demo",))]
        logins = (*may_read, LOGIN)
        answers = [[app.get("/simple/", each) for each in logins] for _ in range(2)]

    quick = [[answer.was_quick for answer in turn] for turn in answers]
    assert quick == [[False, False, False], [True, True, False]]
    for turn in answers:
        assert [answer.status for answer in turn] == [200, 200, 401]
        assert [b"demo/" in answer.body for answer in turn] == [True, True, False]
        assert [b"other/" in answer.body for answer in turn] == [True, False, False]


def test_a_page_in_memory_is_for_its_session_alone(tmp_path: Path) -> None:
    """A list in memory of who has signed in at a browser is not sent to anybody else."""
    with in_process(tmp_path, settings_in(tmp_path), tables=TABLES) as app:
        app.publish(DEMO, make_wheel("other"))
        browsers = [Administrator.of(app, name).browser for name in ("admin", "reader")]
        browsers.append(Browser(app))
        answers = [[each.open("/simple/") for each in browsers] for _ in range(2)]

    for turn in answers:
        assert [b"demo/" in answer.body for answer in turn] == [True, True, False]
        assert [b"other/" in answer.body for answer in turn] == [True, False, False]
    assert [answer.was_quick for answer in answers[1]] == [True, True, False]


def test_upload_changes_a_page_in_memory(app: InProcessServer) -> None:
    """A page that is in memory is not shown any more after an upload has changed it."""
    old = [app.get(PAGE) for _ in range(2)][-1]
    newer = make_wheel("demo", "2.0")
    app.publish(newer)

    first, second = app.get(PAGE), app.get(PAGE)

    assert [each.was_quick for each in (old, first, second)] == [True, False, True]
    assert newer.filename not in old.body.decode()
    assert newer.filename in first.body.decode()
    assert second.body == first.body


def test_requests_at_the_same_time_share_a_look(app: InProcessServer) -> None:
    """Requests that came at the same time share a look at a document; the next one looks again."""
    app.get(PAGE)
    versions, key = CurrentVersions(app.index), project_key(NormalizedName("demo"))

    async def look() -> list[str | None]:
        before = versions(key)
        app.publish(make_wheel("demo", "2.0"))
        shared = versions(key)
        await asyncio.sleep(0)
        return [before, shared, versions(key)]

    before, shared, after = app.runner.run(look())

    assert before is not None
    assert shared == before
    assert after != before


def test_a_page_in_memory_under_another_name(tmp_path: Path) -> None:
    """Where only some names are answered, a page in memory is kept from all others."""
    trusted = AccessSettings(trusted_hosts=("index",))
    with in_process(tmp_path, Settings(access=trusted)) as app:
        app.publish(DEMO)
        assert [app.get(PAGE).was_quick for _ in range(2)] == [False, True]

        assert app.get(PAGE, host="evil").status == 421
        assert app.get(PAGE).was_quick


def test_page_in_memory_costs_one_look_and_few_calls(tmp_path: Path) -> None:
    """In a folder, a page in memory costs a look at its document and one at what main is."""
    looks, calls = list[str](), Counter[str]()
    source = str(Path(wheelyard.__file__).parent)

    def count(frame: FrameType, event: str, called: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(source):
            calls[frame.f_code.co_qualname] += 1
        elif event == "c_call" and getattr(called, "__module__", "") == "posix":
            looks.append(getattr(called, "__name__", ""))

    with in_process(tmp_path, store=LocalStore(tmp_path / "store", Random(1))) as app:
        app.publish(DEMO)
        header = login(token_of(app.index, "demo", can="read"))
        for _ in range(2):
            app.get(PAGE, header)
        sys.setprofile(count)
        try:
            answer = app.get(PAGE, header)
        finally:
            sys.setprofile(None)

    assert answer.was_quick
    assert [look for look in looks if look != "fspath"] == ["lstat", "lstat"]
    assert calls.total() <= MAX_CALLS, calls


@pytest.mark.parametrize("size", [0, SMALL_FILE_BYTES], ids=["small", "large"])
@pytest.mark.parametrize("more", [{}, {"range": "bytes=-9"}, {"if-none-match": "*"}])
@pytest.mark.parametrize("method", METHODS)
def test_file_is_compared_with_its_listing_each_time(
    tmp_path: Path, size: int, more: dict[str, str], method: str
) -> None:
    """A file of a folder is compared with its listing for each request, and is never cut short."""
    made = make_wheel("demo", content=b"#" * size)
    with in_process(tmp_path, store=LocalStore(tmp_path / "store", Random(1))) as app:
        app.publish(made)
        ask = partial(app.get, f"/packages/{made.filename}", *more.items(), method=method)
        first, second = ask(), ask()
        (kept,) = (tmp_path / "store").glob("files/demo/*/*.whl")
        os.truncate(kept, kept.stat().st_size - 1)
        cut = ask()
        kept.unlink()
        lost = ask()
        release = Selection(Version("1.0"))
        app.index.lifecycle.change("delete", ALICE, NormalizedName("demo"), release, "")
        last = ask()

    assert first.status in {200, 206, 304}
    assert is_same(first, second)
    needs_bytes = method == "GET" and "if-none-match" not in more
    assert cut.status == lost.status == (503 if needs_bytes else first.status)
    assert last.status == 404


@pytest.mark.slow
def test_different_headers_fill_no_memory(tmp_path: Path) -> None:
    """Requests with many headers, all different, take no more memory than the cache may take."""
    with in_process(tmp_path, Settings(http=HttpSettings(page_cache=1))) as app:
        app.publish(DEMO)
        tracemalloc.start()
        try:
            for each in range(2000):
                app.get(PAGE, *(("range", f"{each}.{number}") for number in range(20)))
            gc.collect()
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert kept < 3 * 2**20


def test_page_in_memory_is_sent_without_a_copy(app: InProcessServer) -> None:
    """A page in memory is sent without a copy of it, and nothing is kept of the request."""
    app.publish(*(make_wheel("demo", f"{number}.0") for number in range(30)))
    answers = [app.get(PAGE) for _ in range(20)]
    blocks = kept_blocks()
    for _ in range(100):
        app.get(PAGE)
    kept = kept_blocks() - blocks
    tracemalloc.start()
    try:
        app.get(PAGE)  # the first one makes what Python keeps for the next
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        app.get(PAGE)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert answers[-1].was_quick
    assert kept < 20
    assert peak - before <= MAX_BYTES < len(answers[-1].body) / 2


def kept_blocks() -> int:
    """Return how many blocks of memory Python has allocated, without garbage."""
    gc.collect()
    return sys.getallocatedblocks()
