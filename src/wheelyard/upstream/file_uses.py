"""When files of upstream indexes were last used, so that unused ones can be removed."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.concurrency.caches import ExpiringCache
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import WheelyardError
from wheelyard.storage.base import Key, Store

NOTE_EVERY: Final = timedelta(days=1)
"""A file's use is noted at most so often."""
NOTED_FILES: Final = 100_000
"""Files of which a process remembers that their use is noted."""


class FileUses:
    """
    Notes the uses of stored files, each at most once a day; safe to share between threads.

    A note is an empty object beside the file: the time at which it was written is that of the use.
    It is written in the background by `submit`. What fails is tried again with the next use.
    """

    def __init__(self, runtime: Runtime, submit: Callable[[Callable[[], None]], None]) -> None:
        self._runtime = runtime
        self._submit = submit
        self._noted = ExpiringCache[tuple[str, Key], bool](runtime.monotonic, NOTED_FILES)

    def note(self, upstream: str, store: Store, key: Key, modified: float) -> None:
        """Note that the file at `key` in `store`, written at `modified`, is used now."""
        if self._noted.get((upstream, key)):
            return
        self._noted.put((upstream, key), True, NOTE_EVERY.total_seconds())  # noqa: FBT003 - a value
        owner = keys.parse_file_key(key)
        if owner is None or self._is_recent(modified):
            return
        note = keys.upstream_use(NormalizedName(owner.project), owner.sha256, owner.filename)
        self._submit(lambda: self._write(store, note))

    def _write(self, store: Store, note: Key) -> None:
        path = store.path_of(note)
        with suppress(WheelyardError):  # without its note, it may only be fetched once more
            # on a bucket, looking would cost as much as writing
            if path is None or not (path.exists() and self._is_recent(path.stat().st_mtime)):
                store.put(note, b"", None)

    def _is_recent(self, when: float) -> bool:
        return self._runtime.seconds() - when < NOTE_EVERY.total_seconds()
