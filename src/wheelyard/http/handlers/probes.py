"""Handlers of health probes, of redirects, and of small fixed responses."""

from typing import Final

from wheelyard.authentication.read_policy import parse_project_name
from wheelyard.errors import RETRY_AFTER_SECONDS, Unavailable, WheelyardError
from wheelyard.http.context import ServerContext
from wheelyard.http.protocol.error_responses import error_response_for
from wheelyard.http.protocol.messages import NO_STORE, Request, Response, make_response, redirect
from wheelyard.http.routing import build_path
from wheelyard.rendering.fixed_texts import HEALTHY, ROBOTS

TEXT: Final = b"text/plain; charset=utf-8"
UPLOAD_URL_HELP: Final = b"""This is the upload URL of a wheelyard index. Give it to your client:

    twine upload --repository-url <this URL> dist/*
"""


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
    fault = Unavailable(message, code=code, short="Not ready.", retry_after=RETRY_AFTER_SECONDS)
    return error_response_for(fault)


def robots(_request: Request) -> Response:
    """Handle GET `/robots.txt`: search engines are to leave out every page."""
    return make_response(200, TEXT, ROBOTS, (b"cache-control", b"public, max-age=86400"))


def redirect_to_slash(request: Request, context: ServerContext) -> Response:
    """Handle GET of a path without its slash: redirect, if the caller may read the project."""
    if "name" in request.path_params:
        name = parse_project_name(request.path_params["name"])
        context.read_policy.require_lookup(request.caller, name)
    prefix = context.index.settings.server.path_prefix
    return redirect(301, build_path(prefix, request.segments, request.query_string))
