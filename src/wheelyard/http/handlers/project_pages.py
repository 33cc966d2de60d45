"""Handlers of the pages of a project: releases, files, history, and the Atom feeds."""

import re
from contextlib import suppress
from hashlib import sha256
from math import inf
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.errors import Invalid, NotFound
from wheelyard.http import resolver
from wheelyard.http.messages import MadeFrom, Request, Response, redirect
from wheelyard.http.page_cache import GRANTS, SEARCH, project_key
from wheelyard.http.representation import MediaType
from wheelyard.http.resolver import OpenListing, PrivateFiles
from wheelyard.http.responses import load_projects, page_response, visibility_key
from wheelyard.http.web_pages import ReleaseMetadata, TemporaryPage, WebPages
from wheelyard.model.access import Action
from wheelyard.model.distribution_filename import parse_version
from wheelyard.model.grants import Grants
from wheelyard.model.project import Project
from wheelyard.operations.journal import (
    CHANGED_PROJECTS,
    HistoryReader,
    decision_history,
    older_pages,
    read_latest,
)
from wheelyard.rendering.feeds import index_feed, project_feed
from wheelyard.rendering.listing import ShownFile
from wheelyard.rendering.project_facts import (
    ProjectFacts,
    ReleaseOf,
    latest_release,
    release_of,
    releases_of,
)
from wheelyard.rendering.web.core_metadata import TEXT_LIMIT
from wheelyard.rendering.web.environment import Viewer
from wheelyard.rendering.web.project_pages import (
    History,
    HistoryLinks,
    ProjectContent,
    change_by,
    changes_of,
    project_page,
)
from wheelyard.rendering.web.release_page import (
    ReleaseContent,
    file_list,
    files_page,
    public_package,
    release_page,
)

_FILE_BYTES: Final = 1024
"""The memory that a remembered file takes, roughly."""
_PAGE_NUMBER: Final = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)


class _Neighbours(Struct, frozen=True):
    """What a page shows of other projects, as far as the caller may read them, and of grants."""

    known: frozenset[NormalizedName]
    """The dependencies that are projects of this index."""
    used_by: tuple[ProjectFacts, ...] = ()
    uploaders: tuple[str, ...] = ()

    def version_with(self, listing: OpenListing) -> str:
        """Return the version of a page that shows this and a project."""
        users = (f"{user.name}:{user.status}:{user.origin}" for user in self.used_by)
        parts = (*sorted(self.known), "", *users, "", *self.uploaders)
        origin = listing.origin
        since = origin.confirmed_at if origin.is_stale else ""
        # a decision may change a page without changing which files are shown
        shown = f"{listing.version} {origin.generation} {origin.refusal} {since}"
        return f"{shown} {sha256(' '.join(parts).encode()).hexdigest()}"


def answer_project(request: Request, web: WebPages) -> Response:
    """Handle GET `/project/<name>/`: a project's page; redirect a name in another spelling."""
    name = web.require_lookup(request)
    if name != request.path_params["name"]:
        return _redirect(request, web, name)
    listing = resolver.find(web.context, name, request)
    table, viewer = load_projects(web.context), _viewer(request, web, listing)
    described_by = _latest_file(web, listing)
    metadata = ReleaseMetadata(request, listing, described_by) if described_by else None
    required = metadata.required_names(web.required_names) if metadata else frozenset()
    visible, uploaders = table.readable_by(request.caller), tuple[str, ...]()
    shows: MadeFrom = ((SEARCH, str(table.generation)),)
    if viewer.may_manage:
        access = web.context.index.access
        shows = (*shows, (GRANTS, access.records.get().version))
        uploaders = _uploaders(name, access.load())
    seen = _Neighbours(
        frozenset(visible.existing(required)), tuple(visible.used_by(name)), uploaders
    )

    def render() -> bytes:
        releases = releases_of(listing)
        latest, content, files = latest_release(releases), None, listing.open
        if latest is not None and metadata is not None:
            content = _release_content(web, metadata, latest, latest.version, seen)
        deleted = files.project.deleted_filenames if isinstance(files, PrivateFiles) else ()
        project = ProjectContent(
            project=listing,
            releases=releases,
            latest=content,
            used_by=seen.used_by,
            uploaders=seen.uploaders,
            has_deleted_files=bool(deleted),
            public=public_package(listing.origin),
        )
        return _checked(project_page(web.environment, viewer, project), content)

    key = ("project", name, viewer, visibility_key(request.caller))
    version = seen.version_with(listing)
    return web.respond(request, key, version, render, listing=listing, shows=shows)


