"""The threads of `serve --watch` and `run`, which import what appears in folders and buckets."""

from collections.abc import Sequence
from threading import Thread
from typing import Final

import click
from msgspec import Struct

from wheelyard.catalog import keys
from wheelyard.cli.command_context import local_caller
from wheelyard.cli.import_command import build_importer, import_source
from wheelyard.model.decoding import escaped
from wheelyard.operations.importing.parallel_import import FolderWatch
from wheelyard.sources.bucket_tree import open_watched_tree
from wheelyard.sources.file_tree import FileTreeSource, FolderTree
from wheelyard.wiring.index import Index

FOLDER_INTERVAL_SECONDS: Final = 2.0
BUCKET_INTERVAL_SECONDS: Final = 60.0
"""Seconds between two scans. Scans of a bucket cost money."""
STOP_TIMEOUT_SECONDS: Final = 2.0
"""Seconds to finish the current import. If it is cut off, the next import continues there."""


class WatcherThreads(Struct, frozen=True):
    """The watch threads of a server, one for each folder or bucket."""

    watches: tuple[FolderWatch, ...]
    _threads: list[Thread] = []

    def import_first(self) -> None:
        """
        Import the existing files of the watched folders now, with progress, and print a summary.

        The threads skip all existing files later, also those of buckets, which are not imported
        here. Raises Unavailable if the store does not answer, and WheelyardError if a folder cannot
        be read.
        """
        for watch in self.watches:
            # before the import, so that the thread imports the files that appear meanwhile
            watch.skip_existing()
            if isinstance(watch.tree, FolderTree):
                source = FileTreeSource(watch.tree)
                report = import_source(watch.importer, source, watch.caller)
                click.echo(f"{escaped(str(watch.tree))}: {report.summary()}")

    def start(self) -> None:
        """Start the threads."""
        for watch in self.watches:
            # a daemon, as a store that does not answer must not keep the server from ending
            thread = Thread(target=watch.run, name="watch", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """
        Tell the threads to stop and abort their scans, and wait for them for a limited time.

        A thread whose store does not answer may still run afterwards. What a scan has committed
        stays, and the next process goes on from there.
        """
        # all threads are told first, so that they end at the same time
        for watch in self.watches:
            watch.stop()
        for thread in self._threads:
            # the threads share the time, however many there are
            thread.join(STOP_TIMEOUT_SECONDS / len(self._threads))


def build_watchers(
    index: Index, places: Sequence[str], *, lenient: bool, every: float | None
) -> WatcherThreads:
    """
    Return the threads, not started, for the watched folders and buckets.

    If `lenient`, rules that old files break are waived. `every` is the number of seconds between
    two scans, or None for the default of each place. Raises Invalid for a place that cannot be
    watched, and Unavailable without credentials for a bucket.
    """
    caller = local_caller(index)

    # places that are refused, as the files of the store would be imported again and again
    store_locations = [index.settings.store.location]
    if index.server.traits.files_location:
        store_locations.append(index.server.traits.files_location)
    watches = list[FolderWatch]()
    for place in dict.fromkeys(places):
        tree = open_watched_tree(place, store_locations, keys.FILES, index.server.runtime)
        is_folder = isinstance(tree, FolderTree)
        default_interval = FOLDER_INTERVAL_SECONDS if is_folder else BUCKET_INTERVAL_SECONDS
        importer = build_importer(index, is_local=is_folder, lenient=lenient)
        watch = FolderWatch(
            tree=tree,
            importer=importer,
            caller=caller,
            runtime=index.server.runtime,
            interval=every or default_interval,
            is_atomic=not is_folder,
        )
        watches.append(watch)
    return WatcherThreads(tuple(watches))
