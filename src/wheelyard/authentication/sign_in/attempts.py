"""
Sign-ins that have begun: what ties the answer of a provider to the browser that has asked.

Nothing is stored before the answer. The parameter `state` has all of it, sealed under the key of
sessions, and opens with the cookie of the browser only. So a stolen state is worth nothing in
another browser. Nonce and code verifier are not in it: they are derived from the cookie, the state
and the key. A used state is recorded, so no answer is taken twice, by any process.

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
from wheelyard.authentication.sign_in.sealing import Sealer
from wheelyard.authentication.verifiers.verifier import CredentialRejected
from wheelyard.catalog.stored_credentials import UsedIdTokens
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Conflict

ATTEMPT_SECONDS: Final = 600
"""How long somebody may take to sign in at the provider."""
BROWSER_BYTES: Final = 32
"""Random bytes in the cookie."""
MAX_STATE_CHARS: Final = 4096
MAX_NEXT_CHARS: Final = 1024
"""Of a longer path to return to, the home page takes the place: some providers limit their URLs."""


class _State(Struct, frozen=True):
    """What is sealed in the parameter `state`."""

    id: str
    issued_at: int
    """In seconds since the epoch."""
    next: str


class Attempt(Struct, frozen=True):
    """A sign-in that has begun, and was not finished yet."""

    request: AuthorizationRequest
    next: str
    """The path of the page to return to, empty for the home page."""


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
        return urlsafe_b64encode(self.runtime.random.randbytes(BROWSER_BYTES)).decode().rstrip("=")

    def begin(self, provider: str, browser: str, next_path: str) -> AuthorizationRequest:
        """Return the request to a provider, for the browser with this cookie."""
        key, now = self.key(), int(self.runtime.seconds())
        next_path = next_path if len(next_path) <= MAX_NEXT_CHARS else ""
        state = _State(self.runtime.new_id() + self.runtime.new_id(), now, next_path)
        sealed = self._sealer(key).seal(encode(state).decode(), _context(provider, browser))
        return _request(key, sealed, state, browser)

    def finish(self, provider: str, browser: str, sealed: str) -> Attempt:
        """
        Return the sign-in to which an answer with a `state` belongs, and record it as used.

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
        try:
            expires_at = datetime.fromtimestamp(expiry, UTC)
            self.used.consume(f"sign-in {provider}", state.id, expires_at, token_id="")
        except Conflict:
            raise expired_sign_in() from CredentialRejected("state_used")
        return Attempt(_request(key, sealed, state, browser), state.next)

    def next_path(self, provider: str, browser: str, sealed: str) -> str:
        """Return the path of `Attempt` of a `state` of any age, or an empty text without one."""
        state = self._opened(self.key(), provider, browser, sealed)
        return state.next if state is not None else ""

    def _opened(self, key: bytes, provider: str, browser: str, sealed: str) -> _State | None:
        if len(sealed) > MAX_STATE_CHARS:
            return None
        text = self._sealer(key).open(sealed, _context(provider, browser))
        try:
            return decode(text or "", type=_State)
        except (DecodeError, ValidationError):
            return None

    def _sealer(self, key: bytes) -> Sealer:
        return Sealer(key, "state of a sign-in", self.runtime.random)


def _context(provider: str, browser: str) -> str:
    return f"{provider}\0{browser}"


def _request(key: bytes, sealed: str, state: _State, browser: str) -> AuthorizationRequest:
    def derived(purpose: str) -> str:
        text = f"{purpose}\0{state.id}\0{browser}"
        return urlsafe_b64encode(hmac.digest(key, text.encode(), "sha256")).decode().rstrip("=")

    return AuthorizationRequest(
        state=sealed, nonce=derived("nonce"), verifier=derived("code verifier")
    )
