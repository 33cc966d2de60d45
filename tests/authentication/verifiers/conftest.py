"""Fixtures for tests of who is believed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.authentication.verifiers.fake_issuer import World, loopback_fetcher, stand_in
from tests.authentication.verifiers.password_fixture import PasswordHarness
from tests.operations.in_memory_index import Clock


@pytest.fixture
def harness(tmp_path: Path) -> PasswordHarness:
    """Return a verifier of htpasswd passwords with one known user."""
    return PasswordHarness(tmp_path)


@pytest.fixture
def clock() -> Clock:
    """Return the clock of a test."""
    return Clock()


@pytest.fixture
def world() -> Iterator[World]:
    """Run a server that stands in for issuers."""
    with stand_in() as site, loopback_fetcher() as fetcher:
        yield World(site, fetcher)
