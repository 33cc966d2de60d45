"""Pages of upstream indexes: when they are asked for, what is kept, and what a failure does."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from traceback import walk_tb

import pytest
from click.testing import CliRunner
from packaging.utils import canonicalize_name

from tests.fake_store import ALWAYS, Before, FakeStore, FaultKind
from tests.fake_store import Fault as StoreFault
from tests.fake_time import Clock, fake_runtime
from tests.metrics import samples
from tests.upstream.asking import LOOPBACK, Asking, server_of
from tests.upstream.fake_pages import Fault
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.waiting import until
from wheelyard.catalog import keys
from wheelyard.catalog.format import ensure_format
from wheelyard.cli.upstream_commands import upstream_command
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.errors import Invalid, Unavailable
from wheelyard.model.access import NameFilter, parse_name_patterns
from wheelyard.model.project import Status
from wheelyard.sources.simple_page import FetchedPage
from wheelyard.storage.base import ABSENT, Key, Stored
from wheelyard.storage.forwarding import PrefixedStore
from wheelyard.storage.local import LocalStore
from wheelyard.storage.memory import MemoryStore
from wheelyard.upstream.chain import ALL
from wheelyard.upstream.file_cache import Pin, PinnedDigests
from wheelyard.upstream.observation import Kind
from wheelyard.upstream.owners import Ownership, StoredOwners
from wheelyard.upstream.settings import UpstreamConfig
from wheelyard.wiring.stores import system_runtime

REQUESTS = canonicalize_name("requests")
PACKAGE = public_wheel("requests", "2.0")
DAY = 86_400
BREAKER = "wheelyard_upstream_breaker_open"
CACHE = "wheelyard_upstream_cache_total"
STALE_AGE = "wheelyard_upstream_stale_age_seconds"
FIRST = "public"


@pytest.fixture
def asking_process(upstream: FakeUpstream) -> Iterator[Asking]:
    """One process that asks an upstream that has `requests` 2.0."""
    upstream.publish(PACKAGE)
    with closing(Asking((server_of(upstream),))) as asking:
        yield asking


@pytest.fixture
def process_of_both(upstream: FakeUpstream, second_upstream: FakeUpstream) -> Iterator[Asking]:
    """One process that asks two upstreams; both have `requests`, the second one 99.0."""
    upstream.publish(PACKAGE)
    second_upstream.publish(public_wheel("requests", "99.0"))
    with closing(Asking((server_of(upstream), server_of(second_upstream, "second")))) as asking:
        yield asking


@pytest.fixture
def process_with_rare(process_of_both: Asking, second_upstream: FakeUpstream) -> Asking:
    """One process of both that has the page of `rare`, which the second upstream alone has."""
    second_upstream.publish(public_wheel("rare", "1.0"))
    process_of_both.page("rare")
    return process_of_both


@contextmanager
def refused(code: str, why: str = "", *, retry_after: int | None = 2) -> Iterator[None]:
    """Expect an Unavailable."""
    with pytest.raises(Unavailable, match=why or None) as found:
        yield
    assert found.value.code == code
    # waiting does not help where an answer cannot be used
    assert found.value.retry_after == (retry_after if code == "upstream_unavailable" else None)


def stored(asking: Asking) -> Stored:
    """Return the page of `requests` that is in the store."""
    found = asking.store.get(keys.upstream_page(asking.servers[0].id, REQUESTS))
    assert isinstance(found, Stored)
    return found


def pins_of(asking: Asking) -> PinnedDigests:
    """Return the digests of files without one that are in the store."""
    below = PrefixedStore(asking.store, keys.upstream(asking.servers[0].id))
    return PinnedDigests(below, ConflictRetries(runtime=fake_runtime(asking.clock, 1)))


def test_a_page_is_asked_for_once(asking_process: Asking, upstream: FakeUpstream) -> None:
    """Within its time to live a page is not asked for again, also by another process."""
    first, second = asking_process.page("requests"), asking_process.page("requests")
    third = asking_process.again().page("requests")

    assert len(upstream.asked("requests")) == 1
    assert first.page is second.page
    assert third.page == first.page
    assert not third.is_stale


def test_a_page_that_another_process_stores_meanwhile_stays(
    asking_process: Asking, upstream: FakeUpstream
) -> None:
    """A page that arrives late takes the place of no newer one that is in the store by then."""
    newer = public_wheel("requests", "3.0")

    def ask_meanwhile() -> None:
        upstream.publish(newer)
        asking_process.page("requests")

    store = FakeStore(asking_process.store, Before(ask_meanwhile, "put", "*requests*"))
    late = asking_process.again(store=store)

    assert late.filenames("requests") == [PACKAGE.filename]
    assert asking_process.again().filenames("requests") == [PACKAGE.filename, newer.filename]


@pytest.mark.parametrize("process", ["asking_process", "process_of_both"])
def test_a_page_that_another_process_has_stored_is_no_guess(
    request: pytest.FixtureRequest, process: str
) -> None:
    """A page of the store is there without a lookup, of which a client that guesses has no more."""
    asking: Asking = request.getfixturevalue(process)
    stored_page = asking.page("requests").page
    other = asking.again()

    peeked = other.pages.read_fresh(REQUESTS)

    assert peeked is not None
    assert peeked.page is not None
    assert peeked.page.page == stored_page
    asking.clock.advance(seconds=601)
    assert asking.again().pages.read_fresh(REQUESTS) is None  # the index has to be asked again


@pytest.mark.parametrize("process", ["asking_process", "process_of_both"])
def test_a_name_that_was_absent_a_moment_ago_is_no_guess(
    request: pytest.FixtureRequest, process: str
) -> None:
    """That nobody has a name is known without a lookup for a minute, once the store was read."""
    asking: Asking = request.getfixturevalue(process)
    assert asking.found("nothing") is None
    asking.clock.advance(seconds=30)

    peeked = asking.pages.read_fresh(canonicalize_name("nothing"))

    assert peeked is not None
    assert peeked.page is None


def test_a_page_that_has_not_changed(asking_process: Asking, upstream: FakeUpstream) -> None:
    """After its time to live a page is revalidated; if unchanged, it is rewritten hours later."""
    before = asking_process.page("requests").page
    version = stored(asking_process).version
    asking_process.clock.advance(seconds=601)

    after = asking_process.page("requests")

    assert after.page is before
    assert after.age == 0
    assert stored(asking_process).version == version
    assert upstream.asked("requests")[-1].header("if-none-match") == before.etag
    registry = asking_process.observation.registry
    counted = samples(registry, "wheelyard_upstream_requests_total")
    assert counted == {("page", "200"): 1, ("page", "304"): 1}
    asking_process.clock.advance(hours=2)
    asking_process.page("requests")
    assert (
        stored(asking_process).version != version
    )  # so that another process knows that it is confirmed


@pytest.mark.parametrize("fault", [Fault.NO_ETAG, Fault.HTML_ONLY])
def test_upstreams_that_say_less(
    asking_process: Asking, upstream: FakeUpstream, fault: Fault
) -> None:
    """Without ETag or JSON, a new version is seen after the time to live all the same."""
    upstream.behave("requests", fault)
    before = asking_process.page("requests").page
    asking_process.clock.advance(seconds=601)
    assert asking_process.page("requests").page is before
    upstream.publish(public_wheel("requests", "3.0"))
    asking_process.clock.advance(seconds=601)

    assert len(asking_process.filenames("requests")) == 2


def test_a_name_that_nobody_has(asking_process: Asking, upstream: FakeUpstream) -> None:
    """That a name does not exist is known for a minute, and no longer."""
    assert asking_process.found("nothing") is None
    assert asking_process.found("nothing") is None
    asking_process.clock.advance(seconds=59)
    assert asking_process.found("nothing") is None
    assert len(upstream.asked("nothing")) == 1
    upstream.publish(public_wheel("nothing", "1.0"))
    asking_process.clock.advance(seconds=2)

    assert asking_process.found("nothing") is not None


def test_a_name_that_none_of_several_indexes_has(process_of_both: Asking) -> None:
    """That several indexes lack a name is answered from memory, without a look at the store."""
    store = FakeStore(process_of_both.store)
    process = process_of_both.again(store=store)
    assert process.found("nothing") is None
    store.calls.clear()

    assert process.found("nothing") is None
    assert store.calls == []
    process.clock.advance(seconds=30)
    assert process.found("nothing") is None
    store.calls.clear()
    assert process.found("nothing") is None
    assert store.calls == []


def test_a_project_that_is_gone(asking_process: Asking, upstream: FakeUpstream) -> None:
    """A project that its upstream has removed is gone here at once, and may come back."""
    asking_process.page("requests")
    upstream.drop("requests")
    asking_process.clock.advance(seconds=601)

    assert asking_process.found("requests") is None
    assert asking_process.again().found("requests") is None
    assert not asking_process.pages.ask(REQUESTS)
    with refused("upstream_unavailable", "requests is not in it", retry_after=None):
        asking_process.again(offline=True).pages.ask(REQUESTS)
    upstream.behave("requests", 503)
    asking_process.clock.advance(seconds=61)
    with refused("upstream_unavailable"):
        asking_process.found("requests")
    upstream.behave("requests")
    upstream.publish(PACKAGE)
    asking_process.clock.advance(seconds=61)
    assert asking_process.filenames("requests") == [PACKAGE.filename]


STALE = (500, 503, 401, 429, Fault.TRUNCATE, Fault.BAD_JSON, Fault.REDIRECT_NAME)


@pytest.mark.parametrize("fault", STALE)
def test_an_upstream_that_fails(
    asking_process: Asking, upstream: FakeUpstream, fault: Fault | int
) -> None:
    """While an upstream fails, the page that is known is served, until it is a day old."""
    asking_process.page("requests")
    upstream.publish(public_wheel("requests", "3.0"))
    upstream.behave("requests", fault)
    asking_process.clock.advance(seconds=1000)

    stale = asking_process.page("requests")
    asked = len(upstream.asked("requests"))

    assert (stale.is_stale, stale.age) == (True, 1000)
    assert asking_process.page("requests").is_stale
    assert len(upstream.asked("requests")) == asked  # it is left alone for a while
    assert asking_process.pages.read_any_age(REQUESTS) is not None
    asking_process.clock.advance(seconds=DAY)
    is_bad = fault in {401, Fault.BAD_JSON, Fault.REDIRECT_NAME}
    code, wait = "bad_upstream" if is_bad else "upstream_unavailable", 5 if fault == 429 else 2
    assert asking_process.pages.peek_stale(REQUESTS) is None
    with refused(code, retry_after=wait):
        asking_process.page("requests")
    upstream.behave("requests")
    asking_process.clock.advance(seconds=301)
    assert not asking_process.page("requests").is_stale


def test_a_page_that_cannot_be_used(asking_process: Asking, upstream: FakeUpstream) -> None:
    """A page that cannot be used is not fetched again for each client that tries again."""
    upstream.behave("requests", Fault.BAD_JSON)
    for _ in range(3):
        with refused("bad_upstream"):
            asking_process.found("requests")
    assert len(upstream.asked("requests")) == 1
    upstream.behave("requests")
    asking_process.clock.advance(seconds=6)
    assert asking_process.filenames("requests") == [PACKAGE.filename]


def test_an_error_about_a_page_does_not_hold_it(
    asking_process: Asking, upstream: FakeUpstream
) -> None:
    """An error about a page that cannot be used keeps nothing of that page in memory."""
    upstream.behave("requests", Fault.BAD_JSON)

    with pytest.raises(Unavailable) as raised:
        asking_process.found("requests")

    frames = [frame for frame, _ in walk_tb(raised.value.__traceback__)]
    assert not any(isinstance(held, FetchedPage) for at in frames for held in at.f_locals.values())
    assert raised.value.__context__ is None


def test_an_upstream_that_says_when(asking_process: Asking, upstream: FakeUpstream) -> None:
    """After 429 no name is asked for until the time that the upstream has said."""
    upstream.behave("requests", 429, Retry_After="77")
    with refused("upstream_unavailable", "index public .* too many requests", retry_after=77):
        asking_process.found("requests")

    # a client that waits for so long is answered
    for passed, left in ((0, 77), (50, 27)):
        asking_process.clock.advance(seconds=passed)
        why = f"index public .* it wants no request for {77 - passed} seconds"
        with refused("upstream_unavailable", why, retry_after=left):
            asking_process.found("other")
    assert upstream.asked("other") == []
    asking_process.clock.advance(seconds=28)
    assert asking_process.found("other") is None


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({"Retry_After": "12"}, 12),
        ({"Retry_After": "7200"}, 300),
        ({"Retry_After": "soon"}, 2),
        ({}, 2),
    ],
)
def test_an_upstream_that_is_being_maintained(
    asking_process: Asking, upstream: FakeUpstream, sent: dict[str, str], told: int
) -> None:
    """After 503 a client is told the pause that the upstream wants, five minutes at most."""
    upstream.behave("requests", 503, **sent)
    with refused("upstream_unavailable", "index public .* status 503", retry_after=told):
        asking_process.found("requests")
    assert len(upstream.asked("requests")) == (1 if told > 2 else 2)


def test_an_upstream_that_is_gone(
    asking_process: Asking, upstream: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    """
    An upstream that does not answer five times is left alone, then tested by one request.

    The metrics say so, and how old a page is that is served meanwhile.
    """
    asking_process.page("requests")
    upstream.stop()
    asking_process.clock.advance(seconds=601)
    for number in range(3):  # each is tried twice
        with refused("upstream_unavailable", "cannot be reached", retry_after=(2, 2, 30)[number]):
            asking_process.found(f"name-{number}")
    upstream.start()

    why = "cannot be reached, so that it is asked again in 19 seconds"
    asking_process.clock.advance(seconds=11)
    with refused("upstream_unavailable", why, retry_after=19):
        asking_process.found("other")
    assert asking_process.page("requests").is_stale
    registry = asking_process.observation.registry
    assert samples(registry, BREAKER) == {("public",): 1}
    assert samples(registry, STALE_AGE) == {(): 612}
    assert samples(registry, CACHE)["page", "stale"] == 1
    warnings = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    asked = [f"upstream public: page of name-{number}: error" for number in range(3)]
    assert [line.partition(",")[0] for line in warnings] == [
        *asked[:2],
        "upstream public does not answer",
        asked[2],
    ]
    asking_process.clock.advance(seconds=20)
    assert asking_process.found("other") is None
    assert samples(registry, BREAKER) == {("public",): 0}
    assert samples(registry, STALE_AGE) == {(): 0}


def test_a_slow_upstream(asking_process: Asking, upstream: FakeUpstream) -> None:
    """While an upstream is slow the known page is there, and the new one as soon as it is here."""
    asking_process.page("requests")
    upstream.publish(public_wheel("requests", "3.0"))
    asking_process.clock.advance(seconds=601)
    restarted = asking_process.again()
    assert restarted.pages.peek_stale(REQUESTS) is None
    gate = upstream.hold("requests")
    with ThreadPoolExecutor(1) as pool:
        later = pool.submit(restarted.page, "requests")
        until(lambda: restarted.pages.peek_stale(REQUESTS) is not None)
        early = restarted.pages.peek_stale(REQUESTS)
        gate.set()

    assert early is not None
    assert (early.is_stale, len(early.page.files)) == (True, 1)
    assert len(later.result().page.files) == 2
    assert not restarted.page("requests").is_stale


def test_the_upload_check(asking_process: Asking, upstream: FakeUpstream) -> None:
    """Before an upload an answer of a minute counts, no failure is a no, and no no is stored."""
    assert asking_process.pages.ask(REQUESTS)
    asking_process.clock.advance(seconds=59)
    assert asking_process.pages.ask(REQUESTS)
    assert len(upstream.asked("requests")) == 1
    asking_process.clock.advance(seconds=2)
    assert asking_process.pages.ask(REQUESTS)
    assert len(upstream.asked("requests")) == 2
    upstream.behave("requests", 503)
    asking_process.clock.advance(seconds=61)
    with refused("upstream_unavailable"):
        asking_process.pages.ask(REQUESTS)
    upstream.drop("requests")
    assert not asking_process.pages.ask(REQUESTS)
    assert not asking_process.pages.ask(canonicalize_name("nothing"))
    assert not any("nothing" in entry.key for entry in asking_process.store.list(""))


def test_the_upload_check_asks(asking_process: Asking, upstream: FakeUpstream) -> None:
    """Before an upload no remembered 404 counts: of no process, and of no project that was gone."""
    new, asked = canonicalize_name("new"), upstream.asked
    assert asking_process.found("new") is None
    assert not asking_process.pages.ask(new)
    assert len(asked("new")) == 2
    upstream.publish(public_wheel("new", "1.0"))
    assert asking_process.pages.ask(new)
    assert asking_process.filenames("new") == ["new-1.0-py3-none-any.whl"]

    upstream.drop("new")
    asking_process.clock.advance(seconds=601)
    assert asking_process.found("new") is None
    upstream.publish(public_wheel("new", "1.0"))
    assert asking_process.again().pages.ask(new)
    assert asking_process.pages.ask(new)


def test_a_quarantine_is_seen_and_so_is_its_end(
    asking_process: Asking, upstream: FakeUpstream
) -> None:
    """A quarantine is seen when its page is asked for next, and its end a minute later."""
    asking_process.page("requests")
    upstream.behave("requests", Fault.QUARANTINED)
    asking_process.clock.advance(seconds=601)
    assert asking_process.page("requests").page.status is Status.QUARANTINED
    upstream.behave("requests")
    asking_process.clock.advance(seconds=61)
    assert asking_process.page("requests").page.status is Status.ACTIVE


def test_a_file_whose_digest_changes(asking_process: Asking, upstream: FakeUpstream) -> None:
    """A file that has another digest than before is hidden, until it has the first one again."""
    asking_process.page("requests")
    upstream.behave("requests", Fault.DIGEST_CHANGE)
    for _ in range(3):
        asking_process.clock.advance(seconds=601)
        asking_process.found("requests")

    assert asking_process.filenames("requests") == []
    assert asking_process.counted("digest_change") == 1
    assert asking_process.again().filenames("requests") == []
    upstream.behave("requests")
    asking_process.clock.advance(seconds=601)
    assert asking_process.filenames("requests") == [PACKAGE.filename]


@pytest.mark.parametrize(
    ("pinned", "shown"), [(PACKAGE.sha256, [PACKAGE.filename]), ("a" * 64, [])]
)
def test_a_file_that_gets_a_digest(
    asking_process: Asking, upstream: FakeUpstream, pinned: str, shown: list[str]
) -> None:
    """A file without a digest that gets another one than it had when it was fetched is hidden."""
    upstream.behave("requests", Fault.NO_HASH)
    asking_process.page("requests")
    pins_of(asking_process).list_on_page(REQUESTS, PACKAGE.filename, Pin(pinned, 1))
    upstream.behave("requests")
    for _ in range(2):
        asking_process.clock.advance(seconds=601)
        assert asking_process.filenames("requests") == shown

    assert asking_process.counted("digest_change") == (not shown)
    asking_process.pages.forget(REQUESTS)
    assert asking_process.filenames("requests") == [PACKAGE.filename]


def test_a_file_that_vanishes(asking_process: Asking, upstream: FakeUpstream) -> None:
    """A file that its upstream has removed is remembered, so that another cannot take its name."""
    newer = public_wheel("requests", "3.0")
    upstream.publish(newer)
    asking_process.page("requests")
    upstream.withdraw(PACKAGE.filename)
    asking_process.clock.advance(seconds=601)
    assert asking_process.filenames("requests") == [newer.filename]
    assert [each.filename for each in asking_process.page("requests").page.removed] == [
        PACKAGE.filename
    ]

    upstream.publish(public_wheel("requests", "2.0", "Summary: another one"))
    asking_process.clock.advance(seconds=601)
    assert asking_process.filenames("requests") == [newer.filename]
    assert asking_process.counted("digest_change") == 1


def test_when_a_file_was_first_seen(asking_process: Asking, upstream: FakeUpstream) -> None:
    """Of a file without a time of upload it is known when this index saw it first."""
    upstream.behave("requests", Fault.NO_UPLOAD_TIME)
    began = asking_process.clock.now
    asking_process.page("requests")
    asking_process.clock.advance(days=2)
    upstream.publish(public_wheel("requests", "3.0"))

    seen = [file.first_seen for file in asking_process.again().page("requests").page.files]

    assert seen == [began, asking_process.clock.now]


def test_the_first_index_that_has_a_name(
    process_of_both: Asking, second_upstream: FakeUpstream
) -> None:
    """The first index that has a name owns it, and no index after it is asked for it then."""
    second_upstream.publish(public_wheel("rare", "1.0"))

    assert process_of_both.filenames("requests") == [PACKAGE.filename]
    assert second_upstream.asked("requests") == []
    for _ in range(2):
        owners = [process_of_both.page(name).page.upstream for name in ("requests", "rare")]
        assert owners == [process_of_both.servers[0].id, process_of_both.servers[1].id]
        process_of_both.clock.advance(seconds=601)
    assert second_upstream.asked("requests") == []


def test_a_foreign_object_among_the_owners_is_passed_over(process_of_both: Asking) -> None:
    """What somebody has put among the owners of names is no name, and hides none."""
    process_of_both.page("requests")
    process_of_both.store.put(Key(f"{keys.UPSTREAM_OWNERS}readme.txt"), b"?", None)

    assert [name for name, _ in process_of_both.pages.stored_owners()] == [REQUESTS]


def test_a_name_that_an_earlier_index_gets_later(
    process_with_rare: Asking, upstream: FakeUpstream, second_upstream: FakeUpstream
) -> None:
    """A name of the second index that the first one has now is shown again once it is forgotten."""
    second, rare = process_with_rare.again(), canonicalize_name("rare")
    second.page("rare")
    upstream.publish(public_wheel("rare", "99.0"))
    process_with_rare.clock.advance(seconds=599)
    assert process_with_rare.filenames("rare") == ["rare-1.0-py3-none-any.whl"]
    process_with_rare.clock.advance(seconds=2)

    assert process_with_rare.found("rare") is None
    assert process_with_rare.counted("owner_change") == 1
    upstream.drop("rare")  # that does not say which one was meant
    asked = len(upstream.asked("rare")), len(second_upstream.asked("rare"))
    for process in (process_with_rare, second, process_with_rare.again()):
        process_with_rare.clock.advance(seconds=601)
        assert process.found("rare") is None
        assert process.pages.ask(rare)  # nobody may upload it by mistake
        assert "rare belongs to the upstream index second, and" in process.pages.why_contested(rare)
    assert (len(upstream.asked("rare")), len(second_upstream.asked("rare"))) == asked

    assert process_with_rare.pages.forget(rare) == "second"
    process_with_rare.clock.advance(seconds=6)
    for process in (process_with_rare, second):
        assert process.filenames("rare") == ["rare-1.0-py3-none-any.whl"]
        assert process.pages.why_contested(rare) == ""


def test_a_name_that_another_process_forgets_at_once(
    process_of_both: Asking, upstream: FakeUpstream, second_upstream: FakeUpstream
) -> None:
    """An owner that was just stored is forgotten by all processes when one of them forgets it."""
    second_upstream.publish(public_wheel("rare", "1.0"))
    assert process_of_both.filenames("rare") == ["rare-1.0-py3-none-any.whl"]

    assert process_of_both.again().pages.forget(canonicalize_name("rare")) == "second"
    upstream.publish(public_wheel("rare", "99.0"))
    process_of_both.clock.advance(seconds=601)

    assert process_of_both.filenames("rare") == ["rare-99.0-py3-none-any.whl"]


def test_what_an_earlier_index_has_is_not_forgotten_by_an_older_answer(
    process_with_rare: Asking, upstream: FakeUpstream
) -> None:
    """A name that an earlier index had stays hidden, though another process writes an old owner."""
    store = process_with_rare.store
    [(_, entry)] = process_with_rare.pages.stored_owners()
    old_owner = store.get(entry.key)
    assert isinstance(old_owner, Stored)
    full = FakeStore(store, StoreFault(FaultKind.NOT_DONE, "put", entry.key, times=99))
    process = Asking(process_with_rare.servers, clock=process_with_rare.clock, store=full)
    with closing(process):
        upstream.publish(public_wheel("rare", "99.0"))
        process.clock.advance(seconds=601)
        assert process.found("rare") is None
        store.put(entry.key, old_owner.body, None)
        upstream.drop("rare")
        process.clock.advance(seconds=601)

        assert process.found("rare") is None


def test_an_earlier_index_and_a_process_that_writes_nothing(
    process_with_rare: Asking, upstream: FakeUpstream
) -> None:
    """A read-only process hides the name as long as the earlier index has it, or the store says."""
    config = UpstreamConfig(servers=(), allow_private_networks=LOOPBACK, read_only=True)
    reading = Asking(
        process_with_rare.servers,
        clock=process_with_rare.clock,
        store=process_with_rare.store,
        config=config,
    )
    with closing(reading):
        for has_it in (True, False, True):
            if has_it:
                upstream.publish(public_wheel("rare", "99.0"))
            else:
                upstream.drop("rare")
            process_with_rare.clock.advance(seconds=601)
            assert (reading.found("rare") is None) == has_it
        assert process_with_rare.found("rare") is None  # this one writes it
        upstream.drop("rare")
        process_with_rare.clock.advance(seconds=601)
        assert reading.found("rare") is None


def test_a_process_that_writes_nothing_remembers_the_owner(
    upstream: FakeUpstream, second_upstream: FakeUpstream
) -> None:
    """A read-only process hides a name that an earlier index has now, also in an index's chain."""
    config = UpstreamConfig(servers=(), allow_private_networks=LOOPBACK, read_only=True)
    servers = (server_of(upstream), server_of(second_upstream, "second"))
    rare = canonicalize_name("rare")
    second_upstream.publish(public_wheel("rare", "1.0"))
    with closing(Asking(servers, config=config)) as reading:
        chain = reading.pages.of_layers(reading.clients, ("public", "second"))
        assert chain.ask_if_due(rare) is not None
        upstream.publish(public_wheel("rare", "99.0"))
        reading.clock.advance(seconds=601)

        assert chain.ask_if_due(rare) is None


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff"], ids=["empty", "no owner", "no JSON"])
def test_a_damaged_owner(process_of_both: Asking, body: bytes) -> None:
    """A damaged owner in the store is found out anew, and replaced."""
    process_of_both.page("requests")
    [(name, entry)] = process_of_both.pages.stored_owners()
    before = process_of_both.store.get(entry.key)
    process_of_both.store.put(entry.key, body, None)

    assert process_of_both.again().filenames("requests") == [PACKAGE.filename]

    after = process_of_both.store.get(entry.key)
    assert name == REQUESTS
    assert isinstance(before, Stored)
    assert isinstance(after, Stored)
    assert after.body == before.body


