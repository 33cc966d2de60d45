"""
Sessions of browsers: begun with a credential, and valid as long as that credential is.

A session proves who a person is, as the credential did. The grants decide at each request what the
person may do. A session ends when it expires or is signed out, when its credential is changed, is
revoked or expires, and when the key of all sessions is deleted from the store.
"""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from hmac import compare_digest
from math import inf
from typing import TYPE_CHECKING, Final

from wheelyard.authentication.api_tokens import api_token_in, invalid_credential
from wheelyard.authentication.authenticator import Authenticator
from wheelyard.authentication.credentials import CredentialType, classify
from wheelyard.authentication.verifiers.verifier import decode_segment, known_identity
from wheelyard.catalog.session_records import SessionRecords
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Unauthenticated, WheelyardError
from wheelyard.model.access import ALL_AUTHENTICATED, ANONYMOUS, Caller, Credential, Identity
from wheelyard.model.api_token import (
    CredentialKind,
    Session,
    SessionId,
    TokenRecord,
    fingerprint,
    sign_session,
    verified_session,
)
from wheelyard.model.claim_matchers import numeric_date
from wheelyard.model.person import Person
from wheelyard.operations.audit_log import log_session

if TYPE_CHECKING:
    from wheelyard.authentication.sign_in.sign_in import SignIn

SESSION_SECONDS: Final = 12 * 3600
"""The longest life of a session."""
COMMON_PRINCIPALS: Final = frozenset({ANONYMOUS, ALL_AUTHENTICATED})
"""The principals that every Google account has."""
REMOVED_AT_ONCE: Final = 100
"""How many records of ended sessions a sign-out removes, once those sessions have expired."""
REREAD_SECONDS: Final = 1.0
"""
How often the key is read again because a signature does not fit the cached one.

Somebody may just have signed in at another server, with a key that is newer than the cached one.
"""


@dataclass(frozen=True, slots=True)
class _Evidence:
    """The facts of a credential that a session keeps, or of which it keeps a fingerprint."""

    kind: CredentialKind
    subject: str
    """The user, the token or the person that the credential is of, in a form for each kind."""
    text: str = field(repr=False)
    """The text of which the session has a fingerprint: it ends when this text changes."""
    expires_at: float = inf
    issued_at: float = inf
    principals: tuple[str, ...] = ()
    """The principals that an ID token has proved, which cannot be asked for again."""


