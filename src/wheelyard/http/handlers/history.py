"""Handlers of the history of a project, as people read it, and of the Atom feeds."""

from packaging.utils import NormalizedName

from wheelyard.errors import NotFound
from wheelyard.http.caching.versions import GRANTS, SEARCH, project_key
from wheelyard.http.page_responses import load_page, load_projects, page_response, visibility_key
from wheelyard.http.protocol.messages import MadeFrom, Request, Response, redirect
from wheelyard.http.protocol.representation import MediaType
from wheelyard.http.resolver import OpenListing, PrivateFiles
from wheelyard.http.web_pages import WebPages
from wheelyard.model.project import Project
from wheelyard.operations.decision_history import decision_history
from wheelyard.operations.latest_changes import CHANGED_PROJECTS, read_latest
from wheelyard.operations.project_history import HistoryReader, older_pages
from wheelyard.rendering.feeds import index_feed, project_feed
from wheelyard.rendering.web.history_page import HistoryLinks, decisions_page, history_page
from wheelyard.storage.base import ObjectVersion


def answer_history(request: Request, web: WebPages) -> Response:
    """
    Handle GET `/project/<name>/history/`, the newest page, and `/project/<name>/history/<number>/`.

    That of a public project is what was decided about it, on one page.
    """
    sent, name = request.path_params.get("number"), web.require_lookup(request)
    if name != request.path_params["name"]:
        number_sent = (sent,) if sent else ()
        path = web.path("project", name, "history", *number_sent, query=request.query_string)
        return redirect(301, path)
    listing, number = web.find(request, name), _parse_number(sent)
    if isinstance(listing.open, PrivateFiles):
        return _journal(request, web, listing, listing.open, number)
    if number is not None:
        raise _no_page()
    return _decisions(request, web, listing)


def _decisions(request: Request, web: WebPages, listing: OpenListing) -> Response:
    """Return the response with what was decided about a public project."""
    index, name, viewer = web.context.index, listing.name, web.viewer(request.caller)
    records = index.decisions
    document = records.get()

    def render() -> bytes:
        decisions, is_whole = decision_history(records, name, is_local=index.is_local)
        return decisions_page(web.environment, viewer, name, decisions, is_whole=is_whole)

    version = ObjectVersion(f"decisions {document.version}")
    key = ("decisions", name, viewer)
    return web.respond(request, key, version, render, listing=listing)


def _journal(
    request: Request, web: WebPages, listing: OpenListing, files: PrivateFiles, number: int | None
) -> Response:
    """
    Return the response with a page of the journal of a private project.

    Who may manage the project also sees on the newest page who got rights for it.
    """
    context, project, version = web.context, files.project, files.version
    index, name, viewer = context.index, project.name, web.viewer(request.caller, project.name)
    shows_access = viewer.may_manage and number is None
    shows: MadeFrom = ()
    if shows_access:
        access = index.access.records.get()
        version = ObjectVersion(f"{version} {access.version}")
        shows = ((GRANTS, access.version),)
    history = HistoryReader(index.projects, index.tokens.records, is_local=index.is_local)

    def render() -> bytes:
        part = history.newest(project) if number is None else history.older(project, number)
        entries = part.entries
        links = HistoryLinks(number, older_pages(project.revision))
        if shows_access:
            entries = history.with_access(part, project, index.access.records)
        return history_page(web.environment, viewer, name, links, entries, part.lost)

    return web.respond(
        request,
        ("history", name, number, viewer),
        version,
        render,
        listing=listing,
        shows=shows,
    )


def _parse_number(text: str | None) -> int | None:
    """Return the number of an older page, None for the newest; raise NotFound for other texts."""
    if text is None:
        return None
    if text.isascii() and text.isdecimal() and text[0] != "0" and len(text) <= 9:  # noqa: PLR2004 - of any journal
        return int(text)
    raise _no_page()


def _no_page() -> NotFound:
    return NotFound("A page of a history has a number, from 1.", short="No such page.")


def answer_feed(request: Request, web: WebPages) -> Response:
    """Handle GET `/feed.xml`: the newest releases and changes of all that the caller may read."""
    context, environment, caller = web.context, web.environment, request.caller
    index, table = context.index, load_projects(context)

    def load(name: NormalizedName) -> Project | None:
        return index.projects.load(name).value

    def render() -> bytes:
        newest = table.readable_by(caller).latest_changes(CHANGED_PROJECTS)
        names = [each.name for each in newest]
        entries = read_latest(load, names, is_local=index.is_local)
        return index_feed(environment.brand.name, environment.base_url, entries)

    key, version = ("feed of all", visibility_key(caller)), ObjectVersion(str(table.generation))
    page = load_page(context, request, key, version, render, web.headers(None, None))
    return page_response(request, page, MediaType.ATOM, ((SEARCH, version),))


def answer_project_feed(request: Request, web: WebPages) -> Response:
    """Handle GET `/project/<name>/feed.xml`: releases and changes of a project."""
    context, environment = web.context, web.environment
    name, index = web.require_reader(request), context.index
    if name != request.path_params["name"]:
        return redirect(301, f"{web.path('project', name)}feed.xml")
    project, version = context.require_project(name)

    def render() -> bytes:
        history = HistoryReader(index.projects, index.tokens.records, is_local=index.is_local)
        changes = history.newest(project).entries
        return project_feed(environment.brand.name, environment.base_url, project, changes)

    page = load_page(context, request, ("feed", name), version, render, web.headers(name, None))
    return page_response(request, page, MediaType.ATOM, ((project_key(name), version),))
