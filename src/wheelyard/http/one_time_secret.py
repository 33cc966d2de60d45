"""
A secret that was made by a form, and that the page after it shows once.

If the answer to the form itself showed the secret, loading that page again would make another one.
So the answer is a redirect, and a cookie has the secret. The secret is sealed in the cookie under
the key of sessions, for one session, one subject and one minute, so that any process of the index
opens it and nobody else. The page that shows the secret removes the cookie. Nothing is stored.
"""

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from msgspec import DecodeError, Struct, ValidationError
from msgspec.json import decode, encode

from wheelyard.http.context import IndexRequest
from wheelyard.http.forms import browser_binding, session_key
from wheelyard.http.messages import NO_STORE, SEE_OTHER, Response, redirect
from wheelyard.http.request_authentication import SessionCookie

if TYPE_CHECKING:
    from wheelyard.catalog.sealing import Sealer

COOKIE: Final = "wheelyard-secret"
"""The beginning of the name of the cookie."""
SECONDS: Final = 60
"""How long the page may take until it shows the secret."""


class _SealedSecret(Struct, frozen=True):
    """The content of the cookie, before it is sealed."""

    secret: str
    expires: int
    """When the page shows the secret no more, in seconds since the epoch."""


def redirect_with_secret(request: IndexRequest, subject: str, secret: str, query: str) -> Response:
    """
    Return the redirect to the page of a form, with a query, where `read_secret` reads the secret.

    `subject` says what the secret is of. The key of sessions is made if there is none. Raises
    Unavailable if the store with the key does not answer, or the key is damaged.
    """
    now = int(request.context.index.server.runtime.seconds())
    text = encode(_SealedSecret(secret, now + SECONDS)).decode()
    sealed_text = _sealer(request).seal(text, _seal_context(request, subject))
    path = request.web.path(*request.segments, query=query.encode())
    cookie_header = _cookie(request, subject).header(sealed_text, SECONDS)
    return redirect(SEE_OTHER, path, NO_STORE, cookie_header)


def read_secret(request: IndexRequest, subject: str) -> str:
    """
    Return the secret of a subject that the browser has for this caller, or an empty text.

    The result is empty if the secret is of another subject, was shown before, or is older than a
    minute. Raises Unavailable if the store with the key does not answer, or the key is damaged.
    """
    cookies = request.joined_headers.get(b"cookie", b"")
    sealed_text = _cookie(request, subject).value_in(cookies)
    if not sealed_text:
        return ""
    text = _sealer(request).open(sealed_text.decode(), _seal_context(request, subject))
    try:
        sealed_secret = decode(text or "", type=_SealedSecret)
    except (DecodeError, ValidationError):
        return ""
    # a browser may keep the cookie for longer, as may anybody who has copied it
    if request.context.index.server.runtime.seconds() >= sealed_secret.expires:
        return ""
    return sealed_secret.secret


def with_secret_removed(request: IndexRequest, subject: str, page: Response) -> Response:
    """Return the page that shows a secret, with the header that removes its cookie."""
    if request.method == "HEAD":  # nobody has seen the secret yet
        return page
    removal_header = _cookie(request, subject).removal()
    return page.with_headers((*page.header_list, removal_header))


def _cookie(request: IndexRequest, subject: str) -> SessionCookie:
    """Return the cookie of one secret: somebody may make two before a page has shown the first."""
    digest = blake2b(subject.encode(), digest_size=4).hexdigest()
    settings = request.context.index.server.settings
    return SessionCookie.named(f"{COOKIE}-{digest}", "Strict", settings)


def _seal_context(request: IndexRequest, subject: str) -> str:
    """Return what a secret is sealed for: the session or the principal, and the subject."""
    return f"{browser_binding(request)}\0{subject}"


def _sealer(request: IndexRequest) -> "Sealer":
    """Return what seals secrets under the key of sessions, and opens them."""
    # cryptography takes megabytes, and most servers never make a secret in a page
    from wheelyard.catalog.sealing import Sealer  # noqa: PLC0415 - above

    random = request.context.index.server.runtime.random
    return Sealer(session_key(request), "secret on a page", random)
