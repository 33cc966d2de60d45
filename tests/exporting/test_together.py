"""Two exports at once, with uploads and deletes in between, in many orders."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from threading import Condition, Thread

import pytest

from tests.exporting.export_fixture import WRITES, ExportHarness, delete, set_status, yank
from tests.exporting.sites import broken, tree
from tests.http.packages import sdist, wheel
from tests.waiting import TIMEOUT_SECONDS
from wheelyard.exporting.manifest import LEASE_SECONDS
from wheelyard.model.project import Status

SEEDS = 30
EXPORTS = ("first", "second")


def changes(harness: ExportHarness) -> Iterator[None]:
    """Publish, delete and the like, one after the other."""
    index = harness.index
    harness.publish(wheel("demo", "2.0"))
    yield
    delete(index, "demo", "1.0")
    yield
    set_status(index, "other", Status.QUARANTINED)
    yield
    harness.publish(wheel("newcomer", "1.0", "Requires-Dist: demo"))
    yield
    yank(index, "demo", "2.0")
    yield
    set_status(index, "other", Status.ACTIVE)
    yield
    delete(index, "demo", "2.0")
    yield
    harness.publish(sdist("other", "1.1"), wheel("last", "1.0"))


class Turns:
    """Lets threads that make one call at a time go on in an order that the test decides."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._waiting = dict[str, str]()
        """The verb of the call that a thread waits to make."""
        self._running = set[str]()
        self._faults = list[BaseException]()

    def start(self, harness: ExportHarness, name: str) -> None:
        """Begin to export in a thread."""
        self._running.add(name)
        Thread(target=self._run, args=[harness, name], daemon=True).start()

    def waiting(self) -> dict[str, str]:
        """Wait until no thread runs; return the verbs of the calls that wait."""
        with self._changed:
            assert self._changed.wait_for(lambda: not self._running, TIMEOUT_SECONDS)
            assert self._faults == []
            return self._waiting.copy()

    def go_on(self, name: str) -> None:
        """Let a thread make its call, and run until the next one."""
        with self._changed:
            del self._waiting[name]
            self._running.add(name)
            self._changed.notify_all()

    def _run(self, harness: ExportHarness, name: str) -> None:
        def on_call(verb: str, _key: str) -> None:
            with self._changed:
                self._waiting[name] = verb
                self._running.discard(name)
                self._changed.notify_all()
                assert self._changed.wait_for(lambda: name in self._running, TIMEOUT_SECONDS)

        try:
            harness.opened_export(harness.site, on_call).run(lambda *_: None)
        except BaseException as fault:  # noqa: BLE001 - reported by the test
            self._faults.append(fault)
        with self._changed:
            self._running.discard(name)
            self._changed.notify_all()


@pytest.mark.slow
@pytest.mark.parametrize("naps", [0, 6], ids=["awake", "asleep"])
@pytest.mark.parametrize("is_first", [True, False], ids=["a new site", "a site"])
def test_two_exports_and_a_publisher(
    tmp_path: Path,
    is_first: bool,  # noqa: FBT001
    naps: int,
) -> None:
    """In any order no page names a file that is not there, and the next export is right."""
    for seed in range(SEEDS):
        harness, random, turns = ExportHarness(tmp_path), Random(seed), Turns()
        harness.publish(wheel("demo", "1.0"), wheel("demo", "1.5"), wheel("other", "1.0"))
        if not is_first:
            harness.export()
            harness.publish(sdist("demo", "1.5"))
        for name in EXPORTS:
            turns.start(harness, name)
        publisher, is_left, left = changes(harness), True, naps
        while waiting := turns.waiting():
            chosen = random.choice([*sorted(waiting), *sorted(waiting), "publisher", "sleep"])
            if chosen == "publisher":
                is_left = is_left and next(publisher, "over") != "over"
            elif chosen == "sleep":
                harness.clock.advance(seconds=LEASE_SECONDS / 2 if left else 0)
                left = max(left - 1, 0)
            else:
                turns.go_on(chosen)
                # a call that was about to be made when the lease ended is made all the same
                if waiting[chosen] in WRITES and not naps and turns.waiting() is not None:
                    assert broken(tree(harness.site), is_written_now=True) == [], seed
        assert not is_left
        harness.export()
        harness.assert_fresh(seed)


@pytest.mark.parametrize(
    ("verb", "part"),
    [
        *(("list", "files/demo/"), ("put", "files/demo/"), ("store read", "files/demo/")),
        *(("put", "simple/demo/index.html"), ("put", "search.json"), ("store get", "projects/")),
    ],
)
def test_deleted_meanwhile(harness: ExportHarness, verb: str, part: str) -> None:
    """A file that is deleted while it is being exported is no fault: the export looks again."""
    harness.publish(wheel("demo", "1.0"), wheel("demo", "1.5"), wheel("other", "1.0"))
    calls = list[str]()

    def on_call(called: str, key: str) -> None:
        if (called, key.startswith(part), calls) == (verb, True, []):
            calls.append(key)
            delete(harness.index, "demo", "1.0")

    result = harness.opened_export(harness.site, on_call).run(lambda *_: None)

    assert (len(calls), result.failed) == (1, ())
    harness.export()
    harness.assert_fresh()
