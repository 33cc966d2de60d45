"""
The licences of files of upstream pages, whose core metadata may have to be fetched.

`LicenceFinder` knows no pages: it gets the files of a release, and the function that reads core
metadata, with each call. `PageLicences` takes both from a page, so the policy need not know them.
"""

from collections.abc import Callable, Mapping
from functools import partial

from msgspec import Struct

from wheelyard.catalog.document_cache import Snapshot
from wheelyard.catalog.licence_finder import LicenceFinder
from wheelyard.catalog.version_notes import NoteDocument
from wheelyard.upstream.page import UpstreamFile, UpstreamPage

MetadataReader = Callable[[UpstreamPage, UpstreamFile], bytes]
"""
Returns the core metadata of a file, which is fetched if needed.

Raises NotFound if the file has no core metadata. Raises Unavailable if it cannot be had now.
"""


class PageLicences(Struct, frozen=True):
    """Finds the licences of files of pages. Threads may share it."""

    finder: LicenceFinder
    read_metadata: MetadataReader

    def list_known(
        self,
        page: UpstreamPage,
        notes: Snapshot[NoteDocument[str]],
        *,
        stored_only: bool = False,
    ) -> Mapping[str, str]:
        """
        Return the licences of the files of a page as far as they were found, by filename.

        A licence that was not found yet is `LOOKED_UP_LATER`. With `stored_only`, only licences in
        `notes` count, and not those that this process alone has found.
        """
        return self.finder.remembered_licences(
            page.name, page.files, notes, stored_only=stored_only
        )

    def find(self, page: UpstreamPage, file: UpstreamFile) -> str:
        """
        Return the licence of a file of a page, whose metadata may be fetched.

        If the file has no metadata, its licence is that of the release. If the release says none,
        it is `UNKNOWN`. Raises Unavailable if the metadata cannot be had now.
        """
        read_metadata = partial(self.read_metadata, page)
        return self.finder.find(page.name, file, page.files, read_metadata)

    def find_and_note(
        self, page: UpstreamPage, file: UpstreamFile, hides: Callable[[str], bool]
    ) -> str:
        """
        Return the licence of a file that is wanted, and note it in the store if a rule hides it.

        `hides` says whether a rule hides a licence. Raises Unavailable if the metadata of the file
        cannot be had now. It is no error if the store does not take the note.
        """
        licence = self.find(page, file)
        if hides(licence):
            self.finder.note(page.name, file.version, licence)
        return licence
