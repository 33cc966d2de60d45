"""
The links of an HTML page: of a Simple API, or of what a plain web server makes of a folder.

Follows the simple repository API: `<a href>`, `<base href>`, `data-yanked`. Everything else on a
page is for people. `data-requires-python` is not read, because the file itself says it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from wheelyard.sources.web.anchors import Scanner

YANKED: Final = "data-yanked"
BASE_LIMIT: Final = 2048
"""Characters of a base, which goes into every link."""
_CHARSET: Final = re.compile(r"charset\s*=\s*\"?([A-Za-z0-9_.:-]+)", re.ASCII)
_CODECS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(("us-ascii", "iso-8859-1", "latin1", "windows-1252"), "cp1252"),
        **dict.fromkeys(("iso-8859-15", "latin9"), "iso8859-15"),
    }
)
"""What else than UTF-8 is read: each in linear time, without a fault."""


class BadLinks(ValueError):
    """A page has links that no index has; says in a few words why."""


@dataclass(frozen=True, slots=True)
class Link:
    """An anchor."""

    href: str
    yanked: str | None
    """The reason, which may be empty; None if it is not yanked."""


@dataclass(frozen=True, slots=True)
class Links:
    """All anchors of a page, and what their references are relative to."""

    base: str
    found: list[Link] = field(default_factory=list)


def read_links(body: bytes, content_type: str, limit: int) -> Links:
    """
    Return the anchors of a page, in their order; a page of nonsense has none.

    Raises:
        BadLinks: There are more than `limit`, or their base is too long.
    """
    base, found = "", list[Link]()
    for tag in Scanner(_decoded(body, content_type)).tags():
        href = tag.attributes.get("href")
        if not href:
            continue
        if tag.name == "base":
            base = base or href
        else:
            found.append(Link(href, tag.attributes.get(YANKED)))
        if len(found) > limit:
            raise BadLinks(f"it has more than {limit} links")
    if len(base) > BASE_LIMIT:
        raise BadLinks("the base of its links is too long")
    return Links(base, found)


def _decoded(body: bytes, content_type: str) -> str:
    named = _CHARSET.search(content_type)
    codec = _CODECS.get(named[1].lower(), "utf-8") if named else "utf-8"
    return body.decode(codec, errors="replace")
