"""The pages for people of public packages: of a project, its releases, files and history."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.distributions import make_sdist, make_wheel
from tests.fake_time import Clock
from tests.http.in_process import InProcessServer
from tests.http.packages import publish
from tests.http.servers import token_of
from tests.upstream.fake_pages import FakeFile, Fault, basic
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import metadata_in, private_wheel, public_wheel
from tests.upstream.reading import SOURCE, ReadResponse, file_of, look
from tests.upstream.settings import front, serving
from tests.waiting import until
from wheelyard.settings.sections import AccessSettings
from wheelyard.storage.memory import MemoryStore
from wheelyard.upstream.decisions import Deciding

pytestmark = pytest.mark.integration

HTML = "text/html"
FIELDS = (
    "Summary: HTTP for people",
    "License-Expression: Apache-2.0",
    "Project-URL: Homepage, https://requests.example.com/",
    "Project-URL: Bad, javascript:alert(1)",
    "Requires-Dist: acme-core>=1",
    "Requires-Dist: urllib3",
    "Description-Content-Type: text/markdown",
    "\n# Hello\n\nIt is *fine*. <script>alert(1)</script><img src=x onerror=alert(1)>\n",
)
LACKS = b"core metadata of this release could not be read"


@pytest.fixture
def public(upstream: FakeUpstream) -> FakeUpstream:
    """An upstream that has two releases of one project."""
    upstream.publish(
        public_wheel("requests", "1.0", "Summary: Old"), public_wheel("requests", "2.0", *FIELDS)
    )
    return upstream


@pytest.fixture
def server(tmp_path: Path, public: FakeUpstream) -> Iterator[InProcessServer]:
    """A server before the upstream, with a private package."""
    with front(tmp_path, public) as running:
        running.publish(private_wheel("acme-core", "1.0", "Requires-Dist: requests"))
        yield running


def described(server: InProcessServer) -> ReadResponse:
    """Return the page of the project `requests` as soon as it has its description."""
    until(lambda: "etag" in page(server).headers)
    return page(server)


def page(server: InProcessServer, path: str = "", **headers: str) -> ReadResponse:
    """Ask for the page of the project `requests` or one below it."""
    return look(server, f"/project/requests/{path}", accept=HTML, **headers)


def deciding(server: InProcessServer) -> Deciding:
    """Return what makes decisions in the name of Ana."""
    return Deciding(server.index.server.decisions, "local:ana", None, server.index.upstream)


def test_a_public_project_has_a_whole_page(server: InProcessServer) -> None:
    """A public project has description, licence, links, dependencies, releases and users here."""
    shown = described(server)

    assert shown.headers[SOURCE] == "upstream"
    for wanted in (
        *(b"HTTP for people", b"Apache-2.0", b"It is <em>fine</em>.", b"urllib3"),
        *(b'href="https://requests.example.com/"', b'href="2.0/"', b'href="1.0/"'),
        *(b'<a href="../../project/acme-core/">acme-core</a>', b'<a href="../acme-core/">'),
        *(b"upstream index <strong>public</strong>", b'href="../../project/requests/history/"'),
    ):
        assert wanted in shown.body
    for unwanted in (
        *(b"<script>alert", b"onerror", b'"javascript:', b"feed.xml", b"urllib3</a>"),
        *(b"Downloads", b"in 30 days"),  # nobody counts those of public packages
    ):
        assert unwanted not in shown.body


def test_each_release_has_a_page(server: InProcessServer) -> None:
    """Each release has a page of its own; other spellings lead to it; others are 404."""
    shown = page(server, "1.0/")

    assert (shown.status, shown.headers[SOURCE]) == (200, "upstream")
    assert b"Old" in shown.body
    assert b"This is not the latest release." in shown.body
    assert page(server, "1/").headers["location"] == "/project/requests/1.0/"
    moved = look(server, "/project/Requests/1.0.0/")
    assert (moved.status, moved.headers["location"]) == (301, "/project/requests/1.0/")
    for missing in ("3.0/", "nonsense/", "3.0/files/", "1.0/files/?page=2"):
        assert page(server, missing).status == 404
    assert b"requests has no release" in page(server, "3.0/").body


def test_pages_of_files(server: InProcessServer, public: FakeUpstream) -> None:
    """A public release with more than a hundred files has pages of them, as a private one has."""
    tags = [f"cp3{minor}-cp3{minor}-manylinux_2_{n}_x86_64" for minor in (8, 9) for n in range(70)]
    for tag in tags:
        public.publish(make_wheel("large", "1.0", tag=tag))

    second, some = (
        look(server, f"/project/large/1.0/files/?{query}", accept=HTML)
        for query in ("page=2", "python=cp39")
    )

    assert (second.status, second.headers[SOURCE]) == (200, "upstream")
    assert b"101 to 140 of 140 files" in second.body
    assert b"1 to 70 of 70 files that match, of 140." in some.body


def test_pages_are_for_no_shared_cache(server: InProcessServer) -> None:
    """A public name may become private at any time, so no cache of others keeps its pages."""
    described(server)
    for path in ("", "2.0/", "history/"):
        shown = page(server, path)
        assert "public" not in shown.headers["cache-control"]
        assert "s-maxage" not in shown.headers["cache-control"]
        assert page(server, path, if_none_match=shown.headers["etag"]).status == 304


def test_pages_are_remembered(server: InProcessServer, public: FakeUpstream) -> None:
    """A page is made of what was fetched before; nothing is asked twice."""
    first = described(server)
    asked = len(public.asked("requests"))
    again = server.get("/project/requests/", ("accept", HTML))

    assert first.body == again.body
    assert again.was_quick
    assert page(server, "2.0/").status == 200
    assert len(public.asked("requests")) == asked


def test_links_follow_the_projects_of_this_index(server: InProcessServer) -> None:
    """A dependency that is published here later is a link then."""
    assert b"urllib3</a>" not in page(server).body
    server.publish(private_wheel("urllib3", "1.0"))
    assert b'<a href="../../project/urllib3/">urllib3</a>' in page(server).body


def test_what_others_may_not_see(tmp_path: Path, public: FakeUpstream) -> None:
    """A page names no private project that its reader may not read, and is for readers alone."""
    access = AccessSettings(private=True)
    with front(tmp_path, public, access=access) as server:
        server.publish(private_wheel("acme-core", "1.0", "Requires-Dist: requests"))
        other = {"authorization": basic("__token__", token_of(server.index, "other", can="read"))}
        everyone = {"authorization": basic("__token__", token_of(server.index, can="read"))}
        for path in ("", "2.0/", "2.0/files/2/", "history/"):
            assert page(server, path).status == 401
        for headers, is_link in ((everyone, True), (other, False), (everyone, True)):
            shown = page(server, **headers)
            assert (b'project/acme-core/"' in shown.body) is is_link
            assert (b"Used by" in shown.body) is is_link
            assert page(server, "history/", **headers).status == 200


def test_an_sdist_has_a_page(server: InProcessServer, public: FakeUpstream) -> None:
    """A release without a wheel has a page without description, and it is not said to be lost."""
    public.behave("plain", Fault.NO_SIZE, Fault.NO_UPLOAD_TIME, Fault.NO_HASH)
    public.publish(make_sdist("plain", "1.0", "Summary: not read"))
    for path in ("/project/plain/", "/project/plain/1.0/"):
        shown = look(server, path)
        assert shown.status == 200
        assert LACKS not in shown.body
        assert b"not known" in shown.body
        assert b"not read" not in shown.body


@pytest.mark.parametrize("fault", [500, 404, Fault.WRONG_BYTES, Fault.TRUNCATE])
def test_core_metadata_that_does_not_come(
    server: InProcessServer, public: FakeUpstream, fault: Fault | int
) -> None:
    """A page says that its core metadata is missing, is kept by nobody, and is whole later."""
    public.behave_files("requests", fault)
    for path in ("", "2.0/"):
        lacking = page(server, path)
        assert lacking.status == 200
        assert LACKS in lacking.body
        assert b"HTTP for people" not in lacking.body
        assert lacking.headers["cache-control"] == "no-store"
        assert lacking.headers[SOURCE] == "upstream"
    public.behave_files("requests")
    server.clock.advance(hours=1)
    for path in ("", "2.0/"):
        whole = page(server, path)
        assert LACKS not in whole.body
        assert b"HTTP for people" in whole.body


def test_core_metadata_without_a_digest(server: InProcessServer, public: FakeUpstream) -> None:
    """An index that says no digest of core metadata, or of files, has whole pages all the same."""
    public.behave("requests", Fault.UNHASHED_METADATA, Fault.NO_HASH)
    for _ in range(2):
        assert b"HTTP for people" in page(server).body


def test_core_metadata_of_another_project(server: InProcessServer, public: FakeUpstream) -> None:
    """What a wheel says of another project is not shown under this name."""
    made = FakeFile.of(public_wheel("requests", "3.0"))
    stolen = FakeFile(
        filename=made.filename,
        body=made.body,
        metadata=metadata_in(public_wheel("acme-core", "3.0", "Summary: STOLEN").body),
    )
    public.publish(stolen)

    shown = page(server, "3.0/")

    assert shown.status == 200
    assert b"STOLEN" not in shown.body


def test_a_blocked_licence(tmp_path: Path, public: FakeUpstream) -> None:
    """A page that learns of a blocked licence does not show that release, nor does the next one."""
    with front(tmp_path, public, blocked_licenses=("Apache-2.0",)) as server:
        first, later, search = page(server), page(server), look(server, "/?q=requests", accept=HTML)

    assert b"HTTP for people" not in first.body + later.body + search.body
    assert [first.status, later.status] == [200, 200]
    assert b"Old" in first.body
    assert b"Old" in later.body


def test_decisions_change_the_pages(server: InProcessServer) -> None:
    """What is blocked is hidden, with who did that and why; its release says so, too."""
    assert {page(server, path).status for path in ("", "2.0/")} == {200}
    decide = deciding(server)
    decide.approve(NormalizedName("requests"), Version("1.0"), "looked at it")
    assert b"approved requests 1.0, 1 file (looked at it)" in page(server).body
    decide.block(NormalizedName("requests"), Version("2.0"), "see <TICKET-7>")

    shown, missing = page(server), page(server, "2.0/")

    assert b"blocked requests 2.0 (see &lt;TICKET-7&gt;)" in shown.body
    assert b'<h1>requests <span class="version">1.0</span>' in shown.body
    assert missing.status == 404
    assert b"see &lt;TICKET-7&gt;" in missing.body
    assert b"or ask the operator to let it through." in missing.body
    assert b"TICKET" not in page(server, "1.0/").body


def test_the_history_has_what_was_decided(server: InProcessServer) -> None:
    """The history of a public project is what was decided about it, newest first."""
    assert b"Nobody has decided anything about it." in page(server, "history/").body
    decide = deciding(server)
    decide.block(NormalizedName("requests"), None, "first")
    decide.block(NormalizedName("flask"), None, "of another")
    server.clock.advance(hours=1)
    decide.approve(NormalizedName("requests"), None, "second")

    shown = page(server, "history/")

    assert shown.headers[SOURCE] == "upstream"
    before, _, after = shown.body.partition(b"second")
    assert b"approved requests" in before
    assert b"ana, on the command line" in after
    assert b"blocked requests (first)" in after
    assert b"of another" not in shown.body
    assert b"feed.xml" not in shown.body
    assert page(server, "history/1/").status == 404
    assert (
        look(server, "/project/Requests/history/")
        .headers["location"]
        .endswith("/project/requests/history/")
    )
    assert look(server, "/project/nobody-has-it/history/").status == 404


def test_the_history_of_a_private_project_is_its_own(server: InProcessServer) -> None:
    """Decisions that were made before a name was private are not in its history."""
    deciding(server).block(NormalizedName("requests"), None, "TICKET-7")
    assert b"TICKET-7" in page(server, "history/").body
    with_check_off(server)

    shown = page(server, "history/")

    assert b"TICKET-7" not in shown.body
    assert b"uploaded 1.0" in shown.body
    assert SOURCE not in shown.headers or shown.headers[SOURCE] == "private"


def with_check_off(server: InProcessServer) -> None:
    """Publish `requests` as a private package, as a process without an upstream index does."""
    server.index.projects.names.claim(NormalizedName("requests"))
    server.publish(private_wheel("requests", "1.0"))


@pytest.mark.parametrize("path", ["/project/lately/", "/project/lately/99.0/", "/pypi/lately/json"])
def test_a_name_that_becomes_private_meanwhile(
    tmp_path: Path, upstream: FakeUpstream, path: str
) -> None:
    """A page that waits for core metadata shows nothing public once its name is private."""
    upstream.publish(public_wheel("lately", "99.0", "Summary: STRANGER"))
    gate = upstream.hold_metadata("lately")
    with serving(tmp_path, upstream, shadow=("lately",)) as server, ThreadPoolExecutor() as pool:
        waiting = pool.submit(look, server, path)
        until(lambda: any(each.path.endswith(".metadata") for each in upstream.requests))
        publish(server, private_wheel("lately", "1.0"))
        gate.set()
        seen = waiting.result()

    assert b"STRANGER" not in seen.body
    assert b"A public package" not in seen.body
    assert b"99.0-py3" not in seen.body
    assert seen.status in {200, 404}


@pytest.mark.parametrize(
    ("rules", "suffix"),
    [
        pytest.param({"blocked_licenses": ("AGPL-*",)}, ".metadata", id="licence"),
        pytest.param({}, ".metadata", id="core metadata"),
        pytest.param({}, "", id="kept"),
    ],
)
def test_a_file_whose_name_becomes_private_meanwhile(
    tmp_path: Path, upstream: FakeUpstream, rules: dict[str, Any], suffix: str
) -> None:
    """A request for a file that waits for an upstream gets nothing public of a private name."""
    upstream.publish(public_wheel("lately", "99.0", "Summary: STRANGER"))
    gate, filename = upstream.hold_metadata("lately"), "lately-99.0-py3-none-any.whl"
    files_gate = upstream.hold_files("lately")
    with (
        serving(tmp_path, upstream, shadow=("lately",), **rules) as server,
        ThreadPoolExecutor() as pool,
    ):
        waiting = pool.submit(file_of, server, "lately", filename, suffix)
        until(lambda: any(each.path.endswith(f"{filename}{suffix}") for each in upstream.requests))
        publish(server, private_wheel("lately", "1.0"))
        gate.set()
        files_gate.set()
        seen = waiting.result()

    assert (seen.status, b"STRANGER" in seen.body) == (404, False)


def test_stale_pages_say_so(server: InProcessServer, public: FakeUpstream) -> None:
    """While the upstream does not answer, a page says of when it is."""
    page(server)
    fetched = server.clock.now
    public.stop()
    server.clock.advance(hours=2)

    stale = page(server)

    assert (stale.headers[SOURCE], stale.headers["age"]) == ("upstream-stale", "7200")
    assert f'what it had on <time datetime="{fetched:%Y-%m-%dT%H:%M}'.encode() in stale.body
    assert b"HTTP for people" in stale.body


def test_offline_pages_have_what_the_store_has(tmp_path: Path, public: FakeUpstream) -> None:
    """Offline, pages have what the store has, and no more; nobody is asked."""
    store = MemoryStore(Clock().seconds)
    with front(tmp_path, public, store=store) as online:
        for version in ("1.0", "2.0"):
            file_of(online, "requests", f"requests-{version}-py3-none-any.whl")
        page(online, "2.0/")
        until(lambda: sum(each.key.endswith(".whl") for each in store.list("upstream/")) == 2)
        deciding(online).approve(NormalizedName("requests"), None, "fine")
    asked = len(public.requests)
    with front(tmp_path, public, store=store, offline=True) as server:
        shown, bare, history = page(server), page(server, "1.0/"), page(server, "history/")

    assert b"HTTP for people" in shown.body
    assert LACKS not in shown.body
    assert (bare.status, b"Old" in bare.body) == (200, False)
    assert b"approved requests" in history.body
    assert len(public.requests) == asked
