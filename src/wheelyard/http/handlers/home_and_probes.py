"""
Handlers of what is about no project: home, search, lists, probes and metrics.

The metrics say nothing about packages. So they are public if the server listens on a loopback
address, no proxy is configured, and none has forwarded the request. Otherwise they need
`metrics_token`, which is good for nothing else, or the right to administer.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from hmac import compare_digest
from math import inf
from typing import Final

from packaging.utils import NormalizedName, canonicalize_name

from wheelyard.api.download_operations import downloads_by_project
from wheelyard.errors import (
    RETRY_AFTER_SECONDS,
    Forbidden,
    Invalid,
    NoSuchPage,
    NotFound,
    Unauthenticated,
    Unavailable,
    WheelyardError,
)
from wheelyard.http.context import IndexRequest
from wheelyard.http.error_responses import error_response_for
from wheelyard.http.instrumentation import Instrumentation
from wheelyard.http.messages import (
    NO_STORE,
    Header,
    Response,
    make_response,
    redirect,
)
from wheelyard.http.page_cache import SEARCH
from wheelyard.http.representation import GZIP, accepts_gzip, compressed
from wheelyard.http.request_authentication import parse_authorization
from wheelyard.http.requests import has_forwarding_header
from wheelyard.http.responses import (
    HARMLESS,
    PUBLIC_FILE,
    VARY_ENCODING,
    load_projects,
    visibility_key,
)
from wheelyard.http.search_lookup import name_to_look_up
from wheelyard.operations.search.project_table import ProjectTable, VisibleProjects
from wheelyard.rendering.project_facts import ProjectFacts
from wheelyard.rendering.web.home_page import (
    PROJECTS_ON_A_PAGE,
    RESULTS_ON_A_PAGE,
    Excerpt,
    ListQuery,
    excerpt,
    home_page,
)
from wheelyard.rendering.web.page_numbers import page_count

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,6}", re.ASCII)

LOOKUP_SECONDS: Final = 3.0
"""How long a page of results waits for an upstream index."""
OFFERING_RESULTS: Final = 500
"""Of so many results, the best ones, a page offers classifiers to filter by."""


TEXT: Final = b"text/plain; charset=utf-8"
UPLOAD_URL_HELP: Final = b"""This is the upload URL of a wheelyard index. Give it to your client:

    twine upload --repository-url <this URL> dist/*
"""

HEALTHY: Final = b"Ok"
ROBOTS: Final = b"User-agent: *\nDisallow: /\n"
"""`/robots.txt`: search engines are to leave out every page."""
CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
ACCESS_HINT: Final = "Send the token that access.metrics_token has, as Bearer or as a password."

FOR_A_DAY: Final[Header] = (b"cache-control", b"public, max-age=86400")

_compressed = lru_cache(compressed)


def explain_upload_url(request: IndexRequest) -> Response:
    """
    Handle GET `/legacy/`, the upload URL: a text that says what the URL is for.

    Raises Forbidden if the index takes no uploads, without its layers: anybody may ask.
    """
    index = request.context.index
    if index.takes_uploads:
        return make_response(200, TEXT, UPLOAD_URL_HELP, NO_STORE)
    if index.settings.server.read_only:
        raise request.context.read_only()
    if index.definition.takes_uploads:
        index.uploads.require_uploads()
    code = "promotions_only" if index.definition.has_packages else "no_own_packages"
    message = "This index takes no uploads. Upload to the one that is to have the file."
    raise Forbidden(message, code=code)


def answer_home(request: IndexRequest) -> Response:
    """
    Handle GET `/` for a browser: the home page, or with `?q=` a page of what a search finds.

    With `?page=` and no words, redirect to that page of the list of all names.
    """
    words = (request.query_field("q") or "").strip()
    page = request.query_field("page")
    if words:
        return _answer_results(request, words, _page_number(page or "1"))
    if page is not None:
        return redirect(302, request.web.path("-", "projects", str(_page_number(page))))
    caller = request.caller
    viewer = request.web.index_viewer(request)
    table = load_projects(request.context)
    takes_uploads = request.context.index.takes_uploads

    def render() -> bytes:
        projects = table.readable_by(caller).projects
        environment = request.web.environment
        return home_page(environment, viewer, projects, takes_uploads=takes_uploads)

    key = ("home", viewer, visibility_key(caller), takes_uploads)
    version = str(table.generation)
    return request.web.respond(request, key, version, render, shows=((SEARCH, version),))


def answer_list(request: IndexRequest) -> Response:
    """Handle GET `/-/projects/<number>/`: a page of the projects that the caller may read."""
    number = _page_number(request.path_params["number"])
    query = _list_query(request)
    caller = request.caller
    viewer = request.web.index_viewer(request)
    table = load_projects(request.context)
    downloads, until = _downloads(request, query, table)

    def render() -> bytes:
        visible = table.readable_by(caller)
        selected = query.ordered(query.select(visible.projects), downloads)
        listed = excerpt(selected, number, PROJECTS_ON_A_PAGE)
        if listed is None:
            raise NoSuchPage(number, page_count(len(selected), PROJECTS_ON_A_PAGE))
        return request.web.environment.render(
            "projects.html",
            viewer,
            "../../../",
            listed=listed,
            query=query,
            counted=listed.counted,
            action="../1/",
            classifiers=visible.classifiers,
            downloads=downloads,
        )

    if query.classifier:  # of which there may be too many for a cache
        return request.web.uncached_page(request, render(), *request.web.headers(None, request))
    key = ("projects", number, query, viewer, visibility_key(caller))
    generation = str(table.generation)
    # until the downloads are counted again
    version = generation if until == inf else f"{generation} {until}"
    shows = ((SEARCH, generation),)
    return request.web.respond(request, key, version, render, shows=shows, until=until)


def _list_query(request: IndexRequest, words: str = "") -> ListQuery:
    counts_downloads = request.web.environment.counts_downloads
    return ListQuery.parse(request.query_field, words, counts_downloads=counts_downloads)


def _downloads(
    request: IndexRequest, query: ListQuery, table: ProjectTable
) -> tuple[Mapping[NormalizedName, int] | None, float]:
    """Return the downloads that a list is sorted by, if any, and until when, as `respond` wants."""
    counts = request.context.downloads
    if counts is None or query.sort != "downloads":
        return None, inf
    return downloads_by_project(counts, table, request.caller)


def _answer_results(request: IndexRequest, words: str, number: int) -> Response:
    """Return a page of what a search finds, which no cache keeps, as there are too many."""
    query = _list_query(request, words)
    table = load_projects(request.context)
    visible = table.readable_by(request.caller)
    downloads, _ = _downloads(request, query, table)
    matches = visible.search(words, 0, len(visible.projects)).projects
    selected = query.ordered(query.select(matches), downloads)
    listed = excerpt(selected, number, RESULTS_ON_A_PAGE)
    if listed is None:
        raise NoSuchPage(number, page_count(len(selected), RESULTS_ON_A_PAGE))
    # an upstream index is asked at most for the first page, and never for a name that is listed
    public = None
    unanswered = ""
    if number == 1 and not any(visible.named([canonicalize_name(words)])):
        try:
            public = _find_public(request, words)
        except (Unavailable, TimeoutError):
            unanswered = canonicalize_name(words)
    projects = listed.projects
    total = listed.total
    if public is not None and query.has(public):
        projects = query.ordered([public, *projects], downloads)
        total = total + 1
    is_missing = not (matches or public)
    values = {
        "words": words,
        "found": Excerpt(total, number, listed.pages, projects),
        "query": query,
        "action": "./",
        "counted": "",
        "classifiers": VisibleProjects(tuple(matches[:OFFERING_RESULTS])).classifiers,
        "downloads": downloads,
        "unanswered": unanswered,
        "similar": visible.similar(words) if is_missing else [],
    }
    body = request.web.environment.render(
        "results.html", request.web.index_viewer(request), "./", **values
    )
    return request.web.uncached_page(request, body, *request.web.headers(None, request))


def _find_public(request: IndexRequest, name: str) -> ProjectFacts | None:
    """
    Return the facts of a public project, looked up as its page would do it, or None.

    Nobody is told here that a name is private. Raises Unavailable or TimeoutError if no
    upstream index answers in time.
    """
    reader = request.context.upstream
    parsed = name_to_look_up(request, name)
    if reader is None or parsed is None:
        return None
    # no server without an upstream index needs it
    from wheelyard.upstream.search_facts import facts_of  # noqa: PLC0415

    try:
        with request.waiting_at_most(LOOKUP_SECONDS):
            listings = reader.find(parsed, request, may_refresh=False)
    except (Invalid, NotFound, Forbidden, Unauthenticated):
        return None
    if not listings or listings[0].origin.refusal:
        return None
    return facts_of(reader.upstream, listings, "")


def answer_asset(request: IndexRequest) -> Response:
    """Handle GET `/-/assets/<name>`: a file of the pages, whose digest is in its name."""
    by_name = {asset.name: asset for asset in request.web.environment.assets.values()}
    asset = by_name.get(request.path_params["asset"])
    if asset is None:
        message = "This page is of another version of the server. Load it again."
        raise NotFound(message)
    packed = _compressed(asset.body) if accepts_gzip(request.joined_headers) else None
    headers = (PUBLIC_FILE, VARY_ENCODING, HARMLESS, *(() if packed is None else (GZIP,)))
    return make_response(200, asset.media_type.encode(), packed or asset.body, *headers)


def answer_favicon(request: IndexRequest) -> Response:
    """Handle GET `/favicon.ico`, which browsers ask for by themselves."""
    icon = request.web.environment.assets["favicon.ico"]
    return make_response(200, icon.media_type.encode(), icon.body, FOR_A_DAY)


class Probes:
    """The readiness probe, and the metrics."""

    def __init__(self, observer: Instrumentation) -> None:
        self._observer = observer

    def ready(self, request: IndexRequest) -> Response:
        """
        Handle GET `/ready`, the readiness probe: 503 unless the store can be read and written.

        That means that the list of projects can be read, or is cached and not too old, and that a
        write has succeeded since the start, unless the server is read-only.
        """
        try:
            request.context.index.projects.names.get()
        except WheelyardError as error:
            request.context.process.store_errors.log(error)  # there may be no other requests
            return _not_ready("The store does not answer.", "storage_unavailable")
        reason = request.context.process.write_failure()
        if reason:
            message = f"No write to the store has succeeded since the server was started. {reason}"
            return _not_ready(message, "store_not_written")
        return make_response(200, TEXT, HEALTHY, NO_STORE)

    def is_allowed_without_login(self, request: IndexRequest) -> bool:
        """Return whether the metrics are public, or a request has the metrics token."""
        server = request.context.index.settings.server
        is_direct = not server.trusted_proxies and not has_forwarding_header(request.joined_headers)
        if server.is_loopback and is_direct:
            return True
        expected = request.context.index.settings.access.metrics_token.encode()
        header = request.joined_headers.get(b"authorization")
        if header is None or not expected:
            return False
        try:
            secrets = tuple(parse_authorization(header).halves)
        except WheelyardError:
            return False
        return any(compare_digest(secret.encode(), expected) for secret in secrets)

    def answer_metrics(self, request: IndexRequest) -> Response:
        """
        Handle GET `/metrics`: the metrics of all workers.

        Raises Unauthenticated or Forbidden unless they are public, or for the caller.
        """
        caller = request.caller
        if not self.is_allowed_without_login(request):
            if caller.is_anonymous:
                raise Unauthenticated(f"The metrics are not public. {ACCESS_HINT}")
            if not caller.administers_server:
                raise Forbidden(f"{caller.display_name} may not read the metrics. {ACCESS_HINT}")
        return make_response(200, CONTENT_TYPE, self._observer.render_metrics(), NO_STORE)


def _page_number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise NotFound("There is no page of this number. Follow a link of the index.")
    return int(text)


def health(_request: IndexRequest) -> Response:
    """Handle GET `/health`, the liveness probe: always 200."""
    return make_response(200, TEXT, HEALTHY, NO_STORE)


def _not_ready(message: str, code: str) -> Response:
    fault = Unavailable(message, code=code, retry_after=RETRY_AFTER_SECONDS)
    return error_response_for(fault)


def robots(_request: IndexRequest) -> Response:
    """Handle GET `/robots.txt`: search engines are to leave out every page."""
    return make_response(200, TEXT, ROBOTS, FOR_A_DAY)
