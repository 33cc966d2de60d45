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
"""How long before its expiry a token is reported."""
MAX_COOKIE_CHARS: Final = 3072
"""The longest signed session: of two e-mail addresses and a domain, each as long as they may be."""

CredentialKind = Literal["password", "api_token", "static_token", "id_token", "oidc"]
"""The type of the credential that a session began with. `oidc` is a sign-in with a provider."""

_SHAPE = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{ID_LENGTH + SECRET_LENGTH + CHECK_LENGTH}}}")


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
    """Empty for nobody."""
    names: frozenset[str] = frozenset()
    """All principals by which a grant can name the owner."""
    line: str = ""
    """The digest of the line of the htpasswd file, for a user of it."""


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
    """With commas between them, or `*`."""
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
    """Of a token that names no index, as earlier versions made them. See `scope`."""
    projects: tuple[Pattern, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime
    revoked_at: datetime | None = None
    revoked_by: str = ""
    publishers: tuple[str, ...] = ()
    """Ids of the publishers that it was minted for, or empty for other tokens."""
    owner: str = ""
    """The principal that limits it, or empty for an operator's token."""
    owner_names: tuple[str, ...] = ()
    """All principals of its owner when it was made, for grants."""
    owner_line: str = ""
    """The digest of its owner's line of the htpasswd file when it was made."""
    in_index: IndexScope | None = None
    """What it may do instead, if it names an index."""
    rotation: Rotation | None = None
    """Set once a new token has replaced it. It then expires soon."""
    revision: int = 0
    """The number of writes of the record."""
    write_id: str = ""
    """A random text that shows whether a write without a reply has succeeded."""

    @property
    def lifetime(self) -> timedelta:
        """The time from its creation to its expiry, as if it had never been rotated."""
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
        if actions & Action.ADMIN:  # as a version has stored it that does not know of approving
            actions |= Action.APPROVE
        return Scope(actions, stored.projects, self._indexes(stored.index, actions))

    def _indexes(self, index: str, actions: Action) -> tuple[str, ...]:
        """Return the indexes that the token is about, by what is stored of them."""
        if self.publishers and not index:
            return (EVERY_INDEX,)  # those of its publishers, to whose scopes it is cut down
        if self.owner and not index:
            return (MAIN,)  # whatever its owner may by now in other indexes
        return parse_right_indexes(index, actions)

    @property
    def names_index(self) -> bool:
        """Whether it says which indexes it is about. One of an earlier version may not."""
        return bool(self.publishers) or (self.in_index is not None and bool(self.in_index.index))

    @property
    def token_owner(self) -> TokenOwner:
        """Its owner when it was made."""
        return TokenOwner(self.owner, frozenset(self.owner_names), self.owner_line)

    def state(self, now: datetime) -> str:
        """Return `active`, `expired` or `revoked`: the state of the token at `now`."""
        if self.revoked_at is not None:
            return "revoked"
        if now < self.expires_at:
            return "active"
        return "expired"

    def expires_soon(self, now: datetime) -> bool:
        """Return whether it is active, not of a CI job, and expires within `EXPIRY_WARNING`."""
        is_near = self.expires_at - now <= EXPIRY_WARNING
        return is_near and not self.publishers and self.state(now) == "active"

    def is_owned_by(self, owner: TokenOwner) -> bool:
        """
        Return whether it is of this owner, and not of an earlier one who had the same name.

        An account that was deleted and created again has its old e-mail address and another unique
        id. A name that was taken out of the htpasswd file, and is there again, has another line. A
        person of a provider may have another name by now.
        """
        person = person_in(self.owner_names)
        if person is not None:
            return person == person_in(owner.names)
        # a principal with a number is the unique id, which no later account of the name has
        numbered = {name for name in self.owner_names if name.startswith(f"{self.owner}#")}
        is_named = bool(self.owner) and self.owner == owner.principal
        return is_named and numbered <= owner.names and self.owner_line == owner.line

    def matches(self, token: ApiToken) -> bool:
        """Return whether the record has the digest of `token`."""
        # in constant time, so that the time of an answer does not tell how much of it is right
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
    """The last day (UTC) on which it was accepted, if recorded."""


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
"""A record that no token matches: an unknown token is compared with it, so takes as long."""


def active_replacement(
    record: TokenRecord, find: Callable[[str], TokenRecord | None], now: datetime
) -> TokenRecord | None:
    """
    Return the last active token that replaces this one, or replaces its successor, and so on.

    Return None if there is none, because the new tokens were revoked, for example. `find` returns
    the record with an id.
    """
    # a damaged store could have records that replace each other in a circle
    last = None
    visited = {record.id}
    while record.rotation and record.rotation.successor not in visited:
        visited.add(record.rotation.successor)
        successor = find(record.rotation.successor)
        if successor is None:
            break
        record = successor
        # one that was revoked may have a successor that is active
        if record.state(now) == "active":
            last = record
    return last


def has_token_prefix(text: str) -> bool:
    """Return whether a text begins like an API token, well formed or not."""
    return text.startswith(PREFIX)


def parse_token(text: str) -> ApiToken | None:
    """Return `text` as an API token, or None if it is malformed or its check is wrong."""
    # a stranger's text: what has another form is refused before the store is asked about its id
    if _SHAPE.fullmatch(text) and _check(text[:-CHECK_LENGTH]) == text[-CHECK_LENGTH:]:
        return ApiToken(text)
    return None


def token_id_in(text: str) -> str | None:
    """Return `text` if it is a token id, the id of the API token if it is one, else None."""
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

    `random` has to be a source for secrets.
    """
    body = PREFIX + "".join(random.choice(ALPHABET) for _ in range(ID_LENGTH + SECRET_LENGTH))
    return ApiToken(body + _check(body))


def _check(body: str) -> str:
    """Return the CRC-32 of a text as six digits in base 62."""
    # it protects nothing: it lets a scanner of secrets, or a typing error, be told without a store
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
        """The moment from which the session is not valid."""
        return datetime.fromtimestamp(self.expires_at, UTC)


class Session(SessionId, frozen=True, kw_only=True, omit_defaults=True):
    """A session of a browser: whom it stands for, by which credential, and until when."""

    kind: CredentialKind
    subject: str
    """
    The user name, the id of the API token, or the principal. Of a person of a provider, its name, a
    colon, and the id of the person.
    """
    proof: str
    """The fingerprint of what has to be unchanged: the password's hash, or the token's digest."""
    issued_at: int
    """When the person signed in, or the ID token was issued, in seconds since the epoch."""
    principals: tuple[str, ...] = ()
    """All principals of a Google account, or empty for credentials that this index can look up."""


def sign_session(session: Session, key: bytes) -> str:
    """Return a session and its signature as the text of a cookie."""
    payload = urlsafe_b64encode(encode(session)).decode().rstrip("=")
    return f"{payload}.{_signature(payload, key)}"


def verified_session(cookie: str, key: bytes, now: float) -> Session | None:
    """
    Return the session in the text of a cookie.

    Return None if its form or its signature is wrong, or it has expired at `now`, in seconds since
    the epoch.
    """
    payload, _, signature = cookie.partition(".")
    if len(cookie) > MAX_COOKIE_CHARS or not cookie.isascii():
        return None
    # nothing of a cookie is decoded before its signature is known to be right: who has no key
    # cannot reach the decoder
    if not hmac.compare_digest(signature, _signature(payload, key)):
        return None
    session = decoded_session(cookie)
    if session is None or session.expires_at <= now:
        return None
    return session


def decoded_session(cookie: str) -> Session | None:
    """
    Return the session in the text of a cookie, or None if it is malformed.

    Neither its signature nor its expiry is checked.
    """
    # a stranger's text unless the signature was checked
    payload = cookie.partition(".")[0]
    try:
        return decode(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=Session)
    except (ValueError, MsgspecError, RecursionError):
        return None


def fingerprint(evidence: str, kind: CredentialKind, key: bytes) -> str:
    """Return the keyed hash of a credential's stored hash or digest, for `Session.proof`."""
    text = f"proof\0{kind}\0{evidence}".encode("utf-8", "surrogatepass")
    return hmac.digest(key, text, "sha256").hex()[:32]


def _signature(payload: str, key: bytes) -> str:
    """Return the signature of the payload of a session."""
    # with a purpose before it, so that a fingerprint, by the same key, is never a signature
    signed = hmac.digest(key, f"session\0{payload}".encode(), "sha256")
    return urlsafe_b64encode(signed).decode().rstrip("=")
