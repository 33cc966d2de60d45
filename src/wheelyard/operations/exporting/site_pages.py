"""The pages of a project in a site: which there are, and what each is made from."""

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.model.metadata import CoreMetadata
from wheelyard.model.project import File, Project
from wheelyard.operations.descriptions.descriptions import RenderedDescription
from wheelyard.operations.exporting.manifest import (
    ManifestEntry,
    Options,
    content_digest,
    page_generator,
)
from wheelyard.operations.exporting.page_writer import INDEX, PAGE_CACHE_CONTROL, SitePage
from wheelyard.operations.exporting.project_record import ProjectRecord
from wheelyard.operations.exporting.site_links import digest_of
from wheelyard.operations.project_history import HistoryReader, older_pages
from wheelyard.rendering import simple_pages
from wheelyard.rendering.feeds import project_feed
from wheelyard.rendering.project_facts import ProjectUser, facts_of, required_name
from wheelyard.rendering.pypi_json import PypiJsonData, project_json
from wheelyard.rendering.releases import Release, latest_release, releases_of
from wheelyard.rendering.web.environment import ANYONE, PageEnvironment
from wheelyard.rendering.web.file_list import FileSelection, file_list, file_pages
from wheelyard.rendering.web.history_page import HistoryLinks, history_page
from wheelyard.rendering.web.project_page import ProjectContent, project_page
from wheelyard.rendering.web.release_page import (
    ReleaseContent,
    files_page,
    release_page,
)
from wheelyard.storage.base import ObjectVersion, WebType

FILE_CACHE_CONTROL: Final = "public, max-age=31536000, immutable"
HTML: Final = WebType("text/html; charset=utf-8", PAGE_CACHE_CONTROL)
JSON: Final = WebType("application/json", PAGE_CACHE_CONTROL)
SIMPLE_JSON: Final = WebType("application/vnd.pypi.simple.v1+json", PAGE_CACHE_CONTROL)
ATOM: Final = WebType("application/atom+xml; charset=utf-8", PAGE_CACHE_CONTROL)
FILE_TYPE: Final = WebType("application/octet-stream", FILE_CACHE_CONTROL)
ROOTS: Final = ("simple/", "project/", "pypi/")
"""The folders in which each project has a folder of its own."""
METADATA_TYPE: Final = WebType("text/plain; charset=utf-8", FILE_CACHE_CONTROL)
INDEX_JSON: Final = "index.json"
FEED: Final = "feed.xml"

ReadCore = Callable[[NormalizedName, File], CoreMetadata]
"""Returns the core metadata of a listed file; raises NotFound if the store has lost it."""


class SitePages(Struct, frozen=True):
    """Makes the pages of the projects of a site: Simple API, JSON API, web UI, feeds."""

    options: Options
    environment: PageEnvironment
    """What the pages for people share, made with these options."""
    read_core: ReadCore
    history: HistoryReader
    describe: Callable[[CoreMetadata], RenderedDescription]

    @property
    def made_with(self) -> str:
        """The options and the version that all pages are made with."""
        return content_digest([self.options, page_generator()])

    def project_prefixes(self, name: NormalizedName) -> tuple[str, ...]:
        """Return the prefixes of the paths of all pages of a project."""
        return tuple(f"{root}{name}/" for root in ROOTS)


