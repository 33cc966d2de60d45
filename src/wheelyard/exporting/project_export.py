"""The export of one project: its missing files, then its pages, all made from one document."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.errors import UNREADABLE_CODES, UPSTREAM_UNAVAILABLE, NotFound, Unavailable
from wheelyard.exporting.application import SiteApplication
from wheelyard.exporting.site_folder import COMMON_PATHS, ManifestEntry, SiteStore
from wheelyard.exporting.site_pages import (
    INDEX,
    Page,
    Question,
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
"""The folders of pages, which end with a slash, and the pages outside of these folders."""
LOST_CODES: Final = UNREADABLE_CODES | {UPSTREAM_UNAVAILABLE}
"""The codes of an Unavailable for what the store has lost. No upstream index is asked for it."""
PAGES_AT_ONCE: Final = 32
"""How many pages of a project are in memory at a time."""


def pages_in(site: SiteStore, folder: str = "") -> Iterator[Entry]:
    """
    Yield the objects where exports write pages, in a site or in a folder of a site.

    These are all objects in the folders of pages, and the pages outside of these folders, also
    compressed. Raises Unavailable if the site does not answer.
    """
    for prefix in PAGE_PREFIXES:
        for entry in site.list(folder + prefix):
            path = entry.key.removeprefix(folder)
            if prefix.endswith("/") or path.removesuffix(".gz") == prefix:
                yield entry


class ExportedProject(Struct, frozen=True):
    """A project that was exported."""

    entry: ManifestEntry
    """What the manifest will have of the project."""
    obsolete: frozenset[Key]
    """Pages and files of the project to delete as soon as no page links to them."""


class SitePages(Struct, frozen=True):
    """Asks the application for pages, and writes them."""

    app: SiteApplication
    writer: SiteWriter
    pool: ThreadPoolExecutor | None
    """The threads that wait for a bucket. None if store and site are in folders."""

    def write(self, pages: Iterable[Page], existing: Sizes | None) -> None:
        """
        Write the pages whose bytes have changed.

        `existing` has the sizes of the pages in the site, or is None if they are not known. Raises
        Unavailable if the site does not answer, and Conflict if the lease is lost.
        """
        if self.pool is None:
            for page in pages:
                self.writer.write(page, existing)
            return
        # the loop raises an error of a thread where it takes the result, which is None
        for _ in self.pool.map(self.writer.write, pages, repeat(existing)):
            pass


class ProjectExport(Struct, frozen=True, kw_only=True):
    """Exports single projects, private and public ones alike. Threads may share it."""

    pages: SitePages
    copies_files: bool
    """Whether the site has copies of files. Otherwise pages link to files elsewhere."""
    before: Mapping[NormalizedName, ManifestEntry]
    """The projects of the site before this export."""
    existing: Mapping[str, Sizes] | None
    """
    The sizes of the existing pages of each project, if all projects are exported. Otherwise None:
    then the pages are listed for each project.
    """

    def export(self, facts: ProjectFacts) -> ExportedProject:
        """
        Copy missing files of a project, and write the pages that have changed.

        The result has `facts` for the manifest, without their `document` if the next export has to
        read the project again. Nothing is deleted here. Raises NotFound, or Unavailable with one of
        `LOST_CODES`, if the store has lost something of the project. Raises Unavailable with
        another code if the store or the site does not answer. Raises Conflict if the lease is lost.
        """
        listing = self._read_listing(facts)
        while True:
            try:
                return self._export_listing(listing, facts)
            except (NotFound, Unavailable) as fault:
                is_lost = isinstance(fault, NotFound) or fault.code in LOST_CODES
                later_listing = self._read_listing(facts)
                # if the document is the same, the store has lost something that it lists
                if not is_lost or later_listing.version == listing.version:
                    raise
                # a file was deleted meanwhile
                listing = later_listing

    def _read_listing(self, facts: ProjectFacts) -> OpenListing:
        """Return the listing of a project, from its document as it is in the store now."""
        app = self.pages.app
        if not facts.origin:
            # read again, and then kept by the cache: all pages are made from this document
            for packages in app.index.repository.own_packages():
                packages.projects.documents.get(keys.project(facts.name), "current")
        return app.find(facts.name)

    def _export_listing(self, listing: OpenListing, facts: ProjectFacts) -> ExportedProject:
        """Copy missing files of a listing, and write its pages that have changed."""
        app = self.pages.app
        writer = self.pages.writer
        name = listing.name
        if self.existing is None:
            existing: Sizes = writer.sizes(f"{root}{name}/" for root in ROOTS)
        else:
            existing = self.existing.get(name, {})
        obsolete_keys = set[Key]()

        # the files before the pages that link to them
        if self.copies_files:
            documents = listing.open.page_documents()
            obsolete_keys.update(writer.copy_missing(listing, listing.open.store_of, documents))
        project = Project(name=name)

        # a public project has no history
        if isinstance(listing.open, PrivateFiles):
            project = listing.open.first.project
        unchanged_numbers = self._unchanged_history(project, existing)
        history_numbers = list[int]()
        for number in range(1, older_pages(project.revision) + 1):
            if number not in unchanged_numbers:
                history_numbers.append(number)
        questions = list(project_questions(listing, history_numbers))
        is_final = self._write_answers(questions, existing)
        paths = [question.target for question in questions]
        paths += [history_path(name, number) for number in unchanged_numbers]
        obsolete_keys.update(existing)
        for path in paths:
            obsolete_keys.difference_update(writer.paths_of(path))
        required_names = app.required_names(listing)
        if not is_final:
            # without its version, so that the next export reads the project again
            facts = replace(facts, document=ABSENT)
        mentioned_names = sorted(required_names.difference(facts.required_names, [name]))
        entry = ManifestEntry(facts, " ".join(mentioned_names))
        return ExportedProject(entry, frozenset(obsolete_keys))

    def _write_answers(self, questions: Sequence[Question], existing: Sizes) -> bool:
        """Write the pages that answer questions, and return whether all of them are final."""
        is_final = True
        # a project may have thousands of pages, which need not be in memory at once
        for start in range(0, len(questions), PAGES_AT_ONCE):
            batch = questions[start : start + PAGES_AT_ONCE]
            answers = [self.pages.app.ask(question) for question in batch]
            is_final &= all(page.is_final for page in answers)
            self.pages.write(answers, existing)
        return is_final

    def _unchanged_history(self, project: Project, existing: Sizes) -> range:
        """
        Return the numbers of older pages of the history that the site has as they would be made.

        A journal only gets longer, unless it was restored from a backup. Then the feed does not
        know the serial of the site, so that all pages of all projects are made.
        """
        # `existing` is only given if all projects are exported
        is_full_export = self.existing is not None
        # rules of a view may hide other old files by now
        if is_full_export or self.pages.app.index.repository.hides_files:
            return range(0)
        entry = self.before.get(project.name)
        if entry is None:
            return range(0)
        revision = int(entry.facts.document) if entry.facts.document.isdecimal() else 0
        # without the last page, which had no link to a newer page
        unchanged_numbers = range(1, older_pages(revision))
        for number in unchanged_numbers:
            path = history_path(project.name, number)
            if not all(key in existing for key in self.pages.writer.paths_of(path)):
                return range(0)
        return unchanged_numbers