def test_an_earlier_index_is_seen_despite_another_writer(
    process_with_rare: Asking, upstream: FakeUpstream
) -> None:
    """That an earlier index has a name is stored, also if another process writes meanwhile."""
    rare = canonicalize_name("rare")
    upstream.publish(public_wheel("rare", "99.0"))
    process_with_rare.clock.advance(seconds=601)
    gate, asked = upstream.hold("rare"), len(upstream.asked("rare"))
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(process_with_rare.found, "rare")
        until(lambda: len(upstream.asked("rare")) > asked)
        key = keys.upstream_page(process_with_rare.servers[1].id, rare)
        before = process_with_rare.store.get(key)
        assert isinstance(before, Stored)
        process_with_rare.store.put(key, before.body, None)
        gate.set()
        assert late.result() is None

    assert process_with_rare.again().pages.why_contested(rare) != ""


@pytest.mark.parametrize("fault", [503, 401, Fault.BAD_JSON])
def test_an_earlier_index_that_fails(
    process_of_both: Asking,
    upstream: FakeUpstream,
    second_upstream: FakeUpstream,
    fault: Fault | int,
) -> None:
    """While an earlier index fails, the page of a later one is served until `max_stale`."""
    rare = canonicalize_name("rare")
    for name in ("rare", "taken-down", "malware"):
        second_upstream.publish(public_wheel(name, "1.0"))
        process_of_both.page(name)
        upstream.behave(name, fault)
    process_of_both.clock.advance(seconds=601)

    assert process_of_both.page("rare").is_stale
    asked = len(upstream.requests)
    assert process_of_both.page("rare").is_stale
    assert process_of_both.pages.peek_memory(rare) is not None  # so that no thread waits for it
    assert len(upstream.requests) == asked
    second_upstream.behave("malware", Fault.QUARANTINED)
    process_of_both.clock.advance(seconds=601)
    quarantined = process_of_both.page("malware")
    assert (quarantined.page.status, quarantined.is_stale) == (Status.QUARANTINED, False)
    assert process_of_both.pages.peek_stale(rare) is not None
    second_upstream.drop("taken-down")
    assert process_of_both.found("taken-down") is None
    process_of_both.clock.advance(seconds=DAY)
    with pytest.raises(Unavailable):
        process_of_both.found("rare")
    assert process_of_both.pages.peek_stale(rare) is None
    upstream.behave("rare")
    process_of_both.clock.advance(seconds=31)
    assert not process_of_both.page("rare").is_stale


