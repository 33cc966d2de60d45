"""
Handlers of the probes and of the metrics.

The metrics say nothing about packages. So they are public if the server listens on a loopback
address, no proxy is configured, and no proxy has forwarded the request. Otherwise a client needs
`metrics_token`, which gives no other right, or the right to administer.
"""

from hmac import compare_digest
from typing import Final

from wheelyard.errors import (
    RETRY_AFTER_SECONDS,
    Forbidden,
    Unauthenticated,
    Unavailable,
    WheelyardError,
)
from wheelyard.http.context import IndexRequest
from wheelyard.http.error_responses import error_response_for
from wheelyard.http.instrumentation import Instrumentation
from wheelyard.http.messages import NO_STORE, Response, make_response
from wheelyard.http.request_authentication import parse_authorization
from wheelyard.http.requests import has_forwarding_header

TEXT: Final = b"text/plain; charset=utf-8"
HEALTHY: Final = b"Ok"
METRICS_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
"""The Content-Type of Prometheus's text format."""
ACCESS_HINT: Final = "Send the token that access.metrics_token has, as Bearer or as a password."


def health(_request: IndexRequest) -> Response:
    """Handle GET `/health`, the liveness probe: always 200."""
    # nothing is checked: a restart would not repair a store that does not answer
    return make_response(200, TEXT, HEALTHY, NO_STORE)


class Probes:
    """Handles the readiness probe, and the metrics of an observer."""

    def __init__(self, observer: Instrumentation) -> None:
        self._observer = observer

    def ready(self, request: IndexRequest) -> Response:
        """
        Handle GET `/ready`, the readiness probe: 503 unless the store can be read and written.

        The store can be read if the list of projects can, or is cached and not too old. It can be
        written if a write has succeeded since the start, or the server is read-only. The probe
        itself writes nothing. An error of the store is logged, and not raised.
        """
        process = request.context.process
        try:
            request.context.index.projects.names.get()
        except WheelyardError as error:
            # logged here, as a server that is not ready may get no other request that logs it
            process.store_errors.log(error)
            return _not_ready("The store does not answer.", "storage_unavailable")
        reason = process.write_failure()
        if reason:
            message = f"No write to the store has succeeded since the server was started. {reason}"
            return _not_ready(message, "store_not_written")
        return make_response(200, TEXT, HEALTHY, NO_STORE)

    def is_allowed_without_login(self, request: IndexRequest) -> bool:
        """Return whether the metrics are public, or a request has the metrics token."""
        settings = request.context.index.settings
        server = settings.server
        # a proxy on this machine, even if the settings do not name it, forwards for strangers
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
            # the usual authentication refuses a malformed credential
            return False
        # in constant time, so that the time of a comparison tells nothing of the token
        return any(compare_digest(secret.encode(), expected) for secret in secrets)

    def answer_metrics(self, request: IndexRequest) -> Response:
        """
        Handle GET `/metrics`: the metrics of all workers.

        Raises Unauthenticated or Forbidden unless the metrics are public, or the caller may read
        them.
        """
        caller = request.caller
        if not self.is_allowed_without_login(request):
            if caller.is_anonymous:
                raise Unauthenticated(f"The metrics are not public. {ACCESS_HINT}")
            if not caller.administers_server:
                raise Forbidden(f"{caller.display_name} may not read the metrics. {ACCESS_HINT}")
        return make_response(200, METRICS_TYPE, self._observer.render_metrics(), NO_STORE)


def _not_ready(message: str, code: str) -> Response:
    """Return the response (503) of a server that is not ready, with the reason."""
    fault = Unavailable(message, code=code, retry_after=RETRY_AFTER_SECONDS)
    return error_response_for(fault)
