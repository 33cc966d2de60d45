"""
How a site looks, and what it shows already.

The manifest is a note to save work: what it says has happened, and more may have. A project's line
moves on to a later revision, and back only if the store was restored from a backup.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from importlib.metadata import version
from typing import Final

from msgspec import DecodeError, Struct, ValidationError
from msgspec.json import Decoder, encode
from msgspec.structs import replace

from wheelyard.errors import Invalid
from wheelyard.rendering.search_json import SearchEntry
from wheelyard.rendering.simple_pages import FILES_FROM_DETAIL
from wheelyard.storage.base import ABSENT, Key, ObjectVersion, Store, Stored

BAD_DESTINATION: Final = "bad_destination"
"""The code of an Invalid that says that a site cannot be written as it is."""
PAGE_REVISION: Final = 2
"""
Raised when the pages of a document change and the version of wheelyard does not.

An export writes every page of a site again if the site was made with another number.
"""
EXPORT_PREFIX: Final = "wheelyard-export/"
"""Where a site has what an export has to know of it."""
MANIFEST_PATH: Final = Key(f"{EXPORT_PREFIX}manifest.json")


class FileMode(StrEnum):
    """How a distribution gets to where a page's link leads."""

    COPY = "copy"
    LINK = "link"
    """One file with two names; the site and the store are folders of one file system."""
    LEAVE = "leave"
    """It is served already, by something else."""


class Options(Struct, frozen=True, kw_only=True):
    """How a site looks; kept in its manifest."""

    base_url: str = ""
    """What it is served as, without a slash at the end; empty if nobody has said."""
    files: FileMode = FileMode.COPY
    files_url: str = ""
    """Where files are that are left: `<files_url>/<project>/<sha256>/<filename>`."""
    is_gzipped: bool = False
    """Whether pages are there compressed, too."""
    store: str = ""
    """Which store it is of, as `identity_of` says; empty if nobody has said."""

    @property
    def files_from_page(self) -> str:
        """Where the files are, seen from a project's page."""
        return self.files_url if self.files is FileMode.LEAVE else FILES_FROM_DETAIL

    @property
    def files_from_root(self) -> str:
        """Where they are, absolute or from the root of the host."""
        return self.files_url if self.files is FileMode.LEAVE else f"{self.base_url}/files"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedOptions:
    """What is asked of an export; None for what stays as it was at the last one."""

    base_url: str | None = None
    files: FileMode | None = None
    files_url: str = ""
    """Of files that are left."""
    is_gzipped: bool | None = None
    store: str = ""
    """Which store it is to be of."""

    def over(self, before: Options) -> Options:
        """
        Return how the site is to look that looked so before.

        Raises:
            Invalid: It is of another store (code `bad_destination`).
        """
        if self.store and before.store and self.store != before.store:
            raise Invalid(
                "This site was made from another store. Choose another place; or, if it is the "
                "same store and has moved, remove wheelyard-export/manifest.json from the site, "
                "and export again.",
                code=BAD_DESTINATION,
            )
        options = replace(before, store=self.store or before.store)
        if self.base_url is not None:
            options = replace(options, base_url=self.base_url)
        if self.files is not None:
            options = replace(options, files=self.files, files_url=self.files_url)
        if self.is_gzipped is not None:
            options = replace(options, is_gzipped=self.is_gzipped)
        return options


class ManifestEntry(Struct, frozen=True, array_like=True):
    """What is known of a project's pages."""

    revision: int
    document: str
    """The version that the store gave to the document."""
    found: SearchEntry
    """What the search index says of it."""
    pages: tuple[ObjectVersion, ...]
    """The versions that the site gave to its pages, in the order of `SitePages.paths_of`."""


class Manifest(Struct, frozen=True):
    """What a site shows."""

    options: Options
    """How every page was made."""
    generator: str = ""
    """As `page_generator` returned it for the export that wrote the manifest."""
    projects: dict[str, ManifestEntry] = {}
    lists: dict[Key, ObjectVersion] = {}
    """The versions of the pages that list every project, and of the search index."""

    def merged(
        self, lines: Mapping[str, ManifestEntry], is_latest: Callable[[str, ManifestEntry], bool]
    ) -> "Manifest":
        """
        Return it with more lines; of two for one project the later revision counts.

        Args:
            lines: Of other pages.
            is_latest: Whether a line with an earlier revision is of the document there is now.
        """
        later = {
            name: line
            for name, line in lines.items()
            if name not in self.projects
            or line.revision >= self.projects[name].revision
            or is_latest(name, line)
        }
        return replace(self, projects=dict(sorted((self.projects | later).items())))

    def without(self, lines: Mapping[str, ManifestEntry]) -> "Manifest":
        """Return it without these lines, but with others of the same projects."""
        kept = {name: line for name, line in self.projects.items() if lines.get(name) != line}
        return replace(self, projects=kept)

    def is_current(self, name: str, document: str) -> bool:
        """Return whether a project's pages were made from this version of its document."""
        line = self.projects.get(name)
        return line is not None and line.document == document

    def under(self, options: Options) -> "Manifest":
        """Return what of it holds for pages that look so: all, or nothing."""
        if (self.options, self.generator) == (options, page_generator()):
            return self
        return Manifest(options, page_generator())


@dataclass(frozen=True, slots=True)
class LoadedManifest:
    """The manifest as it was read from a site."""

    manifest: Manifest | None
    """None where there is none that makes sense."""
    version: ObjectVersion


def load_manifest(site: Store) -> LoadedManifest:
    """Return what a site says of itself."""
    stored = site.get(MANIFEST_PATH)
    if not isinstance(stored, Stored):
        return LoadedManifest(None, ABSENT)
    try:
        return LoadedManifest(Decoder(Manifest).decode(stored.body), stored.version)
    except (DecodeError, ValidationError, UnicodeDecodeError):
        return LoadedManifest(None, stored.version)


def encoded(manifest: Manifest) -> bytes:
    """Return a manifest as it is stored: the same bytes for the same content."""
    return encode(manifest)


def store_fingerprint(place: str) -> str:
    """Return what tells a store from others: a digest, as its place is secret."""
    return sha256(os.fsencode(place)).hexdigest()[:32]


def page_generator() -> str:
    """Return what makes pages: another one makes other pages of the same documents."""
    return f"wheelyard {version('wheelyard')}, page revision {PAGE_REVISION}"
