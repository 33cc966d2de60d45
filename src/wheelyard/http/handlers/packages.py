"""
Handlers of requests by programs: the Simple API, PyPI's JSON, the list for searches, and files.

Each handler answers callers who may read the project. Each raises Unavailable if the store does not
answer, or a document that it needs is damaged.
"""

from collections.abc import Mapping, Sequence
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
from wheelyard.catalog.serials import SerialTable
from wheelyard.errors import Forbidden, Invalid, NotFound, Unauthenticated, WheelyardError
from wheelyard.http import resolver, responses
from wheelyard.http.client_paths import build_path
from wheelyard.http.context import IndexContext, IndexRequest
from wheelyard.http.error_responses import file_not_found
from wheelyard.http.messages import JSON, MadeFrom, Response, make_response, redirect
from wheelyard.http.page_cache import CHANGES, SEARCH, SERIALS, cache_keys
from wheelyard.http.representation import MediaType, requested_range
from wheelyard.http.search_lookup import indexes_to_ask
from wheelyard.model.access import Action, Caller
from wheelyard.model.distribution_filename import (
    KnownDistribution,
    ambiguous_filename,
    known_filename_readings,
    parse_known_filename,
    parse_name,
    parse_version,
)
from wheelyard.model.metadata import parse_any
from wheelyard.model.project import File, Project
from wheelyard.model.stored_namespaces import ProjectNamespace
from wheelyard.operations.search.project_table import ProjectTable, VisibleProjects
from wheelyard.rendering import project_facts, simple_pages
from wheelyard.repository.index_repository import ListedNames

LAST_SERIAL: Final = b"x-pypi-last-serial"
MOST_READS: Final = 3
"""How often a project is read for its page at most, while other requests change it."""
SHOWN_RESULTS: Final = 20
"""How many projects the search field shows while a person types, of those that are found."""
METADATA_SUFFIX: Final = ".metadata"
_SENDING_STATUSES: Final = frozenset({200, 206, 302})
"""The statuses of responses with a file, of a part of it, and with the URL of a bucket."""


def project_list(request: IndexRequest) -> Response:
    """
    Handle GET `/simple/`: the names of the projects that the caller may read.

    These are private projects of the index and its layers. In JSON they have serials, if the index
    shows only its own packages, and all files of them. The response is 406 if the client accepts
    none of the media types.
    """
    media_type = responses.requested_media_type(request)
    if media_type is None:
        return responses.not_acceptable()
    is_json = media_type.value.is_json
    listed_names, serials = _read_names(request.context, is_json=is_json)
    made_from = cache_keys(listed_names.document_versions)
    version = listed_names.version
    if serials is not None:
        generation = str(serials.generation)
        made_from += ((SERIALS, generation),)
        version = f"{version} {generation}"
    until = inf
    if is_json:
        has_namespaces = resolver.has_namespaces(request.context)
        until = resolver.namespaces_deadline(request.context)
        version = f"{version} {has_namespaces}"
        render = partial(
            _list_json, listed_names, serials, request.caller, has_namespaces=has_namespaces
        )
    else:
        render = partial(_list_html, listed_names, request.caller)
    return responses.page_response(
        request.context,
        request,
        media_type,
        # the part about rights: only callers who may read the same projects share a page
        ("list", is_json, responses.visibility_key(request.caller)),
        version,
        render,
        repeats=(made_from, until),
    )


def _list_html(listed_names: ListedNames, caller: Caller) -> bytes:
    """Return the list of the names that a caller may read, in HTML."""
    return simple_pages.list_html(listed_names.readable_by(caller))


def _list_json(
    listed_names: ListedNames,
    serials: SerialTable | None,
    caller: Caller,
    *,
    has_namespaces: bool,
) -> bytes:
    """Return the list of the names that a caller may read, in JSON, with their serials if given."""
    serial_by_name: Mapping[NormalizedName, int] = {}
    if serials is not None:
        serial_by_name = serials.serials
    names = listed_names.readable_by(caller)
    return simple_pages.list_json(names, serial_by_name, has_namespaces=has_namespaces)


