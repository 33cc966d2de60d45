"""
Handlers of what programs ask for: the Simple API, PyPI's JSON, the list for searches, and files.

Each is for whoever may read the project. Each raises Unavailable if the store does not answer, or a
document that it needs is damaged.
"""

from collections.abc import Mapping
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
from wheelyard.model.project import File
from wheelyard.model.stored_namespaces import ProjectNamespace
from wheelyard.operations.search.project_table import ProjectTable, VisibleProjects
from wheelyard.rendering import project_facts, simple_pages
from wheelyard.repository.index_repository import ListedNames

LAST_SERIAL: Final = b"x-pypi-last-serial"
MOST_LOOKS: Final = 3
"""How often a project is looked at for its page because somebody changes it meanwhile."""
SHOWN_RESULTS: Final = 20
"""The projects that a search as one types shows, of all that the page of results has."""
METADATA_SUFFIX: Final = ".metadata"
_SENDING: Final = frozenset({200, 206, 302})
"""The statuses of responses with a file, of a part of it, and with the URL of a bucket."""


def project_list(request: IndexRequest) -> Response:
    """
    Handle GET `/simple/`: the names of the projects that the caller may read.

    They are private ones, of the index and its layers. In JSON they have serials, if the index
    shows its own packages alone, and all files of them. The response is 406 if the client accepts
    none of the media types.
    """
    media_type = responses.requested_media_type(request)
    if media_type is None:
        return responses.not_acceptable()
    is_json = media_type.value.is_json
    listed, serials = _listed_names(request.context, is_json=is_json)
    made_from = cache_keys(listed.document_versions)
    version = listed.version
    if serials is not None:
        generation = str(serials.generation)
        made_from += ((SERIALS, generation),)
        version = f"{version} {generation}"
    until = inf
    if is_json:
        has_namespaces = resolver.has_namespaces(request.context)
        until = resolver.namespaces_deadline(request.context)
        version = f"{version} {has_namespaces}"
        render = partial(_list_json, listed, serials, request.caller, has_namespaces=has_namespaces)
    else:
        render = partial(_list_html, listed, request.caller)
    return responses.page_response(
        request.context,
        request,
        media_type,
        # a caller gets only the page that was made for the same set of readable projects
        ("list", is_json, responses.visibility_key(request.caller)),
        version,
        render,
        repeats=(made_from, until),
    )


def _list_html(listed: ListedNames, caller: Caller) -> bytes:
    """Return the list of the names that a caller may read, in HTML."""
    return simple_pages.list_html(listed.readable_by(caller))


def _list_json(
    listed: ListedNames, serials: SerialTable | None, caller: Caller, *, has_namespaces: bool
) -> bytes:
    """Return the list of the names that a caller may read, in JSON, with serials if it has some."""
    serial_by_name: Mapping[NormalizedName, int] = {}
    if serials is not None:
        serial_by_name = serials.serials
    names = listed.readable_by(caller)
    return simple_pages.list_json(names, serial_by_name, has_namespaces=has_namespaces)


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

    # a static site cannot send the header of a page with its serial
    if site is not None:
        return ListedNames(((index.name, site.names.get()),)), None
    if not (is_json and repository.has_own_packages_alone):
        return repository.names(), None
    serials = index.serials.listed()

    # Names are read after the serials. Else a project that is new between the two would not be
    # listed, although the list has the serial of a later change, and a mirror would never ask for
    # what came before that.
    listed = repository.names()
    _, snapshot = listed.lists[0]
    names = snapshot.value

    # on a bucket, the cached list may be older, and so lack a project that has a serial
    if names is None or names.revision < serials.names_revision:
        listed = ListedNames(((index.name, index.projects.names.read()),))
    return listed, serials


