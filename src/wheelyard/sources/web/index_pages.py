"""
Pages of an index as lists of projects and of files: JSON where the server has it, else HTML.

Follows the simple repository API, and looks at content and not at the label where a server says
plain `application/json`. What else may be at the other end: a page of nginx's autoindex, whose
first link is `../`; a root that lists files and not projects (GAEPyPI's `/pypi/`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw, Struct
from packaging.utils import canonicalize_name

from wheelyard.errors import quoted
from wheelyard.http_client.address_policy import FetchError
from wheelyard.http_client.urls import BadUrl, Url, redact_credentials
from wheelyard.sources.candidate import Skipped, SourceItem
from wheelyard.sources.candidate_filter import is_distribution_name, is_sidecar
from wheelyard.sources.field_parsing import (
    InvalidDigest,
    parse_digests,
    parse_hash_spec,
    parse_iso_date,
)
from wheelyard.sources.web.html_links import Link, read_links
from wheelyard.sources.web.index_client import FetchedPage, IndexClient
from wheelyard.sources.web.resumable_download import ResumableDownload

ACCEPT: Final = (
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, "
    "text/html;q=0.01"
)
INDEX_NAME: Final = "simple"
"""What the first page of a server may link to, and no project can be called."""
PAGES: Final = ("index.html", "index.htm")
MAX_LINKS: Final = 200_000
"""Links of a page of HTML, and files of a project."""
MAX_JSON_COMMAS: Final = 4_000_000
"""In a page of JSON: more could only be there to fill the memory."""
ENTRY_LIMIT_BYTES: Final = 64 * 1024
"""Bytes of one project or file in a page of JSON."""
DOWNGRADE_REASON: Final = "it is linked by http from a page of https"

T = TypeVar("T", bound=Struct)


@dataclass(frozen=True, slots=True)
class ProjectLink:
    """A project that an index lists."""

    name: str  # normalised
    url: Url


def parse_project_list(page: FetchedPage, web: IndexClient) -> Iterator[ProjectLink | SourceItem]:
    """Yield what the first page of an index lists; raise FetchError if it is no such page."""
    document = _document(page)
    if document is not None:
        yield from _projects_in_json(page, document.projects)
        return
    base, links = _links_of(page)
    for link in links:
        try:
            url = base.resolved(link.href)
        except BadUrl:
            continue
        name = _project_at(base, url)
        if name and page.url.is_secure and not url.is_secure:
            yield Skipped(url.redacted, DOWNGRADE_REASON, is_error=True)
        elif name:
            yield ProjectLink(canonicalize_name(name), url)
        elif is_distribution_name(url.filename):
            yield _file_in_html(page, base, link, web)


def parse_project_page(page: FetchedPage, web: IndexClient) -> Iterator[SourceItem]:
    """Yield what a project's page lists; raise FetchError if it is no such page."""
    document = _document(page)
    if document is None:
        base, links = _links_of(page)
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
    """What a page in JSON has that anybody wants; the rest is passed over as it is read."""

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


def _document(page: FetchedPage) -> _Document | None:
    """Return the JSON that a page is, None if it is HTML."""
    if "json" not in page.content_type and not page.body.lstrip().startswith(b'{"'):
        return None
    if page.body.count(b",") > MAX_JSON_COMMAS:
        raise FetchError("its page lists too much")
    try:
        return msgspec.json.decode(page.body, type=_Document)
    except (ValueError, RecursionError) as error:
        raise FetchError("its answer is not the JSON that it should be") from error


def _entry(raw: Raw, kind: type[T]) -> T:
    """Return one entry of a list; of one that is no such thing, nothing is known."""
    try:
        return (
            msgspec.json.decode(raw, type=kind) if len(bytes(raw)) <= ENTRY_LIMIT_BYTES else kind()
        )
    except (ValueError, RecursionError):
        return kind()


def _projects_in_json(
    page: FetchedPage, projects: list[Raw] | None
) -> Iterator[ProjectLink | Skipped]:
    if projects is None:
        raise FetchError("its page lists no projects")
    for each in projects:
        name = _entry(each, _Project).name
        if isinstance(name, str) and _is_name(name):
            normal = canonicalize_name(name)
            yield ProjectLink(normal, page.url.child_folder(normal))
        else:
            yield Skipped(page.url.redacted, f"it lists {quoted(name)}", is_error=True)


