"""When a page in memory or in the store is still good, and what of it stays."""

from dataclasses import replace

from tests.upstream.asking import Asking
from tests.upstream.canned_index import URL, CannedIndex
from tests.upstream.public_packages import public_wheel
from wheelyard.http_client.urls import parse_url
from wheelyard.upstream.settings import UpstreamServer

SERVER = UpstreamServer(url=parse_url(URL), label="public")


def test_another_process_uses_a_page_of_the_store(canned_index: CannedIndex) -> None:
    """A page that one process has stored is fresh in another one, too, until it is old."""
    canned_index.publish(public_wheel("requests", "2.0"))
    process = Asking((SERVER,))
    first = process.page("requests")

    assert process.again().page("requests").page == first.page
    assert canned_index.asked == ["requests"]
    process.clock.advance(seconds=SERVER.page_ttl)
    assert not process.again().page("requests").is_stale
    assert canned_index.asked == ["requests"] * 2


def test_a_page_of_the_store_that_would_be_read_otherwise(canned_index: CannedIndex) -> None:
    """A page from before another host was set, or of the future, is asked for again at once."""
    canned_index.publish(public_wheel("requests", "2.0"))
    process = Asking((SERVER,))
    process.page("requests")

    other = replace(SERVER, file_hosts=("files.example.com",))
    Asking((other,), clock=process.clock, store=process.store).page("requests")
    assert canned_index.asked == ["requests"] * 2
    process.clock.advance(days=-1)
    process.again().page("requests")
    assert canned_index.asked == ["requests"] * 3


def test_a_page_that_comes_again_stays_the_same_object(canned_index: CannedIndex) -> None:
    """A page that an index without ETags sends again is the same one, so nothing is made anew."""
    canned_index.publish(public_wheel("requests", "2.0"))
    process = Asking((SERVER,))
    first = process.page("requests").page
    process.clock.advance(seconds=SERVER.page_ttl)

    assert process.page("requests").page is first
    assert canned_index.asked == ["requests"] * 2
