"""Handlers of the home page, of the lists of all projects, and of pages of results of a search."""

import re
from collections.abc import Mapping
from functools import partial
from math import inf
from typing import Final

from packaging.utils import NormalizedName, canonicalize_name

from wheelyard import errors
from wheelyard.api.download_operations import downloads_by_project
from wheelyard.http import responses
from wheelyard.http.context import IndexRequest
from wheelyard.http.messages import Response, redirect
from wheelyard.http.page_cache import SEARCH
from wheelyard.http.search_lookup import name_to_look_up
from wheelyard.operations.search.project_table import ProjectTable, VisibleProjects
from wheelyard.rendering.project_facts import ProjectFacts
from wheelyard.rendering.web import home_page
from wheelyard.rendering.web.page_numbers import page_count
from wheelyard.rendering.web.viewer import Viewer

LOOKUP_SECONDS: Final = 3.0
"""How long a page of results waits for an upstream index."""
OFFERING_RESULTS: Final = 500
"""Of so many results, the best ones, a page offers classifiers to filter by."""
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,6}", re.ASCII)

Downloads = Mapping[NormalizedName, int]
"""The downloads of projects, by their names."""


def answer_home(request: IndexRequest) -> Response:
    """
    Handle GET `/` for a browser: the home page, or with `?q=` a page of what a search finds.

    With `?page=` and no words, redirect to that page of the list of all names. An upstream index
    that does not answer a search in time is told on the page. Raises NotFound if `page` is no
    number, and NoSuchPage if the search has no such page. Raises Invalid (code `invalid_field`) for
    an order or a filter that the form does not offer. Raises Unavailable if the store does not
    answer. Raises Waiting while an upstream index is asked.
    """
    words = (request.query_field("q") or "").strip()
    page = request.query_field("page")
    if words:
        return _answer_results(request, words, _page_number(page or "1"))
    if page is not None:
        return redirect(302, request.web.path("-", "projects", str(_page_number(page))))
    viewer = request.web.index_viewer(request)
    table = responses.load_projects(request.context)
    takes_uploads = request.context.index.takes_uploads
    render = partial(_render_home, request, viewer, table, takes_uploads=takes_uploads)
    # whoever may read other projects gets a page of their own
    key = ("home", viewer, responses.visibility_key(request.caller), takes_uploads)
    version = str(table.generation)
    return request.web.respond(request, key, version, render, shows=((SEARCH, version),))


def _render_home(
    request: IndexRequest, viewer: Viewer, table: ProjectTable, *, takes_uploads: bool
) -> bytes:
    """Return the bytes of the home page, with the projects that the caller may read."""
    projects = table.readable_by(request.caller).projects
    return home_page.home_page(
        request.web.environment, viewer, projects, takes_uploads=takes_uploads
    )


def answer_list(request: IndexRequest) -> Response:
    """
    Handle GET `/-/projects/<number>/`: a page of the projects that the caller may read.

    The query sorts and filters them. Raises NotFound if the number is none, and NoSuchPage if the
    list has no such page. Raises Invalid (code `invalid_field`) for an order or a filter that the
    form does not offer. Raises Unavailable if the store does not answer.
    """
    number = _page_number(request.path_params["number"])
    query = _list_query(request)
    viewer = request.web.index_viewer(request)
    table = responses.load_projects(request.context)
    downloads, until = _downloads(request, query, table)
    render = partial(_render_list, request, viewer, table, query, number, downloads)
    # there may be too many classifiers for a cache
    if query.classifier:
        headers = request.web.headers(None, request)
        return request.web.uncached_page(request, render(), *headers)
    key = ("projects", number, query, viewer, responses.visibility_key(request.caller))
    generation = str(table.generation)
    version = generation
    # a page that is sorted by downloads is another one once these are counted again
    if until != inf:
        version = f"{generation} {until}"
    shows = ((SEARCH, generation),)
    return request.web.respond(request, key, version, render, shows=shows, until=until)


