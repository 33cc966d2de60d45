"""
Handlers of what programs ask for: the Simple API, PyPI's JSON, the list for searches, and files.

Each is for whoever may read the project.
"""

from functools import partial
from math import inf
from typing import Final

from msgspec.structs import replace
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from wheelyard.api.operation import naming_alternatives
from wheelyard.authentication.authorization import parse_project_name
from wheelyard.catalog import keys
from wheelyard.catalog.changes import NO_SERIAL
from wheelyard.catalog.document_cache import Snapshot
from wheelyard.catalog.projects import NameList
from wheelyard.catalog.serials import SerialTable
from wheelyard.errors import Forbidden, Invalid, NotFound, Unauthenticated, WheelyardError
from wheelyard.http import resolver
from wheelyard.http.client_paths import build_path
from wheelyard.http.context import IndexContext, IndexRequest
from wheelyard.http.error_responses import file_not_found
from wheelyard.http.messages import (
    JSON,
    MadeFrom,
    Response,
    make_response,
    redirect,
)
from wheelyard.http.page_cache import CHANGES, SEARCH, SERIALS, cache_keys
from wheelyard.http.representation import MediaType, requested_range
from wheelyard.http.responses import (
    FileRequest,
    Repeats,
    load_projects,
    not_acceptable,
    page_headers,
    page_response,
    requested_media_type,
    visibility_key,
)
from wheelyard.http.search_lookup import indexes_to_ask
from wheelyard.model.access import Action
from wheelyard.model.distribution_filename import (
    KnownDistribution,
    ambiguous_filename,
    known_filename_readings,
    parse_known_filename,
    parse_name,
    parse_version,
)
from wheelyard.model.metadata import parse_any
from wheelyard.model.project import File
from wheelyard.rendering import simple_pages
from wheelyard.rendering.project_facts import (
    latest_release,
    project_json,
    release_of,
    releases_of,
    results_json,
    search_json,
)
from wheelyard.repository.index_repository import ListedNames

LAST_SERIAL: Final = b"x-pypi-last-serial"
MOST_LOOKS: Final = 3
"""How often a project is looked at for its page because somebody changes it meanwhile."""
SHOWN_RESULTS: Final = 20
"""The projects that a search as one types shows, of all that the page of results has."""
METADATA_SUFFIX: Final = ".metadata"
_SENDING: Final = frozenset({200, 206, 302})
"""The statuses of responses with a file, of a part of it, and with the URL of a bucket."""


def _is_older(names: Snapshot[NameList], serials: SerialTable) -> bool:
    """Return whether a list of names may lack a project that has a serial."""
    return names.value is None or names.value.revision < serials.names_revision


def project_list(request: IndexRequest) -> Response:
    """Handle GET `/simple/`: the names of the projects that the caller may read."""
    media_type = requested_media_type(request)
    caller = request.caller
    if media_type is None:
        return not_acceptable()
    is_json = media_type.value.is_json
    listed, serials = _listed_names(request.context, is_json=is_json)

    names_namespaces = is_json and resolver.has_namespaces(request.context)

    def render() -> bytes:
        shown = listed.readable_by(caller)
        if not is_json:
            return simple_pages.list_html(shown)
        listed_serials = serials.serials if serials else {}
        return simple_pages.list_json(shown, listed_serials, has_namespaces=names_namespaces)

    made_from = cache_keys(listed.made_from)
    version = listed.version
    if serials is not None:
        generation = str(serials.generation)
        made_from = (*made_from, (SERIALS, generation))
        version = f"{version} {generation}"
    until = inf
    if is_json:
        until = resolver.namespaces_deadline(request.context)
        version = f"{version} {names_namespaces}"
    # a caller gets only the page that was made for the same set of readable projects
    page = (media_type, ("list", is_json, visibility_key(caller)), version, render)
    return page_response(request.context, request, *page, repeats=(made_from, until))


