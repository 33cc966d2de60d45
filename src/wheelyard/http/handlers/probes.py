"""
Handlers of what is about no project: probes, metrics, redirects, files of the pages, fixed texts.

The metrics say nothing about packages. So they are public if the server listens on a loopback
address, no proxy is configured, and none has forwarded the request. Otherwise they need
`metrics_token`, which is good for nothing else, or the right to administer.
"""

from functools import lru_cache
from hmac import compare_digest
from typing import Final

from wheelyard.authentication.authorization import parse_project_name
from wheelyard.errors import (
    RETRY_AFTER_SECONDS,
    Forbidden,
    NotFound,
    Unauthenticated,
    Unavailable,
    WheelyardError,
)
from wheelyard.http.context import ServerContext
from wheelyard.http.observability.instrumentation import Instrumentation
from wheelyard.http.protocol.error_responses import error_response_for
from wheelyard.http.protocol.messages import (
    NO_STORE,
    Header,
    Request,
    Response,
    make_response,
    redirect,
)
from wheelyard.http.protocol.representation import GZIP, accepts_gzip, compressed
from wheelyard.http.protocol.requests import build_path, has_forwarding_header
from wheelyard.http.security.request_authentication import parse_authorization
from wheelyard.http.web_pages import WebPages
from wheelyard.model.access import Action
from wheelyard.settings.sections import Settings

TEXT: Final = b"text/plain; charset=utf-8"
UPLOAD_URL_HELP: Final = b"""This is the upload URL of a wheelyard index. Give it to your client:

    twine upload --repository-url <this URL> dist/*
"""

HEALTHY: Final = b"Ok"
ROBOTS: Final = b"User-agent: *\nDisallow: /\n"
"""`/robots.txt`: search engines are to leave out every page."""
CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
ACCESS_HINT: Final = "Send the token that access.metrics_token has, as Bearer or as a password."

IMMUTABLE: Final[Header] = (b"cache-control", b"public, max-age=31536000, immutable")
FOR_A_DAY: Final[Header] = (b"cache-control", b"public, max-age=86400")
VARY_ENCODING: Final[Header] = (b"vary", b"Accept-Encoding")
HARMLESS: Final[Header] = (
    b"content-security-policy",
    b"default-src 'none'; style-src 'unsafe-inline'; sandbox",
)
"""Whoever opens a picture by its URL runs no script in it; the styles are those inside an SVG."""

_compressed = lru_cache(compressed)


def health(_request: Request) -> Response:
    """Handle GET `/health`, the liveness probe: always 200."""
    return make_response(200, TEXT, HEALTHY, NO_STORE)


def explain_upload_url(_request: Request) -> Response:
    """Handle GET `/legacy/`, the upload URL: a text that says what the URL is for."""
    return make_response(200, TEXT, UPLOAD_URL_HELP, NO_STORE)


def ready(_request: Request, context: ServerContext) -> Response:
    """
    Handle GET `/ready`, the readiness probe: 503 unless the store can be read and written.

    That means that the list of projects can be read, or is cached and not too old; and that a write
    has succeeded since the start, unless the server is read-only.
    """
    try:
        context.index.projects.names.get()
    except WheelyardError as error:
        context.store_errors.log(error)  # there may be no other requests
        return _not_ready("The store does not answer.", "storage_unavailable")
    reason = context.write_failure()
    if reason:
        message = f"No write to the store has succeeded since the server was started. {reason}"
        return _not_ready(message, "store_not_written")
    return make_response(200, TEXT, HEALTHY, NO_STORE)


def _not_ready(message: str, code: str) -> Response:
    fault = Unavailable(message, code=code, retry_after=RETRY_AFTER_SECONDS)
    return error_response_for(fault)


def robots(_request: Request) -> Response:
    """Handle GET `/robots.txt`: search engines are to leave out every page."""
    return make_response(200, TEXT, ROBOTS, FOR_A_DAY)


def redirect_to_slash(request: Request, context: ServerContext) -> Response:
    """Handle GET of a path without its slash: redirect, if the caller may read the project."""
    if "name" in request.path_params:
        name = parse_project_name(request.path_params["name"])
        context.read_policy.require_lookup(request.caller, name)
    prefix = context.index.settings.server.path_prefix
    return redirect(301, build_path(prefix, request.segments, request.query_string))


def is_allowed_without_login(request: Request, settings: Settings) -> bool:
    """Return whether a request needs no login: metrics are public, or it has the metrics token."""
    server = settings.server
    is_direct = not server.trusted_proxies and not has_forwarding_header(request.joined_headers)
    if server.is_loopback and is_direct:
        return True
    expected = settings.access.metrics_token.encode()
    header = request.joined_headers.get(b"authorization")
    if header is None or not expected:
        return False
    try:
        secrets = tuple(parse_authorization(header).halves)
    except WheelyardError:
        return False
    return any(compare_digest(secret.encode(), expected) for secret in secrets)


def answer_metrics(request: Request, settings: Settings, observer: Instrumentation) -> Response:
    """Handle GET `/metrics`: the metrics of all workers; raise Unauthenticated or Forbidden."""
    caller = request.caller
    if not is_allowed_without_login(request, settings):
        if caller.is_anonymous:
            raise Unauthenticated(f"The metrics are not public. {ACCESS_HINT}")
        if not caller.may_everywhere(Action.ADMIN):
            raise Forbidden(f"{caller.display_name} may not read the metrics. {ACCESS_HINT}")
    return make_response(200, CONTENT_TYPE, observer.render_metrics(), NO_STORE)


def answer_asset(request: Request, web: WebPages) -> Response:
    """Handle GET `/-/assets/<name>`: a file of the pages; its name has its digest."""
    by_name = {asset.name: asset for asset in web.environment.assets.values()}
    asset = by_name.get(request.path_params["asset"])
    if asset is None:
        message = "This page is of another version of the server. Load it again."
        raise NotFound(message)
    packed = _compressed(asset.body) if accepts_gzip(request.joined_headers) else None
    headers = (IMMUTABLE, VARY_ENCODING, HARMLESS, *(() if packed is None else (GZIP,)))
    return make_response(200, asset.media_type.encode(), packed or asset.body, *headers)


def answer_favicon(_request: Request, web: WebPages) -> Response:
    """Handle GET `/favicon.ico`, which browsers ask for by themselves."""
    icon = web.environment.assets["favicon.ico"]
    return make_response(200, icon.media_type.encode(), icon.body, FOR_A_DAY)
