"""The export: what has changed since the last one, and only that."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from typing import Final

from msgspec import structs
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
    encoded,
    load_manifest,
)
from wheelyard.operations.exporting.site_files import SiteFiles
from wheelyard.operations.exporting.site_pages import (
    INDEX,
    JSON,
    SEARCH,
    PageWriter,
    SitePage,
    SitePages,
    Versions,
)
from wheelyard.rendering.search_json import search_json
from wheelyard.storage.base import ABSENT, Key, ObjectVersion

BEGUN: Final = Key(f"{EXPORT_PREFIX}begun.json")
"""Put before the first page: it tells a site that is begun from anybody else's."""
SIMPLE: Final = "simple/"
PAGES: Final = (SIMPLE, "project/", "pypi/", INDEX, SEARCH)
"""Prefixes of pages."""


@dataclass(frozen=True, slots=True)
class ExportTask:
    """A project that is to be exported."""

    name: NormalizedName
    seen: Versions
    """The versions that its pages had before this export, as far as is known."""


TaskResult = ManifestEntry | str
"""What the manifest will say of a project; a text where the store has lost it."""
Work = Callable[[ExportTask], TaskResult]
Each = Callable[[list[ExportTask], Work], Generator[tuple[ExportTask, TaskResult], None, None]]


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What an export did."""

    projects: int
    """That were exported anew."""
    of: int
    """Projects that the site has now."""
    failed: tuple[str, ...] = ()
    """Why others were not, a sentence or two each."""


@dataclass(slots=True)
class _Done:
    lines: dict[str, ManifestEntry] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    lists: dict[Key, ObjectVersion] = field(default_factory=dict)
    """The versions of the lists that were written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    noted: LoadedManifest
    """What the site says of itself."""
    manifest: Manifest
    """What of it holds."""
    there: Versions | None = None
    """What pages the site has, where all are made anew; else the manifest knows."""
    vanished: Mapping[str, ManifestEntry] = field(default_factory=dict)
    """Projects that the site has and the store has not: it was restored from a backup."""

    @property
    def is_new(self) -> bool:
        """Whether every page has to be made anew."""
        return self.there is not None

    @property
    def lists(self) -> Versions:
        """The versions of the lists, and of the search index."""
        return self.manifest.lists if self.there is None else self.there

    def seen(self, name: str, paths: Iterable[Key]) -> dict[Key, ObjectVersion]:
        """Return the versions of a project's pages."""
        if self.there is not None:
            return {path: self.there[path] for path in paths if path in self.there}
        line = self.manifest.projects.get(name)
        return dict(zip(paths, line.pages, strict=False)) if line else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class IncrementalExport:
    """Brings one site up to date."""

    projects: Projects
    noted: LoadedManifest
    """What the site says of itself."""
    options: Options
    """How it is to look."""
    pages: SitePages
    places: SiteFiles
    writing: PageWriter
    retries: ConflictRetries
    """How often a project is begun anew that somebody else exports, too."""
    each: Each
    """Does the work for every project, several at a time."""
    owns_files: bool = True
    """Whether `files/` of the site is not the store's own."""

    def require_place(self) -> None:
        """
        Return if the site may be written; nothing is.

        Raises:
            Invalid: It holds what no export has made (code `bad_destination`).
        """
        if self.noted.manifest is None:
            self._require_ours(self._pages_there())

    def run(
        self, progress: Callable[[int, int], None], *, everything: bool = False
    ) -> ExportResult:
        """
        Export every project that has changed.

        Args:
            progress: Told how many projects are done, of how many.
            everything: Write every page again, changed or not, and over whatever is in its place.

        Raises:
            Invalid: The site holds what no export has made (code `bad_destination`).
            Unavailable: The store or the site does not answer.
        """
        begun = self._begun(everything=everything)
        listed = self.projects.names.latest().known
        entries = self.projects.store.list(keys.PROJECTS)
        named = ((keys.project_of(entry.key), entry.version) for entry in entries)
        documents = {name: version for name, version in named if name is not None}
        shown = begun.noted.manifest.projects if begun.noted.manifest else {}
        gone = {each: shown[each] for each in shown.keys() - documents.keys() - listed}
        stale = [
            name
            for name, version in documents.items()
            if name in listed and not begun.manifest.is_current(name, version)
        ]
        return self._export(stale, replace(begun, vanished=gone), progress)

    def refresh(self, names: Iterable[NormalizedName]) -> ExportResult:
        """Export some projects, and look at no other; all of them where the site is new."""
        manifest = self.noted.manifest
        if manifest is None or self._holding(manifest) is not manifest:
            return self.run(_nobody)
        begun = _Begun(noted=self.noted, manifest=manifest)
        return self._export(sorted(set(names)), begun, _nobody)

    def project(self, task: ExportTask) -> TaskResult:
        """Export one project; return what the manifest will say of it, or why it cannot."""
        try:
            return self._project(task)
        except Unavailable as fault:
            if fault.code != DAMAGED:
                raise
            return fault.message

    def _begun(self, *, everything: bool) -> _Begun:
        found = self.noted.manifest
        manifest = self._holding(None if everything else found)
        if manifest is found:
            return _Begun(noted=self.noted, manifest=manifest)
        there = self._pages_there()
        if found is None:
            if not everything:
                self._require_ours(there)
            with suppress(Conflict):  # somebody else begins it, too
                self.writing.site.put(BEGUN, b"{}\n", ABSENT, JSON)
        # compressed pages that nobody would renew, and a web server might prefer
        names = {*self.projects.names.latest().names, *(found.projects if found else ())}
        for path in there.keys() & self.pages.left_over(names):
            self.writing.site.delete(path, None)
        return _Begun(noted=self.noted, manifest=manifest, there=there)

    def _pages_there(self) -> dict[Key, ObjectVersion]:
        found = (entry for prefix in PAGES for entry in self.writing.site.list(prefix))
        return {entry.key: entry.version for entry in found}

    def _require_ours(self, there: Versions) -> None:
        theirs = next((key for key in there if key == INDEX or key.startswith(SIMPLE)), None)
        if theirs is not None and self.writing.site.get(BEGUN) is None:
            raise Invalid(
                f"There are pages that no export has made, {theirs} for one. Choose an empty "
                "place, or have them replaced with 'wheelyard export --all'.",
                code=BAD_DESTINATION,
            )

    def _export(
        self, names: list[NormalizedName], begun: _Begun, progress: Callable[[int, int], None]
    ) -> ExportResult:
        done, manifest = _Done(), begun.manifest
        self._do(names, begun, done, progress)
        is_listed = done.lines.keys() <= manifest.projects.keys() and not begun.vanished
        if begun.is_new or not is_listed:
            self._list(begun, done)
        if begun.is_new:
            self._remove_files(begun, done)
        if begun.is_new or done.lines or begun.vanished:
            manifest = self._finish(begun, done)
        failed = tuple(done.failed[name] for name in sorted(done.failed))
        return ExportResult(len(done.lines), len(manifest.projects), failed)

    def _do(
        self,
        names: list[NormalizedName],
        begun: _Begun,
        done: _Done,
        progress: Callable[[int, int], None],
    ) -> None:
        tasks = [ExportTask(name, begun.seen(name, self.pages.paths_of(name))) for name in names]
        with closing(self.each(tasks, self.project)) as outcomes:
            for number, (task, outcome) in enumerate(outcomes, 1):
                if isinstance(outcome, str):
                    done.failed[task.name] = outcome
                else:
                    done.lines[task.name] = outcome
                progress(number, len(names))

    def _project(self, task: ExportTask) -> ManifestEntry:
        name, seen = task.name, task.seen
        for attempt in self.retries.attempts():
            if attempt:
                seen = self.writing.seen(self.pages.paths_of(name))
            try:
                project, line = self._renewed(name, seen)
            except Conflict:
                continue  # somebody else exports it, too, and perhaps something later
            if project.status.serves_files:
                self.places.take_away(project)  # what was deleted, which is for ever
                return line
            # what is hidden may come back any time, and somebody else may be bringing it
            if self._is_latest(name, line):
                self.places.take_away(project)
                if self._is_latest(name, line):
                    return line
        raise self.retries.exhausted(f"the pages of {name}")

    def _renewed(self, name: NormalizedName, seen: Versions) -> tuple[Project, ManifestEntry]:
        """Put the pages of a project, whose document is read after `seen`."""
        key = keys.project(name)
        snapshot = self.projects.documents.get(key, "now")
        project = snapshot.value
        if project is None:
            raise missing_document(name)
        try:
            self.places.bring(project)
            pages, found = self.pages.of_project(project)
        except NotFound as fault:
            if self.projects.documents.get(key, "now").version != snapshot.version:
                raise Conflict(fault.message) from fault  # deleted meanwhile, so look again
            raise _lost(name, fault) from fault
        put = self.writing.put(pages, seen)
        versions = tuple(put.get(path, ABSENT) for path in self.pages.paths_of(name))
        return project, ManifestEntry(project.revision, snapshot.version, found, versions)

    def _list(self, begun: _Begun, done: _Done) -> None:
        paths, seen = self.pages.list_paths, begun.lists
        for attempt in self.retries.attempts():
            if attempt:
                seen = self.writing.seen(paths)
            names = self.projects.names.latest().names
            known = {*begun.manifest.projects, *done.lines, *done.failed}
            self._do([name for name in names if name not in known], begun, done, _nobody)
            listed = [name for name in names if name not in done.failed or self._has_page(name)]
            with suppress(Conflict):
                done.lists = self.writing.put(self.pages.of_names(listed), seen)
                return
        raise self.retries.exhausted("the list of projects")

    def _has_page(self, name: NormalizedName) -> bool:
        return bool(self.writing.seen(self.pages.paths_of(name)[:1]))

    def _remove_files(self, begun: _Begun, done: _Done) -> None:
        before, options = begun.noted.manifest, self.options
        is_left = options.files is FileMode.LEAVE and self.owns_files
        if not is_left or options.files_url == f"{options.base_url}/files":
            return
        if before is None or before.options.files is FileMode.LEAVE:
            return
        served = {*done.lines, *begun.vanished, *before.projects} - done.failed.keys()
        for entry in list(self.writing.site.list(keys.FILES)):
            owner = keys.owner_of(entry.key)
            if owner is not None and owner.project in served:  # what is nobody's stays
                self.writing.site.delete(entry.key, None)

    def _finish(self, begun: _Begun, done: _Done) -> Manifest:
        # the index comes first: what the manifest says is done is never looked at again
        gone = [(name, self.pages.paths_of(NormalizedName(name))) for name in begun.vanished]
        paths = (*self.pages.search_paths, *(path for _, of_one in gone for path in of_one))
        seen = {**begun.lists}
        for name, of_one in gone:
            seen |= begun.seen(name, of_one)
        before = begun.noted
        for attempt in self.retries.attempts():
            if attempt:
                seen, before = self.writing.seen(paths), load_manifest(self.writing.site)
            with suppress(Conflict):
                return self._told(before, seen, begun.vanished, done)
        raise self.retries.exhausted("the search index")

    def _told(
        self,
        before: LoadedManifest,
        seen: Versions,
        vanished: Mapping[str, ManifestEntry],
        done: _Done,
    ) -> Manifest:
        held = self._holding(before.manifest).without(vanished)
        merged = held.merged(done.lines, self._is_latest)
        found = search_json(line.found for line in merged.projects.values())
        put = self.writing.put(self.pages.of_search(found), seen)
        self.writing.put(self._unlisted(vanished.keys() - merged.projects.keys()), seen)
        merged = structs.replace(merged, lists={**merged.lists, **done.lists, **put})
        self.writing.put(
            [SitePage(MANIFEST_PATH, JSON, encoded(merged))], {MANIFEST_PATH: before.version}
        )
        return merged

    def _unlisted(self, names: Iterable[str]) -> Iterator[SitePage]:
        for name in map(NormalizedName, sorted(names)):
            if self.projects.documents.get(keys.project(name), "now").version == ABSENT:
                yield from (SitePage(path, JSON, None) for path in self.pages.paths_of(name))

    def _is_latest(self, name: str, line: ManifestEntry) -> bool:
        key = keys.project(NormalizedName(name))
        return self.projects.documents.get(key, "now").version == line.document

    def _holding(self, found: Manifest | None) -> Manifest:
        """Return what holds of a manifest for pages as they are to look now."""
        return (found or Manifest(self.options)).under(self.options)


def _lost(name: NormalizedName, fault: NotFound) -> Unavailable:
    return Unavailable(
        f"{fault.message} But {name} lists it. Run 'wheelyard check', restore it from a backup, "
        "and export again.",
        code=DAMAGED,
        short="A file is missing from storage.",
    )


def missing_document(name: NormalizedName) -> Unavailable:
    """Return the fault for a project whose document the store has not."""
    return Unavailable(
        f"The document of {name} is lost. Run 'wheelyard check --rebuild', or restore it from a "
        "backup, and export again.",
        code=DAMAGED,
        short="A document of the index is damaged.",
    )


def _nobody(_done: int, _of: int) -> None:
    """Take no notice of how far it has come."""
