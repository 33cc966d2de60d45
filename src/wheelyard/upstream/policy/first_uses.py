"""When an exception from a cooldown was first used: files that come later are none of it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from msgspec import Struct

from wheelyard.catalog.document_cache import Codec, Snapshot
from wheelyard.catalog.version_notes import NoteDocument, VersionNotes
from wheelyard.model.rule_keys import Exceptions
from wheelyard.upstream.page import UpstreamPage

FIRST_USES: Final = Codec(NoteDocument[datetime])


class FirstUses(Struct, frozen=True):
    """Remembers when an exception was first used. Threads may share it."""

    exceptions: Exceptions
    """Those of the settings."""
    notes: VersionNotes[datetime]
    """By version of the exception, without trailing zeros. Times are UTC."""
    is_read_only: bool
    """Whether an exception counts only once another server, which may write, has used it."""
    index: str = ""
    """The name of the index that has the exceptions, or empty for the upstream indexes."""

    def of_page(
        self, page: UpstreamPage, noted: Snapshot[NoteDocument[datetime]]
    ) -> Mapping[str, datetime]:
        """Return when the exception for a version of a page was first used, by version."""
        uses = self.notes.of_project(page.name, noted)
        if not uses:
            return {}
        keys = self._exception_keys(page)
        return {version: uses[key] for version, key in keys.items() if key in uses}

    def note(
        self, page: UpstreamPage, now: datetime, noted: Snapshot[NoteDocument[datetime]]
    ) -> Snapshot[NoteDocument[datetime]]:
        """
        Write when exceptions for versions of a page are first used, and return what is noted then.

        `noted` is what was noted before. A first use that is there stays. With `is_read_only`,
        nothing is written. Raises Unavailable if a first use cannot be written down.
        """
        keys = dict[str, str]()
        if not self.is_read_only:
            keys = self._exception_keys(page)
        # in one order, whatever that of the page is
        used_now = dict.fromkeys(sorted(keys.values()), now)
        return self.notes.add(page.name, noted, used_now)

    def _exception_keys(self, page: UpstreamPage) -> dict[str, str]:
        """Return the key of the exception for each version of a page that has one."""
        # an index may have got its exception later than another one
        prefix = f"{self.index} " if self.index else ""
        keys = dict[str, str]()
        for version in dict.fromkeys(file.version for file in page.files):
            key = self.exceptions.version_for(page.name, version)
            if key is not None:
                keys[version] = prefix + key
        return keys
