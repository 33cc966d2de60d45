"""A service that does not keep the conditions of writes: Ceph 16 refuses every If-Match."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.refused import refused
from tests.services.ceph import running_ceph
from tests.services.s3 import S3
from wheelyard.errors import Unavailable
from wheelyard.storage.base import ABSENT, Key, Store
from wheelyard.wiring.stores import open_single_store

pytestmark = pytest.mark.services

A = Key("a/1.json")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The store of a bucket of the service."""
    with running_ceph(tmp_path, "wheels") as url:
        for name, value in S3().environment(url).items():
            monkeypatch.setenv(name, value)
        yield open_single_store("s3://wheels")


def test_conditions_that_are_not_kept(store: Store) -> None:
    """A service that ignores conditions is found out before a write, and nothing is left."""
    for write in (
        lambda: store.put(A, b"one", ABSENT),
        lambda: store.put_file(A, b"one"),
        lambda: store.delete(A),
    ):
        with refused(Unavailable, "conditions_ignored", match="does not keep the conditions"):
            write()

    assert store.get(A) is None
    assert list(store.list("")) == []
