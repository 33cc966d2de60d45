"""The licences of files of upstream pages, whose core metadata may have to be fetched."""

from collections.abc import Callable, Mapping
from functools import partial

from msgspec import Struct

from wheelyard.catalog.document_cache import Snapshot
from wheelyard.catalog.licence_finder import LicenceFinder
from wheelyard.catalog.version_notes import NoteDocument
from wheelyard.upstream.page import UpstreamFile, UpstreamPage

MetadataReader = Callable[[UpstreamPage, UpstreamFile], bytes]
"""
Returns the core metadata of a file, fetched if needed.

Raises NotFound if there is none. Raises Unavailable if it cannot be had now.
"""


class PageLicences(Struct, frozen=True):
    """Finds the licences of files of pages. Threads may share it."""

    finder: LicenceFinder
    read_metadata: MetadataReader

    def known(
        self,
        page: UpstreamPage,
        noted: Snapshot[NoteDocument[str]],
        *,
        is_of_store: bool = False,
    ) -> Mapping[str, str]:
        """Return the licences of the files of a page as far as they were found, by filename."""
        return self.finder.remembered_licences(
            page.name, page.files, noted, is_of_store=is_of_store
        )

    def find(self, page: UpstreamPage, file: UpstreamFile) -> str:
        """
        Return the licence of a file of a page.

        Raises Unavailable if its metadata cannot be had now.
        """
        read = partial(self.read_metadata, page)
        return self.finder.find(page.name, file, page.files, read)

    def find_and_note(
        self, page: UpstreamPage, file: UpstreamFile, hides: Callable[[str], bool]
    ) -> str:
        """
        Return the licence of a file that is wanted, and note it in the store if a rule hides it.

        Raises Unavailable if its metadata cannot be had now.
        """
        licence = self.find(page, file)
        if hides(licence):
            self.finder.note(page.name, file.version, licence)
        return licence
