"""
Tells browsers to come by https only (HSTS, RFC 6797), if this server speaks TLS itself.

It is not said to this machine alone, where other programs speak plain HTTP under the same name.
"""

from collections.abc import Awaitable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wheelyard.http.protocol.messages import Header
from wheelyard.http.security.csrf import header_text, strip_port
from wheelyard.settings.sections import is_loopback

HTTPS_ONLY: Final[Header] = (b"strict-transport-security", b"max-age=31536000")
"""For a year. Other names of the domain are not this server's to decide about."""


class HttpsOnly:
    """An ASGI application that adds the header to each response of another one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does."""

        def send_with_header(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], HTTPS_ONLY]}
            return send(message)

        is_added = scope["type"] == "http" and _is_for_other_machines(scope)
        await self._app(scope, receive, send_with_header if is_added else send)


def _is_for_other_machines(scope: Scope) -> bool:
    """Return whether a request names a host that is not, or not always, a client's own machine."""
    host = strip_port(header_text(dict(scope["headers"]), b"host")).strip("[]").removesuffix(".")
    return bool(host) and not (is_loopback(host) or host.endswith(".localhost"))