def _render_list(
    request: IndexRequest,
    viewer: Viewer,
    table: ProjectTable,
    query: home_page.ListQuery,
    number: int,
    downloads: Downloads | None,
) -> bytes:
    """
    Return the bytes of the page `number` of a list of projects.

    Raises NoSuchPage if the list has no page of this number.
    """
    visible = table.readable_by(request.caller)
    selected = query.ordered(query.select(visible.projects), downloads)
    listed = home_page.excerpt(selected, number, home_page.PROJECTS_ON_A_PAGE)
    if listed is None:
        raise errors.NoSuchPage(number, page_count(len(selected), home_page.PROJECTS_ON_A_PAGE))
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


def _list_query(request: IndexRequest, words: str = "") -> home_page.ListQuery:
    """
    Return how a request wants a list sorted and filtered.

    Raises Invalid (code `invalid_field`) for a choice that the form above the list does not offer.
    """
    counts_downloads = request.web.environment.counts_downloads
    return home_page.ListQuery.parse(request.query_field, words, counts_downloads=counts_downloads)


def _downloads(
    request: IndexRequest, query: home_page.ListQuery, table: ProjectTable
) -> tuple[Downloads | None, float]:
    """
    Return the downloads that a list is sorted by, and until when they count.

    They are None for a list that is sorted by something else. The time is on the monotonic clock.
    """
    counts = request.context.downloads
    if counts is None or query.sort != "downloads":
        return None, inf
    return downloads_by_project(counts, table, request.caller)


def _answer_results(request: IndexRequest, words: str, number: int) -> Response:
    """Return a page of what a search finds. No cache keeps it, as there are too many."""
    query = _list_query(request, words)
    table = responses.load_projects(request.context)
    visible = table.readable_by(request.caller)
    downloads, _ = _downloads(request, query, table)
    matches = visible.search(words, 0, len(visible.projects)).projects
    selected = query.ordered(query.select(matches), downloads)
    listed = home_page.excerpt(selected, number, home_page.RESULTS_ON_A_PAGE)
    if listed is None:
        raise errors.NoSuchPage(number, page_count(len(selected), home_page.RESULTS_ON_A_PAGE))
    public = None
    unanswered = ""
    name = canonicalize_name(words)

    # an upstream index is asked at most for the first page, and never for a name that is listed
    if number == 1 and not any(visible.named([name])):
        try:
            public = _find_public(request, words)
        except (errors.Unavailable, TimeoutError):
            # the page shows what the index itself has, and says which name it could not look up
            unanswered = name
    projects = listed.projects
    total = listed.total
    if public is not None and query.has(public):
        projects = query.ordered([public, *projects], downloads)
        total += 1
    similar: list[ProjectFacts] = []
    if not matches and public is None:
        similar = visible.similar(words)
    offering = VisibleProjects(tuple(matches[:OFFERING_RESULTS]))
    body = request.web.environment.render(
        "results.html",
        request.web.index_viewer(request),
        "./",
        words=words,
        found=home_page.Excerpt(total, number, listed.pages, projects),
        query=query,
        action="./",
        counted="",
        classifiers=offering.classifiers,
        downloads=downloads,
        unanswered=unanswered,
        similar=similar,
    )
    return request.web.uncached_page(request, body, *request.web.headers(None, request))


def _find_public(request: IndexRequest, name: str) -> ProjectFacts | None:
    """
    Return the facts of a public project, looked up as its page would do it, or None.

    Nobody is told here that a name is private. Raises Unavailable or TimeoutError if no
    upstream index answers in time. Raises Waiting while one is asked.
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
    # all of them look the same, so that no answer tells a private name from one that nobody has
    except (errors.Invalid, errors.NotFound, errors.Forbidden, errors.Unauthenticated):
        return None
    if not listings or listings[0].origin.refusal:
        return None
    return facts_of(reader.upstream, listings, "")


def _page_number(text: str) -> int:
    """Return the number of a page of a list, or raise NotFound if a text is none."""
    if not _NUMBER.fullmatch(text):
        raise errors.NotFound("There is no page of this number. Follow a link of the index.")
    return int(text)
