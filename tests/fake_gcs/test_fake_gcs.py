"""The fake server limits writes as documented, seen by Google's own client."""

import io
from collections.abc import Callable

import pytest
from google.api_core import exceptions as gexc

from tests.fake_gcs.clients import storage_client
from tests.fake_gcs.server import running_fake_gcs

LARGE = bytes((8 << 20) + 1)
"""More than is uploaded in one request."""
INTERVAL = 3600.0
"""Seconds between two changes of one object: more than a slow machine takes for a test."""


def test_one_write_an_interval() -> None:
    """A second change of one object within its interval is 429, and changes nothing."""
    with running_fake_gcs("wheels") as server, storage_client(server.url) as client:
        bucket, remote = server.bucket("wheels"), client.bucket("wheels")
        bucket.write_interval = INTERVAL
        blob = remote.blob("a")
        blob.upload_from_string(b"1")

        changes: tuple[Callable[[], object], ...] = (
            lambda: blob.upload_from_string(b"2", retry=None),
            lambda: blob.delete(retry=None),
            lambda: blob.upload_from_file(io.BytesIO(LARGE), size=len(LARGE), retry=None),
            lambda: blob.rewrite(blob, retry=None),
        )
        for change in changes:
            with pytest.raises(gexc.TooManyRequests, match="rate limit"):
                change()
        with pytest.raises(gexc.PreconditionFailed):
            blob.upload_from_string(b"2", if_generation_match=0, retry=None)
        remote.blob("b").upload_from_string(b"1")
        server.clock.advance(seconds=INTERVAL)
        blob.upload_from_string(b"2", retry=None)
        assert bucket.find("a").data == b"2"

        server.clock.advance(seconds=INTERVAL)
        blob.delete()
        with pytest.raises(gexc.TooManyRequests):
            blob.upload_from_string(b"3", retry=None)
