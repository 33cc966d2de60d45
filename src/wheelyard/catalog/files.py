"""Storage and removal of distributions and their sidecars, by digest."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import damaged
from wheelyard.catalog.journaled_documents import ProjectCodec
from wheelyard.catalog.store_clock import StoreClock
from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.threads import prefetch_map
from wheelyard.errors import DAMAGED, NotFound, Unavailable
from wheelyard.model.metadata import CoreMetadata, parse_any
from wheelyard.model.project import PROVENANCE_SUFFIX, VARIANT_SUFFIX, File, Project
from wheelyard.remedies import Advice, Remedy
from wheelyard.storage.base import Entry, Key, Store, Stored, Stores

if TYPE_CHECKING:
    from wheelyard.model.wheel_variants import VariantDocument


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


VARIANTS_CAPACITY: Final = 4 * 1024**2
"""Bytes of the JSON of wheel variants that are kept in memory, parsed."""


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
            prefix = keys.distribution(name, body.file.sha256, body.file.filename)
            if not expected <= {entry.key for entry in self.store.list(prefix)}:
                self.put(name, [body])

    def put_provenance(self, name: NormalizedName, file: File, provenance: bytes) -> None:
        """Store the provenance of a distribution, before a commit names it."""
        self.store.put_file(keys.sidecar(name, file, PROVENANCE_SUFFIX), provenance)

    def provenance(self, name: NormalizedName, file: File) -> bytes:
        """
        Return the provenance of a distribution.

        Raises NotFound if it has none, and Unavailable if the store has lost or changed it.
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

        Raises Unavailable if the store has lost or changed it.
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
        Return the bytes of a distribution's core metadata.

        Raises NotFound if they are missing.
        """
        key = keys.core_metadata(name, file.sha256, file.filename)
        stored = self.store.get(key)
        if not isinstance(stored, Stored):
            raise NotFound(f"The store holds nothing at {key}.")
        return stored.body

    def _digest(self, key: Key) -> str | None:
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

        Raises Unavailable if the store has lost it, or does not answer.
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
    file = body.file
    yield keys.distribution(name, file.sha256, file.filename), body.path
    if body.core_metadata is not None:
        yield keys.core_metadata(name, file.sha256, file.filename), body.core_metadata
    if body.provenance:
        yield keys.sidecar(name, file, PROVENANCE_SUFFIX), body.provenance
    if body.variant:
        yield keys.sidecar(name, file, VARIANT_SUFFIX), body.variant


_CODEC: Final = ProjectCodec()
RESTORE_TIME: Final = timedelta(days=1)
"""How long bytes stay after nobody may begin to restore them: a commit takes half of it at most."""


class FileRemoval(Struct, frozen=True):
    """
    Deletes the objects of files that no index of a store lists, or keeps after a deletion.

    Every method but `kept` and `held` raises Unavailable if the store does not answer.
    """

    stores: Stores
    clock: StoreClock
    keeps_deleted: bool = True
    """Whether deleted files are kept for a while: not where everybody can read the bucket."""

    def remove(
        self, name: NormalizedName, objects: Iterable[Key], written_before: float = inf
    ) -> int:
        """
        Delete those of the `objects` of a project that no index lists, and return how many.

        An object that was written at `written_before` or later stays, in seconds since the epoch.
        Each is looked at right before it is deleted: an upload writes its bytes anew, and commits
        within half a day, so what is older than a day, and listed by nobody, is needed by nobody.

        Raises Unavailable, before anything is deleted, if a document of the project cannot be read.
        """
        # of all indexes: they share the files, and each has its own document of the project
        listed, count = self.kept(self._documents_at_once(name), self.clock.now()), 0
        for key in objects:
            if key in listed:
                continue
            if written_before < inf:
                entry = next(self.stores.files.list(key), None)
                if entry is None or entry.key != key or entry.modified >= written_before:
                    continue
            self.stores.files.delete(key)
            count += 1
        return count

    def indexes(self) -> Iterator[str]:
        """Yield the prefix of the keys of each index in the store: first that of main, nothing."""
        yield ""
        after = ""
        while entry := next(self.stores.documents.list(keys.INDEXES, after), None):
            prefix = keys.index_prefix(entry.key)
            if prefix:
                yield prefix
            after = keys.after_index(prefix) if prefix else entry.key

    def documents(self, name: NormalizedName, indexes: Iterable[str]) -> list[Project]:
        """
        Return a project's documents, one of each index that has it.

        Raises Unavailable if one of them is damaged, is that of another project, or may only be
        read by a newer version.
        """
        projects = list[Project]()
        for prefix in indexes:
            key = Key(f"{prefix}{keys.project(name)}")
            stored = self.stores.documents.get(key)
            if isinstance(stored, Stored):
                project = _CODEC.decode(key, stored.body)
                if project.name != name:
                    raise damaged(f"The document {key} is that of another project.")
                projects.append(project)
        return projects

    def projects_of(self, index: str) -> Iterator[Project]:
        """
        Yield all projects of an index, also if it is not defined any more.

        Raises Unavailable as `documents`.
        """
        store = self.stores.documents

        def read(entry: Entry) -> Project | None:
            stored = store.get(entry.key)
            return _CODEC.decode(entry.key, stored.body) if isinstance(stored, Stored) else None

        entries = store.list(f"{keys.index_folder(index)}{keys.PROJECTS}")
        yield from filter(None, prefetch_map(read, entries))

    def awaited(self, name: NormalizedName, files: Iterable[File]) -> dict[str, set[str]]:
        """
        Return the names of files that another index may be about to list, by the name of the index.

        That is what is noted as promoted there, and neither listed nor deleted there yet.
        """
        awaited = dict[str, set[str]]()
        for file in files:
            for index in file.targets:
                awaited.setdefault(index, set()).add(file.filename)
        for index, filenames in awaited.items():
            for project in self.documents(name, (keys.index_folder(index),)):
                filenames -= {*project.by_filename, *project.deleted_filenames}
        return {index: filenames for index, filenames in awaited.items() if filenames}

    def _documents_at_once(self, name: NormalizedName) -> list[Project]:
        """
        Return a project's documents as all of them were at one moment.

        A file may be promoted from an index to one that was read before, and then be deleted there.
        """
        documents, again = None, self.documents(name, self.indexes())
        while documents != again:
            documents, again = again, self.documents(name, self.indexes())
        return again

    def kept(self, projects: Iterable[Project], now: datetime) -> frozenset[Key]:
        """
        Return the keys of all objects that documents list, or keep although deleted.

        `now` is by the store's clock.
        """
        return frozenset(
            key
            for project in projects
            for file in self.kept_files(project, now)
            for key, _ in listed_objects(project.name, file)
        )

    def kept_files(self, project: Project, now: datetime) -> tuple[File, ...]:
        """Return the files of a document that are listed, or kept although deleted."""
        # whoever restores a file in the last moment has to commit that before its bytes go
        return self.held(project, now - RESTORE_TIME)

    def held(self, project: Project, at: datetime) -> tuple[File, ...]:
        """Return the files of a document that are listed, or could be restored at a time."""
        return (*project.files, *(project.kept_files(at) if self.keeps_deleted else ()))
