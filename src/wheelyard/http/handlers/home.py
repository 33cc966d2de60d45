"""Handlers of the home page, of the list of all projects, and of the results of a search."""

import re
from collections.abc import Mapping, Sequence
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
"""How many of the best results have their classifiers offered as filters."""
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,6}", re.ASCII)

Downloads = Mapping[NormalizedName, int]
"""The downloads of projects, by their names."""


def answer_home(request: IndexRequest) -> Response:
    """
    Handle GET `/` for a browser: the home page, or with `?q=` a page of search results.

    With `?page=` and no words, redirect to that page of the list of all projects. If an upstream
    index does not answer a search in time, the page says so. Raises NotFound if `page` is no
    number, and NoSuchPage if the results have no such page. Raises Invalid (code `invalid_field`)
    for an order or a filter that the form does not offer. Raises Unavailable if the store does not
    answer. Raises Waiting while an upstream index is asked.
    """
    words = (request.query_field("q") or "").strip()
    sent_number = request.query_field("page")
    if words:
        return _answer_results(request, words, _page_number(sent_number or "1"))
    if sent_number is not None:
        number = _page_number(sent_number)
        return redirect(302, request.web.path("-", "projects", str(number)))
    viewer = request.web.index_viewer(request)
    table = responses.load_projects(request.context)
    takes_uploads = request.context.index.takes_uploads
    render = partial(_render_home, request, viewer, table, takes_uploads=takes_uploads)
    # only callers who may read the same projects share a page
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

    The query sorts and filters the list. Raises NotFound if the number is malformed, and NoSuchPage
    if the list has no such page. Raises Invalid (code `invalid_field`) for an order or a filter
    that the form does not offer. Raises Unavailable if the store does not answer.
    """
    number = _page_number(request.path_params["number"])
    query = _list_query(request)
    viewer = request.web.index_viewer(request)
    table = responses.load_projects(request.context)
    downloads, until = _downloads_to_sort_by(request, query, table)
    render = partial(_render_list, request, viewer, table, query, number, downloads)
    # not cached, as there may be many classifiers
    if query.classifier:
        headers = request.web.headers(None, request)
        return request.web.uncached_page(request, render(), *headers)
    key = ("projects", number, query, viewer, responses.visibility_key(request.caller))
    generation = str(table.generation)
    version = generation
    # a page that is sorted by downloads changes when they are counted again
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
    selected_projects = query.ordered(query.select(visible.projects), downloads)
    excerpt = _require_excerpt(selected_projects, number, home_page.PROJECTS_ON_A_PAGE)
    return request.web.environment.render(
        "projects.html",
        viewer,
        "../../../",
        listed=excerpt,
        query=query,
        counted=excerpt.counted,
        action="../1/",
        classifiers=visible.classifiers,
        downloads=downloads,
    )


def _list_query(request: IndexRequest, words: str = "") -> home_page.ListQuery:
    """
    Return the order and the filters that a request asks for.

    Raises Invalid (code `invalid_field`) for a choice that the form above the list does not offer.
    """
    counts_downloads = request.web.environment.counts_downloads
    return home_page.ListQuery.parse(request.query_field, words, counts_downloads=counts_downloads)


def _downloads_to_sort_by(
    request: IndexRequest, query: home_page.ListQuery, table: ProjectTable
) -> tuple[Downloads | None, float]:
    """
    Return the downloads that a list is sorted by, and until when they are shown.

    The downloads are None for a list with another order. The time is on the monotonic clock.
    """
    counts = request.context.downloads
    if counts is None or query.sort != "downloads":
        return None, inf
    return downloads_by_project(counts, table, request.caller)


def _answer_results(request: IndexRequest, words: str, number: int) -> Response:
    """Return a page of search results, which is not cached, as there are too many searches."""
    query = _list_query(request, words)
    table = responses.load_projects(request.context)
    visible = table.readable_by(request.caller)
    downloads, _ = _downloads_to_sort_by(request, query, table)
    matches = visible.search(words, 0, len(visible.projects)).projects
    selected_projects = query.ordered(query.select(matches), downloads)
    excerpt = _require_excerpt(selected_projects, number, home_page.RESULTS_ON_A_PAGE)
    public_project: ProjectFacts | None = None
    unanswered_name = ""
    name = canonicalize_name(words)

    # an upstream index is asked at most for the first page, and never for a name that is listed
    is_listed = any(visible.named([name]))
    if number == 1 and not is_listed:
        try:
            public_project = _find_public(request, words)
        except (errors.Unavailable, TimeoutError):
            # the page has the results without it, and says which name it could not look up
            unanswered_name = name
    projects = excerpt.projects
    total = excerpt.total
    if public_project is not None and query.has(public_project):
        projects = query.ordered([public_project, *projects], downloads)
        total += 1
    similar_projects: list[ProjectFacts] = []
    if not matches and public_project is None:
        similar_projects = visible.similar(words)
    projects_with_filters = VisibleProjects(tuple(matches[:OFFERING_RESULTS]))
    body = request.web.environment.render(
        "results.html",
        request.web.index_viewer(request),
        "./",
        words=words,
        found=home_page.Excerpt(total, number, excerpt.pages, projects),
        query=query,
        action="./",
        counted="",
        classifiers=projects_with_filters.classifiers,
        downloads=downloads,
        unanswered=unanswered_name,
        similar=similar_projects,
    )
    return request.web.uncached_page(request, body, *request.web.headers(None, request))


def _require_excerpt(
    projects: Sequence[ProjectFacts], number: int, projects_on_a_page: int
) -> home_page.Excerpt:
    """Return the page `number` of a list, or raise NoSuchPage if the list has no such page."""
    excerpt = home_page.excerpt(projects, number, projects_on_a_page)
    if excerpt is None:
        raise errors.NoSuchPage(number, page_count(len(projects), projects_on_a_page))
    return excerpt


def _find_public(request: IndexRequest, name: str) -> ProjectFacts | None:
    """
    Return the facts of the public project of a name, or None if the caller is shown none.

    None does not tell a private name from an unused one. Raises Unavailable or TimeoutError if the
    upstream index does not answer in time. Raises Waiting while it is asked.
    """
    reader = request.context.upstream
    parsed_name = name_to_look_up(request, name)
    if reader is None or parsed_name is None:
        return None
    # not loaded on a server without an upstream index
    from wheelyard.upstream.search_facts import facts_of  # noqa: PLC0415

    try:
        with request.waiting_at_most(LOOKUP_SECONDS):
            listings = reader.find(parsed_name, request, may_refresh=False)
    except (errors.Invalid, errors.NotFound, errors.Forbidden, errors.Unauthenticated):
        return None
    if not listings or listings[0].origin.refusal:
        return None
    return facts_of(reader.upstream, listings, "")


def _page_number(text: str) -> int:
    """Return the number of a page of a list, or raise NotFound if the text is no number."""
    if not _NUMBER.fullmatch(text):
        raise errors.NotFound("There is no page of this number. Follow a link of the index.")
    return int(text)
