"""
Reader of pages of the Simple API, in JSON or HTML, and of directory listings.

Follows the simple repository API (PEPs 503, 592, 691, 700, 708, 714, 792). A page is written by a
stranger: one that is unusable as a whole raises FetchError, and nothing else is ever raised. Each
value may be of any type, and one that is malformed or too large is as if it was missing.

A page may have 64 MiB: its JSON is read where it is, file by file.

Of HTML, what counts is `<a href>`, `<base href>`, `<meta name>` and the attributes `data-yanked`,
`data-requires-python`, `data-core-metadata`, `data-provenance`. Everything else is ignored.

Comments, quoted values, and elements that contain only text are parsed as in the HTML standard. The
time is linear in the length of any page: patterns are possessive, and an unclosed element extends
to the end (`html.parser` takes quadratic time there). Malformed markup raises nothing. The page is
searched as Latin-1, one byte for each character, and only the values that count are decoded: one
character outside of Unicode's first plane would else make the text four times as large.
"""

import html
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote

import msgspec
from msgspec import UNSET, Raw, Struct

from wheelyard.http_client.hosts import FetchError
from wheelyard.http_client.urls import BadUrl, Url
from wheelyard.sources.candidate import stated_hashes

YANKED_ATTRIBUTE: Final = "data-yanked"
BASE_LIMIT: Final = 2048
"""Characters of the base URL, which every link contains."""
UNESCAPE_LIMIT: Final = 4096
"""Characters of a value. References such as `&amp;` in a longer value are not decoded."""
ACCEPT: Final = (
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, "
    "text/html;q=0.01"
)
"""The header Accept of a request for a page (PEP 691)."""
VERSION_TAG: Final = "pypi:repository-version"
ENTRY_LIMIT_BYTES: Final = 64 * 1024
"""Bytes of one file or project in a JSON page, and of each other value that is read."""
VERSIONS_LIMIT_BYTES: Final = 1024 * 1024
"""Bytes of the list of versions in a JSON page."""
COMMAS_PER_FILE: Final = 20
"""Commas in a JSON page, for each file that it may have. Each could be a value in memory."""
MAX_LOCATION_TAGS: Final = 100
"""Elements of an HTML page that are looked at for alternate locations."""
_CHARSET: Final = re.compile(r"charset\s*=\s*\"?([A-Za-z0-9_.:-]+)", re.ASCII)
LATIN_CHARSETS: Final = frozenset({"us-ascii", "iso-8859-1", "latin1", "windows-1252"})
"""Charsets that are decoded as windows-1252, as browsers do. All others are UTF-8."""
_MARKUP: Final = re.compile(r"<(?:!(?P<comment>--)|[!?/]|(?P<name>[A-Za-z][^ \t\n\r\f/>]*+))")
_ATTRIBUTE: Final = re.compile(
    r"""
    [ \t\n\r\f/]*+
    (?: (?P<end> > | \Z )
    |   (?P<key> [^>] [^ \t\n\r\f/>=]*+ )
        (?: [ \t\n\r\f]*+ = [ \t\n\r\f]*+
            (?: "(?P<double>[^"]*+)(?:"|\Z) | '(?P<single>[^']*+)(?:'|\Z)
            |   (?P<bare>[^ \t\n\r\f>]*+) ) )?
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
                "data-provenance",
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

_NOTHING: Final = Raw()


class Link(Struct, frozen=True):
    """An anchor (`<a href>`) of an HTML page, and what it says of the file that it links."""

    href: str
    yanked: str | None
    """The reason, which may be empty, or None if it is not yanked."""
    requires_python: str | None = None
    core_metadata: str | None = None
    """`true` or `sha256=...`, or None if the link says nothing of core metadata."""
    provenance: str | None = None
    """The URL of its provenance (PEP 740), or None if the link says none."""


class HtmlPage(Struct, frozen=True):
    """What an HTML page says in its links and `<meta name>` elements."""

    base: str
    """The base URL of the links, or empty if the page names none."""
    links: list[Link]
    meta: list[tuple[str, str]]
    """Name and content, in the order of the page."""


def read_links(body: bytes | bytearray, content_type: str, limit: int) -> tuple[str, list[Link]]:
    """
    Return the base URL of a page, which is empty if it names none, and its anchors.

    `content_type` tells the charset. Raises FetchError if it has more than `limit` anchors, or
    `<meta>` elements, or the base URL is too long.
    """
    page = read_page(body.decode("latin-1"), content_type, limit)
    return page.base, page.links


def read_page(latin: str, content_type: str, limit: int) -> HtmlPage:
    """
    Return the links and the `<meta>` elements of a page, whose bytes were decoded as Latin-1.

    `content_type` tells the charset, which is UTF-8 if it names none. Raises FetchError if it has
    more than `limit` anchors, or `<meta>` elements, or the base URL is too long.
    """
    codec = "utf-8"
    charset = _CHARSET.search(content_type)
    if charset is not None and charset[1].lower() in LATIN_CHARSETS:
        codec = "cp1252"
    base = ""
    links = list[Link]()
    meta = list[tuple[str, str]]()
    for name, attributes in _tags(latin, codec):
        href = attributes.get("href")
        if href and name == "base":
            base = base or href  # the first one counts, as in a browser
        elif href and name == "a":
            links.append(_link(href, attributes))
        elif name == "meta":
            meta.append((attributes.get("name", ""), attributes.get("content", "")))
        # while the page is read: a hostile one must not fill the memory first
        if len(links) > limit or len(meta) > limit:
            raise FetchError(f"it has more than {limit} links")
    if len(base) > BASE_LIMIT:
        raise FetchError("the base of its links is too long")
    return HtmlPage(base, links, meta)


def _link(href: str, attributes: Mapping[str, str]) -> Link:
    """Return an anchor with what its attributes say of the file."""
    # PEP 714: many indexes have it under the name of PEP 658 alone
    core_metadata = attributes.get("data-core-metadata")
    if core_metadata is None:
        core_metadata = attributes.get("data-dist-info-metadata")
    return Link(
        href=href,
        yanked=attributes.get(YANKED_ATTRIBUTE),
        requires_python=attributes.get("data-requires-python"),
        core_metadata=core_metadata,
        provenance=attributes.get("data-provenance"),
    )


def _tags(text: str, codec: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """
    Yield the name of each complete start tag of `_KEPT`, in lower case, with its attributes there.

    Their values are decoded by `codec`.
    """
    at = 0
    while match := _MARKUP.search(text, at):
        if match["name"] is None:
            if match["comment"]:
                # the dashes of `<!-->` begin the comment and end it
                ending = "-->"
                end = text.find(ending, match.end() - 2)
            else:
                ending = ">"
                end = text.find(ending, match.end())
            at = len(text) if end < 0 else end + len(ending)
            continue
        name = match["name"].lower()
        at = match.end()
        attributes: dict[str, str] = {}
        kept = _KEPT.get(name, frozenset())
        while (match := _ATTRIBUTE.match(text, at)) and match["key"]:
            at = match.end()
            # the first of two attributes with one name counts; there may be many other attributes
            key = match["key"].lower()
            if key in kept:
                value = match["double"] or match["single"] or match["bare"] or ""
                value = value.encode("latin-1").decode(codec, errors="replace")
                # unescape raises an error for a number with thousands of digits
                if len(value) <= UNESCAPE_LIMIT:
                    value = html.unescape(value)
                attributes.setdefault(key, value)
        if not match or not match["end"]:  # the page ends within the tag
            return
        at = match.end()
        if kept:
            yield name, attributes
        # what looks like a link in a script or a title is none
        if name in _TEXT:
            closing = _TEXT[name].search(text, at)
            at = closing.start() if closing else len(text)


@dataclass(frozen=True, slots=True)
class FetchedPage:
    """A page with its whole body, decompressed."""

    url: Url
    """The URL after all redirects."""
    content_type: str
    body: bytearray = field(repr=False)
    etag: str = ""


class PageEntry(Struct, rename="kebab"):
    """A file of a page. A digest of HTML is in mappings as it is in JSON."""

    filename: object = None
    url: object = None
    """Relative to the base of the page, or absolute."""
    hashes: object = None
    size: object = None
    upload_time: object = None
    requires_python: object = None
    core_metadata: object = None
    dist_info_metadata: object = None
    yanked: object = None
    provenance: object = None


class SimplePage(Struct, frozen=True, kw_only=True):
    """What a page says. A value is UNSET or None if the page does not say it."""

    is_html: bool
    base: Url
    """The base of the URLs of its files."""
    files: Iterator[PageEntry] | None
    """In HTML all links. None if a page in JSON has no list of files."""
    projects: Iterator[object] | None = None
    """Of a page in JSON."""
    version: object = UNSET
    name: object = UNSET
    status: object = None
    reason: object = None
    locations: object = None
    versions: object = None


class _Document(Struct, rename="kebab"):
    meta: Raw = _NOTHING
    name: Raw = _NOTHING
    files: list[Raw] | None = None
    projects: list[Raw] | None = None
    versions: Raw = _NOTHING
    project_status: Raw = _NOTHING
    alternate_locations: Raw = _NOTHING


_DOCUMENTS: Final = msgspec.json.Decoder(_Document)
_ENTRIES: Final = msgspec.json.Decoder(PageEntry)


def read_simple_page(page: FetchedPage, limit: int) -> SimplePage:
    """
    Return what a page of at most `limit` files or links says.

    It is JSON if its content type says so, or its body begins with `{"`. Its files and projects can
    be read once. Raises FetchError if it is unusable, or lists more.
    """
    # a page in a folder or a bucket has no content type
    if "json" in page.content_type.lower() or page.body[:64].lstrip().startswith(b'{"'):
        return _in_json(page, limit)
    return _in_html(page, limit)


def _in_json(page: FetchedPage, limit: int) -> SimplePage:
    """Return what a page in JSON says, or raise FetchError if it is unusable."""
    # before it is decoded: millions of small values take many times the memory of their text
    if page.body.count(b",") > COMMAS_PER_FILE * limit:
        raise FetchError("its page lists too much")
    try:
        document = _DOCUMENTS.decode(page.body)
    except (ValueError, RecursionError) as error:
        raise FetchError("its page is not the JSON that it should be") from error

    # the entries are decoded one by one, as they are read: all at once need too much memory
    files: Iterator[PageEntry] | None = None
    if document.files is not None:
        if len(document.files) > limit:
            raise FetchError(f"its page lists more than {limit} files")
        files = map(_entry, document.files)
    projects: Iterator[object] | None = None
    if document.projects is not None:
        projects = map(_value, document.projects)
    version: object = UNSET
    meta = _value(document.meta)
    if isinstance(meta, dict):
        version = meta.get("api-version", UNSET)
    name: object = UNSET
    if document.name != _NOTHING:
        name = _value(document.name)
    status = _value(document.project_status)
    if not isinstance(status, dict):
        status = {}
    return SimplePage(
        is_html=False,
        base=page.url,
        files=files,
        projects=projects,
        version=version,
        name=name,
        status=status.get("status"),
        reason=status.get("reason"),
        locations=_value(document.alternate_locations),
        versions=_value(document.versions, VERSIONS_LIMIT_BYTES),
    )


def _in_html(page: FetchedPage, limit: int) -> SimplePage:
    """Return what a page in HTML says, or raise FetchError if it is unusable."""
    html = read_page(page.body.decode("latin-1"), page.content_type, limit)
    meta = dict(reversed(html.meta))  # the first of two counts
    locations = [content for name, content in html.meta if name == "pypi:alternate-locations"]
    base = page.url
    if html.base:
        try:
            base = page.url.resolved(html.base)
        except BadUrl as error:
            raise FetchError("the base of its links is no URL") from error
    return SimplePage(
        is_html=True,
        base=base,
        files=map(_entry_of_link, html.links),
        version=meta.get(VERSION_TAG, UNSET),
        status=meta.get("pypi:project-status"),
        reason=meta.get("pypi:project-status-reason"),
        locations=" ".join(locations[:MAX_LOCATION_TAGS]).replace(",", " ").split(),
    )


def _entry_of_link(link: Link) -> PageEntry:
    """Return what a link says of a file, in the types that JSON has for it."""
    reference, _, fragment = link.href.partition("#")
    path, _, _ = reference.partition("?")
    _, _, filename = path.rpartition("/")
    metadata = link.core_metadata
    return PageEntry(
        filename=unquote(filename),
        url=reference,
        hashes=stated_hashes(fragment),
        requires_python=link.requires_python,
        # digests, or only that there is some
        core_metadata=stated_hashes(metadata or "") or metadata not in (None, "false"),
        # the reason, or true for an empty one
        yanked=link.yanked or link.yanked is not None,
        provenance=link.provenance,
    )


def _entry(raw: Raw) -> PageEntry:
    """Return what a page in JSON says of a file, which is nothing if that is malformed."""
    with suppress(ValueError, RecursionError):
        if memoryview(raw).nbytes <= ENTRY_LIMIT_BYTES:
            return _ENTRIES.decode(raw)
    return PageEntry()


def _value(raw: Raw, limit: int = ENTRY_LIMIT_BYTES) -> object:
    """
    Return the decoded JSON of a small value.

    Return None if it is missing, too large or malformed.
    """
    with suppress(ValueError, RecursionError):
        if memoryview(raw).nbytes <= limit:
            return msgspec.json.decode(raw)
    return None
