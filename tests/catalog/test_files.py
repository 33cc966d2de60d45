"""Writes of a file's objects where an object exists at the key already."""

from pathlib import Path

import pytest

from tests.catalog.invariants import DEMO
from tests.distributions import make_wheel
from tests.operations.in_memory_index import ALICE, IndexHarness
from tests.refused import refused
from wheelyard.api.local_api import LocalApi
from wheelyard.api.provenance_operations import ProvenanceQuery, show_provenance
from wheelyard.catalog import keys
from wheelyard.catalog.files import CoreMetadataCache, FileContent
from wheelyard.concurrency.caches import LruCache
from wheelyard.errors import NotFound, Unavailable
from wheelyard.storage.base import ABSENT, Key

MADE = make_wheel()


@pytest.mark.parametrize("what", ["distribution", "core metadata"])
def test_an_upload_completes_an_object_that_was_cut_off(tmp_path: Path, what: str) -> None:
    """An upload that finds only the beginning of its bytes in the store writes all of them."""
    whole, harness = IndexHarness(tmp_path), IndexHarness(tmp_path)
    file = whole.upload(MADE)
    of = keys.distribution if what == "distribution" else keys.core_metadata
    key = of(DEMO, file.sha256, file.filename)
    harness.store.put(key, whole.bytes_at(key)[:-1], None)

    harness.upload(MADE)

    assert harness.snapshot(keys.FILES) == whole.snapshot(keys.FILES)


@pytest.mark.parametrize(
    ("suffix", "is_renewed", "removed"),
    [("", False, 1), ("", True, 0), (".metadata", False, 0)],
    ids=["old", "renewed", "gone"],
)
def test_a_sweep_looks_at_bytes_once_more(
    tmp_path: Path, suffix: str, removed: int, *, is_renewed: bool
) -> None:
    """Old bytes go, but none that an upload has renewed since; those already gone do not count."""
    harness = IndexHarness(tmp_path)
    found = keys.distribution(DEMO, MADE.sha256, MADE.filename)
    harness.store.put(Key(f"{found}{suffix}"), MADE.body, None)
    harness.clock.advance(hours=25)
    moment = harness.clock.seconds() - 3600
    if is_renewed:
        harness.store.put(found, MADE.body, None)
    before = len(harness.snapshot(keys.FILES))

    count = harness.index.lifecycle.removal.remove(DEMO, [found], moment)

    assert (count, before - len(harness.snapshot(keys.FILES))) == (removed, removed)


def test_a_file_without_attestations_has_no_provenance(tmp_path: Path) -> None:
    """Who asks for the provenance of a file that came without attestations is told so."""
    harness = IndexHarness(tmp_path)
    harness.upload(MADE)
    api = LocalApi(index=harness.index, caller=ALICE)

    with pytest.raises(NotFound, match=f"^{MADE.filename} has no provenance.$"):
        api.call(show_provenance, DEMO, ProvenanceQuery(MADE.filename))


def test_lost_core_metadata_is_reported_with_its_key(tmp_path: Path) -> None:
    """Core metadata that the store has lost is reported as missing, with its place."""
    harness = IndexHarness(tmp_path)
    file = harness.upload(MADE)
    key = keys.core_metadata(DEMO, file.sha256, file.filename)
    harness.store.delete(key)

    with pytest.raises(NotFound, match=key):
        harness.index.files.core_metadata(DEMO, file)


@pytest.mark.parametrize("body", [None, MADE.metadata[:-1] + b"!"], ids=["lost", "changed"])
def test_lost_core_metadata_is_no_missing_package(tmp_path: Path, body: bytes | None) -> None:
    """Where core metadata are lost or changed, clients are told to fail, not to look elsewhere."""
    harness = IndexHarness(tmp_path)
    file = harness.upload(MADE)
    key = keys.core_metadata(DEMO, file.sha256, file.filename)
    harness.store.delete(key)
    if body is not None:
        harness.store.put(key, body, ABSENT)
    core_metadata = CoreMetadataCache(harness.index.files, LruCache(0))

    why = f"The store has lost {MADE.filename}. It has to be restored"
    with refused(Unavailable, "damaged_document", why):
        core_metadata.load(DEMO, file)


@pytest.mark.parametrize("lost", [(), ("distribution",), ("distribution", "core_metadata")])
def test_bytes_that_another_index_has_removed_are_stored_again(
    tmp_path: Path, lost: tuple[str, ...]
) -> None:
    """Of a file whose objects another index removes meanwhile, what is lost is stored again."""
    harness = IndexHarness(tmp_path)
    file = harness.upload(MADE)
    before = harness.snapshot(keys.FILES)
    content = FileContent(file, MADE.write(tmp_path), MADE.metadata)
    for name in lost:
        harness.store.delete(getattr(keys, name)(DEMO, file.sha256, file.filename))

    harness.index.files.put_lost(DEMO, [content])

    assert harness.snapshot(keys.FILES) == before
