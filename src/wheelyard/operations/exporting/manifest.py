"""
The manifest of an exported site: its options, and the exported version of each project.

The manifest only saves work. Everything it lists was exported, but more may have been. A project's
entry moves on to later revisions, and back only if the store was restored from a backup.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from enum import StrEnum
from functools import cache
from hashlib import blake2b, sha256
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from msgspec import UNSET, DecodeError, Struct, UnsetType, ValidationError
from msgspec.json import Decoder, encode
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.errors import Invalid
from wheelyard.rendering.project_facts import ProjectFacts
from wheelyard.rendering.simple_pages import FILES_FROM_DETAIL
from wheelyard.storage.base import ABSENT, Key, ObjectVersion, Store, Stored

BAD_DESTINATION: Final = "bad_destination"
"""The error code for a destination that cannot be written as it is."""
PAGE_SOURCES: Final = ("rendering", "operations/exporting", "operations/descriptions")
"""The folders of wheelyard whose files decide what pages look like."""
EXPORT_PREFIX: Final = "wheelyard-export/"
"""The folder of a site for the manifest and the marker of a started export."""
MANIFEST_PATH: Final = Key(f"{EXPORT_PREFIX}manifest.json")


class FileMode(StrEnum):
    """Whether distributions are copied or linked into the site, or left on another server."""

    COPY = "copy"
    LINK = "link"
    """A hard link; site and store are folders of one file system."""
    LEAVE = "leave"
    """Files are not put into the site; another server has them."""


class Options(Struct, frozen=True, kw_only=True):
    """How a site is made: its URL, where its files are, compression, and the store."""

    base_url: str = ""
    """The public URL of the site, without a slash at the end; empty if unknown."""
    files: FileMode = FileMode.COPY
    files_url: str = ""
    """With LEAVE, files are at `<files_url>/<project>/<sha256>/<filename>`."""
    is_gzipped: bool = False
    """Whether each page is also written compressed, as `.gz`."""
    store: str = ""
    """The `store_fingerprint` of the exported store; empty if unknown."""
    brand: str = ""
    """The fingerprint of the brand on all pages."""
    remote_images: bool = False
    """Whether descriptions show images of other hosts."""
    has_public: bool | UnsetType = UNSET
    """Whether the site has packages of upstream indexes; not stored unless it has."""

    @property
    def files_from_page(self) -> str:
        """The base URL of the files for links on a project's page, relative to it or absolute."""
        return self.files_url if self.files is FileMode.LEAVE else FILES_FROM_DETAIL

    @property
    def files_from_root(self) -> str:
        """The base URL of the files for the JSON API, absolute or from the root of the host."""
        return self.files_url if self.files is FileMode.LEAVE else f"{self.base_url}/files"


class RequestedOptions(Struct, frozen=True, kw_only=True):
    """The options that the operator gave; None keeps the option of the last export."""

    base_url: str | None = None
    files: FileMode | None = None
    files_url: str = ""
    """Only with LEAVE."""
    is_gzipped: bool | None = None
    store: str = ""
    """The `store_fingerprint` of the store to export."""

    def merged_with(
        self, previous: Options, *, brand: str, remote_images: bool, has_public: bool
    ) -> Options:
        """
        Return `previous` with these changes; raise Invalid if the site is of another store.

        The other values are those of the index now; `has_public`, whether it has upstream indexes.
        """
        if self.store and previous.store and self.store != previous.store:
            raise Invalid(
                "This site was made from another store. Choose another place; or, if it is the "
                "same store and has moved, remove wheelyard-export/manifest.json from the site, "
                "and export again.",
                code=BAD_DESTINATION,
            )
        files = previous.files if self.files is None else self.files
        return Options(
            base_url=previous.base_url if self.base_url is None else self.base_url,
            files=files,
            files_url=previous.files_url if self.files is None else self.files_url,
            is_gzipped=previous.is_gzipped if self.is_gzipped is None else self.is_gzipped,
            store=self.store or previous.store,
            brand=brand,
            remote_images=remote_images,
            # with LEAVE, another server has the files of private projects alone
            has_public=True if has_public and files is not FileMode.LEAVE else UNSET,
        )


