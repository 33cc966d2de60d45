"""The conformance suite of `Store`: every backend passes it unchanged."""

from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier, Event
from typing import TypeVar

import pytest

from wheelyard.errors import Conflict, NotFound, Unavailable
from wheelyard.storage.base import (
    ABSENT,
    CHUNK_BYTES,
    NOT_MODIFIED,
    SETTLED_SECONDS,
    Key,
    ObjectVersion,
    Store,
    Stored,
)

T = TypeVar("T")

A, B = Key("a/1.json"), Key("a/2.json")
WRITERS = 8
PASSES = 40
LARGE_BYTES = 9 * 1024**2


class StoreConformance:
    """Subclass it, name it Test..., and give it a `store` fixture."""

    loses_answers = False
    """Whether answers get lost, after which it may be unknown who has won a race."""
    passes = PASSES
    """The number of runs of each race."""
    longest_key = 1024
    """Bytes; of a store that puts something before each key, what is left for the key."""

    @property
    def defeat(self) -> tuple[type[Exception], ...]:
        """What a write raises that comes too late."""
        return (Conflict, Unavailable) if self.loses_answers else (Conflict,)

    def test_what_was_put_is_read_back_with_its_version(self, store: Store) -> None:
        """An object reads back whole, with the version that its write returned."""
        version = store.put(A, b"one", ABSENT)

        assert store.get(A) == Stored(b"one", version)

    def test_the_time_is_that_of_its_objects(self, store: Store) -> None:
        """The store's time is the one that a listing has of an object which is written then."""
        before = store.time(B)
        store.put(A, b"one", None)
        written = next(store.list(A)).modified
        after = store.time(B)

        # a folder moves times by a millisecond, and services have whole seconds
        assert before - 0.01 <= written <= after + 0.01

    def test_a_key_that_holds_nothing(self, store: Store) -> None:
        """A key that holds nothing reads as nothing, whatever version one asks about."""
        assert store.get(A) is None
        assert store.get(A, ObjectVersion("1")) is None

    def test_a_version_that_is_known_already(self, store: Store) -> None:
        """Who knows the version is told so, and gets no bytes; after a write they get the bytes."""
        known = store.put(A, b"one", ABSENT)
        assert store.get(A, known) is NOT_MODIFIED

        newer = store.put(A, b"two", known)

        assert store.get(A, known) == Stored(b"two", newer)

    def test_a_creation_never_overwrites(self, store: Store) -> None:
        """A creation of what exists is a Conflict, and changes nothing."""
        version = store.put(A, b"one", ABSENT)

        with pytest.raises(self.defeat):
            store.put(A, b"two", ABSENT)

        assert store.get(A) == Stored(b"one", version)

    def test_an_unconditional_write(self, store: Store) -> None:
        """A write without a condition creates, and overwrites."""
        store.put(A, b"one", None)

        version = store.put(A, b"two", None)

        assert store.get(A) == Stored(b"two", version)

    def test_a_stale_version_changes_nothing(self, store: Store) -> None:
        """A write over an old version is a Conflict, and the newer content stays."""
        old = store.put(A, b"one", ABSENT)
        newer = store.put(A, b"two", old)

        with pytest.raises(self.defeat):
            store.put(A, b"three", old)

        assert store.get(A) == Stored(b"two", newer)

    def test_a_version_of_what_is_gone(self, store: Store) -> None:
        """A write over a version of an object that was deleted is a Conflict, and creates none."""
        old = store.put(A, b"one", ABSENT)
        store.delete(A)

        with pytest.raises(self.defeat):
            store.put(A, b"two", old)

        assert store.get(A) is None

    def test_one_of_many_racing_creations_wins(
        self, store: Store, pool: ThreadPoolExecutor
    ) -> None:
        """Of many creations of one key, one succeeds, and its bytes are the ones that stay."""
        for attempt in range(self.passes):
            key = Key(f"race/{attempt}")
            bodies = [f"{writer}".encode() * 1000 for writer in range(WRITERS)]
            racing = [partial(store.put, key, body, ABSENT) for body in bodies]

            outcomes = at_once(pool, racing)

            errors = [each.exception() for each in outcomes]
            assert all(isinstance(error, self.defeat) for error in errors if error is not None)
            (winner,) = [at for at, error in enumerate(errors) if error is None]
            assert b"".join(store.read(key)) == bodies[winner]

    def test_one_of_many_racing_replacements_wins(
        self, store: Store, pool: ThreadPoolExecutor
    ) -> None:
        """Of many writes over one version, one succeeds; the others are told that they lost."""
        version = store.put(A, b"0", ABSENT)
        for turn in range(self.passes):
            bodies = [b"%d of %d" % (writer, turn) for writer in range(WRITERS)]
            racing = [partial(store.put, A, body, version) for body in bodies]

            outcomes = at_once(pool, racing)

            (version,) = [each.result() for each in outcomes if each.exception() is None]
            errors = [each.exception() for each in outcomes if each.exception() is not None]
            assert all(isinstance(error, self.defeat) for error in errors)
            found = store.get(A)
            assert isinstance(found, Stored)
            assert found.version == version

    @pytest.mark.parametrize(
        ("start", "stop", "expected"),
        [
            (0, None, b"0123456789"),
            (0, 10, b"0123456789"),
            (2, 5, b"234"),
            (9, None, b"9"),
            (4, 4, b""),
            (8, 100, b"89"),
            (10, None, b""),
            (50, 60, b""),
        ],
    )
    def test_a_range_is_half_open(
        self, store: Store, start: int, stop: int | None, expected: bytes
    ) -> None:
        """A range is half open, and ends where the object does."""
        store.put(A, b"0123456789", ABSENT)

        assert b"".join(store.read(A, start, stop)) == expected

    def test_a_large_object_comes_in_small_pieces(self, store: Store) -> None:
        """A large object comes in pieces of bounded size, none of them empty."""
        body = bytes(range(256)) * (CHUNK_BYTES // 256 * 2 + 7)
        store.put(A, body, ABSENT)

        chunks = list(store.read(A))

        assert b"".join(chunks) == body
        assert all(0 < len(chunk) <= CHUNK_BYTES for chunk in chunks)

    def test_reading_nothing_fails_before_the_first_chunk(self, store: Store) -> None:
        """A stream of a key that holds nothing is NotFound at once, not an empty stream."""
        with pytest.raises(NotFound):
            store.read(A)

    def test_a_listing_has_every_key_with_the_prefix(self, store: Store) -> None:
        """A prefix selects by characters, and not by folders."""
        for key in ("a/b/1", "a/b/2", "a/bc", "a/b.json", "b/1", "a.json"):
            store.put(Key(key), b"", ABSENT)

        assert keys(store, "a/b") == ["a/b.json", "a/b/1", "a/b/2", "a/bc"]
        assert keys(store, "a/b/") == ["a/b/1", "a/b/2"]
        assert keys(store, "a/b/1") == ["a/b/1"]
        assert keys(store, "nothing/") == []
        assert keys(store, "a/b/1/") == []

    def test_a_listing_is_in_the_order_of_keys(self, store: Store) -> None:
        """A listing is sorted by the characters of whole keys, '-' and '.' before '/'."""
        names = ["a/b", "a-b", "a.json", "a0", "a/b-c/1", "a/b.c/1", "a/bb", "a/b-c.json", "a-b/1"]
        wanted = [key for key in names if key not in {"a/b", "a-b"}]
        for key in reversed(wanted):
            store.put(Key(key), b"", ABSENT)

        assert keys(store, "") == sorted(wanted)

    def test_a_listing_goes_on_after_a_key(self, store: Store) -> None:
        """A listing that starts after each key in turn is the rest of the whole listing."""
        for key in ("a-b", "a.json", "a/b", "a/c/1", "a/c/2", "a/c-d", "b", "p/x.json", "p/x/1"):
            store.put(Key(key), b"", ABSENT)
        everything = keys(store, "")

        for at, key in enumerate(everything):
            assert keys(store, "", key) == everything[at + 1 :]
        assert keys(store, "a/", "a/c/") == ["a/c/1", "a/c/2"]
        assert keys(store, "a/", "z") == []

    def test_what_a_listing_says(self, store: Store) -> None:
        """A listing tells each object's size."""
        store.put(A, b"four", ABSENT)

        (entry,) = store.list("a/")

        assert (entry.key, entry.size) == (A, 4)

    def test_a_listing_shows_another_write(self, store: Store) -> None:
        """The listing of a settled object looks different after it was written again."""
        store.put(A, b"four", ABSENT)
        (before,) = store.list("a/")
        store.put(A, b"fours", None)

        (after,) = store.list("a/")

        later = after.modified + 2 * SETTLED_SECONDS
        assert after.state(later) != before.state(later)

    def test_what_is_deleted_is_gone(self, store: Store) -> None:
        """What is deleted is gone from reads and listings, and its neighbours stay."""
        store.put(A, b"one", ABSENT)
        store.put(B, b"two", ABSENT)

        store.delete(A)

        assert store.get(A) is None
        assert keys(store, "") == [B]

    def test_what_is_gone_can_be_deleted_again(self, store: Store) -> None:
        """Deleting what is gone already succeeds."""
        store.put(A, b"one", ABSENT)

        store.delete(A)
        store.delete(A)

        assert store.get(A) is None

    def test_the_longest_key(self, store: Store) -> None:
        """A key may have 1024 bytes, with all that the store puts before it."""
        part = "k" * 127
        key = Key(("/".join([part] * 8) + "x")[: self.longest_key])
        assert len(key) == self.longest_key

        store.put(key, b"far down", ABSENT)

        assert keys(store, part) == [key]
        assert b"".join(store.read(key)) == b"far down"

    def test_an_empty_object(self, store: Store) -> None:
        """An object of no bytes exists."""
        version = store.put(A, b"", ABSENT)

        assert store.get(A) == Stored(b"", version)
        assert list(store.read(A)) == []
        assert [entry.size for entry in store.list("")] == [0]

    def test_a_file_stays_the_callers(self, store: Store, tmp_path: Path) -> None:
        """A file is stored byte for byte, stays where it is, and may change later."""
        body = tmp_path / "body"
        body.write_bytes(b"as it was put")

        store.put_file(A, body)

        assert body.read_bytes() == b"as it was put"
        with body.open("r+b") as file:
            file.write(b"CHANGED")
        assert b"".join(store.read(A)) == b"as it was put"

    def test_a_file_is_put_again(self, store: Store, tmp_path: Path) -> None:
        """A file that is there is written again, from a disk or from memory."""
        body = tmp_path / "body"
        body.write_bytes(b"the same")

        store.put_file(A, b"half")
        store.put_file(A, body)
        store.put_file(A, body)
        store.put_file(A, b"the same")

        assert b"".join(store.read(A)) == b"the same"
        assert keys(store, "") == [A]

    def test_a_large_file(self, store: Store, tmp_path: Path) -> None:
        """A file that is sent in several pieces arrives whole."""
        body = tmp_path / "body"
        body.write_bytes(bytes(range(256)) * (LARGE_BYTES // 256) + b"end")

        store.put_file(A, body)

        assert b"".join(store.read(A)) == body.read_bytes()
        assert [entry.size for entry in store.list("")] == [LARGE_BYTES + 3]

    def test_one_file_of_many_writers(self, store: Store, pool: ThreadPoolExecutor) -> None:
        """Many who put the same file at once all succeed."""
        body = b"of a wheel" * 1000

        outcomes = at_once(pool, [partial(store.put_file, A, body) for _ in range(WRITERS)])

        assert [each.exception() for each in outcomes] == [None] * WRITERS
        assert b"".join(store.read(A)) == body

    def test_no_reader_sees_half_a_write(self, store: Store, pool: ThreadPoolExecutor) -> None:
        """While an object is replaced again and again, every read is one whole write."""
        bodies = [bytes([letter]) * 200_000 for letter in b"abcd"]
        store.put(A, bodies[0], ABSENT)
        done = Event()

        def read() -> int:
            reads = 0
            while not done.is_set() or not reads:
                found = store.get(A)
                assert isinstance(found, Stored)
                assert found.body in bodies
                reads += 1
            return reads

        readers = [pool.submit(read) for _ in range(2)]
        for turn in range(self.passes):
            store.put(A, bodies[turn % len(bodies)], None)
        done.set()

        assert all(reader.result() for reader in readers)

    def test_a_stream_goes_on_over_a_change(self, store: Store) -> None:
        """Who has begun to read an object has nothing of what replaces it, or is told."""
        body = b"x" * (3 * CHUNK_BYTES)
        store.put(A, body, ABSENT)
        store.put(B, body, ABSENT)
        streams = [store.read(A), store.read(B)]
        received = [[next(stream)] for stream in streams]

        store.put(A, b"y" * (3 * CHUNK_BYTES), None)
        store.delete(B)

        for stream, chunks in zip(streams, received, strict=True):
            try:
                chunks.extend(stream)
            except Unavailable:
                assert body.startswith(b"".join(chunks))
            else:
                assert b"".join(chunks) == body

    def test_creating_and_deleting_neighbours_at_once(
        self, store: Store, pool: ThreadPoolExecutor
    ) -> None:
        """Writers who create and delete side by side never hinder each other."""

        def work(writer: int) -> None:
            for turn in range(self.passes):
                key = Key(f"deep/down/{turn % 3}/{writer}")
                store.put(key, b"%d" % turn, ABSENT)
                assert store.get(key) is not None
                store.delete(key)

        outcomes = at_once(pool, [partial(work, writer) for writer in range(WRITERS)])

        assert [each.exception() for each in outcomes] == [None] * WRITERS
        assert keys(store, "") == []


def keys(store: Store, prefix: str, after: str = "") -> list[str]:
    """Return the keys of a listing."""
    return [entry.key for entry in store.list(prefix, after)]


def at_once(pool: ThreadPoolExecutor, calls: list[partial[T]]) -> list[Future[T]]:
    """Make all calls in the same moment, and wait until they are over."""
    barrier = Barrier(len(calls))

    def started(call: partial[T]) -> T:
        barrier.wait(30)
        return call()

    futures = [pool.submit(started, call) for call in calls]
    for each in futures:
        each.exception()
    return futures
