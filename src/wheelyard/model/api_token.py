"""API tokens, and sessions of browsers."""

import hmac
import re
import string
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from hmac import compare_digest
from random import Random
from typing import Final, Literal

from msgspec import MsgspecError, Struct
from msgspec.json import decode, encode

from wheelyard.model.access import Action, Pattern, Scope, parse_right_indexes
from wheelyard.model.decoding import Extensible
from wheelyard.model.index_name import EVERY_INDEX, MAIN
from wheelyard.model.person import person_in

ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
PREFIX: Final = "wyd_"
ID_LENGTH: Final = 10
TOKEN_ID: Final = rf"[0-9A-Za-z]{{{ID_LENGTH}}}"
"""The regular expression of a token id."""
SECRET_LENGTH: Final = 32
CHECK_LENGTH: Final = 6
EXPIRY_WARNING: Final = timedelta(days=14)
"""How long before its expiry a token is reported as one that expires soon."""
MAX_COOKIE_CHARS: Final = 3072
"""The longest signed session: one with two e-mail addresses and a domain of full length."""

CredentialKind = Literal["password", "api_token", "static_token", "id_token", "oidc"]
"""The type of the credential that a session began with. `oidc` is a sign-in with a provider."""

_TOKEN_FORM = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{ID_LENGTH + SECRET_LENGTH + CHECK_LENGTH}}}")


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A text in the form of an API token, which need not have a record."""

    text: str = field(repr=False)

    @property
    def id(self) -> str:
        """The token's public part, which is the id of its record."""
        return self.text[len(PREFIX) : len(PREFIX) + ID_LENGTH]

    @property
    def digest(self) -> str:
        """The SHA-256 of the whole token, hexadecimal, which its record stores."""
        return sha256(self.text.encode()).hexdigest()


class TokenOwner(Struct, frozen=True):
    """Who owns a token, or is to own one: a person or a service account."""

    principal: str = ""
    """The principal of the owner, or empty if nobody owns the token."""
    names: frozenset[str] = frozenset()
    """All principals by which a grant can name the owner."""
    line: str = ""
    """The digest of the owner's line of the htpasswd file, or empty for another owner."""


NOBODY: Final = TokenOwner()


class Rotation(Struct, frozen=True):
    """The stored facts about the rotation of a token: its replacement by a new one."""

    successor: str
    """The id of the new token."""
    expires_at: datetime
    """When the old token would have expired without the rotation."""


class IndexScope(Struct, frozen=True):
    """The stored scope of a token that names indexes."""

    index: str
    """The names of the indexes with commas between them, or `*`."""
    actions: int
    projects: tuple[Pattern, ...]


