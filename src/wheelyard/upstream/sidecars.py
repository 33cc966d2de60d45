"""Small documents about a file of an upstream index: its core metadata and its provenance."""

from collections.abc import Callable
from functools import partial
from hashlib import sha256

from msgspec import Struct

from wheelyard.catalog import keys
from wheelyard.errors import Unavailable
from wheelyard.model.attestations import attests
from wheelyard.storage.base import Key, Store, Stored
from wheelyard.upstream.growing_file import OtherHashes, other_provenance, wrong_digest
from wheelyard.upstream.observation import Kind
from wheelyard.upstream.page import UpstreamFile, UpstreamPage


class Sidecar(Struct, frozen=True, kw_only=True):
    """A document that an upstream index has beside a file of a page."""

    kind: Kind
    page: UpstreamPage
    file: UpstreamFile
    title: str
    """What messages call the document."""
    url: str
    """The URL of the document at its upstream index, or an empty text if the index has none."""
    key: Key | None
    """Its key in the store, or None if nobody could tell whether stored bytes are still right."""
    mismatch: Callable[[bytes], Unavailable | None]
    """Returns the error for bytes that are not what the page says, or None."""

    @property
    def identity(self) -> tuple[str, ...]:
        """Texts that no other document has."""
        page = self.page
        return self.kind, page.upstream, page.name, self.file.filename, self.file.sha256

    def find_stored(self, store: Store) -> bytes | None:
        """
        Return the bytes in the store of the upstream index, or None without what the page says.

        Raises Unavailable if the store does not answer.
        """
        if self.key is None:
            return None
        stored_object = store.get(self.key)
        # compared each time: the page may say another digest since the document was stored
        if not isinstance(stored_object, Stored) or self.mismatch(stored_object.body) is not None:
            return None
        return stored_object.body


def core_metadata_of(page: UpstreamPage, file: UpstreamFile) -> Sidecar:
    """Return the core metadata of a file of a page (PEP 658), whether or not there is any."""
    title = f"{file.filename}.metadata"
    key = None
    # without its digest, nobody could tell whether stored bytes are still those of the index
    if file.core_metadata and file.sha256:
        key = keys.core_metadata(page.name, file.sha256, file.filename)
    return Sidecar(
        kind=Kind.METADATA,
        page=page,
        file=file,
        title=title,
        url=f"{file.url}.metadata",
        key=key,
        mismatch=partial(_metadata_mismatch, file, title),
    )


def provenance_of(page: UpstreamPage, file: UpstreamFile) -> Sidecar:
    """Return the provenance of a file of a page (PEP 740), whether or not there is one."""
    key = None
    if file.has_provenance:
        key = keys.upstream_provenance(page.name, file.sha256, file.filename)
    return Sidecar(
        kind=Kind.PROVENANCE,
        page=page,
        file=file,
        title=f"the provenance of {file.filename}",
        url=file.provenance_url,
        key=key,
        mismatch=partial(_provenance_mismatch, file),
    )


def _metadata_mismatch(file: UpstreamFile, title: str, body: bytes) -> Unavailable | None:
    """Return the error for core metadata without the digests of the page, or None."""
    other_hashes = OtherHashes(file.other_metadata_hashes)
    other_hashes.update(body)
    has_sha256 = file.core_metadata in ("", sha256(body).hexdigest())
    if has_sha256 and other_hashes.agree:
        return None
    return wrong_digest(title)


def _provenance_mismatch(file: UpstreamFile, body: bytes) -> Unavailable | None:
    """Return the error for a provenance that is about other bytes, or None."""
    # a page says no digest of a provenance; its signatures are verified where a rule asks
    if attests(body, file.sha256):
        return None
    return other_provenance(file.filename)
