"""
Handlers of the sign-in with a provider. This module is not imported without `[[sign_in]]`.

Each provider is asked in a pool of threads of its own, so that a slow one holds up no other
requests.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar, TypeVarTuple

from msgspec import Struct

from wheelyard.authentication.sign_in.attempts import ATTEMPT_SECONDS
from wheelyard.authentication.sign_in.provider import AuthorizationAnswer
from wheelyard.authentication.sign_in.sign_in import SignIn
from wheelyard.authentication.verifiers.login_rate_limit import network_of
from wheelyard.errors import Unavailable, WheelyardError
from wheelyard.http import sign_in_page
from wheelyard.http.context import IndexRequest
from wheelyard.http.forms import local_path, parse_form
from wheelyard.http.messages import NO_STORE, SEE_OTHER, Response, redirect
from wheelyard.http.request_authentication import SESSION_COOKIE, SessionCookie
from wheelyard.model.access import Caller, Identity
from wheelyard.model.api_token import SessionId
from wheelyard.rendering.advice import error_on_page
from wheelyard.settings.sections import Settings

BROWSER_COOKIE: Final = "wheelyard-sign-in"
"""The beginning of the name of the cookie that a browser has during a sign-in."""
ROOT: Final = "../../../"
"""The relative path to the home page from the pages of a provider."""
MAX_CODE_CHARS: Final = 4096
"""The longest code of a provider that is sent back to the provider."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _BegunSession(Struct, frozen=True):
    """A session that has begun, with its caller."""

    cookie_value: str
    cookie_seconds: int
    """How long the cookie lives."""
    caller: Caller
    next_path: str
    """The page that the person wanted before the sign-in."""


