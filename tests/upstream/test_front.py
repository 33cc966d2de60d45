"""A server before an upstream index: pages and files of names that are not private."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from random import Random

import pytest
from packaging.utils import canonicalize_name

from tests.distributions import make_wheel
from tests.fake_time import Clock
from tests.http.in_process import InProcessServer, in_process
from tests.http.packages import publish
from tests.index_tables import toml_of
from tests.operations.old_sdists import old_sdist
from tests.upstream.fake_pages import Fault
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.reading import SOURCE, file_of, link_of, look, page_of
from tests.upstream.settings import front, serving, upstream_section
from tests.waiting import until
from wheelyard.http import upstream_reader
from wheelyard.http.upstream_reader import UPSTREAM_THREADS
from wheelyard.model.public_packages import Decision, Verdict
from wheelyard.settings.sections import ServerSettings, Settings
from wheelyard.storage.local import LocalStore
from wheelyard.storage.memory import MemoryStore

WHEEL = "requests-2.0-py3-none-any.whl"
HTML = "application/vnd.pypi.simple.v1+html"


@pytest.fixture
def public(upstream: FakeUpstream) -> FakeUpstream:
    """An upstream that has one project."""
    upstream.publish(public_wheel("requests", "2.0"))
    return upstream


@pytest.fixture
def server(tmp_path: Path, public: FakeUpstream) -> Iterator[InProcessServer]:
    """A server before the upstream."""
    store = LocalStore(tmp_path / "store", Random(1))
    with front(tmp_path, public, store=store) as running:
        yield running


def test_one_question_serves_every_format_of_a_page(
    server: InProcessServer, public: FakeUpstream
) -> None:
    """JSON, HTML, HEAD, 304 and 412 are as for private projects; one question serves them all."""
    first = page_of(server, "requests")
    html = look(server, "/simple/requests/", accept=HTML)
    etag = first.headers["etag"]

    assert (first.headers[SOURCE], first.page["meta"]) == ("upstream", {"api-version": "1.4"})
    assert b'data-core-metadata="sha256=' in html.body
    assert page_of(server, "requests", if_none_match=etag).status == 304
    assert page_of(server, "requests", if_match='"x"').status == 412
    head = server.get("/simple/requests/", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert look(server, "/simple/Requests/").headers["location"] == "/simple/requests/"
    assert len(public.asked("requests")) == 1


def test_a_page_is_repeated(server: InProcessServer) -> None:
    """A repeated request is answered from memory, until the page is old or the name private."""
    page_of(server, "requests")
    assert server.get("/simple/requests/").was_quick is False
    assert server.get("/simple/requests/").was_quick is True

    server.clock.advance(seconds=601)
    assert server.get("/simple/requests/").was_quick is False
    assert server.get("/simple/requests/").was_quick is True
    assert server.index.upstream is not None
    server.index.upstream.names.claim(canonicalize_name("requests"))
    claimed = server.get("/simple/requests/")
    assert (claimed.was_quick, claimed.headers[SOURCE]) == (False, "private")


def test_a_page_without_digests_has_each_digest_that_becomes_known(
    server: InProcessServer, public: FakeUpstream
) -> None:
    """A page without digests is asked for again and again, and has that of a fetched file."""
    public.behave("requests", Fault.NO_HASH)
    before = [page_of(server, "requests") for _ in range(2)]
    link = link_of(server, "requests", WHEEL)

    assert server.get(link).status == 200
    after = page_of(server, "requests")

    digests = [[file["hashes"] for file in each.page["files"]] for each in (*before, after)]
    assert digests == [[{}], [{}], [{"sha256": public_wheel("requests", "2.0").sha256}]]


def test_a_file_comes_from_the_upstream_once(server: InProcessServer, public: FakeUpstream) -> None:
    """A file comes from the upstream once, and then from the store."""
    body = public_wheel("requests", "2.0").body
    link = link_of(server, "requests", WHEEL)

    first = server.get(link)
    wait_until_kept(server, link)
    again = server.get(link)
    part = look(server, link, range="bytes=2-5")
    head = server.get(link, method="HEAD")

    assert (first.body, again.body) == (body, body)
    assert (part.status, part.body) == (206, body[2:6])
    assert (head.status, head.headers["content-length"]) == (200, str(len(body)))
    assert look(server, link, if_none_match=head.headers["etag"]).status == 304
    assert file_of(server, "requests", WHEEL, ".metadata").body.startswith(b"Metadata-Version")
    assert "private" in head.headers["cache-control"]
    assert len(public.asked("requests")) == 3


def test_a_question_about_a_file_downloads_nothing(
    server: InProcessServer, public: FakeUpstream
) -> None:
    """HEAD, 304 and 412 are answered from the page; the upstream is not asked for the file."""
    digest, size = public_wheel("requests", "2.0").sha256, len(public_wheel("requests", "2.0").body)
    link = link_of(server, "requests", WHEEL)

    head = server.get(link, method="HEAD")

    assert (head.status, head.headers["content-length"]) == (200, str(size))
    assert digest in head.headers["etag"]
    assert look(server, link, if_none_match=head.headers["etag"]).status == 304
    assert look(server, link, if_match='"x"').status == 412
    assert public.asked_files("requests") == []


def test_a_file_of_unknown_size_comes_whole(server: InProcessServer, public: FakeUpstream) -> None:
    """A file whose page tells no size has no length before it is fetched, and comes whole."""
    public.behave("requests", Fault.NO_SIZE)
    link = link_of(server, "requests", WHEEL)

    head = server.get(link, method="HEAD")

    assert (head.status, "content-length" in head.headers) == (200, False)
    assert server.get(link).body == public_wheel("requests", "2.0").body


def test_a_listed_file_that_the_upstream_lacks(
    server: InProcessServer, public: FakeUpstream
) -> None:
    """A file that its index lists and does not have is not found, which says what else to do."""
    public.behave_files("requests", 404)

    seen = file_of(server, "requests", WHEEL)

    assert seen.status == 404
    assert b"lists a file of requests that it does not have. Try again later" in seen.body


def test_metrics_have_each_request_once_and_no_names(server: InProcessServer) -> None:
    """The metrics have each request once, what was blocked, and no name of a project."""
    page_of(server, "requests")
    page_of(server, "requests", accept=HTML)
    page_of(server, "team-new")
    file_of(server, "requests", WHEEL)

    # a request is counted when its connection is closed, which is after the last byte
    until(lambda: b'{kind="file",status="200"} 1.0' in look(server, "/metrics").body)
    text = look(server, "/metrics").body.decode()
    for line in (
        'requests_total{kind="page",status="200"} 1.0',
        'requests_total{kind="file",status="200"} 1.0',
        'blocked_total{reason="private"} 1.0',
        'cache_total{kind="page",result="miss"} 1.0',
        'cache_total{kind="page",result="hit"} 2.0',
        'cache_total{kind="file",result="miss"} 1.0',
        'seconds_count{kind="page"} 1.0',
        "digest_change_total 0.0",
        "inflight 0.0",
    ):
        assert f"wheelyard_upstream_{line}" in text
    assert "team-new" not in text


def test_public_projects_have_the_json_of_pypi(
    server: InProcessServer, public: FakeUpstream
) -> None:
    """PyPI's JSON has the releases of a public project, with links to this index."""
    public.publish(public_wheel("requests", "3.0"))

    whole = look(server, "/pypi/Requests/json").page
    old = look(server, "/pypi/requests/2.0/json").page

    assert (whole["info"]["name"], whole["info"]["version"]) == ("requests", "3.0")
    assert set(whole["releases"]) == {"2.0", "3.0"}
    assert old["info"]["version"] == "2.0"
    assert old["urls"][0]["url"].startswith("/files/requests/")
    assert look(server, "/pypi/requests/4.0/json").status == 404
    assert server.get("/pypi/Requests/json").was_quick is True