def test_an_owner_that_is_silent(
    process_with_rare: Asking, upstream: FakeUpstream, second_upstream: FakeUpstream
) -> None:
    """While the owner of a name is silent, its page stays, and no request asks an index again."""
    second_upstream.behave("rare", 503)
    upstream.publish(public_wheel("rare", "99.0"))
    process_with_rare.clock.advance(seconds=601)
    asked = len(upstream.asked("rare"))

    assert process_with_rare.page("rare").is_stale
    asked_of_owner = len(second_upstream.asked("rare"))
    process_with_rare.clock.advance(seconds=6)
    assert process_with_rare.filenames("rare") == ["rare-1.0-py3-none-any.whl"]
    assert len(second_upstream.asked("rare")) == asked_of_owner
    assert len(upstream.asked("rare")) == asked
    second_upstream.behave("rare")
    process_with_rare.clock.advance(seconds=601)
    assert process_with_rare.found("rare") is None


def test_a_refusal_of_an_earlier_index(process_with_rare: Asking, upstream: FakeUpstream) -> None:
    """No page in memory may be shown of a name that an index before its owner refuses."""
    rare = canonicalize_name("rare")
    assert process_with_rare.pages.version_in_memory(rare) is not None
    upstream.refuse("rare", b"blocked")

    with refused("upstream_refused"):
        process_with_rare.pages.ask_now(rare)
    assert process_with_rare.pages.version_in_memory(rare) is None


