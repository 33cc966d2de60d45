"""
Forms of pages: their fields, and the token, the origin and the host that their requests need.

The anti-forgery token is a hidden field of each form that changes something: an HMAC under the key
of sessions, which all processes know. The token is bound to the session of the browser, or without
a session to the principal, so nobody can make a token for somebody else. The origin of a request is
checked as well: that is the defence against requests of other sites, and the token is a second
defence that does not depend on what a browser sends by itself.

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
_LOCAL_PATH: Final = re.compile(r"/(?![/\\])[!-\[\]-~]*")
"""Printable ASCII without a backslash. Browsers read `//host` and `/\\host` as another host."""
# a path that nothing resolves to another one: no `//`, no `..` anywhere, and no segment `.`, which
# may have a semicolon behind it. The path of no page has one of these.
_PLAIN_PATH: Final = re.compile(r"(?!.*(?://|\.\.|/\.(?:[/;]|$)))[!-\[\]-~]*")
"""Printable ASCII without a backslash, as in `_LOCAL_PATH`, that is resolved to itself."""
MAX_ENCODINGS: Final = 3
"""How often a character of a path may be percent-encoded."""
_SIGN_IN_OR_OUT: Final = re.compile(r"/-/sign-(?:in|out)(?![^/?#;])")
CREDENTIAL_PATHS: Final = ("/-/sign-in/", "/_/oidc/")
"""The paths below which bodies and queries have credentials, and pages ask for credentials."""
HTTPS_ONLY: Final[Header] = (b"strict-transport-security", b"max-age=31536000")
"""Browsers use HTTPS alone for a year: for this host, and not for other names of its domain."""


class FormFields(Struct, frozen=True):
    """The texts of the fields of a form by name. Several with one name are ticked boxes."""

    values: Mapping[str, tuple[str, ...]]

    def text(self, name: str) -> str:
        """
        Return the stripped text of a field, or an empty text if the form has no such field.

        Raises Invalid if the form has several such fields.
        """
        return self.exact_text(name).strip()

    def exact_text(self, name: str) -> str:
        """
        Return the text of a field as it was typed, or an empty text if the form has no such field.

        Raises Invalid if the form has several such fields.
        """
        texts = self.values.get(name, ("",))
        if len(texts) > 1:
            raise Invalid(
                f"The form has several fields {quoted(name)}. Send it once.", code="duplicate_field"
            )
        return texts[0]

    def action(self, *actions: str) -> str:
        """
        Return the text of the field `action`.

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

    Raises Invalid if the body is no form, or has more than `max_fields` fields. Raises TooLarge if
    it has more than `limit` bytes, Waiting until it has come, and ClientDisconnected or SlowClient
    if it does not come.
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
        values = {name: tuple(texts) for name, texts in texts_by_name.items()}
        return FormFields(values)
    # outside of `except`: the decoder's error contains the whole body, and so passwords
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

    The key of sessions is made if there is none. Raises Forbidden (code `stale_form`) if it is
    another token, if the caller has signed in anew, or after `FORM_TOKEN_SECONDS`. Raises Forbidden
    (code `read_only`) on a read-only server. Raises Unavailable if the store with the key does not
    answer, or the key is damaged.
    """
    index = request.context.index
    if index.settings.server.read_only:
        raise request.context.read_only_error()
    # any process of this index may have made the token: all have the key
    issued_at, _, signature = token[:MAX_TOKEN_CHARS].partition(".")
    expected_signature = _signature(request, issued_at).encode()
    sent_signature = signature.encode("utf-8", "surrogatepass")
    is_genuine = hmac.compare_digest(sent_signature, expected_signature)
    is_expired = False
    # only in a genuine token is it certain that `issued_at` is a number
    if is_genuine:
        age_seconds = index.server.runtime.seconds() - int(issued_at, 16)
        is_expired = age_seconds > FORM_TOKEN_SECONDS
    if not is_genuine or is_expired:
        raise Forbidden(
            "This form is too old, or you have signed in again since it was shown, so nothing was "
            "changed. Load the page with the form again, and send it once more.",
            code="stale_form",
        )


def session_key(request: IndexRequest) -> bytes:
    """
    Return the key of sessions, which all processes of the index have.

    If there is no key, it is made, and written into the store. Raises Unavailable if the store does
    not answer, or the key is damaged.
    """
    records = request.context.index.sessions.records
    return records.peek_key() or records.require_key()


def browser_binding(request: IndexRequest) -> str:
    """Return the text that a form is bound to: the session, or without a session the principal."""
    if request.browser_session is not None:
        return f"session:{request.browser_session.id}"
    return f"principal:{request.caller.principal}"


def _signature(request: IndexRequest, issued_at: str) -> str:
    """Return the HMAC of a form token for the sender of a request."""
    key = session_key(request)
    # bound to the session, so that nobody can send a form that was made for another one
    text = f"form\0{issued_at}\0{browser_binding(request)}"
    signature = hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256")
    return urlsafe_b64encode(signature).decode().rstrip("=")


@contextmanager
def naming_field(field: str) -> Iterator[None]:
    """Let each WheelyardError of a `with` block name `field` as the wrong field."""
    try:
        yield
    except WheelyardError as error:
        error.field = field
        raise


def form_body(fields: FormFields, kind: type[S], *lists: str) -> S:
    """
    Return the fields of a form as the body of an operation.

    The form may have several fields with a name of `lists`. Raises Invalid, with the wrong field,
    if the fields do not make a body of the class `kind`.
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
    Return the state of a form that is shown again, with what was typed, and why it was refused.

    An error of the store is logged. The form has a new token, or the token that was sent if the
    store does not answer.
    """
    request.context.process.store_errors.log(error)
    try:
        token = form_token(request)
    except WheelyardError:  # the store does not answer, and the token that was sent may be right
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


def _public_host(server: ServerSettings) -> str:
    """Return the host of `public_url`, with its port if that is named, or an empty text."""
    return urlsplit(server.public_url).netloc.lower()


def _has_other_origin(headers: Headers, server: ServerSettings) -> bool:
    """Return whether a browser's headers say that a page of another site made the request."""
    if header_text(headers, b"sec-fetch-site", "none") not in SAFE_FETCH_SITES:
        return True
    if b"origin" not in headers:
        return False  # a program, or a browser that has sent Sec-Fetch-Site
    origin = header_text(headers, b"origin")
    scheme, _, host = origin.partition("://")
    if scheme not in ("http", "https") or not host:
        return True
    # behind a proxy that ends TLS, only the settings know the scheme
    if host == _public_host(server):
        return origin != public_origin(server)
    return host != header_text(headers, b"host")


