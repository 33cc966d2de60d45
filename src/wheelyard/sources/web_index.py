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
MISSING_STATUSES: Final = frozenset({404, 410})
DENIED_STATUSES: Final = frozenset({401, 403, 407})
MAX_FAILURES: Final = 5
"""Pages that may fail one after the other before the import is ended."""
MAX_PROJECTS: Final = 100_000
"""Projects of one import. An index with more is a mirror of a public one."""
_WILDCARDS: Final = frozenset("*?[")


class ProjectLink(Struct, frozen=True):
    """The name of a project of an index, and the URL of its page."""

    name: str  # normalised
    url: Url


_RootEntry = ProjectLink | SourceItem
"""What the root page of an index lists: a project, a file, or what is skipped."""


def parse_projects(page: FetchedPage, client: IndexClient) -> Iterator[_RootEntry]:
    """
    Yield the projects that the root page of an index lists, or the files.

    A `Skipped` is yielded for an invalid entry and a link from https to http. Links to elsewhere
    and sidecars are left out. `client` downloads the files later. Raises FetchError if the page is
    invalid.
    """
    root = read_simple_page(page, MAX_LINKS)
    if root.is_html:
        for link in root.files or ():
            yield from _link_entries(page.url, root.base, link, client)
        return
    if root.projects is None:
        raise FetchError("its page lists no projects")
    for project in root.projects:
        name: object = None
        if isinstance(project, dict):
            name = project.get("name")
        # a name with a slash would lead to another page of the server
        if isinstance(name, str) and _is_name(name):
            normalized_name = canonicalize_name(name)
            yield ProjectLink(normalized_name, page.url.child_folder(normalized_name))
        else:
            yield Skipped(page.url.redacted, f"it lists {quoted(name)}", is_error=True)


def _link_entries(
    page_url: Url, base: Url, link: PageEntry, client: IndexClient
) -> Iterator[_RootEntry]:
    """Yield what a link of the root page leads to, and nothing for a link to elsewhere."""
    with suppress(BadUrl):
        url = base.resolved(str(link.url))
        name = project_at(base, url)
        if name and page_url.is_secure and not url.is_secure:
            yield Skipped(url.redacted, DOWNGRADE_REASON, is_error=True)
        elif name:
            yield ProjectLink(canonicalize_name(name), url)
        elif is_distribution_name(url.filename):
            yield from _entry_files(page_url, base, link, client)


def parse_files(page: FetchedPage, client: IndexClient, name: str = "") -> Iterator[SourceItem]:
    """
    Yield the files of a project's page, and `Skipped` for an entry that is no file to import.

    Sidecars are left out. `name` is the normalised name of the project, or empty if it is not
    known. `client` downloads the files later. Raises FetchError if the page is invalid.
    """
    project = read_simple_page(page, MAX_LINKS)
    if project.files is None:
        raise FetchError("its page lists no files")
    for entry in project.files:
        if project.is_html and not is_distribution_name(str(entry.filename)):
            yield from _folders(project.base, str(entry.url))
        else:
            for file in _entry_files(page.url, project.base, entry, client):
                if isinstance(file, Candidate):
                    yield replace(file, project=name)
                else:
                    yield file


def _folders(base: Url, reference: str) -> Iterator[Skipped]:
    """Yield a `Skipped` if a link of a project's page leads to a folder below the page."""
    with suppress(BadUrl):
        url = base.resolved(reference)
        is_other_folder = url.path.endswith("/") and url.path != base.path
        if is_other_folder and base.contains(url):
            yield Skipped(url.redacted, "it is a folder in a project's page")


def _entry_files(
    page_url: Url, base: Url, entry: PageEntry, client: IndexClient
) -> Iterator[SourceItem]:
    """Yield the candidate for a file, or why it is none, and nothing for a sidecar."""
    filename = entry.filename
    reference = entry.url

    # a stranger's values, of any type
    if not isinstance(filename, str) or not isinstance(reference, str):
        yield Skipped(page_url.redacted, "one of its files has no name, or no URL", is_error=True)
        return
    if is_sidecar(filename):
        return
    try:
        url = _resolve(page_url, base, reference)
        digests = parse_digests(entry.hashes)
    except (BadUrl, BadDigest) as error:
        # the name may be a URL with a password
        _, _, name = redact_url(filename).rpartition("@")
        yield Skipped(f"{page_url.redacted}, {quoted(name)}", str(error), is_error=True)
        return
    if not is_distribution_name(filename):
        yield Skipped(url.redacted, "it is not named like a distribution")
        return
    size: int | None = None
    if isinstance(entry.size, int) and entry.size >= 0:
        size = entry.size
    yanked: str | None = None
    if entry.yanked:  # true, or a reason
        yanked = entry.yanked if isinstance(entry.yanked, str) else ""
    yield replace(
        ResumableDownload(client, url).candidate(filename),
        hashes=digests,
        size=size,
        uploaded_at=parse_iso_date(entry.upload_time),
        yanked=yanked,
    )


