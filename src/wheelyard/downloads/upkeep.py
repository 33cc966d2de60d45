"""What a check and a copy of a store do with the counts of downloads."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from wheelyard.catalog import keys
from wheelyard.downloads.counts import BATCHES, MONTHS, NO_COUNTS, CountsDocument, encode_counts
from wheelyard.errors import UNREADABLE_CODES, Conflict, Unavailable
from wheelyard.storage.base import ABSENT, Key, Store, Stored
from wheelyard.storage.forwarding import PrefixedStore

ADVICE: Final = "restore it from a backup, or delete it, and its counts of downloads are zero"


def counts_faults(documents: Store, prefix: str) -> Iterator[tuple[Key, str]]:
    """
    Yield the key of each damaged object of counts of an index, by its prefix, and what to do.

    An object that is no such one comes with an empty text. Raises Unavailable if objects
    cannot be listed or read.
    """
    store = PrefixedStore(documents, prefix)
    for entry in store.list(keys.DOWNLOADS):
        is_batch = keys.parse_download_batch(entry.key) is not None
        if not is_batch and keys.parse_month_of_downloads(entry.key) is None:
            yield store.whole_key(entry.key), ""
            continue
        stored = store.get(entry.key)
        if not isinstance(stored, Stored):
            continue  # it has just been added up
        try:
            document = (BATCHES if is_batch else MONTHS).decode(entry.key, stored.body)
            for name in document.projects:
                document.counts(name)
        except Unavailable as error:
            if error.code not in UNREADABLE_CODES:
                raise
            yield store.whole_key(entry.key), ADVICE


def copy_counts(source: Store, target: Store) -> None:
    """
    Copy the counts of downloads of an index.

    A later copy brings what has been counted since. Of downloads on one day that both have counted,
    the larger number stays. Raises Conflict if the target has just added its batches up, which a
    later copy repeats. Raises Unavailable if a store does not answer, or has a damaged month.
    """
    listed = [entry.key for entry in source.list(keys.DOWNLOADS)]
    # the batches first: one that is added up meanwhile is in its month, which is read after it
    for key in filter(keys.parse_download_batch, listed):
        stored = source.get(key)
        if isinstance(stored, Stored):
            with suppress(Conflict):  # it is there
                target.put(key, stored.body, ABSENT)
    for key in filter(keys.parse_month_of_downloads, listed):
        _copy_month(source, target, key)


def _copy_month(source: Store, target: Store, key: Key) -> None:
    in_source, in_target = source.get(key), target.get(key)
    if not isinstance(in_source, Stored):
        return
    before, version = NO_COUNTS, ABSENT
    if isinstance(in_target, Stored):
        if in_target.body == in_source.body:
            return
        before, version = MONTHS.decode(target.whole_key(key), in_target.body), in_target.version
    joined = _joined(MONTHS.decode(source.whole_key(key), in_source.body), before)
    if joined != before:
        target.put(key, MONTHS.encode(joined), version)


def _joined(one: CountsDocument, other: CountsDocument) -> CountsDocument:
    """Return a month with the larger number of each count of two."""
    projects = other.folded_projects()
    for name in one.projects:
        projects[name] = encode_counts(one.counts(name) | other.counts(name))
    folded = dict(other.folded)
    for process, last in one.folded.items():
        folded[process] = max(last, folded.get(process, last))
    return CountsDocument(projects, folded)