def _read_names(context: IndexContext, *, is_json: bool) -> tuple[ListedNames, SerialTable | None]:
    """
    Return the names of the list, and the serials of their projects.

    The serials are None except in JSON of an index that shows only its own packages, and all files
    of them. Raises Unavailable if the store does not answer.
    """
    index = context.index
    site = context.process.site
    repository = index.repository
    if repository.hides_files:
        return repository.names(), None

    # a static site cannot send the header of a page with its serial
    if site is not None:
        return ListedNames(((index.name, site.names.get()),)), None
    if not (is_json and repository.has_own_packages_alone):
        return repository.names(), None
    serials = index.serials.listed()

    # Names are read after the serials. Else the list might have the serial of a later change, and
    # lack a project that was new before that change: a mirror would never ask for it.
    listed_names = repository.names()
    _, snapshot = listed_names.lists[0]
    name_list = snapshot.value

    # on a bucket, the cached list may be older, and so lack a project that has a serial
    if name_list is None or name_list.revision < serials.names_revision:
        listed_names = ListedNames(((index.name, index.projects.names.read()),))
    return listed_names, serials


def project_detail(request: IndexRequest) -> Response:
    """
    Handle GET `/simple/<name>/`: the page of a project, or a redirect to its usual URL.

    A private name without a project may have a page without files, so that uv asks no other index.
    The response is 406 if the client accepts none of the media types. If the policy hides each file
    of a public project, the request for it is noted. Raises Unauthenticated or Forbidden if the
    caller may not ask for the project, and NotFound if there is no such project that the caller may
    read. Raises Unavailable if the store or an upstream index does not answer. Raises Waiting if an
    upstream index has to be asked.
    """
    name = parse_project_name(request.path_params["name"])

    # before any redirect: a caller who may not ask for a name gets one answer in each spelling
    request.context.read_policy.require_lookup(request.caller, name)
    server = request.context.index.settings.server
    root = request.segments[:-1]
    if not root and server.public_path:
        # at a URL without the prefix, relative links of the page would lead to wrong paths
        return redirect(301, build_path(server, ("simple", name), request.query_string))
    if name != request.path_params["name"]:
        return redirect(301, build_path(server, (*root, name), request.query_string))
    media_type = responses.requested_media_type(request)
    if media_type is None:
        return responses.not_acceptable()
    context = request.context
    listing = resolver.find_for_installer(context, name, request)
    is_json = media_type.value.is_json
    version: str = listing.version
    until = inf
    if is_json:
        # the owners of a namespace may change without a change of the project
        namespaces = resolver.namespaces_of(context, listing)
        version = f"{version} {namespaces}"
        until = resolver.namespaces_deadline(context)
        render = partial(_detail_json, context, listing, namespaces)
    else:
        render = partial(_detail_html, context, listing)
    return responses.page_response(
        context,
        request,
        media_type,
        # all media types of HTML share a page, and so do those of JSON
        (name, is_json),
        version,
        render,
        listing=listing,
        repeats=((), until),
    )


def _detail_html(context: IndexContext, listing: resolver.OpenListing) -> bytes:
    """
    Return the page of a project in HTML.

    Raises Unavailable if the store does not answer.
    """
    page_listing = replace(listing, files=listing.open.page_files())
    return simple_pages.detail_html(page_listing, context.files_from_page, context.provenance_root)


def _detail_json(
    context: IndexContext,
    listing: resolver.OpenListing,
    namespaces: tuple[ProjectNamespace, ...] | None,
) -> bytes:
    """
    Return the page of a project in JSON, with its namespaces if the index has any.

    Raises Unavailable if the store does not answer.
    """
    page_listing = replace(listing, files=listing.open.page_files())
    return simple_pages.detail_json(
        page_listing, context.files_from_page, context.provenance_root, namespaces
    )


