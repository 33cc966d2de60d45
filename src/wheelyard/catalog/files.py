"""Storage and removal of distributions and their sidecars, by digest."""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.concurrency.caches import LruCache
from wheelyard.errors import DAMAGED, NotFound, Unavailable
from wheelyard.model.metadata import CoreMetadata, parse_any
from wheelyard.model.project import PROVENANCE_SUFFIX, VARIANT_SUFFIX, File
from wheelyard.remedies import Advice, Remedy
from wheelyard.storage.base import Key, Store, Stored

if TYPE_CHECKING:
    from wheelyard.model.wheel_variants import VariantDocument


VARIANTS_CAPACITY: Final = 4 * 1024**2
"""The most bytes of JSON of wheel variants whose parsed documents are kept in memory."""
CACHE_OVERHEAD: Final = 256
"""What core metadata take in memory beside their bytes."""


class FileContent(Struct, frozen=True):
    """A distribution to store, with its sidecars."""

    file: File
    """The entry of the distribution in its project."""
    path: Path
    """A file on the local disk with the distribution's bytes."""
    core_metadata: bytes | None
    """The core metadata, or None if the distribution has none."""
    provenance: bytes = b""
    """The provenance, or empty bytes without one."""
    variant: bytes = b""
    """The canonical `variant.json` of a wheel with a label, or empty bytes without one."""


class Files(Struct, frozen=True):
    """
    Stores and checks the distributions of an index and their core metadata.

    Every method raises Unavailable if the store does not answer.
    """

    store: Store
    variants: "LruCache[str, VariantDocument]" = field(
        default_factory=lambda: LruCache(VARIANTS_CAPACITY)
    )
    """The `variant.json` of wheels, by digest: many wheels of a project have the same."""

    def put(self, name: NormalizedName, contents: Sequence[FileContent]) -> None:
        """Store distributions and their sidecars, over older objects with their keys."""
        # before the commit that lists them: a crash leaves bytes that the sweep deletes after a day
        for content in contents:
            for key, body in _objects(name, content):
                self.store.put_file(key, body)

    def put_lost(self, name: NormalizedName, contents: Iterable[FileContent]) -> None:
        """
        Store those distributions again of which an object is missing.

        It is called after the commit that lists them. Another index of the store with the same
        bytes may have removed them before the commit, as no index listed them any more.
        """
        for content in contents:
            expected_keys = {key for key, _ in _objects(name, content)}
            # one listing has the distribution and its sidecars, whose keys begin with its key
            prefix = keys.distribution(name, content.file.sha256, content.file.filename)
            stored_keys = {entry.key for entry in self.store.list(prefix)}
            if not expected_keys <= stored_keys:
                self.put(name, [content])

    def put_provenance(self, name: NormalizedName, file: File, provenance: bytes) -> None:
        """Store the provenance of a distribution, before a commit names it."""
        self.store.put_file(keys.sidecar(name, file, PROVENANCE_SUFFIX), provenance)

    def provenance(self, name: NormalizedName, file: File) -> bytes:
        """
        Return the provenance of a distribution.

        Raises NotFound if the distribution has no provenance, and Unavailable (code
        `damaged_document`) if the store has lost or changed it.
        """
        if not file.has_provenance:
            raise NotFound(f"{file.filename} has no provenance.")
        body = self._intact_sidecar(name, file, PROVENANCE_SUFFIX)
        if body is None:
            # not 404, by which clients know that there are no attestations
            raise Unavailable(
                f"The store has lost the provenance of {file.filename}. Upload the file with its "
                "attestations again, or restore it from a backup.",
                code=DAMAGED,
                advice=Advice(Remedy.CHECK_STORE),
            )
        return body

    def has_intact_provenance(self, name: NormalizedName, file: File) -> bool:
        """Return whether a distribution has a provenance, and the store has not lost it."""
        if not file.has_provenance:
            return False
        return self._intact_sidecar(name, file, PROVENANCE_SUFFIX) is not None

    def _intact_sidecar(self, name: NormalizedName, file: File, suffix: str) -> bytes | None:
        """Return a listed sidecar, or None if the store has lost or changed it."""
        stored = self.store.get(keys.sidecar(name, file, suffix))
        if not isinstance(stored, Stored):
            return None
        if sha256(stored.body).hexdigest() != file.sidecars.get(suffix):
            return None
        return stored.body

    def variant(self, name: NormalizedName, file: File) -> "VariantDocument":
        """
        Return the `variant.json` of a wheel that has one.

        Raises Unavailable (code `damaged_document`) if the store has lost or changed it.
        """
        document = self.variants.get(file.variant)
        if document is not None:
            return document
        # imported here, as most processes see no wheel with a label
        from wheelyard.model.wheel_variants import read_variant  # noqa: PLC0415

        body = self._intact_sidecar(name, file, VARIANT_SUFFIX)
        if body is None:
            raise missing_file_error(file)
        document = read_variant(body)
        self.variants.put(file.variant, document, len(body))
        return document

    def is_intact(self, name: NormalizedName, file: File) -> bool:
        """Return whether the store has a distribution and its sidecars, with the listed digests."""
        for key, listed_digest in listed_objects(name, file):
            if self._read_digest(key) != listed_digest:
                return False
        return True

    def core_metadata(self, name: NormalizedName, file: File) -> bytes:
        """
        Return the bytes of a distribution's core metadata. Their digest is not checked.

        Raises NotFound if the store has no core metadata of the distribution.
        """
        key = keys.core_metadata(name, file.sha256, file.filename)
        stored = self.store.get(key)
        if not isinstance(stored, Stored):
            raise NotFound(f"The store holds nothing at {key}.")
        return stored.body

    def _read_digest(self, key: Key) -> str | None:
        """Read an object, and return its SHA-256, or None if the store has lost it."""
        digest = sha256()
        try:
            for chunk in self.store.read(key):
                digest.update(chunk)
        except NotFound:
            return None
        return digest.hexdigest()