def test_names_of_one_index(
    process_of_both: Asking, upstream: FakeUpstream, second_upstream: FakeUpstream
) -> None:
    """An index is asked for the names of its patterns alone, and owns no other one."""
    for name in ("team-core", "rare"):
        upstream.publish(public_wheel(name, "1.0"))
        second_upstream.publish(public_wheel(name, "99.0"))
    process_of_both.page("rare")
    first, second = process_of_both.servers
    names = NameFilter(parse_name_patterns(["team-*"]))
    others = NameFilter(deny=parse_name_patterns(["team-*"]))
    servers = (replace(first, names=names), replace(second, names=others, page_ttl=60))
    asked = len(upstream.asked("rare"))
    with closing(
        Asking(servers, clock=process_of_both.clock, store=process_of_both.store)
    ) as narrow:
        for _ in range(2):
            assert narrow.filenames("team-core") == ["team_core-1.0-py3-none-any.whl"]
            assert narrow.filenames("rare") == ["rare-99.0-py3-none-any.whl"]
            process_of_both.clock.advance(seconds=61)
        assert narrow.pages.ask(canonicalize_name("rare"))
        assert not narrow.pages.ask(canonicalize_name("team-new"))
    assert (len(upstream.asked("rare")), len(upstream.asked("team-core"))) == (asked, 1)
    assert len(second_upstream.asked("rare")) == 3
    assert second_upstream.asked("team-core") == second_upstream.asked("team-new") == []