class TokenRecord(
    Extensible, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """The stored record of an API token, which does not have the token itself."""

    id: str
    sha256: str
    name: str
    actions: int
    """The actions of a token that names no index, as in earlier versions. See `scope`."""
    projects: tuple[Pattern, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime
    revoked_at: datetime | None = None
    revoked_by: str = ""
    publishers: tuple[str, ...] = ()
    """Ids of the publishers that the token was minted for, or empty for other tokens."""
    owner: str = ""
    """The principal whose rights limit the token, or empty for an operator's token."""
    owner_names: tuple[str, ...] = ()
    """All principals by which grants could name the owner when the token was made."""
    owner_line: str = ""
    """The digest of the owner's line of the htpasswd file when the token was made."""
    in_index: IndexScope | None = None
    """The scope of a token that names an index, in place of `actions` and `projects`."""
    rotation: Rotation | None = None
    """The replacement of the token by a new one, or None. The old token then expires soon."""
    revision: int = 0
    """The number of writes of the record."""
    write_id: str = ""
    """A random text that shows whether a write without a reply has succeeded."""

    @property
    def lifetime(self) -> timedelta:
        """The time from the creation of the token to its expiry, as if it had not been rotated."""
        expires_at = self.expires_at
        if self.rotation is not None:
            expires_at = self.rotation.expires_at
        return expires_at - self.created_at

    @property
    def scope(self) -> Scope:
        """
        The scope of the token, before it is limited to the scopes of its owner.

        Raises Invalid (code `invalid_index`) if the record has a name that no index can have.
        """
        stored = self.in_index or IndexScope("", self.actions, self.projects)
        actions = Action(stored.actions)
        # an earlier version, which did not know of approving, stored an administrator without it
        if actions & Action.ADMIN:
            actions |= Action.APPROVE
        return Scope(actions, stored.projects, self._indexes(stored.index, actions))

    def _indexes(self, index: str, actions: Action) -> tuple[str, ...]:
        """Return the indexes that the token is about, from the stored text that names them."""
        # the scopes of the publishers limit the token to their indexes
        if self.publishers and not index:
            return (EVERY_INDEX,)
        # rights that the owner gets later in other indexes are not those of the token
        if self.owner and not index:
            return (MAIN,)
        return parse_right_indexes(index, actions)

    @property
    def names_index(self) -> bool:
        """Whether the token says which indexes it is about, which older tokens may not say."""
        return bool(self.publishers) or (self.in_index is not None and bool(self.in_index.index))

    @property
    def token_owner(self) -> TokenOwner:
        """The owner of the token, as known when the token was made."""
        return TokenOwner(self.owner, frozenset(self.owner_names), self.owner_line)

    def state(self, now: datetime) -> str:
        """Return `active`, `expired` or `revoked`: the state of the token at `now`."""
        if self.revoked_at is not None:
            return "revoked"
        if now < self.expires_at:
            return "active"
        return "expired"

    def expires_soon(self, now: datetime) -> bool:
        """Return whether an active token, not of a CI job, expires within `EXPIRY_WARNING`."""
        is_near = self.expires_at - now <= EXPIRY_WARNING
        return is_near and not self.publishers and self.state(now) == "active"

    def is_owned_by(self, owner: TokenOwner) -> bool:
        """
        Return whether the token belongs to this owner, and not to an earlier one of the same name.

        An account that was deleted and created again has its old e-mail address and another unique
        id. A name that was removed from the htpasswd file and added again has another line. A
        person of a provider may have another name by now.
        """
        person = person_in(self.owner_names)
        if person is not None:
            return person == person_in(owner.names)
        has_name = bool(self.owner) and self.owner == owner.principal
        # no later account of the name has a principal with the same unique id
        with_id = {name for name in self.owner_names if name.startswith(f"{self.owner}#")}
        has_id = with_id <= owner.names
        return has_name and has_id and self.owner_line == owner.line

    def matches(self, token: ApiToken) -> bool:
        """Return whether the record has the digest of `token`."""
        # in constant time, so that the time of an answer tells nothing about the digest
        return compare_digest(self.sha256, token.digest)


class ListedToken(Struct, frozen=True):
    """A token as a list shows it."""

    record: TokenRecord
    state: str
    """
    `active`, `expired`, `revoked`, `unconfirmed` until its owner signs in again, or `ended` because
    its owner may not use the index any more.
    """
    last_used: date | None
    """The last day (UTC) on which the token was accepted, or None if none is recorded."""


NO_RECORD: Final = TokenRecord(
    id="",
    sha256="0" * 64,
    name="",
    actions=0,
    projects=(),
    created_at=datetime.min.replace(tzinfo=UTC),
    created_by="",
    expires_at=datetime.min.replace(tzinfo=UTC),
)
"""A record that no token matches: a comparison with it makes an unknown token take as long."""


def active_replacement(
    record: TokenRecord, find: Callable[[str], TokenRecord | None], now: datetime
) -> TokenRecord | None:
    """
    Return the last active token in the chain of successors of a token, without the token itself.

    None if no successor is active, for example because all were revoked. `find` returns the record
    with an id, or None.
    """
    replacement = None
    # a damaged store could have records that replace each other in a circle
    visited_ids = {record.id}
    while record.rotation and record.rotation.successor not in visited_ids:
        visited_ids.add(record.rotation.successor)
        successor = find(record.rotation.successor)
        if successor is None:
            break
        record = successor
        # a revoked token may have an active successor, so the search goes on
        if record.state(now) == "active":
            replacement = record
    return replacement


def has_token_prefix(text: str) -> bool:
    """Return whether a text begins like an API token, well formed or not."""
    return text.startswith(PREFIX)


def parse_token(text: str) -> ApiToken | None:
    """Return `text` as an API token, or None if it is malformed or its checksum is wrong."""
    # a stranger's text is refused by its form before the store is asked about its id
    if _TOKEN_FORM.fullmatch(text) and _checksum(text[:-CHECK_LENGTH]) == text[-CHECK_LENGTH:]:
        return ApiToken(text)
    return None


def token_id_in(text: str) -> str | None:
    """Return the id in a text, which is a token id or an API token, or None if it is neither."""
    if is_token_id(text):
        return text
    token = parse_token(text)
    if token is None:
        return None
    return token.id


def is_token_id(text: str) -> bool:
    """Return whether a text has the form of a token id."""
    return re.fullmatch(TOKEN_ID, text) is not None


def new_token(random: Random) -> ApiToken:
    """
    Return a new random API token.

    `random` has to be a random generator that is safe for secrets.
    """
    body = PREFIX + "".join(random.choice(ALPHABET) for _ in range(ID_LENGTH + SECRET_LENGTH))
    return ApiToken(body + _checksum(body))


def _checksum(body: str) -> str:
    """Return the CRC-32 of a text as six digits in base 62."""
    # it shows a typing error, or to a scanner a secret, without a store, and protects nothing
    number = zlib.crc32(body.encode())
    text = ""
    while number:
        number, digit = divmod(number, len(ALPHABET))
        text = ALPHABET[digit] + text
    return text.rjust(CHECK_LENGTH, ALPHABET[0])


class SessionId(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is needed to end a session of a browser."""

    id: str
    """32 hexadecimal digits."""
    expires_at: int

    @property
    def expiry(self) -> datetime:
        """The moment from which on the session is not valid."""
        return datetime.fromtimestamp(self.expires_at, UTC)


class Session(SessionId, frozen=True, kw_only=True, omit_defaults=True):
    """A session of a browser: whom it stands for, by which credential, and until when."""

    kind: CredentialKind
    subject: str
    """
    The user name, the id of the API token, or the principal. For a person of a provider, the name
    of the provider, a colon, and the id of the person.
    """
    proof: str
    """The fingerprint of the password's hash or the token's digest, which may not change."""
    issued_at: int
    """When the person signed in, or the ID token was issued, in seconds since the epoch."""
    principals: tuple[str, ...] = ()
    """All principals of a Google account, or empty for a credential that the index can look up."""


def sign_session(session: Session, key: bytes) -> str:
    """Return a session and its signature as the text of a cookie."""
    encoded = urlsafe_b64encode(encode(session))
    payload = encoded.decode().rstrip("=")
    return f"{payload}.{_signature(payload, key)}"


def verified_session(cookie: str, key: bytes, now: float) -> Session | None:
    """
    Return the session in the text of a cookie.

    None if the form or the signature of the cookie is wrong, or the session has expired at `now`,
    in seconds since the epoch.
    """
    payload, _, signature = cookie.partition(".")
    if len(cookie) > MAX_COOKIE_CHARS or not cookie.isascii():
        return None
    # a cookie is decoded only after its signature was verified: a stranger cannot reach the decoder
    if not hmac.compare_digest(signature, _signature(payload, key)):
        return None
    session = decoded_session(cookie)
    if session is None or session.expires_at <= now:
        return None
    return session


def decoded_session(cookie: str) -> Session | None:
    """
    Return the session in the text of a cookie, or None if it is malformed.

    Neither the signature nor the expiry is checked.
    """
    payload = cookie.partition(".")[0]
    padding = "=" * (-len(payload) % 4)
    # the text may be a stranger's, and have anything in it
    try:
        return decode(urlsafe_b64decode(payload + padding), type=Session)
    except (ValueError, MsgspecError, RecursionError):
        return None


def fingerprint(evidence: str, kind: CredentialKind, key: bytes) -> str:
    """Return the keyed hash of a credential's stored hash or digest, for `Session.proof`."""
    text = f"proof\0{kind}\0{evidence}".encode("utf-8", "surrogatepass")
    return hmac.digest(key, text, "sha256").hex()[:32]


def _signature(payload: str, key: bytes) -> str:
    """Return the signature of the payload of a session."""
    # the word `session` tells a signature apart from a fingerprint, which is made with the same key
    signed = hmac.digest(key, f"session\0{payload}".encode(), "sha256")
    return urlsafe_b64encode(signed).decode().rstrip("=")
