"""Handlers of the pages of a project, of its releases, and of the files of a release."""

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.errors import Invalid, NotFound
from wheelyard.http.caching.cache_headers import page_cache_headers
from wheelyard.http.page_responses import (
    FROM_UPSTREAM,
    listing_response,
    load_page,
    load_projects,
    visibility_key,
)
from wheelyard.http.private_files import PrivateFiles
from wheelyard.http.protocol.messages import Request, Response, redirect
from wheelyard.http.protocol.negotiation import MediaType
from wheelyard.http.resolver import Asking, OpenListing
from wheelyard.http.security.read_policy import parse_project_name
from wheelyard.http.web_pages import TemporaryPage, WebPages
from wheelyard.model.access import Action
from wheelyard.model.distribution_filename import parse_version
from wheelyard.model.grants import Grants
from wheelyard.model.project import File, Project
from wheelyard.operations.search.project_table import VisibleProjects
from wheelyard.rendering.project_facts import ProjectUser
from wheelyard.rendering.releases import Release, latest_release, release_of, releases_of
from wheelyard.rendering.web.file_list import FileList, file_list
from wheelyard.rendering.web.project_page import ProjectContent, project_page
from wheelyard.rendering.web.release_page import (
    ReleaseContent,
    dependency_names,
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
    used_by: tuple[ProjectUser, ...] = ()
    uploaders: tuple[str, ...] = ()

    def version_with(self, document: ObjectVersion) -> ObjectVersion:
        """Return the version of a page that shows this and a version of the project's document."""
        users = (":".join(each) for each in self.used_by)
        parts = (*sorted(self.known), "", *users, "", *self.uploaders)
        return ObjectVersion(f"{document} {sha256(' '.join(parts).encode()).hexdigest()}")


async def answer_project(request: Request, web: WebPages) -> Response:
    """Handle GET `/project/<name>/`: a project's page; redirect a name in another spelling."""
    name = parse_project_name(request.params["name"])
    web.context.read_policy.require_lookup(request.caller, name)
    if name != request.params["name"]:
        return _redirect(request, web, name)
    listing = await web.context.resolver.find(name, request.caller, Asking(request))
    if isinstance(listing.open, PrivateFiles):
        return await _private_project(request, web, listing.open)
    return await _public_project(request, web, listing)


async def _public_project(request: Request, web: WebPages, listing: OpenListing) -> Response:
    """Return the response with the page of a public project."""
    # no server without an upstream index needs it
    from wheelyard.rendering.web.upstream_page import upstream_page  # noqa: PLC0415

    viewer, origin = web.viewer(request.caller), listing.origin
    # a decision may change the page without changing which files are shown
    version = ObjectVersion(f"{listing.version} {origin.generation} {origin.refusal}")
    # no shared cache may keep it: the name may become private any time
    caching = page_cache_headers(0, is_public=False)
    page = await load_page(
        web.context,
        request,
        ("web", "upstream_project", listing.name, viewer),
        version,
        lambda: upstream_page(web.environment, viewer, listing),
        (*web.security_headers, *caching, FROM_UPSTREAM),
    )
    return listing_response(request, page, MediaType.HTML, listing)


async def _private_project(request: Request, web: WebPages, files: PrivateFiles) -> Response:
    """Return the response with the page of a private project."""
    project, version, name = files.project, files.version, files.project.name
    table = await load_projects(web.context)
    viewer = web.viewer(request.caller, name)
    access = web.context.index.access

    def look() -> tuple[_Neighbours, Grants | None]:
        visible = table.readable_by(request.caller)
        grants = access.load() if viewer.may_manage else None
        seen = _Neighbours(
            known=_known(web, name, _latest_file(web, project, version), visible),
            used_by=tuple(visible.used_by(name)),
            uploaders=_uploaders(name, grants) if grants else (),
        )
        return seen, grants

    seen, grants = await web.context.pools.run_read(look)

    def render() -> bytes:
        releases = releases_of(project)
        latest, shown, is_final = latest_release(releases), None, True
        if latest is not None:
            shown, is_final = _release_content(web, project, latest, latest.version, seen)
        content = ProjectContent(
            project=project,
            releases=releases,
            latest=shown,
            used_by=seen.used_by,
            uploaders=seen.uploaders,
        )
        return _checked(project_page(web.environment, viewer, content), is_final=is_final)

    is_same_project = _watch(web, name, version, table.generation)
    return await web.respond(
        request,
        ("project", name, viewer, visibility_key(request.caller)),
        seen.version_with(version),
        render,
        name=name,
        is_current=lambda: is_same_project() and (grants is None or access.peek() is grants),
    )


async def answer_release(request: Request, web: WebPages) -> Response:
    """Handle GET `/project/<name>/<version>/`: a release's page, or a redirect to its usual URL."""
    name = web.require_reader(request)
    project, version = await web.context.documents.require_project(name)
    viewer, release = web.viewer(request.caller, name), _release(project, request.params["version"])
    if release is None:
        return _missing_release(request, web, name)
    if (name, release.version) != (request.params["name"], request.params["version"]):
        return _redirect(request, web, name, release.version)

    table = await load_projects(web.context)

    def look() -> _Neighbours:
        visible = table.readable_by(request.caller)
        return _Neighbours(known=_known(web, name, release.metadata_file, visible))

    seen = await web.context.pools.run_read(look)

    def render() -> bytes:
        latest = latest_release(releases_of(project))
        version = latest.version if latest else ""
        content, is_final = _release_content(web, project, release, version, seen)
        return _checked(release_page(web.environment, viewer, content), is_final=is_final)

    key = ("release", name, release.version, viewer, visibility_key(request.caller))
    return await web.respond(
        request,
        key,
        seen.version_with(version),
        render,
        name=name,
        is_current=_watch(web, name, version, table.generation),
    )


async def answer_files(request: Request, web: WebPages) -> Response:
    """Handle GET `/project/<name>/<version>/files/...`: a further page of the files."""
    name, params = web.require_reader(request), request.params
    project, version = await web.context.documents.require_project(name)
    viewer, release = web.viewer(request.caller, name), _release(project, params["version"])
    if release is None:
        return _missing_release(request, web, name)
    facet, number = params.get("facet", ""), params.get("number", "1")
    if _PAGE_NUMBER.fullmatch(facet) and "number" not in params:
        facet, number = "", facet

    def find() -> FileList | None:  # among thousands
        is_number = _PAGE_NUMBER.fullmatch(number) is not None
        return file_list(release, facet, int(number)) if is_number else None

    found = await web.context.pools.run_read(find)
    if found is None:
        raise NotFound("There is no such page of files. Look at the page of the release.")
    path = ("project", name, release.version, *filter(None, found.selection.path.split("/")))
    if path != request.segments:
        return _redirect(request, web, *path[1:])

    def render() -> bytes:
        return files_page(web.environment, viewer, project, release, found)

    key = ("files", name, release.version, facet, number, viewer)
    is_current = web.context.index.projects.watch(name, version)
    return await web.respond(request, key, version, render, name=name, is_current=is_current)


def _release_content(
    web: WebPages, project: Project, release: Release, latest: str, seen: _Neighbours
) -> tuple[ReleaseContent, bool]:
    """Return what a page shows of a release, and whether it would show the same later."""
    core = web.context.core_metadata.load(project.name, release.metadata_file)
    described = web.descriptions.render(core)  # may wait
    content = ReleaseContent(
        project=project,
        release=release,
        latest=latest,
        core=core,
        description=described.html,
        known=seen.known,
    )
    return content, described.is_final


def _checked(page: bytes, *, is_final: bool) -> bytes:
    """Return a page; raise TemporaryPage if the server was too busy to render its description."""
    if not is_final:
        raise TemporaryPage(page)
    return page


def _redirect(request: Request, web: WebPages, *segments: str) -> Response:
    return redirect(301, web.path("project", *segments, query=request.query))


def _release(project: Project, text: str) -> Release | None:
    """Return the release whose version `text` is, in any spelling; None if there is none."""
    try:
        return release_of(project, parse_version(text))
    except Invalid:
        return None


def _missing_release(request: Request, web: WebPages, name: NormalizedName) -> Response:
    viewer, version = web.viewer(request.caller, name), request.params["version"]
    root = "../" * len(request.segments)
    body = missing_release_page(web.environment, viewer, root, name, version)
    return web.own_page(404, body)


def _latest_file(web: WebPages, project: Project, version: ObjectVersion) -> File | None:
    """Return the file that describes the latest release; remembered, as releases may be many."""
    key = ObjectVersion(f"{project.name} {version}")
    found = web.latest_files.get(key)
    latest = latest_release(releases_of(project)) if found is None else None
    if latest is None:
        return found
    web.latest_files.put(key, latest.metadata_file, _FILE_BYTES)
    return latest.metadata_file


def _known(
    web: WebPages, name: NormalizedName, file: File | None, visible: VisibleProjects
) -> frozenset[NormalizedName]:
    """Return the names that a release requires, by its file, and that are among the visible."""
    return frozenset(visible.known(_dependency_names(web, name, file))) if file else frozenset()


def _uploaders(name: NormalizedName, grants: Grants) -> tuple[str, ...]:
    """Return the principals and groups that have a grant to upload to a project."""
    uploading = (each for each in grants.all if each.scope.permits(Action.UPLOAD, name))
    return tuple(sorted({who for each in uploading for who in each.who}))


def _dependency_names(web: WebPages, name: NormalizedName, file: File) -> frozenset[NormalizedName]:
    """Return the names that a release requires, remembered by the digest of its core metadata."""
    found = web.dependency_names.get(file.core_metadata)
    if found is None:
        found = dependency_names(web.context.core_metadata.load(name, file))
        size = 256 + sum(100 + len(each) for each in found)
        web.dependency_names.put(file.core_metadata, found, size)
    return found


def _watch(
    web: WebPages, name: NormalizedName, version: ObjectVersion, generation: int
) -> Callable[[], bool]:
    """Return a function that says whether a page of a project would be the same now."""
    is_same_document = web.context.index.projects.watch(name, version)
    is_same_index = web.context.index.search.watch(generation)
    return lambda: is_same_document() and is_same_index()
