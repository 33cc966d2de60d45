"""The lease of a site: one export at a time writes it, and what one that has lost it does."""

from collections.abc import Callable
from threading import Event, Thread

import pytest
from msgspec.json import decode, encode

from tests.exporting.export_fixture import ExportHarness
from tests.exporting.sites import MANIFEST
from tests.http.packages import wheel
from tests.operations.in_memory_index import Clock
from tests.waiting import TIMEOUT_SECONDS
from wheelyard.errors import Unavailable
from wheelyard.exporting.export import Export, ExportResult
from wheelyard.exporting.manifest import (
    FORMAT,
    LEASE_SECONDS,
    POLL_SECONDS,
    RENEWAL_SECONDS,
    Lease,
    Manifest,
    Options,
)
from wheelyard.storage.base import Key, Stored

OTHERS = Options(base_url="https://others.example.com")


def run(export: Export) -> ExportResult:
    """Export to the end."""
    return export.run(lambda *_: None)


def manifest_of(harness: ExportHarness) -> Manifest:
    """Return the stored manifest."""
    stored = harness.site.get(Key(MANIFEST))
    assert isinstance(stored, Stored)
    return decode(stored.body, type=Manifest)


def put_lease(harness: ExportHarness, ends: float) -> None:
    """Write the lease of an export of which nothing more is heard."""
    held = Manifest(options=OTHERS, format=FORMAT, lease=Lease("other", ends))
    harness.site.put(Key(MANIFEST), encode(held), None)


class Before:
    """Lets something happen before the n-th write of a path."""

    def __init__(self, path: str, happens: Callable[[], object], number: int = 1) -> None:
        self._path, self._happens, self._left = path, happens, number

    def __call__(self, verb: str, key: str) -> None:
        """Note a call."""
        if (verb, key) == ("put", self._path):
            self._left -= 1
            if self._left == 0:
                self._happens()


class PausedClock(Clock):
    """A clock that lets something happen in the third pause."""

    def __init__(self, happens: Callable[[], object]) -> None:
        super().__init__()
        self.pauses, self._happens = 0, happens

    def advance(self, **by: float) -> None:
        """Move the clock forward."""
        super().advance(**by)
        self.pauses += 1
        if self.pauses == 3:
            self._happens()


@pytest.mark.parametrize("is_first", [True, False], ids=["a new site", "a site"])
def test_one_after_the_other(harness: ExportHarness, is_first: bool) -> None:  # noqa: FBT001
    """A second export waits for the first one, says so once, and then has nothing to do."""
    harness.publish(wheel("demo", "1.0"))
    if not is_first:
        harness.export()
        harness.publish(wheel("demo", "2.0"))
    is_writing, may_end = Event(), Event()

    def hold() -> None:
        is_writing.set()
        assert may_end.wait(TIMEOUT_SECONDS)

    first = Thread(target=run, args=[harness.opened_export(harness.site, Before("feed.xml", hold))])
    first.start()
    assert is_writing.wait(TIMEOUT_SECONDS)

    def end_first() -> None:
        may_end.set()
        first.join()

    clock = PausedClock(end_first)
    result = run(harness.opened_export(harness.site, clock=clock))

    assert (clock.pauses, harness.waits) == (3, 1)
    assert (result.projects, result.written, result.total) == (0, 0, 1)
    assert manifest_of(harness).lease is None
    harness.assert_fresh()


@pytest.mark.parametrize("is_first", [True, False], ids=["a new site", "a site"])
@pytest.mark.parametrize("path", ["simple/demo/index.html", "search.json", MANIFEST])
def test_a_lost_lease(harness: ExportHarness, path: str, is_first: bool) -> None:  # noqa: FBT001
    """An export that slept until another one took its place begins again, with everything."""
    harness.publish(wheel("demo", "1.0"), wheel("other", "1.0"))
    if not is_first:
        harness.export()
    harness.publish(wheel("demo", "2.0"))

    def sleep() -> None:
        harness.clock.advance(seconds=LEASE_SECONDS + 1)
        harness.publish(wheel("newcomer", "1.0"))
        other = Thread(target=harness.export)  # an event loop of its own
        other.start()
        other.join()

    on_call = Before(path, sleep, 2 if path == MANIFEST else 1)
    result = run(harness.opened_export(harness.site, on_call))

    assert result.projects == 3
    harness.assert_fresh()


def test_a_lease_that_is_renewed(harness: ExportHarness) -> None:
    """A slow export keeps its lease: another one waits, however long it takes."""
    harness.publish(wheel("demo", "1.0"))
    left = list[float]()

    def on_call(verb: str, key: str) -> None:
        if verb == "put" and key != MANIFEST:
            harness.clock.advance(seconds=RENEWAL_SECONDS)
            lease = manifest_of(harness).lease
            assert lease is not None
            left.append(lease.ends - harness.clock.seconds())

    run(harness.opened_export(harness.site, on_call))

    assert min(left) > 0
    harness.assert_fresh()


def test_interrupted_again_and_again(harness: ExportHarness) -> None:
    """An export whose lease others always take ends with an error, and leaves it to them."""

    def take(verb: str, key: str) -> None:
        if (verb, key) == ("list", "project/"):  # every attempt begins with that
            harness.clock.advance(seconds=LEASE_SECONDS + 1)
            put_lease(harness, harness.clock.seconds() + 1)

    with pytest.raises(Unavailable, match="again and again"):
        run(harness.opened_export(harness.site, take))

    assert manifest_of(harness).lease == Lease("other", harness.clock.seconds() + 1)


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [(-1e9, 0.0), (5.0, 5.0), (1e9, LEASE_SECONDS)],
    ids=["past", "now", "far"],
)
def test_a_lease_that_nobody_gives_back(
    harness: ExportHarness, ahead: float, expected: float
) -> None:
    """A killed export is waited for until its lease ends, and no longer than 30 s of one's own."""
    harness.publish(wheel("demo", "1.0"))
    begun = harness.clock.seconds()
    put_lease(harness, begun + ahead)

    harness.export()

    assert expected <= harness.clock.seconds() - begun <= expected + POLL_SECONDS
    assert harness.waits == (expected > 0)
    harness.assert_fresh()


@pytest.mark.parametrize(
    "lease", [b'{"holder": 1}', b"[]", b'{"holder": "x", "ends": "later"}', b'{"ends": 1e99}']
)
def test_a_damaged_lease(harness: ExportHarness, lease: bytes) -> None:
    """A lease that cannot be read is that of nobody, and everything is made again."""
    harness.publish(wheel("demo", "1.0"))
    harness.export()
    stored = harness.site.get(Key(MANIFEST))
    assert isinstance(stored, Stored)
    harness.site.put(Key(MANIFEST), stored.body.replace(b'"lease":null', b'"lease":' + lease), None)
    harness.site.put(Key("simple/demo/index.html"), b"oops", None)

    harness.export()

    assert harness.waits == 0
    harness.assert_fresh()


def test_interrupted(harness: ExportHarness) -> None:
    """After a fault the next export need not wait, and makes every page again."""
    harness.publish(wheel("demo", "1.0"), wheel("other", "1.0"))
    harness.export()
    harness.publish(wheel("demo", "2.0"))

    def fail() -> None:
        raise Unavailable("The site is not there.")

    with pytest.raises(Unavailable, match="not there"):
        run(harness.opened_export(harness.site, Before("search.json", fail)))
    harness.export()

    assert (harness.result.projects, harness.waits) == (2, 0)
    harness.assert_fresh()
