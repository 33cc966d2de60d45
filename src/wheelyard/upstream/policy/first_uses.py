"""When an exception from a cooldown was first used: it is not for files that come later."""

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
    """Remembers when exceptions were first used. Threads may share this."""

    exceptions: Exceptions
    """The exceptions of the settings."""
    notes: VersionNotes[datetime]
    """The first uses (UTC), by the version of the exception without trailing zeros."""
    is_read_only: bool
    """Whether an exception counts only once another server, which may write, has used it."""
    index: str = ""
    """The name of the index that has the exceptions, or empty for the upstream indexes."""

    def of_page(
        self, page: UpstreamPage, notes: Snapshot[NoteDocument[datetime]]
    ) -> Mapping[str, datetime]:
        """Return when the exceptions for versions of a page were first used, by version."""
        first_uses = self.notes.of_project(page.name, notes)
        if not first_uses:
            return {}
        keys = self._exception_keys(page)
        return {version: first_uses[key] for version, key in keys.items() if key in first_uses}

    def note(
        self, page: UpstreamPage, now: datetime, notes: Snapshot[NoteDocument[datetime]]
    ) -> Snapshot[NoteDocument[datetime]]:
        """
        Note that exceptions for versions of a page are used now, and return the notes after that.

        `notes` has what was noted before. A first use that is noted stays. With `is_read_only`,
        nothing is written. Raises Unavailable if a first use cannot be written.
        """
        keys = dict[str, str]()
        if not self.is_read_only:
            keys = self._exception_keys(page)
        # in one order, whatever that of the page is
        used_now = dict.fromkeys(sorted(keys.values()), now)
        return self.notes.add(page.name, notes, used_now)

    def _exception_keys(self, page: UpstreamPage) -> dict[str, str]:
        """Return the key of the exception for each version of a page that has one."""
        # the exceptions of each index are apart, as one index may have got its exception later
        prefix = f"{self.index} " if self.index else ""
        keys = dict[str, str]()
        for version in dict.fromkeys(file.version for file in page.files):
            key = self.exceptions.version_for(page.name, version)
            if key is not None:
                keys[version] = prefix + key
        return keys
