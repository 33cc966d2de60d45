"""A store to export, and commands to type."""

from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import pytest

from tests.cli.conftest import wheelyard as _wheelyard
from tests.exporting.export_fixture import ExportHarness, stock
from tests.fake_gcs.server import FakeGcs, running_fake_gcs

wheelyard = _wheelyard


@pytest.fixture
def harness(tmp_path: Path) -> ExportHarness:
    """An index in a folder, with nothing in it."""
    return ExportHarness(tmp_path)


@pytest.fixture(scope="session")
def stocked_template(tmp_path_factory: pytest.TempPathFactory) -> ExportHarness:
    """An index in a folder, with something of everything in it; it is only copied."""
    harness = ExportHarness(tmp_path_factory.mktemp("stock"))
    stock(harness.index, harness.folder)
    return harness


@pytest.fixture
def stocked(harness: ExportHarness, stocked_template: ExportHarness) -> ExportHarness:
    """The same, for one test alone."""
    copytree(stocked_template.store, harness.store)
    return harness


@pytest.fixture
def cloud() -> Iterator[FakeGcs]:
    """Two buckets, one for a store and one for a site."""
    with running_fake_gcs("wheels", "site") as server:
        yield server