def project_detail(request: IndexRequest) -> Response:
    """
    Handle GET `/simple/<name>/`: the page of a project, or a redirect to its usual URL.

    A private name without a project may have a page without files, so that uv asks no other index.
    The response is 406 if the client accepts none of the media types. If the policy hides each file
    of a public project, it is noted that somebody wants it. Raises Unauthenticated or Forbidden if
    the caller may not ask for the project, and NotFound if there is none that the caller may read.
    Raises Unavailable if the store does not answer, or no upstream index does. Raises Waiting if
    one has to be asked.
    """
    name = parse_project_name(request.path_params["name"])

    # the right first: whoever may not ask for a name gets one answer in each spelling of it
    request.context.read_policy.require_lookup(request.caller, name)
    server = request.context.index.settings.server
    root = request.segments[:-1]
    if not root and server.public_path:
        # from this URL, the page's relative links would lead outside the prefix
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
        # who owns a namespace may change without a change of the project
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
        # types of HTML share a page, and so do those of JSON
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

    Raises Unauthenticated, Forbidden or NotFound if they may not, and NotFound for a malformed
    name. It is not looked whether there is such a project.
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
    the caller may not ask for the project, and NotFound if there is none that the caller may read.
    Raises NotFound, too, if there is no such release, or none at all, or the name or version is
    malformed. In main that error names the other indexes. Raises Unavailable if the store does not
    answer, or no upstream index does. Raises Waiting if one has to be asked.
    """
    with naming_alternatives(request.context.index):
        return _answer_pypi_json(request)


def _answer_pypi_json(request: IndexRequest) -> Response:
    """
    Return PyPI's JSON of the project, or of the release, in the path of a request.

    Raises NotFound if there is none. Raises Unauthenticated or Forbidden if the caller may not ask
    for it. Raises Unavailable if the store does not answer, or no upstream index does. Raises
    Waiting if one has to be asked.
    """
    version = None
    try:
        name = parse_name(request.path_params["name"])
        request.context.read_policy.require_lookup(request.caller, name)
        if "version" in request.path_params:
            version = parse_version(request.path_params["version"])
    except Invalid as error:
        raise NotFound(error.message) from error
    listing, serials = _find_newest(name, request)
    files = listing.open
    if not isinstance(files, resolver.PrivateFiles):
        if version is not None:
            files.require_version(request, version)
        return _pypi_json(request, listing, version, request.context.files_from_root)
    if request.context.process.site is not None:
        return _pypi_json(request, listing, version, request.context.files_from_root)
    serial = NO_SERIAL
    change = serials.changes.get(name)

    # another thread may have cached an older document meanwhile: its page has no serial
    if change is not None and change.revision <= files.project.revision:
        serial = change.serial
    made_from: MadeFrom = ((CHANGES, serials.feed),)
    files_url = request.context.packages_from_root
    return _pypi_json(request, listing, version, files_url, made_from, serial)


def _find_newest(
    name: NormalizedName, request: IndexRequest
) -> tuple[resolver.OpenListing, SerialTable]:
    """
    Return what a caller is shown of a project, and the serials that its page may have.

    The listing is at least as new as the change whose serial it gets. The table is empty for a
    project that has no serials. Raises NotFound if there is no project that the caller may read.
    Raises Unavailable if the store does not answer, or no upstream index does. Raises Waiting if
    one has to be asked.
    """
    find = partial(resolver.find, request.context, name, request)
    index = request.context.index

    # rules may show something else without a change of the project, so without a new serial
    if request.context.process.site is not None or index.definition.hides_files:
        return find(), SerialTable()
    serials = SerialTable()

    # Somebody may commit between the reads of the document and of its serial, so that these are
    # not of one moment. Then both are read once more.
    for looks in range(MOST_LOOKS):
        listing = None
        revision = 0
        try:
            listing = find()
            # serials are of the own projects of an index, not of what it has from elsewhere
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
        # there is no project, and the list of changes says so, too
        if change is None:
            break
        # On a bucket, the cached document may be older, or the cached list may lack its name. A
        # mirror that has seen the serial would keep the old page, or take it for deleted.
        index.projects.documents.get(keys.project(name), "current")
    return find(), serials


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

    It has a serial if the project has one, and `made_from` is what the serial is from. Raises
    NotFound if there is no release to describe.
    """
    headers = responses.page_headers(request.context, MediaType.PLAIN_JSON, listing)
    # bandersnatch compares this header with the serial of the list
    if serial != NO_SERIAL:
        headers += ((LAST_SERIAL, b"%d" % serial),)
    return responses.page_response(
        request.context,
        request,
        MediaType.PLAIN_JSON,
        ("pypi_json", listing.name, version),
        f"{listing.version} {serial}",
        partial(_render_pypi_json, request, listing, version, files_url, serial),
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
    # PyPI's JSON of one version does not list the others
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

    With `?q=`, also an empty one, those that have these words: how many, the first of them, and the
    upstream indexes that a page of results looks the name up in.
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
    """Return what a search finds. No cache keeps it, as there are too many."""
    name = words.strip()
    results = visible.search(words, 0, SHOWN_RESULTS)
    # a name that is listed is looked up nowhere else
    labels: list[str] = []
    if not any(visible.named([canonicalize_name(name)])):
        labels = indexes_to_ask(request, name)
    body = project_facts.results_json(results.total, results.projects, labels)
    headers = responses.page_headers(request.context, MediaType.PLAIN_JSON)
    return make_response(200, JSON, body, *headers)


def answer_file(request: IndexRequest) -> Response:
    """
    Handle GET of a distribution or its core metadata, which is 404 if no project serves it.

    The path has the name of the project and the SHA-256, or the name in any spelling, or none. A
    download of a private file is counted, if the index counts them, unless only a later part is
    sent. Raises Unauthenticated, Forbidden or NotFound if the caller may not ask for the project.
    Raises NotFound if there is none, or a rule hides the file. Raises Unavailable if the store has
    lost the file or does not answer, or no upstream index does. Raises Waiting if one has to be
    asked.
    """
    sent_project = request.path_params.get("project")
    sha256 = request.path_params.get("sha256")
    sent_filename = request.path_params["filename"]
    filename = sent_filename.removesuffix(METADATA_SUFFIX)
    try:
        if sent_project is None:
            name = _project_of(filename, request)
        else:
            name = parse_name(sent_project)
            # before the filename is parsed, so that no answer tells more than the right allows
            request.context.read_policy.require_lookup(request.caller, name)
        if sha256 is None:
            parse_known_filename(filename, name)
    except Invalid:
        return file_not_found()

    # a URL with a digest is one of our links, and has the name as these spell it
    if sha256 and name != sent_project:
        return file_not_found()
    listing = resolver.find(request.context, name, request, may_refresh=False)
    file_request = responses.FileRequest(filename, sha256, filename != sent_filename)
    response = listing.open.response(request, file_request)
    if not file_request.is_metadata and isinstance(listing.open, resolver.PrivateFiles):
        _count(request, listing.open.project.by_filename.get(filename), name, response)
    return response


def _project_of(filename: str, request: IndexRequest) -> NormalizedName:
    """
    Return the project of a file whose path names none, and which the caller may look up.

    If the filename may be of several, it is the only one that lists it for the caller. A
    private one comes before public ones. Raises Invalid if the filename is of none, or of several.
    Raises Unauthenticated, Forbidden or NotFound if the caller is shown no such file. Raises
    Unavailable if the store does not answer, or no upstream index does. Raises Waiting if one has
    to be asked.
    """
    names: list[NormalizedName] = []
    refusals: list[WheelyardError] = []
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
    for refusal in refusals:
        if isinstance(refusal, Unauthenticated):
            raise refusal
    raise refusals[0]


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
    # A client that gets a file in parts, or resumes, has asked for the first part, too. This also
    # holds for a redirect, which the client follows with a request for the same part.
    byte_range = requested_range(request, f'"{file.sha256}"'.encode(), file.size)
    if byte_range is None or not byte_range.start:
        downloads.counter.note(name, file.version)