def answer_release(request: Request, web: WebPages) -> Response:
    """Handle GET `/project/<name>/<version>/`: a release's page, or a redirect to its usual URL."""
    name, sent = web.require_lookup(request), request.path_params["version"]
    listing = resolver.find(web.context, name, request)
    release = _release(listing, sent)
    if release is None:
        return _missing_release(request, web, listing)
    if (name, release.version) != (request.path_params["name"], sent):
        return _redirect(request, web, name, release.version)
    table, viewer = load_projects(web.context), _viewer(request, web, listing)
    metadata = ReleaseMetadata(request, listing, release.metadata_file)
    required = metadata.required_names(web.required_names)
    seen = _Neighbours(known=frozenset(table.readable_by(request.caller).existing(required)))

    def render() -> bytes:
        latest, public = latest_release(releases_of(listing)), public_package(listing.origin)
        content = _release_content(web, metadata, release, latest.version if latest else "", seen)
        content = replace(content, public=public and public.of_release(release.version))
        return _checked(release_page(web.environment, viewer, content), content)

    key = ("release", name, release.version, viewer, visibility_key(request.caller))
    version, shows = seen.version_with(listing), ((SEARCH, str(table.generation)),)
    return web.respond(request, key, version, render, listing=listing, shows=shows)


def answer_files(request: Request, web: WebPages) -> Response:
    """Handle GET `/project/<name>/<version>/files/...`: a further page of the files."""
    name, params = web.require_lookup(request), request.path_params
    listing = resolver.find(web.context, name, request)
    release = _release(listing, params["version"])
    if release is None:
        return _missing_release(request, web, listing)
    facet, number = params.get("facet", ""), params.get("number", "1")
    if _PAGE_NUMBER.fullmatch(facet) and "number" not in params:
        facet, number = "", facet
    files = file_list(release, facet, int(number)) if _PAGE_NUMBER.fullmatch(number) else None
    if files is None:
        raise NotFound("There is no such page of files. Look at the page of the release.")
    path = ("project", name, release.version, *filter(None, files.selection.path.split("/")))
    if path != request.segments:
        return _redirect(request, web, *path[1:])
    viewer, version = _viewer(request, web, listing), listing.version

    def render() -> bytes:
        return files_page(web.environment, viewer, listing, release, files)

    key = ("files", name, release.version, facet, number, viewer)
    return web.respond(request, key, version, render, listing=listing)


def _release_content(
    web: WebPages,
    metadata: ReleaseMetadata,
    release: ReleaseOf[ShownFile],
    latest: str,
    seen: _Neighbours,
) -> ReleaseContent:
    """Return what a page shows of a release."""
    described = web.context.descriptions.render(metadata.core)
    return ReleaseContent(
        project=metadata.listing,
        release=release,
        latest=latest,
        core=metadata.core,
        description=described.html,
        known=seen.known,
        lacks_core=metadata.is_missing,
        is_final=described.is_final and not metadata.is_missing,
    )


def _checked(page: bytes, content: ReleaseContent | None) -> bytes:
    """Return a page; raise TemporaryPage if a later one may show more of the core metadata."""
    if content is not None and not content.is_final:
        raise TemporaryPage(page)
    return page


def _redirect(request: Request, web: WebPages, *segments: str) -> Response:
    return redirect(301, web.path("project", *segments, query=request.query_string))


def _viewer(request: Request, web: WebPages, listing: OpenListing) -> Viewer:
    """Return who looks at a page of a project; nobody manages a public one."""
    return web.viewer(request.caller, None if listing.origin.is_upstream else listing.name)


def _release(listing: OpenListing, text: str) -> ReleaseOf[ShownFile] | None:
    """Return the release whose version `text` is, in any spelling; None if there is none."""
    try:
        return release_of(listing, parse_version(text))
    except Invalid:
        return None


def _missing_release(request: Request, web: WebPages, listing: OpenListing) -> Response:
    viewer, sent = _viewer(request, web, listing), request.path_params["version"]
    root, public, version = "../" * len(request.segments), public_package(listing.origin), ""
    with suppress(Invalid):
        version = str(parse_version(sent))
    hidden = public and public.of_release(version)
    values = {"name": listing.name, "version": sent[:TEXT_LIMIT], "public": hidden}
    return web.show(viewer, 404, "missing_release.html", root, **values)


def _latest_file(web: WebPages, listing: OpenListing) -> ShownFile | None:
    """Return the file that describes the latest release; remembered, as releases may be many."""
    key = f"{listing.name} {listing.version}"
    file = web.latest_files.get(key)
    if file is None and (latest := latest_release(releases_of(listing))) is not None:
        file = latest.metadata_file
        web.latest_files.put(key, file, _FILE_BYTES)
    return file


def _uploaders(name: NormalizedName, grants: Grants) -> tuple[str, ...]:
    """Return the principals and groups that have a grant to upload to a project."""
    uploading = (grant for grant in grants.all if grant.scope.permits(Action.UPLOAD, name))
    return tuple(sorted({who for grant in uploading for who in grant.who}))


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
