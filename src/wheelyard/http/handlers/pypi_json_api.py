"""Handler of PyPI's JSON API: `/pypi/<name>/json` and `/pypi/<name>/<version>/json`."""

from collections.abc import Sequence
from functools import partial

from packaging.version import Version

from wheelyard.errors import Invalid, NotFound
from wheelyard.http.context import ServerContext
from wheelyard.http.page_responses import (
    cached_page,
    listing_response,
    load_page,
    page_headers,
)
from wheelyard.http.protocol.messages import Request, Response
from wheelyard.http.protocol.negotiation import MediaType
from wheelyard.http.resolver import OpenListing
from wheelyard.model.distribution_filename import parse_name, parse_version
from wheelyard.rendering.pypi_json import PypiJsonData, project_json
from wheelyard.rendering.releases import ReleaseOf, latest_release, release_of, releases_of
from wheelyard.rendering.shown import ShownFile
from wheelyard.storage.base import ObjectVersion


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
