"""
The documents about wheels with a label on a page of a private project (PEP 825).

Each is made of the wheels of one release that the page shows, and never kept as truth. It is kept
for those who have a page of today or yesterday: a page is made anew each day, and its documents are
written then to `derived/`, if the server may write. The sweep deletes them days later.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from hashlib import sha256
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.files import Files
from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.threads import prefetch_map
from wheelyard.errors import DAMAGED, Invalid, Unavailable, WheelyardError
from wheelyard.model.distribution_filename import variants_filename
from wheelyard.model.project import File
from wheelyard.model.wheel_variants import VariantDocument, encode_variant, join_variants
from wheelyard.repository.index_repository import ProjectSources
from wheelyard.storage.base import Store, Stored

if TYPE_CHECKING:
    from wheelyard.rendering.listing import ShownFile

_NOTE_BYTES: Final = 200
"""Estimated memory of the note that a document is kept."""


class VariantsFile(Struct, frozen=True, kw_only=True):
    """The document about the wheels with a label of one release, as one more file on a page."""

    filename: str
    version: str
    sha256: str
    uploaded_at: datetime
    """When the oldest of these wheels was uploaded, in UTC."""
    body: bytes
    other_hashes: tuple[str, ...] = ()
    core_metadata: str = ""
    has_metadata: bool = False
    serves_metadata: bool = False
    requires_python: str | None = None
    yanked: str | None = None
    has_provenance: bool = False
    is_wheel: bool = False

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.body)


class PageVariants(Struct, frozen=True):
    """What a page has beside and instead of the files of a project."""

    documents: tuple[VariantsFile, ...]
    left_out: frozenset[str]
    """The names of wheels with a label that fit none of the documents."""

    def on_page(self, files: Sequence[File]) -> "list[ShownFile]":
        """Return the files of a page with the documents, without those left out, by filename."""
        on_page: list[ShownFile] = [file for file in files if file.filename not in self.left_out]
        on_page += self.documents
        return sorted(on_page, key=attrgetter("filename"))


def page_variants(sources: ProjectSources, stored: Files, release: str = "") -> PageVariants:
    """
    Return the documents about the wheels with a label that an index shows of a project.

    It is asked for all releases, or for one version without trailing zeros. If the store has lost a
    `variant.json` of a release, or one does not fit those of the layers above, no wheel with a
    label is shown of its layer, and that is no error. Raises Unavailable if the store does not
    answer.
    """
    documents = list[VariantsFile]()
    left_out = set[str]()
    name = sources.merged.name
    releases = list(sources.merged.variants)
    if release:
        releases = [version for version in releases if version == release]
    for version in releases:
        joined = None
        fitting = list[File]()
        for layer in _layers(sources, version):
            try:
                joined = _with_layer(joined, name, layer, stored)
                fitting += layer
            except (Invalid, Unavailable) as fault:
                if isinstance(fault, Unavailable) and fault.code != DAMAGED:
                    raise
                # without a document, an installer might take any of these wheels
                left_out.update(file.filename for file in layer)
        if joined is not None:
            documents.append(_document(name, fitting, joined))
    return PageVariants(tuple(documents), frozenset(left_out))


def _layers(sources: ProjectSources, release: str) -> Iterator[list[File]]:
    """Yield the wheels with a label of a release that each layer has, the upper one first."""
    merged = {file.filename: file for file in sources.merged.variants[release]}
    for source in sources.projects:
        files = source.project.variants.get(release, ())
        # of two layers with a filename, the upper one's wheel is shown
        layer = [file for file in files if merged.get(file.filename) is file]
        if layer:
            yield layer


def _with_layer(
    joined: VariantDocument | None, name: NormalizedName, layer: Sequence[File], stored: Files
) -> VariantDocument:
    """Return a document with what the wheels of a layer say. Raises Invalid if it does not fit."""
    # many wheels of a release say the same
    by_digest = {file.variant: file for file in layer}
    for file in by_digest.values():
        document = stored.variant(name, file)
        joined = document if joined is None else join_variants(joined, document)
    assert joined is not None  # noqa: S101 - a layer has a wheel
    return joined


def _document(
    name: NormalizedName, wheels: Sequence[File], document: VariantDocument
) -> VariantsFile:
    """Return the file with a document about wheels of one release."""
    oldest = min(wheels, key=lambda file: (file.uploaded_at, file.filename))
    body = encode_variant(document)
    return VariantsFile(
        filename=variants_filename(name, oldest.version),
        version=oldest.version,
        sha256=sha256(body).hexdigest(),
        uploaded_at=oldest.uploaded_at,
        body=body,
    )


class KeptVariants(Struct, frozen=True):
    """Keeps the documents of pages for those who have an older page."""

    store: Store
    """That of the documents of the index."""
    notes: "LruCache[object, object]"
    """Which documents this process has kept today."""

    def keep(
        self, name: NormalizedName, documents: Sequence[VariantsFile], today: datetime
    ) -> None:
        """
        Write the documents of a page, unless this process has done that today.

        That the store does not take them is no error.
        """
        day = today.date()
        new: dict[object, VariantsFile] = {}
        for document in documents:
            note = ("variants", name, document.sha256, day)
            if self.notes.get(note) is None:
                new[note] = document
        # a page is more important than what an older one links to
        with suppress(WheelyardError):
            list(prefetch_map(partial(self._write, name), new.values()))
            # after all writes: what has failed is written with the next page
            for kept in new:
                self.notes.put(kept, True, _NOTE_BYTES)  # noqa: FBT003 - a value

    def _write(self, name: NormalizedName, document: VariantsFile) -> None:
        self.store.put(keys.kept_variants(name, document.sha256), document.body, None)

    def find(self, name: NormalizedName, digest: str) -> bytes | None:
        """
        Return the document that had a digest on an earlier page, or None if it is not kept.

        Raises Unavailable if the store does not answer.
        """
        stored = self.store.get(keys.kept_variants(name, digest))
        # the digest is in the URL, and clients check it: nothing else may be sent under it
        if not isinstance(stored, Stored) or sha256(stored.body).hexdigest() != digest:
            return None
        return stored.body