def _is_dns_rebinding(headers: Headers, settings: Settings) -> bool:
    """
    Return whether a page may have sent the request whose owner points its host name here.

    That is so if a browser has sent the request under a host name that is neither that of
    `public_url` nor local. It only counts where such a request could change something: on loopback
    without a proxy and `public_url`, or where anonymous uploads are allowed.
    """
    server = settings.server
    access = settings.access
    # only browsers send these headers
    is_of_browser = b"origin" in headers or b"sec-fetch-site" in headers
    # with `trusted_hosts`, `HostPolicy` has checked the host already
    if access.trusted_hosts or not is_of_browser:
        return False
    is_public = server.public_url or server.trusted_proxies or not server.is_loopback
    # a browser has stored no password for the origin of the page
    if is_public and not access.anonymous_uploads:
        return False
    # the page has a host name that its owner has pointed at this machine, and no address
    host = header_text(headers, b"host")
    return host != _public_host(server) and not _is_local(host)


def _is_local(host: str) -> bool:
    """Return whether a Host header names `localhost` or an IP address: no page can have these."""
    name = strip_port(host).removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = name.removeprefix("[").removesuffix("]")
    try:
        ip_address(address)
    except ValueError:
        return False
    return True


def header_text(headers: Headers, name: bytes, default: str = "") -> str:
    """Return the value of a header, stripped and in lower case, or `default` if it is missing."""
    value = headers.get(name, default.encode())
    return value.decode("latin-1").strip().lower()


def strip_port(host: str) -> str:
    """Return the value of a Host header without its port, an IPv6 address in its brackets."""
    name, colon, port = host.rpartition(":")
    if colon and port.isdecimal():
        return name
    return host


