"""A full disk: what makes room uses the reserve of the store, and nothing else does."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from errno import ENOSPC
from functools import partial
from pathlib import Path
from random import Random
from threading import Event

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.distributions import make_wheel
from tests.fake_time import Clock
from tests.index_tables import put_tables
from tests.model.jobs import GITHUB
from tests.operations.in_memory_index import ALICE, IndexHarness, remove_now
from tests.refused import refused
from tests.storage.small_disk import fill, small_disk
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.catalog import keys
from wheelyard.errors import STORAGE_FULL, Unavailable, WheelyardError
from wheelyard.model.distribution_filename import parse_version
from wheelyard.model.grants import GrantFields
from wheelyard.model.project import Status
from wheelyard.operations.daily_sweep import EVERY, DailySweep
from wheelyard.operations.lifecycle import Selection
from wheelyard.storage.base import ABSENT, Key
from wheelyard.storage.local import LocalStore
from wheelyard.storage.reserve import RESERVE_BYTES
from wheelyard.upstream.decisions import Deciding

pytestmark = pytest.mark.integration

DEMO, FILE = NormalizedName("demo"), Key("files/a")
ORPHAN = Key(f"files/demo/{'0' * 64}/demo-0.1-py3-none-any.whl")
VERSIONS = ("1.0", "2.0", "3.0", "4.0")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a MiB."""
    with small_disk(tmp_path, "size=1m") as root:
        yield root


def store_on(disk: Path) -> LocalStore:
    """Return the store on a disk, as another process has it."""
    return LocalStore(disk / "store", Random(1))


def reserve_of(disk: Path) -> Path:
    """Return the path of the reserve."""
    return disk / "store/.reserve"


def assert_is_full(disk: Path) -> None:
    """Check that there is no room for a byte."""
    with pytest.raises(OSError, match="No space") as full:
        (disk / "more").write_bytes(b"1")
    assert full.value.errno == ENOSPC


def test_the_reserve_is_room_of_the_disk(disk: Path) -> None:
    """The first upload makes the reserve, whose bytes are allocated, and which is no object."""
    store = store_on(disk)
    assert not reserve_of(disk).exists()  # as in a store that is only read

    store.put_file(FILE, b"1")

    status = reserve_of(disk).stat()
    assert status.st_size == RESERVE_BYTES <= status.st_blocks * 512
    assert [entry.key for entry in store.list("")] == [FILE]
    assert status.st_mode & 0o777 == 0o640


def test_first_uploads_at_once(tmp_path: Path) -> None:
    """The first uploads to a new store all succeed, though several processes make them at once."""
    for number in range(20):
        stores = [LocalStore(tmp_path / str(number), Random(seed)) for seed in range(4)]
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda store: store.put_file(FILE, b"1"), stores))


def test_the_first_object_makes_it(disk: Path) -> None:
    """A store that gets no files, as one of credentials alone, has a reserve, too."""
    store, token = store_on(disk), Key("credentials/tokens/a.json")
    assert not reserve_of(disk).exists()
    store.put(token, b"{}", ABSENT)
    fill(disk)
    revoke = partial(store.put, token, b"{1}", None)
    with refused(Unavailable, STORAGE_FULL):
        revoke()

    store.with_reserve(revoke)

    assert_is_full(disk)


def test_only_deletions_use_it(disk: Path) -> None:
    """On a full disk a deletion can write, others cannot, and the rest of the reserve is kept."""
    store = store_on(disk)
    store.put_file(FILE, b"1")
    fill(disk)
    with refused(Unavailable, STORAGE_FULL):
        store.put(Key("a"), b"1", ABSENT)

    store.with_reserve(lambda: store.put(Key("b"), bytes(10_000), ABSENT))

    assert 0 < reserve_of(disk).stat().st_size < RESERVE_BYTES
    assert_is_full(disk)
    with refused(Unavailable, STORAGE_FULL):
        store.put_file(Key("files/b"), b"1")
    (disk / "filler").unlink()
    store.put_file(Key("files/b"), b"1")
    assert reserve_of(disk).stat().st_size == RESERVE_BYTES


