"""
The application that is asked for the pages of a static site.

It is that of an open index, for somebody who is not signed in. Its caller may read everything and
change nothing. It asks no other index. A document that it has read stays as it was until the export
reads it again, so all pages of a project are made from one state of it.
"""

from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from math import inf
from typing import Final, Self
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog.document_cache import CachePolicy, MaxAge, Snapshot
from wheelyard.catalog.projects import NameList, ProjectNames
from wheelyard.errors import Unavailable
from wheelyard.exporting.manifest import Options
from wheelyard.exporting.site import FILE_CACHE_CONTROL, INDEX, PAGE_CACHE_CONTROL, Page
from wheelyard.http.app import App
from wheelyard.http.context import StaticSite
from wheelyard.http.protocol.messages import NO_STORE
from wheelyard.http.release_metadata import ReleaseMetadata
from wheelyard.http.resolver import OpenListing
from wheelyard.model.access import ANONYMOUS, Action, Caller, Pattern, Scope
from wheelyard.operations.search.project_table import ProjectTable
from wheelyard.operations.search.search_index import FixedTable
from wheelyard.rendering.listing import Listing
from wheelyard.rendering.releases import releases_of
from wheelyard.rendering.simple_pages import FILES_FROM_DETAIL
from wheelyard.rendering.web.assets import load_assets
from wheelyard.rendering.web.file_list import file_pages
from wheelyard.rendering.web.home import NAMES_ON_A_PAGE, PROJECTS_ON_HOME, page_count
from wheelyard.settings.sections import IapSettings
from wheelyard.storage.base import ObjectVersion, WebType
from wheelyard.wiring.index import Index, build_index
from wheelyard.wiring.stores import DOCUMENT_CAPACITY

HTML: Final = b"text/html"
SIMPLE_JSON: Final = b"application/vnd.pypi.simple.v1+json"
ANY: Final = b"*/*"
NOT_FOUND: Final = "404.html"
"""The page that many web servers send for what they do not have."""
LISTS: Final = "-/projects/"
ANYONE: Final = Caller(ANONYMOUS, (Scope(Action.READ, (Pattern("*"),)),))
"""Somebody who is not signed in, and may read everything."""


class Question(Struct, frozen=True):
    """A page to ask for, and where it is in a site."""

    path: str
    """The path of the request, without the slash at its beginning."""
    accept: bytes
    leaf: str = ""
    """The name of the page's file if the path is that of a folder."""

    @property
    def target(self) -> str:
        """The path of the page in the site."""
        return f"{self.path}{self.leaf}"


class ExportedNames(ProjectNames):
    """The list of the projects of a site, instead of that in the store."""

    def __init__(self) -> None:
        self.show(())

    def show(self, names: Iterable[NormalizedName]) -> None:
        """Have these names, which are sorted, from now on."""
        listed = NameList(tuple(names))
        version = ObjectVersion(str(id(listed)))
        self._snapshot = Snapshot(listed, version, validated_at=0.0, attempted_at=0.0, size=0)

    def peek(self, max_age: MaxAge = "fresh") -> Snapshot[NameList]:
        """Return the list."""
        del max_age
        return self._snapshot

    def get(self) -> Snapshot[NameList]:
        """Return the list."""
        return self._snapshot

    def watch(self, version: ObjectVersion) -> Callable[[], bool]:
        """Return a function that tells whether this is still the list."""
        return lambda: self._snapshot.version == version


def project_questions(project: Listing, history: Iterable[int]) -> Iterator[Question]:
    """
    Yield the pages of a project, that of the project itself last.

    `history` has the numbers of the older pages of its history.
    """
    name, releases = project.name, releases_of(project)
    yield Question(f"simple/{name}/", HTML, INDEX)
    yield Question(f"simple/{name}/", SIMPLE_JSON, "index.json")
    if releases:
        yield Question(f"pypi/{name}/json", ANY)
    for release in releases:
        folder = f"project/{name}/{release.version}/"
        for selection in file_pages(release):
            yield Question(f"{folder}{selection.path}", HTML, INDEX)
        yield Question(folder, HTML, INDEX)
    for number in history:
        yield Question(f"project/{name}/history/{number}/", HTML, INDEX)
    yield Question(f"project/{name}/history/", HTML, INDEX)
    if not project.origin.is_upstream:
        yield Question(f"project/{name}/feed.xml", ANY)
    yield Question(f"project/{name}/", HTML, INDEX)


