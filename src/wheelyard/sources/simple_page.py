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
"""Characters of the base URL, which becomes a part of every relative link."""
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
_READ_ATTRIBUTES: Final = MappingProxyType(
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
"""The elements that are read, and their attributes that are."""
_CLOSING_TAGS: Final = MappingProxyType(
    {
        name: re.compile(f"</{name}(?=[ \\t\\n\\r\\f/>])", re.IGNORECASE | re.ASCII)
        for name in ["script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"]
    }
)
"""Elements that contain only text, and the patterns of their closing tags."""

_MISSING: Final = Raw()
"""A value that a page in JSON does not have."""


class Link(Struct, frozen=True):
    """An anchor (`<a href>`) of an HTML page, and what it says of the file that it links."""

    href: str
    yanked: str | None
    """The reason, which may be empty, or None if the file is not yanked."""
    requires_python: str | None = None
    core_metadata: str | None = None
    """`true` or `sha256=...`, or None if the link says nothing of core metadata."""
    provenance: str | None = None
    """The URL of the file's provenance (PEP 740), or None if the link names none."""


class HtmlPage(Struct, frozen=True):
    """What an HTML page says in its links and `<meta name>` elements."""

    base: str
    """The base URL of the links, or empty if the page names none."""
    links: list[Link]
    meta: list[tuple[str, str]]
    """Name and content, in the order of the page."""


def read_links(body: bytes | bytearray, content_type: str, limit: int) -> tuple[str, list[Link]]:
    """
    Return the base URL of a page, which is empty if the page names none, and its anchors.

    `content_type` tells the charset. Raises FetchError if the page has more than `limit` anchors,
    or `<meta>` elements, or its base URL is too long.
    """
    page = read_page(body.decode("latin-1"), content_type, limit)
    return page.base, page.links


def read_page(latin_text: str, content_type: str, limit: int) -> HtmlPage:
    """
    Return the links and the `<meta>` elements of a page, whose bytes were decoded as Latin-1.

    `content_type` tells the charset, which is UTF-8 if it names none. Raises FetchError if the page
    has more than `limit` anchors, or `<meta>` elements, or its base URL is too long.
    """
    codec = "utf-8"
    charset = _CHARSET.search(content_type)
    if charset is not None and charset[1].lower() in LATIN_CHARSETS:
        codec = "cp1252"
    base = ""
    links = list[Link]()
    meta = list[tuple[str, str]]()
    for name, attributes in _tags(latin_text, codec):
        href = attributes.get("href")
        if href and name == "base":
            base = base or href  # the first base counts, as in a browser
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
    # many indexes use the name of PEP 658 alone, which PEP 714 has renamed
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
    Yield the name of each complete start tag that is read, in lower case, with its attributes.

    Only the tags and attributes of `_READ_ATTRIBUTES` are read. The values of attributes are
    decoded by `codec`.
    """
    position = 0
    while match := _MARKUP.search(text, position):
        if match["name"] is None:
            position = _end_of_markup(text, match)
            continue
        name = match["name"].lower()
        position = match.end()
        attributes: dict[str, str] = {}
        read_attributes = _READ_ATTRIBUTES.get(name, frozenset())
        while (match := _ATTRIBUTE.match(text, position)) and match["key"]:
            position = match.end()
            # the first of two attributes with one name counts; there may be many other attributes
            key = match["key"].lower()
            if key in read_attributes:
                value = match["double"] or match["single"] or match["bare"] or ""
                attributes.setdefault(key, _decoded_value(value, codec))
        if not match or not match["end"]:  # the page ends within the tag
            return
        position = match.end()
        if read_attributes:
            yield name, attributes
        # a link within a script or a title does not count
        if name in _CLOSING_TAGS:
            closing = _CLOSING_TAGS[name].search(text, position)
            position = closing.start() if closing else len(text)


def _end_of_markup(text: str, match: re.Match[str]) -> int:
    """Return where a comment, a closing tag or a declaration ends, which is not read."""
    if match["comment"]:
        ending = "-->"
        # the dashes of `<!-->` begin the comment and end it
        end = text.find(ending, match.end() - len("--"))
    else:
        ending = ">"
        end = text.find(ending, match.end())
    if end < 0:
        return len(text)
    return end + len(ending)


def _decoded_value(latin_value: str, codec: str) -> str:
    """Return the value of an attribute, whose bytes were decoded as Latin-1, by its charset."""
    value = latin_value.encode("latin-1").decode(codec, errors="replace")
    # unescape raises an error for a number with thousands of digits
    if len(value) > UNESCAPE_LIMIT:
        return value
    return html.unescape(value)


@dataclass(frozen=True, slots=True)
class FetchedPage:
    """A page with its whole body, decompressed."""

    url: Url
    """The URL after all redirects."""
    content_type: str
    body: bytearray = field(repr=False)
    etag: str = ""


class PageEntry(Struct, rename="kebab"):
    """A file of a page, in HTML or JSON. What HTML says of it has the types that JSON has."""

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
    """The files, and of a page in HTML all links. None if a page in JSON has no list of files."""
    projects: Iterator[object] | None = None
    """The projects that a page in JSON lists, or None: in HTML they are among the links."""
    version: object = UNSET
    name: object = UNSET
    status: object = None
    reason: object = None
    locations: object = None
    versions: object = None


class _Document(Struct, rename="kebab"):
    meta: Raw = _MISSING
    name: Raw = _MISSING
    files: list[Raw] | None = None
    projects: list[Raw] | None = None
    versions: Raw = _MISSING
    project_status: Raw = _MISSING
    alternate_locations: Raw = _MISSING


_DOCUMENTS: Final = msgspec.json.Decoder(_Document)
_ENTRIES: Final = msgspec.json.Decoder(PageEntry)


def read_simple_page(page: FetchedPage, limit: int) -> SimplePage:
    """
    Return what a page of at most `limit` files or links says.

    The page is JSON if its content type says so, or its body begins with `{"`. The files and
    projects of the result can be read once. Raises FetchError if the page is unusable, or lists
    more than `limit`.
    """
    # a page in a folder or a bucket has no content type
    if "json" in page.content_type.lower() or page.body[:64].lstrip().startswith(b'{"'):
        return _in_json(page, limit)
    return _in_html(page, limit)


def _in_json(page: FetchedPage, limit: int) -> SimplePage:
    """Return what a page in JSON says, or raise FetchError if the page is unusable."""
    # before it is decoded: millions of small values take many times the memory of their text
    if page.body.count(b",") > COMMAS_PER_FILE * limit:
        raise FetchError("its page lists too much")
    try:
        document = _DOCUMENTS.decode(page.body)
    except (ValueError, RecursionError) as error:
        raise FetchError("its page is not the JSON that it should be") from error

    # entries are decoded one by one, while they are read: all at once they need too much memory
    files: Iterator[PageEntry] | None = None
    if document.files is not None:
        if len(document.files) > limit:
            raise FetchError(f"its page lists more than {limit} files")
        files = map(_decoded_entry, document.files)
    projects: Iterator[object] | None = None
    if document.projects is not None:
        projects = map(_decoded_json, document.projects)
    version: object = UNSET
    meta = _decoded_json(document.meta)
    if isinstance(meta, dict):
        version = meta.get("api-version", UNSET)
    name: object = UNSET
    if document.name != _MISSING:
        name = _decoded_json(document.name)
    status = _decoded_json(document.project_status)
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
        locations=_decoded_json(document.alternate_locations),
        versions=_decoded_json(document.versions, VERSIONS_LIMIT_BYTES),
    )


def _in_html(page: FetchedPage, limit: int) -> SimplePage:
    """Return what a page in HTML says, or raise FetchError if the page is unusable."""
    html_page = read_page(page.body.decode("latin-1"), page.content_type, limit)
    meta = dict(reversed(html_page.meta))  # the first of two elements with one name counts
    location_texts = [
        content for name, content in html_page.meta if name == "pypi:alternate-locations"
    ]
    locations = " ".join(location_texts[:MAX_LOCATION_TAGS]).replace(",", " ")
    base = page.url
    if html_page.base:
        try:
            base = page.url.resolved(html_page.base)
        except BadUrl as error:
            raise FetchError("the base of its links is no URL") from error
    return SimplePage(
        is_html=True,
        base=base,
        files=map(_entry_of_link, html_page.links),
        version=meta.get(VERSION_TAG, UNSET),
        status=meta.get("pypi:project-status"),
        reason=meta.get("pypi:project-status-reason"),
        locations=locations.split(),
    )


def _entry_of_link(link: Link) -> PageEntry:
    """Return what a link says of a file, in the types that JSON has for it."""
    reference, _, fragment = link.href.partition("#")
    path, _, _ = reference.partition("?")
    _, _, filename = path.rpartition("/")
    # digests, or only that there is core metadata
    metadata_text = link.core_metadata or ""
    core_metadata = stated_hashes(metadata_text) or link.core_metadata not in (None, "false")
    # the reason, or true for an empty reason
    yanked = link.yanked or link.yanked is not None
    return PageEntry(
        filename=unquote(filename),
        url=reference,
        hashes=stated_hashes(fragment),
        requires_python=link.requires_python,
        core_metadata=core_metadata,
        yanked=yanked,
        provenance=link.provenance,
    )


def _decoded_entry(raw: Raw) -> PageEntry:
    """Return what a page in JSON says of a file, or an empty entry if that is malformed."""
    with suppress(ValueError, RecursionError):
        if memoryview(raw).nbytes <= ENTRY_LIMIT_BYTES:
            return _ENTRIES.decode(raw)
    return PageEntry()


def _decoded_json(raw: Raw, limit: int = ENTRY_LIMIT_BYTES) -> object:
    """
    Return the decoded JSON of a small value.

    Return None if the value is missing, malformed, or larger than `limit` bytes.
    """
    with suppress(ValueError, RecursionError):
        if memoryview(raw).nbytes <= limit:
            return msgspec.json.decode(raw)
    return None
