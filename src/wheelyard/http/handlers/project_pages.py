"""
Handlers of the pages of a project and of its releases.

Each handler redirects from another spelling of the name or version. It answers with a page that
says so if the release does not exist (404), or if the project has no releases (200). It notes that
an own project has files, so that no upload has to read whether the index is in use.

Each handler raises Unauthenticated or Forbidden if the caller may not ask for the project, and
NotFound if there is no such project that the caller may read. It raises Unavailable if the store or
an upstream index does not answer, and Waiting if an upstream index has to be asked.
"""

import re
from asyncio import wait, wrap_future
from collections.abc import Hashable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
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
from wheelyard.rendering import project_facts
from wheelyard.rendering.listing import ShownFile
from wheelyard.rendering.web import core_metadata, file_list, release_page
from wheelyard.rendering.web.project_frame import DEPENDENCIES, DESCRIPTION, FILES, RELEASES
from wheelyard.rendering.web.project_overview import (
    ProjectContent,
    empty_page,
    project_page,
    status_set_in,
)
from wheelyard.rendering.web.provenance import ShownProvenance, shown_signers
from wheelyard.rendering.web.public_package import notes_on, public_package
from wheelyard.rendering.web.releases_page import ReleasesContent, releases_page
from wheelyard.rendering.web.viewer import ReleasesElsewhere, Viewer

DESCRIPTION_SECONDS: Final = 2.0
"""How long a page waits for its description, before it shows the plain text."""
_FILE_BYTES: Final = 1024
"""The memory that a file in `latest_files` takes, roughly."""
_NO_SUCH_LIST: Final = "There is no such list. Choose in the form above it, or a page below it."
_PAGE_NUMBER: Final = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)


class _Neighbours(Struct, frozen=True):
    """The other projects on a page, of those that the caller may read, and the uploaders."""

    linked_names: dict[NormalizedName, bool]
    """The dependencies that are projects of this index, with whether each is public."""
    used_by: tuple[project_facts.ProjectFacts, ...] = ()
    """The projects that depend on the project of the page."""
    uploaders: tuple[str, ...] = ()
    """Who may upload to the project of the page, in words."""

    def version_with(self, listing: OpenListing) -> str:
        """Return the version of a page with these neighbours and with a listing."""
        sorted_links = sorted(self.linked_names.items())
        texts = [f"{name}:{is_public}" for name, is_public in sorted_links]
        texts.append("")
        texts += [f"{user.name}:{user.status}:{user.origin}" for user in self.used_by]
        texts.append("")
        texts += self.uploaders
        all_texts = " ".join(texts).encode()
        digest = sha256(all_texts).hexdigest()
        origin = listing.origin
        # a stale page shows since when it is stale
        stale_since = ""
        if origin.is_stale:
            stale_since = str(origin.confirmed_at)
        # a decision may change a page without changing which files are shown
        return f"{listing.version} {origin.generation} {origin.refusal} {stale_since} {digest}"


NO_NEIGHBOURS: Final = _Neighbours({})


