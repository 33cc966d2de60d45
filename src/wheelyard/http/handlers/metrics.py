"""
Handler of `/metrics`: durations, operations on a bucket and process metrics, for Prometheus.

The metrics say nothing about packages. So they are public if the server listens on a loopback
address, no proxy is configured, and none has forwarded the request. Otherwise they need
`metrics_token`, which is good for nothing else, or the right to administer.
"""

from hmac import compare_digest
from typing import Final

from wheelyard.errors import Forbidden, Unauthenticated, WheelyardError
from wheelyard.http.context import ServerContext
from wheelyard.http.observability.instrumentation import Instrumentation
from wheelyard.http.protocol.client_address import has_forwarding_header
from wheelyard.http.protocol.messages import NO_STORE, Request, Response, make_response
from wheelyard.http.security.request_authentication import parse_authorization
from wheelyard.model.access import Action
from wheelyard.settings.sections import Settings

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
ACCESS_HINT: Final = "Send the token that [access] metrics_token has, as Bearer or as a password."


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


def answer_metrics(request: Request, context: ServerContext, observer: Instrumentation) -> Response:
    """Handle GET `/metrics`: the metrics of all workers; raise Unauthenticated or Forbidden."""
    if not is_allowed_without_login(request, context.index.settings):
        if request.caller.is_anonymous:
            raise Unauthenticated(f"The metrics are not public. {ACCESS_HINT}")
        if not request.caller.may_everywhere(Action.ADMIN):
            raise Forbidden(
                f"{request.caller.display_name} may not read the metrics. {ACCESS_HINT}"
            )
    body = observer.render_metrics()
    return make_response(200, CONTENT_TYPE, body, NO_STORE)
