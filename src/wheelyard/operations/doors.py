"""
Every kind of credential that opens an index, and which of them a credential is tried as.

The order is part of the contract: API tokens by their shape, static tokens by their digest, then
what the user name and the form of the secret say. Exactly one of them decides; there is no falling
through, so that no credential is ever shown to somebody whom it was not meant for.
"""

import json
import logging
import re
from base64 import b64decode, urlsafe_b64decode
from dataclasses import dataclass
from enum import Enum, auto
from math import ceil
from typing import TYPE_CHECKING, Final

from wheelyard.errors import Unauthenticated, Unavailable
from wheelyard.model.access import Caller, narrowed
from wheelyard.model.credential import Credential
from wheelyard.model.identity import EVERYBODY, Identity
from wheelyard.model.token import Token, TokenRecord, looks_like_token, parse_token
from wheelyard.operations.rights import Rights
from wheelyard.operations.tokens import Tokens, bad_credential
from wheelyard.trust.static_tokens import StaticTokens
from wheelyard.trust.throttle import Throttle, address_key, login_keys
from wheelyard.trust.verifier import Verifier

if TYPE_CHECKING:
    from wheelyard.operations.publishing import Publishing
    from wheelyard.trust.passwords import Passwords

GOOGLE_USER: Final = "oauth2accesstoken"
TOKEN_USERS: Final = frozenset({GOOGLE_USER, "oidc", "__token__"})
"""User names that say that the password is a token of some kind."""
GOOGLE_PREFIX: Final = "ya29."
NOBODY: Final = Identity(EVERYBODY, frozenset({EVERYBODY}))
KEY_USERS: Final = frozenset({"_json_key", "_json_key_base64"})
RATE_LIMITED: Final = "rate_limited"
RECENT: Final = 1.0
"""Seconds that somebody is not recognised anew, by anything but an API token."""
SHORTEST_KEY: Final = 64
"""Characters that no service account's key has fewer of."""

logger = logging.getLogger("wheelyard")

_SIGNED: Final = re.compile(r"([A-Za-z0-9_-]{4,2048})\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")


class Kind(Enum):
    """What a credential is tried as, once it is neither an API token nor a static one."""

    ID_TOKEN = auto()
    ACCESS_TOKEN = auto()
    PASSWORD = auto()


