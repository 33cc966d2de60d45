"""Handlers of the history of a project, and of the Atom feeds: both show entries of journals."""

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
from wheelyard.http.responses import load_projects, page_response, visibility_key
from wheelyard.model.project import NO_JSON, Project
from wheelyard.model.project_json import JournalEntry
from wheelyard.operations import journal_reader
from wheelyard.operations.search.project_table import ProjectTable
from wheelyard.rendering.feeds import index_feed, project_feed
from wheelyard.rendering.web import project_overview
from wheelyard.rendering.web.viewer import Viewer
from wheelyard.repository.found_project import FoundProject

_NUMBER: Final = re.compile("[1-9][0-9]{0,8}", re.ASCII)


def answer_history(request: IndexRequest) -> Response:
    """
    Handle GET `/project/<name>/history/` and `/project/<name>/history/<number>/`.

    Without a number this is the newest page. The history of a public project is the decisions about
    it, on one page without a number. Another spelling of the name is redirected. Raises
    Unauthenticated or Forbidden if the caller may not ask for the project, and NotFound if there is
    no such project that the caller may read. Raises NotFound, too, for a malformed number, and
    NoSuchPage if the history has no such page. Raises Unavailable if the store or an upstream index
    does not answer. Raises Waiting if an upstream index has to be asked.
    """
    sent_number = request.path_params.get("number")
    name = request.web.require_lookup(request)
    if name != request.path_params["name"]:
        segments = ["project", name, "history"]
        if sent_number:
            segments.append(sent_number)
        return redirect(301, request.web.path(*segments, query=request.query_string))
    listing = resolver.find(request.context, name, request)
    files = listing.open
    number = None
    if sent_number is not None:
        if not isinstance(files, resolver.PrivateFiles) or not _NUMBER.fullmatch(sent_number):
            raise NotFound("A page of a history has a number, from 1.")
        number = int(sent_number)
    if isinstance(files, resolver.PrivateFiles):
        return _answer_journal(request, listing, files.first, number)
    return _answer_decisions(request, listing)


def _answer_decisions(request: IndexRequest, listing: resolver.OpenListing) -> Response:
    """Return the response with the decisions about a public project."""
    name = listing.name
    decisions = request.context.index.server.decisions
    viewer = request.web.index_viewer(request)
    key = ("decisions", name, viewer)
    version = f"decisions {decisions.get().version}"
    render = partial(_render_decisions, request, viewer, name)
    return request.web.respond(request, key, version, render, listing=listing)


def _render_decisions(request: IndexRequest, viewer: Viewer, name: NormalizedName) -> bytes:
    """
    Return the bytes of the page with the decisions about a public project.

    Raises Unavailable if the decisions or their journal cannot be read.
    """
    records = request.context.index.server.decisions
    decisions, is_whole = journal_reader.decision_history(records, name)
    changes = [project_overview.change_by(decision) for decision in decisions]
    page = project_overview.History(name=name, changes=changes, is_public=True, is_whole=is_whole)
    return page.render(request.web.environment, viewer)


def _answer_journal(
    request: IndexRequest, listing: resolver.OpenListing, source: FoundProject, number: int | None
) -> Response:
    """
    Return the response with a page of the journal of a private project.

    A caller who may manage the project also sees changes of rights to it, on the newest page.
    """
    name = listing.name
    own_name = name if listing.origin.is_own else None
    viewer = request.web.index_viewer(request, own_name)
    viewer = request.web.with_places(request, viewer, name)
    version = listing.version
    shows = MadeFrom()
    # `may_manage` is part of the viewer, and so of the key in the cache
    with_rights = viewer.may_manage and number is None
    if with_rights:
        # rights change without a commit of the project, so their versions are in that of the page
        access_records, publisher_records = request.context.index.catalog.rights
        access_version = access_records.get().version
        publishers_version = publisher_records.get().version
        version = f"{version} {access_version} {publishers_version}"
        shows = ((GRANTS, access_version), (PUBLISHERS, publishers_version))
    render = partial(_render_journal, request, viewer, source, number, with_rights=with_rights)
    key = ("history", name, number, viewer)
    return request.web.respond(request, key, version, render, listing=listing, shows=shows)


def _render_journal(
    request: IndexRequest,
    viewer: Viewer,
    source: FoundProject,
    number: int | None,
    *,
    with_rights: bool,
) -> bytes:
    """
    Return the bytes of a page of the journal of a project; without a number, of the newest page.

    Raises NoSuchPage if there is no page of this number, and Unavailable if a journal cannot be
    read.
    """
    index = request.context.index
    project = source.project
    history = journal_reader.HistoryReader(source.projects, index.catalog.token_records)
    commits = history.read(project, number)
    entries: Sequence[JournalEntry] = commits.entries
    if with_rights:
        access_records, publisher_records = index.catalog.rights
        entries = history.with_rights(
            commits, project, index.definition.name, access_records, publisher_records
        )
    entries = _entries_about_shown_files(request.context, entries, source)
    entries = project_overview.known_to(viewer, entries)
    older_pages = journal_reader.older_pages(project.revision)
    page = project_overview.History(
        name=project.name,
        changes=project_overview.changes_of(entries, viewer.hidden_indexes),
        links=project_overview.HistoryLinks(number, older_pages),
        lost=commits.lost,
    )
    return page.render(request.web.environment, viewer)


