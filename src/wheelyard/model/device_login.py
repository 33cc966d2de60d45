"""
Logins of programs through a browser, as RFC 8628 (device authorization) has them.

A program asks for a login and gets a device code, a URL and a user code. All three are made of the
same request and of the key of sessions, so asking stores nothing. The URL tells neither code: who
has it alone can neither get the token nor approve.
"""

import hmac
from datetime import UTC, datetime
from hmac import compare_digest
from typing import Final

from msgspec import MsgspecError, Struct
from msgspec.json import decode, encode

from wheelyard.model.access import Action, Pattern, Scope
from wheelyard.model.api_token import TokenOwner

LIFETIME_SECONDS: Final = 600
"""How long a login can be approved, and its token be fetched."""
MAX_WRONG_CODES: Final = 5
"""So many wrong user codes end a login."""
CODE_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
"""The letters of user codes: without vowels, which could make words (RFC 8628, section 6.1)."""
CODE_LENGTH: Final = 8
MAX_TEXT_CHARS: Final = 1600
"""The longest request in a URL: it has to fit into the path that the sign-in page leads back to."""
_DIGEST_CHARS: Final = 64


class LoginRequest(Struct, frozen=True, array_like=True, kw_only=True):
    """What a program has asked for, and from where."""

    id: str
    """32 hexadecimal digits."""
    address: str
    """The address of the client."""
    host: str
    """What the client says to be the name of its machine."""
    name: str
    """The name of the token."""
    actions: int
    projects: tuple[Pattern, ...]
    days: int
    asked_at: int
    """In seconds since the epoch."""
    index: str = ""
    """The index that the token is to name, or empty."""
    index_actions: int = 0
    """
    The actions, instead of `actions`, if it names one.

    So an older version, which knows one index, makes a token without rights.
    """

    @property
    def expires_at(self) -> int:
        """When the login ends, in seconds since the epoch."""
        return self.asked_at + LIFETIME_SECONDS

    @property
    def expiry(self) -> datetime:
        """When the login ends."""
        return datetime.fromtimestamp(self.expires_at, UTC)

    @property
    def scope(self) -> Scope:
        """What the token is to do."""
        return Scope(Action(self.actions | self.index_actions), self.projects, self.index)


class LoginApproval(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a person has allowed a login."""

    owner: str
    """The principal."""
    owner_names: tuple[str, ...]
    owner_line: str = ""
    name: str
    actions: int
    projects: tuple[Pattern, ...]
    days: int
    index: str = ""
    """As in `LoginRequest`, and so is the next one."""
    index_actions: int = 0

    @property
    def granted(self) -> Action:
        """The actions of the token."""
        return Action(self.actions | self.index_actions)

    @property
    def token_owner(self) -> TokenOwner:
        """The owner of the token."""
        return TokenOwner(self.owner, frozenset(self.owner_names), self.owner_line)


class LoginRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The stored record of a login about which somebody has decided, or typed a wrong code."""

    wrong_codes: int = 0
    approval: LoginApproval | None = None
    refused_by: str = ""
    """The principal, or empty if nobody has refused it."""
    used_at: datetime | None = None
    """When the token was fetched."""
    write_id: str = ""
    """A random text that shows whether a write without a reply has succeeded."""

    @property
    def is_spent(self) -> bool:
        """Whether too many wrong codes have ended it."""
        return self.wrong_codes >= MAX_WRONG_CODES

    @property
    def is_decided(self) -> bool:
        """Whether nobody can approve it any more."""
        return self.approval is not None or bool(self.refused_by) or self.is_spent


def device_code(request: LoginRequest, key: bytes) -> str:
    """Return the secret of the program, with which it fetches the token."""
    return _signed(request, key, "device")


def page_text(request: LoginRequest, key: bytes) -> str:
    """Return the text in the URL of the page on which a person approves."""
    return _signed(request, key, "page")


def user_code(request: LoginRequest, key: bytes) -> str:
    """Return the code that the program shows, and that the person types: `BCDF-GHJK`."""
    number = int.from_bytes(hmac.digest(key, _purposed("code", encode(request)), "sha256"))
    letters = ""
    for _ in range(CODE_LENGTH):
        number, letter = divmod(number, len(CODE_LETTERS))
        letters += CODE_LETTERS[letter]
    return f"{letters[: CODE_LENGTH // 2]}-{letters[CODE_LENGTH // 2 :]}"


def is_user_code(typed: str, request: LoginRequest, key: bytes) -> bool:
    """Return whether somebody has typed the code of a request, in any case and with any blanks."""
    letters = "".join(letter for letter in typed.upper() if letter in CODE_LETTERS)
    return compare_digest(letters, user_code(request, key).replace("-", ""))


def request_in_device_code(text: str, key: bytes) -> LoginRequest | None:
    """Return the request in a device code, which may have expired, or None for any other text."""
    return _verified(text, key, "device")


def request_in_page_text(text: str, key: bytes) -> LoginRequest | None:
    """Return the request in the text of a URL, which may have expired, or None for any other."""
    return _verified(text, key, "page")


def _signed(request: LoginRequest, key: bytes, purpose: str) -> str:
    # hexadecimal digits look like no token, which is taken out of the URLs of pages
    payload = encode(request)
    return f"{payload.hex()}{hmac.digest(key, _purposed(purpose, payload), 'sha256').hex()}"


def _verified(text: str, key: bytes, purpose: str) -> LoginRequest | None:
    if not _DIGEST_CHARS < len(text) <= MAX_TEXT_CHARS or not text.isascii():
        return None
    try:
        payload = bytes.fromhex(text[:-_DIGEST_CHARS])
    except ValueError:
        return None
    expected = hmac.digest(key, _purposed(purpose, payload), "sha256").hex()
    # nothing is decoded before it is known to be ours
    if not compare_digest(text[-_DIGEST_CHARS:], expected):
        return None
    try:
        return decode(payload, type=LoginRequest)
    except (MsgspecError, UnicodeDecodeError):  # of another version
        return None


def _purposed(purpose: str, payload: bytes) -> bytes:
    # so that no text of one purpose is one of another, nor a session or a form
    return b"login-%s\0%s" % (purpose.encode(), payload)