@pytest.mark.parametrize("fault", [503, 401, Fault.BAD_JSON, Fault.REDIRECT_OTHER])
def test_no_failure_leads_to_the_next_index(
    process_of_both: Asking,
    upstream: FakeUpstream,
    second_upstream: FakeUpstream,
    fault: Fault | int,
) -> None:
    """If the first index does not say that it lacks a name, the second one is not asked."""
    upstream.behave("requests", fault)

    for ask in (process_of_both.pages.ask_if_due, process_of_both.pages.ask):
        with pytest.raises(Unavailable):
            ask(REQUESTS)
    assert second_upstream.asked("requests") == []


def test_a_name_that_moves(process_of_both: Asking, upstream: FakeUpstream) -> None:
    """A name that moves from one index to another is served by none until an operator decides."""
    process_of_both.page("requests")
    upstream.drop("requests")
    process_of_both.clock.advance(seconds=601)

    assert process_of_both.found("requests") is None
    assert process_of_both.again().found("requests") is None
    assert process_of_both.counted("owner_change") == 1
    assert process_of_both.pages.ask(REQUESTS)  # nobody may upload it by mistake
    assert process_of_both.pages.forget(REQUESTS) == "public"
    assert process_of_both.pages.forget(REQUESTS) == ""
    assert process_of_both.page("requests").page.upstream.startswith("second-")


