"""What a store makes of the failed requests of a bucket, whichever service has it."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.fake_time import Clock
from tests.refused import refused
from wheelyard.errors import Unavailable
from wheelyard.storage.base import Entry, Key, ObjectVersion, Stored, WebType
from wheelyard.storage.bucket_store import BucketStore
from wheelyard.storage.failures import Failure, FailureKind
from wheelyard.storage.location import parse_location

KEY = Key("files/a")


class FailingBucket(BucketStore):
    """
    A bucket whose requests fail; the last failure is also that of all further requests.

    `listed` has what has arrived all the same.
    """

    large_file_bytes = 1
    large_files_at_a_time = 1
    resent_after = frozenset({FailureKind.ABSENT})

    def __init__(self, *failures: tuple[FailureKind, int]) -> None:
        super().__init__(parse_location("gs://wheels"), Clock().runtime(), None, "")
        self.failures = list(failures)
        self.sent_files = 0
        self.listed: list[Entry] = []

    def _failure(self) -> Failure:
        failure = self.failures[0]
        if len(self.failures) > 1:
            self.failures.pop(0)
        return Failure(*failure)

    def get_once(self, name: str, unless: ObjectVersion | None) -> Stored:
        """Fail."""
        del name, unless
        raise self._failure()

    def stream_once(self, name: str, start: int, stop: int | None) -> Iterator[bytes]:
        """Return an iterator that fails after a chunk."""
        del name, start, stop
        yield b"half of"
        raise self._failure()

    def put_once(
        self, name: str, body: bytes, expect: ObjectVersion | None, kind: WebType
    ) -> ObjectVersion:
        """Fail."""
        del name, body, expect, kind
        raise self._failure()

    def send_once(self, name: str, path: Path, size: int, kind: WebType) -> None:
        """Fail."""
        del name, path, size, kind
        self.sent_files += 1
        raise self._failure()

    def delete_once(self, name: str) -> None:
        """Fail."""
        del name
        raise self._failure()

    def entries(self, prefix: str, after: str) -> Iterator[Entry]:
        """List what has arrived."""
        del prefix, after
        return iter(self.listed)


def test_a_download_that_breaks_off_is_an_error() -> None:
    """A download that breaks off raises an error, so that half a file never passes for all."""
    chunks = FailingBucket((FailureKind.UNCLEAR, 0)).read(KEY)

    assert next(chunks) == b"half of"
    with refused(Unavailable, "storage_unavailable"):
        next(chunks)


@pytest.mark.parametrize(
    ("kind", "times"), [(FailureKind.REFUSED, 1), (FailureKind.UNCLEAR, 1), (FailureKind.ABSENT, 3)]
)
def test_a_file_that_has_not_arrived_is_an_error(
    tmp_path: Path, kind: FailureKind, times: int
) -> None:
    """A file of which the bucket lists nothing has not arrived, whatever the failure was."""
    (tmp_path / "a").write_bytes(b"whole")
    bucket = FailingBucket((kind, 0))

    with pytest.raises(Unavailable):
        bucket.put_file(KEY, tmp_path / "a")
    assert bucket.sent_files == times


@pytest.mark.parametrize("is_on_disk", [False, True])
@pytest.mark.parametrize("size", [None, 4, 5])
def test_a_file_whose_answer_is_lost(tmp_path: Path, size: int | None, *, is_on_disk: bool) -> None:
    """If the answer to an upload is lost, the file has arrived if the bucket lists it whole."""
    path = tmp_path / "a"
    path.write_bytes(b"whole")
    bucket = FailingBucket((FailureKind.UNCLEAR, 0))
    if size is not None:
        bucket.listed = [Entry(KEY, size, bucket.runtime.seconds())]

    with nullcontext() if size == 5 else refused(Unavailable, "storage_unavailable"):
        bucket.put_file(KEY, path if is_on_disk else b"whole")


def test_too_many_writes_are_no_conflict() -> None:
    """A lost answer, and then 429 for too many writes, does not mean that another writer came."""
    bucket = FailingBucket((FailureKind.UNCLEAR, 0), (FailureKind.CONFLICT, 429))

    with refused(Unavailable, "overloaded"):
        bucket.put(Key("a.json"), b"{}", ObjectVersion("1"))