def test_no_file_is_stored_meanwhile(disk: Path) -> None:
    """While a deletion uses the reserve, another process stores no file there."""
    store, other = store_on(disk), store_on(disk)
    store.put_file(FILE, b"1")
    fill(disk)
    tries = list[int]()

    def delete() -> None:
        store.put(Key("b"), bytes(5000), None)
        tries.append(1)
        with refused(Unavailable, STORAGE_FULL):
            other.put_file(Key("files/b"), b"1")
        with pytest.raises(OSError, match="No space"), other.spool.with_reserve_kept():
            pass

    store.with_reserve(delete)
    assert tries == [1]


@pytest.mark.parametrize("left", [0, 100, RESERVE_BYTES - 1])
def test_a_process_that_has_died(disk: Path, left: int) -> None:
    """A reserve that a process has not made again is made by the next upload or deletion."""
    store = store_on(disk)
    store.put_file(FILE, b"1")
    makers: tuple[Callable[[], None], ...] = (
        lambda: store.put_file(FILE, b"1"),
        lambda: store.delete(Key("none")),
    )
    for again in makers:
        reserve_of(disk).unlink()
        if left:
            reserve_of(disk).write_bytes(bytes(left))
        again()
        assert reserve_of(disk).stat().st_size == RESERVE_BYTES


def test_other_failures_leave_it(disk: Path) -> None:
    """An action that fails for another reason than the disk is not repeated."""
    store, calls = store_on(disk), list[int]()
    store.put_file(FILE, b"1")

    def fail() -> None:
        calls.append(1)
        message = "No."
        raise Unavailable(message)

    with pytest.raises(Unavailable, match="No"):
        store.with_reserve(fail)
    assert calls == [1]


@pytest.fixture
def index_on_full_disk(tmp_path: Path, disk: Path) -> IndexHarness:
    """
    An index on a full disk.

    It has four releases, a rule of retention, and what an upload has left two days ago.
    """
    spooled = tmp_path / "spool"
    spooled.mkdir()
    store = store_on(disk)
    clock = Clock(datetime.fromtimestamp(store.time(keys.CLOCK), UTC))
    harness = IndexHarness(spooled, clock, other=store)
    for version in VERSIONS:
        harness.upload(make_wheel(version=version))
    put_tables(harness.index, "[[retention]]\nkeep_last = 1\n")
    store.put_file(ORPHAN, bytes(RESERVE_BYTES))
    os.utime(store.path_of(ORPHAN), (clock.seconds() - 200_000,) * 2)
    fill(disk)
    return harness


def test_releases_are_deleted(index_on_full_disk: IndexHarness, disk: Path) -> None:
    """On a full disk one can yank, delete and remove releases, and upload nothing."""
    index = index_on_full_disk.opened(seed=3)
    first, second, third, _ = VERSIONS

    index.lifecycle.change("yank", ALICE, DEMO, Selection(parse_version(first)), "it is broken")
    index.lifecycle.change("delete", ALICE, DEMO, Selection(parse_version(second)), "")
    remove_now(index, make_wheel(version=third).sha256)

    with refused(Unavailable, STORAGE_FULL):
        index_on_full_disk.upload(make_wheel(version="5.0"))
    assert_is_full(disk)
    project = index_on_full_disk.opened(seed=4).projects.get(DEMO)
    assert [file.version for file in project.files] == ["1.0", "4.0"]
    assert [file.version for file in project.trash] == ["2.0"]
    assert index_on_full_disk.check().problems == []


def test_retention_deletes_on_a_full_disk(index_on_full_disk: IndexHarness) -> None:
    """Rules delete old releases on a full disk."""
    retention = index_on_full_disk.opened(seed=3).server.retention
    assert retention is not None

    report = retention.run(ALICE)

    assert report is not None
    assert len(report.deleted) == len(VERSIONS) - 1


