"""The pages of the documentation: their frame, and where their links lead."""

import re
from collections.abc import Collection, Mapping
from html import unescape
from typing import Final
from urllib.parse import urljoin

from markupsafe import Markup
from msgspec import Struct
from packaging.version import Version

from wheelyard.errors import DOCUMENTATION
from wheelyard.rendering.web.environment import ANYONE, PageEnvironment

PUBLIC_SITE: Final = "https://wheelyard.github.io/wheelyard/"
"""Has the documentation of every version."""
DOCS_PATH: Final = "-/docs/"
"""The folder of the documentation, relative to the root of the index."""
LISTED_HEADINGS: Final = 4
"""A page with so many headings begins with a list of them."""

_FORGE: Final = DOCUMENTATION.removesuffix("/main/docs")
_TARGET: Final = re.compile(r'<(a href|img src)="([^"]*)"')
"""A link or a picture: in text and in attributes, `<` is escaped."""
_ABSOLUTE: Final = re.compile(r"#|https?://|mailto:")
"""Matches what leads to the same place from any page, or is an anchor of this one."""
_HEADING: Final = re.compile(r'<h2 id="([^"]*)">(.*?)</h2>')


class DocsContent(Struct, frozen=True, kw_only=True):
    """What a page of the documentation shows."""

    title: str
    path: str
    """The path of the page below the front page: `deploy/linux/`."""
    source: str
    """The path of its Markdown in the folder of the documentation: `deploy/linux.md`."""
    html: Markup
    """With links to files, as in the Markdown."""
    parent: str
    """The title of the page that the folder has, if this is another page of it."""


class LinkTargets(Struct, frozen=True):
    """What the documentation of a version has, and where all else of that version is."""

    version: str
    """The version of wheelyard that it is about."""
    pages: Mapping[str, str]
    """The paths of all pages, by those of their Markdown."""
    files: Collection[str]
    """The paths of what is no page."""

    def resolve(self, target: str, source: str) -> str:
        """
        Return where a link in the Markdown at `source` leads: below the front page, or elsewhere.

        What is not in the documentation is at the forge, as it was when this version was released.
        """
        if _ABSOLUTE.match(target):
            return target
        path, mark, anchor = urljoin(f"/docs/{source}", target).partition("#")
        name = path.removeprefix("/docs/")
        if name in self.pages:
            return f"{self.pages[name]}{mark}{anchor}"
        if name in self.files:
            return name
        return f"{_FORGE}/{forge_reference(self.version)}{path}{mark}{anchor}"


def docs_page(environment: PageEnvironment, content: DocsContent, targets: LinkTargets) -> bytes:
    """Return the bytes of a page of the documentation."""
    to_front = way_to_front(content.path)

    def lead(tag: re.Match[str]) -> str:
        target = targets.resolve(unescape(tag[2]), content.source)
        link = target if _ABSOLUTE.match(target) else f"{to_front}{target}"
        return f'<{tag[1]}="{Markup.escape(link)}"'

    html = Markup(_TARGET.sub(lead, content.html))  # noqa: S704 - only links were changed
    headings = [(name, Markup(text).striptags()) for name, text in _HEADING.findall(html)]  # noqa: S704
    return environment.render(
        "docs.html",
        ANYONE,  # the same for all, also for whoever cannot sign in
        way_to_root(content.path),
        page=content,
        html=html,
        headings=headings if len(headings) >= LISTED_HEADINGS else [],
        to_front=to_front,
        version=targets.version,
    )


def way_to_front(path: str) -> str:
    """Return the relative URL of the front page, from the page at `path` below it."""
    return "../" * path.count("/") or "./"


def way_to_root(path: str) -> str:
    """Return the relative URL of the home page of the index, from a page of the documentation."""
    return "../" * (path + DOCS_PATH).count("/")


def forge_reference(current: str) -> str:
    """Return the tag of a version, or the branch if the version was never released."""
    parsed = Version(current)
    return "main" if parsed.is_devrelease or parsed.local else f"v{current}"
