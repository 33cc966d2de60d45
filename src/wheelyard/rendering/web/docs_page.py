"""The pages of the documentation and of a search in it: their frame, links and headings."""

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
"""The URL of the site with the documentation of every version."""
DOCS_PATH: Final = "-/docs/"
"""The folder of the documentation, relative to the root of the index."""
LISTED_HEADINGS: Final = 4
"""A page with at least so many headings begins with a list of them."""

_FORGE: Final = DOCUMENTATION.removesuffix("/main/docs")
_LINK_TAG: Final = re.compile(r'<(a href|img src)="([^"]*)"')
"""The tag of a link or a picture. In text and in attributes, `<` is escaped."""
_ABSOLUTE: Final = re.compile(r"#|https?://|mailto:")
"""The beginning of a target that is an anchor of the page, or the same from every page."""
_HEADING: Final = re.compile(r'<h([23]) id="([^"]*)">(.*?)</h\1>')
_HEADING_PIECES: Final = 4
"""Pieces into which a split at `_HEADING` cuts each part: level, id and text, and what follows."""
_TAG: Final = re.compile(r"<[^>]*>")


class DocsHeading(Struct, frozen=True):
    """A heading with an id, so that links can lead to it."""

    name: str
    """The id of the heading."""
    text: str
    is_part: bool
    """Whether the heading stands below another heading."""


class DocsContent(Struct, frozen=True, kw_only=True):
    """The content of a page of the documentation."""

    title: str
    path: str
    """The path of the page below the front page: `deploy/linux/`."""
    source: str
    """The path of the page's Markdown in the folder of the documentation: `deploy/linux.md`."""
    html: Markup
    """The rendered Markdown, whose links still lead to files."""
    parent: str
    """The title of the main page of the folder, or an empty text if this is the main page."""


class LinkTargets(Struct, frozen=True):
    """The places to which links in the documentation of one version can lead."""

    version: str
    """The version of wheelyard that the documentation is about."""
    pages: Mapping[str, str]
    """The paths of all pages below the front page, by the paths of their Markdown."""
    files: Collection[str]
    """The paths of all files that are no pages, such as pictures."""
    sizes: Mapping[str, tuple[int, int]] = {}
    """The width and the height of each picture, by its path."""

    def resolve(self, target: str, source: str) -> str:
        """
        Return the target of a link as a path below the front page, or as an absolute URL.

        `target` is what the Markdown at `source` has. A file that is not in the documentation is
        at the forge, where the URL leads to this version of the file.
        """
        if _ABSOLUTE.match(target):
            return target
        # a link is relative to the file with the Markdown, as the forge resolves links, too
        path, hash_sign, anchor = urljoin(f"/docs/{source}", target).partition("#")
        docs_path = path.removeprefix("/docs/")
        if docs_path in self.pages:
            return f"{self.pages[docs_path]}{hash_sign}{anchor}"
        if docs_path in self.files:
            return docs_path
        return f"{_FORGE}/{forge_reference(self.version)}{path}{hash_sign}{anchor}"


def docs_page(
    environment: PageEnvironment, viewer: Viewer, content: DocsContent, targets: LinkTargets
) -> bytes:
    """Return the bytes of a page of the documentation, whose links are resolved by `targets`."""
    html = Markup(_resolve_links(content, targets))  # noqa: S704 - only links were changed
    headings = list(_parse_headings(html))
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


def _resolve_links(content: DocsContent, targets: LinkTargets) -> str:
    """Return the HTML of a page, with its links resolved and with the sizes of its pictures."""
    to_front = way_to_front(content.path)
    # as plain text: a text that is added to `Markup` would be escaped
    source_html = str(content.html)
    html = ""
    end = 0
    for tag in _LINK_TAG.finditer(source_html):
        name_and_attribute, escaped_target = tag.groups()
        target = targets.resolve(unescape(escaped_target), content.source)
        size = ""
        if target in targets.sizes:
            # with its size, the picture moves nothing once it is there
            width, height = targets.sizes[target]
            size = f' width="{width}" height="{height}"'
        if not _ABSOLUTE.match(target):
            target = f"{to_front}{target}"
        html += source_html[end : tag.start()]
        html += f'<{name_and_attribute}="{Markup.escape(target)}"{size}'
        end = tag.end()
    return html + source_html[end:]


def _parse_headings(html: str) -> Iterator[DocsHeading]:
    """Yield the headings of a page below its title."""
    for level, name, text in _HEADING.findall(html):
        yield _heading(level, name, text)


def _heading(level: str, name: str, text: str) -> DocsHeading:
    """Return a heading by its level, its id and its text as HTML."""
    words = Markup(text).striptags()  # noqa: S704 - our own documentation
    return DocsHeading(name, words, is_part=level == "3")


class SearchedPage(Struct, frozen=True):
    """The parts of a page of the documentation that a search looks in."""

    path: str
    title: str
    text: str
    """The Markdown of the page."""
    html: str = ""
    """The rendered Markdown, or empty if it is not there now: then no heading is found."""


class DocsMatch(Struct, frozen=True):
    """A page that a search finds, with the headings of the parts that have all words."""

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
    Return the bytes of the page with the results of a search in the documentation.

    A page is found if it has all words, in upper or lower case. Without words, all pages are found.
    """
    folded_words = words.casefold().split()
    ranked: list[tuple[tuple[bool, bool], DocsMatch]] = []
    for page in pages:
        rank_and_match = _match_page(page, folded_words)
        if rank_and_match is not None:
            ranked.append(rank_and_match)
    # pages of equal rank keep their order
    ranked.sort(key=itemgetter(0))
    return environment.render(
        "docs_search.html",
        viewer,
        way_to_root(""),
        found=[page for _, page in ranked],
        words=words,
        version=version,
    )


def _match_page(
    page: SearchedPage, words: Sequence[str]
) -> tuple[tuple[bool, bool], DocsMatch] | None:
    """
    Return the rank of a page and what a search finds in it, or None if the page lacks a word.

    The page with the least rank is the first. Pages with all words in the title or in one heading
    come before the others, and of these, pages with all words in one part come first.
    """
    if not _has_all_words(f"{page.title}\n{page.text}", words):
        return None
    # the text above the first heading, and then for each heading its groups and the text below
    top, *pieces = _HEADING.split(page.html)
    headings: list[DocsHeading] = []
    is_in_title = _has_all_words(page.title, words)
    is_in_part = _has_all_words(_TAG.sub(" ", top), words)
    for start in range(0, len(pieces), _HEADING_PIECES):
        level, name, text, content = pieces[start : start + _HEADING_PIECES]
        heading = _heading(level, name, text)
        content_text = _TAG.sub(" ", content)
        if _has_all_words(heading.text, words):
            is_in_title = True
            headings.append(heading)
        elif _has_all_words(f"{heading.text}\n{content_text}", words):
            headings.append(heading)
    if headings:
        is_in_part = True
    # False sorts before True
    rank = (not is_in_title, not is_in_part)
    return rank, DocsMatch(page.path, page.title, tuple(headings))


def _has_all_words(text: str, words: Iterable[str]) -> bool:
    """Return whether a text, or HTML without tags, has all `words`, which are case-folded."""
    folded_text = unescape(text).casefold()
    return all(word in folded_text for word in words)


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
