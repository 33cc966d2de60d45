"""The upstream of the tests of upstream indexes."""

from collections.abc import Iterator

import pytest

from tests.upstream.fake_upstream import FakeUpstream, running_fake_upstream


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    """An upstream that has nothing yet; tests that take it are integration tests."""
    with running_fake_upstream() as running:
        yield running