def test_a_name_that_comes_back(
    process_of_both: Asking, upstream: FakeUpstream, second_upstream: FakeUpstream
) -> None:
    """A name that its owner alone has again is served a minute later, and has moved once."""
    process_of_both.page("requests")
    upstream.drop("requests")
    process_of_both.clock.advance(seconds=601)
    assert process_of_both.found("requests") is None
    upstream.publish(PACKAGE)
    second_upstream.drop("requests")
    process_of_both.clock.advance(seconds=61)

    assert process_of_both.filenames("requests") == [PACKAGE.filename]
    assert process_of_both.counted("owner_change") == 1


def test_a_name_that_moves_stays_hidden_while_its_owner_is_silent(
    process_of_both: Asking, upstream: FakeUpstream
) -> None:
    """A name that another index has is shown by none, though a page of its silent owner is kept."""
    process_of_both.page("requests")
    upstream.drop("requests")
    process_of_both.clock.advance(seconds=601)
    assert process_of_both.found("requests") is None
    upstream.publish(PACKAGE)
    owner, _ = process_of_both.pages.single_chains(REQUESTS)
    assert owner.ask_now(REQUESTS) is not None  # as an index that asks this one alone does
    upstream.behave("requests", 503)
    process_of_both.clock.advance(seconds=601)

    assert process_of_both.found("requests") is None