class _PageSubject(Struct, frozen=True, kw_only=True):
    """The project and the release that a request for a page is about, and the viewer."""

    listing: OpenListing
    viewer: Viewer
    latest: project_facts.ReleaseOf[ShownFile] | None
    """The release that describes the project, or None without releases."""
    release: project_facts.ReleaseOf[ShownFile] | None
    """The release that the page is about: the one in its URL, or else the latest one."""
    is_release: bool
    """Whether the URL has a version."""

    def key(self, tab: str, *tab_fields: Hashable) -> Hashable:
        """Return the key under which the page of a tab is cached, with fields of the tab."""
        version = ""
        if self.release is not None and self.is_release:
            version = self.release.version
        return ("project", self.listing.name, version, tab, self.viewer, *tab_fields)

    def head(self, *, lacks_core: bool = False) -> release_page.ReleaseHead:
        """
        Return the head, which all pages about the release have in common.

        The subject must have a release. `lacks_core` is whether an upstream index has not sent the
        core metadata. Raises Unavailable if the decisions about a public package cannot be read.
        """
        release = self.release
        latest = self.latest
        origin = self.listing.origin
        public_facts = public_package(origin)
        assert release is not None and latest is not None  # noqa: S101, PT018 - asked before
        not_shown = notes_on(origin, public_facts)

        # the page of one release does not tell of hidden files of other releases
        if self.is_release and public_facts is not None:
            public_facts = public_facts.of_release(release.version)
        if self.is_release and not_shown is not None:
            not_shown = not_shown.of_release(release.version)
        return release_page.ReleaseHead(
            project=self.listing,
            release=release,
            latest=latest,
            is_release=self.is_release,
            public=public_facts,
            not_shown=not_shown,
            lacks_core=lacks_core,
            other_index=origin.other_index,
        )


class _DescriptionPage(Struct, frozen=True, kw_only=True):
    """The page with the description of a project or of a release, before it is rendered."""

    request: IndexRequest
    subject: _PageSubject
    metadata: ReleaseMetadata
    neighbours: _Neighbours
    downloads: DownloadReport | None
    choice: core_metadata.InstallChoice
    namespaces: tuple[str, ...]
    """The namespaces that the project is in, and that have owners."""

    def render(self) -> bytes:
        """
        Return the bytes of the page.

        Raises TemporaryPage if a later page may show more, and Waiting for the description or for
        an upstream index. Raises Forbidden if the policy refuses the file that describes the
        release. Raises Unavailable if the store does not answer.
        """
        request = self.request
        subject = self.subject
        environment = request.web.environment
        content = _release_content(subject, self.metadata, self.neighbours)
        content = _with_description(request, content)
        content = replace(
            content,
            provenance=_find_provenance(request, subject),
            namespaces=self.namespaces,
            choice=self.choice,
        )
        if subject.is_release:
            page = release_page.release_page(environment, subject.viewer, content)
        else:
            project_content = ProjectContent(
                project=subject.listing,
                releases=project_facts.releases_of(subject.listing),
                latest=content,
                used_by=self.neighbours.used_by,
                uploaders=self.neighbours.uploaders,
                downloads=self.downloads,
            )
            page = project_page(environment, subject.viewer, project_content)
        return _require_final(page, content)


def answer_description(request: IndexRequest) -> Response:
    """
    Handle GET `/project/<name>/` and `/project/<name>/<version>/`: the description.

    A description that takes too long to render is shown as plain text. `?pin=` and `?extras=` are
    for the commands on the page. Raises Invalid (code `invalid_field`) for a `pin` that the page
    does not offer. Raises Forbidden if the policy refuses the file that describes the release.
    """
    subject = _find_subject(request)
    if isinstance(subject, Response):
        return subject
    if subject.release is None:
        return _answer_empty(request, subject, DESCRIPTION)
    listing = subject.listing
    metadata = ReleaseMetadata(request, listing, subject.release.metadata_file)
    neighbours, shows = _find_neighbours(request, subject, metadata)
    downloads, until = _find_downloads(request, subject)
    choice = _install_choice(request)
    namespaces = resolver.namespaces_of(request.context, listing) or ()
    owned_namespaces = tuple(namespace.name for namespace in namespaces if namespace.owned)
    page = _DescriptionPage(
        request=request,
        subject=subject,
        metadata=metadata,
        neighbours=neighbours,
        downloads=downloads,
        choice=choice,
        namespaces=owned_namespaces,
    )
    if choice != core_metadata.NO_CHOICE:
        return _uncached(request, page.render)
    key = subject.key(DESCRIPTION)
    version = f"{neighbours.version_with(listing)} {' '.join(owned_namespaces)}"
    if downloads is not None:
        version = f"{version} {downloads.digest}"
    until = min(until, resolver.namespaces_deadline(request.context))
    return request.web.respond(
        request, key, version, page.render, listing=listing, shows=shows, until=until
    )


