"""
When exceptions from the cooldown for one version were first used.

`cooldown_allow = ["requests==2.34.2"]` is about the files that were there then. The time is kept in
the store, so a file that somebody adds later waits for its own age on every server.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from msgspec import Struct

from wheelyard.catalog.document_cache import Codec, Snapshot
from wheelyard.upstream.page import UpstreamPage
from wheelyard.upstream.policy.rules import Exceptions
from wheelyard.upstream.policy.version_notes import NoteDocument, VersionNotes

FIRST_USES: Final = Codec(NoteDocument[datetime])


class FirstUses(Struct, frozen=True):
    """Remembers when an exception was first used; thread-safe."""

    exceptions: Exceptions
    """Those of the settings."""
    notes: VersionNotes[datetime]
    """By version of the exception, without trailing zeros; UTC."""
    is_read_only: bool
    """Whether an exception counts only once another server, which may write, has used it."""

    def of(
        self, page: UpstreamPage, noted: Snapshot[NoteDocument[datetime]]
    ) -> Mapping[str, datetime]:
        """Return the first use of the exception for each version of a page that has one."""
        uses = self.notes.of(page.name, noted)
        wanted = self._wanted(page) if uses else {}
        return {version: uses[key] for version, key in wanted.items() if key in uses}

    def note(
        self, page: UpstreamPage, now: datetime, noted: Snapshot[NoteDocument[datetime]]
    ) -> Snapshot[NoteDocument[datetime]]:
        """
        Return what is `noted`, after the exceptions for versions of a page are used.

        Raise Unavailable if a first use cannot be written down.
        """
        wanted = {} if self.is_read_only else self._wanted(page)
        used_now = dict.fromkeys(sorted(wanted.values()), now)
        return self.notes.change(page.name, noted, lambda uses: used_now | dict(uses))

    def _wanted(self, page: UpstreamPage) -> dict[str, str]:
        """Return the version of the exception for each version of a page that has one."""
        versions = dict.fromkeys(file.version for file in page.files)
        keys = {each: self.exceptions.version_for(page.name, each) for each in versions}
        return {version: key for version, key in keys.items() if key is not None}
