"""Files of an upstream: one request for all readers, and nothing kept that is not verified."""

import gc
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from errno import EIO
from hashlib import sha256
from itertools import chain
from math import inf
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from msgspec.structs import replace

from tests.fake_store import ALWAYS, FakeStore, Fault, FaultKind
from tests.refused import refused
from tests.storage.small_disk import small_disk
from tests.upstream.scripted_source import (
    BODY,
    CHUNK,
    FILENAME,
    NAME,
    UPSTREAM,
    URL,
    FilesHarness,
    ScriptedSource,
    listed,
    page_of,
)
from tests.waiting import TIMEOUT_SECONDS, until
from wheelyard.catalog import keys
from wheelyard.catalog.store_clock import StoreClock
from wheelyard.errors import NotFound, Unavailable, WheelyardError
from wheelyard.storage import spool
from wheelyard.storage.base import Key
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.upstream.file_cache import StoredFile
from wheelyard.upstream.file_fetch import FetchedFile, PassedOnFile
from wheelyard.upstream.growing_file import GrowingFile
from wheelyard.upstream.kept_files import SweepRules, UpstreamSweep
from wheelyard.upstream.page import UpstreamFile
from wheelyard.upstream.sidecars import core_metadata_of
from wheelyard.upstream.upstream_files import FETCH_THREADS, FileRules, UpstreamFiles

DIGEST = sha256(BODY).hexdigest()
KEY = f"upstream/{UPSTREAM}/files/demo/{DIGEST}/{FILENAME}"


@pytest.fixture
def harness(tmp_path: Path) -> FilesHarness:
    """Return files of an upstream over an empty folder."""
    return FilesHarness(tmp_path)


def fetched(files: UpstreamFiles, file: UpstreamFile) -> GrowingFile:
    """Fetch a file, and return it with its first bytes."""
    opened = files.fetch(page_of(file), file).result(TIMEOUT_SECONDS)
    assert isinstance(opened, GrowingFile)
    return opened


def chunks_of(opened: FetchedFile) -> Iterator[bytes]:
    """Return the chunks of a fetched file."""
    assert not isinstance(opened, StoredFile)
    body = opened.body()
    return iter([body]) if isinstance(body, bytes) else body


def received(chunks: Iterator[bytes]) -> tuple[bytes, WheelyardError | None]:
    """Return the bytes of a body, and the error that has ended it."""
    body = bytearray()
    try:
        for chunk in chunks:
            body += chunk
    except WheelyardError as error:
        return bytes(body), error
    return bytes(body), None


def stored_by(files: UpstreamFiles, file: UpstreamFile) -> StoredFile:
    """Return a file once it is stored."""
    return files.bring(page_of(file), file)


def test_fifty_first_readers_and_one_request(harness: FilesHarness) -> None:
    """Fifty readers have the first half of a file while the rest has not come, by one request."""
    gate, file, files = Event(), listed(), harness.files()
    harness.source.send(BODY, gate=gate)
    readers = [chunks_of(fetched(files, file)) for _ in range(50)]
    first = [next(each) for each in readers]
    assert all(BODY.startswith(each) and each for each in first)
    readers.pop()  # one leaves
    late = chunks_of(fetched(files, file))
    gate.set()

    with ThreadPoolExecutor(50) as pool:
        bodies = pool.map(received, map(chain, ([each] for each in first), readers))
        assert all(each == (BODY, None) for each in bodies)
    assert received(late) == (BODY, None)
    assert stored_by(files, file).file.size == len(BODY)
    assert harness.source.requests == [URL]
    assert harness.stored() == [KEY]
    until(lambda: not harness.spooled())