def project_at(base: Url, url: Url) -> str:
    """
    Return the name of the project that a link of the root page leads to, or an empty text.

    The name is as the link has it, and not normalised.
    """
    if not base.contains(url):
        return ""
    folder, _, _ = base.path.rpartition("/")
    segments = url.path.removeprefix(f"{folder}/").split("/")
    is_folder = url.path.endswith("/") or url.path.endswith(PAGES)
    if segments[-1] == "" or segments[-1] in PAGES:
        segments.pop()
    if len(segments) != 1:
        return ""
    name = segments[0]
    if not _is_name(name) or name == INDEX_NAME:
        return ""
    # some indexes have files beside the projects; a folder may be named like a file
    is_named_as_file = is_distribution_name(name) or is_sidecar(name)
    if is_named_as_file and not is_folder:
        return ""
    return name


def _resolve(page_url: Url, base: Url, reference: str) -> Url:
    """Return the absolute URL of a link, or raise BadUrl if it leads from https to http."""
    url = base.resolved(reference)
    if page_url.is_secure and not url.is_secure:
        raise BadUrl(DOWNGRADE_REASON)
    return url


def _is_name(name: str) -> bool:
    """Return whether a text may be the name of a project: ASCII letters, digits, `-`, `_`, `.`."""
    letters_and_digits = name.replace("-", "").replace("_", "").replace(".", "")
    return name.isascii() and letters_and_digits.isalnum()


class _ProjectFiles(Struct, frozen=True):
    """What the page of a project lists."""

    files: list[SourceItem]
    fault: FetchError | None = None
    """Why the page cannot be read."""


class IndexSource(Struct, frozen=True):
    """Source of the files of another index, or of its projects that match `projects`."""

    client: IndexClient
    root: Url
    projects: tuple[str, ...] = ()
    """Patterns of project names. Without any, all projects are taken."""

    def candidates(self) -> Iterator[SourceItem]:
        """
        Yield the files of the projects, and a `Skipped` for each page or entry without use.

        The root page is read unless `projects` has names alone, without wildcards. Raises Invalid
        (code `bad_source`) if that page is no list of projects, refuses the credential, or lists
        more than `MAX_PROJECTS` that match. Raises Unavailable (code `source_unavailable`) if the
        server cannot be reached, or if the pages of `MAX_FAILURES` projects in a row fail for a
        reason that may pass.
        """
        failures = 0  # in a row: pages come in the order of their projects
        for page in prefetch_map(self._files_of, self._projects()):
            fault = page.fault
            if fault is not None and fault.is_transient:
                failures += 1
            else:
                failures = 0
            # otherwise a server that is down would make an error of each of its projects
            if fault is not None and (fault.is_unreachable or failures >= MAX_FAILURES):
                raise _root_error(self.root, fault)
            yield from page.files

    def _projects(self) -> Iterator[_RootEntry]:
        """Yield the projects that the import names, or what it takes of the root page."""
        names = [canonicalize_name(pattern) for pattern in self.projects]
        has_wildcards = not all(_WILDCARDS.isdisjoint(name) for name in names)
        # without wildcards no list is needed, and some indexes have no list
        if names and not has_wildcards:
            base = self.root.as_folder()
            for name in dict.fromkeys(names):
                yield ProjectLink(name, base.child_folder(name))
            return
        entries = self._root_page_entries()
        project_count = sum(isinstance(entry, ProjectLink) for entry in entries)
        if project_count > MAX_PROJECTS:
            raise bad_source(
                f"{self.root.redacted} lists more than {MAX_PROJECTS} projects: it stands before a "
                "public index. Name what to take with --project, which may be repeated."
            )
        yield from entries

    def _root_page_entries(self) -> list[_RootEntry]:
        """
        Return what the import takes of the root page, without duplicates.

        Raises WheelyardError if the page cannot be fetched, or is unusable.
        """
        try:
            page = self.client.page(self.root.as_folder())
        except FetchError as fault:
            raise _root_error(self.root, fault) from fault
        entries = dict[object, _RootEntry]()
        try:
            for entry in parse_projects(page, self.client):
                if self._matches(entry):
                    entries.setdefault(_duplicate_key(entry), entry)
        except FetchError as fault:
            raise _no_project_list(self.root, fault.why) from fault
        return list(entries.values())

    def _matches(self, entry: _RootEntry) -> bool:
        """Return whether an entry may be of a project that the import takes."""
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
            files = parse_files(self.client.page(entry.url), self.client, entry.name)
            return _ProjectFiles(list(files))
        except FetchError as fault:
            why = fault.why
            is_error = True
            if fault.status in MISSING_STATUSES:
                if self.projects:
                    why = "the index has no such project"
                else:
                    # the root page has listed the project, which was removed since then
                    is_error = False
            skipped = Skipped(entry.url.redacted, why, is_error=is_error)
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
    """Return the error for a root page that lists no projects."""
    return bad_source(
        f"There is no list of projects at {quoted(root.redacted)}: {why}. Give the index URL that "
        "pip is given, or name projects with --project."
    )
