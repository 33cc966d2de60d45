"""Handlers of the pages of a project and of its releases."""

import re
from asyncio import wait, wrap_future
from collections.abc import Hashable
from concurrent.futures import Future
from contextlib import suppress
from hashlib import sha256
from math import inf
from typing import Any, Final
from urllib.parse import urlencode

from msgspec import DecodeError, Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.errors import Invalid, NoSuchPage, NotFound, Unavailable
from wheelyard.http import resolver
from wheelyard.http.context import IndexRequest
from wheelyard.http.messages import NO_STORE, MadeFrom, Response, redirect
from wheelyard.http.page_cache import GRANTS, SEARCH, Render
from wheelyard.http.representation import MediaType
from wheelyard.http.resolver import OpenListing, PrivateFiles
from wheelyard.http.responses import load_projects, page_cache_headers, page_response
from wheelyard.http.web_pages import ReleaseMetadata, TemporaryPage
from wheelyard.model.attestations import read_provenance
from wheelyard.model.distribution_filename import listed_version, parse_version
from wheelyard.model.downloads import SHOWN_DAYS, DownloadReport
from wheelyard.model.project import File
from wheelyard.rendering.listing import ShownFile
from wheelyard.rendering.project_facts import (
    ProjectFacts,
    ReleaseOf,
    find_release,
    latest_release,
    release_of,
    releases_of,
)
from wheelyard.rendering.web.core_metadata import (
    NO_CHOICE,
    PINS,
    TEXT_LIMIT,
    InstallChoice,
    known_extras,
    parse_extras,
    with_extras,
)
from wheelyard.rendering.web.environment import Viewer
from wheelyard.rendering.web.file_list import (
    ALL_FILES,
    TYPES,
    FileFilter,
    file_list,
    pinned_requirement,
)
from wheelyard.rendering.web.index_marks import ReleasesElsewhere
from wheelyard.rendering.web.project_frame import DEPENDENCIES, DESCRIPTION, FILES, RELEASES
from wheelyard.rendering.web.project_pages import (
    ProjectContent,
    empty_page,
    project_page,
    status_set_in,
)
from wheelyard.rendering.web.provenance import ShownProvenance, shown_signers
from wheelyard.rendering.web.public_package import notes_on, public_package
from wheelyard.rendering.web.release_page import (
    ReleaseContent,
    ReleaseHead,
    dependencies_page,
    files_page,
    release_page,
)
from wheelyard.rendering.web.releases_page import ReleasesContent, releases_page

DESCRIPTION_SECONDS: Final = 2.0
"""How long a page waits for its description, before it shows the plain text."""
_FILE_BYTES: Final = 1024
"""The memory that a remembered file takes, roughly."""
_NO_SUCH_LIST: Final = "There is no such list. Choose in the form above it, or a page below it."
_PAGE_NUMBER: Final = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)


class _Neighbours(Struct, frozen=True):
    """What a page shows of other projects, as far as the caller may read them, and of grants."""

    linked_names: dict[NormalizedName, bool]
    """The dependencies that are projects of this index, with whether each is public."""
    used_by: tuple[ProjectFacts, ...] = ()
    uploaders: tuple[str, ...] = ()

    def version_with(self, listing: OpenListing) -> str:
        """Return the version of a page that shows this and a project."""
        users = (f"{user.name}:{user.status}:{user.origin}" for user in self.used_by)
        linked = (f"{name}:{is_public}" for name, is_public in sorted(self.linked_names.items()))
        parts = (*linked, "", *users, "", *self.uploaders)
        origin = listing.origin
        since = origin.confirmed_at if origin.is_stale else ""
        # a decision may change a page without changing which files are shown
        shown = f"{listing.version} {origin.generation} {origin.refusal} {since}"
        return f"{shown} {sha256(' '.join(parts).encode()).hexdigest()}"


NO_NEIGHBOURS: Final = _Neighbours({})


