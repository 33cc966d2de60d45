"""
Import source `index`: another index by its URL, with the Simple API in JSON or HTML.

Some pages are prefetched at a time, so that memory is bounded. A project page that cannot be read
is an error in the report; with 404 or 410 only if projects were named. A server that is
unreachable, or fails MAX_FAILURES times in a row, ends the import; the next import skips what the
index has by then.

Pages that are understood beside those of the Simple API: nginx's autoindex, whose first link is
`../`, and an index whose root lists files instead of projects (GAEPyPI's `/pypi/`).
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Final

from msgspec import Struct
from packaging.utils import canonicalize_name

from wheelyard.concurrency.threads import prefetch_map
from wheelyard.errors import WheelyardError, quoted
from wheelyard.http_client.hosts import FetchError
from wheelyard.http_client.urls import BadUrl, Url, redact_url
from wheelyard.sources.candidate import (
    BadDigest,
    Candidate,
    Skipped,
    SourceItem,
    bad_source,
    guess_project,
    is_distribution_name,
    is_sidecar,
    matches,
    parse_digests,
    parse_iso_date,
    unavailable,
)
from wheelyard.sources.index_client import IndexClient, ResumableDownload
from wheelyard.sources.simple_page import FetchedPage, PageEntry, read_simple_page

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


MISSING_STATUSES: Final = frozenset({404, 410})
DENIED_STATUSES: Final = frozenset({401, 403, 407})
MAX_FAILURES: Final = 5
"""Pages that may fail one after the other before the import is ended."""
MAX_PROJECTS: Final = 100_000
"""Projects of one import; an index with more is a mirror of a public one."""
_WILDCARDS: Final = frozenset("*?[")
_Found = ProjectLink | SourceItem


class IndexSource(Struct, frozen=True):
    """Source of the files of another index, or of its projects that match `projects`."""

    web: IndexClient
    root: Url
    projects: tuple[str, ...] = ()
    """Patterns of project names; empty means all projects."""

    def candidates(self) -> Iterator[SourceItem]:
        """
        Yield the files of the wanted projects, and a `Skipped` for each unusable page or entry.

        Raise WheelyardError if the root page is unusable, or the server stops answering.
        """
        failures = 0
        for candidates, fault in prefetch_map(self._files_of, self._projects()):
            failures = failures + 1 if fault is not None and fault.is_transient else 0
            if fault is not None and (fault.is_unreachable or failures >= MAX_FAILURES):
                raise _root_error(self.root, fault)
            yield from candidates

    def _projects(self) -> Iterator[_Found]:
        names = [canonicalize_name(each) for each in self.projects]
        if names and not any(_WILDCARDS & set(each) for each in names):
            base = self.root.as_folder()
            yield from (ProjectLink(name, base.child_folder(name)) for name in dict.fromkeys(names))
            return
        found = self._root_page_items()
        if sum(isinstance(each, ProjectLink) for each in found) > MAX_PROJECTS:
            raise bad_source(
                f"{self.root.redacted} lists more than {MAX_PROJECTS} projects: it stands before a "
                "public index. Name what to take with --project, which may be repeated."
            )
        yield from found

    def _root_page_items(self) -> list[_Found]:
        """Return what is wanted of the root page, without duplicates; raise if it is unusable."""
        try:
            page = self.web.page(self.root.as_folder())
        except FetchError as fault:
            raise _root_error(self.root, fault) from fault
        found = dict[object, _Found]()
        try:
            for each in parse_projects(page, self.web):
                if self._is_wanted(each):
                    found.setdefault(_duplicate_key(each), each)
        except FetchError as fault:
            raise _no_project_list(self.root, fault.why) from fault
        return list(found.values())

    def _is_wanted(self, found: _Found) -> bool:
        if isinstance(found, Skipped):
            return True
        name = found.name if isinstance(found, ProjectLink) else guess_project(found.filename)
        return matches(name, self.projects)

    def _files_of(self, found: _Found) -> tuple[list[SourceItem], FetchError | None]:
        """
        Return the items of a project's page, and the error if the page cannot be read.

        A file or a `Skipped` of the root page is returned as the only item.
        """
        if not isinstance(found, ProjectLink):
            return [found], None
        try:
            return list(parse_files(self.web.page(found.url), self.web)), None
        except FetchError as fault:
            is_missing, named = fault.status in MISSING_STATUSES, bool(self.projects)
            why = "the index has no such project" if is_missing and named else fault.why
            return [Skipped(found.url.redacted, why, is_error=named or not is_missing)], fault


def _duplicate_key(found: _Found) -> object:
    """Return a key that is equal for duplicate entries of the root page."""
    if not isinstance(found, Candidate):
        return found
    return found.location, tuple(found.hashes.items()), found.yanked


def _root_error(root: Url, fault: FetchError) -> WheelyardError:
    """Return the error, with advice to the operator, that ends the import after `fault`."""
    if fault.status in DENIED_STATUSES:
        return bad_source(
            f"{root.redacted} answers with status {fault.status}. Put the credential into the URL "
            "(https://USER:PASSWORD@HOST/...), into ~/.netrc, or into WHEELYARD_IMPORT_USERNAME "
            "and WHEELYARD_IMPORT_PASSWORD."
        )
    if fault.is_transient or fault.is_unreachable:
        why = f"{root.host} does not answer as an index: {fault.why}. Try again later."
        return unavailable(why)
    return _no_project_list(root, fault.why)


def _no_project_list(root: Url, why: str) -> WheelyardError:
    return bad_source(
        f"There is no list of projects at {quoted(root.redacted)}: {why}. Give the index URL that "
        "pip is given, or name projects with --project."
    )
