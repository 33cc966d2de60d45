"""What counts as a request for a hidden public package, and when it is written to the store."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName
from packaging.version import Version

from tests.fake_store import FakeStore, Fault, FaultKind
from tests.fake_time import START, Timers
from tests.http.in_process import InProcessServer
from tests.operations.in_memory_index import IndexHarness
from tests.refused import refused
from tests.upstream.fake_pages import FakeFile
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.reading import link_of, look, page_of
from tests.upstream.settings import front
from wheelyard.catalog import keys
from wheelyard.errors import Unavailable
from wheelyard.model.access import Caller
from wheelyard.model.package_requests import MAX_OF_ONE, MAX_REQUESTS, PackageRequest, RequestList
from wheelyard.model.person import Person
from wheelyard.model.public_packages import DecisionList, FileReason, Verdict
from wheelyard.storage.base import ABSENT
from wheelyard.storage.memory import MemoryStore
from wheelyard.upstream.decisions import Deciding, Target
from wheelyard.upstream.request_log import FIRST_SECONDS, WRITE_SECONDS, RequestLog

WHY = FileReason("not_approved", "It is not approved.")
NUMPY = NormalizedName("numpy")
ANYBODY = "anonymous"
OLD, NEW = "requests-1.0-py3-none-any.whl", "requests-2.0-py3-none-any.whl"


class Process:
    """A server process that remembers requests."""

    def __init__(self, harness: IndexHarness, *, is_off: bool = False) -> None:
        self.harness = harness
        self.timers = Timers(harness.clock)
        self.log = RequestLog(
            harness.index.server.package_requests,
            harness.index.server.runtime,
            self.timers.start,
            is_off=is_off,
        )

    def note(self, name: str, who: str | Caller = "user:ana", version: str = "1.0") -> None:
        """Note a request."""
        caller = Caller(who, ()) if isinstance(who, str) else who
        self.log.note(NormalizedName(name), version, WHY, caller)

    def pass_time(self) -> list[float]:
        """Do all that is planned, each at its time; return after how long each was due."""
        return self.timers.run()

    def stored(self) -> tuple[PackageRequest, ...]:
        """Return what is in the store."""
        return self.harness.index.server.package_requests.get().requests


def test_one_install_is_one_write(harness: IndexHarness) -> None:
    """What one install asks for is written at once, seconds later, and the next five minutes on."""
    process = Process(harness)
    for name in ("numpy", "pandas", "numpy"):
        process.note(name)
    assert process.stored() == ()
    assert process.pass_time() == [FIRST_SECONDS]
    assert [(request.project, request.times) for request in process.stored()] == [
        ("numpy", 2),
        ("pandas", 1),
    ]
    process.note("scipy")
    assert process.pass_time() == [WRITE_SECONDS]
    assert len(process.stored()) == 3


def test_repetitions_are_written_once_an_hour(harness: IndexHarness) -> None:
    """A job that asks for the same each minute causes a write an hour, and somebody else one."""
    process = Process(harness)
    for _ in range(59):
        process.note("numpy")
        process.pass_time()
        harness.clock.advance(seconds=60)
    assert process.stored()[0].times == 1
    process.note("numpy", "user:bo")
    process.pass_time()
    assert process.stored()[0].who == ("user:ana", "user:bo")
    assert process.stored()[0].times == 60
    harness.clock.advance(hours=1)
    process.note("numpy")
    assert process.pass_time() == [FIRST_SECONDS]


def test_a_flood_of_names_is_bounded(harness: IndexHarness) -> None:
    """Who asks for a million names fills neither memory nor the store, and hides nobody else."""
    process = Process(harness)
    process.note("numpy", "user:bo")
    for number in range(20 * MAX_OF_ONE):
        process.note(f"n{number}", ANYBODY)
    for number in range(MAX_REQUESTS):
        process.note(f"m{number}", f"user:u{number}")
    process.note("numpy", "user:bo")
    for _ in range(2):
        process.note("one-too-many", "user:cy")
    assert len(process.timers.planned) == 1
    process.pass_time()
    stored = process.stored()
    assert len(stored) == MAX_REQUESTS
    assert sum(request.who == (ANYBODY,) for request in stored) == MAX_OF_ONE
    assert not any(request.project == "one-too-many" for request in stored)
    assert next(request.times for request in stored if request.project == NUMPY) == 2
    assert len(harness.bytes_at(keys.PACKAGE_REQUESTS)) < 300 * MAX_REQUESTS


def test_the_limit_of_one_ends_with_a_write(harness: IndexHarness) -> None:
    """Who has asked for as many names as one may is listened to again after they are written."""
    process = Process(harness)
    for _ in range(2):
        for number in range(MAX_OF_ONE):
            process.note(f"n{number}")
        process.pass_time()
        harness.clock.advance(hours=1)

    assert {request.times for request in process.stored()} == {2}


def test_another_name_is_no_other_limit(harness: IndexHarness) -> None:
    """A person with another name has no room for more requests, who gets the name later has."""
    ana = Person(provider="acme", subject="1", name="ana@acme.dev", confirmed_at=START)
    people = (ana, replace(ana, name="ana.maria@acme.dev"), replace(ana, subject="2"))
    before, after, heir = (
        Caller(person.principal, (), principals=person.principals) for person in people
    )
    process, later = Process(harness), Process(harness)
    for number in range(MAX_OF_ONE):
        process.note(f"n{number}", before)
    process.note("too-many", after)
    process.pass_time()
    later.note("too-many", after)
    later.note("of-the-heir", heir)
    later.pass_time()
    projects = {request.project for request in later.stored()}
    assert len(projects) == MAX_OF_ONE + 1
    assert "of-the-heir" in projects
    assert "too-many" not in projects


def test_several_servers_write_one_list(harness: IndexHarness) -> None:
    """Servers on one store add to one list, and write what they remember before they end."""
    first, second = Process(harness), Process(harness)
    first.note("numpy")
    second.note("numpy", "user:bo")
    second.note("pandas", "user:bo")
    first.pass_time()
    second.log.close()
    assert [(request.project, request.who) for request in first.stored()] == [
        ("numpy", ("user:ana", "user:bo")),
        ("pandas", ("user:bo",)),
    ]
    assert second.pass_time() == []


def test_a_store_that_does_not_answer(tmp_path: Path) -> None:
    """What cannot be written now is written later, together with what has come meanwhile."""
    store = FakeStore(
        MemoryStore(START.timestamp), Fault(FaultKind.NOT_DONE, "put", "requests.json")
    )
    process = Process(IndexHarness(tmp_path, other=store))
    process.note("numpy")
    process.timers.planned.pop().work()
    assert process.stored() == ()
    assert len(process.timers.planned) == 1, "also if nobody asks for anything more"
    process.note("numpy")
    process.note("pandas")
    assert process.pass_time() == [WRITE_SECONDS]
    assert [request.times for request in process.stored()] == [2, 1]


def test_a_read_only_server_remembers_nothing(harness: IndexHarness) -> None:
    """A server that writes nothing starts no timer."""
    process = Process(harness, is_off=True)
    process.note("numpy")
    assert process.timers.planned == []
    process.log.close()
    assert process.stored() == ()


def test_a_damaged_list_counts_as_empty(harness: IndexHarness) -> None:
    """A list that cannot be read is replaced by the next write."""
    harness.store.put(keys.PACKAGE_REQUESTS, b"{", ABSENT)
    process = Process(harness)
    assert process.stored() == ()
    process.note("numpy")
    process.pass_time()
    assert [request.project for request in process.stored()] == ["numpy"]


def test_a_list_that_cannot_be_read_now_is_not_lost(harness: IndexHarness) -> None:
    """While the store does not answer, no request is written over those that wait already."""
    process = Process(harness)
    process.note("numpy")
    process.pass_time()
    before = harness.bytes_at(keys.PACKAGE_REQUESTS)
    store = FakeStore(harness.store, Fault(FaultKind.NOT_DONE, "get", keys.PACKAGE_REQUESTS))
    records = harness.opened(2, store).server.package_requests

    with refused(Unavailable, "storage_unavailable"):
        records.change(lambda _: RequestList())

    assert harness.bytes_at(keys.PACKAGE_REQUESTS) == before


@pytest.fixture
def public(upstream: FakeUpstream) -> FakeUpstream:
    """An upstream with an old release and one of yesterday."""
    upstream.publish(
        FakeFile.of(public_wheel("requests", "1.0")),
        FakeFile.of(public_wheel("requests", "2.0"), START - timedelta(days=1)),
    )
    return upstream


def waiting(server: InProcessServer) -> list[tuple[str, int]]:
    """Write what the server remembers, and return what waits, and how often it was wanted."""
    assert server.index.upstream is not None
    server.index.upstream.requests.write()
    stored, decided = (
        server.index.server.package_requests.get(),
        server.index.server.decisions.get("current"),
    )
    now = server.index.server.runtime.now()
    requests = stored.open_ones(decided.value or DecisionList(), now)
    return sorted((f"{request.target}: {request.code}", request.times) for request in requests)


def test_a_page_without_its_newest_version_is_no_request(
    tmp_path: Path, public: FakeUpstream
) -> None:
    """A resolver that chooses among the versions that are shown has asked for none that is not."""
    with front(tmp_path, public) as server:
        url = page_of(server, "requests").files[NEW]["url"].removeprefix("../..")
    with front(tmp_path, public, cooldown_days=7) as server:
        assert [*page_of(server, "requests").files] == [OLD]
        assert look(server, "/pypi/requests/json").status == 200
        assert look(server, "/pypi/requests/1.0/json").status == 200
        assert waiting(server) == []
        # a lock file names it
        for suffix in ("", ".metadata"):
            assert look(server, url + suffix).status == 403
        assert look(server, "/pypi/requests/2.0/json").status == 404
        assert waiting(server) == [("requests 2.0: cooldown", 3)]
        # time alone shows it
        server.clock.advance(days=6)
        assert waiting(server) == []


def test_a_page_with_nothing_is_a_request_for_the_newest_version(
    tmp_path: Path, public: FakeUpstream
) -> None:
    """An installer that finds no version would have chosen the newest one, and a browser none."""
    public.publish(FakeFile.of(public_wheel("requests", "3.0rc1")))
    with front(tmp_path, public, approval=True) as server:
        for _ in range(2):
            assert page_of(server, "requests").files == {}
        assert look(server, "/project/requests/").status == 200
        assert look(server, "/project/requests/2.0/").status == 404
        assert look(server, "/simple/").status == 200
        # nobody is asked for a name of which nothing is approved
        assert waiting(server) == [("requests: not_approved", 2)]
        assert public.asked("requests") == []
        deciding = Deciding(server.index.server.decisions, "local:ana", None, server.index.upstream)
        deciding.approve(NormalizedName("requests"), Version("1.0"), "")
        assert [*page_of(server, "requests").files] == [OLD]
        assert waiting(server) == []
    with front(tmp_path, public, cooldown_days=1000) as server:
        for _ in range(2):
            assert page_of(server, "requests").files == {}
            server.clock.advance(hours=1)  # identical requests in a row have one answer
        assert look(server, "/project/requests/").status == 200
        assert waiting(server) == [("requests 2.0: cooldown", 2)]


def test_one_version_of_a_name_without_an_approval(tmp_path: Path, public: FakeUpstream) -> None:
    """A program that asks for one version of what nobody has approved is told so, and counted."""
    with front(tmp_path, public) as server:
        link = link_of(server, "requests", OLD)
    with front(tmp_path, public, approval=True) as server:
        answer = look(server, "/pypi/requests/2.0/json")
        assert (answer.status, b"requests is not approved" in answer.body) == (404, True)
        assert waiting(server) == [("requests 2.0: not_approved", 1)]
        # a lock file names it
        answer = look(server, link)
        assert (answer.status, b"requests is not approved" in answer.body) == (403, True)
        assert waiting(server) == [
            ("requests 1.0: not_approved", 1),
            ("requests 2.0: not_approved", 1),
        ]


def test_pip_looks_for_itself(tmp_path: Path, public: FakeUpstream) -> None:
    """That each pip looks for a newer pip is no request, and that another program does is one."""
    accept = ("accept", "application/vnd.pypi.simple.v1+json")
    with front(tmp_path, public, approval=True) as server:
        pip = ("user-agent", 'pip/25.1 {"ci":null}')
        for name in ("pip", "requests"):
            assert server.get(f"/simple/{name}/", accept, pip).status == 200
        assert waiting(server) == [("requests: not_approved", 1)]
        server.get("/simple/pip/", accept, ("user-agent", "uv/0.9"))
        assert waiting(server) == [("pip: not_approved", 1), ("requests: not_approved", 1)]


def test_names_that_are_blocked_or_not_allowed(tmp_path: Path, public: FakeUpstream) -> None:
    """A name that is blocked or not listed was wanted; the operator has denied others for good."""
    names = ("requests", "leftpad", "numpy", "team-tool")
    listed: dict[str, Any] = {"allow": names[:2], "deny": ("leftpad",)}
    with front(tmp_path, public, **listed) as server:
        deciding = Deciding(server.index.server.decisions, "local:ana", None, server.index.upstream)
        deciding.block(NormalizedName("requests"), None, "taken over")
        for name in names:
            look(server, f"/simple/{name}/")
        # a block is news to nobody for two weeks
        assert waiting(server) == [("numpy: not_listed", 1)]
        server.clock.advance(days=15)
        for name in names:
            look(server, f"/simple/{name}/")
        assert waiting(server) == [("numpy: not_listed", 1), ("requests: blocked", 1)]


def test_the_decision_says_who_has_asked(tmp_path: Path, public: FakeUpstream) -> None:
    """A decision names those who waited for it, for approvers alone."""
    with front(tmp_path, public, approval=True) as server:
        page_of(server, "requests")
        assert waiting(server) == [("requests: not_approved", 1)]
        index = server.index
        deciding = Deciding(
            index.server.decisions, "local:ana", None, index.upstream, index.server.package_requests
        )
        decided = deciding.approve(NormalizedName("requests"), Version("2.0"), "")
        assert decided.versions["2"].asked_by == (ANYBODY,)
        target = Target(NormalizedName("requests"), Version("2.0"))
        summary = deciding.decide(Verdict.BLOCKED, [target], "")
        assert summary.decided[0].asked_by == ()
        assert index.upstream is not None
        explained = index.upstream.explain(NormalizedName("requests"), None, may_read=True)
        assert [decision.asked_by for decision in explained.decisions] == [()]
