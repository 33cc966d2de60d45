"""
Forms of pages: their fields, the token and the origin that a request needs, and errors.

The anti-forgery token is a hidden field of each form that changes something: an HMAC under the key
of sessions, which all processes know. It is bound to the session of the browser, or without one to
the principal, so nobody can make it for somebody else. The checks of the request's origin are made
as well: they are the defence against requests of other sites, and the token is a second one that
does not depend on what a browser sends by itself.

A browser adds a stored password to a request, whichever page has made the request (CSRF). It also
names the site of the page in `Sec-Fetch-Site` or `Origin`, which no page can forge. Other clients
send neither header.

A page can make its own host name resolve to this machine (DNS rebinding), and then has the same
origin as the index. So if the index listens on loopback only, or allows anonymous uploads, browsers
may change something only under an IP address, `localhost`, or the host of `public_url`. With
`trusted_hosts`, `HostPolicy` checks the host instead, before routing. Health probes are answered
under any host, as a load balancer knows an address and no host name.
"""

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Final, TypeVar
from urllib.parse import parse_qs, quote, unquote, urlsplit

from msgspec import Struct
from msgspec.structs import fields as struct_fields
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wheelyard.api.operation import convert_fields
from wheelyard.errors import Forbidden, Invalid, WheelyardError, quoted
from wheelyard.http.client_paths import build_path, may_have_secret
from wheelyard.http.context import IndexRequest
from wheelyard.http.error_responses import UNKNOWN_HOST, UNSUPPORTED_MEDIA_TYPE
from wheelyard.http.messages import AsgiScope, Header, Headers, Request
from wheelyard.http.request_authentication import SessionCookie, session_of
from wheelyard.http.requests import BODY_LIMIT_BYTES, decode_path, has_forwarding_header, read_body
from wheelyard.model.decoding import InvalidField
from wheelyard.rendering.advice import error_on_page
from wheelyard.rendering.web.account_pages import FormState
from wheelyard.settings.sections import ServerSettings, Settings, is_loopback

FORM: Final = b"application/x-www-form-urlencoded"
MAX_FIELDS: Final = 1000

CSRF_FIELD: Final = "csrf_token"
FORM_TOKEN_SECONDS: Final = 12 * 3600
"""How long a form may stay open in a browser before it is sent."""
MAX_TOKEN_CHARS: Final = 100

S = TypeVar("S", bound=Struct)

SAFE_FETCH_SITES: Final = frozenset({"same-origin", "none"})
"""Sec-Fetch-Site of requests that are not cross-site. `none`: the user has typed the URL."""
HTTPS: Final = "https"
MAX_PATH_CHARS: Final = 2048
_LOCAL: Final = re.compile(r"/(?![/\\])[!-\[\]-~]*")
"""Printable ASCII without a backslash. Browsers read `//host` and `/\\host` as another host."""
_PLAIN_PATH: Final = re.compile(r"(?!.*(?://|\.\.|/\.(?:[/;]|$)))[!-\[\]-~]*")
"""As above without `//`, `..` and the segment `.`, which the path of no page has."""
MAX_ENCODINGS: Final = 3
"""How often what stands in a path may be percent-encoded."""
_SIGNING: Final = re.compile(r"/-/sign-(?:in|out)(?![^/?#;])")
CREDENTIAL_PATHS: Final = ("/-/sign-in/", "/_/oidc/")
"""Below these, bodies and queries have credentials, and pages ask for them."""
HTTPS_ONLY: Final[Header] = (b"strict-transport-security", b"max-age=31536000")
"""For a year. Other names of the domain are not this server's to decide about."""


