"""
A secret that was made by a form, and that the page after it shows once.

If the answer to the form itself showed the secret, loading that page again would make another one.
So the answer is a redirect, and the secret goes along in a cookie. It is sealed there under the key
of sessions, for one session, for what the secret is of and for a minute, so that any process of the
index opens it and nobody else. The page that shows the secret removes the cookie. Nothing is
stored.
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
    secret: str
    expires: int
    """In seconds since the epoch."""


def redirect_with_secret(request: IndexRequest, subject: str, secret: str, query: str) -> Response:
    """
    Return the redirect to the page of a form, with a query, on which `read_secret` has the secret.

    `subject` says what the secret is of. The key of sessions is made if there is none. Raises
    Unavailable if the store with the key does not answer, or the key is damaged.
    """
    expires = int(request.context.index.server.runtime.seconds()) + SECONDS
    text = encode(_SealedSecret(secret, expires)).decode()
    sealed = _sealer(request).seal(text, _context(request, subject))
    path = request.web.path(*request.segments, query=query.encode())
    return redirect(SEE_OTHER, path, NO_STORE, _cookie(request, subject).header(sealed, SECONDS))


def read_secret(request: IndexRequest, subject: str) -> str:
    """
    Return the secret that the browser was given for this caller, or an empty text.

    It is empty if the secret is of something else, was shown before, or is older than a minute.
    Raises Unavailable if the store with the key does not answer, or the key is damaged.
    """
    sealed = _cookie(request, subject).value_in(request.joined_headers.get(b"cookie", b""))
    if not sealed:
        return ""
    text = _sealer(request).open(sealed.decode(), _context(request, subject))
    try:
        opened = decode(text or "", type=_SealedSecret)
    except (DecodeError, ValidationError):
        return ""
    # a browser need not keep to the time, and whoever copies the cookie does not
    if request.context.index.server.runtime.seconds() >= opened.expires:
        return ""
    return opened.secret


def with_secret_removed(request: IndexRequest, subject: str, page: Response) -> Response:
    """Return a page that shows the secret, which takes it from the browser."""
    if request.method == "HEAD":  # which shows nothing
        return page
    return page.with_headers((*page.header_list, _cookie(request, subject).removal()))


def _cookie(request: IndexRequest, subject: str) -> SessionCookie:
    """Return the cookie of one secret: somebody may make two before a page has shown the first."""
    name = f"{COOKIE}-{blake2b(subject.encode(), digest_size=4).hexdigest()}"
    return SessionCookie.named(name, "Strict", request.context.index.server.settings)


def _context(request: IndexRequest, subject: str) -> str:
    return f"{browser_binding(request)}\0{subject}"


def _sealer(request: IndexRequest) -> "Sealer":
    # cryptography takes megabytes, and most servers never make a secret in a page
    from wheelyard.catalog.sealing import Sealer  # noqa: PLC0415 - above

    random = request.context.index.server.runtime.random
    return Sealer(session_key(request), "secret on a page", random)
