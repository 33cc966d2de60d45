"""Checks and copies the download counts of an index, for a check or a copy of a whole store."""

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
    Yield the key of each object that is damaged, among those of an index's counts, and an advice.

    `prefix` is that of the index in the store. An object whose key is neither that of a batch nor
    that of a month comes with an empty text. Raises Unavailable if objects cannot be listed or
    read.
    """
    store = PrefixedStore(documents, prefix)
    for entry in store.list(keys.DOWNLOADS):
        is_batch = keys.parse_download_batch(entry.key) is not None
        if not is_batch and keys.parse_month_of_downloads(entry.key) is None:
            yield store.whole_key(entry.key), ""
            continue
        stored = store.get(entry.key)
        if not isinstance(stored, Stored):
            continue  # a batch that has just been folded, or a month that was too old
        codec = BATCHES if is_batch else MONTHS
        try:
            document = codec.decode(entry.key, stored.body)
            # decodes the counts of each project, which raises an error if they are damaged
            for name in document.projects:
                document.counts(name)
        except Unavailable as error:
            if error.code not in UNREADABLE_CODES:
                raise
            yield store.whole_key(entry.key), ADVICE


def copy_counts(source: Store, target: Store) -> None:
    """
    Copy the counts of downloads of an index.

    A later copy brings the counts of later downloads. If both stores have a number for one version
    and day, the larger one stays. Raises Conflict if the target has just folded its batches; then
    the copy has to be made again. Raises Unavailable if a store does not answer, or has a damaged
    month.
    """
    listed_keys = [entry.key for entry in source.list(keys.DOWNLOADS)]
    # batches before months: a batch that is folded meanwhile is in its month, which is read later
    for key in listed_keys:
        if keys.parse_download_batch(key) is not None:
            _copy_batch(source, target, key)
    for key in listed_keys:
        if keys.parse_month_of_downloads(key) is not None:
            _copy_month(source, target, key)


def _copy_batch(source: Store, target: Store, key: Key) -> None:
    """Write a batch of the source to the target, unless the target has it."""
    stored = source.get(key)
    if isinstance(stored, Stored):
        with suppress(Conflict):  # the target has it already
            target.put(key, stored.body, ABSENT)


def _copy_month(source: Store, target: Store, key: Key) -> None:
    """Write the counts of a month of the source into the document of the target."""
    stored_in_source = source.get(key)
    stored_in_target = target.get(key)
    if not isinstance(stored_in_source, Stored):  # it was too old, and has just been deleted
        return
    target_month = NO_COUNTS
    version = ABSENT
    if isinstance(stored_in_target, Stored):
        # so with most months when a copy is made again
        if stored_in_target.body == stored_in_source.body:
            return
        target_month = MONTHS.decode(target.whole_key(key), stored_in_target.body)
        version = stored_in_target.version
    source_month = MONTHS.decode(source.whole_key(key), stored_in_source.body)
    joined_month = _joined(source_month, target_month)
    if joined_month != target_month:
        # raises Conflict if a server of the target has folded its own batches meanwhile
        target.put(key, MONTHS.encode(joined_month), version)


def _joined(source: CountsDocument, target: CountsDocument) -> CountsDocument:
    """Return a month with the counts of two, and the larger number where both have one."""
    # not the sum: the target may have counts of the source from an earlier copy
    projects = target.folded_projects()
    for name in source.projects:
        # `|` of two counters takes the larger number of each key
        projects[name] = encode_counts(source.counts(name) | target.counts(name))
    folded = dict(target.folded)
    for process, last_batch in source.folded.items():
        folded[process] = max(last_batch, folded.get(process, last_batch))
    return CountsDocument(projects, folded)
