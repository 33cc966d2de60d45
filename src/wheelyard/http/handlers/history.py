"""Handlers of the history of a project, as people read it, and of the Atom feeds."""

import re
from math import inf
from typing import Final

from wheelyard.errors import NotFound
from wheelyard.http import resolver
from wheelyard.http.caching.versions import GRANTS, SEARCH, project_key
from wheelyard.http.page_responses import load_projects, page_response, visibility_key
from wheelyard.http.protocol.messages import MadeFrom, Request, Response, redirect
from wheelyard.http.protocol.representation import MediaType
from wheelyard.http.resolver import OpenListing, PrivateFiles
from wheelyard.http.web_pages import WebPages
from wheelyard.model.project import Project
from wheelyard.operations.decision_history import decision_history
from wheelyard.operations.latest_changes import CHANGED_PROJECTS, read_latest
from wheelyard.operations.project_history import HistoryReader, older_pages
from wheelyard.rendering.feeds import index_feed, project_feed
from wheelyard.rendering.web.history_page import (
    History,
    HistoryLinks,
    change_by,
    changes_of,
)

_NUMBER: Final = re.compile("[1-9][0-9]{0,8}", re.ASCII)


def answer_history(request: Request, web: WebPages) -> Response:
    """
    Handle GET `/project/<name>/history/`, the newest page, and `/project/<name>/history/<number>/`.

    That of a public project is what was decided about it, on one page.
    """
    sent, name = request.path_params.get("number"), web.require_lookup(request)
    if name != request.path_params["name"]:
        path = ("project", name, "history", *filter(None, (sent,)))
        return redirect(301, web.path(*path, query=request.query_string))
    listing = resolver.find(web.context, name, request)
    is_private = isinstance(listing.open, PrivateFiles)
    if sent is not None and not (is_private and _NUMBER.fullmatch(sent)):
        raise NotFound("A page of a history has a number, from 1.")
    if isinstance(listing.open, PrivateFiles):
        number = None if sent is None else int(sent)
        return _journal(request, web, listing, listing.open.project, number)
    return _decisions(request, web, listing)


def _decisions(request: Request, web: WebPages, listing: OpenListing) -> Response:
    """Return the response with what was decided about a public project."""
    index, name, viewer = web.context.index, listing.name, web.viewer(request.caller)
    version = f"decisions {index.decisions.get().version}"

    def render() -> bytes:
        decisions, is_whole = decision_history(index.decisions, name)
        changes = [change_by(decision) for decision in decisions]
        page = History(name=name, changes=changes, is_public=True, is_whole=is_whole)
        return web.environment.render("history.html", viewer, page.links.root, history=page)

    return web.respond(request, ("decisions", name, viewer), version, render, listing=listing)


def _journal(
    request: Request, web: WebPages, listing: OpenListing, project: Project, number: int | None
) -> Response:
    """
    Return the response with a page of the journal of a private project.

    Who may manage the project also sees on the newest page who got rights for it.
    """
    index, name, version = web.context.index, project.name, listing.version
    viewer, shows = web.viewer(request.caller, name), MadeFrom()
    if viewer.may_manage and number is None:
        access = index.access.records.get()
        version, shows = f"{version} {access.version}", ((GRANTS, access.version),)

    def render() -> bytes:
        history = HistoryReader(index.projects, index.tokens.records)
        part = history.read(project, number)
        entries = part.entries
        if shows:
            entries = history.with_access(part, project, index.access.records)
        links = HistoryLinks(number, older_pages(project.revision))
        page = History(name=name, changes=changes_of(entries), links=links, lost=part.lost)
        return web.environment.render("history.html", viewer, links.root, history=page)

    key = ("history", name, number, viewer)
    return web.respond(request, key, version, render, listing=listing, shows=shows)


def answer_feed(request: Request, web: WebPages) -> Response:
    """Handle GET `/feed.xml`: the newest releases and changes of all that the caller may read."""
    index, caller, table = web.context.index, request.caller, load_projects(web.context)

    def render() -> bytes:
        newest = table.readable_by(caller).latest_changes(CHANGED_PROJECTS)
        names = [facts.name for facts in newest]
        entries = read_latest(index.projects, names, is_local=index.is_local)
        return index_feed(web.environment.brand.name, web.environment.base_url, entries)

    key, version = ("feed of all", visibility_key(caller)), str(table.generation)
    page, made_from = (MediaType.ATOM, key, version, render), ((SEARCH, version),)
    headers = web.headers(None, None)
    return page_response(web.context, request, *page, repeats=(made_from, inf), headers=headers)


def answer_project_feed(request: Request, web: WebPages) -> Response:
    """Handle GET `/project/<name>/feed.xml`: releases and changes of a project."""
    name, index = web.require_reader(request), web.context.index
    if name != request.path_params["name"]:
        return redirect(301, f"{web.path('project', name)}feed.xml")
    project, version = web.context.require_project(name)

    def render() -> bytes:
        history = HistoryReader(index.projects, index.tokens.records)
        changes = history.read(project).entries
        return project_feed(web.environment.brand.name, web.environment.base_url, project, changes)

    page = (MediaType.ATOM, ("feed", name), version, render)
    made_from, headers = ((project_key(name), version),), web.headers(name, None)
    return page_response(web.context, request, *page, repeats=(made_from, inf), headers=headers)