class ProviderPages:
    """Sends a browser to a provider, and begins a session when it comes back."""

    def __init__(self, sign_in: SignIn, settings: Settings) -> None:
        self._sign_in = sign_in
        self._session_cookie = SessionCookie.named(SESSION_COOKIE, "Strict", settings)
        # "Lax", as the browser has to send this cookie when the provider's site leads back here
        self._browser_cookie = SessionCookie.named(BROWSER_COOKIE, "Lax", settings)

    def begin(self, request: IndexRequest) -> Response:
        """
        Handle GET `/-/sign-in/NAME/`: send the browser to the provider.

        The browser gets a cookie, by which the attempt is bound to it. `?next=` is the page after
        the sign-in, on this server. An error is shown on the page to sign in, and not raised.
        Raises Waiting for the provider.
        """
        server = request.context.index.settings.server
        provider_name = request.path_params["provider"]
        target = local_path(request.query_field("next") or "", server)
        # All tabs of a browser share the mark: a sign-in in one must not end that in another. It
        # is made once, although this method is called again after each wait.
        browser_mark = self._browser_mark(request)
        if not browser_mark:
            browser_mark = request.once("browser", self._new_browser_mark)
        try:
            session = request.once("session", self._find_session, request)
            url = self._ask_provider(
                request, self._sign_in.begin, provider_name, browser_mark, target, session
            )
        except WheelyardError as error:
            return sign_in_page.refuse(request, target, error, error_on_page(error), ROOT)
        cookie = self._browser_cookie.header(browser_mark, ATTEMPT_SECONDS)
        return redirect(SEE_OTHER, url, NO_STORE, cookie)

    def finish(self, request: IndexRequest) -> Response:
        """
        Handle GET `/-/sign-in/NAME/callback`: begin a session, and show the way to the next page.

        Sessions that the browser had before are ended. An error is shown on the page to sign in,
        and not raised. Raises Waiting for the provider.
        """
        try:
            begun = self._ask_provider(request, self._begin_session, request)
        except WheelyardError as error:
            target = self._next_path(request)
            return sign_in_page.refuse(request, target, error, error_on_page(error), ROOT)
        # no redirect: after one, the browser would not send the strict cookie of the session, as
        # the site of the provider has led here
        viewer = request.web.viewer(begun.caller)
        page = request.web.environment.render(
            "signed_in.html", viewer, ROOT, next_path=begun.next_path
        )
        cookie = self._session_cookie.header(begun.cookie_value, begun.cookie_seconds)
        return request.web.own_page(request, 200, page, cookie)

    def _ask_provider(self, request: IndexRequest, work: Callable[[*Ts], T], *args: *Ts) -> T:
        """
        Return the result of work that may wait for the provider in the path of a request.

        Raises Waiting while the work runs, NotFound if there is no such provider, Unavailable (code
        `overloaded`) if too many requests wait for the provider, and what `work` raises.
        """
        provider = self._sign_in.provider(request.path_params["provider"])
        threads = request.context.process.pools.providers[provider.config.name]
        # limited by the network and not by the caller, as strangers may send these requests, too
        client = network_of(request.address)
        return request.wait("provider", threads.run, client, work, *args)

    def _begin_session(self, request: IndexRequest) -> _BegunSession:
        """
        Begin the session of a person whom the provider has sent back.

        This runs in a thread that may wait for the provider. Raises WheelyardError if the provider
        or this index refuses the sign-in, or the provider or the store does not answer.
        """
        index = request.context.index

        # Anybody can lead a browser here with any query. Its fields count only if its `state` is
        # that of an attempt of the same browser.
        fields = parse_form(request.query_string)

        # RFC 9207: a provider that never sends `iss` differs from one that sends an empty text
        issuer = None
        if "iss" in fields.values:
            issuer = fields.exact_text("iss")
        answer = AuthorizationAnswer(
            code=fields.exact_text("code")[:MAX_CODE_CHARS],
            error=fields.exact_text("error"),
            issuer=issuer,
        )
        signed_in = self._sign_in.finish(
            request.path_params["provider"],
            self._browser_mark(request),
            fields.exact_text("state"),
            answer,
            request.address,
        )
        person = signed_in.person
        identity = Identity(person.principal, person.principals)
        caller = index.authenticator.policy.authorize(identity)
        index.authenticator.count_sign_in(caller, request.address)
        cookie_value, session = index.sessions.begin_for_person(
            self._sign_in, person, signed_in.seconds
        )

        # The session at the beginning of the attempt, as the strict cookie comes with this request
        # only from a provider of the same site; and that of the cookie, which may be a newer one.
        sessions_before = {signed_in.session, self._find_session(request)}
        for session_before in sessions_before:
            if session_before is not None:
                index.sessions.end(session_before, person.principal)
        return _BegunSession(
            cookie_value=cookie_value,
            cookie_seconds=session.expires_at - int(index.server.runtime.seconds()),
            caller=caller,
            next_path=local_path(signed_in.next, index.settings.server),
        )

    def _next_path(self, request: IndexRequest) -> str:
        """Return the page that a refused person wanted before the sign-in, or the home page."""
        state = parse_form(request.query_string).exact_text("state")
        next_path = ""
        with suppress(Unavailable):
            provider_name = request.path_params["provider"]
            browser_mark = self._browser_mark(request)
            next_path = self._sign_in.attempts.next_path(provider_name, browser_mark, state)
        return local_path(next_path, request.context.index.settings.server)

    def _browser_mark(self, request: IndexRequest) -> str:
        """Return the random mark in the cookie of a browser, or an empty text without one."""
        cookies = request.joined_headers.get(b"cookie", b"")
        return self._browser_cookie.value_in(cookies).decode()

    def _new_browser_mark(self) -> str:
        """Return a new mark for a browser."""
        return self._sign_in.attempts.new_browser()

    def _find_session(self, request: IndexRequest) -> SessionId | None:
        """Return the session whose cookie a request has, or None without a valid cookie."""
        cookies = request.joined_headers.get(b"cookie", b"")
        cookie_value = self._session_cookie.value_in(cookies)
        if not cookie_value:
            return None
        session = request.context.index.sessions.signed(cookie_value.decode())
        if session is None:
            return None
        return SessionId(id=session.id, expires_at=session.expires_at)