class FormFields(Struct, frozen=True):
    """The fields of a form, of which several with one name are the ticked boxes of a list."""

    values: Mapping[str, tuple[str, ...]]

    def text(self, name: str) -> str:
        """
        Return the stripped text of a field, empty without one.

        Raises Invalid for several.
        """
        return self.exact_text(name).strip()

    def exact_text(self, name: str) -> str:
        """
        Return the text of a field as it was typed, empty without one.

        Raises Invalid for several.
        """
        texts = self.values.get(name, ("",))
        if len(texts) > 1:
            raise Invalid(
                f"The form has several fields {quoted(name)}. Send it once.", code="duplicate_field"
            )
        return texts[0]

    def action(self, *actions: str) -> str:
        """
        Return the field `action`.

        Raises Invalid unless it is one of `actions`.
        """
        action = self.text("action")
        if action not in actions:
            raise Invalid("The form does not say what to do. Load it again.", code="invalid_field")
        return action

    def all(self, name: str) -> tuple[str, ...]:
        """Return the texts of all fields of a name, in the order of the form."""
        return self.values.get(name, ())


def read_form(
    request: Request, limit: int = BODY_LIMIT_BYTES, max_fields: int = MAX_FIELDS
) -> FormFields:
    """
    Return the fields of the form in a request's body.

    Raises Invalid for what is no form, or has too many fields. Raises TooLarge above `limit` bytes,
    Waiting until the body has come, and ClientDisconnected or SlowClient if it does not come.
    """
    if request.body_type != FORM:
        raise Invalid(
            f'Send the form as a browser does, with "Content-Type: {FORM.decode()}".',
            code=UNSUPPORTED_MEDIA_TYPE,
        )
    too_long = f"A form has at most {limit} bytes. Send a shorter text."
    return parse_form(read_body(request, limit, too_long), max_fields)


def parse_form(body: bytes, max_fields: int = MAX_FIELDS) -> FormFields:
    """
    Return the fields in the bytes of a form.

    Raises Invalid if it is malformed, or has too many fields.
    """
    try:
        texts_by_name = parse_qs(
            body.decode(), keep_blank_values=True, errors="strict", max_num_fields=max_fields
        )
    except UnicodeDecodeError:
        reason = "The form is not UTF-8. Send it as UTF-8."
        code = "bad_encoding"
    except ValueError:
        reason = f"The form has more than {max_fields} fields. Send fewer."
        code = "invalid_field"
    else:
        return FormFields({name: tuple(texts) for name, texts in texts_by_name.items()})
    # outside of the handler: the decoder's error contains the whole body, and so passwords
    raise Invalid(reason, code=code)


def form_token(request: IndexRequest) -> str:
    """
    Return the token for the forms of a page, which is empty on a read-only server.

    The key of sessions is made if there is none. Raises Unavailable if the store with the key does
    not answer, or the key is damaged.
    """
    index = request.context.index
    if index.settings.server.read_only:
        return ""
    issued_at = f"{int(index.server.runtime.seconds()):x}"
    return f"{issued_at}.{_signature(request, issued_at)}"


def require_form_token(request: IndexRequest, token: str) -> None:
    """
    Check that a token is the one that the page of a form had.

    Raises Forbidden (code `stale_form`) if it is another one, if the caller has signed in anew, or
    after `FORM_TOKEN_SECONDS`. Raises Forbidden (code `read_only`) on a read-only server. Raises
    Unavailable if the store with the key does not answer, or the key is damaged. The key of
    sessions is made if there is none.
    """
    index = request.context.index
    if index.settings.server.read_only:
        raise request.context.read_only()
    # any process of this index may have made the token: all have the key
    issued_at, _, signature = token[:MAX_TOKEN_CHARS].partition(".")
    expected = _signature(request, issued_at).encode()
    is_ours = hmac.compare_digest(signature.encode("utf-8", "surrogatepass"), expected)
    # only a genuine token has a number there for certain
    if not is_ours or index.server.runtime.seconds() - int(issued_at, 16) > FORM_TOKEN_SECONDS:
        raise Forbidden(
            "This form is too old, or you have signed in again since it was shown, so nothing was "
            "changed. Load the page with the form again, and send it once more.",
            code="stale_form",
        )


def session_key(request: IndexRequest) -> bytes:
    """
    Return the key of sessions, which all processes of the index have.

    If there is none, it is made, and written into the store. Raises Unavailable if the store does
    not answer, or the key is damaged.
    """
    records = request.context.index.sessions.records
    return records.peek_key() or records.require_key()


