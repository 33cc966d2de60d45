"""The incremental export: writes the projects that have changed since the last export."""

from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from contextlib import closing, suppress
from heapq import nlargest
from operator import attrgetter
from typing import Final

from msgspec import Struct, structs
from msgspec.json import encode
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.projects import Projects
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.errors import Conflict, Invalid
from wheelyard.model.project import Project
from wheelyard.operations.exporting.index_pages import COMMON_PATHS, LISTS, PREFIXES, IndexPages
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
from wheelyard.operations.exporting.page_writer import INDEX, PageWriter, SitePage, Versions
from wheelyard.operations.exporting.project_export import ExportTask, ProjectExport, TaskResult
from wheelyard.operations.exporting.site_links import SiteLinks, affected
from wheelyard.operations.exporting.site_pages import JSON, ROOTS
from wheelyard.operations.latest_changes import CHANGED_PROJECTS, read_latest
from wheelyard.rendering.project_facts import ProjectFacts, name_facts
from wheelyard.storage.base import ABSENT, Key, ObjectVersion

STARTED_MARKER: Final = Key(f"{EXPORT_PREFIX}begun.json")
"""Written before the first page, so that a later export knows an unfinished site as its own."""
SIMPLE_PREFIX: Final = "simple/"
MAX_ROUNDS: Final = 10
"""How often projects are exported again because others, which they link to, have changed."""

TaskResults = Generator[tuple[ExportTask, TaskResult], None, None]
RunAll = Callable[[list[ExportTask], frozenset[str]], TaskResults]
ExportProgress = Callable[[int, int], None]
"""Called with the number of finished projects, and of all to export."""


class ExportResult(Struct, frozen=True):
    """The result of an export: numbers of projects, and error messages."""

    projects: int
    """The number of projects that were exported."""
    total: int
    """The number of projects in the site."""
    failed: tuple[str, ...] = ()
    """The error messages of the projects that were not exported."""


class _Run(Struct, kw_only=True):
    """One run of an export: the site before it, and what was exported so far."""

    loaded: LoadedManifest
    manifest: Manifest
    """Empty if the loaded one is not valid for the options of this export."""
    existing: Versions | None = None
    """The versions of all pages of the site if all are made again, else None: see `manifest`."""
    foreign: frozenset[str] = frozenset()
    """Those of `COMMON_PATHS` at which is something that no export has written."""
    vanished: Mapping[str, ManifestEntry] = {}
    """Projects of the site that the store lacks, as after a restore from a backup."""
    entries: dict[str, ManifestEntry] = {}
    """The exported projects."""
    failed: dict[str, str] = {}
    """The error messages of failed projects."""
    provisional: set[str] = set()
    """Exported projects that the next export does again."""
    unavailable: set[NormalizedName] = set()
    """Exported projects of whose files some may have to be removed."""
    obsolete: dict[Key, ObjectVersion] = {}
    """Pages of exported projects to delete as soon as no page links to them."""

    @property
    def is_full(self) -> bool:
        """Whether this run makes all pages of the site again."""
        return self.existing is not None


