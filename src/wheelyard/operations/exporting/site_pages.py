"""The pages of an exported site: paths, contents, and writing with compare-and-swap."""

import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.model.metadata import CoreMetadata
from wheelyard.model.project import File, Project
from wheelyard.operations.exporting.manifest import Options
from wheelyard.operations.search.project_table import VisibleProjects, table_of
from wheelyard.rendering import simple_pages
from wheelyard.rendering.project_facts import ProjectFacts, facts_of
from wheelyard.rendering.pypi_json import PypiJsonData, project_json
from wheelyard.rendering.releases import Release, latest_release, releases_of
from wheelyard.rendering.search_json import search_json
from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.home import LATEST_UPLOADS, home_page
from wheelyard.rendering.web.project_page import ProjectContent, project_page
from wheelyard.rendering.web.release_page import ReleaseContent, plain_description
from wheelyard.rendering.web.setup_page import setup_page
from wheelyard.rendering.web.viewer import ANYONE
from wheelyard.storage.base import ABSENT, Key, ObjectVersion, Store, Stored, WebType

PAGE_CACHE_CONTROL: Final = "no-cache"
"""Clients revalidate each page; a bucket would otherwise cache it for an hour."""
FILE_CACHE_CONTROL: Final = "public, max-age=31536000, immutable"
HTML: Final = WebType("text/html; charset=utf-8", PAGE_CACHE_CONTROL)
JSON: Final = WebType("application/json", PAGE_CACHE_CONTROL)
SIMPLE_JSON: Final = WebType("application/vnd.pypi.simple.v1+json", PAGE_CACHE_CONTROL)
GZIP: Final = WebType("application/gzip", PAGE_CACHE_CONTROL)
FILE_TYPE: Final = WebType("application/octet-stream", FILE_CACHE_CONTROL)
METADATA_TYPE: Final = WebType("text/plain; charset=utf-8", FILE_CACHE_CONTROL)
INDEX: Final = "index.html"
SEARCH: Final = "search.json"

ReadCore = Callable[[NormalizedName, File], CoreMetadata]
"""Returns the core metadata of a listed file."""
Versions = Mapping[Key, ObjectVersion]
"""The versions of existing pages."""


@dataclass(frozen=True, slots=True)
class SitePage:
    """A page to write to a site, or to delete if `body` is None."""

    path: Key
    kind: WebType
    body: bytes | None


