"""What of a page is in the store."""

from functools import partial

import pytest
from packaging.utils import NormalizedName

from tests.fake_store import ALWAYS, After, FakeStore, Fault, FaultKind
from tests.fake_time import Clock, fake_runtime
from tests.refused import refused
from wheelyard.catalog import keys
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.errors import Conflict, Unavailable
from wheelyard.storage.memory import MemoryStore
from wheelyard.upstream.file_cache import Pin, PinnedDigests, as_stored
from wheelyard.upstream.page import UpstreamFile
from wheelyard.upstream.page_lookup import StoredPages

NAME = NormalizedName("idna")
DIGEST = "a" * 64


def file(version: str, size: int | None = None) -> UpstreamFile:
    """Return a file with core metadata, as pages in HTML list it."""
    return UpstreamFile(
        filename=f"idna-{version}-py3-none-any.whl",
        version=version,
        url="https://files.example.com/x",
        sha256=DIGEST,
        size=size,
        has_metadata=True,
        core_metadata="b" * 64,
    )


def test_only_what_is_there_is_listed() -> None:
    """A page loses files that the store lacks or has incomplete, and metadata that it lacks."""
    files = (file("1.0"), file("2.0", 7), file("3.0", 7), file("4.0"), file("5.0", 7))
    there = {"1.0": 7, "2.0": 7, "3.0": 6}
    sizes = {
        keys.distribution(NAME, DIGEST, each.filename): there[each.version]
        for each in files
        if each.version in there
    }
    sizes[keys.core_metadata(NAME, DIGEST, files[0].filename)] = 9

    shown = [kept for file in files if (kept := as_stored(NAME, file, sizes))]

    assert [(each.version, each.serves_metadata) for each in shown] == [
        ("1.0", True),
        ("2.0", False),
    ]
    assert shown[0] is files[0]


def test_what_is_not_synced() -> None:
    """Only what can be fetched again may be lost in a power cut: no pinned digest, no decision."""
    below = keys.upstream("pypi-12345678")
    fetched = (
        f"{below}{keys.distribution(NAME, DIGEST, 'idna-1.0.tar.gz')}",
        f"{below}{keys.core_metadata(NAME, DIGEST, 'idna-1.0.tar.gz')}",
        keys.upstream_page("pypi-12345678", NAME),
    )
    own = (
        f"{below}{keys.upstream_digests(NAME)}",
        f"{below}{keys.upstream_digest(NAME, 'idna-1.0.tar.gz')}",
        keys.UPSTREAM_LICENCES,
        keys.UPSTREAM_FIRST_USES,
        keys.DECISIONS,
        keys.distribution(NAME, DIGEST, "idna-1.0.tar.gz"),
        keys.project(NAME),
    )

    assert all(map(keys.REFETCHABLE.match, fetched))
    assert not any(map(keys.REFETCHABLE.match, own))


def test_a_digest_that_another_process_wrote_and_lost_again() -> None:
    """If the digest of a file can be neither written nor read, the fetch fails with a refusal."""
    store = FakeStore(MemoryStore(Clock().seconds), Fault(FaultKind.LOST_RACE, "put"))
    pins = PinnedDigests(store, ConflictRetries(runtime=fake_runtime(Clock(), 1)))

    with pytest.raises(Conflict):
        pins.pin(NAME, "idna-1.0.tar.gz", Pin(DIGEST, 1))
    assert pins.pin(NAME, "idna-1.0.tar.gz", Pin(DIGEST, 1)) == Pin(DIGEST, 1)


def test_a_digest_while_too_many_others_are_listed() -> None:
    """Where others list digests all the time, a fetch ends with a refusal, and lists nothing."""
    store = FakeStore(MemoryStore(Clock().seconds), Fault(FaultKind.LOST_RACE, "put", times=ALWAYS))
    pins = PinnedDigests(store, ConflictRetries(runtime=fake_runtime(Clock(), 1)))

    with refused(Unavailable, "overloaded"):
        pins.list_on_page(NAME, "idna-1.0.tar.gz", Pin(DIGEST, 1))
    assert list(store.list("")) == []


def test_a_page_that_goes_while_it_is_looked_for() -> None:
    """A page that is removed after the listing is no sign that an index has files."""
    memory, upstream = MemoryStore(Clock().seconds), "public-0123abcd"
    page = keys.upstream_page(upstream, NAME)
    memory.put(page, b"a page", None)
    store = FakeStore(memory, After(partial(memory.delete, page), "list"))

    assert not StoredPages(store).has_files(upstream)
    assert store.count("get", page) == 1
