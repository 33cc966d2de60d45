"""Handlers of the history of a project, as people read it."""

from wheelyard.errors import NotFound
from wheelyard.http.caching.versions import GRANTS
from wheelyard.http.private_files import PrivateFiles
from wheelyard.http.protocol.messages import MadeFrom, Request, Response, redirect
from wheelyard.http.resolver import OpenListing
from wheelyard.http.web_pages import WebPages
from wheelyard.operations.decision_history import decision_history
from wheelyard.operations.project_history import HistoryReader, older_pages
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