def browser_binding(request: IndexRequest) -> str:
    """Return what the requests of one session have in common, or without one those of a caller."""
    if request.browser_session is not None:
        return f"session:{request.browser_session.id}"
    return f"principal:{request.caller.principal}"


def _signature(request: IndexRequest, issued_at: str) -> str:
    """Return the HMAC of a form token for the sender of a request."""
    key = session_key(request)
    # so that nobody can send a form that was made for another session
    signed = f"form\0{issued_at}\0{browser_binding(request)}".encode("utf-8", "surrogatepass")
    return urlsafe_b64encode(hmac.digest(key, signed, "sha256")).decode().rstrip("=")


@contextmanager
def checking(field: str) -> Iterator[None]:
    """Name `field` as what each WheelyardError of this block is about."""
    try:
        yield
    except WheelyardError as error:
        error.field = field
        raise


def form_body(fields: FormFields, kind: type[S], *lists: str) -> S:
    """
    Return the fields of a form as the body of an operation.

    A field of `lists` may be there several times. Raises Invalid, with the field that is wrong.
    """
    body: dict[str, object] = {}
    for field in struct_fields(kind):
        name = field.encode_name
        # a field that the form lacks has its default
        if name in fields.values:
            body[name] = fields.all(name) if name in lists else fields.text(name)
    try:
        return convert_fields(body, kind, strict=False)
    except Invalid as error:
        refusal = Invalid(f"{error.fact} Fill in the form again.", code=error.code)
        if isinstance(error.__cause__, InvalidField):
            refusal.field = error.__cause__.path[0]
        raise refusal from error


def refused_form(request: IndexRequest, fields: FormFields, error: WheelyardError) -> FormState:
    """
    Return a form to be shown again, with what was typed, and why it was refused.

    An error of the store is logged. The form has a new token, or if the store does not answer, the
    one that was sent.
    """
    request.context.process.store_errors.log(error)
    try:
        token = form_token(request)
    except WheelyardError:  # the store does not answer: the token that was sent may be right
        token = fields.text(CSRF_FIELD)
    return FormState(token, fields.values, error_on_page(error), error.field)


def is_cross_site(headers: Headers, settings: Settings) -> bool:
    """Return whether a page of another site, or under an unknown host name, made the request."""
    return _has_other_origin(headers, settings.server) or _is_dns_rebinding(headers, settings)


def is_same_origin(headers: Headers, server: ServerSettings) -> bool:
    """Return whether a browser's headers say that a page of this index has made the request."""
    if _has_other_origin(headers, server):
        return False
    return b"origin" in headers or header_text(headers, b"sec-fetch-site") == "same-origin"


def cross_site_error() -> Forbidden:
    """Return the error of a cross-site request."""
    return Forbidden(
        "A page of another site has sent this request, or a page under an unknown host name. "
        "Nothing was changed. Send it from a program, or from a page of the index itself.",
        code="cross_site",
    )


def public_origin(server: ServerSettings) -> str:
    """Return `public_url` without its path, such as `https://host:8443`, or an empty text."""
    parts = urlsplit(server.public_url)
    if not parts.netloc:
        return ""
    return f"{parts.scheme}://{parts.netloc}".lower()


def _has_other_origin(headers: Headers, server: ServerSettings) -> bool:
    """Return whether a browser's headers say that a page of another site made the request."""
    if header_text(headers, b"sec-fetch-site", "none") not in SAFE_FETCH_SITES:
        return True
    if b"origin" not in headers:
        return False  # a program, or a browser that has sent Sec-Fetch-Site
    origin = header_text(headers, b"origin")
    public = public_origin(server)
    scheme, _, host = origin.partition("://")
    if scheme not in ("http", "https") or not host:
        return True
    # behind a proxy that ends TLS, only the settings know the scheme
    if host == public.partition("://")[2]:
        return origin != public
    return host != header_text(headers, b"host")


