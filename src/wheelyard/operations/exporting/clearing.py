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
from wheelyard.operations.exporting.manifest import Manifest
from wheelyard.operations.exporting.options import Options, Placing
from wheelyard.operations.exporting.pages import INDEX, JSON, Pages
from wheelyard.storage.base import ABSENT, Key
from wheelyard.storage.site.base import BAD_DESTINATION, Site

BEGUN: Final = ".wheelyard-export/begun.json"
PAGES: Final = ("simple/", "project/", "pypi/")
"""Prefixes of pages of projects."""


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

    site: Site
    options: Options
    pages: Pages
    owns_files: bool

    def require_ours(self) -> None:
        """
        Return if a site without a manifest is empty, or an export has begun it.

        Raises:
            Invalid: Somebody else's pages are there (code `bad_destination`).
        """
        # in this order: the note is there before the first page
        found = self._some_page()
        if found is not None and self.site.version(BEGUN) == ABSENT:
            raise Invalid(
                f"There are pages that no export has made, {found} for one. Choose an empty place, "
                "or have them replaced with 'wheelyard export --all'.",
                code=BAD_DESTINATION,
            )

    def begin(self) -> None:
        """Note down that what comes now is an export's."""
        if self.site.version(BEGUN) == ABSENT:
            with suppress(Conflict):  # somebody else begins it, too
                self.site.put(BEGUN, b"{}\n", JSON, ABSENT)

    def compressed(self, names: Iterable[str]) -> None:
        """Remove compressed pages that nobody would renew, and a web server might prefer."""
        ours = self.pages.left_over(names)
        if not ours:
            return
        for prefix in (*PAGES, INDEX, "search.json"):
            for path, _, _ in list(self.site.names(prefix)):
                if path in ours:
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
        for path, _, _ in list(self.site.names(keys.FILES)):
            owner = keys.owner_of(Key(path))
            if owner is not None and owner.project in known:
                self.site.delete(path, None)

    @property
    def _leaves_files(self) -> bool:
        """Whether the files are left somewhere else than in the site itself."""
        is_left = self.options.files is Placing.LEAVE and self.owns_files
        return is_left and self.options.files_url != f"{self.options.base_url}/files"

    def _some_page(self) -> str | None:
        if self.site.version(INDEX) != ABSENT:
            return INDEX
        first = next(iter(self.site.names("simple/")), None)
        return None if first is None else first.path