def test_slow_files_of_one_client(harness: FilesHarness) -> None:
    """However many slow files one client asks for, another one gets a file, even one of those."""
    gate, files = Event(), harness.files()
    slow = [listed(filename=f"demo-{n}-py3-none-any.whl", url=f"{URL}/{n}") for n in range(100)]
    for file in slow:
        harness.source.send(BODY, file.url, gate=gate)
        files.fetch(page_of(file), file, "one")
    until(lambda: len(harness.source.requests) == FETCH_THREADS // 4)
    last = slow[-1]

    assert isinstance(files.fetch(page_of(last), last, "two").result(TIMEOUT_SECONDS), GrowingFile)
    assert harness.source.requests[-1] == last.url
    gate.set()
    assert all(stored_by(files, file) for file in slow)
    assert len(harness.source.requests) == len(slow)


@pytest.mark.parametrize("left", [0, len(BODY) - 1], ids=["empty", "cut off"])
def test_what_a_power_cut_has_left(harness: FilesHarness, left: int) -> None:
    """A file that is not whole after a power cut is fetched again."""
    file = listed(size=len(BODY))
    harness.source.send(BODY)
    stored_by(harness.files(), file)
    os.truncate(str(harness.store.path_of(Key(KEY))), left)

    files = harness.files()
    assert files.find(page_of(file), file) is None
    found = stored_by(files, file)
    assert b"".join(found.files.store.read(Key(KEY.split("/", 2)[2]))) == BODY
    assert harness.source.requests == [URL, URL]


def test_what_was_stored_is_found(harness: FilesHarness) -> None:
    """A file that was fetched once is sent from the store, by its path, without a request."""
    file, files = listed(), harness.files()
    harness.source.send(BODY)
    assert files.find(page_of(file), file) is None
    stored_by(files, file)

    found = harness.files().find(page_of(file), file)

    assert found is not None
    assert found.file.sha256 == DIGEST
    assert harness.store.path_of(Key(KEY)) == found.files.store.path_of(Key(KEY.split("/", 2)[2]))
    assert harness.source.requests == [URL]
    assert [harness.counted("cache"), harness.counted("not_stored")] == [2, 0]


def test_a_reader_of_a_part(harness: FilesHarness) -> None:
    """A part of a file that is being fetched is sent, its last bytes once the file is verified."""
    gate, file, files = Event(), listed(), harness.files()
    harness.source.send(BODY, gate=gate)
    opened = fetched(files, file)
    part, end = opened.body(10, 2 * CHUNK), opened.body(len(BODY) - 100, len(BODY))
    assert not isinstance(part, bytes)
    assert not isinstance(end, bytes)
    assert not end.when_ready(lambda: None)
    early = next(part)
    gate.set()

    assert early + b"".join(part) == BODY[10 : 2 * CHUNK]
    assert len(early) < 2 * CHUNK - 10
    assert b"".join(end) == BODY[-100:]
    assert opened.body(5, 10) == BODY[5:10]


def test_a_part_of_a_large_file(harness: FilesHarness) -> None:
    """Of a large file no part is sent while it arrives: its end would take too long to come."""
    gate, body = Event(), bytes(17 * 2**20)
    file, files = listed(body), harness.files()
    harness.source.send(body, gate=gate)
    opened = fetched(files, file)
    assert not opened.takes_ranges
    gate.set()
    stored_by(files, file)
    assert opened.takes_ranges


WRONG = b"!" + BODY[1:]


@pytest.mark.parametrize(
    ("sent", "fields"),
    [
        (WRONG, {}),
        (BODY[:-CHUNK], {"announced": None}),
        (BODY[:-1], {"announced": None}),
        (BODY, {"fault": Unavailable("It broke off.")}),
        (BODY + b"!", {"announced": None}),
    ],
    ids=["digest", "cut off", "last byte", "broken off", "endless"],
)
def test_a_large_file_that_is_wrong(
    harness: FilesHarness, sent: bytes, fields: dict[str, Any]
) -> None:
    """The end of a wrong file is never sent, nothing is kept, and the next request retries."""
    file, files = listed(), harness.files()
    harness.source.send(sent, **fields)
    opened = fetched(files, file)

    body, error = received(chunks_of(opened))

    assert isinstance(error, Unavailable)
    assert len(body) <= len(BODY) - 1024
    until(lambda: not harness.spooled())
    assert harness.stored() == []
    assert harness.counted("digest_mismatch") == (sent == WRONG)
    harness.source.send(BODY)
    # not by the same object: it may still have the fetch that is about to end
    assert stored_by(harness.files(), file).file.sha256 == DIGEST
    assert len(harness.source.requests) == 2


@pytest.mark.parametrize(
    ("sent", "fields"),
    [(b"small!", {}), (b"smal", {}), (b"small and more", {}), (b"smal", {"announced": None})],
    ids=["digest", "size", "larger", "cut off"],
)
def test_a_small_file_that_is_wrong(
    harness: FilesHarness, sent: bytes, fields: dict[str, Any]
) -> None:
    """For a small wrong file there is an error and not a byte: the response can still be a 502."""
    file, files = listed(b"small?"), harness.files()
    harness.source.send(sent, **fields)

    error = files.fetch(page_of(file), file).exception(TIMEOUT_SECONDS)

    assert isinstance(error, Unavailable)
    assert error.code == "bad_upstream"
    until(lambda: not harness.spooled())
    assert harness.stored() == []


def test_a_large_file_of_another_size_than_its_page_says(harness: FilesHarness) -> None:
    """A file of which the answer announces another size than its page is refused, not begun."""
    file, files = listed(), harness.files()
    harness.source.send(BODY, announced=len(BODY) + 1)

    error = files.fetch(page_of(file), file).exception(TIMEOUT_SECONDS)

    assert isinstance(error, Unavailable)
    assert error.code == "bad_upstream"
    assert "with another size than its page says" in error.message
    assert harness.stored() == []


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Let nothing be closed by the garbage collector."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("body", [BODY, BODY[: 2 * CHUNK]], ids=["large", "small"])
@pytest.mark.parametrize(
    "fields",
    [
        {"digest": "0" * 64},
        {"digest": "0" * 64, "announced": None},
        {"fault": Unavailable("It broke off.")},
        {"kept": 10},
        {"store": FaultKind.NOT_DONE},
    ],
    ids=["digest", "digest, no size", "broken off", "too large to keep", "not stored"],
)
def test_a_failed_fetch_leaves_nothing_open(
    harness: FilesHarness, body: bytes, fields: dict[str, Any]
) -> None:
    """The temporary file of a failed fetch is removed and closed as soon as its readers end."""
    file = listed(body, sha256=fields.get("digest", sha256(body).hexdigest()), size=None)
    sent = {each: fields[each] for each in ("announced", "fault") if each in fields}
    harness.source.send(body, **sent)
    if "store" in fields:
        memory = MemoryStore(harness.runtime.seconds)
        harness.store = FakeStore(memory, Fault(fields["store"], verb="put*", times=9))
    files = harness.files(rules=FileRules(max_kept_bytes=fields.get("kept")))

    for _ in range(3):
        with suppress(Unavailable):
            received(chunks_of(files.fetch(page_of(file), file).result(TIMEOUT_SECONDS)))

    until(lambda: not harness.open_spool_files())
    assert harness.spooled() == []


@pytest.mark.usefixtures("no_collector")
def test_a_failed_fetch_whose_reader_stalls(harness: FilesHarness) -> None:
    """A reader that stalls keeps nothing of a failed fetch on the disk, and gets its error."""
    gate, file, files = Event(), listed(), harness.files()
    harness.source.send(WRONG, gate=gate)
    readers = [chunks_of(fetched(files, file)) for _ in range(2)]
    first = next(readers[0])
    (path,) = harness.spool.folder.iterdir()
    with path.open("rb") as spooled:
        gate.set()
        until(lambda: not harness.spooled() and not os.fstat(spooled.fileno()).st_size)

    rest, error = received(readers[0])
    assert isinstance(error, Unavailable)
    assert error.code == "bad_upstream"
    assert len(first + rest) <= len(BODY) - 1024
    until(lambda: not harness.open_spool_files())  # though the readers are still there
    assert isinstance(received(readers[1])[1], Unavailable)


def test_a_small_file_that_comes_in_pieces(harness: FilesHarness) -> None:
    """A small file is verified before its first byte is sent, and is then sent at once."""
    body = BODY[: 3 * CHUNK]
    file, files = listed(body), harness.files()
    harness.source.send(body[:-1] + b"!")

    assert isinstance(files.fetch(page_of(file), file).exception(TIMEOUT_SECONDS), Unavailable)
    until(lambda: not harness.spooled())
    harness.source.send(body)
    assert fetched(files, file).body() == body


def test_an_upstream_that_does_not_answer(harness: FilesHarness) -> None:
    """Each request for a file that its upstream does not send asks anew, and has its error."""
    file, files = listed(), harness.files()
    for fault in (Unavailable("No."), NotFound("It is gone."), Unavailable("No.")):
        harness.source.answers[URL] = fault
        assert files.fetch(page_of(file), file).exception(TIMEOUT_SECONDS) is fault
        until(lambda: not harness.spooled())
    harness.source.send(BODY)
    assert received(chunks_of(fetched(files, file))) == (BODY, None)


def test_a_reader_who_looked_too_early(harness: FilesHarness) -> None:
    """A reader who did not find a file that was stored a moment later causes no second request."""
    file, files = listed(), harness.files(store=MemoryStore(harness.runtime.seconds))
    harness.source.send(BODY)
    assert files.find(page_of(file), file) is None
    stored_by(files, file)
    until(lambda: not harness.spooled())

    found = files.fetch(page_of(file), file).result(TIMEOUT_SECONDS)

    assert isinstance(found, StoredFile)
    assert harness.source.requests == [URL]


@pytest.mark.parametrize("kind", [FaultKind.NOT_DONE, FaultKind.DONE])
def test_a_store_that_takes_nothing(harness: FilesHarness, kind: FaultKind) -> None:
    """While the store takes no file, clients get it all the same, and the failure is counted."""
    memory = MemoryStore(harness.runtime.seconds)
    faulty = FakeStore(memory, Fault(kind, verb="put*"))
    file, files = listed(), harness.files(store=faulty)
    harness.source.send(BODY)

    assert received(chunks_of(fetched(files, file))) == (BODY, None)

    until(lambda: not harness.spooled())
    assert harness.counted("not_stored") == 1

    def is_stored() -> bool:
        with suppress(Unavailable):  # of the fetch that is about to end
            return stored_by(files, file).file.sha256 == DIGEST
        return False

    until(is_stored)
    assert len(harness.source.requests) == (2 if kind is FaultKind.NOT_DONE else 1)


def test_a_disk_that_cannot_be_synced(
    harness: FilesHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a file cannot be made durable, clients get it all the same, and the failure is counted."""
    monkeypatch.setattr("wheelyard.upstream.file_fetch.sync_file", _failing_sync)
    file, files = listed(size=None), harness.files()
    harness.source.send(BODY)

    assert received(chunks_of(fetched(files, file))) == (BODY, None)

    until(lambda: not harness.spooled())
    assert [harness.stored(), harness.counted("not_stored")] == [[], 1]


def _failing_sync(_: int) -> None:
    raise OSError(EIO, "the disk is broken")


def test_a_spool_that_is_missing(harness: FilesHarness, tmp_path: Path) -> None:
    """Without a folder for temporary files, files are passed on, as many at a time as may be."""
    file, files = listed(), harness.files(spool=Spool(tmp_path / "missing"))
    harness.source.send(BODY)

    opened = files.fetch(page_of(file), file).result(TIMEOUT_SECONDS)

    assert isinstance(opened, PassedOnFile)
    assert received(opened.body()) == (BODY, None)
    until(lambda: harness.counted("not_stored") == 1)
    away = harness.source.answers[URL] = Unavailable("The index is away.")
    for _ in range(40):  # more than are passed on at a time
        assert received(opened.body()) == (b"", away)
    harness.source.send(BODY)
    assert received(opened.body()) == (BODY, None)
    readers = [chunks_of(opened) for _ in range(32)]
    assert all(next(each) for each in readers)
    with refused(Unavailable, "overloaded"):
        next(chunks_of(opened))
    for each in readers:
        assert received(each)[1] is None
    assert received(opened.body()) == (BODY, None)


def test_a_disk_on_which_uploads_need_the_room(
    harness: FilesHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that would take the room of uploads is passed on, and what needs it is told why."""
    monkeypatch.setattr(spool, "MAX_RESERVE_BYTES", inf)
    monkeypatch.setattr(spool, "RESERVED_PART", 1)
    file, files = listed(), harness.files()
    harness.source.send(BODY)

    opened = files.fetch(page_of(file), file).result(TIMEOUT_SECONDS)

    assert isinstance(opened, PassedOnFile)
    assert received(opened.body()) == (BODY, None)
    with refused(Unavailable, "storage_full", match="a file in the spool folder. Free some space"):
        stored_by(files, file)
    assert [harness.spooled(), harness.stored()] == [[], []]


def test_a_disk_on_which_uploads_need_the_room_later(
    harness: FilesHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fetch ends without its file, which is counted, once others take the room of uploads."""
    monkeypatch.setattr("wheelyard.upstream.file_fetch.ROOM_CHECK_BYTES", CHUNK)
    gate, file, files = Event(), listed(), harness.files()
    harness.source.send(BODY, gate=gate)
    opened = fetched(files, file)
    monkeypatch.setattr(spool, "MAX_RESERVE_BYTES", inf)
    monkeypatch.setattr(spool, "RESERVED_PART", 1)
    gate.set()

    body, error = received(chunks_of(opened))

    assert isinstance(error, Unavailable)
    assert len(body) < len(BODY)
    until(lambda: not harness.spooled())
    assert [harness.stored(), harness.counted("not_stored")] == [[], 1]


@pytest.mark.integration
@pytest.mark.parametrize("size", [len(BODY), None])
def test_a_disk_that_is_nearly_full(
    harness: FilesHarness, tmp_path: Path, size: int | None
) -> None:
    """A file for which the disk has no room is passed on to each reader, and not kept."""
    with small_disk(tmp_path, "size=512k") as disk:
        file, files = listed(size=size), harness.files(spool=Spool(disk))
        harness.source.send(BODY)

        opened = [files.fetch(page_of(file), file).result(TIMEOUT_SECONDS) for _ in range(2)]

        for each in opened:
            assert isinstance(each, PassedOnFile)
            assert received(each.body()) == (BODY, None)
        assert not list(disk.iterdir())
        until(lambda: harness.counted("not_stored") > 0)
        assert harness.stored() == []
        until(lambda: all(each.is_closed for each in harness.source.opened))


@pytest.mark.integration
def test_a_disk_that_becomes_full(harness: FilesHarness, tmp_path: Path) -> None:
    """If others fill the disk meanwhile, the readers break off, and the next one gets the file."""
    with small_disk(tmp_path, "size=2m") as disk:
        gate, file, files = Event(), listed(), harness.files(spool=Spool(disk))
        harness.source.send(BODY, gate=gate)
        opened = fetched(files, file)
        with (disk / "others").open("wb", buffering=0) as others, suppress(OSError):
            while others.write(bytes(CHUNK)):
                pass
        gate.set()

        body, error = received(chunks_of(opened))
        assert isinstance(error, Unavailable)
        assert BODY.startswith(body)
        until(lambda: [each.name for each in disk.iterdir()] == ["others"])
        assert [harness.stored(), harness.counted("not_stored")] == [[], 1]
        next_one = files.fetch(page_of(file), file).result(TIMEOUT_SECONDS)
        assert isinstance(next_one, PassedOnFile)
        assert received(next_one.body()) == (BODY, None)


def test_two_processes_with_one_spool(harness: FilesHarness) -> None:
    """Each process fetches a file for itself, and the file is kept once."""
    gate, file = Event(), listed()
    harness.source.send(BODY, gate=gate)
    readers = [chunks_of(fetched(harness.files(), file)) for _ in range(3)]
    first = [next(each) for each in readers]
    gate.set()

    assert [first[n] + received(readers[n])[0] for n in range(3)] == 3 * [BODY]
    until(lambda: not harness.spooled())
    assert harness.source.requests == 3 * [URL]
    assert harness.stored() == [KEY]


def test_another_instance_was_faster(harness: FilesHarness) -> None:
    """A file that another instance has brought to a remote store meanwhile is not sent there."""
    store = FakeStore(MemoryStore(harness.runtime.seconds))
    gate, file, slower = Event(), listed(), harness.files(store=store)
    harness.source.send(BODY, gate=gate)
    reader = chunks_of(fetched(slower, file))
    harness.source.send(BODY)
    assert stored_by(harness.files(store=store), file).file.sha256 == DIGEST

    gate.set()

    assert received(reader) == (BODY, None)
    until(lambda: not harness.spooled())
    assert store.count("put*", KEY) == 1


def test_what_is_being_fetched_when_a_process_ends(harness: FilesHarness) -> None:
    """A process that ends leaves nothing in the spool, and its reader gets no more of a file."""
    file, files, gate = listed(), harness.files(), Event()
    harness.source.send(BODY, gate=gate)
    opened = fetched(files, file)
    assert len(harness.spooled()) == 1
    files.close()
    assert harness.spooled() == []
    gate.set()

    body, error = received(chunks_of(opened))

    assert len(body) <= len(BODY) // 2
    assert isinstance(error, Unavailable)
    assert "about to stop" in error.message


def test_a_page_without_digests(harness: FilesHarness) -> None:
    """The first bytes of a file without a digest decide; other ones are refused from then on."""
    file, files = listed(sha256="", size=None), harness.files()
    harness.source.send(BODY)
    page = page_of(file)
    assert files.with_digests(page) is page
    stored_by(files, file)

    known = harness.files().with_digests(page)

    assert known.files == (listed(),)
    assert files.with_digests(page) is files.with_digests(page)
    assert files.find(known, known.files[0]) is not None
    harness.source.send(WRONG)
    opened = files.fetch(page, file).result(TIMEOUT_SECONDS)
    assert isinstance(received(chunks_of(opened))[1], Unavailable)
    opened = files.fetch(known, known.files[0]).result(TIMEOUT_SECONDS)
    assert isinstance(opened, StoredFile)
    UpstreamSweep(StoreClock(harness.store, harness.runtime)).run(SweepRules(max_bytes=0))
    opened = files.fetch(known, known.files[0]).result(TIMEOUT_SECONDS)
    assert isinstance(received(chunks_of(opened))[1], Unavailable)
    assert [harness.counted("digest_change"), harness.counted("digest_mismatch")] == [2, 0]
    assert files.with_digests(page_of(listed())) == page_of(listed())


@pytest.mark.parametrize(
    "rules",
    [FileRules(), FileRules(mode="proxy"), FileRules(max_kept_bytes=CHUNK)],
    ids=["kept", "passed on", "too large to keep"],
)
@pytest.mark.parametrize("size", [len(BODY), 2 * CHUNK], ids=["large", "small"])
def test_two_servers_and_a_file_without_digest(
    harness: FilesHarness, rules: FileRules, size: int
) -> None:
    """Two servers that get different bytes for a file at the same time send only one of them."""
    file, bodies, gate = listed(sha256="", size=None), (BODY[:size], WRONG[:size]), Event()
    sources = [ScriptedSource(), ScriptedSource()]
    for source, body in zip(sources, bodies, strict=True):
        source.send(body, gate=gate)
    servers = [harness.files(source=source, rules=rules) for source in sources]

    def read(server: UpstreamFiles) -> tuple[bytes, WheelyardError | None]:
        opened = server.fetch(page_of(file), file)
        try:
            return received(chunks_of(opened.result(TIMEOUT_SECONDS)))
        except WheelyardError as error:
            return b"", error

    with ThreadPoolExecutor() as pool:
        reading = [pool.submit(read, server) for server in servers]
        until(lambda: all(source.opened for source in sources))
        gate.set()
        (first, no_error), (second, error) = sorted(
            (each.result(TIMEOUT_SECONDS) for each in reading), key=lambda each: bool(each[1])
        )

    assert no_error is None
    assert first in bodies
    assert isinstance(error, Unavailable)
    assert len(second) <= size - 1024 or not second
    assert harness.counted("digest_change") == 1
    pinned = replace(file, sha256=sha256(first).hexdigest(), size=size)
    until(lambda: harness.files().with_digests(page_of(file)).files == (pinned,))
    # also by a server that still has the page without the digest
    body, error = read(servers[0])
    assert body == first or (error is not None and len(body) < size)


def test_a_file_without_digest_and_a_store_that_takes_nothing(harness: FilesHarness) -> None:
    """The end of a file is not sent before its digest is in the store."""
    faults = (Fault(FaultKind.NOT_DONE, verb="put*", times=9),)
    store = FakeStore(MemoryStore(harness.runtime.seconds), *faults)
    file = listed(sha256="", size=None)
    harness.source.send(BODY)

    for rules in (FileRules(), FileRules(mode="proxy")):
        files = harness.files(store=store, rules=rules)
        opened = files.fetch(page_of(file), file).result(TIMEOUT_SECONDS)
        body, error = received(chunks_of(opened))
        assert isinstance(error, Unavailable)
        assert len(body) <= len(BODY) - 1024


def test_a_digest_that_cannot_be_listed(harness: FilesHarness) -> None:
    """A file whose digest cannot be added to those of its page is served, and that is counted."""
    memory = MemoryStore(harness.runtime.seconds)
    lost = Fault(FaultKind.NOT_DONE, "put", f"*{keys.upstream_digests(NAME)}", times=ALWAYS)
    file, files = listed(sha256="", size=None), harness.files(store=FakeStore(memory, lost))
    harness.source.send(BODY)

    assert stored_by(files, file).file.sha256 == DIGEST

    assert harness.counted("not_stored") == 1


def test_a_fault_of_ours(harness: FilesHarness, caplog: pytest.LogCaptureFixture) -> None:
    """If a fetch fails by a fault of ours, clients are told so, and the log says where."""
    file, files = listed(), harness.files()  # the source has no answer for its URL

    with pytest.raises(Unavailable, match=r"could not fetch this file\. Tell its operator\."):
        files.fetch(page_of(file), file).result(TIMEOUT_SECONDS)

    (record,) = caplog.records
    assert record.message == "a file of an upstream index could not be fetched"
    assert record.exc_info
    assert record.exc_info[0] is KeyError


def test_a_digest_that_an_earlier_version_has_pinned(harness: FilesHarness) -> None:
    """A digest in the document of a project holds without an object of its own."""
    old = f'{{"files":{{"{FILENAME}":{{"sha256":"{DIGEST}","size":{len(BODY)}}}}}}}\n'
    harness.store.put(Key(f"upstream/{UPSTREAM}/digests/demo.json"), old.encode(), None)
    file, files = listed(sha256="", size=None), harness.files()
    harness.source.send(WRONG)

    opened = files.fetch(page_of(file), file).result(TIMEOUT_SECONDS)

    assert isinstance(received(chunks_of(opened))[1], Unavailable)
    assert files.with_digests(page_of(file)).files == (listed(),)


@pytest.mark.parametrize("rules", [FileRules(), FileRules(mode="proxy")], ids=["kept", "passed on"])
@pytest.mark.parametrize("stated", ["", DIGEST], ids=["alone", "beside SHA-256"])
@pytest.mark.parametrize(
    "algorithm", ["md5", "sha1", "sha224", "sha384", "sha512", "blake2b", "sha3_256"]
)
def test_a_digest_other_than_sha256(
    harness: FilesHarness, algorithm: str, stated: str, rules: FileRules
) -> None:
    """Each digest that a page states is compared with the bytes, and wrong ones are not pinned."""
    digest = hashlib.new(algorithm, BODY, usedforsecurity=False).hexdigest()
    right = listed(sha256=stated, size=None, other_hashes=(f"{algorithm}={digest}",))
    wrong = replace(right, other_hashes=(f"{algorithm}={digest[::-1]}",))
    files = harness.files(rules=rules)
    harness.source.send(BODY)

    opened = files.fetch(page_of(wrong), wrong).result(TIMEOUT_SECONDS)
    body, error = received(chunks_of(opened))

    assert isinstance(error, Unavailable)
    assert error.code == "bad_upstream"
    assert len(body) <= len(BODY) - 1024
    assert harness.counted("digest_mismatch") == 1
    assert harness.stored() == []
    opened = harness.files(rules=rules).fetch(page_of(right), right).result(TIMEOUT_SECONDS)
    assert received(chunks_of(opened)) == (BODY, None)


@pytest.mark.parametrize("rules", [FileRules(mode="proxy"), FileRules(max_kept_bytes=CHUNK)])
def test_a_file_that_is_only_passed_on(harness: FilesHarness, rules: FileRules) -> None:
    """In mode proxy, and above the size limit, a file is verified on its way and not kept."""
    file, files = listed(), harness.files(rules=rules)
    harness.source.send(BODY)

    opened = files.fetch(page_of(file), file).result(TIMEOUT_SECONDS)

    assert not opened.takes_ranges  # type: ignore[union-attr]
    assert received(chunks_of(opened)) == (BODY, None)
    for wrong in (WRONG, BODY[:-1], BODY + b"!"):
        harness.source.send(wrong, announced=None)
        opened = files.fetch(page_of(file), file).result(TIMEOUT_SECONDS)
        body, error = received(chunks_of(opened))
        assert isinstance(error, Unavailable)
        assert len(body) <= len(BODY) - 1024
    assert harness.stored() == harness.spooled() == []
    assert all(each.is_closed for each in harness.source.opened)
    harness.source.send(BODY)
    assert files.bring(page_of(file), file).file.size == len(BODY)


def test_readers_that_leave_before_they_are_sent_anything(harness: FilesHarness) -> None:
    """A file that is passed on is closed at its upstream if its reader never reads it."""
    file, files = listed(), harness.files(rules=FileRules(mode="proxy"))
    harness.source.send(BODY)

    for _ in range(40):  # more than are passed on at a time
        body = files.fetch(page_of(file), file).result(TIMEOUT_SECONDS).body()  # type: ignore[union-attr]
        del body

    assert len(harness.source.opened) == 40
    until(lambda: all(each.is_closed for each in harness.source.opened))


def test_more_readers_than_can_be_served(harness: FilesHarness) -> None:
    """Who reads one file too many of an index comes again, and files of others are sent."""
    file, files = listed(), harness.files(rules=FileRules(mode="proxy"))
    harness.source.send(BODY)
    opened = [files.fetch(page_of(file), file).result(TIMEOUT_SECONDS) for _ in range(32)]

    error = files.fetch(page_of(file), file).exception(TIMEOUT_SECONDS)

    assert isinstance(error, Unavailable)
    assert error.code == "overloaded"
    other = files.fetch(page_of(file, upstream="other-0123abcd"), file).result(TIMEOUT_SECONDS)
    assert received(chunks_of(other)) == (BODY, None)
    assert all(received(chunks_of(each)) == (BODY, None) for each in opened)
    last = files.fetch(page_of(file), file).result(TIMEOUT_SECONDS)
    assert received(chunks_of(last)) == (BODY, None)


def test_files_of_another_index_while_answers_do_not_begin(harness: FilesHarness) -> None:
    """However many answers of one index do not begin, a file of another one is passed on."""
    files, begins = harness.files(rules=FileRules(mode="proxy")), Event()
    slow = [listed(filename=f"demo-{n}-py3-none-any.whl", url=f"{URL}/{n}") for n in range(32)]
    for file in slow:
        harness.source.send(BODY, file.url, begins=begins)
        files.fetch(page_of(file), file)
    until(lambda: len(harness.source.requests) == FETCH_THREADS // 2)
    harness.source.send(BODY)
    quick = listed()
    page = page_of(quick, upstream="other-0123abcd")

    try:
        opened = files.fetch(page, quick).result(TIMEOUT_SECONDS)
        assert received(chunks_of(opened)) == (BODY, None)
    finally:
        begins.set()


def test_an_answer_that_begins_when_too_many_files_are_sent(harness: FilesHarness) -> None:
    """An answer that finds no room when it begins is closed, and its reader may come again."""
    files, begins = harness.files(rules=FileRules(mode="proxy")), Event()
    late, file = listed(url=f"{URL}/late"), listed()
    harness.source.send(BODY, late.url, begins=begins)
    harness.source.send(BODY)
    waiting = files.fetch(page_of(late), late)
    until(lambda: harness.source.requests == [late.url])
    opened = [files.fetch(page_of(file), file).result(TIMEOUT_SECONDS) for _ in range(32)]
    begins.set()

    error = waiting.exception(TIMEOUT_SECONDS)

    assert isinstance(error, Unavailable)
    assert error.code == "overloaded"
    assert harness.source.opened[-1].is_closed
    assert all(received(chunks_of(each)) == (BODY, None) for each in opened)


def test_a_file_whose_size_is_known_late(harness: FilesHarness) -> None:
    """A file of which only the answer says that it is too large to keep is sent and not kept."""
    file, files = listed(size=None), harness.files(rules=FileRules(max_kept_bytes=CHUNK))
    harness.source.send(BODY)

    assert received(chunks_of(fetched(files, file))) == (BODY, None)

    until(lambda: not harness.spooled())
    assert [harness.stored(), harness.counted("not_stored")] == [[], 0]


METADATA = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"


@pytest.mark.parametrize("digest", [sha256(METADATA).hexdigest(), ""])
def test_core_metadata_is_kept_if_its_digest_is_known(harness: FilesHarness, digest: str) -> None:
    """Core metadata is fetched once and kept if its page says its digest, else each time."""
    file, files = listed(core_metadata=digest, has_metadata=True), harness.files()
    page = page_of(file)
    harness.source.send(METADATA, f"{URL}.metadata")
    assert files.find_sidecar(core_metadata_of(page, file)) is None

    for _ in range(2):
        assert harness.files().bring_sidecar(core_metadata_of(page, file)) == METADATA

    assert len(harness.source.requests) == (1 if digest else 2)
    assert harness.stored() == ([f"{KEY}.metadata"] if digest else [])
    assert all(each.is_closed for each in harness.source.opened)


def test_core_metadata_and_a_store_that_takes_nothing(
    harness: FilesHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """Core metadata that cannot be stored is served, counted as such, and named in the log."""
    memory = MemoryStore(harness.runtime.seconds)
    files = harness.files(store=FakeStore(memory, Fault(FaultKind.NOT_DONE, "put*", times=ALWAYS)))
    file = listed(core_metadata=sha256(METADATA).hexdigest(), has_metadata=True)
    harness.source.send(METADATA, f"{URL}.metadata")

    assert files.bring_sidecar(core_metadata_of(page_of(file), file)) == METADATA

    assert harness.counted("not_stored") == 1
    why = "of demo was not stored: The store did not answer."
    assert f"upstream: {FILENAME}.metadata {why}" in caplog.messages


def test_core_metadata_that_another_fetch_has_just_brought(harness: FilesHarness) -> None:
    """Who looks for core metadata just before a fetch of it ends does not fetch it again."""
    file, files = listed(has_metadata=True), harness.files()
    page = page_of(file)
    harness.source.send(METADATA, f"{URL}.metadata")

    for _ in range(2):
        assert files.fetch_sidecar(core_metadata_of(page, file)).result(TIMEOUT_SECONDS) == METADATA

    assert harness.source.requests == [f"{URL}.metadata"]


def test_core_metadata_with_another_digest(harness: FilesHarness) -> None:
    """Core metadata of which a page states only an MD5 is compared with that."""
    digest = hashlib.md5(METADATA, usedforsecurity=False).hexdigest()
    right = listed(other_metadata_hashes=(f"md5={digest}",), has_metadata=True)
    wrong = replace(right, other_metadata_hashes=(f"md5={digest[::-1]}",))
    harness.source.send(METADATA, f"{URL}.metadata")

    assert harness.files().bring_sidecar(core_metadata_of(page_of(right), right)) == METADATA
    error = (
        harness.files()
        .fetch_sidecar(core_metadata_of(page_of(wrong), wrong))
        .exception(TIMEOUT_SECONDS)
    )
    assert isinstance(error, Unavailable)


@pytest.mark.parametrize(
    ("sent", "announced", "why"),
    [
        (METADATA[:-1], None, "another digest"),
        (METADATA[:-1], len(METADATA), "fewer bytes"),
        (METADATA + bytes(2**22), None, "more bytes"),
        (b"", None, "another digest"),
    ],
)
def test_core_metadata_that_is_wrong(
    harness: FilesHarness, sent: bytes, announced: int | None, why: str
) -> None:
    """Core metadata with another digest, that breaks off or has no end, is refused and not kept."""
    file = listed(core_metadata=sha256(METADATA).hexdigest(), has_metadata=True)
    harness.source.send(sent, f"{URL}.metadata", announced=announced)

    error = (
        harness.files()
        .fetch_sidecar(core_metadata_of(page_of(file), file))
        .exception(TIMEOUT_SECONDS)
    )

    assert isinstance(error, Unavailable)
    assert error.code == "bad_upstream"
    assert why in error.message
    assert harness.stored() == []


def test_core_metadata_that_the_store_has_changed(harness: FilesHarness) -> None:
    """Core metadata that was changed in the store is fetched again."""
    file, files = listed(core_metadata=sha256(METADATA).hexdigest()), harness.files()
    harness.source.send(METADATA, f"{URL}.metadata")
    files.bring_sidecar(core_metadata_of(page_of(file), file))
    harness.store.put(Key(f"{KEY}.metadata"), b"changed", None)

    assert files.bring_sidecar(core_metadata_of(page_of(file), file)) == METADATA
    assert files.find_sidecar(core_metadata_of(page_of(file), file)) == METADATA