def answer_dependencies(request: IndexRequest) -> Response:
    """
    Handle GET `/project/.../dependencies/`: the dependencies of a release, and its dependents.

    Only projects that the caller may read are linked, or named as dependents. Raises Forbidden if
    the policy refuses the file that describes the release.
    """
    subject = _find_subject(request)
    if isinstance(subject, Response):
        return subject
    if subject.release is None:
        return _answer_empty(request, subject, DEPENDENCIES)
    listing = subject.listing
    metadata = ReleaseMetadata(request, listing, subject.release.metadata_file)
    neighbours, shows = _find_neighbours(request, subject, metadata)
    render = partial(_render_dependencies, request, subject, metadata, neighbours)
    key = subject.key(DEPENDENCIES)
    version = neighbours.version_with(listing)
    return request.web.respond(request, key, version, render, listing=listing, shows=shows)


def _render_dependencies(
    request: IndexRequest,
    subject: _PageSubject,
    metadata: ReleaseMetadata,
    neighbours: _Neighbours,
) -> bytes:
    """
    Return the bytes of the page with the dependencies of a release, and its dependents.

    Raises TemporaryPage if a later page may show more.
    """
    content = _release_content(subject, metadata, neighbours)
    page = release_page.dependencies_page(
        request.web.environment, subject.viewer, content, used_by=neighbours.used_by
    )
    return _require_final(page, content)


def answer_files(request: IndexRequest) -> Response:
    """
    Handle GET `/project/.../files/`: the files of a release, filtered by the query.

    Raises Invalid (code `invalid_field`) for a type of file that the page does not offer, or if
    `?page=` is no number. Raises NoSuchPage if the list has no page of this number.
    """
    subject = _find_subject(request)
    if isinstance(subject, Response):
        return subject
    if subject.release is None:
        return _answer_empty(request, subject, FILES)
    file_filter = _file_filter(request)
    number = _page_number(request)
    render = partial(_render_files, request, subject, subject.release, file_filter, number)
    if file_filter != file_list.ALL_FILES:
        return _uncached(request, render)
    listing = subject.listing
    key = subject.key(FILES, number)
    version = NO_NEIGHBOURS.version_with(listing)
    return request.web.respond(request, key, version, render, listing=listing)


def _render_files(
    request: IndexRequest,
    subject: _PageSubject,
    release: project_facts.ReleaseOf[ShownFile],
    file_filter: file_list.FileFilter,
    number: int,
) -> bytes:
    """
    Return the bytes of a page of the files of a release.

    Raises NoSuchPage if the list has no page of this number.
    """
    environment = request.web.environment
    files = file_list.file_list(release, file_filter, number, environment.rows_per_page)
    if files is None:
        # a list without files does not even have a first page
        page_count = 1
        first_page = file_list.file_list(release, file_filter, 1, environment.rows_per_page)
        if first_page is not None:
            page_count = first_page.pages
        raise NoSuchPage(number, page_count)
    return release_page.files_page(environment, subject.viewer, subject.head(), files)


def answer_old_files(request: IndexRequest) -> Response:
    """
    Handle GET `/project/.../files/<facet>/<number>/`, a URL of older pages: redirect.

    The project need not exist. Raises Unauthenticated, Forbidden or NotFound if the caller may not
    ask for it.
    """
    name = request.web.require_lookup(request)
    params = request.path_params
    facet = params["facet"]
    number = params.get("number", "")
    fields: dict[str, str] = {}
    # a URL without a facet has the number of the page in its place
    if facet.isdecimal():
        number = facet
    elif facet.startswith("on-"):
        fields["platform"] = facet
    elif facet:
        fields["python"] = facet
    if number:
        fields["page"] = number
    query = urlencode(fields).encode()
    path = request.web.path("project", name, params["version"], "files", query=query)
    return redirect(301, path)