class _Place(Struct, frozen=True, kw_only=True):
    """What the request for a page of a project is about, and who looks at it."""

    listing: OpenListing
    viewer: Viewer
    latest: ReleaseOf[ShownFile] | None
    """The release that describes the project, or None without releases."""
    release: ReleaseOf[ShownFile] | None
    """The release that the page is about: the one in its URL, or else the latest one."""
    is_release: bool
    """Whether the URL has a version."""

    def key(self, tab: str, *more: Hashable) -> Hashable:
        """Return the key under which the page of a tab is cached."""
        version = self.release.version if self.release and self.is_release else ""
        return ("project", self.listing.name, version, tab, self.viewer, *more)

    def head(self, *, lacks_core: bool = False) -> ReleaseHead:
        """
        Return what all pages about the release have in common.

        Raises Unavailable if the decisions about a public package cannot be read.
        """
        release = self.release
        latest = self.latest
        public = public_package(self.listing.origin)
        assert release is not None and latest is not None  # noqa: S101, PT018 - asked before
        notes = notes_on(self.listing.origin, public)
        not_shown = notes and notes.of_release(release.version) if self.is_release else notes
        return ReleaseHead(
            project=self.listing,
            release=release,
            latest=latest,
            is_release=self.is_release,
            public=public and public.of_release(release.version) if self.is_release else public,
            not_shown=not_shown,
            lacks_core=lacks_core,
            other_index=self.listing.origin.other_index,
        )


def answer_description(request: IndexRequest) -> Response:
    """Handle GET `/project/<name>/` and `/project/<name>/<version>/`: the description."""
    place = _place(request)
    if isinstance(place, Response):
        return place
    if place.release is None:
        return _empty(request, place, DESCRIPTION)
    metadata = ReleaseMetadata(request, place.listing, place.release.metadata_file)
    seen, shows = _neighbours(request, place, metadata)
    downloads, until = _downloads(request, place)
    choice = _install_choice(request)
    namespaces = resolver.namespaces_of(request.context, place.listing) or ()
    owned_namespaces = tuple(namespace.name for namespace in namespaces if namespace.owned)

    def render() -> bytes:
        content = _described(request, _content(place, metadata, seen))
        content = replace(
            content,
            provenance=_provenance(request, place),
            namespaces=owned_namespaces,
            choice=choice,
        )
        if place.is_release:
            page = release_page(request.web.environment, place.viewer, content)
        else:
            project = ProjectContent(
                project=place.listing,
                releases=releases_of(place.listing),
                latest=content,
                used_by=seen.used_by,
                uploaders=seen.uploaders,
                downloads=downloads,
            )
            page = project_page(request.web.environment, place.viewer, project)
        return _checked(page, content)

    if choice != NO_CHOICE:
        return _uncached(request, render)
    key = place.key(DESCRIPTION)
    version = seen.version_with(place.listing)
    version = f"{version} {' '.join(owned_namespaces)}"
    if downloads is not None:
        version = f"{version} {downloads.digest}"
    until = min(until, resolver.namespaces_deadline(request.context))
    return request.web.respond(
        request, key, version, render, listing=place.listing, shows=shows, until=until
    )


def answer_dependencies(request: IndexRequest) -> Response:
    """Handle GET `/project/.../dependencies/`: what a release needs, and who uses a project."""
    place = _place(request)
    if isinstance(place, Response):
        return place
    if place.release is None:
        return _empty(request, place, DEPENDENCIES)
    metadata = ReleaseMetadata(request, place.listing, place.release.metadata_file)
    seen, shows = _neighbours(request, place, metadata)

    def render() -> bytes:
        content = _content(place, metadata, seen)
        page = dependencies_page(
            request.web.environment, place.viewer, content, used_by=seen.used_by
        )
        return _checked(page, content)

    key = place.key(DEPENDENCIES)
    version = seen.version_with(place.listing)
    return request.web.respond(request, key, version, render, listing=place.listing, shows=shows)


def answer_files(request: IndexRequest) -> Response:
    """Handle GET `/project/.../files/`: the files of a release, filtered by the query."""
    place = _place(request)
    if isinstance(place, Response):
        return place
    if place.release is None:
        return _empty(request, place, FILES)
    release = place.release
    environment = request.web.environment
    selected, number = _file_query(request)

    def render() -> bytes:
        files = file_list(release, selected, number, environment.rows_per_page)
        if files is None:
            first = file_list(release, selected, 1, environment.rows_per_page)
            raise NoSuchPage(number, first.pages if first is not None else 1)
        return files_page(environment, place.viewer, place.head(), files)

    if selected != ALL_FILES:
        return _uncached(request, render)
    key = place.key(FILES, number)
    version = NO_NEIGHBOURS.version_with(place.listing)
    return request.web.respond(request, key, version, render, listing=place.listing)


