"""
The application that is asked for the pages of a static site.

It is the application of an open index, for a caller who is not signed in, may read everything, and
may change nothing. It asks no upstream index. A document that was read once stays as it was until
the export reads it again, so all pages of a project are made from one state of its document.
"""

from asyncio import new_event_loop, run_coroutine_threadsafe
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from math import inf
from threading import Thread
from typing import Final, ParamSpec, TypeVar, cast
from urllib.parse import urlsplit

from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog.document_cache import CachePolicy, MaxAge, Snapshot
from wheelyard.catalog.projects import NameList, ProjectNames
from wheelyard.errors import Unavailable
from wheelyard.exporting.site_folder import Options
from wheelyard.exporting.site_pages import (
    FILE_CACHE_CONTROL,
    FIXED_PAGES,
    HOST_PAGES,
    PAGE_CACHE_CONTROL,
    Page,
    Question,
)
from wheelyard.http.context import IndexRequest, StaticSite
from wheelyard.http.context_building import build_context
from wheelyard.http.instrumentation import Instrumentation
from wheelyard.http.messages import NO_STORE, Message, Request, Response, Waiting
from wheelyard.http.resolver import OpenListing, find_for_installer
from wheelyard.http.routes import build_routes
from wheelyard.http.upload_handler import UploadHandler
from wheelyard.http.web_pages import ReleaseMetadata, WebPages
from wheelyard.model.access import ANONYMOUS, Action, Caller, everywhere
from wheelyard.operations.check_store import always_writable
from wheelyard.operations.search.project_table import ProjectTable
from wheelyard.operations.search.search_index import FixedTable
from wheelyard.rendering.project_facts import releases_of
from wheelyard.rendering.web.home_page import ErrorFacts
from wheelyard.settings.sections import IapSettings, TelemetrySettings
from wheelyard.storage.base import ObjectVersion, WebType
from wheelyard.wiring.build import build_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import DOCUMENT_CAPACITY

P = ParamSpec("P")
T = TypeVar("T")

ANYONE: Final = Caller(ANONYMOUS, (everywhere(Action.READ),))
"""Somebody who is not signed in, and may read everything."""
NOT_FOUND: Final = "404.html"
"""The page that many web servers send with the status 404."""


def index_for_site(index: Index, options: Options) -> Index:
    """
    Return an index over the same store, whose pages are those of a site.

    This index takes no changes, asks no upstream index, and keeps each document as it was read
    first. `SiteApplication.close` closes it. Raises NotFound if `index` was removed meanwhile, and
    Unavailable if the store does not answer.
    """
    settings = index.server.settings

    # the site of another index is a folder in the site of main
    base_url = options.base_url.removesuffix(index.definition.segment)
    is_part = not index.definition.is_main
    has_public = options.has_public or (is_part and settings.upstream.is_on)

    # a site cannot sign people in, take changes, or ask upstream indexes
    settings = replace(
        settings,
        server=replace(settings.server, public_url=base_url, path_prefix="", read_only=True),
        access=replace(settings.access, cookie_login=False),
        iap=IapSettings(),
        telemetry=TelemetrySettings(),
        http=replace(settings.http, page_cache=0),
        upstream=replace(settings.upstream, enabled=has_public, offline=True),
    )

    # a document stays as it was read: all pages of a project are made from one state of it
    policy = CachePolicy(is_local=False, freshness=inf, capacity=DOCUMENT_CAPACITY)
    site_index = build_index(
        index.server.stores,
        index.server.spool,
        settings,
        index.server.runtime,
        index.server.traits,
        documents=policy,
    )
    return site_index.named(index.name)


class ExportedNames(ProjectNames):
    """The list of the projects of a site, in place of the list in the store."""

    def __init__(self) -> None:
        self.show(())

    def show(self, names: Iterable[NormalizedName]) -> None:
        """Let the list have these names, which are sorted, from now on."""
        name_list = NameList(tuple(names))
        version = ObjectVersion(str(id(name_list)))
        self._snapshot = Snapshot(name_list, version, validated_at=0.0, attempted_at=0.0, size=0)

    def peek(self, max_age: MaxAge = "fresh") -> Snapshot[NameList]:
        """Return the list."""
        del max_age
        return self._snapshot

    def get(self) -> Snapshot[NameList]:
        """Return the list."""
        return self._snapshot