def answer_link_of_hatch(request: IndexRequest) -> Response:
    """
    Handle GET `/legacy/<name>/<version>/`, a URL that `hatch publish` prints: redirect.

    The project need not exist. Raises Unauthenticated, Forbidden or NotFound if the caller may not
    ask for it.
    """
    name = request.web.require_lookup(request)
    version = request.path_params["version"]
    return redirect(301, request.web.path("project", name, version))


def answer_requirements(request: IndexRequest) -> Response:
    """
    Handle GET `/project/<name>/<version>/requirements.txt`: the release with its hashes.

    The extras of `?extras=` that the release has are added to it. Then the core metadata is read:
    raises Forbidden if the policy refuses the file that has it.
    """
    subject = _find_subject(request)
    if isinstance(subject, Response):
        return subject
    listing = subject.listing
    release = subject.release
    assert release is not None  # noqa: S101 - the URL has a version
    requirement_name = str(listing.name)
    extras = _extras_in_query(request)

    # metadata is read only for extras, as an upstream index may have to be asked for it
    if extras:
        metadata = ReleaseMetadata(request, listing, release.metadata_file)
        known_extras = core_metadata.known_extras(metadata.core.provides_extra, extras)
        requirement_name = core_metadata.with_extras(listing.name, known_extras)

    def render() -> bytes:
        return f"{file_list.pinned_requirement(requirement_name, release)}\n".encode()

    headers = request.web.headers(listing.name, None)

    # no shared cache may keep a public package, as its name may become private any time
    if listing.origin.is_upstream:
        headers = page_cache_headers(0, "private")
    return page_response(
        request.context,
        request,
        MediaType.TEXT,
        ("requirements", requirement_name, release.version),
        listing.version,
        render,
        listing=listing,
        headers=headers,
    )


def answer_releases(request: IndexRequest) -> Response:
    """
    Handle GET `/project/<name>/releases/`: the releases of a project, filtered by the query.

    The page of a private project also has its releases in other indexes. Raises Invalid (code
    `invalid_field`) if `?page=` is no number, and NoSuchPage if the list has no page of this
    number.
    """
    subject = _find_subject(request)
    if isinstance(subject, Response):
        return subject
    if subject.release is None:
        return _answer_empty(request, subject, RELEASES)
    listing = subject.listing
    downloads, until = _find_downloads(request, subject)
    elsewhere: tuple[ReleasesElsewhere, ...] = ()

    # not for a public project, as other indexes might have to ask an upstream index
    if not listing.origin.is_upstream:
        elsewhere = request.web.releases_elsewhere(request, subject.viewer, listing.name)
    words = (request.query_field("q") or "").split()
    text = " ".join(words)[: core_metadata.TEXT_LIMIT]
    number = _page_number(request)
    render = partial(_render_releases, request, subject, downloads, elsewhere, text, number)

    # not cached, as another request with this text is unlikely
    if text:
        return _uncached(request, render)
    key = subject.key(RELEASES, number, elsewhere)
    version = NO_NEIGHBOURS.version_with(listing)
    if downloads is not None:
        version = f"{version} {downloads.digest}"
    return request.web.respond(request, key, version, render, listing=listing, until=until)


def _render_releases(
    request: IndexRequest,
    subject: _PageSubject,
    downloads: DownloadReport | None,
    elsewhere: tuple[ReleasesElsewhere, ...],
    text: str,
    number: int,
) -> bytes:
    """
    Return the bytes of a page of the releases of a project.

    Raises NoSuchPage if the list has no page of this number.
    """
    content = ReleasesContent(
        head=subject.head(),
        releases=project_facts.releases_of(subject.listing),
        downloads=downloads,
        elsewhere=elsewhere,
        text=text,
        number=number,
    )
    return releases_page(request.web.environment, subject.viewer, content)