def _file_in_json(page: FetchedPage, entry: Raw, web: IndexClient) -> SourceItem | None:
    said = _entry(entry, _File)
    filename, reference = said.filename, said.url
    if not isinstance(filename, str) or not isinstance(reference, str):
        return Skipped(page.url.redacted, "one of its files has no name, or no URL", is_error=True)
    if is_sidecar(filename):
        return None
    hashes, size, yanked = said.hashes, said.size, said.yanked
    try:
        url = _linked(page, page.url, reference)
        claimed = parse_digests(hashes if isinstance(hashes, dict) else {})
    except (BadUrl, InvalidDigest) as error:
        return Skipped(
            f"{page.url.redacted}, {quoted(redact_credentials(filename))}",
            str(error),
            is_error=True,
        )
    return _offer(
        web,
        url,
        filename,
        hashes=claimed,
        size=size if isinstance(size, int) and size >= 0 else None,
        uploaded_at=parse_iso_date(said.upload_time) if said.upload_time else None,
        yanked=(yanked if isinstance(yanked, str) else "") if yanked else None,
    )


def _links_of(page: FetchedPage) -> tuple[Url, list[Link]]:
    base, found = read_links(page.body, page.content_type, MAX_LINKS)
    try:
        return (page.url.resolved(base) if base else page.url), found
    except BadUrl as error:
        raise FetchError("the base of its links is no URL") from error


def _project_at(base: Url, url: Url) -> str:
    """Return the name of the project whose page a link of the first page leads to, if it does."""
    if not base.contains(url):
        return ""
    folder = base.path.rpartition("/")[0] + "/"
    parts = url.path.removeprefix(folder).split("/")
    if parts[-1] in ("", *PAGES):
        parts = parts[:-1]
    if len(parts) != 1 or not _is_name(parts[0]) or parts[0] == INDEX_NAME:
        return ""
    is_folder = url.path.endswith(("/", *PAGES))
    return (
        ""
        if not is_folder and (is_distribution_name(parts[0]) or is_sidecar(parts[0]))
        else parts[0]
    )


def _link_in_html(page: FetchedPage, base: Url, link: Link, web: IndexClient) -> SourceItem | None:
    """Return what a link of a project's page is worth: a file, a word in the report, nothing."""
    filename = _written(link)
    if is_distribution_name(filename):
        return _file_in_html(page, base, link, web)
    try:
        url = base.resolved(link.href)
    except BadUrl:
        return None
    if not filename and url.path != base.path and base.contains(url):
        return Skipped(url.redacted, "it is a folder in a project's page")
    return None


def _file_in_html(page: FetchedPage, base: Url, link: Link, web: IndexClient) -> SourceItem:
    try:
        url = _linked(page, base, link.href)
        claimed = parse_hash_spec(url.fragment)
    except (BadUrl, InvalidDigest) as error:
        location = f"{page.url.redacted}, {quoted(_written(link).rpartition('@')[2])}"
        return Skipped(location, str(error), is_error=True)
    return _offer(web, url, url.filename, hashes=claimed, yanked=link.yanked)


def _offer(web: IndexClient, url: Url, filename: str, **known: Any) -> SourceItem:  # noqa: ANN401 - of Candidate
    if not is_distribution_name(filename):
        return Skipped(url.redacted, "it is not named like a distribution")
    return replace(ResumableDownload(web, url).candidate(filename), **known)


def _written(link: Link) -> str:
    return link.href.partition("#")[0].partition("?")[0].rpartition("/")[2]


def _linked(page: FetchedPage, base: Url, reference: str) -> Url:
    url = base.resolved(reference)
    if page.url.is_secure and not url.is_secure:
        raise BadUrl(DOWNGRADE_REASON)
    return url


def _is_name(name: str) -> bool:
    return name.isascii() and name.replace("-", "").replace("_", "").replace(".", "").isalnum()
