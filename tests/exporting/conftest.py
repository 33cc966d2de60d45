"""A store to export, and commands to type."""

from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import pytest

from tests.cli.conftest import sandbox as _sandbox
from tests.cli.conftest import wheelyard as _wheelyard
from tests.exporting.export_fixture import Yard, stock
from tests.fake_gcs.server import BucketServer, running_bucket_server

sandbox, wheelyard = _sandbox, _wheelyard


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    """An index in a folder, with nothing in it."""
    return Yard(tmp_path)


@pytest.fixture(scope="session")
def stock_room(tmp_path_factory: pytest.TempPathFactory) -> Yard:
    """An index in a folder, with something of everything in it; it is only copied."""
    yard = Yard(tmp_path_factory.mktemp("stock"))
    stock(yard.index, yard.folder)
    return yard


@pytest.fixture
def stocked(yard: Yard, stock_room: Yard) -> Yard:
    """The same, for one test alone."""
    copytree(stock_room.store, yard.store)
    return yard


@pytest.fixture
def cloud() -> Iterator[BucketServer]:
    """Two buckets, one for a store and one for a site."""
    with running_bucket_server("wheels", "site") as server:
        yield server