class ManifestEntry(Struct, frozen=True, array_like=True, gc=False):
    """An exported project: its revision and facts, and what its pages link to."""

    revision: int
    facts: ProjectFacts
    """Without `text`, which only a search needs."""
    mentioned: str = ""
    """Names that older releases require, and the latest one does not, with a blank between two."""
    links: str = ""
    """The digest of the links of its pages to other projects."""

    @property
    def mentioned_names(self) -> tuple[NormalizedName, ...]:
        """The names of all projects that any of its releases requires."""
        return (*self.facts.required_names, *map(NormalizedName, self.mentioned.split()))


class Manifest(Struct, frozen=True):
    """The options of a site and all projects exported to it, stored as JSON in the site."""

    options: Options
    """The options with which every page was made."""
    generator: str = ""
    """As `page_generator` returned it for the export that wrote the manifest."""
    projects: dict[str, ManifestEntry] = {}
    lists: dict[Key, ObjectVersion] = {}
    """The versions of the pages that belong to no project."""

    def merged(
        self, entries: Mapping[str, ManifestEntry], is_latest: Callable[[str, ManifestEntry], bool]
    ) -> "Manifest":
        """Return the manifest with `entries`, except older ones for which `is_latest` is false."""
        later = {
            name: entry
            for name, entry in entries.items()
            if name not in self.projects
            or entry.revision >= self.projects[name].revision
            or is_latest(name, entry)
        }
        return replace(self, projects=dict(sorted((self.projects | later).items())))

    def without(self, entries: Mapping[str, ManifestEntry]) -> "Manifest":
        """Return the manifest without the projects whose entry is equal to that in `entries`."""
        kept = {name: each for name, each in self.projects.items() if entries.get(name) != each}
        return replace(self, projects=kept)

    def is_current(self, name: str, document_version: str) -> bool:
        """Return whether a project was exported from this version of its document."""
        entry = self.projects.get(name)
        return entry is not None and entry.facts.document == document_version

    def valid_for(self, options: Options) -> "Manifest":
        """Return this manifest if it has `options` and this `page_generator`, else an empty one."""
        if (self.options, self.generator) == (options, page_generator()):
            return self
        return Manifest(options, page_generator())


class _ManifestHead(Struct, frozen=True):
    """What each version of wheelyard can read of the manifest of any other one."""

    options: Options


class LoadedManifest(Struct, frozen=True):
    """The manifest of a site, with its version for the compare-and-swap."""

    manifest: Manifest | None
    """None if it is missing or malformed."""
    version: ObjectVersion


def load_manifest(site: Store) -> LoadedManifest:
    """Return the manifest of a site (None if missing or malformed), with its version."""
    stored = site.get(MANIFEST_PATH)
    if not isinstance(stored, Stored):
        return LoadedManifest(None, ABSENT)
    faults = (DecodeError, ValidationError, UnicodeDecodeError)
    with suppress(*faults):
        return LoadedManifest(Decoder(Manifest).decode(stored.body), stored.version)
    with suppress(*faults):  # of a version with other entries
        head = Decoder(_ManifestHead).decode(stored.body)
        return LoadedManifest(Manifest(head.options), stored.version)
    return LoadedManifest(None, stored.version)


def store_fingerprint(location: str) -> str:
    """Return 32 hexadecimal digits that identify a store without showing its location."""
    return sha256(os.fsencode(location)).hexdigest()[:32]


def content_digest(value: object) -> str:
    """Return 24 hexadecimal digits that change with what pages are made of, or made with."""
    return blake2b(encode(value), digest_size=12).hexdigest()


@cache
def page_generator() -> str:
    """Return wheelyard's version, and a digest of the code and the templates that make pages."""
    package, found = files("wheelyard"), blake2b(digest_size=12)
    for path, content in sorted(_files_of(package.joinpath(each) for each in PAGE_SOURCES)):
        found.update(f"{path} {len(content)}\n".encode() + content)
    return f"wheelyard {version('wheelyard')}, {found.hexdigest()}"


def _files_of(folders: Iterable[Traversable]) -> Iterator[tuple[str, bytes]]:
    for folder in folders:
        for each in folder.iterdir() if folder.is_dir() else ():
            if each.is_dir():
                yield from _files_of([each])
            elif not each.name.endswith(".pyc"):
                yield f"{folder.name}/{each.name}", each.read_bytes()