def test_downloads_of_public_projects_are_not_counted(server: InProcessServer) -> None:
    """Whoever asks for the downloads of a public project is told that nobody counts them."""
    answer = look(server, "/project/requests/downloads/")

    assert answer.status == 404
    assert b"Downloads of public packages are not counted." in answer.body


def test_a_url_without_a_project_opens_the_only_file_of_its_name(
    server: InProcessServer, public: FakeUpstream
) -> None:
    """A filename that two public projects may have opens the file of the only one that has it."""
    made = old_sdist("foo-1", "2")
    public.publish(made, old_sdist("foo", "1"))

    answer = look(server, f"/packages/{made.filename}")

    assert (answer.status, answer.body) == (200, made.body)


def test_a_blocked_version_is_hidden_and_says_why(server: InProcessServer) -> None:
    """A blocked version is hidden and says why to people; its files are refused with why."""
    link = link_of(server, "requests", WHEEL)
    assert server.get(link).status == 200
    assert b"2.0" in look(server, "/project/requests/").body
    decision = Decision(
        at=server.clock.now,
        by="local:ana",
        verdict=Verdict.BLOCKED,
        project=canonicalize_name("requests"),
        version="2",
        reason="see <TICKET-7>",
    )
    server.index.server.decisions.change(lambda _: (decision,))

    page, refused = look(server, "/project/requests/"), look(server, link)

    assert page_of(server, "requests").page["files"] == []
    assert b"see &lt;TICKET-7&gt;" in page.body
    for seen in (page, server.get(link, ("Accept", "text/html"))):
        assert b"or ask the operator to let it through." in seen.body
        assert b"wheelyard upstream" not in seen.body
    assert "'wheelyard upstream approve" in json.loads(refused.body)["message"]
    assert (refused.status, json.loads(refused.body)["error"]) == (403, "blocked")
    assert look(server, f"{link}.metadata").status == 403
    assert look(server, "/project/requests/1.0/").status == 404


