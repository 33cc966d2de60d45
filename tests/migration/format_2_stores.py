"""The stores of format 2 that are kept as fixtures, and copies of them in memory."""

import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.operations.in_memory_index import IndexHarness
from tests.operations.store_copies import store_copy
from wheelyard.catalog.format_2 import Format2Documents, Format2Upstream
from wheelyard.operations.copying.store_copy import CopyReport
from wheelyard.storage.base import Key, Store, Stores
from wheelyard.storage.memory import MemoryStore

FIXTURES = Path(__file__).parent / "format_2"
KINDS = ("folder", "bucket")

Answers = dict[str, Any]


def objects_of(kind: str) -> dict[str, bytes]:
    """Return the objects of a store of format 2, by their keys."""
    with tarfile.open(FIXTURES / f"{kind}.tar.gz") as archive:
        opened = ((member.name, archive.extractfile(member)) for member in archive)
        return {name: file.read() for name, file in opened if file is not None}


def answers_of(kind: str) -> Answers:
    """Return what the version that wrote the store has answered."""
    answers: Answers = json.loads((FIXTURES / f"{kind}.json").read_text())
    return answers


def store_of(objects: Mapping[str, bytes]) -> MemoryStore:
    """Return a store with these objects."""
    store = MemoryStore(lambda: 0.0)
    for key, body in objects.items():
        store.put(Key(key), body, None)
    return store


def copy(old: Store, target: IndexHarness, write_to: Store | None = None) -> CopyReport:
    """Copy a store of format 2 into an index."""
    index, upstream = target.opened(seed=3, store=write_to), Format2Upstream(old)
    documents = Format2Documents(old, upstream, index.stores.documents)
    source = Stores(documents, old, old)
    copying = store_copy(source, None, index, upstream=upstream, claims_names=True)
    report = copying.run(lambda _, __: None, with_credentials=True)
    report.notes = upstream.notes
    return report
