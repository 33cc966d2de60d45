"""The page for people of a project of an upstream index."""

from wheelyard.http.caching.cache_headers import page_cache_headers
from wheelyard.http.page_responses import load_page, page_response
from wheelyard.http.protocol.messages import Request, Response
from wheelyard.http.protocol.negotiation import MediaType
from wheelyard.http.upstream_reader import FROM_UPSTREAM, UpstreamReader, with_age
from wheelyard.http.web_pages import WebPages
from wheelyard.rendering.web.upstream_page import upstream_page
from wheelyard.storage.base import ObjectVersion
from wheelyard.upstream.index import ServedPage
from wheelyard.upstream.page_content import content_for_people


async def answer_upstream_project(
    request: Request, web: WebPages, reader: UpstreamReader, found: ServedPage
) -> Response:
    """Return the response with the page of a project of an upstream index."""
    content, upstream = found.content, reader.upstream
    name = content.page.name
    viewer = web.viewer(request.caller)
    refusal = found.refusal.text if found.refusal else ""
    # a decision may change the page without changing which files are shown
    version = ObjectVersion(f"{content.version} {content.view.generation} {refusal}")

    def render() -> bytes:
        shown = content_for_people(upstream, found, content.shown)
        return upstream_page(web.environment, viewer, shown)

    key = ("web", "upstream_project", name, viewer)
    # no shared cache may keep it: the name may become private any time
    headers = (*web.security_headers, *page_cache_headers(0, is_public=False), FROM_UPSTREAM)
    page = await load_page(web.context, request, key, version, render, headers)
    response = page_response(request, page, MediaType.HTML, reader.watch(name, found))
    return with_age(response, found)
