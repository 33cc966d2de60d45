"""Listings of the stand-in: order, prefixes, pages, fields."""

import pytest
from google.api_core import exceptions as gexc
from google.cloud.storage import Bucket as RemoteBucket

from tests.bucket.objects import Bucket
from tests.bucket.server import BucketServer


def test_listing(remote: RemoteBucket, bucket: Bucket) -> None:
    """A listing is in order, by pages, with prefixes, and from and to a name."""
    names = ["a-b", "a.json", "a/b/1", "a/b/2", "a/c", "a0", "z/1", "é"]
    for name in reversed(names):
        bucket.put(name, b"1")

    for bucket.page_size in (1, 2, 3, 1000):
        for bucket.empty_pages in (False, True):
            listing = remote.list_blobs(delimiter="/")
            assert [each.name for each in listing] == ["a-b", "a.json", "a0", "é"]
            assert listing.prefixes == {"a/", "z/"}
            assert listed(remote) == names
            assert listed(remote, prefix="a/") == ["a/b/1", "a/b/2", "a/c"]
            assert listed(remote, start_offset="a/b/2", end_offset="a0") == ["a/b/2", "a/c"]
            assert listed(remote, max_results=3) == names[:3]
            inner = remote.list_blobs(prefix="a/", delimiter="/", start_offset="a/b/2")
            assert ([each.name for each in inner], inner.prefixes) == (["a/c"], {"a/b/"})


def test_pages(server: BucketServer, remote: RemoteBucket, bucket: Bucket) -> None:
    """Each page is a request; an empty one has a token; without the token's field it is the end."""
    for number in range(7):
        bucket.put(f"{number}", b"1")
    bucket.page_size = 3
    assert len(listed(remote)) == 7
    assert server.log.count("A", "list") == 3
    bucket.empty_pages = True
    assert len(listed(remote)) == 7
    assert server.log.count("A", "list") == 9

    assert listed(remote, fields="items(name)") == []
    with pytest.raises(gexc.BadRequest):
        listed(remote, match_glob="*")


def listed(remote: RemoteBucket, **options: object) -> list[str]:
    """Return the names of a listing."""
    return [each.name for each in remote.list_blobs(**options)]
