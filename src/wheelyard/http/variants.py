"""
The documents about wheels with a label on a page of a private project (PEP 825).

Each document is made from the wheels of one release that the page shows, and no later page is made
from it. It is kept for clients that have a page of today or yesterday: a page is made anew each
day, and its documents are written then to `derived/`, if the server may write. The sweep deletes
them days later.
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
        """The size of the document in bytes."""
        return len(self.body)


class PageVariants(Struct, frozen=True):
    """The documents on a page of a project, and the wheels that the page leaves out."""

    documents: tuple[VariantsFile, ...]
    left_out: frozenset[str]
    """The names of wheels with a label that fit none of the documents."""

    def on_page(self, files: Sequence[File]) -> "list[ShownFile]":
        """Return the files of a page with the documents, without those left out, by filename."""
        on_page: list[ShownFile] = [file for file in files if file.filename not in self.left_out]
        on_page += self.documents
        return sorted(on_page, key=attrgetter("filename"))


def page_variants(sources: ProjectSources, stored_files: Files, release: str = "") -> PageVariants:
    """
    Return the documents about the wheels with a label that an index shows of a project.

    `release` is the version of one release without trailing zeros, or an empty text for all. If the
    store has lost a `variant.json` of a release, or one does not fit those of the layers above, the
    wheels with a label of its layer are left out, and that is no error. Raises Unavailable if the
    store does not answer.
    """
    documents = list[VariantsFile]()
    left_out = set[str]()
    name = sources.merged.name
    releases = list(sources.merged.variants)
    if release:
        releases = [version for version in releases if version == release]
    for version in releases:
        joined_document = None
        fitting_wheels = list[File]()
        for layer_wheels in _wheels_by_layer(sources, version):
            try:
                joined_document = _with_layer(joined_document, name, layer_wheels, stored_files)
                fitting_wheels += layer_wheels
            except (Invalid, Unavailable) as fault:
                if isinstance(fault, Unavailable) and fault.code != DAMAGED:
                    raise
                # without a document about these wheels, an installer might take any of them
                left_out.update(wheel.filename for wheel in layer_wheels)
        if joined_document is not None:
            documents.append(_variants_file(name, fitting_wheels, joined_document))
    return PageVariants(tuple(documents), frozenset(left_out))


def _wheels_by_layer(sources: ProjectSources, release: str) -> Iterator[list[File]]:
    """Yield the wheels with a label of a release that are shown of each layer, upper one first."""
    shown_wheels = {wheel.filename: wheel for wheel in sources.merged.variants[release]}
    for source in sources.projects:
        wheels = source.project.variants.get(release, ())
        # if two layers have a filename, the wheel of the upper one is shown
        layer_wheels = [wheel for wheel in wheels if shown_wheels.get(wheel.filename) is wheel]
        if layer_wheels:
            yield layer_wheels


def _with_layer(
    document: VariantDocument | None,
    name: NormalizedName,
    wheels: Sequence[File],
    stored_files: Files,
) -> VariantDocument:
    """
    Return a document, or a new one, with what the `variant.json` of the wheels of a layer say.

    Raises Invalid if they do not fit together, and Unavailable if the store has lost one, or does
    not answer.
    """
    # many wheels of a release have the same `variant.json`
    wheel_by_digest = {wheel.variant: wheel for wheel in wheels}
    for wheel in wheel_by_digest.values():
        wheel_document = stored_files.variant(name, wheel)
        document = wheel_document if document is None else join_variants(document, wheel_document)
    assert document is not None  # noqa: S101 - a layer has a wheel
    return document


def _variants_file(
    name: NormalizedName, wheels: Sequence[File], document: VariantDocument
) -> VariantsFile:
    """Return the file on a page with the document about wheels of one release."""
    oldest = min(wheels, key=lambda wheel: (wheel.uploaded_at, wheel.filename))
    body = encode_variant(document)
    return VariantsFile(
        filename=variants_filename(name, oldest.version),
        version=oldest.version,
        sha256=sha256(body).hexdigest(),
        uploaded_at=oldest.uploaded_at,
        body=body,
    )


class KeptVariants(Struct, frozen=True):
    """Keeps the documents of pages for clients that have an older page."""

    store: Store
    """The store with the documents of the index."""
    notes: "LruCache[object, object]"
    """Which documents this process has kept today."""

    def keep(
        self, name: NormalizedName, documents: Sequence[VariantsFile], today: datetime
    ) -> None:
        """
        Write the documents of a page, unless this process has done that today.

        If the store does not take them, that is no error.
        """
        day = today.date()
        new_documents: dict[object, VariantsFile] = {}
        for document in documents:
            note = ("variants", name, document.sha256, day)
            if self.notes.get(note) is None:
                new_documents[note] = document
        # the page itself is more important than the documents of older pages
        with suppress(WheelyardError):
            writes = prefetch_map(partial(self._write, name), new_documents.values())
            for _ in writes:
                pass
            # after all writes: documents that could not be written are with the next page
            for written_note in new_documents:
                self.notes.put(written_note, True, _NOTE_BYTES)  # noqa: FBT003 - a value

    def _write(self, name: NormalizedName, document: VariantsFile) -> None:
        """Write a document under its digest. Raises Unavailable if the store does not answer."""
        self.store.put(keys.kept_variants(name, document.sha256), document.body, None)

    def find(self, name: NormalizedName, digest: str) -> bytes | None:
        """
        Return the document that had a digest on an earlier page, or None if it is not kept.

        Raises Unavailable if the store does not answer.
        """
        stored_document = self.store.get(keys.kept_variants(name, digest))
        # the digest is in the URL, and clients check it: no other bytes may be sent under it
        if not isinstance(stored_document, Stored):
            return None
        stored_digest = sha256(stored_document.body).hexdigest()
        return stored_document.body if stored_digest == digest else None
