"""
Sign-ins that have begun, and how the answer of a provider is bound to the browser that has asked.

Nothing is stored before somebody has signed in. The parameter `state` has all facts of the sign-in,
sealed under the key of sessions, and opens only with the cookie of the browser. So a stolen state
has no use in another browser. The state has neither the nonce nor the code verifier: these are
derived from the cookie, the state and the key.

An answer begins no second session, as the answer needs the cookie, and as the provider accepts a
code only once. A state is recorded as used after the provider has accepted the code, so an invented
code writes nothing. The provider gets no code for a recorded state: many providers revoke their
tokens if a code comes twice.

All tabs of a browser share one cookie, which does not say who the person is.
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
"""How long a person may take to sign in at the provider."""
BROWSER_BYTES: Final = 32
"""Random bytes in the cookie of a browser."""
MAX_STATE_CHARS: Final = 4096
MAX_NEXT_CHARS: Final = 1024
"""
The longest path to return to, as some providers limit their URLs.

With a longer path, the person returns to the home page.
"""


class _State(Struct, frozen=True, omit_defaults=True):
    """The facts of a sign-in that are sealed in the parameter `state`."""

    id: str
    issued_at: int
    """The time in seconds since the epoch."""
    next: str
    session: SessionId | None = None


class Attempt(Struct, frozen=True):
    """A sign-in that has begun, and is not finished."""

    provider: str
    id: str
    expires_at: datetime
    request: AuthorizationRequest
    next: str
    """The path of the page to return to, or an empty text for the home page."""
    session: SessionId | None = None
    """The session of the browser, whose cookie does not come with the answer from another site."""


class Attempts(Struct, frozen=True):
    """
    Begins sign-ins, and finds the sign-in that an answer belongs to.

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
        Return the request for a sign-in at a provider.

        `browser` is the text in the cookie of the browser, which may have a `session`. A
        `next_path` that is longer than `MAX_NEXT_CHARS` counts as empty.
        """
        key = self.key()
        now = int(self.runtime.seconds())
        if len(next_path) > MAX_NEXT_CHARS:
            next_path = ""
        state_id = self.runtime.new_id() + self.runtime.new_id()
        state = _State(state_id, now, next_path, session)
        encoded_state = encode(state).decode()
        context = _context(provider, browser)
        sealed = self._state_sealer(key).seal(encoded_state, context)
        return _derive_request(key, sealed, state, browser)

    def find(self, provider: str, browser: str, sealed: str) -> Attempt:
        """
        Return the sign-in to which an answer belongs. `sealed` is the parameter `state`.

        Raises Invalid (code `sign_in_expired`) if this browser has begun no such sign-in at this
        provider, or if the sign-in is used or too old.
        """
        key = self.key()
        state = self._open_state(key, provider, browser, sealed)
        if state is None:
            raise expired_sign_in() from CredentialRejected("state_unknown")
        expiry = state.issued_at + ATTEMPT_SECONDS
        if self.runtime.seconds() >= expiry:
            raise expired_sign_in() from CredentialRejected("state_expired")
        expires_at = datetime.fromtimestamp(expiry, UTC)
        if self.used.is_used(_record_issuer(provider), state.id, expires_at):
            raise expired_sign_in() from CredentialRejected("state_used")
        request = _derive_request(key, sealed, state, browser)
        return Attempt(provider, state.id, expires_at, request, state.next, state.session)

    def use(self, attempt: Attempt) -> None:
        """
        Record a sign-in as used, once the provider has accepted the code of the answer.

        Raises Invalid (code `sign_in_expired`) if any process has recorded the sign-in before.
        """
        issuer = _record_issuer(attempt.provider)
        # create-only: of two processes with one answer, one gets the conflict
        try:
            self.used.consume(issuer, attempt.id, attempt.expires_at, token_id="")
        except Conflict:
            raise expired_sign_in() from CredentialRejected("state_used")

    def next_path(self, provider: str, browser: str, sealed: str) -> str:
        """Return the path to return to in a `state` of any age, or an empty text without a path."""
        state = self._open_state(self.key(), provider, browser, sealed)
        if state is None:
            return ""
        return state.next

    def _open_state(self, key: bytes, provider: str, browser: str, sealed: str) -> _State | None:
        """Return the opened `state`, or None if it is not one of this browser and provider."""
        # the text is from a URL, which anybody may have made
        if len(sealed) > MAX_STATE_CHARS:
            return None
        text = self._state_sealer(key).open(sealed, _context(provider, browser))
        if text is None:
            return None
        try:
            return decode(text, type=_State)
        # the state of another version, which has other fields
        except (DecodeError, ValidationError):
            return None

    def _state_sealer(self, key: bytes) -> Sealer:
        """Return the sealer of states under the key of sessions."""
        return Sealer(key, "state of a sign-in", self.runtime.random)


def _record_issuer(provider: str) -> str:
    """Return the issuer in records of used states, which no record of an ID token has."""
    return f"sign-in {provider}"


def _context(provider: str, browser: str) -> str:
    """Return the context of a sealed state, which opens only for its browser and provider."""
    return f"{provider}\0{browser}"


def _derive_request(key: bytes, sealed: str, state: _State, browser: str) -> AuthorizationRequest:
    """Return the request of a sign-in. Its secrets are derived, so that they need no storage."""
    # derived from the cookie, too, so that the `state` in a URL does not tell the secrets
    context = f"{state.id}\0{browser}"
    nonce = hmac.digest(key, f"nonce\0{context}".encode(), "sha256")
    verifier = hmac.digest(key, f"code verifier\0{context}".encode(), "sha256")
    return AuthorizationRequest(state=sealed, nonce=_base64(nonce), verifier=_base64(verifier))


def _base64(content: bytes) -> str:
    """Return bytes as Base64 without padding, which URLs and cookies can have."""
    return urlsafe_b64encode(content).decode().rstrip("=")
