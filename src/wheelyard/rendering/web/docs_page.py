"""The pages of the documentation: their frame, and where their links lead."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from html import unescape
from operator import itemgetter
from typing import Final
from urllib.parse import urljoin

from markupsafe import Markup
from msgspec import Struct
from packaging.version import Version

from wheelyard.errors import DOCUMENTATION
from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.viewer import Viewer

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
_HEADING: Final = re.compile(r'<h([23]) id="([^"]*)">(.*?)</h\1>')
_TAG: Final = re.compile(r"<[^>]*>")


class DocsHeading(Struct, frozen=True):
    """A heading that one can link to."""

    name: str
    """Its id."""
    text: str
    is_part: bool
    """Whether it is of a part below another heading."""


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
    sizes: Mapping[str, tuple[int, int]] = {}
    """The widths and heights of those of them that are pictures."""

    def resolve(self, target: str, source: str) -> str:
        """
        Return where a link in the Markdown at `source` leads: below the front page, or elsewhere.

        What is not in the documentation is at the forge, as it was when this version was released.
        """
        if _ABSOLUTE.match(target):
            return target
        # a link is relative to its Markdown, as the forge resolves it
        path, mark, anchor = urljoin(f"/docs/{source}", target).partition("#")
        name = path.removeprefix("/docs/")
        if name in self.pages:
            return f"{self.pages[name]}{mark}{anchor}"
        if name in self.files:
            return name
        return f"{_FORGE}/{forge_reference(self.version)}{path}{mark}{anchor}"


def docs_page(
    environment: PageEnvironment, viewer: Viewer, content: DocsContent, targets: LinkTargets
) -> bytes:
    """Return the bytes of a page of the documentation, whose links lead where `targets` says."""
    html = Markup(_with_links(content, targets))  # noqa: S704 - only links were changed
    headings = list(_headings_in(html))
    if len(headings) < LISTED_HEADINGS:
        headings.clear()
    return environment.render(
        "docs.html",
        viewer,
        way_to_root(content.path),
        page=content,
        html=html,
        headings=headings,
        to_front=way_to_front(content.path),
        words="",
        version=targets.version,
    )


def _with_links(content: DocsContent, targets: LinkTargets) -> str:
    """Return the HTML of a page with links that lead where those of its Markdown do."""
    to_front = way_to_front(content.path)
    source = str(content.html)  # as plain text: what is added to `Markup` would be escaped
    html = ""
    end = 0
    for tag in _TARGET.finditer(source):
        # the HTML has `&amp;` where a path has `&`
        link = targets.resolve(unescape(tag[2]), content.source)
        size = ""
        if link in targets.sizes:  # so that nothing moves once the picture is there
            width, height = targets.sizes[link]
            size = f' width="{width}" height="{height}"'
        if not _ABSOLUTE.match(link):
            link = f"{to_front}{link}"
        html += f'{source[end : tag.start()]}<{tag[1]}="{Markup.escape(link)}"{size}'
        end = tag.end()
    return html + source[end:]


def _headings_in(html: str) -> Iterator[DocsHeading]:
    """Yield the headings of a page below its title."""
    for level, name, text in _HEADING.findall(html):
        yield _heading(level, name, text)


def _heading(level: str, name: str, text: str) -> DocsHeading:
    """Return a heading by its level, its id and its text as HTML."""
    words = Markup(text).striptags()  # noqa: S704 - our own documentation
    return DocsHeading(name, words, is_part=level == "3")


class SearchedPage(Struct, frozen=True):
    """A page of the documentation, as far as a search looks at it."""

    path: str
    title: str
    text: str
    """Its Markdown."""
    html: str = ""
    """Empty if it is not rendered now: then no heading can be linked to."""


class DocsMatch(Struct, frozen=True):
    """A page that a search finds, and its headings with the words in what follows them."""

    path: str
    title: str
    headings: tuple[DocsHeading, ...]


def docs_search_page(
    environment: PageEnvironment,
    viewer: Viewer,
    pages: Iterable[SearchedPage],
    words: str,
    version: str,
) -> bytes:
    """
    Return the bytes of the page with what a search for words finds in the documentation.

    A page is found if it has all words, in any case. So without words, each page is.
    """
    folded = words.casefold().split()
    matches = [_match(page, folded) for page in pages]
    # pages of one rank stay in the order in which they come
    ranked = sorted(filter(None, matches), key=itemgetter(0))
    return environment.render(
        "docs_search.html",
        viewer,
        way_to_root(""),
        found=[page for _, page in ranked],
        words=words,
        version=version,
    )


def _match(page: SearchedPage, words: Sequence[str]) -> tuple[tuple[bool, bool], DocsMatch] | None:
    """
    Return a page that has all words, with its rank among the others: the least is the first.

    First come those with the words in a title or heading, then those with the words in one part.
    """
    if not _has_all(f"{page.title}\n{page.text}", words):
        return None
    # what is above the first heading, and then by turns the groups of a heading and what is below
    top, *parts = _HEADING.split(page.html)
    headings: list[DocsHeading] = []
    is_in_title = _has_all(page.title, words)
    is_in_part = _has_all(_TAG.sub(" ", top), words)
    for start in range(0, len(parts), 4):
        level, name, text, content = parts[start : start + 4]
        heading = _heading(level, name, text)
        if _has_all(heading.text, words):
            is_in_title = True
            headings.append(heading)
        elif _has_all(f"{heading.text}\n{_TAG.sub(' ', content)}", words):
            headings.append(heading)
    # False sorts before True
    rank = (not is_in_title, not (headings or is_in_part))
    return rank, DocsMatch(page.path, page.title, tuple(headings))


def _has_all(text: str, words: Iterable[str]) -> bool:
    """Return whether all folded words are in a text, which may be HTML without tags."""
    folded = unescape(text).casefold()
    return all(word in folded for word in words)


def way_to_front(path: str) -> str:
    """Return the relative URL of the front page, from the page at `path` below it."""
    return "../" * path.count("/") or "./"


def way_to_root(path: str) -> str:
    """Return the relative URL of the home page of the index, from a page of the documentation."""
    return "../" * (path + DOCS_PATH).count("/")


def forge_reference(current: str) -> str:
    """Return the tag of a version, or the branch if the version was never released."""
    parsed = Version(current)
    if parsed.is_devrelease or parsed.local:
        return "main"
    return f"v{current}"
