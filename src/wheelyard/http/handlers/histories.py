"""Handlers of the history of a project, and of the Atom feeds."""

import re
from collections.abc import Sequence
from functools import partial
from typing import Final

from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.errors import NotFound
from wheelyard.http import resolver
from wheelyard.http.context import IndexContext, IndexRequest
from wheelyard.http.messages import MadeFrom, Response, redirect
from wheelyard.http.page_cache import GRANTS, PUBLISHERS, SEARCH
from wheelyard.http.representation import MediaType
from wheelyard.http.resolver import OpenListing, PrivateFiles, find_private
from wheelyard.http.responses import load_projects, page_response, visibility_key
from wheelyard.model.project import NO_JSON, Project
from wheelyard.model.project_json import JournalEntry
from wheelyard.operations.journal_reader import (
    CHANGED_PROJECTS,
    HistoryReader,
    decision_history,
    older_pages,
    read_latest,
)
from wheelyard.rendering.feeds import index_feed, project_feed
from wheelyard.rendering.web.project_pages import (
    History,
    HistoryLinks,
    change_by,
    changes_of,
    known_to,
)
from wheelyard.repository.found_project import FoundProject

_NUMBER: Final = re.compile("[1-9][0-9]{0,8}", re.ASCII)


def answer_history(request: IndexRequest) -> Response:
    """
    Handle GET `/project/<name>/history/` and `/project/<name>/history/<number>/`.

    Without a number it is the newest page. That of a public project is what was decided about
    it, on one page.
    """
    sent = request.path_params.get("number")
    name = request.web.require_lookup(request)
    if name != request.path_params["name"]:
        path = ("project", name, "history", *filter(None, (sent,)))
        return redirect(301, request.web.path(*path, query=request.query_string))
    listing = resolver.find(request.context, name, request)
    is_private = isinstance(listing.open, PrivateFiles)
    if sent is not None and not (is_private and _NUMBER.fullmatch(sent)):
        raise NotFound("A page of a history has a number, from 1.")
    if isinstance(listing.open, PrivateFiles):
        number = None if sent is None else int(sent)
        return _journal(request, listing, listing.open.first, number)
    return _decisions(request, listing)


def _decisions(request: IndexRequest, listing: OpenListing) -> Response:
    """Return the response with what was decided about a public project."""
    index = request.context.index
    name = listing.name
    viewer = request.web.index_viewer(request)
    version = f"decisions {index.server.decisions.get().version}"

    def render() -> bytes:
        decisions, is_whole = decision_history(index.server.decisions, name)
        changes = [change_by(decision) for decision in decisions]
        page = History(name=name, changes=changes, is_public=True, is_whole=is_whole)
        return page.render(request.web.environment, viewer)

    return request.web.respond(
        request, ("decisions", name, viewer), version, render, listing=listing
    )


def _journal(
    request: IndexRequest, listing: OpenListing, source: FoundProject, number: int | None
) -> Response:
    """
    Return the response with a page of the journal of a private project.

    Who may manage the project also sees on the newest page who got rights for it.
    """
    project = source.project
    version = listing.version
    name = project.name
    catalog = request.context.index.catalog
    viewer = request.web.index_viewer(request, name if listing.origin.is_own else None)
    viewer = request.web.with_places(request, viewer, name)
    shows = MadeFrom()
    # whoever may manage has another `Viewer`, and so another page in the cache
    if viewer.may_manage and number is None:
        access, publishers = (records.get().version for records in catalog.rights)
        version = f"{version} {access} {publishers}"
        shows = ((GRANTS, access), (PUBLISHERS, publishers))

    def render() -> bytes:
        history = HistoryReader(source.projects, catalog.token_records)
        part = history.read(project, number)
        entries = part.entries
        if shows:
            here = request.context.index.definition.name
            entries = history.with_rights(part, project, here, *catalog.rights)
        shown = known_to(viewer, _shown(request.context, entries, source))
        changes = changes_of(shown, viewer.hidden_indexes)
        links = HistoryLinks(number, older_pages(project.revision))
        page = History(name=name, changes=changes, links=links, lost=part.lost)
        return page.render(request.web.environment, viewer)

    key = ("history", name, number, viewer)
    return request.web.respond(request, key, version, render, listing=listing, shows=shows)


def answer_feed(request: IndexRequest) -> Response:
    """Handle GET `/feed.xml`: the newest changes of all projects that the caller may read."""
    index = request.context.index
    caller = request.caller
    hidden = request.web.index_viewer(request).hidden_indexes
    table = load_projects(request.context)

    def render() -> bytes:
        newest = table.readable_by(caller).latest_changes(CHANGED_PROJECTS)
        names = [facts.name for facts in newest]
        entries = read_latest(
            partial(_project, request.context, hidden), names, is_local=index.server.is_local
        )
        environment = request.web.environment
        title = index.definition.path
        return index_feed(environment.brand.name, environment.base_url, entries, title)

    key = ("feed of all", visibility_key(caller), hidden)
    version = str(table.generation)
    page = (MediaType.ATOM, key, version, render)
    made_from = ((SEARCH, version),)
    repeats = (made_from, request.web.until_rights_change)
    headers = request.web.headers(None, None)
    return page_response(request.context, request, *page, repeats=repeats, headers=headers)


def _project(context: IndexContext, hidden: frozenset[str], name: NormalizedName) -> Project:
    """
    Return a private project as the index shows it, without a promotion to a `hidden` index.

    Raises as `find_private`.
    """
    files = find_private(context, name)
    commit = files.project.commit
    tells = commit is not None and any(event.promoted_to in hidden for event in commit.events)
    if tells or files.sources.is_filtered:  # the last commit may be about hidden files
        return replace(files.project, stored_commit=NO_JSON)
    return files.project


def _shown(
    context: IndexContext, entries: Sequence[JournalEntry], source: FoundProject
) -> Sequence[JournalEntry]:
    """
    Return the entries of a journal without files that are hidden, up to the day.

    Nobody knows whether rules would show those that are deleted.
    """
    if not source.is_filtered:
        return entries
    shown = source.project.by_filename
    moment = context.index.repository.moment
    return [
        replace(entry, files=files)
        for entry in entries
        if moment is None or entry.at <= moment
        if (files := tuple(name for name in entry.files if name in shown)) or not entry.files
    ]


def answer_project_feed(request: IndexRequest) -> Response:
    """Handle GET `/project/<name>/feed.xml`: releases and changes of a project."""
    name = request.web.require_reader(request)
    index = request.context.index
    if name != request.path_params["name"]:
        return redirect(301, f"{request.web.path('project', name)}feed.xml")
    files = find_private(request.context, name)
    first = files.first
    viewer = request.web.index_viewer(request)

    def render() -> bytes:
        project = first.project
        history = HistoryReader(first.projects, index.tokens.records)
        entries = _shown(request.context, history.read(project).entries, first)
        changes = known_to(viewer, entries)
        environment = request.web.environment
        title = index.definition.path
        brand = environment.brand.name
        url = environment.base_url
        return project_feed(brand, url, project, changes, title)

    page = (MediaType.ATOM, ("feed", name, viewer.hidden_indexes), files.version, render)
    headers = request.web.headers(name, None)
    made_from, until = files.repeats()
    repeats = made_from, min(until, request.web.until_rights_change)
    return page_response(request.context, request, *page, repeats=repeats, headers=headers)
