"""The incremental export: writes the projects that have changed since the last export."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Final

from msgspec import structs
from msgspec.json import encode
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.conflict_retry import ConflictRetries
from wheelyard.catalog.document_cache import DAMAGED
from wheelyard.catalog.projects import Projects
from wheelyard.errors import Conflict, Invalid, NotFound, Unavailable
from wheelyard.model.project import Project
from wheelyard.operations.exporting.manifest import (
    BAD_DESTINATION,
    EXPORT_PREFIX,
    MANIFEST_PATH,
    FileMode,
    LoadedManifest,
    Manifest,
    ManifestEntry,
    Options,
    load_manifest,
)
from wheelyard.operations.exporting.site_distributions import SiteDistributions
from wheelyard.operations.exporting.site_pages import (
    INDEX,
    JSON,
    SEARCH,
    PageWriter,
    SitePage,
    SitePages,
    Versions,
)
from wheelyard.storage.base import ABSENT, Key, ObjectVersion

STARTED_MARKER: Final = Key(f"{EXPORT_PREFIX}begun.json")
"""Written before the first page, so that a later export knows an unfinished site as its own."""
SIMPLE_PREFIX: Final = "simple/"
PAGE_PREFIXES: Final = (SIMPLE_PREFIX, "setup/", "project/", "pypi/", "-/", INDEX, SEARCH)
"""The prefixes of all pages."""


@dataclass(frozen=True, slots=True)
class ExportTask:
    """A project to export, with the versions of its pages in the site."""

    name: NormalizedName
    expected: Versions
    """The versions of its pages before this export, as far as known."""


TaskResult = ManifestEntry | str
"""The new manifest entry of a project, or the error message if the store has lost data."""
RunTask = Callable[[ExportTask], TaskResult]
TaskResults = Generator[tuple[ExportTask, TaskResult], None, None]
RunAll = Callable[[list[ExportTask], RunTask], TaskResults]
ExportProgress = Callable[[int, int], None]
"""Called with the number of finished projects, and of all to export."""


@dataclass(frozen=True, slots=True)
class ExportResult:
    """The result of an export: numbers of projects, and error messages."""

    projects: int
    """The number of projects that were exported."""
    total: int
    """The number of projects in the site."""
    failed: tuple[str, ...] = ()
    """The error messages of the projects that were not exported."""


@dataclass(slots=True, kw_only=True)
class _Run:
    """One run of an export: the site before it, and what was exported so far."""

    loaded: LoadedManifest
    manifest: Manifest
    """Empty if the loaded one is not valid for the options of this export."""
    existing: Versions | None = None
    """The versions of all pages of the site if all are made again, else None: see `manifest`."""
    vanished: Mapping[str, ManifestEntry] = field(default_factory=dict)
    """Projects of the site that the store lacks, as after a restore from a backup."""
    entries: dict[str, ManifestEntry] = field(default_factory=dict)
    """The exported projects."""
    failed: dict[str, str] = field(default_factory=dict)
    """The error messages of failed projects."""
    lists: dict[Key, ObjectVersion] = field(default_factory=dict)
    """The versions of the project lists that were written."""

    @property
    def is_full(self) -> bool:
        """Whether this run makes all pages of the site again."""
        return self.existing is not None

    @property
    def list_versions(self) -> Versions:
        """The versions before this run of at least the project lists and the search index."""
        return self.manifest.lists if self.existing is None else self.existing

    def page_versions(self, name: str, paths: Iterable[Key]) -> dict[Key, ObjectVersion]:
        """Return the versions before this run, as far as known, of a project's pages at `paths`."""
        if self.existing is not None:
            return {path: self.existing[path] for path in paths if path in self.existing}
        entry = self.manifest.projects.get(name)
        return dict(zip(paths, entry.page_versions, strict=False)) if entry else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class IncrementalExport:
    """Writes the changed projects of an index to a site, even while other exports do so."""

    projects: Projects
    loaded: LoadedManifest
    options: Options
    """The options for the pages of this export."""
    pages: SitePages
    files: SiteDistributions
    writer: PageWriter
    retries: ConflictRetries
    """For conflicts with another export."""
    run_all: RunAll
    """Runs a function for all tasks, in threads or processes."""
    owns_files: bool = True
    """Whether the `files/` folder of the site is not that of the store itself."""

    def check_destination(self) -> None:
        """Raise Invalid (`bad_destination`) if the site has pages, and no export began there."""
        if self.loaded.manifest is None:
            self._check_ownership(self._existing_pages())

    def run(self, progress: ExportProgress, *, everything: bool = False) -> ExportResult:
        """
        Export the changed projects, the lists and the search index; return the result.

        All projects are exported if the site is new or was made with other options or by another
        version, or if `everything`, which also replaces pages that no export has made.

        Raises:
            Invalid: The site has pages, and no export began there; or a file cannot be linked (code
                `bad_destination`).
            Unavailable: The store or the site does not answer.
        """
        run = self._prepare(everything=everything)
        listed = self.projects.names.get_current().as_set
        entries = self.projects.store.list(keys.PROJECTS)
        named = ((keys.project_of(entry.key), entry.version) for entry in entries)
        documents = {name: version for name, version in named if name is not None}
        shown = run.loaded.manifest.projects if run.loaded.manifest else {}
        run.vanished = {each: shown[each] for each in shown.keys() - documents.keys() - listed}
        stale = [
            name
            for name, version in documents.items()
            if name in listed and not run.manifest.is_current(name, version)
        ]
        return self._export(stale, run, progress)

    def export_projects(self, names: Iterable[NormalizedName]) -> ExportResult:
        """
        Export only these projects, changed or not; return the result.

        All are exported if the site is new, or was made with other options or by another version.
        """
        manifest = self.loaded.manifest
        if manifest is None or self._valid_manifest(manifest) is not manifest:
            return self.run(_ignore_progress)
        run = _Run(loaded=self.loaded, manifest=manifest)
        return self._export(sorted(set(names)), run, _ignore_progress)

    def export_project(self, task: ExportTask) -> TaskResult:
        """Export one project; return its manifest entry, or an error if the store has lost data."""
        try:
            return self._export_project(task)
        except Unavailable as fault:
            if fault.code != DAMAGED:
                raise
            return fault.message

    def _prepare(self, *, everything: bool) -> _Run:
        found = self.loaded.manifest
        manifest = self._valid_manifest(None if everything else found)
        if manifest is found:
            return _Run(loaded=self.loaded, manifest=manifest)
        existing = self._existing_pages()
        if found is None:
            if not everything:
                self._check_ownership(existing)
            with suppress(Conflict):  # another export has just started it
                self.writer.site.put(STARTED_MARKER, b"{}\n", ABSENT, JSON)
        # stale compressed pages, which a web server might prefer
        if existing:
            names = {*self.projects.names.get_current().names, *(found.projects if found else ())}
            for path in existing.keys() & self.pages.obsolete_gzip_paths(names):
                self.writer.site.delete(path, None)
        return _Run(loaded=self.loaded, manifest=manifest, existing=existing)

    def _existing_pages(self) -> dict[Key, ObjectVersion]:
        found = (entry for prefix in PAGE_PREFIXES for entry in self.writer.site.list(prefix))
        return {entry.key: entry.version for entry in found}

    def _check_ownership(self, existing: Versions) -> None:
        shown = (key for key in existing if key == INDEX or key.startswith(SIMPLE_PREFIX))
        foreign = next(shown, None)
        if foreign is not None and self.writer.site.get(STARTED_MARKER) is None:
            raise Invalid(
                f"There are pages that no export has made, {foreign} for one. Choose an empty "
                "place, or have them replaced with 'wheelyard export --all'.",
                code=BAD_DESTINATION,
            )

    def _export(
        self, names: list[NormalizedName], run: _Run, progress: ExportProgress
    ) -> ExportResult:
        manifest = run.manifest
        self._run_tasks(names, run, progress)
        is_listed = run.entries.keys() <= manifest.projects.keys() and not run.vanished
        if run.is_full or not is_listed:
            self._write_lists(run)
        if run.is_full:
            self._remove_obsolete_files(run)
        if run.is_full or run.entries or run.vanished:
            manifest = self._write_manifest(run)
        failed = tuple(run.failed[name] for name in sorted(run.failed))
        return ExportResult(len(run.entries), len(manifest.projects), failed)

    def _run_tasks(self, names: list[NormalizedName], run: _Run, progress: ExportProgress) -> None:
        paths_of = self.pages.project_paths
        tasks = [ExportTask(name, run.page_versions(name, paths_of(name))) for name in names]
        with closing(self.run_all(tasks, self.export_project)) as outcomes:
            for number, (task, outcome) in enumerate(outcomes, 1):
                if isinstance(outcome, str):
                    run.failed[task.name] = outcome
                else:
                    run.entries[task.name] = outcome
                progress(number, len(names))

    def _export_project(self, task: ExportTask) -> ManifestEntry:
        name, expected = task.name, task.expected
        for attempt in self.retries.attempts():
            if attempt:
                expected = self.writer.current_versions(self.pages.project_paths(name))
            try:
                project, entry = self._write_project(name, expected)
            except Conflict:
                continue  # another export is writing it, perhaps from a later document
            if project.status.serves_files:
                self.files.remove_unavailable(project)  # deleted filenames never return
                return entry
            # a quarantine may end any time, and another export may be adding the files again
            if self._is_latest(name, entry):
                self.files.remove_unavailable(project)
                if self._is_latest(name, entry):
                    return entry
        raise self.retries.exhausted(f"the pages of {name}")

    def _write_project(
        self, name: NormalizedName, expected: Versions
    ) -> tuple[Project, ManifestEntry]:
        """
        Write a project's missing files, and its pages over the versions `expected`.

        The document is read now, after `expected`. Return the project and its manifest entry; raise
        Conflict if a page has another version.
        """
        key = keys.project(name)
        snapshot = self.projects.documents.get(key, "current")
        project = snapshot.value
        if project is None:
            raise missing_document(name)
        try:
            self.files.copy_missing(project)
            pages, facts = self.pages.project_pages(project)
        except NotFound as error:
            if self.projects.documents.get(key, "current").version != snapshot.version:
                raise Conflict(error.message) from error  # deleted meanwhile, so try again
            raise Unavailable(
                f"{error.message} But {name} lists it. Run 'wheelyard check', restore it from a "
                "backup, and export again.",
                code=DAMAGED,
                short="A file is missing from storage.",
            ) from error
        written = self.writer.write(pages, expected)
        versions = tuple(written.get(path, ABSENT) for path in self.pages.project_paths(name))
        return project, ManifestEntry(project.revision, snapshot.version, facts, versions)

    def _write_lists(self, run: _Run) -> None:
        paths, expected = self.pages.list_paths, run.list_versions
        for attempt in self.retries.attempts():
            if attempt:
                expected = self.writer.current_versions(paths)
            names = self.projects.names.get_current().names
            known = {*run.manifest.projects, *run.entries, *run.failed}
            missing = [name for name in names if name not in known]
            self._run_tasks(missing, run, _ignore_progress)
            listed = [name for name in names if name not in run.failed or self._has_page(name)]
            with suppress(Conflict):
                run.lists = self.writer.write(self.pages.list_pages(listed), expected)
                return
        raise self.retries.exhausted("the list of projects")

    def _has_page(self, name: NormalizedName) -> bool:
        return bool(self.writer.current_versions(self.pages.project_paths(name)[:1]))

    def _remove_obsolete_files(self, run: _Run) -> None:
        before, options = run.loaded.manifest, self.options
        is_left = options.files is FileMode.LEAVE and self.owns_files
        if not is_left or options.files_url == f"{options.base_url}/files":
            return
        if before is None or before.options.files is FileMode.LEAVE:
            return
        served = {*run.entries, *run.vanished, *before.projects} - run.failed.keys()
        for entry in list(self.writer.site.list(keys.FILES)):
            owner = keys.parse_file_key(entry.key)
            if owner is not None and owner.project in served:  # other files stay
                self.writer.site.delete(entry.key, None)

    def _write_manifest(self, run: _Run) -> Manifest:
        # the manifest is last, as a later export skips what it lists
        paths, expected = self.pages.overview_paths, {**run.list_versions}
        for name in run.vanished:
            project_paths = self.pages.project_paths(NormalizedName(name))
            paths += project_paths
            expected |= run.page_versions(name, project_paths)
        before = run.loaded
        for attempt in self.retries.attempts():
            if attempt:
                expected = self.writer.current_versions(paths)
                before = load_manifest(self.writer.site)
            with suppress(Conflict):
                return self._merge_manifest(before, expected, run)
        raise self.retries.exhausted("the search index")

    def _merge_manifest(self, before: LoadedManifest, expected: Versions, run: _Run) -> Manifest:
        """
        Write home page and search index, delete pages of vanished projects, write the manifest.

        Return the merged manifest; raise Conflict if a page or `before` is outdated.
        """
        valid = self._valid_manifest(before.manifest).without(run.vanished)
        merged = valid.merged(run.entries, self._is_latest)
        facts = (each.facts for each in merged.projects.values())
        written = self.writer.write(self.pages.overview_pages(facts), expected)
        self.writer.write(self._deletions(run.vanished.keys() - merged.projects.keys()), expected)
        merged = structs.replace(merged, lists={**merged.lists, **run.lists, **written})
        page = SitePage(MANIFEST_PATH, JSON, encode(merged))
        self.writer.write([page], {MANIFEST_PATH: before.version})
        return merged

    def _deletions(self, names: Iterable[str]) -> Iterator[SitePage]:
        for name in map(NormalizedName, sorted(names)):
            if self.projects.documents.get(keys.project(name), "current").version == ABSENT:
                yield from (SitePage(path, JSON, None) for path in self.pages.project_paths(name))

    def _is_latest(self, name: str, entry: ManifestEntry) -> bool:
        key = keys.project(NormalizedName(name))
        return self.projects.documents.get(key, "current").version == entry.document_version

    def _valid_manifest(self, found: Manifest | None) -> Manifest:
        """Return `found` if it has the options and generator of this export, else an empty one."""
        return (found or Manifest(self.options)).valid_for(self.options)


def missing_document(name: NormalizedName) -> Unavailable:
    """Return the Unavailable for a project whose document the store has lost."""
    return Unavailable(
        f"The document of {name} is lost. Run 'wheelyard check --rebuild', or restore it from a "
        "backup, and export again.",
        code=DAMAGED,
        short="A document of the index is damaged.",
    )


def _ignore_progress(_done: int, _total: int) -> None:
    """Ignore the progress of an export."""