def _uncached(request: IndexRequest, render: Render) -> Response:
    """Return a page for a query that is not cached, as there are too many different ones."""
    # whether the page is temporary matters only for a cache
    try:
        page = render()
    except TemporaryPage as temporary:
        page = temporary.body
    return request.web.uncached_page(request, page, *request.web.security_headers, NO_STORE)


def _install_choice(request: IndexRequest) -> core_metadata.InstallChoice:
    """
    Return the choice in the query for the commands that install a project.

    Raises Invalid (code `invalid_field`) for a pin that the form of the page does not offer.
    """
    pin = request.query_field("pin") or ""
    if pin and pin not in core_metadata.PINS:
        message = "There is no such choice of a version. Choose in the form below the commands."
        raise Invalid(message, code="invalid_field")
    return core_metadata.InstallChoice(_extras_in_query(request), pin)


def _extras_in_query(request: IndexRequest) -> frozenset[str]:
    """Return the extras that the query names, also those that the release does not have."""
    return core_metadata.parse_extras(request.query_field("extras") or "")


def _find_subject(request: IndexRequest) -> _PageSubject | Response:
    """
    Return the subject of a request, or a response without one.

    That is a redirect from another spelling of the name or version, or the page (404) of a release
    that does not exist. Raises Unauthenticated or Forbidden if the caller may not ask for the
    project. Raises NotFound if there is no such project that the caller may read. Raises
    Unavailable if the store or an upstream index does not answer. Raises Waiting if an upstream
    index has to be asked.
    """
    name = request.web.require_lookup(request)
    sent_version = request.path_params.get("version")
    is_release = sent_version is not None
    if not is_release and name != request.path_params["name"]:
        return _redirect(request, name)
    try:
        listing = resolver.find(request.context, name, request)
    except NotFound:
        # reads the search table, as the page of the error names similar projects from it
        with suppress(Unavailable):
            load_projects(request.context)
        raise
    is_own = listing.origin.is_own

    # an index with a file is in use, which an upload need not read in the store then
    unused = request.context.index.uploads.unused
    if unused is not None and is_own and listing.files:
        unused.note_use()
    own_name = name if is_own else None
    viewer = request.web.choosing_viewer(request, own_name)
    if listing.origin.is_upstream:
        viewer = replace(viewer, may_decide=request.web.may_decide(request.caller, name))
    latest = _latest_release(request, listing)
    release = latest
    if sent_version is not None:
        release = project_facts.find_release(listing, sent_version)
        if release is None:
            return _missing_release(request, listing)
        # the version in the path may be another spelling of that of the release (PEP 440)
        if (name, release.version) != (request.path_params["name"], sent_version):
            return _redirect(request, name, release.version)
    version = ""
    if release is not None:
        version = release.version
    viewer = request.web.with_places(
        request,
        viewer,
        name,
        version,
        is_release=is_release,
        is_public=listing.origin.is_upstream,
    )
    return _PageSubject(
        listing=listing, viewer=viewer, latest=latest, release=release, is_release=is_release
    )


def _answer_empty(request: IndexRequest, subject: _PageSubject, tab: str) -> Response:
    """Return the page of a tab for a project without releases."""
    listing = subject.listing
    key = subject.key(tab)
    version = NO_NEIGHBOURS.version_with(listing)
    render = partial(_render_empty, request, subject, tab)
    return request.web.respond(request, key, version, render, listing=listing)


def _render_empty(request: IndexRequest, subject: _PageSubject, tab: str) -> bytes:
    """Return the bytes of the page of a tab for a project without releases."""
    listing = subject.listing
    origin = listing.origin
    has_deleted_files = False
    status_set = None
    if isinstance(listing.open, PrivateFiles):
        project = listing.open.project
        has_deleted_files = bool(project.deleted_filenames)
        # only an own project of today shows who has set the status
        if origin.is_own:
            status_set = status_set_in(project)
    public_facts = public_package(origin)
    return empty_page(
        request.web.environment,
        subject.viewer,
        listing,
        tab,
        public_facts,
        has_deleted_files=has_deleted_files,
        status_set=status_set,
        not_shown=notes_on(origin, public_facts),
        other_index=origin.other_index,
    )