@dataclass(frozen=True, slots=True)
class Ground:
    """
    What somebody was recognised by.

    Args:
        record: Of their API token; None for any other credential.
        files: Which contents of the files of credentials were in force.
        until: When they are to be recognised anew, on the monotonic clock.
        by_password: Whether it was a password; nothing else looks at the file of those.
    """

    record: TokenRecord | None
    files: tuple[int, int] = (0, 0)
    until: float = 0.0
    by_password: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """The ways in of one index; those that are None are shut."""

    tokens: Tokens
    publishing: "Publishing | None"
    static_tokens: StaticTokens
    passwords: "Passwords | None"
    id_tokens: Verifier | None
    access_tokens: Verifier | None
    iap: Verifier | None
    throttle: Throttle
    rights: Rights

    def fresh(self, credential: Credential) -> tuple[Caller, Ground] | None:
        """
        Return who sends a credential, and by what, if that needs neither waiting nor hashing.

        Raises:
            Unauthenticated: The credential does not hold.
        """
        token = _token_in(credential)
        if token is not None:
            record = self.tokens.fresh_record(token)
            return None if record is None else (self.bearer(record), Ground(record))
        if self.static_tokens.is_due:
            return None
        files, until = self._files, self.tokens.ambient.monotonic() + RECENT
        identity = self.static_tokens.find(credential.halves)
        by_password = identity is None and _kind(credential) is Kind.PASSWORD
        if identity is None:
            identity = self._known(credential)
        if identity is None:
            return None
        return self.rights.caller(identity), Ground(None, files, until, by_password)

    def excused(self, credential: Credential) -> Caller | None:
        """
        Return who sends a credential as far as a store that does not answer has said, else None.

        Raises:
            Unauthenticated: The credential does not hold.
        """
        token = _token_in(credential)
        record = None if token is None else self.tokens.excused_record(token)
        return None if record is None else self.bearer(record)

    def holds(self, ground: Ground) -> bool:
        """Return whether what somebody was recognised by a moment ago would say the same now."""
        if ground.record is not None:
            return self._still_has(ground.record)
        if self.tokens.ambient.monotonic() >= ground.until or self.static_tokens.is_due:
            return False
        if ground.by_password and self.passwords is not None and self.passwords.is_due:
            return False
        return ground.files == self._files

    def _still_has(self, record: TokenRecord) -> bool:
        """Return whether a record is the store's still, and opens something."""
        snapshot = self.tokens.credentials.fresh(record.id)
        if snapshot is None or snapshot.value is not record:
            return False
        return record.state(self.tokens.ambient.now()) == "active"

    @property
    def _files(self) -> tuple[int, int]:
        return self.static_tokens.revision, self.passwords.revision if self.passwords else 0

    def caller(self, credential: Credential, address: str) -> Caller:
        """
        Return who sends a credential; this may wait for the store, for Google, and for hashes.

        Args:
            credential: As it was sent.
            address: Whose failures are counted together.

        Raises:
            Unauthenticated: The credential does not hold.
            Unavailable: It cannot be told, or too many have failed (code `rate_limited`).
        """
        token = _token_in(credential)
        if token is not None:  # nobody guesses 190 bits, so there is nothing to count
            return self.bearer(self.tokens.record(token))
        identity = self.static_tokens.find(credential.halves)
        if identity is None:
            identity = self._remembered(credential) or self._counted(credential, address)
        return self.rights.caller(identity)

    def may_be_slow(self, credential: Credential) -> bool:
        """Return whether finding out may keep a thread busy with a slow hash, or with Google."""
        return not any(looks_like_token(half) for half in credential.halves)

    def bearer(self, record: TokenRecord) -> Caller:
        """Return who bears an API token, and what they may do now."""
        if record.publishers:
            minted = self.publishing.identity(record) if self.publishing else None
            if minted is None:  # its publisher is gone from the settings
                raise bad_credential()
            scopes = (*minted.scopes, *self.rights.public)
            return Caller(minted.principal, scopes, minted.principals)
        name = f"token:{record.id}"
        scopes = (record.scope,)
        if record.owner:
            scopes = narrowed(record.scope, self.rights.of(frozenset(record.owner_names)))
        return Caller(name, (*scopes, *self.rights.public), frozenset({name}))

    def _known(self, credential: Credential) -> Identity | None:
        secret = credential.secret
        match self._checked(credential):
            case Kind.ID_TOKEN:
                return self.id_tokens.known(secret) if self.id_tokens else None
            case Kind.ACCESS_TOKEN:
                return self.access_tokens.known(secret) if self.access_tokens else None
            case Kind.PASSWORD:
                return (
                    self.passwords.fresh(credential.user, secret, credential.network)
                    if self.passwords
                    else None
                )

    def _remembered(self, credential: Credential) -> Identity | None:
        """Return the same, where a file may be looked at."""
        if self.passwords is not None and self._checked(credential) is Kind.PASSWORD:
            return self.passwords.known(credential.user, credential.secret, credential.network)
        return self._known(credential)

    def _counted(self, credential: Credential, address: str) -> Identity:
        """Verify a credential, unless too many have failed of late; if it fails, count it."""
        if _kind(credential) is Kind.ID_TOKEN:  # cheap to refuse, and nobody guesses a signature
            return self._verified(credential)
        keys = _throttle_keys(credential, address)
        wait = self.throttle.seconds_until(keys)
        if wait and not self._has_held(credential):
            raise Unavailable(
                f"Too many credentials did not hold. Try again in {ceil(wait)} seconds.",
                code=RATE_LIMITED,
                short="Too many failed logins.",
            )
        try:
            return self._verified(credential)
        except Unauthenticated:
            self.throttle.failed(keys)
            raise

    def _has_held(self, credential: Credential) -> bool:
        """Return whether a password was right before: the guesses of others do not lock it out."""
        return (
            self.passwords is not None
            and _kind(credential) is Kind.PASSWORD
            and self.passwords.has_held(credential.user, credential.secret, credential.network)
        )

    def _verified(self, credential: Credential) -> Identity:
        secret = credential.secret
        match self._checked(credential):
            case Kind.ID_TOKEN if self.id_tokens:
                return self.id_tokens.identity(secret)
            case Kind.ACCESS_TOKEN if self.access_tokens:
                return self.access_tokens.identity(secret)
            case Kind.PASSWORD if self.passwords:
                return self.passwords.check(credential.user, secret, credential.network)
            case Kind.PASSWORD if not self.passwords and self.rights.anybody_uploads:
                return NOBODY  # clients of such an index send any pair, because they have to
            case _:
                raise bad_credential()

    def _checked(self, credential: Credential) -> Kind:
        if credential.user in KEY_USERS or _is_key(credential.secret):
            logger.warning("a service account's key was sent as a credential, and refused")
            raise Unauthenticated(
                "A service account's key is not a credential here, and has now been shown to "
                "somebody: delete it. Send a short-lived token instead.",
                short="Service account keys are not accepted.",
            )
        kind = _kind(credential)
        if not credential.secret or (kind is not Kind.PASSWORD and not credential.is_unicode):
            raise bad_credential()
        return kind


def _token_in(credential: Credential) -> Token | None:
    """
    Return the API token that a credential carries, in whichever half, None if it is none.

    Raises:
        Unauthenticated: It is meant to be one, and is not well formed.
    """
    for half in credential.halves:
        if looks_like_token(half):
            token = parse_token(half)
            if token is None:
                raise bad_credential()
            return token
    return None


def _kind(credential: Credential) -> Kind:
    is_named = credential.is_bearer or credential.user in TOKEN_USERS
    if is_named and _is_signed(credential.secret):
        return Kind.ID_TOKEN
    is_google = credential.is_bearer or credential.user == GOOGLE_USER
    if is_google or (is_named and credential.secret.startswith(GOOGLE_PREFIX)):
        return Kind.ACCESS_TOKEN
    return Kind.PASSWORD


def _throttle_keys(credential: Credential, address: str) -> tuple[str, ...]:
    """
    Return what the failures of a credential are counted under.

    Only a password is a person's by its user name: everybody's tokens go by the same few. And the
    failures of one kind keep no other out, since a whole office may have one address.
    """
    kind = _kind(credential)
    if kind is Kind.PASSWORD:
        return login_keys(address, credential.user)
    return (address_key(address, kind.name.lower()),)


def _is_signed(secret: str) -> bool:
    """Return whether a secret has the form of a signed token (JWT), whatever it is worth."""
    found = _SIGNED.fullmatch(secret)
    if found is None:
        return False
    header = found[1]
    try:
        return isinstance(json.loads(urlsafe_b64decode(header + "=" * (-len(header) % 4))), dict)
    except (ValueError, RecursionError):
        return False


def _is_key(secret: str) -> bool:
    """Return whether a secret is a service account's key file, plain or in base64."""
    if len(secret) < SHORTEST_KEY or secret[0] not in "{e":  # e is what { becomes
        return False
    if secret[0] == "{":
        return "private_key" in secret
    try:
        return b"private_key" in b64decode(secret, altchars=b"-_" if "_" in secret else None)
    except ValueError:
        return False
