"""
Parser for the pages of another index: lists of projects and of files, in JSON or HTML.

Follows the simple repository API. A page is JSON if its content type contains `json` or its body
begins with `{"`. Other pages that are understood: nginx's autoindex, whose first link is `../`, and
an index whose root lists files instead of projects (GAEPyPI's `/pypi/`).
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw, Struct
from packaging.utils import canonicalize_name

from wheelyard.errors import quoted
from wheelyard.http_client.address_policy import FetchError
from wheelyard.http_client.urls import BadUrl, Url, redact_url
from wheelyard.sources.candidate import Skipped, SourceItem
from wheelyard.sources.candidate_filter import is_distribution_name, is_sidecar
from wheelyard.sources.field_parsing import BadDigest, parse_digests, parse_hash, parse_iso_date
from wheelyard.sources.web.html_links import Link, read_links
from wheelyard.sources.web.index_client import FetchedPage, IndexClient
from wheelyard.sources.web.resumable_download import ResumableDownload

ACCEPT: Final = (
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, "
    "text/html;q=0.01"
)
INDEX_NAME: Final = "simple"
"""A link on the root page of a server that is not a project."""
PAGES: Final = ("index.html", "index.htm")
MAX_LINKS: Final = 200_000
"""Links of one HTML page, and files of one project."""
MAX_JSON_COMMAS: Final = 4_000_000
"""Commas in one JSON page; a hostile page could fill the memory."""
ENTRY_LIMIT_BYTES: Final = 64 * 1024
"""Bytes of one project or file in a JSON page."""
DOWNGRADE_REASON: Final = "it is linked by http from a page of https"

T = TypeVar("T", bound=Struct)


class ProjectLink(Struct, frozen=True):
    """The name of a project of an index, and the URL of its page."""

    name: str  # normalised
    url: Url


def parse_projects(page: FetchedPage, web: IndexClient) -> Iterator[ProjectLink | SourceItem]:
    """
    Yield the projects of an index's root page, or its files; raise FetchError if it is invalid.

    A `Skipped` is yielded for an invalid entry and a link from https to http.
    """
    document = _decode_json(page)
    if document is not None:
        if document.projects is None:
            raise FetchError("its page lists no projects")
        yield from _projects_in_json(page, document.projects)
        return
    base, links = _read_page_links(page)
    for link in links:
        try:
            url = base.resolved(link.href)
        except BadUrl:
            continue
        name = project_at(base, url)
        if name and page.url.is_secure and not url.is_secure:
            yield Skipped(url.redacted, DOWNGRADE_REASON, is_error=True)
        elif name:
            yield ProjectLink(canonicalize_name(name), url)
        elif is_distribution_name(url.filename):
            yield _file_in_html(page, base, link, web)


def parse_files(page: FetchedPage, web: IndexClient) -> Iterator[SourceItem]:
    """Yield the items of a project's page, without sidecars; raise FetchError if it is invalid."""
    document = _decode_json(page)
    if document is None:
        base, links = _read_page_links(page)
        yield from (found for link in links if (found := _link_in_html(page, base, link, web)))
        return
    if document.files is None:
        raise FetchError("its page lists no files")
    if len(document.files) > MAX_LINKS:
        raise FetchError(f"it has more than {MAX_LINKS} files")
    for entry in document.files:
        if found := _file_in_json(page, entry, web):
            yield found


class _Document(Struct):
    """The keys of a JSON page that are used; other keys are not decoded."""

    projects: list[Raw] | None = None
    files: list[Raw] | None = None


class _Project(Struct):
    name: object = None


class _File(Struct, rename="kebab"):
    filename: object = None
    url: object = None
    hashes: object = None
    size: object = None
    upload_time: object = None
    yanked: object = None


def _decode_json(page: FetchedPage) -> _Document | None:
    """Return the decoded JSON of a page, None if it is HTML; raise FetchError if it is unusable."""
    if "json" not in page.content_type and not page.body.lstrip().startswith(b'{"'):
        return None
    if page.body.count(b",") > MAX_JSON_COMMAS:
        raise FetchError("its page lists too much")
    try:
        return msgspec.json.decode(page.body, type=_Document)
    except (ValueError, RecursionError) as error:
        raise FetchError("its answer is not the JSON that it should be") from error


def _decode_entry(raw: Raw, kind: type[T]) -> T:
    """Return a decoded entry of a list, or one without values if it is malformed or too large."""
    with suppress(ValueError, RecursionError):
        if len(bytes(raw)) <= ENTRY_LIMIT_BYTES:
            return msgspec.json.decode(raw, type=kind)
    return kind()


