"""Fixtures for the tests of upstream indexes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.in_process_network import NetworkOrPorts
from tests.operations.in_memory_index import IndexHarness
from tests.upstream.fake_upstream import FakeUpstream, running_fake_upstream


@pytest.fixture
def upstream(network: NetworkOrPorts) -> Iterator[FakeUpstream]:
    """An upstream that has nothing yet."""
    with running_fake_upstream(network) as running:
        yield running


@pytest.fixture
def second_upstream(network: NetworkOrPorts) -> Iterator[FakeUpstream]:
    """A second upstream that has nothing yet."""
    with running_fake_upstream(network) as running:
        yield running


@pytest.fixture
def harness(tmp_path: Path) -> IndexHarness:
    """An index in memory, with a clock that stands still."""
    return IndexHarness(tmp_path)