def _listed_names(
    context: IndexContext, *, is_json: bool
) -> tuple[ListedNames, SerialTable | None]:
    """
    Return the names that are shown, and the serials of their projects if the list has some.

    It has them in JSON if the index shows its own packages alone, and all files of them. Raises
    Unavailable if the store does not answer.
    """
    index = context.index
    site = context.process.site
    repository = index.repository
    if repository.hides_files:
        return repository.names(), None
    if site is not None:  # it cannot send the header of a page with its serial
        return ListedNames(((index.name, site.names.get()),)), None
    if not (is_json and repository.has_own_packages_alone):
        return repository.names(), None
    serials = index.serials.listed()
    # after the serials: else a new project is not listed, and a later change of another one is
    listed = repository.names()
    if _is_older(listed.lists[0][1], serials):  # on a bucket, the cached one may be older
        listed = ListedNames(((index.name, index.projects.names.read()),))
    return listed, serials


def project_detail(request: IndexRequest) -> Response:
    """Handle GET `/simple/<name>/`: the page of a project, or a redirect to its usual URL."""
    name = parse_project_name(request.path_params["name"])
    request.context.read_policy.require_lookup(request.caller, name)
    server = request.context.index.settings.server
    root = request.segments[:-1]
    if not root and server.public_path:
        # from this URL, the page's relative links would lead outside the prefix
        return redirect(301, build_path(server, ("simple", name), request.query_string))
    if name != request.path_params["name"]:
        return redirect(301, build_path(server, (*root, name), request.query_string))
    media_type = requested_media_type(request)
    if media_type is None:
        return not_acceptable()
    context = request.context
    listing = resolver.find_for_installer(context, name, request)
    if media_type.value.is_json:
        return _detail_json(request, listing, media_type)

    def render() -> bytes:
        shown = replace(listing, files=listing.open.page_files())
        return simple_pages.detail_html(shown, context.files_from_page, context.provenance_root)

    # types of HTML share a page, and so do those of JSON
    page = (media_type, (name, False), listing.version, render)
    return page_response(context, request, *page, listing=listing)


def _detail_json(
    request: IndexRequest, listing: resolver.OpenListing, media_type: MediaType
) -> Response:
    """Return the page of a project as JSON, with its namespaces if the index has any."""
    context = request.context
    namespaces = resolver.namespaces_of(context, listing)

    def render() -> bytes:
        shown = replace(listing, files=listing.open.page_files())
        return simple_pages.detail_json(
            shown, context.files_from_page, context.provenance_root, namespaces
        )

    version = f"{listing.version} {namespaces}"
    page = (media_type, (listing.name, True), version, render)
    repeats: Repeats = ((), resolver.namespaces_deadline(context))
    return page_response(context, request, *page, listing=listing, repeats=repeats)


def redirect_to_slash(request: IndexRequest) -> Response:
    """Handle GET of a path without its slash: redirect, if the caller may read the project."""
    if "name" in request.path_params:
        name = parse_project_name(request.path_params["name"])
        request.context.read_policy.require_lookup(request.caller, name)
    server = request.context.index.settings.server
    return redirect(301, build_path(server, request.segments, request.query_string))


def answer_pypi_json(request: IndexRequest) -> Response:
    """Handle GET `/pypi/<name>/json` and `/pypi/<name>/<version>/json`, in any spelling."""
    with naming_alternatives(request.context.index):
        return _answer_pypi_json(request)


