"""
Import source `index`: another index by its URL, with the Simple API in JSON or HTML.

Some pages are prefetched at a time, so that memory is bounded. A project page that cannot be read
is an error in the report, but with 404 or 410 only if projects were named. A server that is
unreachable, or fails MAX_FAILURES times in a row, ends the import. The next import skips what the
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
    is_distribution_name,
    is_sidecar,
    matches,
    parse_digests,
    parse_iso_date,
    possible_projects,
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
    Yield the projects of an index's root page, or its files.

    A `Skipped` is yielded for an invalid entry and a link from https to http. Raises FetchError if
    the page is invalid.
    """
    root = read_simple_page(page, MAX_LINKS)
    if root.is_html:
        for link in root.files or ():
            yield from _link_entries(page.url, root.base, link, web)
        return
    if root.projects is None:
        raise FetchError("its page lists no projects")
    for project in root.projects:
        name = project.get("name") if isinstance(project, dict) else None
        # a name with a slash would lead to another page of the server
        if isinstance(name, str) and _is_name(name):
            normal = canonicalize_name(name)
            yield ProjectLink(normal, page.url.child_folder(normal))
        else:
            yield Skipped(page.url.redacted, f"it lists {quoted(name)}", is_error=True)


def _link_entries(
    page: Url, base: Url, link: PageEntry, web: IndexClient
) -> Iterator[ProjectLink | SourceItem]:
    """Yield what a link of the root page leads to, and nothing for a link to elsewhere."""
    with suppress(BadUrl):
        url = base.resolved(str(link.url))
        name = project_at(base, url)
        if name and page.is_secure and not url.is_secure:
            yield Skipped(url.redacted, DOWNGRADE_REASON, is_error=True)
        elif name:
            yield ProjectLink(canonicalize_name(name), url)
        elif is_distribution_name(url.filename):
            yield from _entry_files(page, base, link, web)


def parse_files(page: FetchedPage, web: IndexClient, name: str = "") -> Iterator[SourceItem]:
    """
    Yield the files of the page of the project `name`, without sidecars.

    Raises FetchError if the page is invalid.
    """
    project = read_simple_page(page, MAX_LINKS)
    if project.files is None:
        raise FetchError("its page lists no files")
    for entry in project.files:
        if project.is_html and not is_distribution_name(str(entry.filename)):
            yield from _folders(project.base, str(entry.url))
        else:
            for file in _entry_files(page.url, project.base, entry, web):
                yield replace(file, project=name) if isinstance(file, Candidate) else file


def _folders(base: Url, reference: str) -> Iterator[Skipped]:
    """Yield a `Skipped` if a link of a project's page leads to a folder in it."""
    with suppress(BadUrl):
        url = base.resolved(reference)
        if url.path.endswith("/") and url.path != base.path and base.contains(url):
            yield Skipped(url.redacted, "it is a folder in a project's page")


def _entry_files(page: Url, base: Url, entry: PageEntry, web: IndexClient) -> Iterator[SourceItem]:
    """Yield the candidate for a file, or why it is none, and nothing for a sidecar."""
    filename, reference = entry.filename, entry.url
    size, yanked = entry.size, entry.yanked
    if not isinstance(filename, str) or not isinstance(reference, str):
        yield Skipped(page.redacted, "one of its files has no name, or no URL", is_error=True)
        return
    if is_sidecar(filename):
        return
    try:
        url = _resolve(page, base, reference)
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


def _resolve(page: Url, base: Url, reference: str) -> Url:
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
"""Projects of one import. An index with more is a mirror of a public one."""
_WILDCARDS: Final = frozenset("*?[")
_RootEntry = ProjectLink | SourceItem


class _ProjectFiles(Struct, frozen=True):
    """What the page of a project lists."""

    files: list[SourceItem]
    fault: FetchError | None = None
    """Why the page cannot be read."""


class IndexSource(Struct, frozen=True):
    """Source of the files of another index, or of its projects that match `projects`."""

    web: IndexClient
    root: Url
    projects: tuple[str, ...] = ()
    """Patterns of project names. Without any, all projects are taken."""

    def candidates(self) -> Iterator[SourceItem]:
        """
        Yield the files of the wanted projects, and a `Skipped` for each unusable page or entry.

        Raises Invalid if the root page cannot be used, or lists more than `MAX_PROJECTS`. Raises
        Unavailable if the server does not answer, or stops answering.
        """
        failures = 0  # in a row, as pages come in the order of their projects
        for result in prefetch_map(self._files_of, self._projects()):
            fault = result.fault
            failures = failures + 1 if fault is not None and fault.is_transient else 0
            if fault is not None and (fault.is_unreachable or failures >= MAX_FAILURES):
                raise _root_error(self.root, fault)
            yield from result.files

    def _projects(self) -> Iterator[_RootEntry]:
        names = [canonicalize_name(pattern) for pattern in self.projects]
        if names and not any(_WILDCARDS & set(name) for name in names):
            base = self.root.as_folder()
            yield from (ProjectLink(name, base.child_folder(name)) for name in dict.fromkeys(names))
            return
        entries = self._root_page_entries()
        if sum(isinstance(entry, ProjectLink) for entry in entries) > MAX_PROJECTS:
            raise bad_source(
                f"{self.root.redacted} lists more than {MAX_PROJECTS} projects: it stands before a "
                "public index. Name what to take with --project, which may be repeated."
            )
        yield from entries

    def _root_page_entries(self) -> list[_RootEntry]:
        """
        Return what is wanted of the root page, without duplicates.

        Raises WheelyardError if the page is unusable.
        """
        try:
            page = self.web.page(self.root.as_folder())
        except FetchError as fault:
            raise _root_error(self.root, fault) from fault
        entries = dict[object, _RootEntry]()
        try:
            for entry in parse_projects(page, self.web):
                if self._is_wanted(entry):
                    entries.setdefault(_duplicate_key(entry), entry)
        except FetchError as fault:
            raise _no_project_list(self.root, fault.why) from fault
        return list(entries.values())

    def _is_wanted(self, entry: _RootEntry) -> bool:
        if isinstance(entry, Skipped):
            return True
        if isinstance(entry, ProjectLink):
            return matches(entry.name, self.projects)
        return any(matches(name, self.projects) for name in possible_projects(entry.filename))

    def _files_of(self, entry: _RootEntry) -> _ProjectFiles:
        """Return the files of a project's page, or the one that the root page has itself."""
        if not isinstance(entry, ProjectLink):
            return _ProjectFiles([entry])
        try:
            files = parse_files(self.web.page(entry.url), self.web, entry.name)
            return _ProjectFiles(list(files))
        except FetchError as fault:
            is_missing, named = fault.status in MISSING_STATUSES, bool(self.projects)
            why = "the index has no such project" if is_missing and named else fault.why
            skipped = Skipped(entry.url.redacted, why, is_error=named or not is_missing)
            return _ProjectFiles([skipped], fault)


def _duplicate_key(entry: _RootEntry) -> object:
    """Return a key that is equal for duplicate entries of the root page."""
    if not isinstance(entry, Candidate):
        return entry
    return entry.location, tuple(entry.hashes.items()), entry.yanked


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