class CoreMetadataCache(Struct, frozen=True):
    """Reads the core metadata of listed files, from a cache or from the store."""

    files: Files
    cache: LruCache[str, bytes]
    """The core metadata by digest. For a local store it has no capacity."""

    def load(self, name: NormalizedName, file: File) -> CoreMetadata:
        """
        Return a file's core metadata, which have only name and version if the file has none.

        Raises Unavailable if the store has lost or changed them (code `damaged_document`), or does
        not answer.
        """
        try:
            raw = self.load_bytes(name, file) if file.has_metadata else None
        except NotFound as error:
            raise missing_file_error(file) from error
        return parse_any(raw, name, file.version)

    def load_bytes(self, name: NormalizedName, file: File) -> bytes:
        """
        Return the bytes of a file's core metadata.

        Raises NotFound if the store has lost or changed them, and Unavailable if it does not
        answer.
        """
        cached = self.cache.get(file.core_metadata)
        if cached is not None:
            return cached
        content = self.files.core_metadata(name, file)
        # installers compare the bytes with the digest of the page, and refuse others
        if sha256(content).hexdigest() != file.core_metadata:
            raise NotFound(f"The core metadata of {file.filename} has changed in the store.")
        self.cache.put(file.core_metadata, content, CACHE_OVERHEAD + len(content))
        return content


def missing_file_error(file: File) -> Unavailable:
    """Return the error (503) for a listed file whose bytes are missing or have changed."""
    # not 404, after which installers would try another index
    return Unavailable(
        f"The store has lost {file.filename}. It has to be restored from a backup.",
        code=DAMAGED,
        advice=Advice(Remedy.CHECK_STORE),
    )


def listed_objects(name: NormalizedName, file: File) -> Iterator[tuple[Key, str]]:
    """Yield the key and listed SHA-256 of a distribution, and of each of its sidecars."""
    yield keys.distribution(name, file.sha256, file.filename), file.sha256
    for suffix, digest in file.sidecars.items():
        yield keys.sidecar(name, file, suffix), digest


def _objects(name: NormalizedName, content: FileContent) -> Iterator[tuple[Key, Path | bytes]]:
    """Yield the key and the bytes of a distribution, and of each of its sidecars."""
    file = content.file
    yield keys.distribution(name, file.sha256, file.filename), content.path
    if content.core_metadata is not None:
        yield keys.core_metadata(name, file.sha256, file.filename), content.core_metadata
    if content.provenance:
        yield keys.sidecar(name, file, PROVENANCE_SUFFIX), content.provenance
    if content.variant:
        yield keys.sidecar(name, file, VARIANT_SUFFIX), content.variant