def test_each_release_leads_to_what_it_needs_itself(
    server: InProcessServer, public: FakeUpstream
) -> None:
    """The page of a release links to its own dependencies, also where its index has no digests."""
    public.behave("flask", Fault.UNHASHED_METADATA, Fault.NO_HASH)
    needed = {"1.0": "acme-core", "2.0": "acme-cli"}
    for version, name in needed.items():
        server.publish(make_wheel(name))
        public.publish(public_wheel("flask", version, f"Requires-Dist: {name}"))

    for version, name in needed.items():
        page = look(server, f"/project/flask/{version}/").body.decode()
        assert f'/project/{name}/">{name}</a>' in page


def test_a_page_says_that_its_core_metadata_is_gone(
    server: InProcessServer, public: FakeUpstream, tmp_path: Path
) -> None:
    """A page says that its core metadata is missing, also if another page was made of it before."""
    lacks = b"core metadata of this release could not be read"
    assert lacks not in look(server, "/project/requests/2.0/").body
    for stored in (tmp_path / "store").rglob("*.metadata"):
        stored.unlink()
    public.behave_files("requests", 500)

    page = look(server, "/project/requests/2.0/dependencies/")
    assert (page.status, lacks in page.body) == (200, True)


def test_names_that_are_not_asked_for(tmp_path: Path, public: FakeUpstream) -> None:
    """A denied name is 404 and one without approval an empty page; the upstream is not asked."""
    with front(tmp_path, public, deny=("requests",), approval=True) as server:
        assert page_of(server, "requests").status == 404
        assert page_of(server, "flask").page["files"] == []
        assert look(server, "/files/flask/flask-1.0.tar.gz").status == 403
        page = look(server, "/project/flask/").body
        assert b"flask is not approved. Ask the operator to approve it." in page
    assert public.requests == []


