"""What a store makes of the failed requests of a bucket, whichever service has it."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from math import inf
from pathlib import Path

import pytest

from tests.fake_time import Clock
from tests.refused import refused
from wheelyard.errors import Unavailable
from wheelyard.storage.base import SETTLED_SECONDS, Entry, Key, ObjectVersion, Stored, WebType
from wheelyard.storage.bucket_store import COOL_DOWN_SECONDS, BucketStore
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
        self.clock = Clock()
        super().__init__(parse_location("gs://wheels"), self.clock.runtime(), None, "")
        self.failures = list(failures)
        self.asked = 0
        self.sent_files = 0
        self.takes_after = inf
        """How many times it fails to take a file."""
        self.listed: list[Entry] = []

    def _failure(self) -> Failure:
        self.asked += 1
        failure = self.failures[0]
        if len(self.failures) > 1:
            self.failures.pop(0)
        return Failure(*failure)

    def get_once(self, name: str, unless: ObjectVersion | None) -> Stored:
        """Fail."""
        del name, unless
        raise self._failure()

    def stream_once(self, name: str, start: int, stop: int | None) -> Iterator[bytes]:
        """Fail, at once or after a chunk if the service has fallen silent."""
        del name, start, stop
        failure = self._failure()
        if failure.kind is not FailureKind.UNCLEAR:
            raise failure
        return self._broken_off(failure)

    def _broken_off(self, failure: Failure) -> Iterator[bytes]:
        yield b"half of"
        raise failure

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
        if self.sent_files <= self.takes_after:
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


@pytest.mark.parametrize(
    ("status", "code", "why"),
    [
        (429, "overloaded", "takes no more requests"),
        (412, "storage_unavailable", "Another writer has changed a.json, "),
    ],
    ids=["too many", "another version"],
)
def test_a_conflict_after_a_lost_answer(status: int, code: str, why: str) -> None:
    """After a lost answer another version is another writer or this one, and a 429 is neither."""
    bucket = FailingBucket((FailureKind.UNCLEAR, 0), (FailureKind.CONFLICT, status))

    with refused(Unavailable, code, match=why):
        bucket.put(Key("a.json"), b"{}", ObjectVersion("1"))


@pytest.mark.parametrize(
    "call",
    [
        lambda bucket: bucket.get(KEY),
        lambda bucket: bucket.read(KEY),
        lambda bucket: bucket.put(KEY, b"", None),
        lambda bucket: bucket.delete(KEY),
    ],
    ids=["get", "read", "put", "delete"],
)
def test_what_is_denied_is_an_error(
    caplog: pytest.LogCaptureFixture, call: Callable[[BucketStore], object]
) -> None:
    """Without the right to it nothing seems absent or done: error and log say what to grant."""
    bucket = FailingBucket((FailureKind.DENIED, 403))

    with refused(Unavailable, "storage_denied", match="Grant them") as error:
        call(bucket)
    assert bucket.asked == 1
    assert caplog.messages == [error.value.message]


def test_a_silent_bucket_is_asked_by_one_call_at_a_time(caplog: pytest.LogCaptureFixture) -> None:
    """After a bucket has not answered, calls fail without a request and a line in the log."""
    bucket = FailingBucket((FailureKind.UNCLEAR, 0))
    asked = list[int]()
    logged = list[int]()

    for seconds in (0.0, 0.0, COOL_DOWN_SECONDS, 0.0):
        bucket.clock.advance(seconds=seconds)
        before = bucket.asked
        caplog.clear()
        with refused(Unavailable, "storage_unavailable"):
            bucket.get(KEY)
        asked.append(bucket.asked - before)
        logged.append(len(caplog.records))

    assert [lines > 0 for lines in logged] == [True, False, True, False]
    assert asked[0] > 1
    assert asked[1:] == [0, 1, 0]


def test_a_file_that_arrives_is_sent_once(tmp_path: Path) -> None:
    """A file that a bucket has taken is not sent again, and one that it has lost is once more."""
    (tmp_path / "a").write_bytes(b"whole")
    bucket = FailingBucket((FailureKind.ABSENT, 404))
    bucket.takes_after = 1

    bucket.put_file(KEY, tmp_path / "a")

    assert bucket.sent_files == 2


@pytest.mark.parametrize(
    ("modified", "is_other"),
    [(1000.0, True), (1000.5, False)],
    ids=["whole seconds", "a finer clock"],
)
def test_a_second_write_in_one_second_is_noticed(modified: float, *, is_other: bool) -> None:
    """What was listed right after a write counts as changed later if times are whole seconds."""
    entry = Entry(KEY, 5, modified)
    early, late, later = (
        entry.state(modified + seconds) for seconds in (1, SETTLED_SECONDS + 1, 2 * SETTLED_SECONDS)
    )

    assert (early != late) is is_other
    assert late == later
