"""
What may be removed from a site: what an export has made, and never anything else.

A note that is put before the first page tells a site that an export has begun from a place that
somebody else fills.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from wheelyard.catalog import keys
from wheelyard.errors import Conflict, Invalid
from wheelyard.operations.exporting.manifest import HOME, Manifest
from wheelyard.operations.exporting.options import BAD_DESTINATION, Options, Placing
from wheelyard.operations.exporting.pages import INDEX, JSON, SEARCH, Pages
from wheelyard.operations.exporting.writing import Versions
from wheelyard.storage.base import ABSENT, Key, ObjectVersion, Store

BEGUN: Final = Key(f"{HOME}begun.json")
SIMPLE: Final = "simple/"
PAGES: Final = (SIMPLE, "project/", "pypi/", INDEX, SEARCH)
"""Prefixes of pages."""


@dataclass(frozen=True, slots=True)
class Clearing:
    """
    Removes what an export has made before, and nobody would renew.

    Args:
        site: Where.
        options: How it is to look.
        pages: Knows what is ours.
        owns_files: Whether `files/` of the site is not the store's own.
    """

    site: Store
    options: Options
    pages: Pages
    owns_files: bool

    def pages_there(self) -> dict[Key, ObjectVersion]:
        """Return what is where pages are, be it ours or not, and which versions it has."""
        found = (entry for prefix in PAGES for entry in self.site.list(prefix))
        return {entry.key: entry.version for entry in found}

    def require_ours(self, there: Versions) -> None:
        """
        Return if a site without a manifest is empty, or an export has begun it.

        Args:
            there: What was found before anything else was looked at: the note comes first.

        Raises:
            Invalid: Somebody else's pages are there (code `bad_destination`).
        """
        theirs = next((key for key in there if key == INDEX or key.startswith(SIMPLE)), None)
        if theirs is not None and self.site.get(BEGUN) is None:
            raise Invalid(
                f"There are pages that no export has made, {theirs} for one. Choose an empty "
                "place, or have them replaced with 'wheelyard export --all'.",
                code=BAD_DESTINATION,
            )

    def begin(self) -> None:
        """Note down that what comes now is an export's."""
        if self.site.get(BEGUN) is None:
            with suppress(Conflict):  # somebody else begins it, too
                self.site.put(BEGUN, b"{}\n", ABSENT, JSON)

    def compressed(self, there: Versions, names: Iterable[str]) -> None:
        """Remove compressed pages that nobody would renew, and a web server might prefer."""
        for path in there.keys() & self.pages.left_over(names):
            self.site.delete(path, None)

    def files(self, before: Manifest | None, names: Iterable[str]) -> None:
        """
        Remove copies and links of files that the pages do not lead to any more.

        Args:
            before: What the site showed.
            names: Of projects; what is not theirs stays.
        """
        if before is None or before.options.files is Placing.LEAVE or not self._leaves_files:
            return
        known = frozenset(names)
        for entry in list(self.site.list(keys.FILES)):
            owner = keys.owner_of(entry.key)
            if owner is not None and owner.project in known:
                self.site.delete(entry.key, None)

    @property
    def _leaves_files(self) -> bool:
        """Whether the files are left somewhere else than in the site itself."""
        is_left = self.options.files is Placing.LEAVE and self.owns_files
        return is_left and self.options.files_url != f"{self.options.base_url}/files"