def test_private_names_without_a_project(tmp_path: Path, public: FakeUpstream) -> None:
    """Private names without a project have an empty page, or none if the operator wants that."""
    with front(tmp_path, public) as server:
        assert look(server, "/simple/Team_New/").status == 301
        assert page_of(server, "team-new").page["files"] == []
        assert page_of(server, "team-new").headers[SOURCE] == "private"
    with front(tmp_path, public, private_missing="404") as server:
        assert page_of(server, "team-new").status == 404
    assert public.requests == []


def test_an_index_does_not_ask_itself_for_ever(
    server: InProcessServer, public: FakeUpstream
) -> None:
    """An index that is its own upstream says so, and does not ask itself for ever."""
    page_of(server, "requests")
    sent = public.asked("requests")[0].header("via") or ""

    assert page_of(server, "flask", via=sent).status == 508
    assert page_of(server, "flask", via="1.1 other").status == 404


def test_offline_never_asks_to_wait(tmp_path: Path, public: FakeUpstream) -> None:
    """Offline, no client is told to try again: it would wait, and get the same answer."""
    with front(tmp_path, public, offline=True) as server:
        for path in ("/simple/requests/", "/files/requests/1/requests-1.tar.gz"):
            answer = look(server, path)
            assert answer.status == 503
            assert "retry-after" not in answer.headers
            assert "upstream.offline" in json.loads(answer.body)["message"]
        page = server.get("/project/requests/", ("Accept", "text/html")).body.decode()
        lead, _, rest = page.partition("What you can do")
        assert "<h1>This index works offline</h1>" in lead
        assert (
            "opens no connection to others (upstream.offline), and requests is not in it." in lead
        )
        assert "wheelyard upstream" not in lead
        assert "To load this page again does not help." in rest
        assert "What is installed through this store where there is a connection" in rest


def test_offline_a_page_has_a_file_that_comes_into_the_store(
    tmp_path: Path, public: FakeUpstream
) -> None:
    """Offline, a page that was just asked for has a file as soon as the store gets it."""
    public.publish(public_wheel("requests", "1.0"))
    store = MemoryStore(Clock().seconds)
    old = "requests-1.0-py3-none-any.whl"

    def is_stored(filename: str) -> bool:
        return any(entry.key.endswith(filename) for entry in store.list("upstream/"))

    with (
        front(tmp_path, public, store=store) as online,
        front(tmp_path, public, store=store, offline=True) as server,
    ):
        shown = list[list[bool]]()
        for filename in (old, WHEEL):
            file_of(online, "requests", filename)
            until(partial(is_stored, filename))
            pages = [server.get("/simple/requests/").body.decode() for _ in range(3)]
            shown += [[name in page for name in (old, WHEEL)] for page in pages]
    assert shown == [[True, False]] * 3 + [[True, True]] * 3


def test_a_read_only_server_passes_files_on(tmp_path: Path, public: FakeUpstream) -> None:
    """A server that writes nothing passes files on, and leaves the store as it was."""
    store = MemoryStore(Clock().seconds)
    section = upstream_section(public)
    with in_process(tmp_path, Settings(upstream=section), store=store):
        before = [*store.list("")]
    osv = tmp_path / "osv.json"
    affected = {"package": {"ecosystem": "PyPI", "name": "evil"}}
    osv.write_text(json.dumps({"id": "MAL-1", "affected": [affected]}))
    section = upstream_section(public, osv=str(osv))
    settings = Settings(upstream=section, server=ServerSettings(read_only=True))
    with in_process(tmp_path, settings, store=store) as server:
        for _ in range(2):
            body = file_of(server, "requests", WHEEL).body
            assert body == public_wheel("requests", "2.0").body
        assert file_of(server, "requests", WHEEL, ".metadata").status == 200
    assert [*store.list("")] == before
    assert len(public.asked("requests")) == 4