def _answer_pypi_json(request: IndexRequest) -> Response:
    try:
        name = parse_name(request.path_params["name"])
        request.context.read_policy.require_lookup(request.caller, name)
        sent = request.path_params.get("version")
        version = None if sent is None else parse_version(sent)
    except Invalid as error:
        raise NotFound(error.message) from error
    listing, serials = _find_newest(name, request)
    change = serials.changes.get(name)
    files = listing.open
    if request.context.process.site is not None or not isinstance(files, resolver.PrivateFiles):
        if version is not None and not isinstance(files, resolver.PrivateFiles):
            files.require_version(request, version)
        return _pypi_json(request, listing, version, request.context.files_from_root)
    made_from: MadeFrom = ((CHANGES, serials.feed),)
    # another thread may have cached an older document meanwhile: its page has no serial
    is_shown = change is not None and change.revision <= files.project.revision
    serial = change.serial if change and is_shown else NO_SERIAL
    files_url = request.context.packages_from_root
    return _pypi_json(request, listing, version, files_url, (made_from, serial))


def _find_newest(
    name: NormalizedName, request: IndexRequest
) -> tuple[resolver.OpenListing, SerialTable]:
    """
    Return what `resolver.find` does, as new as the table says that is returned with it.

    The table is empty for a project that has no serials. Raises as `resolver.find` does.
    """
    find = partial(resolver.find, request.context, name, request)
    index = request.context.index
    serials = SerialTable()
    # rules may show something else without a change of the project
    if request.context.process.site is not None or index.definition.hides_files:
        return find(), serials
    for looks in range(MOST_LOOKS):
        listing = None
        revision = 0
        try:
            listing = find()
            if not isinstance(listing.open, resolver.PrivateFiles):
                return listing, SerialTable()
            first = listing.open.first
            if len(listing.open.sources.projects) > 1 or first.index != index.name:
                return listing, SerialTable()
            revision = first.project.revision
        except NotFound:
            # others may not learn, by how long it takes, whether there is such a project
            if looks or not request.caller.may(Action.READ, name):
                raise
        # a page with a new document has its serial at once, whoever has committed it
        serials = index.serials.given_to(name, revision)
        change = serials.changes.get(name)
        if listing is not None and (change is None or change.revision <= revision):
            return listing, serials
        if change is None:
            break
        # on a bucket, the cached document may be older, or the cached list may lack its name:
        # a mirror would keep the old page, or take it for deleted
        index.projects.documents.get(keys.project(name), "current")
    return find(), serials


def _pypi_json(
    request: IndexRequest,
    listing: resolver.OpenListing,
    version: Version | None,
    files_url: str,
    serial: tuple[MadeFrom, int] = ((), NO_SERIAL),
) -> Response:
    """
    Return PyPI's JSON of a project, or of one version, with its serial if it has one.

    Raises NotFound if there is no release to describe.
    """
    name = listing.name
    (made_from, last_serial) = serial

    def render() -> bytes:
        releases = None if version else releases_of(listing)
        release = (
            latest_release(releases or ()) if version is None else release_of(listing, version)
        )
        if release is None:
            raise NotFound(f"{name} has no such release. See /simple/{name}/ for those it has.")
        core = listing.open.core_metadata(request, release.metadata_file.filename)
        core = core or parse_any(None, name, release.version)
        return project_json(name, release, core, files_url, releases, last_serial)

    headers = page_headers(request.context, MediaType.PLAIN_JSON, listing)
    if last_serial != NO_SERIAL:
        headers = (*headers, (LAST_SERIAL, b"%d" % last_serial))
    key = ("pypi_json", name, version)
    document = f"{listing.version} {last_serial}"
    page = (MediaType.PLAIN_JSON, key, document, render)
    repeats = (made_from, inf)
    return page_response(
        request.context, request, *page, repeats=repeats, listing=listing, headers=headers
    )