class SiteApplication:
    """
    Makes the pages of a site, as an open index answers requests.

    Threads may share it. It has a thread of its own until `close`.

    Args:
        index: The index that `index_for_site` has returned.
        options: How the site is made.
        indexes: The names of the indexes that have a folder in the site.
    """

    def __init__(self, index: Index, options: Options, indexes: tuple[str, ...]) -> None:
        self._table = FixedTable(index.search.reader, index.changes)
        self._names = ExportedNames()
        repository = replace(index.repository, table=self._table)
        self.index = replace(index, search=self._table, fixed_repository=repository)
        self._root = f"{urlsplit(options.base_url).path}/"
        site = StaticSite(
            caller=ANYONE, names=self._names, indexes=indexes, files_url=options.files_url
        )
        self._context = build_context(self.index, always_writable, site)
        self._web = WebPages(self._context)
        metrics = Instrumentation(self.index)
        uploads = UploadHandler(self.index.server)
        tables = build_routes(self._context.process, uploads, metrics)
        self._routes = tables.of(self.index.definition)
        # pages are made in the threads of callers, and coroutines that they wait for in this thread
        self._loop = new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop all threads and processes that make answers, and close the upstream indexes."""
        if self.index.upstream is not None:
            self.index.upstream.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._context.process.close()

    def show(self, table: ProjectTable) -> None:
        """Let lists have the projects of a table, and pages link to them, from now on."""
        self._table.show(table)
        private_names = [facts.name for facts in table.projects if not facts.origin]
        self._names.show(private_names)

    def find(self, name: NormalizedName) -> OpenListing:
        """
        Return the listing of a project: of the index, of a layer, or of an upstream index.

        The listing may be empty for a private name without a project. Raises NotFound if the site
        has no such project. Raises Unavailable if the store does not answer, or a document is
        damaged.
        """
        request = self._request(f"/simple/{name}/", b"", {"name": name})
        context = self._context
        return self._answer(request, find_for_installer, context, name, request, may_refresh=False)

    def required_names(self, listing: OpenListing) -> set[NormalizedName]:
        """
        Return the names of all projects that the releases of a listing require.

        The pages of the listing have to be asked for before. A release whose metadata is not known
        requires nothing. Raises Unavailable if the store does not answer.
        """
        names = set[NormalizedName]()
        request = self._request("/", b"", {})
        cache = self._web.required_names
        for release in releases_of(listing):
            metadata = ReleaseMetadata(request, listing, release.metadata_file)
            names |= self._answer(request, metadata.required_names, cache)
        return names

    def ask(self, question: Question) -> Page:
        """
        Return the page that answers a question.

        Raises the errors of the handler, such as NotFound. Raises Unavailable if the store does not
        answer, or if the handler returns a file, or another status than 200, also 404.
        """
        path = f"/{question.path}"
        match = self._routes.find(path, "GET")
        assert match is not None  # noqa: S101 - the path of each question has a route
        route, params = match
        request = self._request(path, question.accept, params)
        handler = cast("Callable[[IndexRequest], Response]", route.handler)
        response = self._answer(request, handler, request)
        if response.status_code != HTTPStatus.OK or not isinstance(response.content, bytes):
            raise Unavailable(f"The page /{question.path} has the status {response.status_code}.")
        headers = dict(response.header_list)
        content_type = headers[b"content-type"].decode("latin-1")
        kind = WebType(content_type, PAGE_CACHE_CONTROL)
        is_final = NO_STORE not in response.header_list
        return Page(question.target, kind, response.content, is_final=is_final)

    def fixed_pages(self) -> list[Page]:
        """
        Return the pages that depend on the options alone, after the files that all pages load.

        The site of main also has the pages of its host. Raises Unavailable if the store does not
        answer.
        """
        pages = list[Page]()
        # the files first: a page may be read as soon as it is written, and links to these files
        for asset in self._web.environment.assets.values():
            kind = WebType(asset.media_type, FILE_CACHE_CONTROL)
            pages.append(Page(asset.path, kind, asset.body))
        # not for another index, whose site is a folder in the site of main
        if self.index.definition.is_main:
            pages += map(self.ask, HOST_PAGES)
        pages += map(self.ask, FIXED_PAGES)
        message = "There is nothing at this address."
        facts = ErrorFacts(status=404, code="not_found", phrase="Not Found", message=message)
        # web servers send it for paths of any depth, so its links begin at the root of the host
        request = self._request("/", b"", {})
        not_found_page = self._web.error_page(facts, self._root, request)[0]
        kind = WebType("text/html; charset=utf-8", PAGE_CACHE_CONTROL)
        pages.append(Page(NOT_FOUND, kind, not_found_page))
        return pages

    def _request(self, path: str, accept: bytes, params: Mapping[str, str]) -> IndexRequest:
        """Return a GET request that no client has sent, without a credential."""
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": b"",
            "headers": [(b"accept", accept)],
            "path_params": dict(params),
        }
        request = IndexRequest(scope, _no_body, {b"accept": accept}, ANYONE, "")
        request.context = self._context
        request.web = self._web
        return request

    def _answer(
        self, request: Request, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """
        Return the result of `work`, which may wait for a kept page of an upstream index.

        `work` is called again after each wait, as the server calls a handler again.
        """
        while True:
            try:
                return work(*args, **kwargs)
            except Waiting as waiting:
                run_coroutine_threadsafe(request.finish_waiting(waiting), self._loop).result()


async def _no_body() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}
