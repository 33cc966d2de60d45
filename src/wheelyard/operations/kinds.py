"""
What a credential is tried as: by its shape, the name it comes with, and nothing that it claims.

Exactly one kind fits. What is none of the others is a password.
"""

import re
from base64 import b64decode
from enum import Enum, auto
from typing import Final

from wheelyard.model.credential import Credential
from wheelyard.model.token import Token, looks_like_token, parse_token
from wheelyard.operations.tokens import bad_credential
from wheelyard.trust.refusals import Refused
from wheelyard.trust.unverified import object_in

GOOGLE_USER: Final = "oauth2accesstoken"
TOKEN_USERS: Final = frozenset({GOOGLE_USER, "oidc", "__token__"})
"""User names that say that the password is a token of some kind."""
GOOGLE_PREFIX: Final = "ya29."
KEY_USERS: Final = frozenset({"_json_key", "_json_key_base64"})
SHORTEST_KEY: Final = 64
"""Characters that no service account's key has fewer of."""

_SIGNED: Final = re.compile(r"([A-Za-z0-9_-]{4,2048})\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")


class Kind(Enum):
    """What a credential is tried as, once it is neither an API token nor a static one."""

    ID_TOKEN = auto()
    ACCESS_TOKEN = auto()
    PASSWORD = auto()


CODES: Final = {Kind.ID_TOKEN: "jwt", Kind.ACCESS_TOKEN: "gat", Kind.PASSWORD: "htpasswd"}
"""What the reasons of each kind begin with in the log."""


def token_in(credential: Credential) -> Token | None:
    """
    Return the API token that a credential carries, in whichever half, None if it is none.

    Raises:
        Unauthenticated: It is meant to be one, and is not well formed.
    """
    for half in credential.halves:
        if looks_like_token(half):
            token = parse_token(half)
            if token is None:
                raise bad_credential() from Refused("token_shape")
            return token
    return None


def kind_of(credential: Credential) -> Kind:
    """Return what a credential is tried as, whatever it is worth."""
    is_named = credential.is_bearer or credential.user in TOKEN_USERS
    if is_named and _is_signed(credential.secret):
        return Kind.ID_TOKEN
    # nothing else that somebody has sent by mistake is to be shown to Google
    if credential.user == GOOGLE_USER or (is_named and credential.secret.startswith(GOOGLE_PREFIX)):
        return Kind.ACCESS_TOKEN
    return Kind.PASSWORD


def is_key(credential: Credential) -> bool:
    """Return whether a credential is a service account's key."""
    return credential.user in KEY_USERS or _is_key(credential.secret)


def _is_signed(secret: str) -> bool:
    """Return whether a secret has the form of a signed token (JWT), whatever it is worth."""
    found = _SIGNED.fullmatch(secret)
    if found is None:
        return False
    try:
        object_in(found[1])
    except Refused:
        return False
    return True


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
