"""Places that a server watches: opened before it answers, and looked at beside it, in threads."""

from dataclasses import dataclass, field
from threading import Thread
from typing import Final

import click

from wheelyard.catalog import keys
from wheelyard.cli.import_progress import import_source, importer_of
from wheelyard.cli.serve import WatchOptions
from wheelyard.cli.store_options import local_caller
from wheelyard.model.text import escaped
from wheelyard.operations.importing.watch_folder import FolderWatch
from wheelyard.sources.bucket_tree import open_view
from wheelyard.sources.file_tree import FolderTree
from wheelyard.sources.plain_files import FilesSource
from wheelyard.wiring.index import Index

FOLDER_EVERY: Final = 2.0
BUCKET_EVERY: Final = 60.0
"""Seconds from one look to the next: a bucket's costs money."""
FORKING: Final = 1.0
"""Seconds in which workers are made: a lock that a thread holds meanwhile would be held in them."""
PATIENCE: Final = 2.0
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
            if isinstance(watch.place, FolderTree):
                source = FilesSource(watch.place)
                report = import_source(watch.importer, source, watch.caller)
                click.echo(f"{escaped(str(watch.place))}: {report.summary()}")

    def begin(self) -> None:
        """Look from now on; where there are workers, in this process alone, once they are made."""
        delay = FORKING if self.index.settings.server.workers > 1 else 0.0
        for watch in self.watches:
            # daemon: a store that does not answer must not keep the server from ending
            self._threads.append(Thread(target=watch.run, args=(delay,), name="watch", daemon=True))
            self._threads[-1].start()

    def end(self) -> None:
        """Stop looking, and let what is being imported be put away."""
        for watch in self.watches:
            watch.stop()
        for thread in self._threads:
            thread.join(PATIENCE / len(self._threads))


def open_lookouts(index: Index, wish: WatchOptions) -> WatcherThreads:
    """Return what watches places, without a look at any; raise WheelyardError if one cannot be."""
    location, caller = index.settings.store.location, local_caller(index)
    stores = [each for each in (location, index.traits.files) if each]
    watches = list[FolderWatch]()
    for text in dict.fromkeys(wish.places):
        place = open_view(text, stores, keys.FILES, index.runtime)
        is_folder = isinstance(place, FolderTree)
        watches.append(
            FolderWatch(
                place=place,
                importer=importer_of(index, is_local=is_folder, lenient=wish.lenient),
                caller=caller,
                runtime=index.runtime,
                every=wish.every or (FOLDER_EVERY if is_folder else BUCKET_EVERY),
                appears_whole=not is_folder,
            )
        )
    return WatcherThreads(index, tuple(watches))