def test_a_sweep_frees_a_full_disk(index_on_full_disk: IndexHarness, disk: Path) -> None:
    """The daily sweep of a full disk frees it, and makes the reserve as large as it was."""
    index = index_on_full_disk.opened(seed=3)

    swept = DailySweep(index.server.sweep, index.changes, index.server.runtime).sweep_if_due()

    assert swept == EVERY
    assert ORPHAN not in index_on_full_disk.snapshot()
    assert reserve_of(disk).stat().st_size == RESERVE_BYTES
    index_on_full_disk.upload(make_wheel(version="5.0"))


def test_access_ends_on_a_full_disk(index_on_full_disk: IndexHarness, disk: Path) -> None:
    """On a full disk one can revoke tokens and grants, end people, and remove publishers."""
    (disk / "filler").unlink()
    index = index_on_full_disk.opened(seed=3)
    token, _ = index.tokens.create(TokenRequest(name="ci"), "local:ana")
    fields = GrantFields(who=("htpasswd:bo",), projects=("*",), actions=("upload",))
    grant = index.server.access.grant(fields, "local:ana")
    index.server.publishers.add(GITHUB, "local:ana")
    fill(disk)
    with refused(Unavailable, STORAGE_FULL):
        index.server.access.grant(replace(fields, who=("htpasswd:cy",)), "local:ana")

    index.tokens.revoke(token.id, "local:ana")
    index.server.access.revoke(grant, "local:ana")
    index.server.access.end_person("htpasswd:bo", "local:ana")
    index.server.publishers.remove("gh-mylib", "local:ana")

    assert_is_full(disk)
    index = index_on_full_disk.opened(seed=4)
    assert not index.tokens.any_active()
    rules = index.server.access.records.get("current").value
    assert rules is not None
    assert rules.grants == ()
    assert index.server.publishers.show() == ()
    assert [ended.who for ended in rules.ended] == ["htpasswd:bo"]
    assert index_on_full_disk.check().problems == []


def test_installations_stop_on_a_full_disk(index_on_full_disk: IndexHarness, disk: Path) -> None:
    """On a full disk one can put a project into quarantine, and block a public package."""
    index = index_on_full_disk.opened(seed=3)
    with refused(Unavailable, STORAGE_FULL):
        index.lifecycle.set_status(ALICE, DEMO, Status.ARCHIVED, "it is old")

    index.lifecycle.set_status(ALICE, DEMO, Status.QUARANTINED, "it is malware")
    Deciding(index.server.decisions, ALICE.principal).block(
        NormalizedName("evil"), None, "it is malware"
    )

    assert_is_full(disk)
    assert index_on_full_disk.opened(seed=5).projects.get(DEMO).status is Status.QUARANTINED


def test_several_processes_delete_at_once(index_on_full_disk: IndexHarness, disk: Path) -> None:
    """Deletions of several processes succeed, while no upload among them does."""
    is_over = Event()

    def delete(number: int, version: str) -> None:
        index = index_on_full_disk.opened(number, store_on(disk))
        index.lifecycle.change("delete", ALICE, DEMO, Selection(parse_version(version)), "")

    def upload() -> int:
        count, store = 0, store_on(disk)
        while not is_over.is_set():
            with suppress(WheelyardError):
                store.put_file(Key("files/new"), b"1")
                count += 1
        return count

    with ThreadPoolExecutor() as pool:
        uploads = pool.submit(upload)
        deletions = [pool.submit(delete, *each) for each in enumerate(VERSIONS, 10)]
        for deletion in deletions:
            deletion.result()
        is_over.set()
        assert uploads.result() == 0

    assert len(index_on_full_disk.opened(seed=5).projects.get(DEMO).trash) == len(VERSIONS)