@dataclass(slots=True)
class Sessions:
    """
    Begins, verifies and ends the sessions of an index.

    Threads may share it.
    """

    records: SessionRecords
    authenticator: Authenticator
    runtime: Runtime
    allowed_domains: frozenset[str] = frozenset()
    """The domains of Google accounts that may sign in, in lower case. Empty for all domains."""
    sign_in: "SignIn | None" = None
    """The sign-in with providers, or None without `[[sign_in]]` in the settings."""
    _reread_at: float = field(default=-inf, init=False)
    """When the key was read again because of a signature that did not fit."""

    def of_another_index(self, authenticator: Authenticator) -> "Sessions":
        """Return these sessions for another index, in which callers have other rights."""
        return replace(self, authenticator=authenticator)

    def begin(self, credential: Credential, caller: Caller) -> tuple[str, Session]:
        """
        Return the signed text and the value of a new session, for a credential just verified.

        The sign-in is logged. The key of sessions is created if there is none.

        Raises Unauthenticated if the caller is anonymous, if the credential has just ended, or if
        it is an access token, which says what its bearer may do and not who that is. Raises
        Unavailable if the store does not answer, or the key is damaged.
        """
        # the evidence is read before the key, so that a refused sign-in creates no key
        evidence = None
        if not caller.is_anonymous:
            evidence = self._evidence_of(credential, caller)
        if evidence is None:
            raise no_session()
        return self._begin_session(evidence, caller.principal)

    def begin_for_person(
        self, sign_in: "SignIn", person: Person, seconds: int
    ) -> tuple[str, Session]:
        """
        Return the signed text and the value of a new session, for a person just confirmed.

        A provider has confirmed the person. The session ends after `seconds`, or earlier after
        `SESSION_SECONDS`. The sign-in is logged. The key of sessions is created if there is none.
        Raises Unavailable if the store does not answer, or the key is damaged.
        """
        subject = f"{person.provider}:{person.id}"
        expires_at = self.runtime.seconds() + seconds
        evidence = _Evidence("oidc", subject, sign_in.evidence(person), expires_at)
        return self._begin_session(evidence, person.principal)

    def _begin_session(self, evidence: _Evidence, principal: str) -> tuple[str, Session]:
        """Return the signed text and the value of a new session with this evidence."""
        key = self.records.require_key()
        now = self.runtime.seconds()
        session = Session(
            id=f"{self.runtime.random.getrandbits(128):032x}",
            kind=evidence.kind,
            subject=evidence.subject,
            # keyed, as the browser has the cookie: else a password could be guessed by the cookie
            proof=fingerprint(evidence.text, evidence.kind, key),
            issued_at=int(min(now, evidence.issued_at)),
            expires_at=int(min(now + SESSION_SECONDS, evidence.expires_at)),
            principals=evidence.principals,
        )
        log_session("signed_in", principal)
        return sign_session(session, key), session

    def caller(self, cookie: str) -> Caller | None:
        """
        Return the caller of the session in a cookie, or None if the session is not valid now.

        May read the store and files. The use of an API token is recorded. A person whose
        confirmation is old is renewed in the background. Raises ConfirmationNeeded if a provider
        has to be asked first, and Unavailable if the store does not answer.
        """
        # a browser has sent the text: no part of it counts before its signature fits
        key = self.records.key()
        session = self._verify_cookie(cookie, key)
        monotonic = self.runtime.monotonic()

        # two threads may both read the key here, which does no harm
        if session is None and monotonic - self._reread_at >= REREAD_SECONDS:
            self._reread_at = monotonic
            key = self.records.key("current")
            session = self._verify_cookie(cookie, key)
        if session is None or key is None:
            return None
        if self.records.has_ended(session.id, session.expiry):
            return None
        try:
            evidence, holder = self._current_evidence(session)
            # another password or token, also of the same name, has another fingerprint
            if not _proves(session, evidence, key):
                return None
            if isinstance(holder, TokenRecord):
                return self.authenticator.caller_for_token(holder)
            return self.authenticator.policy.authorize(holder)
        # The credential was removed or revoked, or has expired. The request gets the page for
        # somebody who has not signed in, and no error.
        except Unauthenticated:
            return None

    def signed(self, cookie: str) -> SessionId | None:
        """
        Return the session in a cookie, or None if this server has not signed the cookie.

        The credential of the session is not checked. May read the store. Raises Unavailable if the
        store does not answer.
        """
        return self._verify_cookie(cookie, self.records.key())

    def end(self, session: SessionId, by: str) -> None:
        """
        End a session. Every server learns of that when it renews its caches.

        The end is logged, and some records of ended sessions that have expired are removed. `by` is
        the principal that has signed out in the browser of the session, or has signed in there
        anew. Raises Unavailable if the store does not answer: then the session may go on.
        """
        self.records.end(session.id, session.expiry)
        log_session("signed_out", by)
        # Only the end of a session writes a record, so records are removed here. After an error,
        # the next sign-out or `check --sweep` removes them.
        with suppress(WheelyardError):
            self.records.remove_expired(REMOVED_AT_ONCE)

    def _verify_cookie(self, cookie: str, key: bytes | None) -> Session | None:
        """Return the session in a cookie, or None if this key has not signed the cookie."""
        if not key:
            return None
        return verified_session(cookie, key, self.runtime.seconds())

    def _evidence_of(self, credential: Credential, caller: Caller) -> _Evidence | None:
        """
        Return the evidence for a session of a credential that was just verified.

        None if the credential cannot begin a session, such as an access token. Raises
        Unauthenticated if an API token has just ended.
        """
        authenticator = self.authenticator
        token = api_token_in(credential)
        if token is not None:
            expires_at = authenticator.tokens.active(token.id).expires_at.timestamp()
            return _Evidence("api_token", token.id, token.digest, expires_at)
        static = authenticator.static_tokens.find(credential.halves)
        if static is not None:
            return _Evidence("static_token", static.identity.principal, static.digest)
        match classify(credential):
            case CredentialType.ID_TOKEN:
                # decoded without a check, as the token was verified a moment ago
                _header, payload, _signature = credential.secret.split(".")
                claims = decode_segment(payload)
                expires_at = numeric_date(claims.get("exp")) or 0.0
                issued_at = numeric_date(claims.get("iat")) or 0.0
                principals = tuple(sorted(caller.principals - COMMON_PRINCIPALS))
                return _Evidence(
                    "id_token", caller.principal, "", expires_at, issued_at, principals
                )
            case CredentialType.PASSWORD if authenticator.htpasswd:
                hashed = authenticator.htpasswd.verified_hash(credential)
                if not hashed:
                    return None
                return _Evidence("password", credential.user, hashed)
            case _:
                return None

    def _current_evidence(self, session: Session) -> tuple[str, Identity | TokenRecord]:
        """
        Return the present text of a session's evidence, and the identity or the token's record.

        Raises Unauthenticated if the credential does not hold any more, and ConfirmationNeeded if a
        provider has to be asked first.
        """
        authenticator = self.authenticator
        subject = session.subject
        match session.kind:
            case "api_token":
                record = authenticator.tokens.active(subject)
                return record.sha256, record
            case "static_token":
                static = authenticator.static_tokens.named(subject)
                return static.digest, static.identity
            case "password" if authenticator.htpasswd:
                hashed = authenticator.htpasswd.hash_of(subject)
                if hashed is not None:
                    return hashed, known_identity(f"htpasswd:{subject}")
            case "oidc" if self.sign_in is not None:
                return self.sign_in.present(session)
            # an ID token is not kept: the session has the principals that the token has proved
            case "id_token" if authenticator.id_tokens and self._is_allowed_account(session):
                principals = frozenset(session.principals) | COMMON_PRINCIPALS
                return "", Identity(subject, principals)
        raise invalid_credential()

    def _is_allowed_account(self, session: Session) -> bool:
        """Return whether a session's Google account is of an allowed domain, or is no user's."""
        # checked again, as the operator may have changed the settings since the sign-in
        domains = {f"domain:{domain}" for domain in self.allowed_domains}
        is_user = session.subject.startswith("user:")
        if not domains or not is_user:
            return True
        return not domains.isdisjoint(session.principals)


def _proves(session: Session, evidence: str, key: bytes) -> bool:
    """Return whether a session has the fingerprint of this evidence, in constant time."""
    return compare_digest(fingerprint(evidence, session.kind, key), session.proof)


def no_session() -> Unauthenticated:
    """Return the error for a credential with which nobody can sign in in a browser."""
    return Unauthenticated(
        "This credential is not for signing in. Use a user name and its password, a token of this "
        "index, or an ID token of Google's."
    )
