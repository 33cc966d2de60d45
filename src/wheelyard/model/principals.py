"""Principals for people: which credential one has, its name beside its id, and a search for it."""

from types import MappingProxyType
from typing import Final

from wheelyard.model.token import token_id_in

CREDENTIALS: Final = MappingProxyType(
    {
        "anonymous": "none",
        "google": "Google access token",
        "htpasswd": "password",
        "local": "command line",
        "publisher": "trusted publisher",
        "serviceAccount": "Google service account",
        "static": "static token",
        "token": "API token",
        "user": "Google account",
    }
)
"""The type of credential that each kind of principal has."""


def credential_of(principal: str) -> str:
    """Return the type of credential that a principal has, for people; empty if it is unknown."""
    kind, colon, _ = principal.partition(":")
    if not colon and "@" in principal:  # of Google credentials on the machine of the command
        return f"{CREDENTIALS['local']}, Google account"
    return CREDENTIALS.get(kind, "")


def with_name(principal: str, name: str) -> str:
    """Return a principal with the name of its token, if there is one: `token:ID (NAME)`."""
    return f"{principal} ({name})" if name else principal


def is_match(wanted: str, principal: str, name: str) -> bool:
    """
    Return whether `wanted` means this principal, which has the name `name`.

    It is the principal, its part behind the colon (a token's id, an e-mail address), the name, or
    a whole API token. The case of letters counts except in an e-mail address.
    """
    _, _, rest = principal.partition(":")
    candidates = {principal, name, rest, *rest.split(",")} - {""}
    if wanted in candidates or token_id_in(wanted) == rest != "":
        return True
    return "@" in wanted and wanted.lower() in {each.lower() for each in candidates}
