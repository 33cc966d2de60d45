"""
Import source `index`: another index by its URL, with the Simple API in JSON or HTML.

Some pages are prefetched at a time, so that memory is bounded. A project page that cannot be read
is an error in the report; with 404 or 410 only if projects were named. A server that is
unreachable, or fails MAX_FAILURES times in a row, ends the import; the next import skips what the
index has by then.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct
from packaging.utils import canonicalize_name

from wheelyard.concurrency.threads import prefetch_map
from wheelyard.errors import WheelyardError, quoted
from wheelyard.http_client.address_policy import FetchError
from wheelyard.http_client.urls import Url
from wheelyard.sources.candidate import (
    Candidate,
    Skipped,
    SourceItem,
    bad_source,
    guess_project,
    matches,
    unavailable,
)
from wheelyard.sources.web.index_client import IndexClient
from wheelyard.sources.web.index_pages import ProjectLink, parse_files, parse_projects

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