def history_path(name: str, number: int) -> str:
    """Return the path of an older page of the history of a project in a site."""
    return f"project/{name}/history/{number}/{INDEX}"


def name_questions(projects: int) -> Iterator[Question]:
    """Yield the lists of the names and statuses of so many projects."""
    pages = page_count(projects, NAMES_ON_A_PAGE) if projects > PROJECTS_ON_HOME else 0
    for number in range(pages, 0, -1):  # each links to the next
        yield Question(f"{LISTS}{number}/", HTML, INDEX)
    yield Question("simple/", HTML, INDEX)
    yield Question("simple/", SIMPLE_JSON, "index.json")


OVERVIEWS: Final = (
    Question("search.json", ANY),
    Question("feed.xml", ANY),
    Question("", HTML, INDEX),
)
"""The pages that any change may change."""


def index_for_site(index: Index, options: Options) -> Index:
    """Return the index over the same store whose pages are those of a site."""
    settings = index.settings
    settings = replace(
        settings,
        server=replace(settings.server, public_url=options.base_url, read_only=True),
        access=replace(settings.access, cookie_login=False),
        iap=IapSettings(),
        http=replace(settings.http, page_cache=0),
        upstream=replace(settings.upstream, enabled=options.has_public, offline=True),
    )
    kept = CachePolicy(is_local=False, freshness=inf, capacity=DOCUMENT_CAPACITY)
    store, traits = index.projects.store, index.traits
    return build_index(store, index.spool, settings, index.runtime, traits, documents=kept)


class SiteApplication:
    """
    Answers for the pages of a site, as an open index does.

    Args:
        index: The index as `index_for_site` returns it.
        options: How the site is made.
    """

    def __init__(self, index: Index, options: Options) -> None:
        self._table, self._names = FixedTable(index.search.reader), ExportedNames()
        projects = replace(index.projects, names=self._names)
        self.index = replace(index, search=self._table, projects=projects)
        self._root = f"{urlsplit(options.base_url).path}/"
        site = StaticSite(
            caller=ANYONE,
            files_url=options.files_url or FILES_FROM_DETAIL,
            files_url_from_root=options.files_url or f"{options.base_url}/files",
        )
        self._app = App(self.index, site=site)
        self._running = self._app.running()

    async def __aenter__(self) -> Self:
        await self._running.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._running.__aexit__(None, None, None)

    def show(self, table: ProjectTable) -> None:
        """Have these projects in lists, and link to them."""
        self._table.show(table)
        self._names.show(facts.name for facts in table.projects if not facts.origin)

    async def find(self, name: NormalizedName) -> OpenListing:
        """Return what the site shows of a project; raise WheelyardError if that is nothing."""
        return await self._app.find(name)

    async def required_names(self, listing: OpenListing) -> set[NormalizedName]:
        """Return the names of all projects that any release may need, once its pages were asked."""
        names = set[NormalizedName]()
        remembered = self._app.pages.load().required_names
        for release in releases_of(listing):
            metadata = ReleaseMetadata(listing, release.metadata_file, remembered)
            names |= await metadata.required_names()
        return names

    async def ask(self, question: Question) -> Page:
        """Return a page; raise WheelyardError if there is none."""
        response = await self._app.ask(f"/{question.path}", question.accept)
        if response.status != HTTPStatus.OK or not isinstance(response.body, bytes):
            raise Unavailable(f"The page /{question.path} has the status {response.status}.")
        content_type = dict(response.headers)[b"content-type"].decode("latin-1")
        kind = WebType(content_type, PAGE_CACHE_CONTROL)
        is_final = NO_STORE not in response.headers
        return Page(question.target, kind, response.body, is_final=is_final)

    async def fixed_pages(self) -> list[Page]:
        """Return what depends on the options alone, first the files that all pages load."""
        assets = load_assets(self.index.brand).values()
        pages = [
            Page(asset.path, WebType(asset.media_type, FILE_CACHE_CONTROL), asset.body)
            for asset in assets
        ]
        questions = [Question(path, ANY) for path in ("favicon.ico", "robots.txt", "health")]
        questions.append(Question("setup/", HTML, INDEX))
        pages += [await self.ask(question) for question in questions]
        kind = WebType("text/html; charset=utf-8", PAGE_CACHE_CONTROL)
        return [*pages, Page(NOT_FOUND, kind, self._app.not_found_page(self._root))]