def _find_downloads(
    request: IndexRequest, subject: _PageSubject
) -> tuple[DownloadReport | None, float]:
    """
    Return the downloads on a page, or None without any, and until when they are shown.

    The second value is a time on the monotonic clock.
    """
    # the page of one release has no figure of downloads, and public packages are not counted
    counts = request.context.downloads
    if counts is None or subject.is_release or subject.listing.origin.is_upstream:
        return None, inf
    return counts.shown_report(subject.listing.name, SHOWN_DAYS)


def _find_neighbours(
    request: IndexRequest, subject: _PageSubject, metadata: ReleaseMetadata
) -> tuple[_Neighbours, MadeFrom]:
    """
    Return the neighbours on a page, and the versions of the documents that they are from.

    An answer is repeated only while these versions stay. Raises Forbidden if the policy refuses the
    file that has the core metadata. Raises Unavailable if the store does not answer. Raises Waiting
    if an upstream index has to be asked.
    """
    table = load_projects(request.context)
    name = subject.listing.name
    visible = table.readable_by(request.caller)
    shows: MadeFrom = ((SEARCH, str(table.generation)),)
    required_names = metadata.required_names(request.web.required_names)
    required_projects = visible.named(required_names)
    linked_names = {project.name: bool(project.origin) for project in required_projects}
    if subject.is_release:
        return _Neighbours(linked_names), shows
    uploaders: tuple[str, ...] = ()
    # only a person who can change who may upload is told of it
    if subject.viewer.may_manage:
        index = request.context.index
        snapshot = index.server.access.records.get()
        shows += ((GRANTS, snapshot.version),)
        uploaders = index.server.access.uploaders_of(snapshot, name, index.name)
    used_by = tuple(visible.used_by(name))
    return _Neighbours(linked_names, used_by, uploaders), shows


def _release_content(
    subject: _PageSubject, metadata: ReleaseMetadata, neighbours: _Neighbours
) -> release_page.ReleaseContent:
    """Return the content of a page about a release, without its description."""
    return release_page.ReleaseContent(
        head=subject.head(lacks_core=metadata.is_missing),
        core=metadata.core,
        linked_names=neighbours.linked_names,
        is_final=not metadata.is_missing,
    )


def _find_provenance(request: IndexRequest, subject: _PageSubject) -> ShownProvenance | None:
    """
    Return the provenance of a file of the release, first of the one that describes the release.

    None means that no file has a provenance, or that it cannot be read. The subject must have a
    release.
    """
    release = subject.release
    assert release is not None  # noqa: S101 - asked before
    for file in (release.metadata_file, *release.files):
        # files of an upstream index are of another class, and the page shows no provenance of them
        if isinstance(file, File) and file.has_provenance:
            return _read_provenance(request, subject.listing.name, file)
    return None


def _read_provenance(
    request: IndexRequest, name: NormalizedName, file: File
) -> ShownProvenance | None:
    """Return the provenance of a file, or None if it is lost or damaged, or cannot be read now."""
    # the page is shown without it; `wheelyard check` names the lost objects
    with suppress(Unavailable, DecodeError):
        body = request.context.index.files.provenance(name, file)
        signers = tuple(shown_signers(read_provenance(body)))
        return ShownProvenance(file.filename, file.version, signers)
    return None


def _with_description(
    request: IndexRequest, content: release_page.ReleaseContent
) -> release_page.ReleaseContent:
    """
    Return the content with the description of the release.

    Raises Waiting while another process renders the description, for `DESCRIPTION_SECONDS` at most.
    """
    description = request.context.process.descriptions.render(content.core)
    if description.job is not None:
        request.wait(DESCRIPTION, _wait_until_done, description.job)
    is_final = description.is_final and content.is_final
    return replace(content, description=description.html, is_final=is_final)