def answer_search(request: IndexRequest) -> Response:
    """
    Handle GET `/search.json`: names, versions and summaries of projects the caller may read.

    With `?q=`, those that have these words: how many, the first of them, and the upstream indexes
    that a page of results looks the name up in.
    """
    caller = request.caller
    table = load_projects(request.context)
    words = request.query_field("q")
    if words is not None:
        visible = table.readable_by(caller)
        name = words.strip()
        results = visible.search(words, 0, SHOWN_RESULTS)
        is_listed = any(visible.named([canonicalize_name(name)]))
        asked = [] if is_listed else indexes_to_ask(request, name)
        body = results_json(results.total, results.projects, asked)
        return make_response(200, JSON, body, *page_headers(request.context, MediaType.PLAIN_JSON))

    def render() -> bytes:
        return search_json(table.readable_by(caller).projects)

    key = ("search", visibility_key(caller))
    version = str(table.generation)
    page = (MediaType.PLAIN_JSON, key, version, render)
    made_from = ((SEARCH, version),)
    return page_response(request.context, request, *page, repeats=(made_from, inf))


def answer_file(request: IndexRequest) -> Response:
    """
    Handle GET of a distribution or its core metadata, which is 404 if no project serves it.

    The path has the name of the project and the SHA-256, or the name in any spelling, or none.
    """
    sent = request.path_params.get("project")
    sha256 = request.path_params.get("sha256")
    sent_filename = request.path_params["filename"]
    filename = sent_filename.removesuffix(METADATA_SUFFIX)
    try:
        if sent is None:
            name = _project_of(filename, request)
        else:
            name = parse_name(sent)
            # before the filename is parsed
            request.context.read_policy.require_lookup(request.caller, name)
        if sha256 is None:
            parse_known_filename(filename, name)
    except Invalid:
        return file_not_found()
    if sha256 and name != sent:
        return file_not_found()
    listing = resolver.find(request.context, name, request, may_refresh=False)
    file_request = FileRequest(filename, sha256, filename != sent_filename)
    response = listing.open.response(request, file_request)
    if not file_request.is_metadata and isinstance(listing.open, resolver.PrivateFiles):
        _count(request, listing.open.project.by_filename.get(filename), name, response)
    return response


def _project_of(filename: str, request: IndexRequest) -> NormalizedName:
    """
    Return the project of a file whose path names none, and which the caller may look up.

    If the filename may be of several, it is the only one that lists it for the caller. A
    private one comes before public ones. Raises Invalid if the filename is of none. Raises as
    `resolver.find`.
    """
    names = list[NormalizedName]()
    refusals = list[WheelyardError]()
    readings = known_filename_readings(filename)
    # no upstream index gets to know part of the filename, and the file is there without one
    if len(readings) > 1:
        private = [reading.project for reading in readings if _has_private(reading, request)]
        if len(private) == 1:
            return private[0]
    for name in (reading.project for reading in readings):
        try:
            request.context.read_policy.require_lookup(request.caller, name)
            if len(readings) == 1:
                return name
            listing = resolver.find(request.context, name, request, may_refresh=False)
        except (Forbidden, NotFound, Unauthenticated) as error:
            refusals.append(error)
        else:
            names += [name for file in listing.files if file.filename == filename]
    if len(names) == 1:
        return names[0]
    if names or not refusals:
        raise ambiguous_filename(filename, readings)
    # a client without a credential has to learn that one may help
    raise min(refusals, key=lambda error: not isinstance(error, Unauthenticated))


def _has_private(reading: KnownDistribution, request: IndexRequest) -> bool:
    """Return whether the file is one of a private project that the caller may read."""
    name = reading.project
    try:
        request.context.read_policy.require_project_read(request.caller, name)
        project = resolver.find_private(request.context, name).project
    except (Forbidden, NotFound, Unauthenticated):
        return False
    return project.status.serves_files and reading.filename in project.by_filename


def _count(
    request: IndexRequest, file: File | None, name: NormalizedName, response: Response
) -> None:
    """Count a download of a private file, unless the response sends only a later part of it."""
    downloads = request.context.downloads
    if downloads is None or downloads.counter is None or file is None:
        return
    if request.method == "HEAD" or response.status_code not in _SENDING:
        return
    # a redirect is followed by a request for the same part
    part = requested_range(request, f'"{file.sha256}"'.encode(), file.size)
    if part is None or not part.start:
        downloads.counter.note(name, file.version)
