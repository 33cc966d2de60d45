"""Handlers of the pages of a project, of its releases, and of the files of a release."""

import re
from hashlib import sha256
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.errors import Invalid, NotFound
from wheelyard.http.caching.versions import GRANTS, SEARCH
from wheelyard.http.page_responses import load_projects, visibility_key
from wheelyard.http.protocol.messages import MadeFrom, Request, Response, redirect
from wheelyard.http.release_metadata import ReleaseMetadata
from wheelyard.http.resolver import OpenListing, PrivateFiles
from wheelyard.http.web_pages import TemporaryPage, WebPages
from wheelyard.model.access import Action
from wheelyard.model.distribution_filename import parse_version
from wheelyard.model.grants import Grants
from wheelyard.operations.search.project_table import ProjectTable
from wheelyard.rendering.project_facts import ProjectFacts
from wheelyard.rendering.releases import ReleaseOf, latest_release, release_of, releases_of
from wheelyard.rendering.shown import ShownFile
from wheelyard.rendering.web.environment import Viewer
from wheelyard.rendering.web.file_list import file_list
from wheelyard.rendering.web.project_page import ProjectContent, project_page
from wheelyard.rendering.web.public_package import public_package
from wheelyard.rendering.web.release_page import (
    ReleaseContent,
    files_page,
    missing_release_page,
    release_page,
)
from wheelyard.storage.base import ObjectVersion

_FILE_BYTES: Final = 1024
"""The memory that a remembered file takes, roughly."""
_PAGE_NUMBER: Final = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)


class _Neighbours(Struct, frozen=True):
    """What a page shows of other projects, as far as the caller may read them, and of grants."""

    known: frozenset[NormalizedName]
    """The dependencies that are projects of this index."""
    used_by: tuple[ProjectFacts, ...] = ()
    uploaders: tuple[str, ...] = ()

    def version_with(self, listing: OpenListing) -> ObjectVersion:
        """Return the version of a page that shows this and a project."""
        users = (f"{user.name}:{user.status}:{user.origin}" for user in self.used_by)
        parts = (*sorted(self.known), "", *users, "", *self.uploaders)
        shown = f"{listing.version} {_version_of_origin(listing)}"
        return ObjectVersion(f"{shown} {sha256(' '.join(parts).encode()).hexdigest()}")


def answer_project(request: Request, web: WebPages) -> Response:
    """Handle GET `/project/<name>/`: a project's page; redirect a name in another spelling."""
    name = web.require_lookup(request)
    if name != request.path_params["name"]:
        return _redirect(request, web, name)
    listing = web.find(request, name)
    table, viewer = load_projects(web.context), _viewer(request, web, listing)
    access = web.context.index.access
    described_by = _latest_file(web, listing)
    metadata = ReleaseMetadata(request, listing, described_by, web.required_names)
    required = metadata.required_names()

    visible, shows, uploaders = table.readable_by(request.caller), _shows(table), tuple[str, ...]()
    if viewer.may_manage:
        shows = (*shows, (GRANTS, access.records.get().version))
        uploaders = _uploaders(name, access.load())
    seen = _Neighbours(frozenset(visible.known(required)), tuple(visible.used_by(name)), uploaders)
    key = ("project", name, viewer, visibility_key(request.caller))
    version = seen.version_with(listing)

    def render() -> bytes:
        releases = releases_of(listing)
        latest, shown, is_final = latest_release(releases), None, True
        if latest is not None:
            shown, is_final = _release_content(web, metadata, latest, latest.version, seen)
        content = ProjectContent(
            project=listing,
            releases=releases,
            latest=shown,
            used_by=seen.used_by,
            uploaders=seen.uploaders,
            has_deleted_files=_has_deleted_files(listing),
            public=public_package(listing.origin),
        )
        return _checked(project_page(web.environment, viewer, content), is_final=is_final)

    return web.respond(
        request,
        key,
        version,
        render,
        listing=listing,
        metadata=metadata if described_by else None,
        shows=shows,
    )


def answer_release(request: Request, web: WebPages) -> Response:
    """Handle GET `/project/<name>/<version>/`: a release's page, or a redirect to its usual URL."""
    name, sent = web.require_lookup(request), request.path_params["version"]
    listing = web.find(request, name)
    release = _release(listing, sent)
    if release is None:
        return _missing_release(request, web, listing)
    if (name, release.version) != (request.path_params["name"], sent):
        return _redirect(request, web, name, release.version)
    table, viewer = load_projects(web.context), _viewer(request, web, listing)
    metadata = ReleaseMetadata(request, listing, release.metadata_file, web.required_names)
    required = metadata.required_names()

    seen = _Neighbours(known=frozenset(table.readable_by(request.caller).known(required)))
    key = ("release", name, release.version, viewer, visibility_key(request.caller))
    version = seen.version_with(listing)

    def render() -> bytes:
        latest = latest_release(releases_of(listing))
        latest_version = latest.version if latest else ""
        content, is_final = _release_content(web, metadata, release, latest_version, seen)
        public = public_package(listing.origin)
        content = replace(content, public=public and public.of_release(release.version))
        return _checked(release_page(web.environment, viewer, content), is_final=is_final)

    return web.respond(
        request, key, version, render, listing=listing, metadata=metadata, shows=_shows(table)
    )


