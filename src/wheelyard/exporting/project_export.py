"""The export of one project: its missing files, then its pages, all made from one document."""

from asyncio import gather, get_running_loop
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.errors import UNREADABLE_CODES, NotFound, Unavailable
from wheelyard.exporting.application import SiteApplication
from wheelyard.exporting.manifest import ManifestEntry
from wheelyard.exporting.questions import history_path, project_questions
from wheelyard.exporting.site import FileStore, Page, SiteWriter, Sizes
from wheelyard.http.resolver import OpenListing
from wheelyard.model.project import Project
from wheelyard.operations.project_history import older_pages
from wheelyard.rendering.project_facts import ProjectFacts
from wheelyard.storage.base import ABSENT, Key, Store

T = TypeVar("T")

ROOTS: Final = ("simple/", "project/", "pypi/")
"""The folders in which each project has a folder of its own."""
PAGES_AT_ONCE: Final = 32
"""Pages of a project that are asked for before they are written."""


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
    """Waits for a bucket; None if store and site are in folders."""

    async def run(self, work: Callable[[], T]) -> T:
        """Run blocking work, and return its result."""
        if self.pool is None:
            return work()
        return await get_running_loop().run_in_executor(self.pool, work)

    async def write(self, pages: Iterable[Page], existing: Sizes | None) -> None:
        """Write those pages whose bytes have changed; without `existing`, each is compared."""
        write = self.writer.write
        await gather(*(self.run(partial(write, page, existing)) for page in pages))


class ProjectExport(Struct, frozen=True, kw_only=True):
    """Exports single projects, private and public ones alike."""

    pages: SitePages
    file_store: Callable[[Store], FileStore] | None
    """Returns how files are copied from a store; None if they are left elsewhere."""
    before: Mapping[NormalizedName, ManifestEntry]
    existing: Mapping[str, Sizes] | None
    """The pages of each project in the site; None if they are listed for each project."""

    async def export(self, facts: ProjectFacts) -> ExportedProject:
        """
        Write what has changed of a project; `facts` are those that the manifest will have.

        Raise NotFound or Unavailable (`damaged_document`) if the store has lost something of it.
        """
        listing = await self._find(facts)
        while True:
            try:
                return await self._export(listing, facts)
            except (NotFound, Unavailable) as fault:
                is_lost = isinstance(fault, NotFound) or fault.code in UNREADABLE_CODES
                later = await self._find(facts)
                if not is_lost or later.version == listing.version:
                    raise
                listing = later  # a file was deleted meanwhile

    async def _find(self, facts: ProjectFacts) -> OpenListing:
        """Return what the site is to show of a project, as it is in the store now."""
        if not facts.origin:
            documents = self.pages.app.index.projects.documents
            read = partial(documents.get, keys.project(facts.name), "current")
            await self.pages.run(read)
        return await self.pages.app.find(facts.name)

    async def _export(self, listing: OpenListing, facts: ProjectFacts) -> ExportedProject:
        pages, name, writer = self.pages, listing.name, self.pages.writer
        existing = await pages.run(partial(self._existing, name))
        obsolete = set[Key]()
        if self.file_store is not None:
            source = self.file_store(listing.open.store)
            obsolete.update(await pages.run(partial(writer.copy_missing, listing, source)))
        document = pages.app.index.projects.documents.peek(keys.project(name), "any")
        project = document.value if document and document.value else Project(name=name)
        unchanged = await pages.run(partial(self._unchanged_history, project, existing))
        numbers = range(1, older_pages(project.revision) + 1)
        history = (number for number in numbers if number not in unchanged)
        questions = list(project_questions(listing, history))
        is_final = True
        for start in range(0, len(questions), PAGES_AT_ONCE):
            part = questions[start : start + PAGES_AT_ONCE]
            answers = [await pages.app.ask(question) for question in part]
            is_final &= all(page.is_final for page in answers)
            await pages.write(answers, existing)
        kept = [question.target for question in questions]
        kept += [history_path(name, number) for number in unchanged]
        obsolete |= existing.keys() - {key for path in kept for key in writer.paths_of(path)}
        required = await pages.app.required_names(listing)
        entry = ManifestEntry(
            facts if is_final else replace(facts, document=ABSENT),
            project.revision,
            project.commit.id if project.commit else "",
            " ".join(sorted(required.difference(facts.required_names, [name]))),
        )
        return ExportedProject(entry, frozenset(obsolete))

    def _existing(self, name: NormalizedName) -> Sizes:
        if self.existing is not None:
            return self.existing.get(name, {})
        return self.pages.writer.sizes(f"{root}{name}/" for root in ROOTS)

    def _unchanged_history(self, project: Project, existing: Sizes) -> range:
        """
        Return the numbers of older pages of the history that are in the site as they would be made.

        A journal only gets longer, unless it was restored from a backup.
        """
        entry = self.before.get(project.name)
        if entry is None or self.existing is not None or entry.revision > project.revision:
            return range(0)
        unchanged = range(1, older_pages(entry.revision))  # the last one has no link to a newer one
        paths = (history_path(project.name, number) for number in unchanged)
        if not all(key in existing for path in paths for key in self.pages.writer.paths_of(path)):
            return range(0)
        commit = unchanged and self.pages.app.index.projects.journal(project).find(entry.revision)
        return unchanged if commit and commit.id == entry.commit else range(0)
