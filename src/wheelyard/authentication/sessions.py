"""
Sessions of browsers: begun with a credential, and valid as long as that credential is.

A session proves who somebody is, as the credential did. What they may do is decided at each request
by the grants of that moment. A session ends when it expires or is signed out, when its credential
is changed, revoked or expires, and when the key of all sessions is deleted from the store.
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
    """What a session has to show of its credential, and when that credential expires."""

    kind: CredentialKind
    subject: str
    text: str = field(repr=False)
    expires_at: float = inf
    issued_at: float = inf
    principals: tuple[str, ...] = ()


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
    """Domains of Google accounts, in lower case. Empty: any."""
    sign_in: "SignIn | None" = None
    """None without `[[sign_in]]`."""
    _reread_at: float = field(default=-inf, init=False)

    def of_another_index(self, authenticator: Authenticator) -> "Sessions":
        """Return the same sessions for another index, where callers have its rights."""
        return replace(self, authenticator=authenticator)

    def begin(self, credential: Credential, caller: Caller) -> tuple[str, Session]:
        """
        Return a new session of a credential that was just verified, signed and as a value.

        The sign-in is logged. The key of sessions is created if there is none.

        Raises Unauthenticated if there can be no session of it: the caller is anonymous, it has
        just ended, or it is an access token, which says what its bearer may do and not who that is.
        Raises Unavailable if the store does not answer, or the key is damaged.
        """
        # the evidence is read before the key, so that a refused sign-in creates no key
        evidence = None
        if not caller.is_anonymous:
            evidence = self._evidence(credential, caller)
        if evidence is None:
            raise no_session()
        return self._begin(evidence, caller.principal)

    def begin_for_person(
        self, sign_in: "SignIn", person: Person, seconds: int
    ) -> tuple[str, Session]:
        """
        Return a new session, of so many seconds, of a person whom a provider has just confirmed.

        It is signed, and as a value. No session is longer than `SESSION_SECONDS`. The sign-in is
        logged. The key of sessions is created if there is none. Raises Unavailable if the store
        does not answer, or the key is damaged.
        """
        subject = f"{person.provider}:{person.id}"
        expires_at = self.runtime.seconds() + seconds
        evidence = _Evidence("oidc", subject, sign_in.evidence(person), expires_at)
        return self._begin(evidence, person.principal)

    def _begin(self, evidence: _Evidence, principal: str) -> tuple[str, Session]:
        """Return a session that is proved by this evidence, signed and as a value."""
        key = self.records.require_key()
        now = self.runtime.seconds()
        session = Session(
            id=f"{self.runtime.random.getrandbits(128):032x}",
            kind=evidence.kind,
            subject=evidence.subject,
            # keyed, as the cookie is in the hands of the browser: nobody can guess a password by it
            proof=fingerprint(evidence.text, evidence.kind, key),
            issued_at=int(min(now, evidence.issued_at)),
            expires_at=int(min(now + SESSION_SECONDS, evidence.expires_at)),
            principals=evidence.principals,
        )
        log_session("signed_in", principal)
        return sign_session(session, key), session

    def caller(self, cookie: str) -> Caller | None:
        """
        Return the caller whose session the text of a cookie is, or None if it is not valid now.

        May read the store and files. The use of an API token is recorded. A person whose
        confirmation is old is renewed in the background. Raises ConfirmationNeeded if a provider
        has to be asked first, and Unavailable if the store does not answer.
        """
        # the text is what a browser has sent: nothing of it counts before its signature fits
        key = self.records.key()
        session = self._verified(cookie, key)
        monotonic = self.runtime.monotonic()

        # two threads may both read it here, which does no harm
        if session is None and monotonic - self._reread_at >= REREAD_SECONDS:
            self._reread_at = monotonic
            key = self.records.key("current")
            session = self._verified(cookie, key)
        if session is None or key is None or self.records.has_ended(session.id, session.expiry):
            return None
        try:
            evidence, holder = self._current_evidence(session)
            # another password or token, also of the same name, has another fingerprint
            if not _proves(session, evidence, key):
                return None
            if isinstance(holder, TokenRecord):
                return self.authenticator.caller_for_token(holder)
            return self.authenticator.policy.authorize(holder)
        # The credential was removed or revoked, or has expired. That is no error of the request,
        # whose page is that for somebody who has not signed in.
        except Unauthenticated:
            return None

    def signed(self, cookie: str) -> SessionId | None:
        """
        Return the session in the text of a cookie, or None if this index has not signed it.

        Its credential may hold no more. May read the store, and raises Unavailable if that does not
        answer.
        """
        return self._verified(cookie, self.records.key())

    def end(self, session: SessionId, by: str) -> None:
        """
        End a session, on every server once its caches are renewed.

        It is logged, and some records of ended sessions that have expired are removed. `by` is the
        principal who has signed out in its browser, or has signed in there anew. Raises Unavailable
        if the store does not answer: then the session may go on.
        """
        self.records.end(session.id, session.expiry)
        log_session("signed_out", by)
        # here, as there is no other moment at which a session is written
        with suppress(WheelyardError):  # the next sign-out, or `check --sweep`, removes them
            self.records.remove_expired(REMOVED_AT_ONCE)

    def _verified(self, cookie: str, key: bytes | None) -> Session | None:
        """Return the session in the text of a cookie, or None if no key of ours has signed it."""
        if not key:
            return None
        return verified_session(cookie, key, self.runtime.seconds())

    def _evidence(self, credential: Credential, caller: Caller) -> _Evidence | None:
        """Return what a session of a credential has to show, or None for an access token."""
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
                claims = decode_segment(credential.secret.split(".")[1])
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
        Return a session's evidence as of now, and whom it identifies.

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
            # an ID token cannot be asked again: the session has the principals that it proved
            case "id_token" if authenticator.id_tokens and self._is_allowed(session):
                principals = frozenset(session.principals) | COMMON_PRINCIPALS
                return "", Identity(subject, principals)
        raise invalid_credential()

    def _is_allowed(self, session: Session) -> bool:
        """Return whether a Google account is of an allowed domain, or a service account."""
        # looked at again, as the operator may have changed the settings since the sign-in
        domains = {f"domain:{domain}" for domain in self.allowed_domains}
        is_user = session.subject.startswith("user:")
        if not domains or not is_user:
            return True
        return not domains.isdisjoint(session.principals)


def _proves(session: Session, evidence: str, key: bytes) -> bool:
    """Return whether evidence is that of a session, without telling by the time how much fits."""
    return compare_digest(fingerprint(evidence, session.kind, key), session.proof)


def no_session() -> Unauthenticated:
    """Return the error for a credential with which nobody can sign in in a browser."""
    return Unauthenticated(
        "This credential is not for signing in. Use a user name and its password, a token of this "
        "index, or an ID token of Google's."
    )
