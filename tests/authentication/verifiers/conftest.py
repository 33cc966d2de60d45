"""Fixtures for tests of the verifiers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.authentication.verifiers.fake_issuer import (
    VerifierHarness,
    loopback_fetcher,
    running_issuer,
)
from tests.authentication.verifiers.password_fixture import PasswordHarness
from tests.fake_time import Clock
from tests.in_process_network import NetworkOrPorts


@pytest.fixture
def htpasswd(tmp_path: Path) -> PasswordHarness:
    """Return a verifier of htpasswd passwords with one known user."""
    return PasswordHarness(tmp_path)


@pytest.fixture
def clock() -> Clock:
    """Return the clock of a test."""
    return Clock()


@pytest.fixture
def harness(network: NetworkOrPorts) -> Iterator[VerifierHarness]:
    """Run a fake issuer."""
    with running_issuer(network) as issuer, loopback_fetcher() as fetcher:
        yield VerifierHarness(issuer, fetcher)
