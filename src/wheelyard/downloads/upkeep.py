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
        codec = BATCHES if is_batch else MONTHS
        try:
            document = codec.decode(entry.key, stored.body)
            # the counts of each project are decoded when they are needed, so now
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
    listed_keys = [entry.key for entry in source.list(keys.DOWNLOADS)]
    # the batches first: one that is added up meanwhile is in its month, which is read after it
    for key in filter(keys.parse_download_batch, listed_keys):
        stored = source.get(key)
        if isinstance(stored, Stored):
            with suppress(Conflict):  # it is there
                target.put(key, stored.body, ABSENT)
    for key in filter(keys.parse_month_of_downloads, listed_keys):
        _copy_month(source, target, key)


def _copy_month(source: Store, target: Store, key: Key) -> None:
    """Write the counts of a month of the source into that of the target."""
    in_source = source.get(key)
    in_target = target.get(key)
    if not isinstance(in_source, Stored):  # it has just become too old
        return
    target_month = NO_COUNTS
    version = ABSENT
    if isinstance(in_target, Stored):
        # as of most months when a copy is made again
        if in_target.body == in_source.body:
            return
        target_month = MONTHS.decode(target.whole_key(key), in_target.body)
        version = in_target.version
    source_month = MONTHS.decode(source.whole_key(key), in_source.body)
    joined = _joined(source_month, target_month)
    if joined != target_month:
        # a server of the target may have added its own batches meanwhile: a Conflict then
        target.put(key, MONTHS.encode(joined), version)


def _joined(source: CountsDocument, target: CountsDocument) -> CountsDocument:
    """Return a month with the larger number of each count of two."""
    # not the sum: the target has what an earlier copy has brought
    projects = target.folded_projects()
    for name in source.projects:
        projects[name] = encode_counts(source.counts(name) | target.counts(name))
    folded = dict(target.folded)
    for process, last in source.folded.items():
        folded[process] = max(last, folded.get(process, last))
    return CountsDocument(projects, folded)