def redirect_to_slash(request: IndexRequest) -> Response:
    """
    Handle GET of a path without its slash: redirect, if the caller may ask for the project.

    The project need not exist. Raises Unauthenticated, Forbidden or NotFound if the caller may not
    ask for it, and NotFound for a malformed name.
    """
    if "name" in request.path_params:
        name = parse_project_name(request.path_params["name"])
        request.context.read_policy.require_lookup(request.caller, name)
    server = request.context.index.settings.server
    return redirect(301, build_path(server, request.segments, request.query_string))


def answer_pypi_json(request: IndexRequest) -> Response:
    """
    Handle GET `/pypi/<name>/json` and `/pypi/<name>/<version>/json`, in any spelling.

    The page of an own project of the index has its serial. Raises Unauthenticated or Forbidden if
    the caller may not ask for the project, and NotFound if there is no such project that the caller
    may read. Raises NotFound, too, if there is no such release, or no release at all, or the name
    or version is malformed. In main a NotFound names the other indexes. Raises Unavailable if the
    store or an upstream index does not answer. Raises Waiting if an upstream index has to be asked.
    """
    with naming_alternatives(request.context.index):
        return _answer_pypi_json(request)


def _answer_pypi_json(request: IndexRequest) -> Response:
    """
    Return PyPI's JSON of the project, or of the release, in the path of a request.

    Raises the errors of `answer_pypi_json`; a NotFound names no other index.
    """
    version = None
    try:
        name = parse_name(request.path_params["name"])
        request.context.read_policy.require_lookup(request.caller, name)
        if "version" in request.path_params:
            version = parse_version(request.path_params["version"])
    except Invalid as error:
        raise NotFound(error.message) from error
    listing, serials = _find_with_serials(name, request)
    files = listing.open
    if not isinstance(files, resolver.PrivateFiles):
        if version is not None:
            files.require_version(request, version)
        return _pypi_json(request, listing, version, request.context.files_from_root)
    if request.context.process.site is not None:
        return _pypi_json(request, listing, version, request.context.files_from_root)
    serial = NO_SERIAL
    change = serials.changes.get(name)

    # another thread may have cached an older document meanwhile, whose page gets no serial
    if change is not None and change.revision <= files.project.revision:
        serial = change.serial
    made_from: MadeFrom = ((CHANGES, serials.feed),)
    files_url = request.context.packages_from_root
    return _pypi_json(request, listing, version, files_url, made_from, serial)


def _find_with_serials(
    name: NormalizedName, request: IndexRequest
) -> tuple[resolver.OpenListing, SerialTable]:
    """
    Return the listing of a project for a caller, and a table with its serial.

    The listing is at least as new as the change with that serial. The table is empty for a project
    without serials. Raises NotFound if there is no project that the caller may read. Raises
    Unavailable if the store or an upstream index does not answer. Raises Waiting if an upstream
    index has to be asked.
    """
    find_listing = partial(resolver.find, request.context, name, request)
    index = request.context.index

    # rules may hide other files without a change of the project, so without a new serial
    if request.context.process.site is not None or index.definition.hides_files:
        return find_listing(), SerialTable()
    serials = SerialTable()

    # Another request may commit between the reads of the document and of its serial. Then both are
    # read once more.
    for earlier_reads in range(MOST_READS):
        listing = None
        revision = 0
        try:
            listing = find_listing()
            own_project = _own_project(listing, index.name)
            if own_project is None:
                return listing, SerialTable()
            revision = own_project.revision
        except NotFound:
            # a caller without the right must not learn from the time whether the project exists
            if earlier_reads or not request.caller.may(Action.READ, name):
                raise
        # a page of a new document has its serial at once, whichever process has committed it
        serials = index.serials.given_to(name, revision)
        change = serials.changes.get(name)
        if listing is not None and (change is None or change.revision <= revision):
            return listing, serials
        # neither the document nor the feed of changes has the project
        if change is None:
            break
        # On a bucket, the cached document may be older, or the cached list may lack the name. A
        # mirror that has seen the serial would keep the old page, or take the project for deleted.
        index.projects.documents.get(keys.project(name), "current")
    return find_listing(), serials