@dataclass(frozen=True, slots=True)
class SitePages:
    """Renders the pages of a site: Simple API, JSON API, web UI and search index."""

    options: Options
    environment: PageEnvironment
    """What the pages for people share, made with these options."""
    read_core: ReadCore
    serves_index: bool
    """Whether web servers answer `simple/` with `simple/index.html`."""

    def project_paths(self, name: NormalizedName) -> tuple[Key, ...]:
        """Return the paths of all pages that a project may have, existing or not."""
        folders = (f"simple/{name}/", f"project/{name}/")
        plain = (f"simple/{name}/index.json", f"pypi/{name}/json")
        paths = [path for folder in folders for path in self._folder_paths(folder)]
        return self._with_gzip((*paths, *plain))

    def project_pages(self, project: Project) -> tuple[list[SitePage], ProjectFacts]:
        """
        Return a project's rendered pages, and its facts for the pages of all projects.

        Raise NotFound if the store has lost the core metadata that they show.
        """
        releases = releases_of(project)
        described = latest_release(releases)
        core = self.read_core(project.name, described.metadata_file) if described else None
        pages = list(self._make_project_pages(project, releases, described, core))
        keywords, requirements = (core.keywords, core.requires_dist) if core else ("", ())
        return pages, facts_of(project, described, keywords, requirements)

    def _make_project_pages(
        self,
        project: Project,
        releases: Sequence[Release],
        described: Release | None,
        core: CoreMetadata | None,
    ) -> Iterator[SitePage]:
        name, files_url = project.name, self.options.files_from_page
        yield from self._html(f"simple/{name}/", simple_pages.detail_html(project, files_url))
        body = simple_pages.detail_json(project, files_url)
        yield from self._page(f"simple/{name}/index.json", SIMPLE_JSON, body)
        json_body = None
        if described is not None and core is not None:
            page = PypiJsonData(name, described, core, self.options.files_from_root)
            json_body = project_json(page, releases)
        yield from self._page(f"pypi/{name}/json", JSON, json_body)
        latest = None
        if described is not None and core is not None:
            latest = ReleaseContent(
                project=project,
                release=described,
                latest=described.version,
                core=core,
                description=plain_description(core),
            )
        content = ProjectContent(project=project, releases=releases, latest=latest)
        yield from self._html(f"project/{name}/", project_page(self.environment, ANYONE, content))

    @property
    def list_paths(self) -> tuple[Key, ...]:
        """The paths of the pages that belong to no project: lists of all, `setup/`, assets."""
        folders = (*self._folder_paths("simple/"), *self._folder_paths("setup/"))
        assets = (asset.path for asset in self.environment.assets.values())
        paths = (*assets, *folders, "simple/index.json")
        return self._with_gzip(paths)

    def list_pages(self, names: Sequence[NormalizedName]) -> Iterator[SitePage]:
        """Yield the rendered pages that belong to no project; the lists have `names`."""
        # before the pages that link to them
        for asset in self.environment.assets.values():
            kind = WebType(asset.media_type, FILE_CACHE_CONTROL)
            yield from self._page(asset.path, kind, asset.body)
        setup = setup_page(self.environment, ANYONE, can_publish=False)
        yield from self._html("setup/", setup)
        yield from self._html("simple/", simple_pages.list_html(names))
        yield from self._page("simple/index.json", SIMPLE_JSON, simple_pages.list_json(names))

    def obsolete_gzip_paths(self, names: Iterable[str]) -> frozenset[Key]:
        """
        Return the `.gz` paths of all pages if this export writes no compressed pages, else none.

        `names` are the projects of the site.
        """
        if self.options.is_gzipped:
            return frozenset()
        of_projects = (path for name in names for path in self.project_paths(NormalizedName(name)))
        every = (*self.list_paths, *self.overview_paths, *of_projects)
        return frozenset(Key(f"{path}.gz") for path in every if not path.endswith("/"))

    @property
    def overview_paths(self) -> tuple[Key, ...]:
        """The paths of the pages that change with each project: the home page, `search.json`."""
        return self._with_gzip((INDEX, SEARCH))

    def overview_pages(self, facts: Iterable[ProjectFacts]) -> Iterator[SitePage]:
        """Yield the rendered pages that change with each project; they show these projects."""
        visible = VisibleProjects(table_of(facts).projects)
        home = home_page(
            self.environment, ANYONE, visible.projects, visible.latest_uploads(LATEST_UPLOADS)
        )
        yield from self._page(INDEX, HTML, home)
        yield from self._page(SEARCH, JSON, search_json(visible.projects))

    def _folder_paths(self, folder: str) -> tuple[str, ...]:
        """Return the paths of a folder's page: `index.html`, and `FOLDER/` in a bucket."""
        index = f"{folder}{INDEX}"
        return (index,) if self.serves_index else (index, folder)

    def _with_gzip(self, paths: tuple[str, ...]) -> tuple[Key, ...]:
        packed = (f"{path}.gz" for path in paths if not path.endswith("/"))
        return tuple(map(Key, (*paths, *packed) if self.options.is_gzipped else paths))

    def _html(self, folder: str, body: bytes) -> Iterator[SitePage]:
        index, *others = self._folder_paths(folder)
        yield from self._page(index, HTML, body)
        for path in others:
            yield SitePage(Key(path), HTML, body)

    def _page(self, path: str, kind: WebType, body: bytes | None) -> Iterator[SitePage]:
        yield SitePage(Key(path), kind, body)
        if self.options.is_gzipped:
            # without mtime=0, equal pages would get different bytes
            packed = None if body is None else gzip.compress(body, mtime=0)
            yield SitePage(Key(f"{path}.gz"), GZIP, packed)


@dataclass(slots=True)
class PageWriter:
    """Writes and deletes pages of a site, and counts the written ones; thread-safe."""

    site: Store
    written: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False)

    def count(self, written: int) -> None:
        """Add `written` to the number of written pages."""
        with self._lock:
            self.written += written

    def current_versions(self, paths: Iterable[Key]) -> dict[Key, ObjectVersion]:
        """Return the versions, read now, of those pages at `paths` that exist."""
        stored = ((path, self.site.get(path)) for path in paths)
        return {path: each.version for path, each in stored if isinstance(each, Stored)}

    def write(self, pages: Iterable[SitePage], expected: Versions) -> dict[Key, ObjectVersion]:
        """
        Write or delete pages over their expected versions; return the versions of the written ones.

        Without an expected version, a page must not exist yet, and a deletion is skipped. Raise
        Conflict at the first page that has another version; those before it stay written.
        """
        written = dict[Key, ObjectVersion]()
        for page in pages:
            before = expected.get(page.path, ABSENT)
            if page.body is not None:
                written[page.path] = self.site.put(page.path, page.body, before, page.kind)
                self.count(1)
            elif before != ABSENT:
                self.site.delete(page.path, before)
        return written
