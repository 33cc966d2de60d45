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
"""Bytes of the JSON of wheel variants that are kept in memory, parsed."""


class FileContent(Struct, frozen=True):
    """A distribution to store: its entry, a local file with its bytes, and its core metadata."""

    file: File
    path: Path
    """A file on the local disk with the distribution's bytes."""
    core_metadata: bytes | None
    """None if it has none."""
    provenance: bytes = b""
    """Empty if it has none."""
    variant: bytes = b""
    """The canonical `variant.json` of a wheel with a label, or empty if it has none."""


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

    def put(self, name: NormalizedName, bodies: Sequence[FileContent]) -> None:
        """Store distributions and their core metadata, over what is at their keys."""
        # before the commit that lists them: a crash leaves bytes that the sweep deletes after a day
        for body in bodies:
            for key, content in _objects(name, body):
                self.store.put_file(key, content)

    def put_lost(self, name: NormalizedName, bodies: Iterable[FileContent]) -> None:
        """
        Store those distributions again of which an object is missing.

        For after the commit that lists them: another index of the store that has the same bytes may
        have removed them in between, as nobody listed them there any more.
        """
        for body in bodies:
            expected = {key for key, _ in _objects(name, body)}
            # one listing has the distribution and its sidecars, whose keys begin with its key
            prefix = keys.distribution(name, body.file.sha256, body.file.filename)
            stored = {entry.key for entry in self.store.list(prefix)}
            if not expected <= stored:
                self.put(name, [body])

    def put_provenance(self, name: NormalizedName, file: File, provenance: bytes) -> None:
        """Store the provenance of a distribution, before a commit names it."""
        self.store.put_file(keys.sidecar(name, file, PROVENANCE_SUFFIX), provenance)

    def provenance(self, name: NormalizedName, file: File) -> bytes:
        """
        Return the provenance of a distribution.

        Raises NotFound if it has none, and Unavailable (code `damaged_document`) if the store has
        lost or changed it.
        """
        if not file.has_provenance:
            raise NotFound(f"{file.filename} has no provenance.")
        body = self._intact_sidecar(name, file, PROVENANCE_SUFFIX)
        if body is None:
            # not 404, which says that there are no attestations
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
        expected = file.sidecars.get(suffix)
        if not isinstance(stored, Stored) or sha256(stored.body).hexdigest() != expected:
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
        # without a wheel with a label, nothing loads it
        from wheelyard.model.wheel_variants import read_variant  # noqa: PLC0415

        body = self._intact_sidecar(name, file, VARIANT_SUFFIX)
        if body is None:
            raise missing_file_error(file)
        document = read_variant(body)
        self.variants.put(file.variant, document, len(body))
        return document

    def is_intact(self, name: NormalizedName, file: File) -> bool:
        """Return whether the store has a distribution and its sidecars, with the listed digests."""
        return all(self._digest(key) == expected for key, expected in listed_objects(name, file))

    def core_metadata(self, name: NormalizedName, file: File) -> bytes:
        """
        Return the bytes of a distribution's core metadata, whatever their digest is.

        Raises NotFound if they are missing.
        """
        key = keys.core_metadata(name, file.sha256, file.filename)
        stored = self.store.get(key)
        if not isinstance(stored, Stored):
            raise NotFound(f"The store holds nothing at {key}.")
        return stored.body

    def _digest(self, key: Key) -> str | None:
        """Return the SHA-256 of an object, or None if the store has lost it."""
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
    """Core metadata by digest, without capacity for a local store."""

    def load(self, name: NormalizedName, file: File) -> CoreMetadata:
        """
        Return a file's core metadata, minimal if it has none.

        Raises Unavailable if the store has lost or changed it (code `damaged_document`), or does
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

        Raises NotFound if the store has lost or changed it, and Unavailable if it does not answer.
        """
        cached = self.cache.get(file.core_metadata)
        if cached is not None:
            return cached
        content = self.files.core_metadata(name, file)
        # installers compare it with the digest of the page, so bytes that differ help nobody
        if sha256(content).hexdigest() != file.core_metadata:
            raise NotFound(f"The core metadata of {file.filename} has changed in the store.")
        self.cache.put(file.core_metadata, content, 256 + len(content))
        return content


def missing_file_error(file: File) -> Unavailable:
    """Return the Unavailable (503) for a listed file whose bytes are missing or have changed."""
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


def _objects(name: NormalizedName, body: FileContent) -> Iterator[tuple[Key, Path | bytes]]:
    """Yield the key and the bytes of a distribution, and of each of its sidecars."""
    file = body.file
    yield keys.distribution(name, file.sha256, file.filename), body.path
    if body.core_metadata is not None:
        yield keys.core_metadata(name, file.sha256, file.filename), body.core_metadata
    if body.provenance:
        yield keys.sidecar(name, file, PROVENANCE_SUFFIX), body.provenance
    if body.variant:
        yield keys.sidecar(name, file, VARIANT_SUFFIX), body.variant
