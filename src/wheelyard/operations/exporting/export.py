"""The export: what has changed since the last one, and only that."""

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace

from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.codec import DAMAGED
from wheelyard.catalog.projects import Projects
from wheelyard.errors import Conflict, NotFound, Unavailable
from wheelyard.model.project import Project
from wheelyard.operations.exporting.clearing import Clearing
from wheelyard.operations.exporting.manifest import PLACE, Line, Manifest, encoded, manifest_of
from wheelyard.operations.exporting.options import Options
from wheelyard.operations.exporting.pages import JSON, Page, Pages
from wheelyard.operations.exporting.placing import Places, lost, lost_document
from wheelyard.operations.exporting.writing import Writing
from wheelyard.rendering.search import search_json
from wheelyard.storage.base import ABSENT
from wheelyard.storage.site.base import Site


@dataclass(frozen=True, slots=True)
class Failed:
    """What came of a project whose document or file the store has lost or damaged."""

    message: str


Outcome = Line | Failed
Work = Callable[[NormalizedName], Outcome]
Each = Callable[[list[NormalizedName], Work], Generator[tuple[NormalizedName, Outcome], None, None]]


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export did."""

    projects: int
    """That were exported anew."""
    of: int
    """Projects that the site has now."""
    failed: tuple[str, ...] = ()
    """Why others were not, a sentence or two each."""


@dataclass(slots=True)
class _Done:
    """What was done so far."""

    lines: dict[str, Line] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """What an export begins with."""

    before: Manifest | None
    """What the site says of itself."""
    manifest: Manifest
    """What of it holds."""
    is_new: bool
    """Whether every page has to be made anew."""
    vanished: Mapping[str, Line] = field(default_factory=dict)
    """Projects that the site has and the store has not: it was restored from a backup."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """
    Brings one site up to date.

    Args:
        projects: What there is.
        site: Where it is to be seen.
        options: How.
        pages: Makes the pages.
        places: Brings the distributions.
        writing: Puts the pages.
        each: Does the work for every project, several at a time.
        owns_files: Whether `files/` of the site is not the store's own.
    """

    projects: Projects
    site: Site
    options: Options
    pages: Pages
    places: Places
    writing: Writing
    each: Each
    owns_files: bool = True

    def require_place(self) -> None:
        """
        Return if the site may be written; nothing is.

        Raises:
            Invalid: It holds what no export has made (code `bad_destination`).
            Unavailable: It does not answer.
        """
        if manifest_of(self.site) is None:
            self._clearing.require_ours()

    def run(self, progress: Callable[[int, int], None], *, everything: bool = False) -> Exported:
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
        there = begun.before.projects if begun.before else {}
        gone = {each: there[each] for each in there.keys() - documents.keys() - listed}
        stale = [
            name
            for name, version in documents.items()
            if name in listed and not begun.manifest.is_current(name, version)
        ]
        return self._export(stale, replace(begun, vanished=gone), progress)

    def refresh(self, names: Iterable[NormalizedName]) -> Exported:
        """
        Export some projects, which have changed just now, and look at no other that is there.

        Where the site has to be made first, all of them are exported.

        Raises:
            Invalid: The site holds what no export has made (code `bad_destination`).
            Unavailable: The store or the site does not answer.
        """
        manifest = manifest_of(self.site)
        if manifest is None or self._holding(manifest) is not manifest:
            return self.run(_nobody)
        begun = _Begun(before=manifest, manifest=manifest, is_new=False)
        return self._export(sorted(set(names)), begun, _nobody)

    @property
    def _clearing(self) -> Clearing:
        return Clearing(self.site, self.options, self.pages, self.owns_files)

    def _begun(self, *, everything: bool) -> _Begun:
        """Look at what the site shows, and make room where all of it has to be made anew."""
        found = manifest_of(self.site)
        if found is None and not everything:
            self._clearing.require_ours()
        if found is None:
            self._clearing.begin()
        manifest = self._holding(None if everything else found)
        is_new = manifest is not found
        if is_new:
            before = found.projects.keys() if found else ()
            self._clearing.compressed({*self.projects.names.latest().names, *before})
        return _Begun(before=found, manifest=manifest, is_new=is_new)

    def _export(
        self, names: list[NormalizedName], begun: _Begun, progress: Callable[[int, int], None]
    ) -> Exported:
        done, manifest = _Done(), begun.manifest
        self._do(names, done, progress)
        is_listed = done.lines.keys() <= manifest.projects.keys() and not begun.vanished
        if begun.is_new or not is_listed:
            known, paths = manifest.projects.keys(), self.pages.list_paths
            self.writing.renew(paths, lambda: self._lists(known, done), "the list of projects")
        if begun.is_new:
            served = {*done.lines, *begun.vanished, *(begun.before or manifest).projects}
            self._clearing.files(begun.before, served - done.failed.keys())
        if begun.is_new or done.lines or begun.vanished:
            manifest = self._finish(done.lines, begun.vanished)
        failed = tuple(done.failed[name] for name in sorted(done.failed))
        return Exported(len(done.lines), len(manifest.projects), failed)

    def _do(
        self, names: list[NormalizedName], done: _Done, progress: Callable[[int, int], None]
    ) -> None:
        with closing(self.each(names, self.project)) as outcomes:
            for number, (name, outcome) in enumerate(outcomes, 1):
                if isinstance(outcome, Failed):
                    done.failed[name] = outcome.message
                else:
                    done.lines[name] = outcome
                progress(number, len(names))

    def project(self, name: NormalizedName) -> Outcome:
        """Export one project; return what the manifest will say of it, or why it cannot."""
        try:
            return self._project(name)
        except Unavailable as fault:
            if fault.code != DAMAGED:
                raise
            return Failed(fault.message)

    def _project(self, name: NormalizedName) -> Line:
        paths = self.pages.paths_of(name)
        what = f"the pages of {name}"
        for _ in self.writing.retries.attempts():
            project, line = self.writing.renew(paths, lambda: self._pages_of(name), what)
            if project.status.serves_files:
                self.places.take_away(project)  # what was deleted, which is for ever
                return line
            # what is hidden may come back any time, and somebody else may be bringing it
            if self._is_latest(line, name):
                self.places.take_away(project)
                if self._is_latest(line, name):
                    return line
        raise self.writing.retries.exhausted(what)

    def _is_latest(self, line: Line, name: NormalizedName) -> bool:
        return self.projects.documents.reload(keys.project(name)).version == line.document

    def _pages_of(self, name: NormalizedName) -> tuple[Iterable[Page], tuple[Project, Line]]:
        key = keys.project(name)
        snapshot = self.projects.documents.reload(key)
        project = snapshot.value
        if project is None:
            raise lost_document(name)
        try:
            self.places.bring(project)
            pages, found = self.pages.of_project(project)
        except NotFound as fault:
            if self.projects.documents.reload(key).version != snapshot.version:
                raise Conflict(fault.message) from fault  # deleted meanwhile, so look again
            raise lost(name, fault) from fault
        return pages, (project, Line(project.revision, snapshot.version, found))

    def _lists(self, known: Collection[str], done: _Done) -> tuple[Iterable[Page], None]:
        """Export what the lists name and the site has not, and make the lists."""
        names = self.projects.names.latest().names
        seen = {*known, *done.lines, *done.failed}
        self._do([name for name in names if name not in seen], done, _nobody)
        listed = [name for name in names if name not in done.failed or self._has_page(name)]
        return self.pages.of_names(listed), None

    def _has_page(self, name: NormalizedName) -> bool:
        return self.site.version(self.pages.paths_of(name)[0]) != ABSENT

    def _finish(self, lines: Mapping[str, Line], vanished: Mapping[str, Line]) -> Manifest:
        """
        Renew the search index, and write down what was done; return what the site shows.

        The index comes first: what the manifest says is done is never looked at again.
        """
        gone = [path for name in vanished for path in self.pages.paths_of(NormalizedName(name))]
        paths = (*self.pages.search_paths, *gone, PLACE)

        def is_latest(name: str, line: Line) -> bool:
            return self._is_latest(line, NormalizedName(name))

        def made() -> tuple[Iterable[Page], Manifest]:
            held = self._holding(manifest_of(self.site)).without(vanished)
            merged = held.merged(lines, is_latest)
            found_here = search_json(line.found for line in merged.projects.values())
            unlisted = self._unlisted(vanished.keys() - merged.projects.keys())
            note = Page(PLACE, JSON, encoded(merged))
            return (*self.pages.of_search(found_here), *unlisted, note), merged

        return self.writing.renew(paths, made, "the search index")

    def _unlisted(self, names: Iterable[str]) -> Iterator[Page]:
        """Yield that there are to be no pages of projects that are not there any more."""
        for name in map(NormalizedName, sorted(names)):
            if self.projects.documents.reload(keys.project(name)).version == ABSENT:
                yield from (Page(path, JSON, None) for path in self.pages.paths_of(name))

    def _holding(self, found: Manifest | None) -> Manifest:
        """Return what holds of a manifest for pages as they are to look now."""
        return (found or Manifest(self.options)).under(self.options)


def _nobody(_done: int, _of: int) -> None:
    """Take no notice of how far it has come."""