@dataclass(kw_only=True)
class ProjectPages:
    """
    The pages of a project, in the order in which they are written.

    When one is made, the ones before it are in the site, so that it has what it links to. After the
    last one, `entry` and `record` say what is known of the project.
    """

    site: SitePages
    project: Project
    document: ObjectVersion
    """The version of the project's document."""
    used_by: tuple[ProjectUser, ...]
    """The projects that its page names as its users."""
    known: Container[str]
    """The projects that pages may link to."""
    before: ProjectRecord | None
    """What the last export knew of the pages; it saves reading."""
    is_final: bool = field(default=True, init=False)
    """Whether another export would render all descriptions in the same way."""
    _requires: dict[str, tuple[str, ...]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._releases = releases_of(self.project)
        self._latest = latest_release(self._releases)
        self._read_core = lru_cache(1)(partial(self.site.read_core, self.project.name))

    def __iter__(self) -> Iterator[SitePage]:
        """Yield each page; raise NotFound if the store has lost core metadata that it shows."""
        name, site = self.project.name, self.site
        files_url = site.options.files_from_page
        detail, detail_json = simple_pages.detail_html, simple_pages.detail_json
        # the first page is written in any case, see `ProjectRecord`
        yield _html(f"simple/{name}/", "", partial(detail, self.project, files_url))
        json = partial(detail_json, self.project, files_url)
        yield SitePage(f"simple/{name}/{INDEX_JSON}", SIMPLE_JSON, json, self.document)
        if self._latest is not None:
            yield SitePage(f"pypi/{name}/json", JSON, self._pypi_json, self.document)
        for release in self._releases:
            yield from self._release_pages(release)
        yield from self._history_pages()
        yield SitePage(f"project/{name}/{FEED}", ATOM, self._feed, self.document)
        links = digest_of(self.used_by, self._requires_of(self._latest), self.known)
        yield _html(f"project/{name}/", f"{self.document} {links}", self._project_page)

    @property
    def entry(self) -> ManifestEntry:
        """The entry of the project for the manifest, once all pages were made."""
        latest = self._latest
        core = self._core_of(latest) if latest else None
        facts = facts_of(
            self.project,
            latest,
            core.summary if core else None,
            core.keywords if core else None,
            core.requires_dist if core else (),
            self.document,
        )
        older = {each for names in self._requires.values() for each in names}
        mentioned = " ".join(sorted(older - set(facts.required_names)))
        links = digest_of(self.used_by, older, self.known)
        return ManifestEntry(self.project.revision, replace(facts, text=""), mentioned, links)

    @property
    def record(self) -> ProjectRecord:
        """The record of the project without its pages, once all pages were made."""
        commit = self.project.commit
        return ProjectRecord(
            made_with=self.site.made_with if self.is_final else "",
            pages={},
            requires=self._requires,
            last_commit=(commit.number, commit.id) if commit else (0, ""),
            history=self._history_id,
        )

    def _release_pages(self, release: Release) -> Iterator[SitePage]:
        project, latest = self.project, self._latest
        folder = f"project/{project.name}/{release.version}/"
        links = digest_of((), self._requires_of(release), self.known)
        shown = [project.name, project.status, project.reason, release.files]
        made_from = content_digest([*shown, release is latest, links])
        for selection in file_pages(release):
            render = partial(self._files_page, release, selection)
            yield _html(f"{folder}{selection.path}", made_from, render)
        yield _html(folder, made_from, partial(self._release_page, release))

    def _release_page(self, release: Release) -> bytes:
        return release_page(self.site.environment, ANYONE, self._content(release))

    def _files_page(self, release: Release, selection: FileSelection) -> bytes:
        facet = selection.facet.path if selection.facet else ""
        files = file_list(release, facet, selection.number)
        assert files is not None  # noqa: S101 - `file_pages` says that there is such a page
        return files_page(self.site.environment, ANYONE, self.project, release, files)

    def _content(self, release: Release) -> ReleaseContent:
        core = self._core_of(release)
        described = self.site.describe(core)
        self.is_final = self.is_final and described.is_final
        return ReleaseContent(
            project=self.project,
            release=release,
            latest=self._latest.version if self._latest else "",
            core=core,
            description=described.html,
            known=self.known,
        )

    def _history_pages(self) -> Iterator[SitePage]:
        project, name = self.project, self.project.name
        count = older_pages(project.revision)
        for number in range(1, count + 1):
            render = partial(self._history_page, number)
            made_from = f"{self._history_id} {number == count}"
            yield _html(f"project/{name}/history/{number}/", made_from, render)
        render = partial(self._history_page, None)
        yield _html(f"project/{name}/history/", self.document, render)

    @cached_property
    def _history_id(self) -> str:
        """What older pages of the history are made from: the journal, which only gets longer."""
        record, project = self.before, self.project
        own = project.commit.id if project.commit else ""
        if record is None or not older_pages(project.revision):
            return own
        number, commit_id = record.last_commit
        is_longer = 0 < number <= project.revision
        commit = self.site.history.projects.commit(project, number) if is_longer else None
        return record.history if commit is not None and commit.id == commit_id else own

    def _history_page(self, number: int | None) -> bytes:
        project, history = self.project, self.site.history
        part = history.newest(project) if number is None else history.older(project, number)
        links = HistoryLinks(number, older_pages(project.revision))
        return history_page(
            self.site.environment, ANYONE, project.name, links, part.entries, part.lost
        )

    def _feed(self) -> bytes:
        environment = self.site.environment
        changes = self.site.history.newest(self.project).entries
        return project_feed(environment.brand.name, environment.base_url, self.project, changes)

    def _pypi_json(self) -> bytes:
        assert self._latest is not None  # noqa: S101 - else there is no such page
        core, files_url = self._core_of(self._latest), self.site.options.files_from_root
        page = PypiJsonData(self.project.name, self._latest, core, files_url)
        return project_json(page, self._releases)

    def _project_page(self) -> bytes:
        content = ProjectContent(
            project=self.project,
            releases=self._releases,
            latest=self._content(self._latest) if self._latest else None,
            used_by=self.used_by,
            has_deleted_files=bool(self.project.deleted_filenames),
        )
        return project_page(self.site.environment, ANYONE, content)

    def _core_of(self, release: Release) -> CoreMetadata:
        is_latest = release is self._latest
        return self._latest_core if is_latest else self._read_core(release.metadata_file)

    @cached_property
    def _latest_core(self) -> CoreMetadata:
        assert self._latest is not None  # noqa: S101 - it is asked for its core metadata
        return self._read_core(self._latest.metadata_file)

    def _requires_of(self, release: Release | None) -> tuple[str, ...]:
        """Return the names that a release requires."""
        digest = release.metadata_file.core_metadata if release else ""
        if release is None or not digest:
            return ()
        if digest not in self._requires:
            found = self.before.requires.get(digest) if self.before else None
            if found is None:
                required = map(required_name, self._core_of(release).requires_dist)
                found = tuple(sorted({*required} - {"", self.project.name}))
            self._requires[digest] = found
        return self._requires[digest]


def _html(folder: str, made_from: str, render: Callable[[], bytes]) -> SitePage:
    return SitePage(f"{folder}{INDEX}", HTML, render, made_from)