def test_an_upload_of_a_name_that_has_just_moved(
    process_of_both: Asking, upstream: FakeUpstream, second_upstream: FakeUpstream
) -> None:
    """Before an upload it does not count that, seconds ago, no index had what its owner gave up."""
    second_upstream.drop("requests")
    process_of_both.page("requests")
    upstream.drop("requests")
    process_of_both.clock.advance(seconds=601)
    assert process_of_both.found("requests") is None
    second_upstream.publish(public_wheel("requests", "99.0"))

    assert process_of_both.pages.ask(REQUESTS)  # nobody may upload it by mistake


def test_an_upload_of_a_name_that_may_have_moved(
    process_of_both: Asking, upstream: FakeUpstream, second_upstream: FakeUpstream
) -> None:
    """If the owner has given a name up, an upload has to wait until all others have answered."""
    process_of_both.page("requests")
    upstream.drop("requests")
    second_upstream.behave("requests", 503)
    process_of_both.clock.advance(seconds=601)

    with refused("upstream_unavailable"):
        process_of_both.pages.ask(REQUESTS)
    assert process_of_both.found("requests") is None


def test_offline_nothing_is_asked(asking_process: Asking, upstream: FakeUpstream) -> None:
    """Offline, what is kept is served whatever its age, and nothing is ever asked."""
    asking_process.page("requests")
    asking_process.clock.advance(days=365)
    offline = asking_process.again(offline=True)
    before = len(upstream.requests)

    assert not offline.page("requests").is_stale
    assert offline.pages.ask(REQUESTS)
    for ask in (offline.pages.ask_if_due, offline.pages.ask):
        with refused("upstream_unavailable", "upstream.offline", retry_after=None):
            ask(canonicalize_name("other"))
    file = offline.page("requests").page.files[0]
    with refused("upstream_unavailable", "this file of requests is not in it", retry_after=None):
        offline.clients.open_file(offline.servers[0].id, REQUESTS, file.url, Kind.FILE)
    assert len(upstream.requests) == before


def test_offline_nobody_waits_for_who_reads_the_store(process_of_both: Asking) -> None:
    """Offline, a page in memory is served while another thread reads it again, whatever its age."""
    process_of_both.page("requests")
    offline = process_of_both.again(offline=True)
    offline.page("requests")
    offline.clock.advance(days=365)

    assert offline.pages.peek_stale(REQUESTS) is not None


def test_a_store_that_fails(asking_process: Asking, process_of_both: Asking) -> None:
    """Without the store a page is served from memory; of several indexes the owner is unknown."""
    broken = FakeStore(
        MemoryStore(asking_process.clock.seconds), StoreFault(FaultKind.NOT_DONE, times=99)
    )
    one = asking_process.again(store=broken)

    assert one.filenames("requests") == [PACKAGE.filename]
    one.clock.advance(seconds=601)
    assert not one.page("requests").is_stale
    with pytest.raises(Unavailable):
        process_of_both.again(store=broken).found("requests")
    with pytest.raises(Unavailable, match="The store did not answer"):
        asking_process.again(store=broken, offline=True).found("requests")


@pytest.mark.parametrize(
    "fault",
    [
        StoreFault(FaultKind.NOT_DONE, "put*", times=ALWAYS),
        Before(lambda: 1 / 0, "put*", times=ALWAYS),
    ],
    ids=["away", "a fault of ours"],
)
def test_a_store_that_takes_no_page(
    process_of_both: Asking, caplog: pytest.LogCaptureFixture, fault: StoreFault | Before
) -> None:
    """A page that cannot be stored is served, and the log says that it and its owner are not."""
    store = FakeStore(process_of_both.store, fault)

    assert process_of_both.again(store=store).filenames("requests") == [PACKAGE.filename]

    logged = [message.partition(" was not stored")[0] for message in caplog.messages]
    assert {"upstream: the page of requests", "upstream: the owner of requests"} <= {*logged}


def test_a_file_on_another_host_is_left_out(asking_process: Asking, upstream: FakeUpstream) -> None:
    """A file on a host that nobody has named is left out and counted, and the others are there."""
    upstream.behave("requests", Fault.ONE_URL_OTHER_HOST)

    assert asking_process.filenames("requests") == [PACKAGE.filename]

    assert asking_process.counted("blocked") == 1


def test_another_host_for_files(asking_process: Asking, upstream: FakeUpstream) -> None:
    """After an operator has named one more host for files, pages have the files that are there."""
    upstream.publish(public_wheel("requests", "3.0"))
    upstream.behave("requests", Fault.RELATIVE_URL)
    asking_process.page("requests")
    upstream.behave("requests", Fault.ETAG_CONSTANT)
    named = replace(asking_process.servers[0], file_hosts=(upstream.file_host, "new.example"))
    with closing(Asking((named,), clock=asking_process.clock, store=asking_process.store)) as other:
        urls = [file.url for file in other.page("requests").page.files]
    assert all(upstream.file_host in url for url in urls)
    assert upstream.asked("requests")[-1].header("if-none-match") is None