def answer_files(request: Request, web: WebPages) -> Response:
    """Handle GET `/project/<name>/<version>/files/...`: a further page of the files."""
    name, params = web.require_lookup(request), request.path_params
    listing = web.find(request, name)
    release = _release(listing, params["version"])
    if release is None:
        return _missing_release(request, web, listing)
    facet, number = params.get("facet", ""), params.get("number", "1")
    if _PAGE_NUMBER.fullmatch(facet) and "number" not in params:
        facet, number = "", facet

    is_number = _PAGE_NUMBER.fullmatch(number) is not None
    found = file_list(release, facet, int(number)) if is_number else None
    if found is None:
        raise NotFound("There is no such page of files. Look at the page of the release.")
    path = ("project", name, release.version, *filter(None, found.selection.path.split("/")))
    if path != request.segments:
        return _redirect(request, web, *path[1:])
    viewer = _viewer(request, web, listing)

    def render() -> bytes:
        return files_page(web.environment, viewer, listing, release, found)

    key, version = ("files", name, release.version, facet, number, viewer), listing.version
    return web.respond(
        request,
        key,
        ObjectVersion(version),
        render,
        listing=listing,
    )


def _release_content(
    web: WebPages,
    metadata: ReleaseMetadata,
    release: ReleaseOf[ShownFile],
    latest: str,
    seen: _Neighbours,
) -> tuple[ReleaseContent, bool]:
    """Return what a page shows of a release, and whether it would show the same later."""
    core = metadata.core
    assert core is not None  # noqa: S101 - it was loaded for this page
    described = web.descriptions.render(core)  # may wait
    content = ReleaseContent(
        project=metadata.listing,
        release=release,
        latest=latest,
        core=core,
        description=described.html,
        known=seen.known,
        lacks_core=metadata.is_missing,
    )
    return content, described.is_final and not metadata.is_missing


def _checked(page: bytes, *, is_final: bool) -> bytes:
    """Return a page; raise TemporaryPage if a later one may show more of the core metadata."""
    if not is_final:
        raise TemporaryPage(page)
    return page


def _redirect(request: Request, web: WebPages, *segments: str) -> Response:
    return redirect(301, web.path("project", *segments, query=request.query_string))


def _viewer(request: Request, web: WebPages, listing: OpenListing) -> Viewer:
    """Return who looks at a page of a project; nobody manages a public one."""
    return web.viewer(request.caller, None if listing.origin.is_upstream else listing.name)


def _release(listing: OpenListing, text: str) -> ReleaseOf[ShownFile] | None:
    """Return the release whose version `text` is, in any spelling; None if there is none."""
    version = _parse_version(text)
    if version is None:
        return None
    return release_of(listing, version)


def _parse_version(text: str) -> Version | None:
    try:
        return parse_version(text)
    except Invalid:
        return None


def _missing_release(request: Request, web: WebPages, listing: OpenListing) -> Response:
    viewer, sent = _viewer(request, web, listing), request.path_params["version"]
    root, version = "../" * len(request.segments), _parse_version(sent)

    def render() -> bytes:
        public = public_package(listing.origin)
        hidden = public and public.of_release(str(version or ""))
        return missing_release_page(web.environment, viewer, root, listing.name, sent, hidden)

    return web.own_page(404, render())


def _latest_file(web: WebPages, listing: OpenListing) -> ShownFile | None:
    """Return the file that describes the latest release; remembered, as releases may be many."""
    key = f"{listing.name} {listing.version}"
    remembered = web.latest_files.get(key)
    if remembered is not None:
        return remembered
    latest = latest_release(releases_of(listing))
    if latest is None:
        return None
    web.latest_files.put(key, latest.metadata_file, _FILE_BYTES)
    return latest.metadata_file


def _uploaders(name: NormalizedName, grants: Grants) -> tuple[str, ...]:
    """Return the principals and groups that have a grant to upload to a project."""
    uploading = (each for each in grants.all if each.scope.permits(Action.UPLOAD, name))
    return tuple(sorted({who for each in uploading for who in each.who}))


def _has_deleted_files(listing: OpenListing) -> bool:
    files = listing.open
    return isinstance(files, PrivateFiles) and bool(files.project.deleted_filenames)


def _version_of_origin(listing: OpenListing) -> str:
    """Return another text whenever pages say something else of where a project is from."""
    origin = listing.origin
    since = origin.confirmed_at if origin.is_stale else ""
    # a decision may change a page without changing which files are shown
    return f"{origin.generation} {origin.refusal} {since}"


def _shows(table: ProjectTable) -> MadeFrom:
    """Return the version of what a page shows of other projects."""
    return ((SEARCH, str(table.generation)),)
