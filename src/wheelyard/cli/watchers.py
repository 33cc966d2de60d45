"""Threads of a server that watch folders and buckets, and import new files (`serve --watch`)."""

from threading import Thread
from typing import Final

import click
from msgspec import Struct

from wheelyard.catalog import keys
from wheelyard.cli.import_progress import build_importer, import_source
from wheelyard.cli.options import local_caller
from wheelyard.cli.serve import WatchOptions
from wheelyard.model.text import escaped
from wheelyard.operations.importing.watch_folder import FolderWatch
from wheelyard.sources.bucket_tree import open_watched_tree
from wheelyard.sources.distribution_files import FileTreeSource
from wheelyard.sources.file_tree import FolderTree
from wheelyard.wiring.index import Index

FOLDER_INTERVAL_SECONDS: Final = 2.0
BUCKET_INTERVAL_SECONDS: Final = 60.0
"""Seconds between two scans; scans of a bucket cost money."""
STOP_TIMEOUT_SECONDS: Final = 2.0
"""Seconds to finish the current import; after a crash the next one continues there."""


class WatcherThreads(Struct, frozen=True):
    """The watch threads of a server, one for each folder or bucket."""

    watches: tuple[FolderWatch, ...]
    _threads: list[Thread] = []

    def import_first(self) -> None:
        """
        Import the existing files of the watched folders now, with progress, and print a summary.

        The threads will skip all existing files, also those of buckets, which are not imported
        here.
        """
        for watch in self.watches:
            watch.skip_existing()
            if isinstance(watch.tree, FolderTree):
                source = FileTreeSource(watch.tree)
                report = import_source(watch.importer, source, watch.caller)
                click.echo(f"{escaped(str(watch.tree))}: {report.summary()}")

    def start(self) -> None:
        """Start the threads."""
        for watch in self.watches:
            # daemon: a store that does not answer must not keep the server from ending
            self._threads.append(Thread(target=watch.run, name="watch", daemon=True))
            self._threads[-1].start()

    def stop(self) -> None:
        """Tell the threads to stop and abort their scans; wait for them, for a limited time."""
        for watch in self.watches:
            watch.stop()
        for thread in self._threads:
            thread.join(STOP_TIMEOUT_SECONDS / len(self._threads))


def build_watchers(index: Index, options: WatchOptions) -> WatcherThreads:
    """Return the threads, not started, for the watched locations; raise WheelyardError."""
    location, caller = index.settings.store.location, local_caller(index)
    stores = [each for each in (location, index.traits.files) if each]
    watches = list[FolderWatch]()
    for text in dict.fromkeys(options.places):
        tree = open_watched_tree(text, stores, keys.FILES, index.runtime)
        is_folder = isinstance(tree, FolderTree)
        default = FOLDER_INTERVAL_SECONDS if is_folder else BUCKET_INTERVAL_SECONDS
        importer = build_importer(index, is_local=is_folder, lenient=options.lenient)
        watches.append(
            FolderWatch(
                tree=tree,
                importer=importer,
                caller=caller,
                runtime=index.runtime,
                interval=options.every or default,
                is_atomic=not is_folder,
            )
        )
    return WatcherThreads(tuple(watches))
