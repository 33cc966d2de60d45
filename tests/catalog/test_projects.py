"""Reads of a project whose document is not cached, or is stale."""

from pathlib import Path

from tests.catalog.invariants import DEMO
from tests.operations.distributions import make_wheel
from tests.operations.in_memory_index import IndexHarness, fake_runtime
from wheelyard.catalog import keys
from wheelyard.catalog.projects import Projects
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.storage.spool import Spool
from wheelyard.wiring.index import build_index
from wheelyard.wiring.stores import StoreTraits


def far_reader(harness: IndexHarness) -> Projects:
    """Return the projects of a process with a remote store and stale-if-error."""
    settings = Settings(store=StoreSettings(stale_if_error=60))
    spool, runtime = Spool(harness.folder), fake_runtime(harness.clock, 2)
    return build_index(
        harness.store, spool, settings, runtime, StoreTraits(is_local=False)
    ).projects


def test_a_project_that_was_missing_a_moment_ago(tmp_path: Path) -> None:
    """A project is there as soon as its name is listed, though it was missing a moment ago."""
    harness = IndexHarness(tmp_path)
    reader = far_reader(harness)

    assert reader.documents.get(keys.project(DEMO)).value is None
    harness.upload(make_wheel())

    assert reader.load(DEMO).value is not None


def test_a_listed_project_is_never_said_to_be_missing(tmp_path: Path) -> None:
    """Without the store, only a name that the list did not have is said to be missing."""
    harness = IndexHarness(tmp_path)
    before, after = far_reader(harness), far_reader(harness)

    assert before.peek(DEMO, "stale") is None
    before.names.get()
    harness.upload(make_wheel())
    after.names.get()

    missing = before.peek(DEMO, "stale")
    assert missing is not None
    assert missing.value is None
    assert after.peek(DEMO, "stale") is None
