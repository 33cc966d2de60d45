"""
Handlers of signing in with a provider. Not imported without `[[sign_in]]`.

A provider is asked in threads of its own, so that nobody else waits for it.
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
"""The beginning of the name of the cookie that a browser has while somebody signs in."""
ROOT: Final = "../../../"
"""The way to the home page from the pages of a provider."""
MAX_CODE_CHARS: Final = 4096
"""The longest code of a provider that is sent back to it."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _BegunSession(Struct, frozen=True):
    """A session that has begun, and its caller."""

    cookie: str
    seconds: int
    """How long the cookie lives."""
    caller: Caller
    next_path: str
    """The page to which somebody wanted to go."""


class ProviderPages:
    """Sends a browser to a provider, and begins a session when it comes back."""

    def __init__(self, sign_in: SignIn, settings: Settings) -> None:
        self._sign_in = sign_in
        self._session_cookie = SessionCookie.named(SESSION_COOKIE, "Strict", settings)
        # "Lax", as a browser has to send this one when the provider's site leads back here
        self._browser_cookie = SessionCookie.named(BROWSER_COOKIE, "Lax", settings)

    def begin(self, request: IndexRequest) -> Response:
        """
        Handle GET `/-/sign-in/NAME/`: send the browser to the provider.

        The browser gets a cookie to which the attempt belongs. `?next=` is the page to go on to, of
        this server alone. What fails is told on the page to sign in, and not raised. Raises Waiting
        for the provider.
        """
        server = request.context.index.settings.server
        name = request.path_params["provider"]
        target = local_path(request.query_field("next") or "", server)
        # Of all tabs of a browser: the first one must not lose its sign-in to the second. It is
        # made once, although this is called again after each wait.
        browser = self._browser(request) or request.once("browser", self._new_browser)
        try:
            session = request.once("session", self._session, request)
            url = self._ask(request, self._sign_in.begin, name, browser, target, session)
        except WheelyardError as error:
            return sign_in_page.refuse(request, target, error, error_on_page(error), ROOT)
        cookie = self._browser_cookie.header(browser, ATTEMPT_SECONDS)
        return redirect(SEE_OTHER, url, NO_STORE, cookie)

    def finish(self, request: IndexRequest) -> Response:
        """
        Handle GET `/-/sign-in/NAME/callback`: begin a session, and lead on to the next page.

        Sessions that the browser had before are ended. What fails is told on the page to sign in,
        and not raised. Raises Waiting for the provider.
        """
        try:
            begun = self._ask(request, self._finish, request)
        except WheelyardError as error:
            target = self._target(request)
            return sign_in_page.refuse(request, target, error, error_on_page(error), ROOT)
        # no redirect: of one, a browser would send the session's cookie nowhere, as another site
        # has led here
        viewer = request.web.viewer(begun.caller)
        page = request.web.environment.render(
            "signed_in.html", viewer, ROOT, next_path=begun.next_path
        )
        cookie = self._session_cookie.header(begun.cookie, begun.seconds)
        return request.web.own_page(request, 200, page, cookie)

    def _ask(self, request: IndexRequest, work: Callable[[*Ts], T], *args: *Ts) -> T:
        """
        Return the result of work that may wait for the provider of a path.

        Raises Waiting, NotFound if there is no such provider, Unavailable (code `overloaded`) if
        too many wait for it, and what `work` raises.
        """
        provider = self._sign_in.provider(request.path_params["provider"])
        threads = request.context.process.pools.providers[provider.config.name]
        # By the network and not by the caller: a stranger can ask for this as often as somebody
        # who is signed in.
        client = network_of(request.address)
        return request.wait("provider", threads.run, client, work, *args)

    def _finish(self, request: IndexRequest) -> _BegunSession:
        """
        Begin the session of whoever has signed in, in a thread that may wait for the provider.

        Raises WheelyardError if the provider or this index refuses it, or one does not answer.
        """
        index = request.context.index

        # Anybody can lead a browser here with any query. What of it counts is decided by its
        # `state`, which has to be that of an attempt of the same browser.
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
            self._browser(request),
            fields.exact_text("state"),
            answer,
            request.address,
        )
        person = signed_in.person
        caller = index.authenticator.policy.authorize(Identity(person.principal, person.principals))
        index.authenticator.count_sign_in(caller, request.address)
        cookie, session = index.sessions.begin_for_person(self._sign_in, person, signed_in.seconds)

        # The session that the browser had before. The attempt knows it, as the strict cookie comes
        # along only from a provider of the same site. It may be a newer one by now.
        for earlier in {signed_in.session, self._session(request)}:
            if earlier is not None:
                index.sessions.end(earlier, person.principal)
        return _BegunSession(
            cookie=cookie,
            seconds=session.expires_at - int(index.server.runtime.seconds()),
            caller=caller,
            next_path=local_path(signed_in.next, index.settings.server),
        )

    def _target(self, request: IndexRequest) -> str:
        """Return the page to which somebody wanted to go who was refused, or the home page."""
        state = parse_form(request.query_string).exact_text("state")
        target = ""
        with suppress(Unavailable):
            name = request.path_params["provider"]
            browser = self._browser(request)
            target = self._sign_in.attempts.next_path(name, browser, state)
        return local_path(target, request.context.index.settings.server)

    def _browser(self, request: IndexRequest) -> str:
        """Return what tells the browser of a request from others, or an empty text."""
        return self._browser_cookie.value_in(request.joined_headers.get(b"cookie", b"")).decode()

    def _session(self, request: IndexRequest) -> SessionId | None:
        """Return the session whose cookie a request has, or None."""
        cookie = self._session_cookie.value_in(request.joined_headers.get(b"cookie", b""))
        if not cookie:
            return None
        session = request.context.index.sessions.signed(cookie.decode())
        if session is None:
            return None
        return SessionId(id=session.id, expires_at=session.expires_at)

    def _new_browser(self) -> str:
        return self._sign_in.attempts.new_browser()
