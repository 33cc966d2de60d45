"""
Handlers of what programs ask for: the Simple API, PyPI's JSON, the list for searches, and files.

Each is for whoever may read the project.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.authentication.read_policy import parse_project_name
from wheelyard.errors import Invalid, NotFound, WheelyardError
from wheelyard.http import page_responses
from wheelyard.http.caching.page_cache import detail_page_key
from wheelyard.http.caching.versions import NAMES, SEARCH
from wheelyard.http.context import ServerContext
from wheelyard.http.file_responses import WantedFile
from wheelyard.http.forms import query_field
from wheelyard.http.page_responses import (
    cached_page,
    listing_response,
    load_page,
    load_projects,
    page_headers,
    page_response,
    visibility_key,
)
from wheelyard.http.protocol.error_responses import file_not_found
from wheelyard.http.protocol.messages import JSON, Request, Response, make_response, redirect
from wheelyard.http.protocol.representation import MediaType
from wheelyard.http.resolver import OpenListing
from wheelyard.http.routing import build_path
from wheelyard.model.distribution_filename import parse_known_filename, parse_name, parse_version
from wheelyard.rendering import simple_pages
from wheelyard.rendering.pypi_json import PypiJsonData, project_json
from wheelyard.rendering.releases import ReleaseOf, latest_release, release_of, releases_of
from wheelyard.rendering.search_json import results_json, search_json
from wheelyard.rendering.shown import ShownFile
from wheelyard.storage.base import ObjectVersion

SHOWN_RESULTS: Final = 20
"""The projects that a search as one types shows; the page of results has all."""

METADATA_SUFFIX: Final = ".metadata"


def project_list(request: Request, context: ServerContext) -> Response:
    """Handle GET `/simple/`: the names of the projects that the caller may read."""
    media_type = page_responses.requested_media_type(request)
    if media_type is None:
        return page_responses.not_acceptable()
    snapshot = context.index.projects.names.get()
    rendering = simple_pages.list_json if media_type.value.is_json else simple_pages.list_html

    def render() -> bytes:
        return rendering(page_responses.visible_names(snapshot, request.caller))

    key = ("list", media_type.value.is_json, page_responses.visibility_key(request.caller))
    headers = page_headers(context, media_type)
    page = load_page(context, request, key, snapshot.version, render, headers)
    return page_response(request, page, media_type, ((NAMES, snapshot.version),))


def project_detail(request: Request, context: ServerContext) -> Response:
    """Handle GET `/simple/<name>/`: the page of a project, or a redirect to its usual URL."""
    name = parse_project_name(request.path_params["name"])
    context.read_policy.require_lookup(request.caller, name)
    prefix, root = context.index.settings.server.path_prefix, request.segments[:-1]
    if prefix and not root:
        # from this URL, the page's relative links would lead outside the prefix
        return redirect(301, build_path("..", ("simple", name), request.query_string))
    if name != request.path_params["name"]:
        return redirect(301, build_path(prefix, (*root, name), request.query_string))
    media_type = page_responses.requested_media_type(request)
    if media_type is None:
        return page_responses.not_acceptable()
    listing = context.resolver.find_for_installer(name, request)
    render = simple_pages.detail_json if media_type.value.is_json else simple_pages.detail_html
    key, version = detail_page_key(name, media_type), ObjectVersion(listing.version)
    headers = page_headers(context, media_type, listing)
    page = load_page(
        context, request, key, version, partial(render, listing, context.files_from_page), headers
    )
    return listing_response(request, page, media_type, listing)


def answer_pypi_json(request: Request, context: ServerContext) -> Response:
    """Handle GET `/pypi/<name>/json` and `/pypi/<name>/<version>/json`, in any spelling of both."""
    try:
        name = parse_name(request.path_params["name"])
        context.read_policy.require_lookup(request.caller, name)
        sent = request.path_params.get("version")
        version = None if sent is None else parse_version(sent)
    except Invalid as error:
        raise NotFound(error.message, short="No such project or version.") from error
    listing = context.resolver.find(name, request)
    key, page_version = ("pypi_json", name, version), ObjectVersion(listing.version)
    page = cached_page(context, request, key, page_version)
    if page is None:
        releases, release = _find_releases(listing, version)
        if release is None:
            raise NotFound(
                f"{name} has no such release. See /simple/{name}/ for those it has.",
                short="No such release.",
            )
        core = listing.open.core_metadata(request, release.metadata_file.filename)
        if core is None:
            # no page of the Simple API needs it
            from wheelyard.model.lenient_metadata import parse_any  # noqa: PLC0415

            core = parse_any(None, name, release.version)
        data = PypiJsonData(name, release, core, context.files_from_root)
        render = partial(project_json, data, releases)
        headers = page_headers(context, MediaType.PLAIN_JSON, listing)
        page = load_page(context, request, key, page_version, render, headers)
    return listing_response(request, page, MediaType.PLAIN_JSON, listing)


def _find_releases(
    listing: OpenListing, version: Version | None
) -> tuple[Sequence[ReleaseOf[ShownFile]] | None, ReleaseOf[ShownFile] | None]:
    """Return the releases that a page lists, None if it is that of one; and the described one."""
    if version is not None:
        return None, release_of(listing, version)
    releases = releases_of(listing)
    return releases, latest_release(releases)


def answer_search(request: Request, context: ServerContext) -> Response:
    """
    Handle GET `/search.json`: names, versions and summaries of projects the caller may read.

    With `?q=`, those that have these words: how many, and the first of them.
    """
    headers, caller = page_headers(context, MediaType.PLAIN_JSON), request.caller
    table = load_projects(context)
    words = query_field(request.query_string, "q")
    if words is not None:

        def search() -> bytes:
            found = table.readable_by(caller).search(words, 0, SHOWN_RESULTS)
            return results_json(found.total, found.projects)

        body = search()
        return make_response(200, JSON, body, *headers)

    def render() -> bytes:
        return search_json(table.readable_by(caller).projects)

    key = ("search", visibility_key(caller))
    version = ObjectVersion(str(table.generation))
    page = load_page(context, request, key, version, render, headers)
    return page_response(request, page, MediaType.PLAIN_JSON, ((SEARCH, version),))


def file_by_key(request: Request, context: ServerContext) -> Response:
    """Handle GET `/files/<project>/<sha256>/<filename>`: a distribution or its core metadata."""
    project = request.path_params["project"]
    return _respond(request, project, context, request.path_params["sha256"])


def file_by_name(request: Request, context: ServerContext) -> Response:
    """Handle GET of a distribution or its core metadata by filename, at a path without SHA-256."""
    sent = request.path_params.get("project")
    name = None if sent is None else _parse_name_or_none(sent)
    if name is not None:  # before the filename is parsed
        context.read_policy.require_lookup(request.caller, name)
    filename = request.path_params["filename"].removesuffix(METADATA_SUFFIX)
    try:
        project = parse_known_filename(filename).project
    except WheelyardError:
        return file_not_found()
    if sent is not None and name != project:
        return file_not_found()
    return _respond(request, project, context)


def _parse_name_or_none(project: str) -> NormalizedName | None:
    try:
        return parse_name(project)
    except WheelyardError:
        return None


def _respond(
    request: Request, project: str, context: ServerContext, sha256: str | None = None
) -> Response:
    """
    Return the response with the file that the path names; 404 if its project does not serve it.

    With `sha256`, the file must have that digest, and `project` must be a normalized name. Raise
    WheelyardError if the caller may not read the project.
    """
    name = _parse_name_or_none(project)
    if name is None:
        return file_not_found()
    context.read_policy.require_lookup(request.caller, name)
    if sha256 is not None and name != project:
        return file_not_found()
    sent = request.path_params["filename"]
    filename = sent.removesuffix(METADATA_SUFFIX)
    listing = context.resolver.find(name, request, may_refresh=False)
    return listing.open.response(request, WantedFile(filename, sha256, filename != sent))