def test_a_clock_that_was_wrong(asking_process: Asking, upstream: FakeUpstream) -> None:
    """A page that was stored in the future is asked for again."""
    asking_process.clock.advance(days=365)
    asking_process.page("requests")
    asking_process.clock.advance(days=-365)

    assert not asking_process.again().page("requests").is_stale
    assert len(upstream.asked("requests")) == 2


@pytest.mark.parametrize("body", [b"", b"\x1f\x8b\x08", b"{}"])
def test_a_damaged_page(asking_process: Asking, body: bytes) -> None:
    """A damaged page in the store is fetched again, and replaced."""
    key = keys.upstream_page(asking_process.servers[0].id, REQUESTS)
    asking_process.store.put(key, body, None)

    assert asking_process.filenames("requests") == [PACKAGE.filename]
    assert stored(asking_process).body != body
    assert not asking_process.again().page("requests").is_stale


def test_the_command_that_forgets(upstream: FakeUpstream, tmp_path: Path) -> None:
    """An operator can have the owner of a name found out anew."""
    upstream.publish(PACKAGE)
    runtime = system_runtime()
    store = LocalStore(tmp_path, runtime.random)
    ensure_format(store)
    with closing(Asking((server_of(upstream),), store=store)) as asking:
        asking.page("requests")
    variables = {
        "WHEELYARD_UPSTREAM_ENABLED": "true",
        "WHEELYARD_UPSTREAM_URL": upstream.url,
        "WHEELYARD_UPSTREAM_LABEL": "public",
        "WHEELYARD_UPSTREAM_PRIVATE": "acme",
        "WHEELYARD_UPSTREAM_ALLOW_PRIVATE_NETWORKS": "127.0.0.0/8",
    }

    def run(*arguments: str, **variables: str) -> str:
        line = ["forget", *arguments, "--store", str(tmp_path)]
        return (
            CliRunner(env=variables).invoke(upstream_command, line, catch_exceptions=False).output
        )

    assert run("Requests", **variables) == "forgot requests: it was public's\n"
    assert run("requests", "--json", **variables) == '{"project":"requests","owner":""}\n'
    with pytest.raises(Invalid, match="There is no upstream index"):
        run("requests")


def test_forgetting_a_name_forgets_its_digests(
    asking_process: Asking, upstream: FakeUpstream
) -> None:
    """Forgetting a name forgets the digest that a file without one had at its first fetch."""
    upstream.behave("requests", Fault.NO_HASH)
    page, pins = asking_process.page("requests").page, pins_of(asking_process)
    pins.pin(REQUESTS, PACKAGE.filename, Pin("a" * 64, 1))
    pins.list_on_page(REQUESTS, PACKAGE.filename, Pin("a" * 64, 1))
    assert pins.complete(page).files[0].sha256 == "a" * 64

    asking_process.pages.forget(REQUESTS)

    assert pins.complete(page) is page
    other = Pin("b" * 64, 1)
    assert pins_of(asking_process).pin(REQUESTS, PACKAGE.filename, other) == other


@pytest.mark.parametrize(
    ("stored", "written", "kept"),
    [("", FIRST, FIRST), (FIRST, "", FIRST), ("", "", "")],
    ids=["seen by the later one", "seen by the earlier one", "seen by none"],
)
def test_of_two_processes_that_write_an_owner_one_that_has_seen_a_contest_is_right(
    stored: str, written: str, kept: str
) -> None:
    """Whichever process writes last, what an earlier index has is in the store once one saw it."""
    clock = Clock()
    owners = StoredOwners(MemoryStore(clock.seconds), ALL)
    for moved_to in (stored, written):
        ownership = Ownership(
            owner="second", asked_at=clock.now, moved_to=moved_to, is_contested=bool(moved_to)
        )
        owners.save(REQUESTS, ownership, ABSENT)
        clock.advance(seconds=1)

    found = owners.load(REQUESTS)
    assert found is not None
    assert found.ownership is not None
    assert (found.ownership.moved_to, found.ownership.is_contested) == (kept, bool(kept))


def test_a_refresh_asks_the_index_before_the_owner(
    process_with_rare: Asking, upstream: FakeUpstream
) -> None:
    """A refresh sees at once that an earlier index has the name, too, and shows nothing of it."""
    upstream.publish(public_wheel("rare", "99.0"))

    assert process_with_rare.pages.ask_now(canonicalize_name("rare")) is None
    assert process_with_rare.found("rare") is None


def test_a_refresh_gets_what_is_new_at_once(asking_process: Asking, upstream: FakeUpstream) -> None:
    """A refresh gets a new release and a new name at once, and other processes have it soon."""
    other = asking_process.again()
    for each in (asking_process, other):
        assert each.filenames("requests") == [PACKAGE.filename]
        assert each.found("late") is None
    newer, late = public_wheel("requests", "3.0"), public_wheel("late", "1.0")
    upstream.publish(newer, late)
    assert asking_process.filenames("requests") == [PACKAGE.filename]

    for name in ("requests", "late"):
        assert asking_process.pages.ask_now(canonicalize_name(name)) is not None
    asked = len(upstream.requests)

    assert asking_process.filenames("requests") == [PACKAGE.filename, newer.filename]
    asking_process.clock.advance(seconds=6)
    for each in (asking_process, other, asking_process.again()):
        assert each.filenames("requests") == [PACKAGE.filename, newer.filename]
        assert each.filenames("late") == [late.filename]
    assert len(upstream.requests) == asked
    upstream.stop()
    with refused("upstream_unavailable"):
        asking_process.pages.ask_now(REQUESTS)
    assert not asking_process.page("requests").is_stale