def _projects_in_json(page: FetchedPage, projects: list[Raw]) -> Iterator[ProjectLink | Skipped]:
    for each in projects:
        name = _decode_entry(each, _Project).name
        if isinstance(name, str) and _is_name(name):
            normal = canonicalize_name(name)
            yield ProjectLink(normal, page.url.child_folder(normal))
        else:
            yield Skipped(page.url.redacted, f"it lists {quoted(name)}", is_error=True)


def _file_in_json(page: FetchedPage, entry: Raw, web: IndexClient) -> SourceItem | None:
    file = _decode_entry(entry, _File)
    filename, reference = file.filename, file.url
    if not isinstance(filename, str) or not isinstance(reference, str):
        return Skipped(page.url.redacted, "one of its files has no name, or no URL", is_error=True)
    if is_sidecar(filename):
        return None
    hashes, size, yanked = file.hashes, file.size, file.yanked
    try:
        url = _resolve_link(page, page.url, reference)
        digests = parse_digests(hashes if isinstance(hashes, dict) else {})
    except (BadUrl, BadDigest) as error:
        location = f"{page.url.redacted}, {quoted(redact_url(filename))}"
        return Skipped(location, str(error), is_error=True)
    return _candidate(
        web,
        url,
        filename,
        hashes=digests,
        size=size if isinstance(size, int) and size >= 0 else None,
        uploaded_at=parse_iso_date(file.upload_time) if file.upload_time else None,
        yanked=(yanked if isinstance(yanked, str) else "") if yanked else None,
    )


def _read_page_links(page: FetchedPage) -> tuple[Url, list[Link]]:
    base, found = read_links(page.body, page.content_type, MAX_LINKS)
    try:
        return (page.url.resolved(base) if base else page.url), found
    except BadUrl as error:
        raise FetchError("the base of its links is no URL") from error


def project_at(base: Url, url: Url) -> str:
    """Return the name of the project that a link of the root page leads to, or an empty string."""
    if not base.contains(url):
        return ""
    folder = base.path.rpartition("/")[0] + "/"
    parts = url.path.removeprefix(folder).split("/")
    if parts[-1] in ("", *PAGES):
        parts = parts[:-1]
    if len(parts) != 1 or not _is_name(parts[0]) or parts[0] == INDEX_NAME:
        return ""
    is_folder = url.path.endswith(("/", *PAGES))
    is_file = is_distribution_name(parts[0]) or is_sidecar(parts[0])
    return parts[0] if is_folder or not is_file else ""


def _link_in_html(page: FetchedPage, base: Url, link: Link, web: IndexClient) -> SourceItem | None:
    """
    Return the item for a link of a project's page, None for a link that is ignored.

    A link to a distribution is a candidate, or `Skipped` if it is malformed; a folder is `Skipped`.
    """
    filename = _filename_of(link)
    if is_distribution_name(filename):
        return _file_in_html(page, base, link, web)
    with suppress(BadUrl):
        url = base.resolved(link.href)
        if not filename and url.path != base.path and base.contains(url):
            return Skipped(url.redacted, "it is a folder in a project's page")
    return None


def _file_in_html(page: FetchedPage, base: Url, link: Link, web: IndexClient) -> SourceItem:
    try:
        url = _resolve_link(page, base, link.href)
        digests = parse_hash(url.fragment)
    except (BadUrl, BadDigest) as error:
        location = f"{page.url.redacted}, {quoted(_filename_of(link).rpartition('@')[2])}"
        return Skipped(location, str(error), is_error=True)
    return _candidate(web, url, url.filename, hashes=digests, yanked=link.yanked)


def _candidate(web: IndexClient, url: Url, filename: str, **known: Any) -> SourceItem:  # noqa: ANN401 - of Candidate
    if not is_distribution_name(filename):
        return Skipped(url.redacted, "it is not named like a distribution")
    return replace(ResumableDownload(web, url).candidate(filename), **known)


def _filename_of(link: Link) -> str:
    return link.href.partition("#")[0].partition("?")[0].rpartition("/")[2]


def _resolve_link(page: FetchedPage, base: Url, reference: str) -> Url:
    url = base.resolved(reference)
    if page.url.is_secure and not url.is_secure:
        raise BadUrl(DOWNGRADE_REASON)
    return url


def _is_name(name: str) -> bool:
    return name.isascii() and name.replace("-", "").replace("_", "").replace(".", "").isalnum()
