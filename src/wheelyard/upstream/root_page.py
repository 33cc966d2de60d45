"""
Whether the root of an upstream index is one: the list of all projects, of which the start is read.

Follows the simple repository API (PEPs 503 and 691). A list in JSON, or in HTML with the version of
the API, says itself what it is. Any other HTML page is one if it has nothing but links to folders
that are named as their text is. To be strict costs little: an index is also proven by a page of it.
"""

import re
from contextlib import suppress
from html import unescape
from typing import Final
from urllib.parse import unquote

import msgspec
from msgspec import Struct
from packaging.utils import canonicalize_name, is_normalized_name

from wheelyard.http_client.address_policy import FetchError
from wheelyard.http_client.urls import BadUrl, Url
from wheelyard.sources.candidate import is_distribution_name
from wheelyard.sources.web.html_links import HtmlPage, read_page
from wheelyard.sources.web.simple_page import VERSION_TAG

ROOT_LIMIT_BYTES: Final = 64 * 1024
"""Bytes of a root that are read."""
MAX_CUTS: Final = 10
"""Ends of a JSON object at which a root that is not read whole is cut, in turn."""

ONE_PROJECT: Final = "its root is the page of one project; the name has to be left out of the url"
OTHER_PAGE: Final = "its root is a page of another kind; perhaps its url lacks /simple/ at the end"
NO_PROJECTS: Final = "its root lists no projects"

_ANCHOR: Final = re.compile(r"<a\b[^<>]*+>([^<]*+)</a\s*>", re.IGNORECASE)
_OF_PROJECT: Final = re.compile(r"<title>\s*+links for\b", re.IGNORECASE)
"""The title that indexes give the page of one project, also to one without files."""
_ACTIVE: Final = re.compile(r"<(?:form|script)\b", re.IGNORECASE)


class RootPage(Struct, frozen=True):
    """The start of what an index answers at its root."""

    asked: Url
    """The URL of the settings."""
    url: Url
    """The URL after redirects."""
    content_type: str
    body: bytes
    """Decompressed, at most `ROOT_LIMIT_BYTES`."""
    is_cut: bool
    """Whether there is more of it."""


def why_no_index(root: RootPage) -> str:
    """Return why the answer of a root does not show an index, in a few words; empty if it does."""
    if root.url.path != root.asked.path:
        return f"its root leads to {root.url.redacted}, which has to be its url then"
    kind = root.content_type.partition(";")[0].strip().lower()
    if "json" in kind:
        return _why_not_json(root)
    return _why_not_html(root, kind) if "html" in kind else OTHER_PAGE


def _why_not_json(root: RootPage) -> str:
    document = _document(root)
    if not isinstance(document, dict):
        return OTHER_PAGE
    if "files" in document:
        return ONE_PROJECT
    meta, projects = document.get("meta"), document.get("projects")
    is_simple = _is_version(meta.get("api-version") if isinstance(meta, dict) else None)
    if not is_simple or not isinstance(projects, list):
        return OTHER_PAGE
    has_names = all(isinstance(each, dict) and "name" in each for each in projects)
    return "" if has_names else OTHER_PAGE


def _document(root: RootPage) -> object:
    """Return the JSON of a root, without what was cut off; None if it is none."""
    body = root.body
    for _ in range(MAX_CUTS if root.is_cut else 0):  # an entry may have objects in it
        body = body[: body.rfind(b"}") + 1]
        with suppress(ValueError, RecursionError):
            return msgspec.json.decode(body + b"]}")
        body = body[:-1]
    with suppress(ValueError, RecursionError):
        return msgspec.json.decode(body)
    return None


def _why_not_html(root: RootPage, kind: str) -> str:
    body = root.body
    if root.is_cut:
        body = body[: body.rfind(b"</a>") + len(b"</a>")]
    latin = body.decode("latin-1")
    try:
        page = read_page(latin, root.content_type, len(body))
        names = _names(root.url, page)
    except (FetchError, BadUrl):
        return OTHER_PAGE
    if any(map(is_distribution_name, names)) or _OF_PROJECT.search(latin):
        return ONE_PROJECT
    meta = dict(reversed(page.meta))  # the first of two counts
    if "simple" in kind or _is_version(meta.get(VERSION_TAG)):
        return "" if all(map(_project, names)) else OTHER_PAGE
    if not names:
        return NO_PROJECTS if not page.links else OTHER_PAGE
    texts = [unescape(each).strip() for each in _ANCHOR.findall(latin)]
    # a folder `simple` beside others is the index that is meant
    is_list = len(texts) == len(page.links) and not _ACTIVE.search(latin) and "simple/" not in names
    pairs = zip(names, texts[len(texts) - len(names) :], strict=True)
    are_same = is_list and all(
        name.endswith("/") and _project(name) and _project(name) == _project(text)
        for name, text in pairs
    )
    return "" if are_same else OTHER_PAGE


def _names(root: Url, page: HtmlPage) -> list[str]:
    """
    Return where the links of a root lead, relative to it; absolute if that is somewhere else.

    Links that lead upwards, or sort the page, come first where a web server lists a folder.
    """
    base, names = root.resolved(page.base) if page.base else root, list[str]()
    for link in page.links:
        url = base.resolved(link.href)
        if url.origin == root.origin and root.path.startswith(url.path):
            continue
        is_below = url.origin == root.origin and url.path.startswith(root.path)
        names.append(unquote(url.path.removeprefix(root.path)) if is_below else url.redacted)
    return names


def _project(text: str) -> str:
    """Return the normalised name of a project in a link or its text; empty if there is none."""
    name = canonicalize_name(text.removesuffix("/"))
    return name if is_normalized_name(name) else ""


def _is_version(text: object) -> bool:
    return isinstance(text, str) and text.startswith("1.")