def test_a_name_that_no_grant_covers_is_not_asked_for(tmp_path: Path, public: FakeUpstream) -> None:
    """Without a credential, a name that no grant covers is not asked for."""
    grant = {"who": ["anonymous"], "projects": ["team-*"], "actions": ["read"]}
    settings, main = Settings(upstream=upstream_section(public)), {"read": "granted"}
    with in_process(tmp_path, settings, tables=toml_of(main=main, grant=[grant])) as server:
        for path in ("/simple/requests/", f"/files/requests/{WHEEL}", "/pypi/requests/json"):
            assert look(server, path).status == 401
        assert look(server, "/simple/team-new/").status == 200
    assert public.requests == []


def wait_until_kept(server: InProcessServer, link: str) -> None:
    """Wait until a file is in the store."""
    folder = server.folder / "store" / "upstream"
    until(lambda: any(link.endswith(each.name) for each in folder.glob("*/files/*/*/*")))


def test_removed_files_are_served_only_if_they_are_kept(
    tmp_path: Path, public: FakeUpstream
) -> None:
    """A file that has left its page is not served any more, unless the operator keeps them."""
    public.publish(public_wheel("requests", "3.0"))
    store = LocalStore(tmp_path / "store", Random(1))
    for kept, status in ((False, 404), (True, 200)):
        with front(tmp_path, public, store=store, keep_removed=kept, page_ttl=0) as server:
            public.publish(public_wheel("requests", "2.0"))
            link = link_of(server, "requests", WHEEL)
            assert look(server, link).status == 200
            wait_until_kept(server, link)
            public.withdraw(WHEEL)
            server.clock.advance(seconds=1)
            assert list(page_of(server, "requests").files) == ["requests-3.0-py3-none-any.whl"]
            assert look(server, link).status == status


@pytest.mark.slow
def test_many_unknown_names(server: InProcessServer, public: FakeUpstream) -> None:
    """A client that tries names is stopped before the upstream is asked; known ones still work."""
    answers = [page_of(server, f"guess-{number}").status for number in range(302)]

    assert answers == [404] * 300 + [429] * 2
    assert len(public.requests) == 300
    assert page_of(server, "guess-1").status == 404


def test_unknown_names_alone_are_guesses(
    tmp_path: Path, public: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What counts as a guess is a name that the upstream index lacks, and none that it has."""
    monkeypatch.setattr(upstream_reader, "UNKNOWN_NAMES_PER_MINUTE", 2)
    with front(tmp_path, public, page_ttl=0) as server:
        names = ("requests", "guess-1", "guess-2", "guess-3")
        answers = [page_of(server, name).status for name in names]

    assert answers == [200, 404, 404, 429]
    assert public.asked("guess-3") == []


@pytest.mark.integration
def test_private_packages_do_not_wait(tmp_path: Path, public: FakeUpstream) -> None:
    """While more requests wait for an upstream than it gets threads, private ones do not."""
    names = [f"slow-{number}" for number in range(UPSTREAM_THREADS // 2 + 8)]
    gates = [public.hold(name) for name in names]
    with serving(tmp_path, public) as server, ThreadPoolExecutor(len(names)) as pool:
        publish(server, make_wheel("team-core"))
        waiting = [pool.submit(server.client.get, f"/simple/{name}/") for name in names]
        until(lambda: len(public.requests) == UPSTREAM_THREADS // 4)

        assert page_of(server, "team-core").page["versions"] == ["1.0"]
        assert page_of(server, "team-none").page["versions"] == []
        assert not any(each.done() for each in waiting)
        for gate in gates:
            gate.set()
        assert {each.result().status_code for each in waiting} == {404}


def test_place_of_its_own(tmp_path: Path, public: FakeUpstream) -> None:
    """What is kept of upstream indexes may have a folder of its own."""
    place = tmp_path / "kept"
    with front(tmp_path, public, bucket=str(place)) as server:
        assert file_of(server, "requests", WHEEL).status == 200
        until(lambda: len(list(place.glob("upstream/*/files/requests/*/*"))) == 1)
        assert not list(server.index.files.store.list("upstream/"))