def answer_old_files(request: IndexRequest) -> Response:
    """Handle GET `/project/.../files/<facet>/<number>/`, as older pages had it: redirect."""
    name = request.web.require_lookup(request)
    params = request.path_params
    facet = params["facet"]
    number = params.get("number", "")
    if facet.isdecimal():
        facet, number = "", facet
    field = "platform" if facet.startswith("on-") else "python"
    query = urlencode([pair for pair in ((field, facet), ("page", number)) if pair[1]])
    path = request.web.path("project", name, params["version"], "files", query=query.encode())
    return redirect(301, path)


def answer_link_of_hatch(request: IndexRequest) -> Response:
    """Handle GET `/legacy/<name>/<version>/`, as `hatch publish` prints it: redirect."""
    name = request.web.require_lookup(request)
    version = request.path_params["version"]
    return redirect(301, request.web.path("project", name, version))


def answer_requirements(request: IndexRequest) -> Response:
    """Handle GET `/project/<name>/<version>/requirements.txt`: the release with its hashes."""
    place = _place(request)
    if isinstance(place, Response):
        return place
    release = place.release
    name = place.listing.name
    assert release is not None  # noqa: S101 - the URL has a version
    package = str(name)
    asked = _asked_extras(request)
    if asked:
        metadata = ReleaseMetadata(request, place.listing, release.metadata_file)
        package = with_extras(name, known_extras(metadata.core.provides_extra, asked))

    def render() -> bytes:
        return f"{pinned_requirement(package, release)}\n".encode()

    headers = request.web.headers(name, None)
    if place.listing.origin.is_upstream:
        headers = page_cache_headers(0, "private")
    page = (MediaType.TEXT, ("requirements", package, release.version), place.listing.version)
    return page_response(
        request.context, request, *page, render, listing=place.listing, headers=headers
    )


def answer_releases(request: IndexRequest) -> Response:
    """Handle GET `/project/<name>/releases/`: those of a project, filtered by the query."""
    place = _place(request)
    if isinstance(place, Response):
        return place
    if place.release is None:
        return _empty(request, place, RELEASES)
    downloads, until = _downloads(request, place)
    elsewhere: tuple[ReleasesElsewhere, ...] = ()
    if not place.listing.origin.is_upstream:
        elsewhere = request.web.releases_elsewhere(request, place.viewer, place.listing.name)
    text = " ".join((request.query_field("q") or "").split())[:TEXT_LIMIT]
    number = _page_number(request)

    def render() -> bytes:
        content = ReleasesContent(
            head=place.head(),
            releases=releases_of(place.listing),
            downloads=downloads,
            elsewhere=elsewhere,
            text=text,
            number=number,
        )
        return releases_page(request.web.environment, place.viewer, content)

    if text:
        return _uncached(request, render)
    key = place.key(RELEASES, number, elsewhere)
    version = NO_NEIGHBOURS.version_with(place.listing)
    if downloads is not None:
        version = f"{version} {downloads.digest}"
    return request.web.respond(request, key, version, render, listing=place.listing, until=until)


def _uncached(request: IndexRequest, render: Render) -> Response:
    """Return a page for somebody's query: no cache keeps these, as there are too many."""
    try:
        page = render()
    except TemporaryPage as temporary:
        page = temporary.body
    return request.web.uncached_page(request, page, *request.web.security_headers, NO_STORE)


def _install_choice(request: IndexRequest) -> InstallChoice:
    """
    Return what the query of a page asks for.

    Raises Invalid (code `invalid_field`) for what the form of the page has not.
    """
    pin = request.query_field("pin") or ""
    if pin not in ("", *PINS):
        message = "There is no such choice of a version. Choose in the form below the commands."
        raise Invalid(message, code="invalid_field")
    return InstallChoice(_asked_extras(request), pin)