def _is_dns_rebinding(headers: Headers, settings: Settings) -> bool:
    """Return whether a page may have sent the request whose host name was pointed at this one."""
    server = settings.server
    access = settings.access
    # `HostPolicy` has checked the host already, and only browsers send these headers
    if access.trusted_hosts or not (b"origin" in headers or b"sec-fetch-site" in headers):
        return False
    is_public = server.public_url or server.trusted_proxies or not server.is_loopback
    if is_public and not access.anonymous_uploads:  # the page's origin has no stored password
        return False
    # the page has a name that its owner has pointed at this machine, and no address
    host = header_text(headers, b"host")
    return host != public_origin(server).partition("://")[2] and not _is_local(host)


def _is_local(host: str) -> bool:
    """Return whether a Host header names `localhost` or an IP address, which no page can take."""
    name = strip_port(host).removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def header_text(headers: Headers, name: bytes, default: str = "") -> str:
    """Return the value of a header, stripped and in lower case, or `default` if it is missing."""
    return headers.get(name, default.encode()).decode("latin-1").strip().lower()


def strip_port(host: str) -> str:
    """Return the value of a Host header without its port, an IPv6 address in its brackets."""
    name, colon, port = host.rpartition(":")
    if colon and port.isdecimal():
        return name
    return host


class HostPolicy(Struct, frozen=True):
    """Which values of the Host header are allowed, and whether credentials need HTTPS."""

    hosts: frozenset[str]
    """The allowed values of Host, in lower case, or none if any is allowed."""
    exempt_paths: frozenset[bytes]
    """Raw paths of health probes, which are answered under any host."""
    requires_https: bool
    session_cookie: SessionCookie | None
    """The cookie that is a credential, too."""
    credential_paths: tuple[str, ...]
    """Decoded paths, with their prefix, below which each request has or asks for a credential."""
    trusted_proxies: int
    """The number of reverse proxies whose X-Forwarded-Proto is trusted."""

    @classmethod
    def of(cls, settings: Settings) -> "HostPolicy | None":
        """Return the policy of the settings, or None if they restrict neither host nor scheme."""
        access = settings.access
        server = settings.server
        if not access.trusted_hosts and not access.require_https:
            return None
        hosts = frozenset(host.lower() for host in access.trusted_hosts)
        probe_paths = set[bytes]()
        credential_paths = list[str]()
        # a proxy may take the prefix away, or leave it
        for prefix in ("", server.path_prefix):
            probe_paths |= {f"{prefix}/health".encode(), f"{prefix}/ready".encode()}
            credential_paths += [f"{prefix}{path}" for path in CREDENTIAL_PATHS]
        return cls(
            hosts=hosts,
            exempt_paths=frozenset(probe_paths),
            requires_https=access.require_https,
            session_cookie=SessionCookie.of(settings),
            credential_paths=tuple(credential_paths),
            trusted_proxies=server.trusted_proxies,
        )

    def check(self, scope: AsgiScope, headers: Headers) -> None:
        """Raise Invalid (421) if the host is unknown, Forbidden for a credential without HTTPS."""
        if not self._is_allowed_host(headers) and scope["raw_path"] not in self.exempt_paths:
            message = "This index has another host name. Use the URL that its operator gave you."
            raise Invalid(message, code=UNKNOWN_HOST)
        if self._has_credential(scope, headers) and not self.takes_credentials(scope, headers):
            raise Forbidden(
                "Credentials are taken over HTTPS only, and these came over plain HTTP, where "
                "others may have read them. Replace them, and write https:// in the URL.",
                code="https_required",
            )

    def takes_credentials(self, scope: AsgiScope, headers: Headers) -> bool:
        """Return whether a request could have a credential, and its page may ask for one."""
        return not self.requires_https or self._is_encrypted(scope, headers)

    def _is_allowed_host(self, headers: Headers) -> bool:
        host = header_text(headers, b"host")
        return not self.hosts or host in self.hosts or strip_port(host) in self.hosts

    def _has_credential(self, scope: AsgiScope, headers: Headers) -> bool:
        """Return whether a request has a credential, or is for a page that asks for one."""
        if b"authorization" in headers or session_of(headers, self.session_cookie):
            return True
        try:
            path = decode_path(scope["raw_path"])  # as its route is found
        except WheelyardError:
            return False  # it has no route
        return path.startswith(self.credential_paths)

    def _is_encrypted(self, scope: AsgiScope, headers: Headers) -> bool:
        """Return whether the client used HTTPS, or is on this machine and is no proxy."""
        if not self.trusted_proxies:
            if scope.get("scheme") == HTTPS:
                return True
            peer = str((scope.get("client") or ("",))[0])
            return is_loopback(peer) and not has_forwarding_header(headers)
        # each proxy appends the scheme that it sees, so earlier ones may be invented by the client
        schemes = header_text(headers, b"x-forwarded-proto").split(",")
        trusted_schemes = schemes[-self.trusted_proxies :]
        return trusted_schemes[0].strip() == HTTPS


