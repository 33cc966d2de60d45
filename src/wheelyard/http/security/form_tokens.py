"""
Anti-forgery tokens: a hidden field of each form that changes something.

The token is an HMAC under the key of sessions, which all processes know. It is bound to the session
of the browser, or without one to the principal, so nobody can make it for somebody else. The checks
of `csrf.py` are made as well: they are the defence against requests of other sites, and the token
is a second one that does not depend on what a browser sends by itself.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Final

from wheelyard.errors import Forbidden
from wheelyard.http.context import ServerContext
from wheelyard.http.protocol.error_responses import read_only
from wheelyard.http.protocol.fields import FormFields
from wheelyard.http.protocol.messages import Request

CSRF_FIELD: Final = "csrf_token"
FORM_TOKEN_SECONDS: Final = 12 * 3600
"""How long a form may stay open in a browser before it is sent."""
MAX_TOKEN_CHARS: Final = 100


def form_token(request: Request, context: ServerContext) -> str:
    """Return the token for the forms of a page; empty on a read-only server, which has no key."""
    if context.index.settings.server.read_only:
        return ""
    issued_at = f"{int(context.index.runtime.seconds()):x}"
    return f"{issued_at}.{_signature(_key(context), request, issued_at)}"


def require_form_token(request: Request, fields: FormFields, context: ServerContext) -> None:
    """
    Raise Forbidden (code `stale_form`) unless a form has the token that its page had.

    It also is stale once the caller has signed in anew, or after `FORM_TOKEN_SECONDS`.
    """
    check = form_token_check(request, context)
    check(fields.text(CSRF_FIELD))


def form_token_check(request: Request, context: ServerContext) -> Callable[[str], None]:
    """Return a check of the text of a token, for any thread; raise on a read-only server."""
    if context.index.settings.server.read_only:
        raise read_only()
    key, seconds = _key(context), context.index.runtime.seconds

    def check(text: str) -> None:
        issued_at, _, signature = text[:MAX_TOKEN_CHARS].partition(".")
        expected = _signature(key, request, issued_at)
        is_ours = hmac.compare_digest(signature.encode("utf-8", "surrogatepass"), expected.encode())
        # only a genuine token has a number there for certain
        if not is_ours or seconds() - int(issued_at, 16) > FORM_TOKEN_SECONDS:
            raise Forbidden(
                "This form is too old, or you have signed in again since it was shown, so nothing "
                "was changed. Load the page with the form again, and send it once more.",
                code="stale_form",
                short="Load the form again.",
            )

    return check


def _key(context: ServerContext) -> bytes:
    records = context.index.sessions.records
    return records.peek_key() or records.require_key()


def _signature(key: bytes, request: Request, issued_at: str) -> str:
    session, principal = request.browser_session, request.caller.principal
    binding = f"session:{session.id}" if session else f"principal:{principal}"
    signed = f"form\0{issued_at}\0{binding}".encode("utf-8", "surrogatepass")
    return urlsafe_b64encode(hmac.digest(key, signed, "sha256")).decode().rstrip("=")