def _asked_extras(request: IndexRequest) -> frozenset[str]:
    return parse_extras(request.query_field("extras") or "")


def _place(request: IndexRequest) -> _Place | Response:
    """
    Return what a request is about, or the redirect from another spelling, or what is missing.

    Raises as `WebPages.require_lookup` and `resolver.find`.
    """
    name = request.web.require_lookup(request)
    sent = request.path_params.get("version")
    if sent is None and name != request.path_params["name"]:
        return _redirect(request, name)
    try:
        listing = resolver.find(request.context, name, request)
    except NotFound:
        with suppress(Unavailable):  # the answer names similar projects
            load_projects(request.context)
        raise
    unused = request.context.index.uploads.unused
    is_own = listing.origin.is_own
    if unused is not None and is_own and listing.files:
        unused.note_use()
    viewer = request.web.choosing_viewer(request, name if is_own else None)
    if listing.origin.is_upstream:
        viewer = replace(viewer, may_decide=request.web.may_decide(request.caller, name))
    latest = _latest(request, listing)
    release = latest if sent is None else find_release(listing, sent)
    if sent is not None:
        if release is None:
            return _missing_release(request, listing)
        if (name, release.version) != (request.path_params["name"], sent):
            return _redirect(request, name, release.version)
    version = release.version if release else ""
    viewer = request.web.with_places(
        request,
        viewer,
        name,
        version,
        is_release=sent is not None,
        is_public=listing.origin.is_upstream,
    )
    return _Place(
        listing=listing,
        viewer=viewer,
        latest=latest,
        release=release,
        is_release=sent is not None,
    )


def _empty(request: IndexRequest, place: _Place, tab: str) -> Response:
    """Return the page of a tab for a project without releases."""
    listing = place.listing
    files = place.listing.open
    project = files.project if isinstance(files, PrivateFiles) else None
    deleted = project.deleted_filenames if project else ()
    # of another index, or of an earlier day, it is not told here who has set the status
    status_set = status_set_in(project) if project and listing.origin.is_own else None

    def render() -> bytes:
        public = public_package(listing.origin)
        return empty_page(
            request.web.environment,
            place.viewer,
            listing,
            tab,
            public,
            has_deleted_files=bool(deleted),
            status_set=status_set,
            not_shown=notes_on(listing.origin, public),
            other_index=listing.origin.other_index,
        )

    key = place.key(tab)
    version = NO_NEIGHBOURS.version_with(listing)
    return request.web.respond(request, key, version, render, listing=listing)


def _downloads(request: IndexRequest, place: _Place) -> tuple[DownloadReport | None, float]:
    """Return the downloads that a page shows, and until when, on the monotonic clock."""
    counts = request.context.downloads
    if counts is None or place.is_release or place.listing.origin.is_upstream:
        return None, inf
    return counts.shown_report(place.listing.name, SHOWN_DAYS)


def _neighbours(
    request: IndexRequest, place: _Place, metadata: ReleaseMetadata
) -> tuple[_Neighbours, MadeFrom]:
    """
    Return what a page shows besides the listing, and the versions of that.

    Raises as `ReleaseMetadata.core`.
    """
    table = load_projects(request.context)
    name = place.listing.name
    visible = table.readable_by(request.caller)
    # all that the page shows besides the listing, so that a change of it ends the answer
    shows: MadeFrom = ((SEARCH, str(table.generation)),)
    required = visible.named(metadata.required_names(request.web.required_names))
    linked = {project.name: bool(project.origin) for project in required}
    if place.is_release:
        return _Neighbours(linked), shows
    uploaders = tuple[str, ...]()
    if place.viewer.may_manage:
        index = request.context.index
        stored = index.server.access.records.get()
        shows = (*shows, (GRANTS, stored.version))
        uploaders = index.server.access.uploaders_of(stored, name, index.name)
    return _Neighbours(linked, tuple(visible.used_by(name)), uploaders), shows


def _content(place: _Place, metadata: ReleaseMetadata, seen: _Neighbours) -> ReleaseContent:
    """Return what a page shows of a release, without its description."""
    return ReleaseContent(
        head=place.head(lacks_core=metadata.is_missing),
        core=metadata.core,
        linked_names=seen.linked_names,
        is_final=not metadata.is_missing,
    )


