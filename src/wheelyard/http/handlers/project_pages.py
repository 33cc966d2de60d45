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
from wheelyard.operations.journal_reader import (
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

    linked_names: frozenset[NormalizedName]
    """The dependencies that are projects of this index."""
    used_by: tuple[ProjectFacts, ...] = ()
    uploaders: tuple[str, ...] = ()

    def version_with(self, listing: OpenListing) -> str:
        """Return the version of a page that shows this and a project."""
        users = (f"{user.name}:{user.status}:{user.origin}" for user in self.used_by)
        parts = (*sorted(self.linked_names), "", *users, "", *self.uploaders)
        origin = listing.origin
        since = origin.confirmed_at if origin.is_stale else ""
        # a decision may change a page without changing which files are shown
        shown = f"{listing.version} {origin.generation} {origin.refusal} {since}"
        return f"{shown} {sha256(' '.join(parts).encode()).hexdigest()}"


_NUMBER: Final = re.compile("[1-9][0-9]{0,8}", re.ASCII)


class ProjectPages:
    """The pages and the feeds of projects."""

    def __init__(self, web: WebPages) -> None:
        self._web = web
        self._context = web.context

    def answer_project(self, request: Request) -> Response:
        """Handle GET `/project/<name>/`: a project's page, or a redirect from another spelling."""
        name = self._web.require_lookup(request)
        if name != request.path_params["name"]:
            return self._redirect(request, name)
        listing = resolver.find(self._context, name, request)
        table, viewer = load_projects(self._context), self._viewer(request, listing)
        described_by = self._latest_file(listing)
        metadata = ReleaseMetadata(request, listing, described_by) if described_by else None
        required = metadata.required_names(self._web.required_names) if metadata else frozenset()
        visible, uploaders = table.readable_by(request.caller), tuple[str, ...]()
        # all that the page shows besides the listing, so that a change of it ends the answer
        shows: MadeFrom = ((SEARCH, str(table.generation)),)
        if viewer.may_manage:
            access = self._context.index.access
            shows = (*shows, (GRANTS, access.records.get().version))
            uploaders = _uploaders(name, access.load())
        seen = _Neighbours(
            frozenset(visible.existing(required)), tuple(visible.used_by(name)), uploaders
        )

        def render() -> bytes:
            releases = releases_of(listing)
            latest, content, files = latest_release(releases), None, listing.open
            if latest is not None and metadata is not None:
                content = self._release_content(metadata, latest, latest.version, seen)
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
            return _checked(project_page(self._web.environment, viewer, project), content)

        key = ("project", name, viewer, visibility_key(request.caller))
        version = seen.version_with(listing)
        return self._web.respond(request, key, version, render, listing=listing, shows=shows)

    def answer_release(self, request: Request) -> Response:
        """Handle GET `/project/<name>/<version>/`: the page of a release, or a redirect to it."""
        name, sent = self._web.require_lookup(request), request.path_params["version"]
        listing = resolver.find(self._context, name, request)
        release = _release(listing, sent)
        if release is None:
            return self._missing_release(request, listing)
        if (name, release.version) != (request.path_params["name"], sent):
            return self._redirect(request, name, release.version)
        table, viewer = load_projects(self._context), self._viewer(request, listing)
        metadata = ReleaseMetadata(request, listing, release.metadata_file)
        required = metadata.required_names(self._web.required_names)
        seen = _Neighbours(
            linked_names=frozenset(table.readable_by(request.caller).existing(required))
        )

        def render() -> bytes:
            latest, public = latest_release(releases_of(listing)), public_package(listing.origin)
            content = self._release_content(
                metadata, release, latest.version if latest else "", seen
            )
            content = replace(content, public=public and public.of_release(release.version))
            return _checked(release_page(self._web.environment, viewer, content), content)

        key = ("release", name, release.version, viewer, visibility_key(request.caller))
        version, shows = seen.version_with(listing), ((SEARCH, str(table.generation)),)
        return self._web.respond(request, key, version, render, listing=listing, shows=shows)

    def answer_files(self, request: Request) -> Response:
        """Handle GET `/project/<name>/<version>/files/...`: a further page of the files."""
        name, params = self._web.require_lookup(request), request.path_params
        listing = resolver.find(self._context, name, request)
        release = _release(listing, params["version"])
        if release is None:
            return self._missing_release(request, listing)
        facet, number = params.get("facet", ""), params.get("number", "1")
        if _PAGE_NUMBER.fullmatch(facet) and "number" not in params:
            facet, number = "", facet
        files = file_list(release, facet, int(number)) if _PAGE_NUMBER.fullmatch(number) else None
        if files is None:
            raise NotFound("There is no such page of files. Look at the page of the release.")
        path = ("project", name, release.version, *filter(None, files.selection.path.split("/")))
        if path != request.segments:
            return self._redirect(request, *path[1:])
        viewer, version = self._viewer(request, listing), listing.version

        def render() -> bytes:
            return files_page(self._web.environment, viewer, listing, release, files)

        key = ("files", name, release.version, facet, number, viewer)
        return self._web.respond(request, key, version, render, listing=listing)

    def _release_content(
        self,
        metadata: ReleaseMetadata,
        release: ReleaseOf[ShownFile],
        latest: str,
        seen: _Neighbours,
    ) -> ReleaseContent:
        """Return what a page shows of a release."""
        described = self._context.descriptions.render(metadata.core)
        return ReleaseContent(
            project=metadata.listing,
            release=release,
            latest=latest,
            core=metadata.core,
            description=described.html,
            linked_names=seen.linked_names,
            lacks_core=metadata.is_missing,
            is_final=described.is_final and not metadata.is_missing,
        )

    def _redirect(self, request: Request, *segments: str) -> Response:
        return redirect(301, self._web.path("project", *segments, query=request.query_string))

    def _viewer(self, request: Request, listing: OpenListing) -> Viewer:
        """Return who looks at a page of a project, of which nobody manages a public one."""
        return self._web.viewer(
            request.caller, None if listing.origin.is_upstream else listing.name
        )

    def _missing_release(self, request: Request, listing: OpenListing) -> Response:
        viewer, sent = self._viewer(request, listing), request.path_params["version"]
        root, public, version = "../" * len(request.segments), public_package(listing.origin), ""
        with suppress(Invalid):
            version = str(parse_version(sent))
        hidden = public and public.of_release(version)
        values = {"name": listing.name, "version": sent[:TEXT_LIMIT], "public": hidden}
        return self._web.show(viewer, 404, "missing_release.html", root, **values)

    def _latest_file(self, listing: OpenListing) -> ShownFile | None:
        """Return the file that describes the latest release, which is remembered."""
        key = f"{listing.name} {listing.version}"
        file = self._web.latest_files.get(key)
        if file is None and (latest := latest_release(releases_of(listing))) is not None:
            file = latest.metadata_file
            self._web.latest_files.put(key, file, _FILE_BYTES)
        return file

    def answer_history(self, request: Request) -> Response:
        """
        Handle GET `/project/<name>/history/` and `/project/<name>/history/<number>/`.

        Without a number it is the newest page. That of a public project is what was decided about
        it, on one page.
        """
        sent, name = request.path_params.get("number"), self._web.require_lookup(request)
        if name != request.path_params["name"]:
            path = ("project", name, "history", *filter(None, (sent,)))
            return redirect(301, self._web.path(*path, query=request.query_string))
        listing = resolver.find(self._context, name, request)
        is_private = isinstance(listing.open, PrivateFiles)
        if sent is not None and not (is_private and _NUMBER.fullmatch(sent)):
            raise NotFound("A page of a history has a number, from 1.")
        if isinstance(listing.open, PrivateFiles):
            number = None if sent is None else int(sent)
            return self._journal(request, listing, listing.open.project, number)
        return self._decisions(request, listing)

    def _decisions(self, request: Request, listing: OpenListing) -> Response:
        """Return the response with what was decided about a public project."""
        index = self._context.index
        name = listing.name
        viewer = self._web.viewer(request.caller)
        version = f"decisions {index.decisions.get().version}"

        def render() -> bytes:
            decisions, is_whole = decision_history(index.decisions, name)
            changes = [change_by(decision) for decision in decisions]
            page = History(name=name, changes=changes, is_public=True, is_whole=is_whole)
            return self._web.environment.render(
                "history.html", viewer, page.links.root, history=page
            )

        return self._web.respond(
            request, ("decisions", name, viewer), version, render, listing=listing
        )

    def _journal(
        self, request: Request, listing: OpenListing, project: Project, number: int | None
    ) -> Response:
        """
        Return the response with a page of the journal of a private project.

        Who may manage the project also sees on the newest page who got rights for it.
        """
        index, name, version = self._context.index, project.name, listing.version
        viewer, shows = self._web.viewer(request.caller, name), MadeFrom()
        # whoever may manage has another `Viewer`, and so another page in the cache
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
            return self._web.environment.render("history.html", viewer, links.root, history=page)

        key = ("history", name, number, viewer)
        return self._web.respond(request, key, version, render, listing=listing, shows=shows)

    def answer_feed(self, request: Request) -> Response:
        """Handle GET `/feed.xml`: the newest changes of all projects that the caller may read."""
        index = self._context.index
        caller = request.caller
        table = load_projects(self._context)

        def render() -> bytes:
            newest = table.readable_by(caller).latest_changes(CHANGED_PROJECTS)
            names = [facts.name for facts in newest]
            entries = read_latest(index.projects, names, is_local=index.is_local)
            return index_feed(
                self._web.environment.brand.name, self._web.environment.base_url, entries
            )

        key, version = ("feed of all", visibility_key(caller)), str(table.generation)
        page, made_from = (MediaType.ATOM, key, version, render), ((SEARCH, version),)
        headers = self._web.headers(None, None)
        return page_response(
            self._context, request, *page, repeats=(made_from, inf), headers=headers
        )

    def answer_project_feed(self, request: Request) -> Response:
        """Handle GET `/project/<name>/feed.xml`: releases and changes of a project."""
        name, index = self._web.require_reader(request), self._context.index
        if name != request.path_params["name"]:
            return redirect(301, f"{self._web.path('project', name)}feed.xml")
        project, version = self._context.require_project(name)

        def render() -> bytes:
            history = HistoryReader(index.projects, index.tokens.records)
            changes = history.read(project).entries
            return project_feed(
                self._web.environment.brand.name, self._web.environment.base_url, project, changes
            )

        page = (MediaType.ATOM, ("feed", name), version, render)
        made_from, headers = ((project_key(name), version),), self._web.headers(name, None)
        return page_response(
            self._context, request, *page, repeats=(made_from, inf), headers=headers
        )


def _checked(page: bytes, content: ReleaseContent | None) -> bytes:
    """
    Return a page.

    Raises TemporaryPage if a later one may show more of the core metadata.
    """
    if content is not None and not content.is_final:
        raise TemporaryPage(page)
    return page


def _release(listing: OpenListing, text: str) -> ReleaseOf[ShownFile] | None:
    """Return the release whose version `text` is, in any spelling, or None."""
    try:
        return release_of(listing, parse_version(text))
    except Invalid:
        return None


def _uploaders(name: NormalizedName, grants: Grants) -> tuple[str, ...]:
    """Return the principals and groups that have a grant to upload to a project."""
    uploading = (grant for grant in grants.all if grant.scope.permits(Action.UPLOAD, name))
    return tuple(sorted({who for grant in uploading for who in grant.who}))
