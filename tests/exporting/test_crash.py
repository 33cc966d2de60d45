"""Exports that are killed at any moment, and what the next one makes of it."""

import os
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from tests.distributions import make_sdist, make_wheel
from tests.durability.serving import HEEDING, environment
from tests.exporting.export_fixture import (
    ExportHarness,
    StoreFolder,
    delete,
    ignore,
    set_status,
    yank,
)
from tests.exporting.sites import BASE, broken, tree
from tests.fake_store import ALWAYS, Before, FakeStore
from tests.operations.fake_sources import FakeFiles, FakeSource
from tests.operations.in_memory_index import ALICE, objects
from tests.waiting import TIMEOUT_SECONDS, until
from wheelyard.model.project import Status
from wheelyard.operations.importing.parallel_import import Importer
from wheelyard.storage.base import ABSENT, Key
from wheelyard.storage.memory import MemoryStore


class ExportKilled(BaseException):
    """Raised to kill an export."""


class Killer:
    """Kills an export at its n-th call on the site or on the store; nothing happens after that."""

    def __init__(self, number: int) -> None:
        self._calls = count(-number)

    def __call__(self) -> None:
        """Note a call."""
        if next(self._calls) >= 0:
            raise ExportKilled


@pytest.mark.slow
@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.weekly)])
@pytest.mark.parametrize("is_first", [True, False], ids=["a new site", "a site"])
def test_a_killed_export_is_finished_by_the_next(
    harness: ExportHarness, *, is_first: bool, step: int
) -> None:
    """Wherever an export is killed, the site works, and the next export completes it."""
    index, others = harness.index, (make_wheel("gone"), make_wheel("hidden"))
    harness.publish(make_wheel("demo", "1.0"), make_wheel("demo", "1.1"), *others)
    harness.export()
    before = {} if is_first else dict(objects(harness.site))
    harness.publish(make_sdist("demo", "1.1"), make_wheel("newcomer", "1.0"))
    delete(index, "demo", "1.0")
    delete(index, "gone", "1.0")
    yank(index, "demo", "1.1")
    set_status(index, "hidden", Status.QUARANTINED)
    fresh = harness.fresh()
    for number in count(step=step):
        site = MemoryStore(harness.clock.seconds)
        for key, body in before.items():
            site.put(Key(key), body, ABSENT)
        try:
            kill = Before(Killer(number), times=ALWAYS)
            stores = FakeStore(site, kill), FakeStore(harness.store, kill)
            harness.opened_export(*stores).run(ignore)
        except ExportKilled:
            assert broken(tree(site), is_written_now=True) == [], number
            harness.export(site)
            assert tree(site) == fresh, number
        else:
            break
    assert number > 60


@pytest.fixture
def large_store(tmp_path: Path) -> StoreFolder:
    """A store with so many projects that there is time to end an export of it."""
    store, files = StoreFolder(tmp_path), FakeFiles()
    offers = [files.offer(make_wheel(f"demo{number}")) for number in range(100)]
    assert Importer(store.index.uploads).run(FakeSource(offers), ALICE).refused == []
    return store


@pytest.mark.integration
@pytest.mark.parametrize(
    ("number", "status", "message", "waits"),
    [
        (signal.SIGINT, 130, "\nwheelyard: interrupted\n", 0),
        (signal.SIGKILL, -signal.SIGKILL, "", 1),
    ],
)
def test_ctrl_c_and_kill_leave_a_site_that_works(
    large_store: StoreFolder, number: signal.Signals, status: int, message: str, waits: int
) -> None:
    """Ctrl-C ends an export with one line; after a kill, the next waits for the lease to end."""
    line = ("export", str(large_store.site), "--store", str(large_store.store), "--base-url", BASE)
    with subprocess.Popen(
        [sys.executable, "-c", HEEDING, *line],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        until((large_store.site / "project").exists, process=process)
        os.killpg(process.pid, number)  # as a terminal does
        _, errors = process.communicate(timeout=TIMEOUT_SECONDS)

    assert (process.returncode, errors) == (status, message)
    site = {path: body for path, body in tree(large_store.site).items() if "/.part-" not in path}
    assert broken(site, is_written_now=True) == []
    assert "simple/index.html" not in site
    result, waited = large_store.export_patiently(large_store.site)
    assert (result.projects, waited) == (100, waits)
    assert tree(large_store.site) == large_store.fresh()
