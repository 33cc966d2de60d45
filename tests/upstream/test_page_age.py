"""When a page in memory or in the store is still good, and what of it stays."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from tests.upstream.asking import Asking, server_of
from tests.upstream.fake_pages import Fault
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel


@pytest.fixture
def process(upstream: FakeUpstream) -> Iterator[Asking]:
    """A process before an index without ETags."""
    upstream.publish(public_wheel("requests", "2.0"))
    upstream.behave("requests", Fault.NO_ETAG)
    with closing(Asking((server_of(upstream),))) as asking:
        yield asking


def test_another_process_uses_a_page_of_the_store(process: Asking, upstream: FakeUpstream) -> None:
    """A page that one process has stored is fresh in another one, too, until it is old."""
    first = process.page("requests")

    assert process.again().page("requests").page == first.page
    assert len(upstream.asked_pages("requests")) == 1
    process.clock.advance(seconds=process.servers[0].page_ttl)
    assert not process.again().page("requests").is_stale
    assert len(upstream.asked_pages("requests")) == 2


def test_a_page_of_the_store_that_would_be_read_otherwise(
    process: Asking, upstream: FakeUpstream
) -> None:
    """A page from before another host was set, or of the future, is asked for again at once."""
    process.page("requests")

    other = replace(process.servers[0], file_hosts=("files.example.com",))
    with closing(Asking((other,), clock=process.clock, store=process.store)) as other_process:
        other_process.page("requests")
    assert len(upstream.asked_pages("requests")) == 2
    process.clock.advance(days=-1)
    process.again().page("requests")
    assert len(upstream.asked_pages("requests")) == 3


def test_a_page_that_comes_again_stays_the_same_object(
    process: Asking, upstream: FakeUpstream
) -> None:
    """A page that an index without ETags sends again is the same one, so nothing is made anew."""
    first = process.page("requests").page
    process.clock.advance(seconds=process.servers[0].page_ttl)

    assert process.page("requests").page is first
    assert len(upstream.asked_pages("requests")) == 2
