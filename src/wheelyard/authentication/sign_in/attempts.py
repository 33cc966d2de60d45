"""
Sign-ins that have begun: what ties the answer of a provider to the browser that has asked.

Nothing is stored before somebody has signed in. The parameter `state` has all of it, sealed under
the key of sessions, and opens with the cookie of the browser only. So a stolen state is worth
nothing in another browser. Nonce and code verifier are not in it: they are derived from the cookie,
the state and the key.

What keeps an answer from beginning a second session is the cookie, and that the provider takes a
code once. A state is recorded as used after the provider has taken the code, so an invented code
writes nothing. The provider is not asked about a state that is recorded: if a code comes twice,
many take back what they gave for it.

One cookie serves all tabs of a browser. It says nothing of who somebody is.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from msgspec import DecodeError, Struct, ValidationError
from msgspec.json import decode, encode

from wheelyard.authentication.sign_in.provider import AuthorizationRequest, expired_sign_in
from wheelyard.authentication.verifiers.verifier import CredentialRejected
from wheelyard.catalog.sealing import Sealer
from wheelyard.catalog.used_id_tokens import UsedIdTokens
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Conflict
from wheelyard.model.api_token import SessionId

ATTEMPT_SECONDS: Final = 600
"""How long somebody may take to sign in at the provider."""
BROWSER_BYTES: Final = 32
"""Random bytes in the cookie."""
MAX_STATE_CHARS: Final = 4096
MAX_NEXT_CHARS: Final = 1024
"""Of a longer path to return to, the home page takes the place: some providers limit their URLs."""


class _State(Struct, frozen=True, omit_defaults=True):
    """What is sealed in the parameter `state`."""

    id: str
    issued_at: int
    """In seconds since the epoch."""
    next: str
    session: SessionId | None = None


class Attempt(Struct, frozen=True):
    """A sign-in that has begun, and was not finished yet."""

    provider: str
    id: str
    expires_at: datetime
    request: AuthorizationRequest
    next: str
    """The path of the page to return to, empty for the home page."""
    session: SessionId | None = None
    """The session that the browser had, which does not come with the answer from another site."""


class Attempts(Struct, frozen=True):
    """
    Begins sign-ins, and finds to an answer the one that it belongs to.

    Threads may share it. Methods that need the key raise Unavailable if the store does not answer.
    """

    key: Callable[[], bytes]
    """Returns the key of sessions."""
    used: UsedIdTokens
    runtime: Runtime

    def new_browser(self) -> str:
        """Return a random text for the cookie of a browser that has none."""
        return _base64(self.runtime.random.randbytes(BROWSER_BYTES))

    def begin(
        self, provider: str, browser: str, next_path: str, session: SessionId | None = None
    ) -> AuthorizationRequest:
        """
        Return the request to a provider, for the browser with this cookie and session.

        A `next_path` that is longer than `MAX_NEXT_CHARS` counts as empty.
        """
        key = self.key()
        now = int(self.runtime.seconds())
        if len(next_path) > MAX_NEXT_CHARS:
            next_path = ""
        state_id = self.runtime.new_id() + self.runtime.new_id()
        state = _State(state_id, now, next_path, session)
        sealed = self._sealer(key).seal(encode(state).decode(), _context(provider, browser))
        return _request(key, sealed, state, browser)

    def find(self, provider: str, browser: str, sealed: str) -> Attempt:
        """
        Return the sign-in to which an answer with a `state` belongs.

        Raises Invalid (code `sign_in_expired`) if there is none for this browser and provider, or
        it is used or too old.
        """
        key = self.key()
        state = self._opened(key, provider, browser, sealed)
        if state is None:
            raise expired_sign_in() from CredentialRejected("state_unknown")
        expiry = state.issued_at + ATTEMPT_SECONDS
        if self.runtime.seconds() >= expiry:
            raise expired_sign_in() from CredentialRejected("state_expired")
        expires_at = datetime.fromtimestamp(expiry, UTC)
        if self.used.is_used(_issuer(provider), state.id, expires_at):
            raise expired_sign_in() from CredentialRejected("state_used")
        request = _request(key, sealed, state, browser)
        return Attempt(provider, state.id, expires_at, request, state.next, state.session)

    def use(self, attempt: Attempt) -> None:
        """
        Record a sign-in as used, once the provider has taken the code of its answer.

        Raises Invalid (code `sign_in_expired`) if it was used before, by any process.
        """
        issuer = _issuer(attempt.provider)
        # create-only: of two processes with one answer, one gets the conflict
        try:
            self.used.consume(issuer, attempt.id, attempt.expires_at, token_id="")
        except Conflict:
            raise expired_sign_in() from CredentialRejected("state_used")

    def next_path(self, provider: str, browser: str, sealed: str) -> str:
        """Return the path of `Attempt` of a `state` of any age, or an empty text without one."""
        state = self._opened(self.key(), provider, browser, sealed)
        if state is None:
            return ""
        return state.next

    def _opened(self, key: bytes, provider: str, browser: str, sealed: str) -> _State | None:
        """Return what is sealed in a `state`, or None if it is not of this browser and provider."""
        # from the URL that a browser was sent to, so it may be anybody's text
        if len(sealed) > MAX_STATE_CHARS:
            return None
        text = self._sealer(key).open(sealed, _context(provider, browser))
        # nothing was opened, or the state of another version, which has other fields
        try:
            return decode(text or "", type=_State)
        except (DecodeError, ValidationError):
            return None

    def _sealer(self, key: bytes) -> Sealer:
        return Sealer(key, "state of a sign-in", self.runtime.random)


def _issuer(provider: str) -> str:
    """Return what tells the records of states apart from those of ID tokens."""
    return f"sign-in {provider}"


def _context(provider: str, browser: str) -> str:
    """Return the context of a sealed state: it opens for its browser and its provider only."""
    return f"{provider}\0{browser}"


def _request(key: bytes, sealed: str, state: _State, browser: str) -> AuthorizationRequest:
    """Return the request of a sign-in, with the same secrets each time that it is asked for."""
    # derived by the cookie, so that whoever reads the `state` in a URL knows neither of them
    context = f"{state.id}\0{browser}"
    nonce = hmac.digest(key, f"nonce\0{context}".encode(), "sha256")
    verifier = hmac.digest(key, f"code verifier\0{context}".encode(), "sha256")
    return AuthorizationRequest(state=sealed, nonce=_base64(nonce), verifier=_base64(verifier))


def _base64(content: bytes) -> str:
    """Return bytes as text that a URL and a cookie can have in them."""
    return urlsafe_b64encode(content).decode().rstrip("=")
