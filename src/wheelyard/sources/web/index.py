"""
Another index, by its URL: the Simple API, in JSON or in HTML.

Pages are read ahead, some at a time, so that memory stays bounded however many there are. A project
whose page cannot be had is a fault in the report; a server that is gone, or answers nothing but
faults, ends the import, which goes on when it is run again.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from wheelyard.errors import IndexFault, quoted
from wheelyard.outgoing.faults import WebFault
from wheelyard.outgoing.urls import Url
from wheelyard.sources.ahead import map_ahead
from wheelyard.sources.candidate import Candidate, PassedOver
from wheelyard.sources.faults import bad_source, gone
from wheelyard.sources.naming import is_beside, is_offered, is_wanted, normalised, project_of
from wheelyard.sources.web.downloads import Download
from wheelyard.sources.web.fetching import DENIED, GONE, NOT_FOUND, Page, Web
from wheelyard.sources.web.pages import (
    ACCEPT,
    FileLink,
    ProjectLink,
    files_of,
    projects_of,
)

THREADS: Final = 8
"""Pages that are asked for at a time."""
FAILURES: Final = 5
"""Pages that may fail one after the other before the server is taken to be ill."""
MOST: Final = 100_000
"""Projects of one import: an index with more stands before a public one."""
_WILD: Final = frozenset("*?[")

Offer = Candidate | PassedOver


@dataclass(frozen=True, slots=True)
class IndexSource:
    """
    Every file that an index lists.

    Args:
        web: What asks it.
        root: Its URL.
        projects: Patterns of the projects to take; nothing is all of them.
    """

    web: Web
    root: Url
    projects: tuple[str, ...] = ()

    def offers(self) -> Iterator[Offer]:
        """Yield what there is."""
        failures = _Failures(self.root)
        for found in map_ahead(self._taken, self._projects(), THREADS):
            if isinstance(found, _Taken):
                failures.count(found.fault)
                yield from found.offers
            else:
                yield found

    def _taken(self, found: "ProjectLink | Offer") -> "_Taken | Offer":
        return self._project(found) if isinstance(found, ProjectLink) else found

    def _projects(self) -> Iterator[ProjectLink | Offer]:
        names = [normalised(each) for each in self.projects]
        if names and not any(_WILD & set(each) for each in names):
            base = self.root.as_folder()
            yield from (ProjectLink(name, base.below(name)) for name in dict.fromkeys(names))
            return
        found = self._listed()
        if sum(isinstance(each, ProjectLink) for each in found) > MOST:
            raise bad_source(
                f"{self.root.shown} lists more than {MOST} projects: it stands before a public "
                "index. Name what to take with --project, which may be repeated."
            )
        for each in found:
            yield self._offer(each) if isinstance(each, FileLink) else each

    def _listed(self) -> list[ProjectLink | FileLink | PassedOver]:
        """Return what the first page lists and somebody wants, each once."""
        page = self._root_page()
        try:
            found = list(dict.fromkeys(each for each in projects_of(page) if self._is_wanted(each)))
        except WebFault as fault:
            raise _no_index(self.root, fault.why) from fault
        return found

    def _is_wanted(self, found: ProjectLink | FileLink | PassedOver) -> bool:
        if isinstance(found, ProjectLink):
            return is_wanted(found.name, self.projects)
        return isinstance(found, PassedOver) or is_wanted(project_of(found.filename), self.projects)

    def _root_page(self) -> Page:
        try:
            return self.web.page(self.root.as_folder(), ACCEPT)
        except WebFault as fault:
            raise _unusable(self.root, fault) from fault

    def _project(self, link: ProjectLink) -> "_Taken":
        """Return a project's files, or why there are none."""
        try:
            page = self.web.page(link.url, ACCEPT)
            return _Taken([self._offer(each) for each in files_of(page) if _is_told(each)])
        except WebFault as fault:
            named = bool(self.projects) and fault.status == NOT_FOUND
            is_fault = named or fault.status not in (NOT_FOUND, GONE)
            why = "the index has no such project" if named else fault.why
            return _Taken([PassedOver(link.url.shown, why, is_fault=is_fault)], fault)

    def _offer(self, found: FileLink | PassedOver) -> Offer:
        if isinstance(found, PassedOver):
            return found
        if not is_offered(found.filename):
            return PassedOver(found.url.shown, "it is not named like a distribution")
        download = Download(self.web, found.url)
        return Candidate(
            filename=found.filename,
            place=found.url.shown,
            read=download.open,
            size=found.size,
            hashes=found.hashes,
            uploaded_at=found.uploaded_at,
            yanked=found.yanked,
            dated=download.dated,
        )


@dataclass(frozen=True, slots=True)
class _Taken:
    """What one project's page was worth."""

    offers: list[Offer]
    fault: WebFault | None = None


@dataclass(slots=True)
class _Failures:
    """Counts pages that fail one after the other."""

    root: Url
    in_a_row: int = field(default=0, init=False)

    def count(self, fault: WebFault | None) -> None:
        """
        Take note of a page.

        Raises:
            Invalid: The credential is not accepted any more.
            Unavailable: The server is gone.
        """
        self.in_a_row = self.in_a_row + 1 if fault is not None and fault.is_passing else 0
        if fault is not None and (fault.is_away or self.in_a_row >= FAILURES):
            raise _unusable(self.root, fault)


def _is_told(found: FileLink | PassedOver) -> bool:
    return isinstance(found, PassedOver) or not is_beside(found.filename)


def _unusable(root: Url, fault: WebFault) -> IndexFault:
    """Return what an operator is told of an index that cannot be used."""
    if fault.status in DENIED:
        return bad_source(
            f"{root.shown} answers with status {fault.status}. Put the credential into the URL "
            "(https://USER:PASSWORD@HOST/...), into ~/.netrc, or into WHEELYARD_IMPORT_USERNAME "
            "and WHEELYARD_IMPORT_PASSWORD."
        )
    if fault.is_passing or fault.is_away:
        return gone(f"{root.host} does not answer as an index: {fault.why}. Try again later.")
    return _no_index(root, fault.why)


def _no_index(root: Url, why: str) -> IndexFault:
    return bad_source(
        f"There is no list of projects at {quoted(root.shown)}: {why}. Give the index URL that pip "
        "is given, or name projects with --project."
    )
