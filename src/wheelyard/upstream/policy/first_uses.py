"""
When exceptions from the cooldown for one version were first used.

`cooldown_allow = ["requests==2.34.2"]` is about the files that were there then. The time is kept in
the store, so a file that somebody adds later waits for its own age on every server.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Codec, DocumentCache, MaxAge, Snapshot
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.upstream.page import UpstreamPage
from wheelyard.upstream.policy.rules import Exceptions


class FirstUseList(Struct, frozen=True):
    """The stored form: the first use by project and version, without trailing zeros; UTC."""

    projects: dict[NormalizedName, dict[str, datetime]] = {}


FIRST_USES: Final = Codec(FirstUseList)


class FirstUses:
    """
    Remembers when an exception was first used; thread-safe.

    Args:
        exceptions: Those of the settings.
        documents: The list in the store.
        retries: For conflicts with other servers.
        is_read_only: Whether nothing is written to the store. Then an exception counts as soon as
            another server has used it.
    """

    def __init__(
        self,
        exceptions: Exceptions,
        documents: DocumentCache[FirstUseList],
        retries: ConflictRetries,
        *,
        is_read_only: bool,
    ) -> None:
        self._exceptions = exceptions
        self._documents = documents
        self._retries = retries
        self._is_read_only = is_read_only

    def peek(self) -> Snapshot[FirstUseList] | None:
        """Return what is remembered, if that needs no read; see DocumentCache."""
        return self._documents.peek(keys.UPSTREAM_FIRST_USES)

    def get(self) -> Snapshot[FirstUseList]:
        """Return what is remembered, from the cache or the store."""
        return self._documents.get(keys.UPSTREAM_FIRST_USES)

    def of(self, page: UpstreamPage, known: FirstUseList | None) -> Mapping[str, datetime]:
        """Return the first use of the exception for each version of a page that has one."""
        uses = known.projects.get(page.name, {}) if known else {}
        wanted = self._wanted(page) if uses else {}
        return {version: uses[key] for version, key in wanted.items() if key in uses}

    def note(self, page: UpstreamPage, now: datetime) -> Snapshot[FirstUseList]:
        """
        Return what is remembered, after the exceptions for versions of a page are used.

        Raise Unavailable if a first use cannot be written down.
        """
        wanted = sorted(set(self._wanted(page).values()))
        for attempt in self._retries.attempts():
            max_age: MaxAge = "current" if attempt else "fresh"
            before = self._documents.get(keys.UPSTREAM_FIRST_USES, max_age)
            projects = before.value.projects if before.value else {}
            uses = projects.get(page.name, {})
            if self._is_read_only or uses.keys() >= set(wanted):
                return before
            after = FirstUseList({**projects, page.name: dict.fromkeys(wanted, now) | uses})
            if self._documents.swap(keys.UPSTREAM_FIRST_USES, after, before.version):
                return self.get()
        raise self._retries.exhausted("the first uses of cooldown_allow")

    def _wanted(self, page: UpstreamPage) -> dict[str, str]:
        """Return the version of the exception for each version of a page that has one."""
        versions = dict.fromkeys(file.version for file in page.files)
        found = {each: self._exceptions.version_for(page.name, each) for each in versions}
        return {version: key for version, key in found.items() if key is not None}