class HostPolicy(Struct, frozen=True):
    """Which values of the Host header are allowed, and whether credentials need HTTPS."""

    hosts: frozenset[str]
    """The allowed values of Host, in lower case. Without any, each value is allowed."""
    exempt_paths: frozenset[bytes]
    """Raw paths of health probes, which are answered under any host."""
    requires_https: bool
    session_cookie: SessionCookie | None
    """The cookie of sessions, which is a credential, too, or None if there are no sessions."""
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
        """Raise Invalid (421) for an unknown host, and Forbidden for a credential without HTTPS."""
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
        """Return whether a request may have a credential, and its page may ask for a credential."""
        return not self.requires_https or self._is_encrypted(scope, headers)

    def _is_allowed_host(self, headers: Headers) -> bool:
        """Return whether Host has an allowed value, with or without a port."""
        host = header_text(headers, b"host")
        return not self.hosts or host in self.hosts or strip_port(host) in self.hosts

    def _has_credential(self, scope: AsgiScope, headers: Headers) -> bool:
        """Return whether a request has a credential, or is for a page that asks for one."""
        if b"authorization" in headers or session_of(headers, self.session_cookie):
            return True
        try:
            path = decode_path(scope["raw_path"])  # as for finding its route
        except WheelyardError:
            return False  # such a path has no route
        return path.startswith(self.credential_paths)

    def _is_encrypted(self, scope: AsgiScope, headers: Headers) -> bool:
        """Return whether the client used HTTPS, or is on this machine and is no proxy."""
        if not self.trusted_proxies:
            if scope.get("scheme") == HTTPS:
                return True
            peer = scope.get("client")
            address = str(peer[0]) if peer else ""  # a Unix socket has no address
            return is_loopback(address) and not has_forwarding_header(headers)
        # each proxy appends the scheme that it sees: the client may have invented earlier ones
        schemes = header_text(headers, b"x-forwarded-proto").split(",")
        trusted_schemes = schemes[-self.trusted_proxies :]
        return trusted_schemes[0].strip() == HTTPS


def local_path(text: str, server: ServerSettings) -> str:
    """Return `text` if it is the path and query of a page to return to, or else the home path."""
    # whoever makes a link to the sign-in page chooses this text: it must not lead to another site
    home_path = build_path(server)
    if len(text) > MAX_PATH_CHARS or not _LOCAL_PATH.fullmatch(text):
        return home_path
    if "#" in text:
        return home_path
    path_in_index = text.removeprefix(server.public_path)
    if not text.startswith(home_path) or not _is_page(path_in_index):
        return home_path
    return text


def referring_page(headers: Headers, server: ServerSettings) -> str:
    """Return the path of the page of this index whose link was followed, or else the home path."""
    try:
        referer = urlsplit(headers.get(b"referer", b"").decode("ascii"))
    except ValueError:
        return local_path("", server)
    host = referer.netloc.lower()
    if not host or host not in (header_text(headers, b"host"), _public_host(server)):
        return local_path("", server)
    path = referer.path
    if referer.query:
        path += f"?{referer.query}"
    return local_path(path, server)


def sign_in_url(raw_path: bytes, query: bytes, server: ServerSettings) -> str:
    """Return the path of the sign-in page, with a `next` that leads back to a page."""
    sign_in_path = build_path(server, ("-", "sign-in"))
    next_path = quote(path_back(raw_path, query, server), safe="/")
    return f"{sign_in_path}?next={next_path}"


def path_back(raw_path: bytes, query: bytes, server: ServerSettings) -> str:
    """Return the path that leads back to a page, or the home path if there is a secret in it."""
    path = raw_path
    if query:
        path += b"?" + query
    # the path would be in the history of the browser, and in logs of proxies
    if may_have_secret(path):
        return local_path("", server)
    return local_path(path.decode("latin-1"), server)


def _is_page(text: str) -> bool:
    """
    Return whether a path below the index is a page to return to, for every reader.

    No page to return to is above the index, or signs in or out, also at the path of another index.
    Browsers and proxies resolve `.` and `..` in many spellings: encoded once or twice, with a
    semicolon or a backslash after them. Servers decode the name of a page.
    """
    path, _, _ = text.partition("?")
    for _ in range(MAX_ENCODINGS):
        path = unquote(path)
    # a path that is still encoded may become any other path at a proxy
    is_decoded = unquote(path) == path
    if not is_decoded or not _PLAIN_PATH.fullmatch(path):
        return False
    return not _SIGN_IN_OR_OUT.search(path)


class _SendHttpsOnly(Struct, frozen=True):
    """Sends messages, and adds `HTTPS_ONLY` to the headers of a response."""

    send: Send

    async def __call__(self, message: Message) -> None:
        """Send a message, with the header if it starts a response."""
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], HTTPS_ONLY]}
        await self.send(message)


class HttpsOnly:
    """
    An ASGI application that adds `HTTPS_ONLY` to the responses of another one.

    A request for the client's own machine, such as `localhost`, gets no such header: browsers apply
    it to all ports of a host name, and so to whatever else somebody develops there.
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
    headers = dict(scope["headers"])
    host_and_port = header_text(headers, b"host")
    host = strip_port(host_and_port).strip("[]").removesuffix(".")
    is_own_machine = is_loopback(host) or host.endswith(".localhost")
    return host != "" and not is_own_machine
