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
from wheelyard.catalog.document_cache import Snapshot
from wheelyard.errors import DAMAGED, NotFound, Unavailable
from wheelyard.exporting.application import SiteApplication, history_path, project_questions
from wheelyard.exporting.manifest import ManifestEntry
from wheelyard.exporting.site import FileStore, Page, SiteWriter, Sizes
from wheelyard.model.project import Project
from wheelyard.operations.project_history import older_pages
from wheelyard.rendering.project_facts import ProjectFacts
from wheelyard.rendering.releases import releases_of
from wheelyard.storage.base import ABSENT, Key

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
    """Asks the application for pages, and writes them in threads."""

    app: SiteApplication
    writer: SiteWriter
    pool: ThreadPoolExecutor
    writes_in_order: bool
    """Whether the pages of one call are written by one thread, as to a folder."""

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work in the pool, and return its result."""
        return await get_running_loop().run_in_executor(self.pool, work)

    async def write(self, pages: Iterable[Page], existing: Sizes) -> None:
        """Write those pages whose bytes have changed."""
        if self.writes_in_order:
            await self.in_thread(lambda: self._write_all(pages, existing))
        else:
            write = self.writer.write
            await gather(*(self.in_thread(partial(write, page, existing)) for page in pages))

    def _write_all(self, pages: Iterable[Page], existing: Sizes) -> None:
        for page in pages:
            self.writer.write(page, existing)


class ProjectExport(Struct, frozen=True, kw_only=True):
    """Exports single projects."""

    pages: SitePages
    files: FileStore | None
    """Where files are copied from; None if they are left elsewhere."""
    before: Mapping[NormalizedName, ManifestEntry]
    existing: Mapping[str, Sizes] | None
    """The pages of each project in the site; None if they are listed for each project."""

    async def export(self, facts: ProjectFacts) -> ExportedProject:
        """
        Write what has changed of a project; `facts` are those that the manifest will have.

        Raise Unavailable (`damaged_document`) if the store has lost something of it.
        """
        read = partial(self._read, facts.name)
        while True:
            snapshot = await self.pages.in_thread(read)
            project = snapshot.value or Project(name=facts.name)
            try:
                return await self._export(project, facts)
            except (NotFound, Unavailable) as fault:
                is_lost = isinstance(fault, NotFound) or fault.code == DAMAGED
                if not is_lost or (await self.pages.in_thread(read)).version == snapshot.version:
                    raise  # else it was deleted meanwhile

    def _read(self, name: NormalizedName) -> Snapshot[Project]:
        """Return the document of a project, read now; without value for a name without commit."""
        projects = self.pages.app.index.projects
        snapshot = projects.documents.get(keys.project(name), "current")
        if snapshot.value is None and projects.has_journal(name):
            raise Unavailable(
                f"The document of {name} is lost. Run 'wheelyard check --rebuild', or restore it "
                "from a backup, and export again.",
                code=DAMAGED,
                short="A document of the index is damaged.",
            )
        return snapshot

    async def _export(self, project: Project, facts: ProjectFacts) -> ExportedProject:
        pages, name = self.pages, project.name
        writer = pages.writer
        existing = await pages.in_thread(partial(self._existing, name))
        obsolete = set[Key]()
        if self.files is not None:
            copy = partial(writer.copy_missing, project, self.files)
            obsolete.update(await pages.in_thread(copy))
        unchanged = await pages.in_thread(partial(self._unchanged_history, project, existing))
        older = range(1, older_pages(project.revision) + 1)
        questions = list(
            project_questions(project, [each for each in older if each not in unchanged])
        )
        is_final = True
        for start in range(0, len(questions), PAGES_AT_ONCE):
            part = questions[start : start + PAGES_AT_ONCE]
            answers = [await pages.app.ask(question) for question in part]
            is_final &= all(page.is_final for page in answers)
            await pages.write(answers, existing)
        kept = {
            *(question.target for question in questions),
            *(history_path(name, each) for each in unchanged),
        }
        obsolete |= existing.keys() - {key for path in kept for key in writer.paths_of(path)}
        required = await pages.in_thread(partial(self._required, project))
        commit = project.commit
        entry = ManifestEntry(
            facts if is_final else replace(facts, document=ABSENT),
            project.revision,
            commit.id if commit else "",
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
        number = older_pages(entry.revision) if entry and self.existing is None else 0
        unchanged = range(1, number)  # the last one has no link to a newer one
        if entry is None or not unchanged or entry.revision > project.revision:
            return range(0)
        commit = self.pages.app.index.projects.commit(project, entry.revision)
        is_same = commit is not None and commit.id == entry.commit
        paths = (history_path(project.name, number) for number in unchanged)
        are_there = all(
            key in existing for path in paths for key in self.pages.writer.paths_of(path)
        )
        return unchanged if is_same and are_there else range(0)

    def _required(self, project: Project) -> set[NormalizedName]:
        """Return the names of all projects that any release requires."""
        names = set[NormalizedName]()
        for release in releases_of(project):
            names |= self.pages.app.required_names(project.name, release.metadata_file)
        return names
