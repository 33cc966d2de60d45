"""
Types of credentials, as their text shows them.

The type decides which verifier gets a credential, and so to whom its secret may be sent. It comes
from the user name and the shape alone: nothing is verified or asked here.
"""

import re
from base64 import b64decode
from contextlib import suppress
from enum import Enum
from typing import Final

from wheelyard.authentication.verifiers.verifier import CredentialRejected, decode_segment
from wheelyard.model.access import Credential

GOOGLE_USER: Final = "oauth2accesstoken"
TOKEN_USERS: Final = frozenset({GOOGLE_USER, "oidc", "__token__"})
"""User names that mean: the password is a token."""
ACCESS_TOKEN_PREFIX: Final = "ya29."  # noqa: S105 - the beginning that all of them have

_JWT: Final = re.compile(r"([A-Za-z0-9_-]{4,2048})\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")


class CredentialType(Enum):
    """
    The type of a credential that is neither an API token nor a static token.

    The logged reasons for rejections begin with its value.
    """

    ID_TOKEN = "jwt"  # noqa: S105 - a kind
    ACCESS_TOKEN = "gat"  # noqa: S105 - a kind
    PASSWORD = "htpasswd"  # noqa: S105 - a kind


def classify(credential: Credential) -> CredentialType:
    """Return the type that user name and shape of a credential show, PASSWORD if they show none."""
    is_token = credential.is_bearer or credential.user in TOKEN_USERS
    if is_token and _is_jwt(credential.secret):
        return CredentialType.ID_TOKEN
    # a secret that was sent by mistake must not be shown to Google
    has_prefix = is_token and credential.secret.startswith(ACCESS_TOKEN_PREFIX)
    if credential.user == GOOGLE_USER or has_prefix:
        return CredentialType.ACCESS_TOKEN
    return CredentialType.PASSWORD


def is_service_account_key(credential: Credential) -> bool:
    """Return whether it is a Google service account's key file, plain or Base64, by its looks."""
    secret = credential.secret
    with suppress(ValueError):
        if secret[:1] == "e":  # Base64 of {
            is_url_safe = "_" in secret or "-" in secret
            altchars = b"-_" if is_url_safe else None
            secret = b64decode(secret, altchars).decode("latin-1")
    # the user names `_json_key` and `_json_key_base64` are those of Google's Artifact Registry
    if credential.user.startswith("_json_key"):
        return True
    return secret.startswith("{") and "private_key" in secret


def _is_jwt(secret: str) -> bool:
    match = _JWT.fullmatch(secret)
    if match is None:
        return False
    # a password may have two dots, too: the header of a JWT is a JSON object
    try:
        decode_segment(match[1])
    except CredentialRejected:
        return False
    return True