def _provenance(request: IndexRequest, place: _Place) -> ShownProvenance | None:
    """Return the provenance of the file that describes the release, or of another one, or None."""
    assert place.release is not None  # noqa: S101 - asked before
    files = (place.release.metadata_file, *place.release.files)
    file = next((file for file in files if isinstance(file, File) and file.has_provenance), None)
    if file is None:
        return None
    # one that is lost or damaged is for check to say
    with suppress(Unavailable, DecodeError):
        body = request.context.index.files.provenance(place.listing.name, file)
        signers = tuple(shown_signers(read_provenance(body)))
        return ShownProvenance(file.filename, file.version, signers)
    return None


def _described(request: IndexRequest, content: ReleaseContent) -> ReleaseContent:
    """Return content with its description, which is waited for unless it takes too long."""
    described = request.context.process.descriptions.render(content.core)
    if described.job is not None:
        request.wait(DESCRIPTION, _until_done, described.job)
    is_final = described.is_final and content.is_final
    return replace(content, description=described.html, is_final=is_final)


def _redirect(request: IndexRequest, *place: str) -> Response:
    """Return the redirect to the same page below the usual path of a project or a release."""
    rest = request.segments[1 + len(place) :]
    path = request.web.path("project", *place, *rest, query=request.query_string)
    return redirect(301, path.replace("/requirements.txt/", "/requirements.txt"))


def _missing_release(request: IndexRequest, listing: OpenListing) -> Response:
    sent = request.path_params["version"]
    root = "../" * len(request.segments)
    public = public_package(listing.origin)
    version = ""
    with suppress(Invalid):
        version = str(parse_version(sent))
    notes = notes_on(listing.origin, public)
    values = {
        "name": listing.name,
        "version": sent[:TEXT_LIMIT],
        "public": public,
        "not_shown": notes and notes.of_release(version),
    }
    may_decide = public is not None and request.web.may_decide(request.caller, listing.name)
    viewer = replace(request.web.index_viewer(request), may_decide=may_decide)
    return request.web.show(request, viewer, 404, "missing_release.html", root, **values)


def _latest(request: IndexRequest, listing: OpenListing) -> ReleaseOf[ShownFile] | None:
    """Return the release that describes a project, of which one file is remembered."""
    key = f"{listing.name} {listing.version}"
    file = request.web.latest_files.get(key)
    if file is not None:  # many releases take long to sort
        return release_of(listing, listed_version(file.version))
    latest = latest_release(releases_of(listing))
    if latest is not None:
        request.web.latest_files.put(key, latest.metadata_file, _FILE_BYTES)
    return latest


async def _until_done(job: Future[Any]) -> None:
    """Wait for a job, which others may wait for, too, for `DESCRIPTION_SECONDS` at most."""
    # it cancels nothing: the job goes on
    await wait((wrap_future(job),), timeout=DESCRIPTION_SECONDS)


def _checked(page: bytes, content: ReleaseContent | None) -> bytes:
    """
    Return a page.

    Raises TemporaryPage if a later one may show more of the core metadata.
    """
    if content is not None and not content.is_final:
        raise TemporaryPage(page)
    return page


def _file_query(request: IndexRequest) -> tuple[FileFilter, int]:
    """
    Return which files a request is for, and the number of the page.

    Raises Invalid (code `invalid_field`) for a field that the form of the page has not.
    """
    text, kind, python, platform = (
        (request.query_field(name) or "")[:TEXT_LIMIT]
        for name in ("q", "type", "python", "platform")
    )
    if kind not in ("", *TYPES):
        raise Invalid(_NO_SUCH_LIST, code="invalid_field")
    selected = FileFilter(" ".join(text.split()), kind, python, platform)
    return selected, _page_number(request)


def _page_number(request: IndexRequest) -> int:
    """
    Return the number of the page of a list that a query asks for.

    Raises Invalid (code `invalid_field`) for what is no number.
    """
    text = request.query_field("page") or "1"
    if not _PAGE_NUMBER.fullmatch(text):
        raise Invalid(_NO_SUCH_LIST, code="invalid_field")
    return int(text)
