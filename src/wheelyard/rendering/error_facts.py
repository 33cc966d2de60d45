"""What the page of an error says, and such a page that needs no template."""

from html import escape
from types import MappingProxyType
from typing import Final

from msgspec import Struct

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
    contact: str = ""
    """Whom to ask: a text, an e-mail address or a URL; empty if the operator has named nobody."""

    @property
    def title(self) -> str:
        """What has happened, in a few words."""
        return TITLES.get(self.status, self.phrase)


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
