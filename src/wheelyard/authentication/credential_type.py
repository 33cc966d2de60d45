"""
The type of a credential, recognized by its user name and shape; nothing is verified here.

Each credential has exactly one type, and only the verifiers of this type get it. So Google gets
only what is sent as a Google access token, by user name or by shape.
"""

import re
from enum import Enum
from typing import Final

from wheelyard.authentication.api_tokens import invalid_credential
from wheelyard.authentication.verifiers.verifier import CredentialRejected, decode_segment
from wheelyard.model.access import Credential
from wheelyard.model.token import ApiToken, has_token_prefix, parse_token

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


def api_token_in(credential: Credential) -> ApiToken | None:
    """Return the API token in a credential, or None; raise Unauthenticated for a malformed one."""
    for half in credential.halves:
        if has_token_prefix(half):
            token = parse_token(half)
            if token is None:
                raise invalid_credential() from CredentialRejected("token_shape")
            return token
    return None


def classify(credential: Credential) -> CredentialType:
    """Return the type that a credential's user name and shape show; PASSWORD if they show none."""
    is_token = credential.is_bearer or credential.user in TOKEN_USERS
    if is_token and _is_jwt(credential.secret):
        return CredentialType.ID_TOKEN
    # a secret that was sent by mistake must not be shown to Google
    has_prefix = is_token and credential.secret.startswith(ACCESS_TOKEN_PREFIX)
    if credential.user == GOOGLE_USER or has_prefix:
        return CredentialType.ACCESS_TOKEN
    return CredentialType.PASSWORD


def _is_jwt(secret: str) -> bool:
    match = _JWT.fullmatch(secret)
    try:
        return match is not None and decode_segment(match[1]) is not None
    except CredentialRejected:
        return False
