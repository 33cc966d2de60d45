"""What the page of an error says, and small texts that need no template."""

from html import escape
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from wheelyard import errors

TITLES: Final = MappingProxyType(
    {
        401: "Sign in first",
        403: "Not allowed",
        404: "Not found",
        421: "Another address",
        429: "Too many attempts",
        500: "The server has failed",
        503: "The index does not answer just now",
    }
)
"""What pages of errors are called, instead of the reason phrase."""
LASTING: Final = MappingProxyType(
    {
        errors.DAMAGED: "Part of the index is damaged or lost. The command 'wheelyard check' says "
        "what, and what can be done about it.",
        errors.NEWER_DOCUMENT: "The message says which version of wheelyard can read it.",
        errors.NEWER_STORE: "The message says which version of wheelyard can write to it.",
        errors.STORAGE_FULL: "The index has no space left.",
        errors.UPSTREAM_UNPROVEN: "The command 'wheelyard config check' says what is wrong.",
        errors.BAD_UPSTREAM: "The log of the server says what is wrong with the other index.",
        "upstream_loop": "The index is set up as its own upstream index.",
        "storage_denied": "The log of the server says which permission it lacks.",
    }
)
"""Failures of a server that end only when its operator does something: what to tell them."""
OFFLINE: Final = (
    "The setting 'upstream.offline' is on. The command 'wheelyard upstream prefetch' brings "
    "packages into the index where there is a connection."
)
"""The same of an index that asks no other."""


class ErrorFacts(Struct, frozen=True, kw_only=True):
    """What the page of an error says."""

    status: int
    code: str
    phrase: str
    message: str
    sign_in: str = ""
    """The URL of the sign-in page; empty if nobody can sign in there."""
    is_behind_proxy: bool = False
    """Whether Identity-Aware Proxy signs people in."""
    leads_to_sign_in: bool = False
    """Whether the page leads there by itself."""
    may_pass: bool = True
    """Whether the response says when to try again."""
    contact: str = ""
    """Whom to ask: a text, an e-mail address or a URL; empty if the operator has named nobody."""

    @property
    def title(self) -> str:
        """What has happened, in a few words."""
        if self.code == errors.DAMAGED:
            return "The index is damaged"
        if self._is_offline:
            return "This index works offline"
        return TITLES.get(self.status, self.phrase)

    @property
    def for_operator(self) -> str:
        """What to tell the operator of a failure that lasts; empty if it may be over soon."""
        return OFFLINE if self._is_offline else LASTING.get(self.code, "")

    @property
    def _is_offline(self) -> bool:
        return self.code == errors.UPSTREAM_UNAVAILABLE and not self.may_pass


def plain_error_page(root: str, facts: ErrorFacts) -> bytes:
    """Return the bytes of the same page without a template, which may be what cannot be read."""
    title, message, home = escape(facts.title), escape(facts.message), escape(root)
    name = f"Error {facts.status}, {escape(facts.code)}"
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="robots" content="noindex"></head>\n<body><main><h1>{title}</h1>\n'
        f'<p>{message}</p>\n<p>{name}</p>\n<p><a href="{home}">To the home page</a></p>\n'
        "</main></body>\n</html>\n"
    ).encode("utf-8", "replace")
