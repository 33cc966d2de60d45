"""Principals in words, for the pages: `htpasswd:ana` is "ana, by password"."""

from types import MappingProxyType
from typing import Final

from wheelyard.model.access import ALL_AUTHENTICATED, ANONYMOUS

_WORDS: Final = MappingProxyType(
    {
        ANONYMOUS: "everybody, also without a credential",
        ALL_AUTHENTICATED: "everybody with a credential",
    }
)
_KINDS: Final = MappingProxyType(
    {
        "domain": "everybody of {}, by Google",
        "group": "the group {}",
        "htpasswd": "{}, by password",
        "local": "{}, on the command line",
        "publisher": "the trusted publisher {}",
        "serviceAccount": "the service account {}",
        "static": "the static token {}",
        "token": "the API token {}",
        "user": "{}, by Google",
    }
)


def short_name(principal: str) -> str:
    """Return the name of a person or a credential in a principal: `ana@acme.dev`, `ml-ci`."""
    kind, _, name = principal.partition(":")
    # of a person of a provider, the name of the provider comes first
    return name.partition(":")[2] if kind == "oidc" else name


def describe_principal(principal: str, name: str = "") -> str:
    """
    Return a principal, or a group of a grant, in words.

    `name` is the name of the API token that it is, or empty if that is not known. Text of an
    unknown form is returned as it is.
    """
    kind, colon, rest = principal.partition(":")
    if principal in _WORDS:
        return _WORDS[principal]
    if kind == "oidc" and colon:
        provider, _, who = rest.partition(":")
        if who.startswith("group:"):
            return f"the group {who.removeprefix('group:')} of {provider}"
        return f"{who.partition('#')[0]}, by {provider}"
    if not colon or kind not in _KINDS:
        return principal
    return _KINDS[kind].format(name or rest)
