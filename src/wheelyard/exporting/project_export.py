"""The export of one project: its missing files, then its pages, all made from one document."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.errors import UNREADABLE_CODES, NotFound, Unavailable
from wheelyard.exporting.application import SiteApplication
from wheelyard.exporting.site_folder import COMMON_PATHS, ManifestEntry, SiteStore
from wheelyard.exporting.site_pages import (
    INDEX,
    Page,
    SiteWriter,
    Sizes,
    history_path,
    project_questions,
)
from wheelyard.http.resolver import OpenListing, PrivateFiles
from wheelyard.model.project import Project
from wheelyard.operations.journal_reader import older_pages
from wheelyard.rendering.project_facts import ProjectFacts
from wheelyard.storage.base import ABSENT, Entry, Key

ROOTS: Final = ("simple/", "project/", "pypi/", "integrity/")
"""The folders in which each project has a folder of its own."""
PAGE_PREFIXES: Final = (*ROOTS, "-/", "setup/", INDEX, "search.json", "feed.xml", *COMMON_PATHS)
"""The folders of all pages, which end with a slash, and the pages outside of them."""
PAGES_AT_ONCE: Final = 32
"""Pages of a project that are asked for before they are written."""


def pages_in(site: SiteStore, folder: str = "") -> Iterator[Entry]:
    """
    Yield what is where exports write pages, in a site or in a folder of it.

    That is all that is in the folders of pages, and each other page, also compressed. Raises
    Unavailable if the site does not answer.
    """
    for prefix in PAGE_PREFIXES:
        for entry in site.list(folder + prefix):
            path = entry.key.removeprefix(folder)
            if prefix.endswith("/") or path.removesuffix(".gz") == prefix:
                yield entry


class ExportedProject(Struct, frozen=True):
    """A project as it is in the site now."""

    entry: ManifestEntry
    obsolete: frozenset[Key]
    """Its pages and files to delete as soon as no page links to them."""


class SitePages(Struct, frozen=True):
    """Asks the application for pages, and writes them."""

    app: SiteApplication
    writer: SiteWriter
    pool: ThreadPoolExecutor | None
    """Waits for a bucket. None if store and site are in folders."""

    def write(self, pages: Iterable[Page], existing: Sizes | None) -> None:
        """
        Write those pages whose bytes have changed.

        If `existing` is None, each page is compared with that in the site. Raises Unavailable if
        the site does not answer, and Conflict if the lease is lost.
        """
        if self.pool is None:
            for page in pages:
                self.writer.write(page, existing)
            return
        # the results are None, and an error of a thread is raised where its result is taken
        for _ in self.pool.map(self.writer.write, pages, repeat(existing)):
            pass


class ProjectExport(Struct, frozen=True, kw_only=True):
    """Exports single projects, private and public ones alike. Threads may share it."""

    pages: SitePages
    copies_files: bool
    """Whether the site has copies of files. Otherwise they are left elsewhere."""
    before: Mapping[NormalizedName, ManifestEntry]
    existing: Mapping[str, Sizes] | None
    """The pages of each project in the site, or None if they are listed for each project."""

    def export(self, facts: ProjectFacts) -> ExportedProject:
        """
        Copy missing files of a project, and write those pages that have changed.

        `facts` are those that the manifest will have. In the result they have no `document` if the
        next export has to read the project again. Nothing is deleted here. Raises NotFound, or
        Unavailable with one of `UNREADABLE_CODES`, if the store has lost something of the project.
        Raises Unavailable with another code if the store or the site does not answer. Raises
        Conflict if the lease is lost.
        """
        listing = self._read_listing(facts)
        while True:
            try:
                return self._export_listing(listing, facts)
            except (NotFound, Unavailable) as fault:
                is_lost = isinstance(fault, NotFound) or fault.code in UNREADABLE_CODES
                later = self._read_listing(facts)
                # with the same document, the store has lost what the project lists
                if not is_lost or later.version == listing.version:
                    raise
                # a file was deleted meanwhile
                listing = later

    def _read_listing(self, facts: ProjectFacts) -> OpenListing:
        """Return what the site is to show of a project, as it is in the store now."""
        app = self.pages.app
        if not facts.origin:
            # read anew, after which the cache keeps it: all pages are made from this document
            for own in app.index.repository.own_packages():
                own.projects.documents.get(keys.project(facts.name), "current")
        return app.find(facts.name)

    def _export_listing(self, listing: OpenListing, facts: ProjectFacts) -> ExportedProject:
        """Write what has changed of a project, as a listing has it."""
        app = self.pages.app
        writer = self.pages.writer
        name = listing.name
        if self.existing is None:
            existing: Sizes = writer.sizes(f"{root}{name}/" for root in ROOTS)
        else:
            existing = self.existing.get(name, {})
        obsolete = set[Key]()

        # before the pages that link to them
        if self.copies_files:
            documents = listing.open.page_documents()
            obsolete.update(writer.copy_missing(listing, listing.open.store_of, documents))
        project = Project(name=name)

        # a public project has no history
        if isinstance(listing.open, PrivateFiles):
            project = listing.open.first.project
        unchanged = self._unchanged_history(project, existing)
        numbers = range(1, older_pages(project.revision) + 1)
        history = (number for number in numbers if number not in unchanged)
        questions = list(project_questions(listing, history))
        is_final = True

        # a project may have thousands of pages, which need not be in memory at once
        for start in range(0, len(questions), PAGES_AT_ONCE):
            answers = list(map(app.ask, questions[start : start + PAGES_AT_ONCE]))
            is_final &= all(page.is_final for page in answers)
            self.pages.write(answers, existing)
        paths = [question.target for question in questions]
        paths += [history_path(name, number) for number in unchanged]
        obsolete.update(existing)
        for path in paths:
            obsolete.difference_update(writer.paths_of(path))
        required = app.required_names(listing)
        if not is_final:
            # without its version, so that the next export reads it again
            facts = replace(facts, document=ABSENT)
        mentioned = sorted(required.difference(facts.required_names, [name]))
        return ExportedProject(ManifestEntry(facts, " ".join(mentioned)), frozenset(obsolete))

    def _unchanged_history(self, project: Project, existing: Sizes) -> range:
        """
        Return the numbers of older pages of the history that are in the site as they would be made.

        A journal only gets longer, unless it was restored from a backup. Then the feed does not
        know the serial of the site, so that all pages of all projects are made.
        """
        # only where all projects are exported, all pages of the site are listed before
        is_full_export = self.existing is not None
        # rules of a view may decide otherwise about old files
        if is_full_export or self.pages.app.index.repository.hides_files:
            return range(0)
        entry = self.before.get(project.name)
        if entry is None:
            return range(0)
        revision = int(entry.facts.document) if entry.facts.document.isdecimal() else 0
        # without the last one, which had no link to a newer one
        unchanged = range(1, older_pages(revision))
        for number in unchanged:
            path = history_path(project.name, number)
            if not all(key in existing for key in self.pages.writer.paths_of(path)):
                return range(0)
        return unchanged
