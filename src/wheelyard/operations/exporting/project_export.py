"""The export of one project: its files, then its pages, then what is known of them."""

from collections.abc import Container, Iterable, Mapping
from contextlib import suppress

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.projects import Projects
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.errors import DAMAGED, Conflict, NotFound, Unavailable
from wheelyard.model.project import Project
from wheelyard.operations.exporting.manifest import ManifestEntry
from wheelyard.operations.exporting.page_writer import PageWriter, SitePage, Versions
from wheelyard.operations.exporting.project_record import (
    PageRecord,
    ProjectRecord,
    load_record,
    save_record,
)
from wheelyard.operations.exporting.site_distributions import SiteDistributions
from wheelyard.operations.exporting.site_pages import JSON, ProjectPages, SitePages
from wheelyard.rendering.project_facts import ProjectUser
from wheelyard.storage.base import ObjectVersion


class ExportTask(Struct, frozen=True):
    """A project to export."""

    name: NormalizedName
    used_by: tuple[ProjectUser, ...] = ()
    """The projects that its page names as its users."""
    existing: Versions | None = None
    """The versions of its pages if all of them are made again, else None: see `ProjectRecord`."""


class ExportedProject(Struct, frozen=True):
    """A project whose pages are in the site."""

    entry: ManifestEntry
    obsolete: Versions
    """Pages to delete, after those that link to them are replaced."""
    has_unavailable_files: bool
    """Whether the site may have files to remove, after the pages that link to them."""
    is_final: bool = True
    """Whether another export would make the same pages; if not, the next one tries it."""


TaskResult = ExportedProject | str
"""An exported project, or the error message if the store has lost data."""


class _Before(Struct, frozen=True):
    """What is known of the pages of a project in the site before they are written."""

    versions: Versions
    record: ProjectRecord | None = None
    """None if every page has to be written."""

    def unchanged(self, page: SitePage) -> PageRecord | None:
        """Return the record of a page that need not be written again."""
        found = self.record.pages.get(page.path) if self.record else None
        is_equal = found is not None and found.made_from == page.made_from != ""
        return found if is_equal else None


class ProjectExport(Struct, frozen=True, kw_only=True):
    """Exports single projects."""

    projects: Projects
    pages: SitePages
    files: SiteDistributions
    writer: PageWriter
    retries: ConflictRetries
    """For conflicts with another export."""

    def export(self, task: ExportTask, known: Container[str]) -> TaskResult:
        """Export a project, whose pages may link to `known`; return a message if data is lost."""
        try:
            return self._export(task, known)
        except Unavailable as fault:
            if fault.code != DAMAGED:
                raise
            return fault.message

    def current_version(self, name: str) -> ObjectVersion:
        """Return the version of a project's document, read now."""
        key = keys.project(NormalizedName(name))
        return self.projects.documents.get(key, "current").version

    def remove_files(self, name: NormalizedName, entry: ManifestEntry) -> bool:
        """
        Remove the files of a project that no page links to any more.

        Return whether that is done; if not, the project has to be exported again: the document is
        not that of `entry` any more, and files that were removed may be needed.
        """
        found = self.projects.documents.get(keys.project(name), "current")
        if found.value is None or found.version != entry.facts.document:
            return False
        self.files.remove_unavailable(found.value)
        # deleted filenames never return; but a quarantine may end any time, and another export may
        # be adding the files again
        return found.value.status.serves_files or self.current_version(name) == found.version

    def _export(self, task: ExportTask, known: Container[str]) -> ExportedProject:
        name, before = task.name, self._before(task)
        for attempt in self.retries.attempts():
            if attempt:
                before = self._listed(name)
            with suppress(Conflict):  # another export is writing it, perhaps from a later document
                return self._write(task, known, before)
        raise self.retries.exhausted(f"the pages of {name}")

    def _before(self, task: ExportTask) -> _Before:
        if task.existing is not None:
            return _Before(task.existing)
        record = load_record(self.writer.site, task.name)
        if record is None or record.made_with != self.pages.made_with:
            return self._listed(task.name)
        versions = {
            key: version
            for path, page in record.pages.items()
            for key, version in zip(self.writer.paths.of(path), page.versions, strict=True)
        }
        return _Before(versions | self.writer.versions_of(record.obsolete), record)

    def _listed(self, name: NormalizedName) -> _Before:
        return _Before(self.writer.listed_versions(self.pages.project_prefixes(name)))

    def _write(self, task: ExportTask, known: Container[str], before: _Before) -> ExportedProject:
        """
        Write a project's missing files and its pages; return how it was exported.

        The document is read now, after the versions of the pages. Raise Conflict if a page has
        another version.
        """
        name = task.name
        snapshot = self.projects.documents.get(keys.project(name), "current")
        project = snapshot.value
        if project is None:
            if self.projects.has_journal(name):
                raise missing_document(name)
            project = Project(name=name)  # a private name under which nothing is published yet
        try:
            self.files.copy_missing(project)
            pages = ProjectPages(
                site=self.pages,
                project=project,
                document=snapshot.version,
                used_by=task.used_by,
                known=known,
                before=before.record,
            )
            written = self._write_pages(pages, before)
        except NotFound as error:
            if self.current_version(name) != snapshot.version:
                raise Conflict(error.message) from error  # deleted meanwhile, so try again
            raise _lost_file(name, error) from error
        obsolete = self._save_record(name, pages, written, before)
        has_unavailable = bool(project.deleted_filenames) or not project.status.serves_files
        return ExportedProject(pages.entry, obsolete, has_unavailable, pages.is_final)

    def _write_pages(self, pages: Iterable[SitePage], before: _Before) -> dict[str, PageRecord]:
        known = dict[str, PageRecord]()
        for page in pages:
            record = before.unchanged(page)
            if record is None:
                versions = self.writer.write(page, before.versions)
                record = PageRecord(page.made_from, tuple(versions.values()))
            known[page.path] = record
        return known

    def _save_record(
        self,
        name: NormalizedName,
        pages: ProjectPages,
        written: Mapping[str, PageRecord],
        before: _Before,
    ) -> Versions:
        """Save the record of the pages; return those that are obsolete now."""
        kept = {key for path in written for key in self.writer.paths.of(path)}
        obsolete = {key: each for key, each in before.versions.items() if key not in kept}
        record = replace(pages.record, pages=dict(written), obsolete=obsolete)
        save_record(self.writer.site, name, record, JSON)
        return obsolete


def missing_document(name: NormalizedName) -> Unavailable:
    """Return the Unavailable for a project whose document the store has lost."""
    return Unavailable(
        f"The document of {name} is lost. Run 'wheelyard check --rebuild', or restore it from a "
        "backup, and export again.",
        code=DAMAGED,
        short="A document of the index is damaged.",
    )


def _lost_file(name: NormalizedName, error: NotFound) -> Unavailable:
    return Unavailable(
        f"{error.message} But {name} lists it. Run 'wheelyard check', restore it from a backup, "
        "and export again.",
        code=DAMAGED,
        short="A file is missing from storage.",
    )
