"""Handlers of the Simple API: the list of projects, and the page of a project."""

from functools import partial

from wheelyard.authentication.read_policy import parse_project_name
from wheelyard.http import page_responses
from wheelyard.http.caching.page_cache import detail_page_key
from wheelyard.http.caching.versions import NAMES
from wheelyard.http.context import ServerContext
from wheelyard.http.page_responses import (
    listing_response,
    load_page,
    page_headers,
    page_response,
)
from wheelyard.http.protocol.messages import Request, Response, redirect
from wheelyard.http.routing import build_path
from wheelyard.rendering import simple_pages
from wheelyard.storage.base import ObjectVersion


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
