"""
The pages of another index that is imported: lists of projects and of files.

Pages that are understood beside those of the Simple API: nginx's autoindex, whose first link is
`../`, and an index whose root lists files instead of projects (GAEPyPI's `/pypi/`).
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Final

from msgspec import Struct
from packaging.utils import canonicalize_name

from wheelyard.errors import quoted
from wheelyard.http_client.address_policy import FetchError
from wheelyard.http_client.urls import BadUrl, Url, redact_url
from wheelyard.sources.candidate import (
    BadDigest,
    Skipped,
    SourceItem,
    is_distribution_name,
    is_sidecar,
    parse_digests,
    parse_iso_date,
)
from wheelyard.sources.web.index_client import IndexClient, ResumableDownload
from wheelyard.sources.web.simple_page import FetchedPage, PageEntry, read_simple_page

INDEX_NAME: Final = "simple"
"""A link on the root page of a server that is not a project."""
PAGES: Final = ("index.html", "index.htm")
MAX_LINKS: Final = 200_000
"""Links of one HTML page, and files of one project."""
DOWNGRADE_REASON: Final = "it is linked by http from a page of https"


class ProjectLink(Struct, frozen=True):
    """The name of a project of an index, and the URL of its page."""

    name: str  # normalised
    url: Url


def parse_projects(page: FetchedPage, web: IndexClient) -> Iterator[ProjectLink | SourceItem]:
    """
    Yield the projects of an index's root page, or its files; raise FetchError if it is invalid.

    A `Skipped` is yielded for an invalid entry and a link from https to http.
    """
    found = read_simple_page(page, MAX_LINKS)
    if found.is_html:
        for link in found.files or ():
            yield from _linked(page.url, found.base, link, web)
        return
    if found.projects is None:
        raise FetchError("its page lists no projects")
    for project in found.projects:
        name = project.get("name") if isinstance(project, dict) else None
        if isinstance(name, str) and _is_name(name):
            normal = canonicalize_name(name)
            yield ProjectLink(normal, page.url.child_folder(normal))
        else:
            yield Skipped(page.url.redacted, f"it lists {quoted(name)}", is_error=True)


def _linked(
    page: Url, base: Url, link: PageEntry, web: IndexClient
) -> Iterator[ProjectLink | SourceItem]:
    """Yield what a link of the root page leads to; nothing for another one."""
    with suppress(BadUrl):
        url = base.resolved(str(link.url))
        name = project_at(base, url)
        if name and page.is_secure and not url.is_secure:
            yield Skipped(url.redacted, DOWNGRADE_REASON, is_error=True)
        elif name:
            yield ProjectLink(canonicalize_name(name), url)
        elif is_distribution_name(url.filename):
            yield from _items(page, base, link, web)


def parse_files(page: FetchedPage, web: IndexClient) -> Iterator[SourceItem]:
    """Yield the items of a project's page, without sidecars; raise FetchError if it is invalid."""
    found = read_simple_page(page, MAX_LINKS)
    if found.files is None:
        raise FetchError("its page lists no files")
    for entry in found.files:
        if found.is_html and not is_distribution_name(str(entry.filename)):
            yield from _folders(found.base, str(entry.url))
        else:
            yield from _items(page.url, found.base, entry, web)


def _folders(base: Url, reference: str) -> Iterator[Skipped]:
    """Yield what a link of a project's page to a folder is; nothing for another one."""
    with suppress(BadUrl):
        url = base.resolved(reference)
        if url.path.endswith("/") and url.path != base.path and base.contains(url):
            yield Skipped(url.redacted, "it is a folder in a project's page")


def _items(page: Url, base: Url, entry: PageEntry, web: IndexClient) -> Iterator[SourceItem]:
    """Yield the candidate for a file, or why it is none; nothing for a sidecar."""
    filename, reference = entry.filename, entry.url
    size, yanked = entry.size, entry.yanked
    if not isinstance(filename, str) or not isinstance(reference, str):
        yield Skipped(page.redacted, "one of its files has no name, or no URL", is_error=True)
        return
    if is_sidecar(filename):
        return
    try:
        url = _resolved(page, base, reference)
        digests = parse_digests(entry.hashes)
    except (BadUrl, BadDigest) as error:
        location = f"{page.redacted}, {quoted(redact_url(filename).rpartition('@')[2])}"
        yield Skipped(location, str(error), is_error=True)
        return
    if not is_distribution_name(filename):
        yield Skipped(url.redacted, "it is not named like a distribution")
        return
    yield replace(
        ResumableDownload(web, url).candidate(filename),
        hashes=digests,
        size=size if isinstance(size, int) and size >= 0 else None,
        uploaded_at=parse_iso_date(entry.upload_time),
        yanked=(yanked if isinstance(yanked, str) else "") if yanked else None,
    )


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


def _resolved(page: Url, base: Url, reference: str) -> Url:
    url = base.resolved(reference)
    if page.is_secure and not url.is_secure:
        raise BadUrl(DOWNGRADE_REASON)
    return url


def _is_name(name: str) -> bool:
    return name.isascii() and name.replace("-", "").replace("_", "").replace(".", "").isalnum()
