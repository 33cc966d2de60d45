"""Exports that are killed at any moment, and what the next one makes of it."""

import os
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.durability.serving import HEEDING, environment
from tests.exporting.export_fixture import (
    ExportHarness,
    StoreFolder,
    delete,
    export_to,
    set_status,
    yank,
)
from tests.exporting.sites import BASE, broken, tree
from tests.http.packages import sdist, wheel
from tests.operations.distributions import make_wheel
from tests.operations.fake_sources import FakeFiles, FakeSource
from tests.operations.in_memory_index import ALICE, Clock
from tests.waiting import TIMEOUT_SECONDS, until
from wheelyard.exporting.destination import open_export
from wheelyard.exporting.manifest import RequestedOptions, SiteLease
from wheelyard.model.project import Status
from wheelyard.operations.importing.parallel_import import Importer
from wheelyard.storage.base import ABSENT, Store, Stored
from wheelyard.storage.memory import MemoryStore

AT_BASE = RequestedOptions(base_url=BASE)


class ExportKilled(BaseException):
    """Raised to kill an export."""


class Killer:
    """Kills an export at its n-th call on the site or on the store; nothing happens after that."""

    def __init__(self, number: int) -> None:
        self._calls = count(-number)

    def __call__(self, _verb: str, _key: str) -> None:
        """Note a call."""
        if next(self._calls) >= 0:
            raise ExportKilled


def change(harness: ExportHarness) -> None:
    """Change the projects in every way."""
    harness.publish(sdist("demo", "1.1"), wheel("newcomer", "1.0"))
    delete(harness.index, "demo", "1.0")
    delete(harness.index, "gone", "1.0")
    yank(harness.index, "demo", "1.1")
    set_status(harness.index, "hidden", Status.QUARANTINED)


def copy_of(site: Store, harness: ExportHarness) -> MemoryStore:
    """Return a copy of a site."""
    copy = MemoryStore(harness.clock.seconds)
    for entry in site.list(""):
        stored = site.get(entry.key)
        assert isinstance(stored, Stored)
        copy.put(entry.key, stored.body, ABSENT)
    return copy


@pytest.mark.slow
@pytest.mark.parametrize("is_first", [True, False], ids=["a new site", "a site"])
def test_killed_at_every_call(harness: ExportHarness, is_first: bool) -> None:  # noqa: FBT001
    """Wherever it ends, installers get what pages promise, and the next export finishes it."""
    names = ("gone", "hidden")
    harness.publish(wheel("demo", "1.0"), wheel("demo", "1.1"), *(wheel(name) for name in names))
    harness.export()
    change(harness)
    fresh = harness.fresh()
    for number in count():
        site = MemoryStore(harness.clock.seconds) if is_first else copy_of(harness.site, harness)
        try:
            harness.opened_export(site, Killer(number)).run(lambda *_: None)
        except ExportKilled:
            assert broken(tree(site), is_written_now=True) == [], number
            harness.export(site)
            assert tree(site) == fresh, number
        else:
            break
    assert number > 60


def ended_by(store: StoreFolder, number: signal.Signals) -> tuple[int, str]:
    """Export with the command, and end it while it writes pages; return how, and what it said."""
    line = ("export", str(store.site), "--store", str(store.store), "--base-url", BASE)
    with subprocess.Popen(
        [sys.executable, "-c", HEEDING, *line],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        until((store.site / "project").exists, process=process)
        os.killpg(process.pid, number)  # as a terminal does
        _, errors = process.communicate(timeout=TIMEOUT_SECONDS)
    site = {path: body for path, body in tree(store.site).items() if "/.part-" not in path}
    assert broken(site, is_written_now=True) == []
    assert "simple/index.html" not in site
    return process.returncode, errors


@pytest.fixture
def large(tmp_path: Path) -> StoreFolder:
    """A store with so many projects that there is time to end an export of it."""
    store, files = StoreFolder(tmp_path), FakeFiles()
    offers = [files.offer(make_wheel(f"demo{number}")) for number in range(200)]
    assert Importer(store.index.uploads).run(FakeSource(offers), ALICE).refused == []
    return store


@pytest.mark.integration
@pytest.mark.parametrize(
    ("number", "status", "said", "waits"),
    [
        (signal.SIGINT, 130, "\nwheelyard: interrupted\n", 0),
        (signal.SIGTERM, -signal.SIGTERM, "", 1),
        (signal.SIGKILL, -signal.SIGKILL, "", 1),
    ],
)
def test_the_command_is_ended(
    large: StoreFolder, number: signal.Signals, status: int, said: str, waits: int
) -> None:
    """Ctrl-C ends it with one line; after a kill, the next export waits for the lease to end."""
    assert ended_by(large, number) == (status, said)

    clock, told = Clock(large.index.runtime.now()), list[str]()
    export = open_export(large.index, str(large.site), AT_BASE, lambda: told.append(""))
    runtime = replace(
        large.index.runtime,
        now=lambda: clock.now,
        monotonic=clock.seconds,
        pause=lambda seconds: clock.advance(seconds=seconds),
    )
    lease = SiteLease(export.place.store, runtime, lambda: told.append(""))
    result = replace(export, lease=lease).run(lambda *_: None)

    assert (result.projects, len(told)) == (200, waits)
    export_to(large.index, large.folder / "fresh", AT_BASE)
    assert tree(large.site) == tree(large.folder / "fresh")