def _own_project(listing: resolver.OpenListing, index: str) -> Project | None:
    """Return the project of a listing if all of it is from the index itself, else None."""
    if not isinstance(listing.open, resolver.PrivateFiles):
        return None
    source = listing.open.first
    if len(listing.open.sources.projects) > 1 or source.index != index:
        return None
    return source.project


def _pypi_json(
    request: IndexRequest,
    listing: resolver.OpenListing,
    version: Version | None,
    files_url: str,
    made_from: MadeFrom = (),
    serial: int = NO_SERIAL,
) -> Response:
    """
    Return the response with PyPI's JSON of a project, or of one version.

    The response has the serial in a header, unless it is NO_SERIAL. `made_from` has the version of
    the feed that the serial is from. Raises NotFound if there is no release to describe.
    """
    headers = responses.page_headers(request.context, MediaType.PLAIN_JSON, listing)
    # bandersnatch compares this header with the serial of the list
    if serial != NO_SERIAL:
        headers += ((LAST_SERIAL, b"%d" % serial),)
    render = partial(_render_pypi_json, request, listing, version, files_url, serial)
    return responses.page_response(
        request.context,
        request,
        MediaType.PLAIN_JSON,
        ("pypi_json", listing.name, version),
        f"{listing.version} {serial}",
        render,
        repeats=(made_from, inf),
        listing=listing,
        headers=headers,
    )


def _render_pypi_json(
    request: IndexRequest,
    listing: resolver.OpenListing,
    version: Version | None,
    files_url: str,
    serial: int,
) -> bytes:
    """
    Return PyPI's JSON of a project, or of one version.

    Raises NotFound if there is no release to describe.
    """
    name = listing.name
    # PyPI's JSON of one version does not list the other versions
    releases = None
    if version is None:
        releases = project_facts.releases_of(listing)
        release = project_facts.latest_release(releases)
    else:
        release = project_facts.release_of(listing, version)
    if release is None:
        raise NotFound(f"{name} has no such release. See /simple/{name}/ for those it has.")
    core = listing.open.core_metadata(request, release.metadata_file.filename)
    if core is None:
        core = parse_any(None, name, release.version)
    return project_facts.project_json(name, release, core, files_url, releases, serial)


def answer_search(request: IndexRequest) -> Response:
    """
    Handle GET `/search.json`: names, versions and summaries of projects the caller may read.

    With `?q=`, which may be empty, the answer has the number of projects with these words, the
    first of the projects, and the upstream indexes in which a page of results would look up the
    name.
    """
    table = responses.load_projects(request.context)
    words = request.query_field("q")
    if words is not None:
        return _answer_results(request, table.readable_by(request.caller), words)
    version = str(table.generation)
    return responses.page_response(
        request.context,
        request,
        MediaType.PLAIN_JSON,
        ("search", responses.visibility_key(request.caller)),
        version,
        partial(_render_search, table, request.caller),
        repeats=(((SEARCH, version),), inf),
    )


def _render_search(table: ProjectTable, caller: Caller) -> bytes:
    """Return the list for searches, of the projects that a caller may read."""
    return project_facts.search_json(table.readable_by(caller).projects)


def _answer_results(request: IndexRequest, visible: VisibleProjects, words: str) -> Response:
    """Return the results of a search, which are not cached, as there are too many searches."""
    name = words.strip()
    results = visible.search(words, 0, SHOWN_RESULTS)
    # a listed name is not looked up in upstream indexes
    labels: list[str] = []
    is_listed = any(visible.named([canonicalize_name(name)]))
    if not is_listed:
        labels = indexes_to_ask(request, name)
    body = project_facts.results_json(results.total, results.projects, labels)
    headers = responses.page_headers(request.context, MediaType.PLAIN_JSON)
    return make_response(200, JSON, body, *headers)


