"""Fixtures for the tests of upstream indexes."""

from collections.abc import Iterator
from pathlib import Path

import httpcore2
import pytest

from tests.fake_gcs.listener import Listener
from tests.operations.in_memory_index import IndexHarness
from tests.upstream.fake_upstream import FakeUpstream, NewListener, running_fake_upstream
from tests.upstream.in_process_network import InProcessNetwork


@pytest.fixture
def new_listener(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> NewListener:
    """What the upstreams of a test listen with: sockets only in an integration test."""
    if request.node.get_closest_marker("integration"):
        return Listener
    network = InProcessNetwork()
    monkeypatch.setattr(httpcore2.SyncBackend, "connect_tcp", network.connect_tcp)
    return network.new_listener


@pytest.fixture
def upstream(new_listener: NewListener) -> Iterator[FakeUpstream]:
    """An upstream that has nothing yet."""
    with running_fake_upstream(new_listener) as running:
        yield running


@pytest.fixture
def second_upstream(new_listener: NewListener) -> Iterator[FakeUpstream]:
    """A second upstream that has nothing yet."""
    with running_fake_upstream(new_listener) as running:
        yield running


@pytest.fixture
def harness(tmp_path: Path) -> IndexHarness:
    """An index in memory, with a clock that stands still."""
    return IndexHarness(tmp_path)
