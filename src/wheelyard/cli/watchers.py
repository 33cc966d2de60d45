"""Places that a server watches: opened before it answers, and looked at beside it, in threads."""

from dataclasses import dataclass, field
from threading import Thread
from typing import Final

import click

from wheelyard.catalog import keys
from wheelyard.cli.import_progress import build_importer, import_source
from wheelyard.cli.serve import WatchOptions
from wheelyard.cli.store_options import local_caller
from wheelyard.model.text import escaped
from wheelyard.operations.importing.watch_folder import FolderWatch
from wheelyard.sources.bucket_tree import open_watched_tree
from wheelyard.sources.distribution_files import FileTreeSource
from wheelyard.sources.file_tree import FolderTree
from wheelyard.wiring.index import Index

FOLDER_INTERVAL_SECONDS: Final = 2.0
BUCKET_INTERVAL_SECONDS: Final = 60.0
"""Seconds from one look to the next: a bucket's costs money."""
FORK_DELAY_SECONDS: Final = 1.0
"""Seconds in which workers are made: a lock that a thread holds meanwhile would be held in them."""
STOP_TIMEOUT_SECONDS: Final = 2.0
"""Seconds that a watch gets to put away what it has in hand, which a crash would leave, too."""


@dataclass(frozen=True, slots=True)
class WatcherThreads:
    """The watches of a server, one for each place."""

    index: Index
    watches: tuple[FolderWatch, ...]
    _threads: list[Thread] = field(default_factory=list)

    def import_first(self) -> None:
        """Import what is in the folders now, and print what became of it, while somebody waits."""
        for watch in self.watches:
            watch.skip_existing()
            if isinstance(watch.tree, FolderTree):
                source = FileTreeSource(watch.tree)
                report = import_source(watch.importer, source, watch.caller)
                click.echo(f"{escaped(str(watch.tree))}: {report.summary()}")

    def begin(self) -> None:
        """Look from now on; where there are workers, in this process alone, once they are made."""
        delay = FORK_DELAY_SECONDS if self.index.settings.server.workers > 1 else 0.0
        for watch in self.watches:
            # daemon: a store that does not answer must not keep the server from ending
            self._threads.append(Thread(target=watch.run, args=(delay,), name="watch", daemon=True))
            self._threads[-1].start()

    def end(self) -> None:
        """Stop looking, and let what is being imported be put away."""
        for watch in self.watches:
            watch.stop()
        for thread in self._threads:
            thread.join(STOP_TIMEOUT_SECONDS / len(self._threads))


def build_watchers(index: Index, wish: WatchOptions) -> WatcherThreads:
    """Return what watches places, without a look at any; raise WheelyardError if one cannot be."""
    location, caller = index.settings.store.location, local_caller(index)
    stores = [each for each in (location, index.traits.files) if each]
    watches = list[FolderWatch]()
    for text in dict.fromkeys(wish.places):
        place = open_watched_tree(text, stores, keys.FILES, index.runtime)
        is_folder = isinstance(place, FolderTree)
        watches.append(
            FolderWatch(
                tree=place,
                importer=build_importer(index, is_local=is_folder, lenient=wish.lenient),
                caller=caller,
                runtime=index.runtime,
                interval=wish.every
                or (FOLDER_INTERVAL_SECONDS if is_folder else BUCKET_INTERVAL_SECONDS),
                is_atomic=not is_folder,
            )
        )
    return WatcherThreads(index, tuple(watches))
