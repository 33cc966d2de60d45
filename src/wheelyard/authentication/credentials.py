"""
The types of credentials, which their user name and shape show.

The type of a credential decides which verifier gets it, and so to whom its secret may be sent.
Nothing is verified here, and no server is asked.
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
"""The user names by which a client says that the password is a token."""
ACCESS_TOKEN_PREFIX: Final = "ya29."  # noqa: S105 - the beginning that all of them have

_JWT: Final = re.compile(r"([A-Za-z0-9_-]{4,2048})\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")


class CredentialType(Enum):
    """
    The type of a credential that is neither an API token nor a static token.

    The logged reason for a rejection begins with the value of the type.
    """

    ID_TOKEN = "jwt"  # noqa: S105 - a kind
    ACCESS_TOKEN = "gat"  # noqa: S105 - a kind
    PASSWORD = "htpasswd"  # noqa: S105 - a kind


def classify(credential: Credential) -> CredentialType:
    """Return the type that the user name and the shape of a credential show, or else PASSWORD."""
    is_token = credential.is_bearer or credential.user in TOKEN_USERS
    if is_token and _is_jwt(credential.secret):
        return CredentialType.ID_TOKEN
    # a secret that was sent by mistake must not be shown to Google
    has_prefix = is_token and credential.secret.startswith(ACCESS_TOKEN_PREFIX)
    if credential.user == GOOGLE_USER or has_prefix:
        return CredentialType.ACCESS_TOKEN
    return CredentialType.PASSWORD


def is_service_account_key(credential: Credential) -> bool:
    """Return whether a credential looks like a Google service account's key, plain or Base64."""
    secret = credential.secret
    with suppress(ValueError):
        # Base64 of a text that begins with { begins with e
        if secret.startswith("e"):
            is_url_safe = "_" in secret or "-" in secret
            altchars = b"-_" if is_url_safe else None
            secret = b64decode(secret, altchars).decode("latin-1")
    # the user names `_json_key` and `_json_key_base64` are those of Google's Artifact Registry
    if credential.user.startswith("_json_key"):
        return True
    return secret.startswith("{") and "private_key" in secret


def _is_jwt(secret: str) -> bool:
    """Return whether a secret has the shape of a signed JWT, with a header that is JSON."""
    match = _JWT.fullmatch(secret)
    if match is None:
        return False
    # a password may have two dots, too: the header of a JWT is a JSON object
    try:
        decode_segment(match[1])
    except CredentialRejected:
        return False
    return True
