"""
The links of an HTML page: a page of the Simple API, or a directory listing of a web server.

Follows the simple repository API: `<a href>`, `<base href>`, `<meta name>` and the attributes
`data-yanked`, `data-requires-python`, `data-core-metadata`. Everything else on a page is ignored.

Comments, quoted values, and elements that contain only text are parsed as in the HTML standard. The
time is linear in the length of any page: patterns are possessive, and an unclosed element extends
to the end (`html.parser` takes quadratic time there). Malformed markup raises nothing. The page is
searched as Latin-1, one byte for each character, and only the values that count are decoded: one
character outside of Unicode's first plane would else make the text four times as large.
"""

import html
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.http_client.address_policy import FetchError

YANKED_ATTRIBUTE: Final = "data-yanked"
BASE_LIMIT: Final = 2048
"""Characters of the base URL, which every link contains."""
UNESCAPE_LIMIT: Final = 4096
"""Characters of a value; references such as `&amp;` in a longer value are not decoded."""
_CHARSET: Final = re.compile(r"charset\s*=\s*\"?([A-Za-z0-9_.:-]+)", re.ASCII)
LATIN_CHARSETS: Final = frozenset({"us-ascii", "iso-8859-1", "latin1", "windows-1252"})
"""Charsets that are decoded as windows-1252, as browsers do; all others are UTF-8."""
_MARKUP: Final = re.compile(r"<(?:!(?P<comment>--)|[!?/]|(?P<name>[A-Za-z][^ \t\n\r\f/>]*+))")
_ATTRIBUTE: Final = re.compile(
    r"""
    [ \t\n\r\f/]*+
    (?: (?P<end> > | \Z )
    |   (?P<key> [^>] [^ \t\n\r\f/>=]*+ )
        (?: [ \t\n\r\f]*+ = [ \t\n\r\f]*+
            (?: "(?P<double>[^"]*+)(?:"|\Z) | '(?P<single>[^']*+)(?:'|\Z)
            |   (?P<bare>[^ \t\n\r\f>]*+) ) )?+
    )
    """,
    re.VERBOSE,
)
_KEPT: Final = MappingProxyType(
    {
        "a": frozenset(
            {
                "href",
                YANKED_ATTRIBUTE,
                "data-requires-python",
                "data-core-metadata",
                "data-dist-info-metadata",
            }
        ),
        "base": frozenset({"href"}),
        "meta": frozenset({"name", "content"}),
    }
)
"""The elements that count, and those of their attributes that do."""
_TEXT: Final = MappingProxyType(
    {
        name: re.compile(f"</{name}(?=[ \\t\\n\\r\\f/>])", re.IGNORECASE | re.ASCII)
        for name in ["script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"]
    }
)
"""Elements that contain only text, and their closing tags."""


class Link(Struct, frozen=True):
    """An anchor (`<a href>`) of an HTML page, and what it says of the file that it links."""

    href: str
    yanked: str | None
    """The reason, which may be empty; None if it is not yanked."""
    requires_python: str | None = None
    core_metadata: str | None = None
    """`true` or `sha256=...`; None if the link says nothing of core metadata."""


class HtmlPage(Struct, frozen=True):
    """What an HTML page says in its links and `<meta name>` elements."""

    base: str
    """The base URL of the links; empty if the page names none."""
    links: list[Link]
    meta: list[tuple[str, str]]
    """Name and content, in the order of the page."""


def read_links(body: bytes | bytearray, content_type: str, limit: int) -> tuple[str, list[Link]]:
    """Return the base URL of a page and its anchors; raise FetchError as `read_page` does."""
    page = read_page(body.decode("latin-1"), content_type, limit)
    return page.base, page.links


def read_page(latin: str, content_type: str, limit: int) -> HtmlPage:
    """
    Return the links of a page, whose bytes were decoded as Latin-1.

    Raise FetchError if it has more than `limit` anchors, or `<meta>` elements, or the base URL is
    too long.
    """
    named = _CHARSET.search(content_type)
    codec = "cp1252" if named and named[1].lower() in LATIN_CHARSETS else "utf-8"
    page = HtmlPage("", [], [])
    for name, attributes in _tags(latin, codec):
        href = attributes.get("href")
        if href and name == "base":
            page = page if page.base else replace(page, base=href)
        elif href and name == "a":
            page.links.append(_link(href, attributes))
        elif name == "meta":
            page.meta.append((attributes.get("name", ""), attributes.get("content", "")))
        if len(page.links) > limit or len(page.meta) > limit:
            raise FetchError(f"it has more than {limit} links")
    if len(page.base) > BASE_LIMIT:
        raise FetchError("the base of its links is too long")
    return page


def _link(href: str, attributes: Mapping[str, str]) -> Link:
    old = attributes.get("data-dist-info-metadata")
    return Link(
        href,
        attributes.get(YANKED_ATTRIBUTE),
        attributes.get("data-requires-python"),
        attributes.get("data-core-metadata", old),
    )


def _tags(text: str, codec: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """
    Yield the name of each complete start tag of `_KEPT`, in lower case, with its attributes there.

    Their values are decoded by `codec`.
    """
    at = 0
    while found := _MARKUP.search(text, at):
        if found["name"] is None:
            # the dashes of `<!-->` begin the comment and end it
            ending, begins = ("-->", found.end() - 2) if found["comment"] else (">", found.end())
            end = text.find(ending, begins)
            at = len(text) if end < 0 else end + len(ending)
            continue
        name, at = found["name"].lower(), found.end()
        attributes: dict[str, str] = {}
        kept = _KEPT.get(name, frozenset())
        while (found := _ATTRIBUTE.match(text, at)) and found["key"]:
            at = found.end()
            # the first of two attributes with one name counts; there may be many other attributes
            key = found["key"].lower()
            if key in kept:
                value = found["double"] or found["single"] or found["bare"] or ""
                value = value.encode("latin-1").decode(codec, errors="replace")
                # unescape raises an error for a number with thousands of digits
                value = html.unescape(value) if len(value) <= UNESCAPE_LIMIT else value
                attributes.setdefault(key, value)
        if not found or not found["end"]:
            return
        at = found.end()
        if kept:
            yield name, attributes
        if name in _TEXT:
            closing = _TEXT[name].search(text, at)
            at = closing.start() if closing else len(text)