def _redirect(request: IndexRequest, name: NormalizedName, version: str = "") -> Response:
    """Return the redirect to the same page below the usual path of a project or a release."""
    segments = ["project", name]
    if version:
        segments.append(version)
    segments_of_page = request.segments[len(segments) :]
    path = request.web.path(*segments, *segments_of_page, query=request.query_string)
    # the path of this page alone has no slash at its end
    return redirect(301, path.replace("/requirements.txt/", "/requirements.txt"))


def _missing_release(request: IndexRequest, listing: OpenListing) -> Response:
    """Return the page (404) that says why a project has no release of the version in the path."""
    sent_version = request.path_params["version"]
    public_facts = public_package(listing.origin)

    # a text that is no version has no hidden files
    version = ""
    with suppress(Invalid):
        version = str(parse_version(sent_version))
    not_shown = notes_on(listing.origin, public_facts)
    if not_shown is not None:
        not_shown = not_shown.of_release(version)
    may_decide = public_facts is not None and request.web.may_decide(request.caller, listing.name)
    viewer = replace(request.web.index_viewer(request), may_decide=may_decide)
    return request.web.show(
        request,
        viewer,
        404,
        "missing_release.html",
        "../" * len(request.segments),
        name=listing.name,
        version=sent_version[: core_metadata.TEXT_LIMIT],
        public=public_facts,
        not_shown=not_shown,
    )


def _latest_release(
    request: IndexRequest, listing: OpenListing
) -> project_facts.ReleaseOf[ShownFile] | None:
    """Return the release that describes a project, or None if the project has no releases."""
    key = f"{listing.name} {listing.version}"
    # to sort many releases takes long, so a file of the latest release is cached
    file = request.web.latest_files.get(key)
    if file is not None:
        return project_facts.release_of(listing, listed_version(file.version))
    latest = project_facts.latest_release(project_facts.releases_of(listing))
    if latest is not None:
        request.web.latest_files.put(key, latest.metadata_file, _FILE_BYTES)
    return latest


async def _wait_until_done(job: Future[Any]) -> None:
    """Wait for a job, for `DESCRIPTION_SECONDS` at most."""
    # `wait` does not cancel the job, for which other requests may wait, too
    await wait((wrap_future(job),), timeout=DESCRIPTION_SECONDS)


def _require_final(page: bytes, content: release_page.ReleaseContent) -> bytes:
    """
    Return a page, or raise TemporaryPage if a later page may show more of its release.

    A later page shows more if the description or the core metadata has not come yet.
    """
    if not content.is_final:
        raise TemporaryPage(page)
    return page


def _file_filter(request: IndexRequest) -> file_list.FileFilter:
    """
    Return the filter of files in the query.

    Raises Invalid (code `invalid_field`) for a type that the form of the page does not offer.
    """
    kind = _text_field(request, "type")
    if kind and kind not in file_list.TYPES:
        raise Invalid(_NO_SUCH_LIST, code="invalid_field")
    text = " ".join(_text_field(request, "q").split())
    python = _text_field(request, "python")
    platform = _text_field(request, "platform")
    return file_list.FileFilter(text, kind, python, platform)


def _text_field(request: IndexRequest, name: str) -> str:
    """Return a field of the query, cut off at a length that no text in a list has."""
    return (request.query_field(name) or "")[: core_metadata.TEXT_LIMIT]


def _page_number(request: IndexRequest) -> int:
    """
    Return the number of the page of a list in the query, or 1 if the query has none.

    Raises Invalid (code `invalid_field`) if the field is no number.
    """
    text = request.query_field("page") or "1"
    if not _PAGE_NUMBER.fullmatch(text):
        raise Invalid(_NO_SUCH_LIST, code="invalid_field")
    return int(text)
