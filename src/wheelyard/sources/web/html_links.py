"""
The links of an HTML page: a page of the Simple API, or a directory listing of a web server.

Follows the simple repository API: `<a href>`, `<base href>`, `data-yanked`. Everything else on a
page is ignored, also `data-requires-python`, because the file itself has it.

Comments, quoted values, and elements that contain only text are parsed as in the HTML standard. The
time is linear in the length of any page: patterns are possessive, and an unclosed element extends
to the end (`html.parser` takes quadratic time there). Malformed markup raises nothing.
"""

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

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
_LINKING: Final = frozenset({"a", "base"})
_KEPT: Final = frozenset({"href", YANKED_ATTRIBUTE})
_TEXT: Final = MappingProxyType(
    {
        name: re.compile(f"</{name}(?=[ \\t\\n\\r\\f/>])", re.IGNORECASE | re.ASCII)
        for name in ["script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"]
    }
)
"""Elements that contain only text, and their closing tags."""


@dataclass(frozen=True, slots=True)
class Link:
    """An anchor (`<a href>`) of an HTML page, and whether the file it links is yanked."""

    href: str
    yanked: str | None
    """The reason, which may be empty; None if it is not yanked."""


def read_links(body: bytes, content_type: str, limit: int) -> tuple[str, list[Link]]:
    """
    Return the base URL of a page (empty if it names none) and its anchors.

    Raise FetchError if there are more than `limit` anchors, or the base URL is too long.
    """
    named = _CHARSET.search(content_type)
    codec = "cp1252" if named and named[1].lower() in LATIN_CHARSETS else "utf-8"
    base, found = "", list[Link]()
    for name, attributes in _tags(body.decode(codec, errors="replace")):
        href = attributes.get("href")
        if href and name == "base":
            base = base or href
        elif href and name == "a":
            found.append(Link(href, attributes.get(YANKED_ATTRIBUTE)))
        if len(found) > limit:
            raise FetchError(f"it has more than {limit} links")
    if len(base) > BASE_LIMIT:
        raise FetchError("the base of its links is too long")
    return base, found


def _tags(text: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """
    Yield the name of each complete start tag, in lower case, with its attributes.

    Only `a` and `base` have any: `href` and `data-yanked`, decoded.
    """
    at = 0
    while found := _MARKUP.search(text, at):
        if found["name"] is None:
            # the dashes of `<!-->` begin the comment and end it
            ending, begins = ("-->", found.end() - 2) if found["comment"] else (">", found.end())
            at = text.find(ending, begins) + len(ending)
            if at < len(ending):
                return
            continue
        name, at, attributes = found["name"].lower(), found.end(), dict[str, str]()
        while (found := _ATTRIBUTE.match(text, at)) and found["key"]:
            at = found.end()
            # the first of two attributes with one name counts; there may be many other attributes
            key = found["key"].lower()
            if name in _LINKING and key in _KEPT:
                value = found["double"] or found["single"] or found["bare"] or ""
                # unescape raises an error for a number with thousands of digits
                value = html.unescape(value) if len(value) <= UNESCAPE_LIMIT else value
                attributes.setdefault(key, value)
        if not found or not found["end"]:
            return
        at = found.end()
        yield name, attributes
        if name in _TEXT:
            closing = _TEXT[name].search(text, at)
            at = closing.start() if closing else len(text)
