"""Who somebody is, once a credential has proven it; what they may do is another question."""

from dataclasses import dataclass
from typing import Final

from wheelyard.model.access import Scope

EVERYBODY: Final = "anonymous"
"""The principal that every request has, with a credential or without."""
AUTHENTICATED: Final = "allAuthenticated"
"""The principal of whoever has proven to be somebody, minted publishing tokens apart."""


@dataclass(frozen=True, slots=True)
class Identity:
    """
    What a credential proves.

    Args:
        principal: The one name for journals and logs: `user:ana@acme.dev`, `htpasswd:ml-ci`.
        principals: Every name that a grant may call this identity by.
        scopes: Rights that the credential itself brings, as a static token's or Google's answer.
    """

    principal: str
    principals: frozenset[str]
    scopes: tuple[Scope, ...] = ()