def answer_file(request: IndexRequest) -> Response:
    """
    Handle GET of a distribution or its core metadata, which is 404 if no project serves it.

    The path has the name of the project and the SHA-256, or only the name, in any spelling, or
    neither. A download of a private file is counted, if the index counts downloads, unless only a
    later part of the file is sent. Raises Unauthenticated, Forbidden or NotFound if the caller may
    not ask for the project. Raises NotFound if there is no such project, or a rule hides the file.
    Raises Unavailable if the store has lost the file, or the store or an upstream index does not
    answer. Raises Waiting if an upstream index has to be asked.
    """
    sent_project = request.path_params.get("project")
    sha256 = request.path_params.get("sha256")
    sent_filename = request.path_params["filename"]
    filename = sent_filename.removesuffix(METADATA_SUFFIX)
    try:
        if sent_project is None:
            name = _find_project_name(filename, request)
        else:
            name = parse_name(sent_project)
            # before the filename is parsed, so that a caller without the right gets one answer
            request.context.read_policy.require_lookup(request.caller, name)
        if sha256 is None:
            parse_known_filename(filename, name)
    except Invalid:
        return file_not_found()

    # a URL with a digest is one of our links, in which the name is normalised
    if sha256 and name != sent_project:
        return file_not_found()
    listing = resolver.find(request.context, name, request, may_refresh=False)
    file_request = responses.FileRequest(filename, sha256, filename != sent_filename)
    response = listing.open.response(request, file_request)
    if not file_request.is_metadata and isinstance(listing.open, resolver.PrivateFiles):
        _count_download(request, listing.open.project.by_filename.get(filename), name, response)
    return response


def _find_project_name(filename: str, request: IndexRequest) -> NormalizedName:
    """
    Return the project of a file, for a path without the name of a project.

    If the filename may be of several projects, this is the only one that lists it for the caller. A
    private project comes before public ones. Raises Invalid if the filename is of no project, or of
    several. Raises Unauthenticated, Forbidden or NotFound if the caller is shown no such file.
    Raises Unavailable if the store or an upstream index does not answer. Raises Waiting if an
    upstream index has to be asked.
    """
    names: list[NormalizedName] = []
    refusals: list[WheelyardError] = []
    readings = known_filename_readings(filename)

    # for a private file, no upstream index is asked about a name that is part of the filename
    if len(readings) > 1:
        private_name = _find_private_name(readings, request)
        if private_name is not None:
            return private_name
    for reading in readings:
        name = reading.project
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
    for refusal in refusals:
        if isinstance(refusal, Unauthenticated):
            raise refusal
    raise refusals[0]


def _find_private_name(
    readings: Sequence[KnownDistribution], request: IndexRequest
) -> NormalizedName | None:
    """Return the only private project that has a file for the caller, or None."""
    names = [reading.project for reading in readings if _has_private_file(reading, request)]
    if len(names) == 1:
        return names[0]
    return None


def _has_private_file(reading: KnownDistribution, request: IndexRequest) -> bool:
    """Return whether the project of a filename is private, has the file, and may be read."""
    name = reading.project
    try:
        request.context.read_policy.require_project_read(request.caller, name)
        project = resolver.find_private(request.context, name).project
    except (Forbidden, NotFound, Unauthenticated):
        return False
    return project.status.serves_files and reading.filename in project.by_filename


def _count_download(
    request: IndexRequest, file: File | None, name: NormalizedName, response: Response
) -> None:
    """Count a download of a private file, unless the response sends only a later part of it."""
    downloads = request.context.downloads
    if downloads is None or downloads.counter is None or file is None:
        return
    if request.method == "HEAD" or response.status_code not in _SENDING_STATUSES:
        return
    # A client that gets a file in parts, or resumes a download, has asked for the first part, too.
    # So it is with a redirect, which the client follows with a request for the same part.
    etag = f'"{file.sha256}"'.encode()
    byte_range = requested_range(request, etag, file.size)
    is_first_part = byte_range is None or byte_range.start == 0
    if is_first_part:
        downloads.counter.note(name, file.version)