class IncrementalExport(Struct, frozen=True, kw_only=True):
    """Writes the changed projects of an index to a site, even while other exports do so."""

    projects: Projects
    loaded: LoadedManifest
    options: Options
    """The options for the pages of this export."""
    project: ProjectExport
    pages: IndexPages
    writer: PageWriter
    retries: ConflictRetries
    """For conflicts with another export."""
    run_all: RunAll
    """Exports the projects of all tasks, in threads or processes."""
    known_facts: Callable[[], Iterable[ProjectFacts]]
    """Returns facts, sorted by name, perhaps old or none, for a site without a manifest."""
    is_local: bool
    """Whether reading the store takes no request over the network."""
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
        version, or if `everything`, which also replaces pages that no export has made. Raise as
        `check_destination`, also if a file cannot be linked.
        """
        run = self._prepare(everything=everything)
        listed = self.projects.names.get_current().as_set
        entries = self.projects.store.list(keys.PROJECTS)
        named = ((keys.project_of(entry.key), entry.version) for entry in entries)
        documents = {name: version for name, version in named if name is not None}
        shown = run.loaded.manifest.projects if run.loaded.manifest else {}
        run.vanished = {
            each: shown[each]
            for each in shown.keys() - listed
            if each not in documents or self._released(each) is not None
        }
        stale = [
            name
            for name, version in documents.items()
            if name in listed and not run.manifest.is_current(name, version)
        ]
        return self._export(stale, run, progress)

    def export_projects(self, names: Iterable[NormalizedName]) -> ExportResult:
        """Export these projects, changed or not; or all, if all pages have to be made again."""
        manifest = self.loaded.manifest
        if manifest is None or self._valid_manifest(manifest) is not manifest:
            return self.run(_ignore_progress)
        run = _Run(loaded=self.loaded, manifest=manifest)
        return self._export(sorted(set(names)), run, _ignore_progress)

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
        if not self.options.is_gzipped:  # a web server might prefer the old compressed pages
            pages = (key for key in existing if not key.endswith(".gz"))
            packed = {Key(f"{key}.gz") for key in pages} & existing.keys()
            self.writer.delete({key: existing.pop(key) for key in packed})
        ours = found.lists if found else {}
        foreign = () if everything else (key for key in COMMON_PATHS if key in existing)
        kept = frozenset(key for key in foreign if existing[key] != ours.get(key))
        return _Run(loaded=self.loaded, manifest=manifest, existing=existing, foreign=kept)

    def _existing_pages(self) -> dict[Key, ObjectVersion]:
        return self.writer.listed_versions(dict.fromkeys((*ROOTS, *PREFIXES)))

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
        manifest, fixed = run.manifest, dict[Key, ObjectVersion]()
        if run.existing is not None:  # every page needs some of these
            fixed = self._write_fixed(run, run.existing)
        self._run_tasks(names, run, self._first_links(names, run), progress)
        if run.is_full:
            self._remove_obsolete_files(run)
        if run.is_full or run.entries or run.vanished:
            manifest = self._finish(run, fixed)
        failed = tuple(run.failed[name] for name in sorted(run.failed))
        return ExportResult(len(run.entries), len(manifest.projects), failed)

    def _write_fixed(self, run: _Run, expected: Versions) -> dict[Key, ObjectVersion]:
        pages = [page for page in self.pages.fixed() if page.path not in run.foreign]
        for attempt in self.retries.attempts():
            if attempt:
                expected = self.writer.listed_versions(PREFIXES)
            with suppress(Conflict):
                return self._write_pages(pages, expected)
        raise self.retries.exhausted("the style sheet")

    def _first_links(self, names: Collection[NormalizedName], run: _Run) -> SiteLinks:
        """
        Return the links for the first time that projects are exported: to pages that exist.

        A new site has no pages, and is not complete without all of them, so these may link to pages
        that come later.
        """
        if run.existing is None:
            shown = run.manifest.projects
            return SiteLinks((each.facts for each in shown.values()), shown.keys())
        known: Iterable[str] = names
        if INDEX in run.existing:
            pages = run.existing
            known = (each for each in names if f"project/{each}/{INDEX}" in pages)
        return SiteLinks(self.known_facts(), known)

    def _run_tasks(
        self,
        names: Collection[str],
        run: _Run,
        links: SiteLinks,
        progress: ExportProgress,
    ) -> None:
        existing = None if run.existing is None else _by_project(run.existing)
        tasks = [
            ExportTask(
                NormalizedName(name),
                links.used_by(name),
                # what was exported before, in this run, has a record
                None if existing is None or name in run.entries else existing.get(name, {}),
            )
            for name in names
        ]
        with closing(self.run_all(tasks, links.known)) as outcomes:
            for number, (task, outcome) in enumerate(outcomes, 1):
                if isinstance(outcome, str):
                    run.failed[task.name] = outcome
                else:
                    run.entries[task.name] = outcome.entry
                    run.obsolete.update(outcome.obsolete)
                    (set.discard if outcome.is_final else set.add)(run.provisional, task.name)
                    if outcome.has_unavailable_files:
                        run.unavailable.add(task.name)
                progress(number, len(names))

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

    def _finish(self, run: _Run, fixed: Versions) -> Manifest:
        """Write the pages of all projects, delete what they do not link to; last, the manifest."""
        before, expected = run.loaded, run.existing or run.manifest.lists
        for attempt in self.retries.attempts():
            if attempt:  # another export has written one of these pages
                before = load_manifest(self.writer.site)
                expected = self.writer.listed_versions(PREFIXES)
            merged = self._settle(before, run)
            with suppress(Conflict):
                lists = {**merged.lists, **fixed, **self._write_lists(merged, expected, run)}
                self.writer.delete(run.obsolete)
                self._remove_files(run)
                self._delete_vanished(run, merged)
                merged = structs.replace(merged, lists=lists)
                self.writer.site.put(MANIFEST_PATH, encode(merged), before.version, JSON)
                return merged
        raise self.retries.exhausted("the list of projects")

    def _settle(self, before: LoadedManifest, run: _Run) -> Manifest:
        """
        Return the merged manifest, once all projects are exported with the links in it.

        Another export may have changed projects that ours link to, and ours change each other.
        """
        valid = self._valid_manifest(before.manifest).without(run.vanished)
        for _ in range(MAX_ROUNDS):
            merged = valid.merged(run.entries, self._is_latest)
            shown = merged.projects
            links = SiteLinks((each.facts for each in shown.values()), shown.keys())
            changed = set(affected(run.manifest.projects, shown)) & shown.keys() - run.failed.keys()
            again = {name for name in changed if not links.is_current(name, shown[name])}
            if run.is_full or shown.keys() != run.manifest.projects.keys():
                # the lists have every project, also those that were added meanwhile
                listed = self.projects.names.get_current().as_set
                done = run.entries if run.is_full else shown
                again |= listed - done.keys() - run.failed.keys()
            if not again:
                return _outdated(merged, {*run.failed, *run.provisional})
            self._run_tasks(sorted(again), run, links, _ignore_progress)
        # others change them all the time
        return _outdated(valid.merged(run.entries, self._is_latest), run.entries)

    def _write_lists(
        self, merged: Manifest, expected: Versions, run: _Run
    ) -> dict[Key, ObjectVersion]:
        facts = [each.facts for each in merged.projects.values()]
        written = dict[Key, ObjectVersion]()
        if run.is_full or _statuses(merged) != _statuses(run.manifest):
            shown = {each.name: each for each in facts}
            for name in filter(self._has_page, run.failed):
                shown.setdefault(NormalizedName(name), name_facts(NormalizedName(name)))
            listed = [shown[name] for name in sorted(shown)]
            written |= self._write_pages(self.pages.lists(listed), expected)
            lists = (key for key in expected if key.startswith(LISTS))
            run.obsolete |= {key: expected[key] for key in lists if key not in written}
        newest = nlargest(CHANGED_PROJECTS, facts, key=attrgetter("changed", "name"))
        documents = {each.name: each.document for each in newest}

        def load(name: NormalizedName) -> Project | None:
            found = self.projects.documents.get(keys.project(name), "current")
            return found.value if found.version == documents[name] else None  # else not in the site

        latest = read_latest(load, documents, is_local=self.is_local)
        return written | self._write_pages(self.pages.overviews(facts, latest), expected)

    def _write_pages(
        self, pages: Iterable[SitePage], expected: Versions
    ) -> dict[Key, ObjectVersion]:
        written = dict[Key, ObjectVersion]()
        for page in pages:
            written |= self.writer.write(page, expected)
        return written

    def _has_page(self, name: str) -> bool:
        return bool(self.writer.current_versions([f"{SIMPLE_PREFIX}{name}/{INDEX}"]))

    def _remove_files(self, run: _Run) -> None:
        """Remove files that no page links to; raise Conflict if a project changes meanwhile."""
        again = list[NormalizedName]()
        for name in sorted(run.unavailable):
            if not self.project.remove_files(name, run.entries[name]):
                again.append(name)
            run.unavailable.discard(name)
        if again:
            shown = run.entries.keys() | run.manifest.projects.keys()
            self._run_tasks(again, run, SiteLinks((), shown), _ignore_progress)
            raise Conflict("A project was changed while its files were removed.")

    def _delete_vanished(self, run: _Run, merged: Manifest) -> None:
        """Delete the pages of projects that the store lacks still, and of released names."""
        for name in sorted(run.vanished.keys() - merged.projects.keys()):
            released = self._released(name)
            if released is not None:
                self.project.files.remove_unavailable(released)
            if released is not None or self.project.current_version(name) == ABSENT:
                prefixes = self.project.pages.project_prefixes(NormalizedName(name))
                self.writer.delete(self.writer.listed_versions(prefixes))

    def _released(self, name: str) -> Project | None:
        """Return the document of a project whose name was released; None for any other one."""
        key = keys.project(NormalizedName(name))
        found = self.projects.documents.get(key, "current").value
        return found if found is not None and found.is_released else None

    def _is_latest(self, name: str, entry: ManifestEntry) -> bool:
        return self.project.current_version(name) == entry.facts.document

    def _valid_manifest(self, found: Manifest | None) -> Manifest:
        """Return `found` if it has the options and generator of this export, else an empty one."""
        return (found or Manifest(self.options)).valid_for(self.options)


def _by_project(existing: Versions) -> dict[str, dict[Key, ObjectVersion]]:
    """Return the versions of the pages of each project."""
    found = dict[str, dict[Key, ObjectVersion]]()
    for key, version in existing.items():
        root, _, rest = key.partition("/")
        name, slash, _ = rest.partition("/")
        if slash and f"{root}/" in ROOTS:
            found.setdefault(name, {})[key] = version
    return found


def _statuses(manifest: Manifest) -> dict[str, str]:
    """Return what the lists show of each project besides its name."""
    return {name: entry.facts.status for name, entry in manifest.projects.items()}


def _outdated(manifest: Manifest, names: Iterable[str]) -> Manifest:
    """Return a manifest by which the next export does these projects again."""
    projects = dict(manifest.projects)
    for name in projects.keys() & set(names):
        entry = projects[name]
        projects[name] = structs.replace(entry, facts=structs.replace(entry.facts, document=""))
    return structs.replace(manifest, projects=projects)


def _ignore_progress(_done: int, _total: int) -> None:
    """Ignore the progress of an export."""
