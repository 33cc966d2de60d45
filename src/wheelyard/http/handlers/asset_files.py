"""Handlers of small files that are the same for all callers: assets, icon, robots.txt."""

from functools import lru_cache
from typing import Final

from wheelyard.errors import NotFound
from wheelyard.http.context import IndexRequest
from wheelyard.http.messages import Header, Response, make_response
from wheelyard.http.representation import GZIP, accepts_gzip, compressed
from wheelyard.http.responses import HARMLESS, PUBLIC_FILE, VARY_ENCODING

TEXT: Final = b"text/plain; charset=utf-8"
ROBOTS: Final = b"User-agent: *\nDisallow: /\n"
"""`/robots.txt`: search engines are to leave out every page."""
FOR_A_DAY: Final[Header] = (b"cache-control", b"public, max-age=86400")
_compressed = lru_cache(compressed)


def answer_asset(request: IndexRequest) -> Response:
    """
    Handle GET `/-/assets/<name>`: a file of the pages, whose digest is in its name.

    Raises NotFound if this version of the server has no such file.
    """
    assets_by_name = {asset.name: asset for asset in request.web.environment.assets.values()}
    asset = assets_by_name.get(request.path_params["asset"])
    if asset is None:
        message = "This page is of another version of the server. Load it again."
        raise NotFound(message)
    # cached for a year: an asset with another content has another name
    headers = [PUBLIC_FILE, VARY_ENCODING, HARMLESS]
    body = asset.body
    compressed_body: bytes | None = None
    if accepts_gzip(request.joined_headers):
        compressed_body = _compressed(asset.body)
    if compressed_body is not None:
        body = compressed_body
        headers.append(GZIP)
    return make_response(200, asset.media_type.encode(), body, *headers)


def answer_favicon(request: IndexRequest) -> Response:
    """Handle GET `/favicon.ico`, which browsers ask for by themselves."""
    icon = request.web.environment.assets["favicon.ico"]
    # cached only for a day, as the name has no digest
    return make_response(200, icon.media_type.encode(), icon.body, FOR_A_DAY)


def robots(_request: IndexRequest) -> Response:
    """Handle GET `/robots.txt`: search engines are to leave out every page."""
    return make_response(200, TEXT, ROBOTS, FOR_A_DAY)
