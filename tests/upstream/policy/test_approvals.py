"""Approvals are about the files that were listed when they were made, and remember them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.fake_store import ALWAYS, FakeStore, FaultKind
from tests.fake_store import Fault as StoreFault
from tests.fake_time import START
from tests.http.in_process import InProcessServer, in_process
from tests.upstream.fake_pages import FakeFile, Fault
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.reading import file_of, look, page_of
from tests.upstream.settings import close, upstream_section
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.catalog import keys
from wheelyard.errors import Conflict, Invalid, NotFound, Unavailable, WheelyardError
from wheelyard.model.access import Action
from wheelyard.model.public_packages import Verdict
from wheelyard.settings.sections import ServerSettings, Settings
from wheelyard.storage.base import Store
from wheelyard.storage.memory import MemoryStore
from wheelyard.upstream.decisions import Deciding, Target

DEMO = NormalizedName("demo")
ONE = Version("1.0")
HOUR = timedelta(hours=1)
FIRST = "demo-1.0-py3-none-any.whl"
ADDED = "demo-1.0-py3-none-manylinux_2_17_x86_64.whl"
NOT_AMONG = "This file is not among those of demo 1.0 that were approved on 2026-01-01."
HTML = "text/html"


@pytest.fixture
def public(upstream: FakeUpstream) -> FakeUpstream:
    """An upstream with `demo` 1.0, which appeared an hour ago."""
    upstream.publish(FakeFile.of(public_wheel("demo", "1.0"), START - HOUR))
    return upstream


@pytest.fixture
def store() -> MemoryStore:
    """What the servers of a test have in common."""
    return MemoryStore(START.timestamp)


@contextmanager
def serving(
    folder: Path,
    public: FakeUpstream,
    store: Store,
    *,
    now: datetime = START,
    read_only: bool = False,
    **more: Any,  # noqa: ANN401
) -> Iterator[InProcessServer]:
    """Yield a server over the store, with a cooldown of three days, that starts at this time."""
    section = upstream_section(public, **({"cooldown_days": 3} | more))
    settings = Settings(upstream=section, server=ServerSettings(read_only=read_only))
    with in_process(folder, settings, store=store) as server:
        server.clock.now = now
        try:
            yield server
        finally:
            close(server.index)


def deciding(server: InProcessServer) -> Deciding:
    """Return what makes decisions in the name of Ana."""
    return Deciding(server.index.server.decisions, "local:ana", None, server.index.upstream)


def add(public: FakeUpstream, at: datetime, filename: str = ADDED) -> None:
    """Add a wheel to `demo` 1.0."""
    made = FakeFile.of(public_wheel("demo", "1.0", "Summary: another"), at)
    public.publish(replace(made, filename=filename))


def filenames(server: InProcessServer) -> list[str]:
    """Return what clients see of `demo`."""
    return [*page_of(server, "demo").files]


def approved_digests(server: InProcessServer) -> tuple[str, ...] | None:
    """Return the digests of the approval of `demo` 1.0 in the store."""
    known = server.index.server.decisions.get("current").value
    assert known is not None
    return known.by_project[DEMO].versions["1"].sha256


@pytest.mark.parametrize("rule", [{}, {"approval": True, "cooldown_days": 0}])
def test_a_file_that_is_added_later(
    tmp_path: Path, public: FakeUpstream, store: Store, rule: dict[str, Any]
) -> None:
    """A file that is added later is not approved with its version; `why` and pages say so."""
    with serving(tmp_path, public, store, **rule) as server:
        deciding(server).approve(DEMO, ONE, "a fix")
        assert filenames(server) == [FIRST]
        server.clock.advance(hours=1)
        add(public, server.clock.now)
        assert filenames(server) == [FIRST]
        assert server.index.upstream is not None
        explained = server.index.upstream.explain(DEMO, ONE, may_read=True)
        texts = {each.filename: [why.text for why in each.reasons] for each in explained.files}
        assert texts[FIRST] == []
        assert [each.startswith(NOT_AMONG) for each in texts[ADDED]] == [True]
        assert "demo 1.0 is not approved" not in texts[ADDED][0]
        project, releases = (
            look(server, f"/project/demo/{tab}", accept=HTML).body.decode()
            for tab in ("", "releases/")
        )
        assert "approved demo 1.0, 1 file (a fix)" in project
        assert 'href="releases/#hidden"' in project
        assert NOT_AMONG in releases
    with serving(tmp_path, public, store) as free:
        free.clock.now += timedelta(days=4)
        link = page_of(free, "demo").files[ADDED]["url"].removeprefix("../..")
    with serving(tmp_path, public, store, **rule) as server:
        refused = look(server, link)
        assert (refused.status, NOT_AMONG.encode() in refused.body) == (403, True)
        deciding(server).approve(DEMO, ONE, "both")
        assert filenames(server) == [FIRST, ADDED]


def test_an_approved_project_has_later_files_too(
    tmp_path: Path, public: FakeUpstream, store: Store
) -> None:
    """The approval of a project is about later files and versions, and says so."""
    with serving(tmp_path, public, store, cooldown_days=0, approval=True) as server:
        known = deciding(server).approve(DEMO, None, "")
        assert known.project is not None
        assert known.project.sha256 is None
        add(public, START)
        public.publish(public_wheel("demo", "2.0"))
        server.clock.advance(hours=1)
        assert filenames(server) == [FIRST, ADDED, "demo-2.0-py3-none-any.whl"]
        people = look(server, "/project/demo/", accept=HTML).body.decode()
        assert "approved demo with all files and versions, also those that are added" in people


@pytest.mark.parametrize(
    ("name", "version", "kind"),
    [("demo", "1.1", NotFound), ("nothing", "1.0", NotFound), ("nothing", "", NotFound)],
)
def test_what_does_not_exist(
    tmp_path: Path,
    public: FakeUpstream,
    store: Store,
    name: str,
    version: str,
    kind: type[WheelyardError],
) -> None:
    """A project or version that does not exist cannot be approved, and nothing is stored."""
    wanted = Version(version) if version else None
    with serving(tmp_path, public, store) as server:
        with pytest.raises(kind, match="cannot be approved"):
            deciding(server).approve(NormalizedName(name), wanted, "")
        assert not list(store.list(keys.DECISIONS))


def test_nobody_can_be_asked(tmp_path: Path, public: FakeUpstream, store: Store) -> None:
    """While the upstream is away nothing is approved, also beside a page, except by digests."""
    with serving(tmp_path, public, store) as server:
        page_of(server, "demo")
        public.stop()
        for wanted in (ONE, None):
            with pytest.raises(Unavailable, match="cannot be approved now") as refused:
                deciding(server).approve(DEMO, wanted, "")
            assert refused.value.message.count("Try again in") == 1
        with pytest.raises(Conflict, match="is private here"):
            deciding(server).approve(NormalizedName("team-x"), ONE, "")
        alone = Deciding(server.index.server.decisions, "local:ana")
        with pytest.raises(Conflict, match=r"upstream\.url is not set"):
            alone.approve(DEMO, ONE, "")
        for wanted, digest in ((None, "0" * 64), (ONE, "0" * 63), (ONE, "g" * 64)):
            with pytest.raises(Invalid):
                alone.approve(DEMO, wanted, "", sha256=[digest])
        assert not list(store.list(keys.DECISIONS))
        digest = public_wheel("demo", "1.0").sha256
        alone.approve(DEMO, ONE, "", sha256=[digest.upper(), "0" * 64])
        assert approved_digests(server) == ("0" * 64, digest)
        assert filenames(server) == [FIRST]


def test_the_api_says_which_digests_it_has_approved(
    tmp_path: Path, public: FakeUpstream, store: Store
) -> None:
    """The API answers with the digests that it has approved, and refuses what the command does."""
    with serving(tmp_path, public, store) as server:
        request = TokenRequest(name="admin", actions=Action.ADMIN, lifetime=timedelta(days=1))
        token = server.index.tokens.create(request, "local:ana")[0].text
        headers = (("authorization", f"Bearer {token}"), ("content-type", "application/json"))

        def approve(**body: object) -> tuple[int, Any]:
            path, sent = "/api/v1/upstream/approve", json.dumps({"project": "demo", **body})
            answer = server.get(path, *headers, method="POST", body=[sent.encode()])
            return answer.status, json.loads(answer.body)

        digest = public_wheel("demo", "1.0").sha256
        status, answer = approve(version="1.0")
        assert (status, answer["decisions"][0]["sha256"]) == (200, [digest])
        status, answer = approve(version="1.0", sha256=["0" * 64])
        assert (status, answer["decisions"][0]["sha256"]) == (200, ["0" * 64])
        assert approve(version="7")[0] == 404
        assert approve(version="1.0", sha256=["0"])[0] == 400
        assert approve(sha256=["0" * 64])[0] == 400
        public.stop()
        status, answer = approve(version="1.0")
        assert (status, answer["error"]) == (503, "upstream_unavailable")
        assert approved_digests(server) == ("0" * 64,)


@pytest.mark.parametrize("fault", [Fault.NO_HASH, Fault.MD5_ONLY])
def test_a_page_without_digests(
    tmp_path: Path, public: FakeUpstream, store: Store, fault: Fault
) -> None:
    """Files of a page without digests are fetched when they are approved, and those bytes count."""
    public.behave("demo", fault)
    with serving(tmp_path, public, store, approval=True) as server:
        deciding(server).approve(DEMO, ONE, "")
        assert approved_digests(server) == (public_wheel("demo", "1.0").sha256,)
        assert filenames(server) == [FIRST]
        assert file_of(server, "demo", FIRST).status == 200
        add(public, START)
        server.clock.advance(hours=1)
        assert filenames(server) == [FIRST]


def test_an_exception_for_a_version(tmp_path: Path, public: FakeUpstream, store: Store) -> None:
    """`cooldown_allow` is about the files that were there at its first use, wherever that was."""
    rule: dict[str, Any] = {"cooldown_allow": ("demo==1.0",)}
    with serving(tmp_path, public, store, read_only=True, **rule) as server:
        assert filenames(server) == []
    with serving(tmp_path, public, store, **rule) as server:
        assert filenames(server) == [FIRST]
    add(public, START + HOUR)
    for read_only in (False, True):
        now = START + 2 * HOUR
        with serving(tmp_path, public, store, now=now, read_only=read_only, **rule) as server:
            assert filenames(server) == [FIRST]
            server.clock.now = START + HOUR + timedelta(days=3)
            assert filenames(server) == [FIRST, ADDED]
    with serving(tmp_path, public, store, cooldown_allow=("demo",)) as server:
        server.clock.now = START + 2 * HOUR
        assert filenames(server) == [FIRST, ADDED]


def test_a_project_among_several_is_approved_with_its_later_files(
    tmp_path: Path, public: FakeUpstream, store: Store
) -> None:
    """A project that is approved without a version, as one of several, is approved as a whole."""
    with serving(tmp_path, public, store, approval=True, cooldown_days=0) as server:
        deciding(server).decide(Verdict.APPROVED, [Target(DEMO)], "")
        add(public, server.clock.now)
        server.clock.advance(hours=1)

        assert filenames(server) == [FIRST, ADDED]


def test_nothing_is_approved_while_the_store_is_silent(
    tmp_path: Path, public: FakeUpstream, store: Store
) -> None:
    """If the store takes no file whose digest has to be found out, all approvals fail, not one."""
    public.behave("demo", Fault.NO_HASH)
    faulty = FakeStore(store)
    with serving(tmp_path, public, faulty) as server:
        page_of(server, "demo")
        faulty.follow(StoreFault(FaultKind.NOT_DONE, "put*", "upstream/*", times=ALWAYS))
        with pytest.raises(Unavailable, match="The store did not answer"):
            deciding(server).decide(Verdict.APPROVED, [Target(DEMO, ONE)], "")
