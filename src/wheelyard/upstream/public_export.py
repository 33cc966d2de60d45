"""
The export of packages of upstream indexes to a static site.

A page of a site lists the files that the store has and the policy shows; nothing is asked of an
upstream index. It is made from a page of the cache, whatever its age, with the bytes that the
server sends if it has the same files. The lists of projects are those of the private ones.

Like the manifest of the private projects, that of the public ones only saves work: what was written
has the version in it, or is written again.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import groupby
from typing import Final

from msgspec import DecodeError, Struct, ValidationError
from msgspec.json import Decoder, encode
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.files import Files
from wheelyard.catalog.projects import Projects
from wheelyard.concurrency.prefetch import prefetch_map
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.errors import UPSTREAM_CODES, Conflict, NotFound, Unavailable
from wheelyard.operations.exporting.manifest import (
    EXPORT_PREFIX,
    FileMode,
    Options,
    content_digest,
    page_generator,
)
from wheelyard.operations.exporting.page_writer import INDEX, PageWriter, SitePage, Versions
from wheelyard.operations.exporting.site_distributions import (
    Site,
    SiteDistributions,
    required_objects,
)
from wheelyard.operations.exporting.site_pages import HTML, INDEX_JSON, JSON, SIMPLE_JSON
from wheelyard.rendering import simple_pages
from wheelyard.rendering.pypi_json import PypiJsonData, project_json
from wheelyard.rendering.releases import latest_release, releases_of
from wheelyard.rendering.web.public_package import PublicPackage, public_package
from wheelyard.storage.base import ABSENT, Key, ObjectVersion, Stored
from wheelyard.upstream.file_cache import Sizes, only_stored
from wheelyard.upstream.index import UpstreamIndex, UpstreamListing
from wheelyard.upstream.page import UpstreamPage
from wheelyard.upstream.public_web_pages import PublicWebPages

PUBLIC_MANIFEST: Final = Key(f"{EXPORT_PREFIX}public.json")


class PublicProject(Struct, frozen=True, array_like=True):
    """A public project in a site."""

    made_from: str
    """Equal for equal pages."""
    pages: dict[Key, ObjectVersion]
    """The versions of its pages."""


class PublicManifest(Struct, frozen=True):
    """The public projects in a site, stored as JSON in the site."""

    made_with: str = ""
    """The options and the version that all pages are made with."""
    projects: dict[str, PublicProject] = {}


class PublicResult(Struct, frozen=True):
    """The result of an export: numbers of public projects."""

    projects: int
    """In the site now."""
    changed: int
    """Of them those that were written."""
    removed: int


class _Loaded(Struct, frozen=True):
    manifest: PublicManifest
    version: ObjectVersion
    is_true: bool = True
    """Whether the pages may have the versions in the manifest; false after a conflict."""


class PublicSite(Struct, frozen=True, kw_only=True):
    """The public projects in a site, and how they are removed from it."""

    projects: Projects
    writer: PageWriter
    site: Site
    retries: ConflictRetries
    """For conflicts with another export."""

    def remove(self, names: Iterable[str] | None = None) -> None:
        """Remove these public projects from the site, or all; others are left alone."""
        for _ in self.retries.attempts():
            loaded = self.load()
            known = loaded.manifest.projects
            gone = known.keys() if names is None else known.keys() & set(names)
            if not gone:
                return
            for name in sorted(gone):
                self.remove_project(name, known[name].pages)
            kept = {name: known[name] for name in known.keys() - gone}
            with suppress(Conflict):
                self.save(PublicManifest(loaded.manifest.made_with, kept), loaded.version)
                return
        raise self.retries.exhausted("the list of public projects")

    def remove_project(self, name: str, pages: Versions) -> None:
        """Remove pages that have these versions still, and files that no private page links to."""
        self.writer.delete(pages)
        document = self.projects.documents.get(keys.project(NormalizedName(name)), "current")
        needed = required_objects(document.value) if document.value is not None else {}
        for entry in list(self.site.store.list(keys.files_of(NormalizedName(name)))):
            if entry.key not in needed:
                self.site.store.delete(entry.key, None)

    def load(self) -> _Loaded:
        """Return the manifest, an empty one if it is missing or malformed."""
        stored = self.site.store.get(PUBLIC_MANIFEST)
        if not isinstance(stored, Stored):
            return _Loaded(PublicManifest(), ABSENT)
        try:
            return _Loaded(Decoder(PublicManifest).decode(stored.body), stored.version)
        except (DecodeError, ValidationError, UnicodeDecodeError):
            return _Loaded(PublicManifest(), stored.version)

    def save(self, manifest: PublicManifest, expect: ObjectVersion) -> None:
        """Write the manifest over a version; raise Conflict if it has another one."""
        self.site.store.put(PUBLIC_MANIFEST, encode(manifest), expect, JSON)


class PublicExport(Struct, frozen=True, kw_only=True):
    """Exports what the store has of upstream indexes."""

    upstream: UpstreamIndex
    place: PublicSite
    site_of: Callable[[str], Site]
    """Returns the site for copying the files of an upstream index, by its id."""
    options: Options
    web: PublicWebPages
    """Makes the pages for people, with these options."""
    threads: int

    def run(self, *, everything: bool = False) -> PublicResult:
        """
        Export what has changed, or `everything`; remove what is not to be shown any more.

        With LEAVE all public projects are removed: the other server has not got their files.
        """
        for attempt in self.place.retries.attempts():
            loaded = self.place.load()
            with suppress(Conflict):
                return self._export(
                    _Loaded(loaded.manifest, loaded.version, attempt == 0), everything
                )
        raise self.place.retries.exhausted("the list of public projects")

    def _export(self, before: _Loaded, everything: bool) -> PublicResult:  # noqa: FBT001 - of `run`
        made_with = content_digest([self.options, page_generator()])
        is_known = before.is_true and before.manifest.made_with == made_with and not everything
        known = before.manifest.projects
        work = partial(self._export_project, before, is_known)
        exported = prefetch_map(work, self._stored_projects(), self.threads)
        done = {name: entry for name, entry in exported if entry is not None}
        gone = known.keys() - done.keys()
        for name in sorted(gone):
            self.place.remove_project(name, known[name].pages)
        manifest = PublicManifest(made_with, dict(sorted(done.items())))
        if manifest != before.manifest:
            self.place.save(manifest, before.version)
        changed = sum(known.get(name) != entry for name, entry in done.items())
        return PublicResult(len(done), changed, len(gone))

    def _stored_projects(self) -> Iterator[tuple[NormalizedName, str, Sizes]]:
        """Yield each project of which the store has something, with the id of its upstream."""
        if self.options.files is FileMode.LEAVE:
            return
        for server in self.upstream.config.servers:
            upstream_id = server.id
            entries = self.upstream.files.cache(upstream_id).store.list(keys.FILES)
            for project, some in groupby(entries, lambda each: _project_of(each.key)):
                if project is not None:
                    yield project, upstream_id, {each.key: each.size for each in some}

    def _export_project(
        self,
        before: _Loaded,
        is_known: bool,  # noqa: FBT001 - bound by `partial`
        stored: tuple[NormalizedName, str, Sizes],
    ) -> tuple[str, PublicProject | None]:
        """Export a project; return its entry, None if it is not to be in the site."""
        name, upstream_id, sizes = stored
        found = self._found(name, upstream_id)
        page = self._shown(found, sizes) if found is not None else None
        if found is None or page is None:
            return name, None
        public = public_package(found.origin)
        shown = (page.status, page.reason, page.files, page.empty_versions, public)
        made_from = content_digest(shown)
        entry = before.manifest.projects.get(name)
        if is_known and entry is not None and entry.made_from == made_from:
            return name, entry
        pages = tuple(self._pages(page, public))
        writer, written = self.place.writer, dict[Key, ObjectVersion]()
        expected: Versions = entry.pages if before.is_true and entry is not None else {}
        if not expected:
            expected = writer.current_versions(each.path for each in pages)
        files = SiteDistributions(
            self._files(upstream_id), self.site_of(upstream_id), self.options.files
        )
        try:
            files.copy_missing(page)
        except NotFound as fault:  # evicted meanwhile
            raise Conflict(fault.message) from fault
        for each in pages:
            written |= writer.write(each, expected)
        if self.upstream.names.is_private(name):  # claimed meanwhile
            self.place.remove_project(name, written)
            return name, None
        self._remove_unlisted(page)
        obsolete = {key: each for key, each in expected.items() if key not in written}
        writer.delete(obsolete)
        return name, PublicProject(made_from, written)

    def _found(self, name: NormalizedName, upstream_id: str) -> UpstreamListing | None:
        """Return the page of a project; None if it is not to be in the site."""
        upstream = self.upstream
        if upstream.names.is_private(name) or upstream.policy.refuses_name(name) is not None:
            return None
        found = upstream.pages.cached(name)
        if found is None or found.page.upstream != upstream_id:
            return None
        return upstream.serve(found)

    def _shown(self, found: UpstreamListing, sizes: Sizes) -> UpstreamPage | None:
        """Return a page with the files that may be exported; None without any."""
        known = found.origin.page
        shown = frozenset(each.filename for each in found.files)
        listed = tuple(each for each in known.files if each.filename in shown)
        page = replace(known, files=listed, empty_versions=tuple(found.empty_versions))
        page = only_stored(page, sizes)
        files = tuple(each for each in page.files if self._is_allowed(known, each.filename))
        return replace(page, files=files) if files and page.status.serves_files else None

    def _pages(self, page: UpstreamPage, public: PublicPackage | None) -> Iterator[SitePage]:
        """Yield the pages of a project: for installers, for programs and for people."""
        name = page.name
        html, json = simple_pages.detail_html, simple_pages.detail_json
        yield SitePage(f"simple/{name}/{INDEX}", HTML, partial(html, page))
        yield SitePage(f"simple/{name}/{INDEX_JSON}", SIMPLE_JSON, partial(json, page))
        releases = releases_of(page)
        latest = latest_release(releases)
        if latest is not None:
            core = self.web.core_metadata(page, latest)
            data = PypiJsonData(name, latest, core, self.options.files_from_root)
            yield SitePage(f"pypi/{name}/json", JSON, partial(project_json, data, releases))
        yield from self.web.pages(page, releases, public)

    def _is_allowed(self, page: UpstreamPage, filename: str) -> bool:
        """Return whether a file may be downloaded, which needs more than its page."""
        try:
            found = self.upstream.policy.refuses_file(page, page.by_filename[filename])
        except Unavailable as fault:
            if fault.code not in UPSTREAM_CODES:
                raise
            return False  # its licence is not known
        return found is None

    def _remove_unlisted(self, page: UpstreamPage) -> None:
        listed, site = required_objects(page), self.place.site.store
        for entry in list(site.list(keys.files_of(page.name))):
            if entry.key not in listed:
                site.delete(entry.key, None)

    def _files(self, upstream_id: str) -> Files:
        return self.upstream.files.cache(upstream_id).files


def _project_of(key: Key) -> NormalizedName | None:
    owner = keys.parse_file_key(key)
    return NormalizedName(owner.project) if owner is not None else None
