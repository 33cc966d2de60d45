"""Handler of `/-/assets/<name>`: style sheet, scripts and icons of the pages."""

from functools import lru_cache
from typing import Final

from wheelyard.errors import NotFound
from wheelyard.http.protocol.content_encoding import Encoding, best_encoding, encode_body
from wheelyard.http.protocol.messages import Header, Request, Response, make_response
from wheelyard.http.web_pages import WebPages
from wheelyard.rendering.web.assets import Asset

IMMUTABLE: Final[Header] = (b"cache-control", b"public, max-age=31536000, immutable")
VARY_ENCODING: Final[Header] = (b"vary", b"Accept-Encoding")
HARMLESS: Final[Header] = (
    b"content-security-policy",
    b"default-src 'none'; style-src 'unsafe-inline'; sandbox",
)
"""Whoever opens a picture by its URL runs no script in it; the styles are those inside an SVG."""


def answer_asset(request: Request, web: WebPages) -> Response:
    """Handle GET `/-/assets/<name>`: a file of the pages; its name has its digest."""
    asset = next(
        (
            each
            for each in web.environment.assets.values()
            if each.name == request.path_params["asset"]
        ),
        None,
    )
    if asset is None:
        message = "This page is of another version of the server. Load it again."
        raise NotFound(message, short="Not found.")
    encoding, body = _encoded(
        asset, best_encoding(request.joined_headers.get(b"accept-encoding", b""))
    )
    headers = [IMMUTABLE, VARY_ENCODING, HARMLESS]
    if encoding is not Encoding.IDENTITY:
        headers.append((b"content-encoding", encoding.name.lower().encode()))
    return make_response(200, asset.media_type.encode(), body, *headers)


def answer_favicon(_request: Request, web: WebPages) -> Response:
    """Handle GET `/favicon.ico`, which browsers ask for by themselves."""
    icon = web.environment.assets["favicon.ico"]
    return make_response(
        200, icon.media_type.encode(), icon.body, (b"cache-control", b"public, max-age=86400")
    )


@lru_cache
def _encoded(asset: Asset, encoding: Encoding) -> tuple[Encoding, bytes]:
    return encode_body(asset.body, encoding)