def local_path(text: str, server: ServerSettings) -> str:
    """Return `text` if it is the path of a page to return to, with its query, or that of home."""
    # whoever makes a link to the sign-in page chooses this text: it must not lead to another site
    home_path = build_path(server)
    if len(text) > MAX_PATH_CHARS or not _LOCAL.fullmatch(text) or "#" in text:
        return home_path
    if not text.startswith(home_path) or not _is_page(text.removeprefix(server.public_path)):
        return home_path
    return text


def referring_page(headers: Headers, server: ServerSettings) -> str:
    """Return the path of the page of this index whose link was followed, or that of home."""
    try:
        referer = urlsplit(headers.get(b"referer", b"").decode("ascii"))
    except ValueError:
        return local_path("", server)
    origins = (header_text(headers, b"host"), public_origin(server).partition("://")[2])
    if referer.netloc.lower() not in filter(None, origins):
        return local_path("", server)
    path = referer.path
    if referer.query:
        path += f"?{referer.query}"
    return local_path(path, server)


def sign_in_url(raw_path: bytes, query: bytes, server: ServerSettings) -> str:
    """Return the path of the sign-in page, with a `next` that leads back to a page."""
    target = path_back(raw_path, query, server)
    return f"{build_path(server, ('-', 'sign-in'))}?next={quote(target, safe='/')}"


def path_back(raw_path: bytes, query: bytes, server: ServerSettings) -> str:
    """Return the path that leads back to a page, or that of home if the page's has a secret."""
    page = raw_path
    if query:
        page += b"?" + query
    # the path would be in the history of the browser, and in logs of proxies
    if may_have_secret(page):
        return local_path("", server)
    return local_path(page.decode("latin-1"), server)


def _is_page(text: str) -> bool:
    """
    Return whether a path below the index is a page to return to, for every reader.

    It is not if it leads above the index, or to sign in or out, also at the path of another index.
    Browsers and proxies resolve `.` and `..` in many spellings: encoded once or twice, with a
    semicolon or a backslash after it. Servers decode the name of a page.
    """
    path = text.partition("?")[0]
    # what is still encoded after that, a proxy may decode to anything
    for _ in range(MAX_ENCODINGS):
        path = unquote(path)
    is_plain = _PLAIN_PATH.fullmatch(path) and unquote(path) == path
    return bool(is_plain) and not _SIGNING.search(path)


class _SendHttpsOnly(Struct, frozen=True):
    """Sends messages, and adds `HTTPS_ONLY` to the headers of a response."""

    send: Send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], HTTPS_ONLY]}
        await self.send(message)


class HttpsOnly:
    """
    An ASGI application that adds `HTTPS_ONLY` to the responses of another one.

    It does not if the Host of a request is the client's own machine, such as `localhost`: browsers
    apply the header to all ports of a name, and so to whatever else somebody develops there.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does, with the header if it may be added."""
        if scope["type"] == "http" and _is_for_other_machines(scope):
            send = _SendHttpsOnly(send)
        await self._app(scope, receive, send)


def _is_for_other_machines(scope: Scope) -> bool:
    """Return whether a request names a host that is not, or not always, a client's own machine."""
    host = strip_port(header_text(dict(scope["headers"]), b"host")).strip("[]").removesuffix(".")
    return bool(host) and not (is_loopback(host) or host.endswith(".localhost"))
