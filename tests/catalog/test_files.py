"""Writes of a file's objects where an object exists at the key already."""

from pathlib import Path

import pytest

from tests.catalog.invariants import DEMO
from tests.distributions import make_wheel
from tests.operations.in_memory_index import IndexHarness
from wheelyard.catalog import keys
from wheelyard.errors import NotFound

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


def test_lost_core_metadata_is_reported_with_its_key(tmp_path: Path) -> None:
    """Core metadata that the store has lost is reported as missing, with its place."""
    harness = IndexHarness(tmp_path)
    file = harness.upload(MADE)
    key = keys.core_metadata(DEMO, file.sha256, file.filename)
    harness.store.delete(key)

    with pytest.raises(NotFound, match=key):
        harness.index.files.core_metadata(DEMO, file)