def _entries_about_shown_files(
    context: IndexContext, entries: Sequence[JournalEntry], source: FoundProject
) -> Sequence[JournalEntry]:
    """
    Return the entries of a journal without the names of files that the index hides.

    In the view of a day, entries after that day are left out, too.
    """
    if not source.is_filtered:
        return entries
    # Without deleted files, as nobody knows whether the rules would show them. So an entry that is
    # only about deleted files is left out.
    shown_files = source.project.by_filename
    moment = context.index.repository.moment
    shown_entries: list[JournalEntry] = []
    for entry in entries:
        if moment is not None and entry.at > moment:
            continue
        filenames = tuple(name for name in entry.files if name in shown_files)
        # an entry without files is about the project itself
        if filenames or not entry.files:
            shown_entries.append(replace(entry, files=filenames))
    return shown_entries


def answer_feed(request: IndexRequest) -> Response:
    """
    Handle GET `/feed.xml`: the newest changes of all private projects that the caller may read.

    These are projects of the index and its layers. Raises Unavailable if the store does not answer.
    """
    hidden_indexes = request.web.index_viewer(request).hidden_indexes
    table = load_projects(request.context)
    version = str(table.generation)
    return page_response(
        request.context,
        request,
        MediaType.ATOM,
        ("feed of all", visibility_key(request.caller), hidden_indexes),
        version,
        partial(_render_feed, request, table, hidden_indexes),
        repeats=(((SEARCH, version),), request.web.until_rights_change),
        # those of a page about all projects, which does not show its reader
        headers=request.web.headers(None, None),
    )


def _render_feed(
    request: IndexRequest, table: ProjectTable, hidden_indexes: frozenset[str]
) -> bytes:
    """Return the bytes of the feed of the projects that changed last, as the caller may read."""
    index = request.context.index
    visible = table.readable_by(request.caller)
    newest_projects = visible.latest_changes(journal_reader.CHANGED_PROJECTS)
    names = [facts.name for facts in newest_projects]
    read_project = partial(_read_for_feed, request.context, hidden_indexes)
    entries = journal_reader.read_latest(read_project, names, is_local=index.server.is_local)
    environment = request.web.environment
    return index_feed(environment.brand.name, environment.base_url, entries, index.definition.path)


def _read_for_feed(
    context: IndexContext, hidden_indexes: frozenset[str], name: NormalizedName
) -> Project:
    """
    Return a private project as the index shows it, for the entry of its last commit in the feed.

    The project comes without its last commit if the reader must not see that. Threads that read
    ahead call this. Raises NotFound if there is no such project, and Unavailable if the store does
    not answer, or a document is damaged.
    """
    files = resolver.find_private(context, name)
    project = files.project
    commit = project.commit
    names_hidden_index = False
    if commit is not None:
        names_hidden_index = any(event.promoted_to in hidden_indexes for event in commit.events)
    # where rules hide files, the last commit may be about a hidden one
    if names_hidden_index or files.sources.is_filtered:
        return replace(project, stored_commit=NO_JSON)
    return project


def answer_project_feed(request: IndexRequest) -> Response:
    """
    Handle GET `/project/<name>/feed.xml`: releases and changes of a project.

    Another spelling of the name is redirected. Raises Unauthenticated, Forbidden or NotFound if the
    caller may not read the project, and NotFound if there is no such private project. Raises
    Unavailable if the store does not answer.
    """
    name = request.web.require_reader(request)
    if name != request.path_params["name"]:
        return redirect(301, f"{request.web.path('project', name)}feed.xml")
    files = resolver.find_private(request.context, name)
    viewer = request.web.index_viewer(request)
    made_from, until = files.repeats()
    return page_response(
        request.context,
        request,
        MediaType.ATOM,
        ("feed", name, viewer.hidden_indexes),
        files.version,
        partial(_render_project_feed, request, viewer, files.first),
        repeats=(made_from, min(until, request.web.until_rights_change)),
        headers=request.web.headers(name, None),
    )


def _render_project_feed(request: IndexRequest, viewer: Viewer, source: FoundProject) -> bytes:
    """
    Return the bytes of the feed of a project.

    Raises Unavailable if the journal of the project cannot be read.
    """
    index = request.context.index
    project = source.project
    history = journal_reader.HistoryReader(source.projects, index.tokens.records)
    entries = history.read(project).entries
    shown_entries = _entries_about_shown_files(request.context, entries, source)
    changes = project_overview.known_to(viewer, shown_entries)
    environment = request.web.environment
    return project_feed(
        environment.brand.name, environment.base_url, project, changes, index.definition.path
    )
