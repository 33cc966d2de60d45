"""Handlers of the pages about the index: home, set-up, search results, lists of names."""

import re
from typing import Final

from packaging.utils import canonicalize_name

from wheelyard.errors import Forbidden, Invalid, NotFound, Unauthenticated, Unavailable
from wheelyard.http.context import ServerContext
from wheelyard.http.page_cache import SEARCH
from wheelyard.http.page_responses import load_projects, visibility_key
from wheelyard.http.protocol.messages import Request, Response, make_response, redirect
from wheelyard.http.protocol.representation import MediaType
from wheelyard.http.web_pages import WebPages
from wheelyard.model.distribution_filename import parse_name
from wheelyard.rendering.project_facts import ProjectFacts
from wheelyard.rendering.web.home import (
    LATEST_UPLOADS,
    NAMES_ON_A_PAGE,
    RESULTS_ON_A_PAGE,
    Excerpt,
    excerpt,
    home_page,
    page_count,
    setup_page,
)
from wheelyard.storage.base import ABSENT

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,6}", re.ASCII)

LOOKUP_SECONDS: Final = 3.0
"""How long a page of results waits for an upstream index."""


def answer_home(request: Request, web: WebPages) -> Response:
    """
    Handle GET `/` for a browser: the home page, or with `?q=` a page of what a search finds.

    With `?page=` and no words, redirect to that page of the list of all names.
    """
    words = (request.query_field("q") or "").strip()
    page = request.query_field("page")
    if words:
        return _answer_results(request, web, words, _page_number(page or "1"))
    if page is not None:
        return redirect(302, web.path("-", "projects", str(_page_number(page))))
    caller, viewer, table = request.caller, web.viewer(request.caller), load_projects(web.context)

    def render() -> bytes:
        visible = table.readable_by(caller)
        latest = visible.latest_uploads(LATEST_UPLOADS)
        return home_page(web.environment, viewer, visible.projects, latest)

    key, version = ("home", viewer, visibility_key(caller)), str(table.generation)
    return web.respond(request, key, version, render, shows=((SEARCH, version),))


def answer_setup(request: Request, web: WebPages) -> Response:
    """Handle GET `/setup/` for a browser: the settings of each client for this index."""
    can_publish = not web.context.index.settings.server.read_only
    viewer = web.viewer(request.caller)

    def render() -> bytes:
        return setup_page(web.environment, viewer, can_publish=can_publish)

    # it is made from no document, and so from no version of one
    return web.respond(request, ("setup", viewer), ABSENT, render)


def answer_list(request: Request, web: WebPages) -> Response:
    """Handle GET `/-/projects/<number>/`: a page of the names that the caller may read."""
    number = _page_number(request.path_params["number"])
    caller, viewer, table = request.caller, web.viewer(request.caller), load_projects(web.context)

    def render() -> bytes:
        listed = excerpt(table.readable_by(caller).projects, number, NAMES_ON_A_PAGE)
        if listed is None:
            raise _no_page(number)
        return web.environment.render("projects.html", viewer, "../../../", listed=listed)

    key, version = ("projects", number, viewer, visibility_key(caller)), str(table.generation)
    return web.respond(request, key, version, render, shows=((SEARCH, version),))


def _answer_results(request: Request, web: WebPages, words: str, number: int) -> Response:
    """Return a page of what a search finds; it is not cached, as there are too many of them."""
    visible = load_projects(web.context).readable_by(request.caller)
    start = (number - 1) * RESULTS_ON_A_PAGE
    found = visible.search(words, start, start + RESULTS_ON_A_PAGE)
    pages = page_count(found.total, RESULTS_ON_A_PAGE)
    if number > pages:
        raise _no_page(number)
    public, unanswered = None, ""
    if number == 1 and not visible.known([canonicalize_name(words)]):
        try:
            public = _find_public(request, web.context, words)
        except (Unavailable, TimeoutError):
            unanswered = canonicalize_name(words)
    projects = found.projects if public is None else [public, *found.projects]
    shown = Excerpt(projects, found.total + (public is not None), number, pages)
    values = {"words": words, "found": shown, "unanswered": unanswered}
    body = web.environment.render("results.html", web.viewer(request.caller), "./", **values)
    headers = web.headers(None, request.caller)
    return make_response(200, MediaType.HTML.value.content_type, body, *headers)


def _page_number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise NotFound("There is no page of this number. Follow a link of the index.")
    return int(text)


def _no_page(number: int) -> NotFound:
    return NotFound(f"There is no page {number}. Go to the first one: its number is 1.")


def _find_public(request: Request, context: ServerContext, name: str) -> ProjectFacts | None:
    """
    Return the facts of a public project, looked up as its page would do it; None without one.

    Nobody is told here that a name is private. Raises Unavailable or TimeoutError if no upstream
    index answers in time.
    """
    reader = context.upstream
    if reader is None or reader.upstream.config.offline:  # then the search knows all that there is
        return None
    # no server without an upstream index needs it
    from wheelyard.upstream.search_facts import facts_of  # noqa: PLC0415

    try:
        parsed = parse_name(name)
        context.read_policy.require_lookup(request.caller, parsed)
        with request.waiting_at_most(LOOKUP_SECONDS):
            listing = reader.find(parsed, request, may_refresh=False)
    except (Invalid, NotFound, Forbidden, Unauthenticated):
        return None
    if listing is None or listing.origin.refusal:
        return None
    return facts_of(reader.upstream, listing, "")
