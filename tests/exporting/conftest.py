"""Stores to export, and commands to type."""

from pathlib import Path
from shutil import copytree

import pytest

from tests.cli.conftest import wheelyard as _wheelyard
from tests.exporting.export_fixture import ExportHarness, StoreFolder, stock

wheelyard = _wheelyard


@pytest.fixture
def harness(tmp_path: Path) -> ExportHarness:
    """An index in memory, with nothing in it."""
    return ExportHarness(tmp_path)


@pytest.fixture(scope="session")
def stocked_template(tmp_path_factory: pytest.TempPathFactory) -> StoreFolder:
    """A store in a folder, with something of everything in it; it is only copied."""
    template = StoreFolder(tmp_path_factory.mktemp("stock"))
    stock(template.index, template.folder)
    return template


@pytest.fixture
def stocked_store(tmp_path: Path, stocked_template: StoreFolder) -> StoreFolder:
    """A copy of the store with something of everything in it, for one test alone."""
    copytree(stocked_template.store, tmp_path / "store")
    return StoreFolder(tmp_path)
