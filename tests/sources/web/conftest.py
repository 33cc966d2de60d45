"""Servers that a source is to read."""

from collections.abc import Iterator

import pytest

from tests.sources.web.site import Site, running_site


@pytest.fixture
def site() -> Iterator[Site]:
    """Run a server."""
    with running_site() as running:
        yield running


@pytest.fixture
def other() -> Iterator[Site]:
    """Run another one: another port is another origin."""
    with running_site() as running:
        yield running
