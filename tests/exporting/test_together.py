"""Two exports at once: one at a time writes the site, by its lease, while others publish."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from threading import Semaphore, Thread
from threading import enumerate as threads

import pytest
from msgspec.json import decode, encode

from tests.distributions import make_sdist, make_wheel
from tests.exporting.export_fixture import (
    WRITES,
    ExportHarness,
    delete,
    ignore,
    set_status,
    yank,
)
from tests.exporting.sites import MANIFEST, broken, tree
from tests.fake_store import ALWAYS, Before, FakeStore, Fault, Pause
from tests.waiting import TIMEOUT_SECONDS
from wheelyard.errors import Unavailable
from wheelyard.exporting.site_folder import (
    FORMAT,
    LEASE_SECONDS,
    POLL_SECONDS,
    RENEWAL_SECONDS,
    Lease,
    Manifest,
    Options,
)
from wheelyard.model.project import Status
from wheelyard.storage.base import Key, Stored

SEEDS = 6


def changes(harness: ExportHarness) -> list[Callable[[], None]]:
    """Return what is published, deleted and the like, one after the other."""
    index = harness.index
    return [
        lambda: harness.publish(make_wheel("demo", "2.0")),
        lambda: delete(index, "demo", "1.0"),
        lambda: set_status(index, "other", Status.QUARANTINED),
        lambda: harness.publish(make_wheel("newcomer", "1.0", "Requires-Dist: demo")),
        lambda: yank(index, "demo", "2.0"),
        lambda: set_status(index, "other", Status.ACTIVE),
        lambda: delete(index, "demo", "2.0"),
        lambda: harness.publish(make_sdist("other", "1.1"), make_wheel("last", "1.0")),
    ]


class SteppedExport(Thread):
    """An export that makes a call when the test says so, and then runs until the next one."""

    def __init__(self, harness: ExportHarness) -> None:
        super().__init__(daemon=True)
        self.verb = ""
        """Of the call that it waits to make; empty if it has ended."""
        self.fault: BaseException | None = None
        self._harness, self._may_go, self._has_stopped = harness, Semaphore(0), Semaphore(0)
        self.start()
        assert self._has_stopped.acquire(timeout=TIMEOUT_SECONDS)

    def run(self) -> None:
        """Export to the end."""
        try:
            site = FakeStore(self._harness.site)
            site.follow(Before(lambda: self._wait(site.calls[-1][0]), times=ALWAYS))
            store = FakeStore(self._harness.store, Before(lambda: self._wait("read"), times=ALWAYS))
            self._harness.opened_export(site, store).run(ignore)
        except BaseException as fault:  # noqa: BLE001 - reported by the test
            self.fault = fault
        self.verb = ""
        self._has_stopped.release()

    def go_on(self) -> None:
        """Let it make its call; return when it waits again, or has ended."""
        self._may_go.release()
        assert self._has_stopped.acquire(timeout=TIMEOUT_SECONDS)
        assert self.fault is None

    def _wait(self, verb: str) -> None:
        self.verb = verb
        self._has_stopped.release()
        assert self._may_go.acquire(timeout=TIMEOUT_SECONDS)


@pytest.mark.slow
@pytest.mark.parametrize("naps", [0, 6], ids=["awake", "asleep"])
@pytest.mark.parametrize("is_first", [True, False], ids=["a new site", "a site"])
def test_two_exports_and_a_publisher_break_no_link(
    tmp_path: Path,
    *,
    is_first: bool,
    naps: int,
) -> None:
    """Two exports and a publisher at once break no link, and the next export is right."""
    for seed in range(SEEDS):
        harness, random = ExportHarness(tmp_path), Random(seed)
        harness.publish(
            make_wheel("demo", "1.0"), make_wheel("demo", "1.5"), make_wheel("other", "1.0")
        )
        if not is_first:
            harness.export()
            harness.publish(make_sdist("demo", "1.5"))
        exports, steps, left = [SteppedExport(harness) for _ in range(2)], changes(harness), naps
        while running := [export for export in exports if export.verb]:
            chosen = random.choice([*running, *running, "publisher", "sleep"])
            if isinstance(chosen, SteppedExport):
                verb = chosen.verb
                chosen.go_on()
                # a call that was about to be made when the lease ended is made all the same
                if verb in WRITES and not naps:
                    assert broken(tree(harness.site), is_written_now=True) == [], seed
            elif chosen == "publisher" and steps:
                steps.pop(0)()
            elif chosen == "sleep" and left:
                harness.clock.advance(seconds=LEASE_SECONDS / 2)
                left -= 1
        assert steps == []
        harness.export()
        harness.assert_fresh(seed)


@pytest.mark.parametrize(
    ("where", "verb", "part"),
    [
        ("site", "list", "files/demo/"),
        ("site", "put_file", "files/demo/"),
        ("store", "read", "files/demo/"),
        ("site", "put", "simple/demo/index.html"),
        ("site", "put", "search.json"),
        ("store", "get", "projects/"),
    ],
)
def test_deleted_files_are_no_fault(
    harness: ExportHarness, where: str, verb: str, part: str
) -> None:
    """A file that is deleted while it is being exported is no fault: the export looks again."""
    harness.publish(
        make_wheel("demo", "1.0"), make_wheel("demo", "1.5"), make_wheel("other", "1.0")
    )
    stores = {"site": FakeStore(harness.site), "store": FakeStore(harness.store)}
    stores[where].follow(Before(lambda: delete(harness.index, "demo", "1.0"), verb, f"{part}*"))

    result = harness.opened_export(**stores).run(ignore)

    assert (stores[where].count(verb, f"{part}*") > 0, result.failed) == (True, ())
    harness.export()
    harness.assert_fresh()


def lease_of(harness: ExportHarness) -> Lease | None:
    """Return the stored lease."""
    stored = harness.site.get(Key(MANIFEST))
    assert isinstance(stored, Stored)
    return decode(stored.body, type=Manifest).lease


def put_lease(harness: ExportHarness, ends: float) -> None:
    """Write the lease of an export of which nothing more is heard."""
    others = Options(base_url="https://others.example.com")
    held = Manifest(options=others, format=FORMAT, lease=Lease("other", ends))
    harness.site.put(Key(MANIFEST), encode(held), None)


def test_a_second_export_waits_for_the_first(harness: ExportHarness) -> None:
    """A second export waits for the first one, says so once, and then has nothing to do."""
    harness.publish(make_wheel("demo", "1.0"))
    pause = Pause()
    export = harness.opened_export(FakeStore(harness.site, Before(pause, "put", "feed.xml")))
    first = Thread(target=export.run, args=[ignore])
    first.start()
    pause.wait_for_call()

    def end_first() -> None:
        pause.go_on.set()
        first.join()

    site = FakeStore(harness.site, Before(end_first, "get", MANIFEST, nth=4))
    result = harness.opened_export(site).run(ignore)

    assert harness.waits == 1
    assert (result.projects, result.written, result.total) == (0, 0, 1)
    assert lease_of(harness) is None
    harness.assert_fresh()


@pytest.mark.parametrize(
    ("number", "path"), [(1, "simple/demo/index.html"), (1, "search.json"), (2, MANIFEST)]
)
def test_lost_lease_begins_again(harness: ExportHarness, number: int, path: str) -> None:
    """An export that has lost its lease to another begins again, and shows what is newest."""
    harness.publish(make_wheel("demo", "1.0"), make_wheel("other", "1.0"))
    harness.export()
    harness.publish(make_wheel("demo", "2.0"))

    def sleep() -> None:
        harness.clock.advance(seconds=LEASE_SECONDS + 1)
        harness.publish(make_wheel("newcomer", "1.0"))
        other = Thread(target=harness.export)  # an event loop of its own
        other.start()
        other.join()

    site = FakeStore(harness.site, Before(sleep, "put", path, nth=number))
    result = harness.opened_export(site).run(ignore)

    assert result.projects == 3
    harness.assert_fresh()


def test_a_slow_export_keeps_its_lease(harness: ExportHarness) -> None:
    """A slow export keeps its lease: another one waits, however long it takes."""
    harness.publish(make_wheel("demo", "1.0"))
    left = list[float]()

    def write_slowly() -> None:
        if site.calls[-1] != ("put", MANIFEST):
            harness.clock.advance(seconds=RENEWAL_SECONDS)
            lease = lease_of(harness)
            assert lease is not None
            left.append(lease.ends - harness.clock.seconds())

    site = FakeStore(harness.site, Before(write_slowly, "put", times=ALWAYS))
    harness.opened_export(site).run(ignore)

    assert min(left) > 0
    harness.assert_fresh()


def test_an_export_without_a_chance_gives_up(harness: ExportHarness) -> None:
    """An export whose lease others always take ends with an error, and leaves it to them."""

    def take() -> None:
        harness.clock.advance(seconds=LEASE_SECONDS + 1)
        put_lease(harness, harness.clock.seconds() + 1)

    # every attempt begins with that list
    site = FakeStore(harness.site, Before(take, "list", "project/", times=ALWAYS))
    with pytest.raises(Unavailable, match="again and again"):
        harness.opened_export(site).run(ignore)

    assert lease_of(harness) == Lease("other", harness.clock.seconds() + 1)


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [(-1e9, 0.0), (5.0, 5.0), (1e9, LEASE_SECONDS)],
    ids=["past", "now", "far"],
)
def test_a_killed_export_is_waited_for_until_its_lease_ends(
    harness: ExportHarness, ahead: float, expected: float
) -> None:
    """A killed export is waited for until its lease ends, for at most the time of a lease."""
    harness.publish(make_wheel("demo", "1.0"))
    begun = harness.clock.seconds()
    put_lease(harness, begun + ahead)

    harness.export()

    assert expected <= harness.clock.seconds() - begun <= expected + POLL_SECONDS
    assert harness.waits == (expected > 0)
    harness.assert_fresh()


@pytest.mark.parametrize(
    ("verb", "path"),
    [("put", "search.json"), ("put", "simple/demo/index.html"), ("put_file", "files/demo/*")],
    ids=["a page of all", "a page of a project", "a file"],
)
def test_after_a_fault_the_next_export_need_not_wait(
    harness: ExportHarness, verb: str, path: str
) -> None:
    """After a fault of the site the next export need not wait, and makes every page again."""
    harness.publish(make_wheel("demo", "1.0"), make_wheel("other", "1.0"))
    harness.export()
    harness.publish(make_wheel("demo", "2.0"))

    fault = Fault(Unavailable("The site is not there."), verb, path)
    site = FakeStore(harness.site, fault)

    with pytest.raises(Unavailable, match="not there"):
        harness.opened_export(site).run(ignore)
    harness.export()

    assert (harness.result.projects, harness.waits) == (2, 0)
    harness.assert_fresh()


def test_after_a_fault_no_thread_is_left_that_could_write(tmp_path: Path) -> None:
    """A failed export of a bucket leaves no thread behind, which could go on writing pages."""
    harness = ExportHarness(tmp_path, near=False)
    harness.publish(make_wheel("demo", "1.0"), make_wheel("other", "1.0"))
    fault = Fault(Unavailable("The site is not there."), "put", "simple/demo/index.html")

    with pytest.raises(Unavailable, match="not there"):
        harness.opened_export(FakeStore(harness.site, fault)).run(ignore)

    assert [each.name for each in threads() if each.name.startswith("project")] == []
