"""
Another index, by its URL: the Simple API, in JSON or in HTML.

Pages are read ahead, some at a time, so that memory stays bounded however many there are. A project
whose page cannot be had is a fault in the report; a server that is gone, or answers nothing but
faults, ends the import, which goes on when it is run again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from packaging.utils import canonicalize_name

from wheelyard.concurrency.prefetch import prefetch_map
from wheelyard.errors import WheelyardError, quoted
from wheelyard.http_client.address_policy import FetchError
from wheelyard.http_client.urls import Url
from wheelyard.sources.candidate import (
    Candidate,
    Skipped,
    SourceItem,
    bad_source,
    source_unavailable,
)
from wheelyard.sources.candidate_filter import guess_project, matches_patterns
from wheelyard.sources.web.index_client import DENIED_STATUSES, GONE, NOT_FOUND, IndexClient
from wheelyard.sources.web.index_pages import (
    ACCEPT,
    ProjectLink,
    parse_project_list,
    parse_project_page,
)

MAX_CONSECUTIVE_FAILURES: Final = 5
"""Pages that may fail one after the other before the server is taken to be ill."""
MAX_PROJECTS: Final = 100_000
"""Projects of one import: an index with more stands before a public one."""
_WILD: Final = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class IndexSource:
    """Every file that an index lists."""

    web: IndexClient
    root: Url
    projects: tuple[str, ...] = ()
    """Patterns of the projects to take; nothing is all of them."""

    def candidates(self) -> Iterator[SourceItem]:
        """Yield what there is."""
        in_a_row = 0
        for candidates, fault in prefetch_map(self._taken, self._projects()):
            in_a_row = in_a_row + 1 if fault is not None and fault.is_transient else 0
            if fault is not None and (fault.is_unreachable or in_a_row >= MAX_CONSECUTIVE_FAILURES):
                raise _unusable(self.root, fault)
            yield from candidates

    def _projects(self) -> Iterator[ProjectLink | SourceItem]:
        names = [canonicalize_name(each) for each in self.projects]
        if names and not any(_WILD & set(each) for each in names):
            base = self.root.as_folder()
            yield from (ProjectLink(name, base.child_folder(name)) for name in dict.fromkeys(names))
            return
        found = self._listed()
        if sum(isinstance(each, ProjectLink) for each in found) > MAX_PROJECTS:
            raise bad_source(
                f"{self.root.redacted} lists more than {MAX_PROJECTS} projects: it stands before a "
                "public index. Name what to take with --project, which may be repeated."
            )
        yield from found

    def _listed(self) -> list[ProjectLink | SourceItem]:
        """Return what the first page lists and somebody wants, each once."""
        try:
            page = self.web.page(self.root.as_folder(), ACCEPT)
        except FetchError as fault:
            raise _unusable(self.root, fault) from fault
        found = dict[object, ProjectLink | SourceItem]()
        try:
            for each in parse_project_list(page, self.web):
                if self._is_wanted(each):
                    found.setdefault(_sameness(each), each)
        except FetchError as fault:
            raise _no_index(self.root, fault.why) from fault
        return list(found.values())

    def _is_wanted(self, found: ProjectLink | SourceItem) -> bool:
        if isinstance(found, Skipped):
            return True
        name = found.name if isinstance(found, ProjectLink) else guess_project(found.filename)
        return matches_patterns(name, self.projects)

    def _taken(self, found: ProjectLink | SourceItem) -> tuple[list[SourceItem], FetchError | None]:
        """Return the files of a project, or why there are none; anything else as it is."""
        if not isinstance(found, ProjectLink):
            return [found], None
        try:
            return list(parse_project_page(self.web.page(found.url, ACCEPT), self.web)), None
        except FetchError as fault:
            named = bool(self.projects) and fault.status == NOT_FOUND
            is_error = named or fault.status not in (NOT_FOUND, GONE)
            why = "the index has no such project" if named else fault.why
            return [Skipped(found.url.redacted, why, is_error=is_error)], fault


def _sameness(found: ProjectLink | SourceItem) -> object:
    """Return what two links have in common that are one."""
    if not isinstance(found, Candidate):
        return found
    return found.location, tuple(found.hashes.items()), found.yanked


def _unusable(root: Url, fault: FetchError) -> WheelyardError:
    """Return what an operator is told of an index that cannot be used."""
    if fault.status in DENIED_STATUSES:
        return bad_source(
            f"{root.redacted} answers with status {fault.status}. Put the credential into the URL "
            "(https://USER:PASSWORD@HOST/...), into ~/.netrc, or into WHEELYARD_IMPORT_USERNAME "
            "and WHEELYARD_IMPORT_PASSWORD."
        )
    if fault.is_transient or fault.is_unreachable:
        return source_unavailable(
            f"{root.host} does not answer as an index: {fault.why}. Try again later."
        )
    return _no_index(root, fault.why)


def _no_index(root: Url, why: str) -> WheelyardError:
    return bad_source(
        f"There is no list of projects at {quoted(root.redacted)}: {why}. Give the index URL that "
        "pip is given, or name projects with --project."
    )
