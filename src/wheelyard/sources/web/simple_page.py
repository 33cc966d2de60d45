"""
Reader of the pages of the Simple API, in JSON or HTML: what a page says, whatever it means.

Follows the simple repository API (PEPs 503, 592, 691, 700, 708, 714, 792). A page is written by a
stranger: one that is unusable as a whole raises FetchError, and nothing else is ever raised. Each
value may be of any type, and one that is malformed or too large is as if it was missing.

A page may have 64 MiB: its JSON is read where it is, file by file.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

import msgspec
from msgspec import UNSET, Raw, Struct

from wheelyard.http_client.address_policy import FetchError
from wheelyard.http_client.urls import BadUrl, Url
from wheelyard.sources.candidate import stated_hashes
from wheelyard.sources.web.html_links import Link, read_page

ACCEPT: Final = (
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, "
    "text/html;q=0.01"
)
VERSION_TAG: Final = "pypi:repository-version"
ENTRY_LIMIT_BYTES: Final = 64 * 1024
"""Bytes of one file or project in a JSON page, and of each other value that is read."""
VERSIONS_LIMIT_BYTES: Final = 1024 * 1024
"""Bytes of the list of versions in a JSON page."""
COMMAS_PER_FILE: Final = 20
"""Commas in a JSON page, for each file that it may have; each could be a value in memory."""


@dataclass(frozen=True, slots=True)
class FetchedPage:
    """A page with its whole body, decompressed."""

    url: Url
    """The URL after all redirects."""
    content_type: str
    body: bytearray = field(repr=False)
    etag: str = ""


class PageEntry(Struct, rename="kebab"):
    """A file of a page; a digest of HTML is in mappings as it is in JSON."""

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


class SimplePage(Struct, frozen=True, kw_only=True):
    """What a page says; a value is UNSET or None if the page does not say it."""

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


_NOTHING: Final = Raw()


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
    Return what a page of at most `limit` files or links says; raise FetchError if it is unusable.

    It is JSON if its content type says so, or its body begins with `{"`.
    """
    is_json = "json" in page.content_type.lower() or page.body[:64].lstrip().startswith(b'{"')
    return _in_json(page, limit) if is_json else _in_html(page, limit)


def _in_json(page: FetchedPage, limit: int) -> SimplePage:
    if page.body.count(b",") > COMMAS_PER_FILE * limit:
        raise FetchError("its page lists too much")
    try:
        document = _DOCUMENTS.decode(page.body)
    except (ValueError, RecursionError) as error:
        raise FetchError("its page is not the JSON that it should be") from error
    files, projects = document.files, document.projects
    if files is not None and len(files) > limit:
        raise FetchError(f"its page lists more than {limit} files")
    meta, status = _value(document.meta), _value(document.project_status)
    status = status if isinstance(status, dict) else {}
    return SimplePage(
        is_html=False,
        base=page.url,
        files=None if files is None else map(_entry, files),
        projects=None if projects is None else map(_value, projects),
        version=meta.get("api-version", UNSET) if isinstance(meta, dict) else UNSET,
        name=UNSET if document.name == _NOTHING else _value(document.name),
        status=status.get("status"),
        reason=status.get("reason"),
        locations=_value(document.alternate_locations),
        versions=_value(document.versions, VERSIONS_LIMIT_BYTES),
    )


def _in_html(page: FetchedPage, limit: int) -> SimplePage:
    html = read_page(page.body.decode("latin-1"), page.content_type, limit)
    meta = dict(reversed(html.meta))  # the first of two counts
    locations = [content for name, content in html.meta if name == "pypi:alternate-locations"]
    try:
        base = page.url.resolved(html.base) if html.base else page.url
    except BadUrl as error:
        raise FetchError("the base of its links is no URL") from error
    return SimplePage(
        is_html=True,
        base=base,
        files=map(_linked, html.links),
        version=meta.get(VERSION_TAG, UNSET),
        status=meta.get("pypi:project-status"),
        reason=meta.get("pypi:project-status-reason"),
        locations=" ".join(locations[:100]).replace(",", " ").split(),
    )


def _linked(link: Link) -> PageEntry:
    reference, _, fragment = link.href.partition("#")
    metadata = link.core_metadata
    return PageEntry(
        filename=unquote(reference.partition("?")[0].rpartition("/")[2]),
        url=reference,
        hashes=stated_hashes(fragment),
        requires_python=link.requires_python,
        core_metadata=stated_hashes(metadata or "") or metadata not in (None, "false"),
        yanked=link.yanked or link.yanked is not None,
    )


def _entry(raw: Raw) -> PageEntry:
    with suppress(ValueError, RecursionError):
        if memoryview(raw).nbytes <= ENTRY_LIMIT_BYTES:
            return _ENTRIES.decode(raw)
    return PageEntry()


def _value(raw: Raw, limit: int = ENTRY_LIMIT_BYTES) -> object:
    """Return the decoded JSON of a small value; None if it is missing, too large or malformed."""
    with suppress(ValueError, RecursionError):
        if memoryview(raw).nbytes <= limit:
            return msgspec.json.decode(raw)
    return None
