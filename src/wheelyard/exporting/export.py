"""
The export of an index to a static site: which pages are made, written and deleted, in which order.

Everyone who can reach a site may read all of it. So the destination may not be in a bucket that
has the store or its credentials, and neither in, around nor equal to a folder that has them.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from itertools import repeat
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.errors import Conflict, Invalid, NotFound, Unavailable, quoted
from wheelyard.exporting import project_export, site_folder
from wheelyard.exporting.application import SiteApplication, index_for_site
from wheelyard.exporting.index_folders import (
    IndexFolders,
    exported_objects,
    index_folders,
    store_id,
)
from wheelyard.exporting.site_pages import LISTS, SitePlace, SiteWriter, list_questions
from wheelyard.exporting.site_projects import SiteProjects
from wheelyard.model.decoding import escaped
from wheelyard.operations.search.project_table import ProjectTable, table_of
from wheelyard.rendering.advice import Terminal
from wheelyard.rendering.project_facts import ProjectFacts, name_facts
from wheelyard.settings.sections import MEMORY_LOCATION
from wheelyard.storage.base import Key
from wheelyard.storage.location import BUCKET_FORMS, is_bucket, parse_location
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import open_single_store

MAX_LOSSES: Final = 5
"""How often an export begins again after another export has taken its lease."""
REMOTE_PROJECTS: Final = 16
"""How many projects are exported at a time, if the store or the site is a bucket."""

ExportProgress = Callable[[int, int], None]
"""Called with the number of finished projects, and the number of all projects to export."""


class ExportResult(Struct, frozen=True):
    """The result of an export: numbers of projects and pages, and error messages."""

    options: site_folder.Options
    """How the site was made."""
    projects: int
    """The number of projects that were exported."""
    total: int
    """The number of projects in the site."""
    written: int
    """The number of pages that were written, as their bytes have changed."""
    failed: tuple[str, ...] = ()
    """The error messages of the projects that were not exported."""
    removed: tuple[str, ...] = ()
    """The names of indexes whose folders were deleted."""
    warnings: tuple[str, ...] = ()
    """Sentences about indexes that were left out, and about folders that stay as they are."""


class Export(Struct, frozen=True, kw_only=True):
    """Brings a static site up to date."""

    index: Index
    place: SitePlace
    lease: site_folder.SiteLease
    requested: site_folder.RequestedOptions
    new: site_folder.Options = site_folder.Options()
    """The options of a new site of the index."""
    owns_files: bool = True
    """Whether the `files/` folder of the site is not that of the store itself."""

    def check_destination(self) -> None:
        """
        Check that an export has made the pages of the site, if the site has pages.

        Raises Invalid (code `bad_destination`) if another program has made pages. Raises
        Unavailable if the site does not answer.
        """
        store = self.place.store
        if self.lease.options is not None:
            return
        # an export that was killed before its first manifest has left objects beside it
        has_leftovers = any(True for _ in store.list(site_folder.EXPORT_PREFIX))
        if has_leftovers:
            return
        for entry in project_export.pages_in(store):
            # the owner of a web server may have these pages, and keeps them
            if entry.key.startswith(site_folder.COMMON_PATHS):
                continue
            beginning = "There"
            if not self.index.definition.is_main:
                beginning = f"Where the index {self.index.name} belongs, there"
            raise Invalid(
                f"{beginning} are pages that no export has made, {entry.key} for one. Choose an "
                "empty place, or have them replaced by --all.",
                code=site_folder.BAD_DESTINATION,
            )

    def run(self, progress: ExportProgress, *, everything: bool = False) -> ExportResult:
        """
        Export what has changed, once no other export writes the site.

        Pages and files that no page links to any more are deleted. `progress` is called in this
        thread.

        Every page is made again if the site is new, was made with other options or by another
        version, if an export of it was interrupted, or with `everything`, which also replaces pages
        that no export has made. A project of which the store has lost something stays as it was,
        and is in `failed` of the result. Raises Invalid (code `bad_destination`) if another program
        has made pages of the site, unless `everything`, or if the site was made from another store
        or index. Raises NotFound if the index was removed meanwhile. Raises Unavailable if the
        store or the site does not answer, or other exports interrupt this one again and again.
        """
        if not everything:
            self.check_destination()
        losses = 0
        while losses < MAX_LOSSES:
            manifest = self.lease.wait(replaces_others=everything)
            options = self.requested.merged_with(self.lease.options, self.new, self.place.dest)
            is_current = manifest.is_whole and manifest.options == options
            # after a loss, the other export may have written pages of an older state
            is_full = everything or losses > 0 or not is_current
            # this reads the store, to find out whether anything has to be written
            run = _Run(self, options, manifest, is_full=is_full, everything=everything)
            if not run.is_needed:
                return run.result(manifest.projects)
            try:
                self.lease.take(manifest, options)
            except Conflict:
                # another export was faster
                self.lease.reload()
                continue
            try:
                return run.run(progress)
            except Conflict:
                # another export has taken the lease, as this one was too slow
                self.lease.reload()
                losses += 1
            except BaseException:
                # also Ctrl-C: without this, the next export would wait until the lease ends
                with suppress(Conflict, Unavailable):
                    self.lease.interrupt()
                raise
        raise Unavailable(
            "Other exports of this site have interrupted this one again and again. Export once "
            "they have ended."
        )


class _Run:
    """One attempt at an export, which holds the lease of the site."""

    def __init__(
        self,
        export: Export,
        options: site_folder.Options,
        manifest: site_folder.Manifest,
        *,
        is_full: bool,
        everything: bool,
    ) -> None:
        self._export = export
        self._options = options
        self._manifest = manifest
        """The manifest as it was before this export."""
        self._entries_before = {entry.facts.name: entry for entry in manifest.projects}
        self._facts_before = tuple(entry.facts for entry in manifest.projects)
        self._is_full = is_full
        """Whether all pages are made."""
        self._is_local = export.index.server.is_local and export.place.bucket is None
        self._index = index_for_site(export.index, options)
        folders = IndexFolders()
        if self._index.definition.is_main:
            site = export.place.store
            folders = index_folders(self._index, site, manifest, everything=everything)
        self._folders = folders

        # the home page names all indexes
        self._is_full |= manifest.indexes != folders.names
        self._writer = SiteWriter(export.place, export.lease, is_gzipped=options.is_gzipped)
        changed_revisions = self._read_changes(manifest.serial)
        site_projects = SiteProjects(self._index, self._entries_before, changed_revisions)
        self._table, self._damaged_names = site_projects.read()
        self._exported_entries = dict[NormalizedName, site_folder.ManifestEntry]()
        """The projects that were exported, as the manifest will have them."""
        self._failures = dict[NormalizedName, str]()
        """The error messages of the projects that could not be exported."""
        self._obsolete_keys = set[Key]()
        """Objects to delete as soon as no page links to them."""

    def _read_changes(self, serial: int) -> dict[NormalizedName, int] | None:
        """
        Return the revisions of the projects that have changed since a serial of the feed.

        Returns None if all projects have to be read: then the export is a full one. Sets `_serial`.
        """
        # the feed has no changes of layers, and a rule may hide a file without any change
        repository = self._index.repository
        is_complete = repository.has_own_packages_alone and not repository.hides_files
        if not self._is_full and is_complete:
            # NotFound: the feed does not know the serial, as after a restore from a backup
            with suppress(NotFound):
                changes, self._serial = self._index.changes.since(serial)
                return {change.project: change.revision for change in changes}
        self._is_full = True
        # before the projects are read: a change after this is in the next export, too
        self._serial = self._index.changes.newest()
        return None

    @property
    def is_needed(self) -> bool:
        """Whether anything may have to be written."""
        has_changes = self._facts_before != self._table.projects
        return self._is_full or bool(self._damaged_names) or has_changes

    def run(self, progress: ExportProgress) -> ExportResult:
        """Export what has changed, write the manifest, and give back the lease."""
        existing = dict[Key, int]()
        if self._is_full:
            existing = self._list_existing()
        with (
            closing(SiteApplication(self._index, self._options, self._folders.names)) as app,
            ThreadPoolExecutor(REMOTE_PROJECTS, "site") as pool,
        ):
            # threads are for waiting, and a folder answers at once
            page_pool = pool if not self._is_local else None
            pages = project_export.SitePages(app, self._writer, page_pool)
            site_table = self._write_pages(pages, existing, progress)

        # after the pages, which do not link to these objects any more
        self._delete_obsolete(site_table, existing)

        # last of all: a crash before this leaves the lease, and then every page is made again
        entries = tuple(map(self._manifest_entry, site_table.projects))
        self._export.lease.finish(
            site_folder.Manifest(
                format=site_folder.FORMAT,
                options=self._options,
                generator=site_folder.page_generator(),
                foreign=self._manifest.foreign,
                has_copies=not self._options.files_url,
                indexes=self._folders.names,
                serial=self._serial,
                projects=entries,
            )
        )
        return self.result(entries)

    def result(self, entries: Sequence[site_folder.ManifestEntry]) -> ExportResult:
        """Return the result of a site that has these projects."""
        return ExportResult(
            options=self._options,
            projects=len(self._exported_entries),
            total=len(entries),
            written=self._writer.written,
            failed=tuple(self._failures[name] for name in sorted(self._failures)),
            removed=self._folders.removed,
            warnings=self._folders.warnings,
        )

    def _write_pages(
        self, pages: project_export.SitePages, existing: dict[Key, int], progress: ExportProgress
    ) -> ProjectTable:
        """Write all pages that have changed, and return the projects that the site has then."""
        table = self._table
        project_exporter = project_export.ProjectExport(
            pages=pages,
            copies_files=not self._options.files_url,
            before=self._entries_before,
            existing=_by_project(existing) if self._is_full else None,
        )
        names = self._find_affected(self._facts_before, table.projects)
        names.update(self._damaged_names)
        if self._is_full:
            names.update(facts.name for facts in table.projects)

        # before any page, as a page links only to projects that the application shows
        pages.app.show(table)
        if self._is_full:
            self._write_fixed_pages(pages, existing)
        self._export_projects(project_exporter, table, names, progress)
        site_table = self._table_of_site()
        if site_table is not table:
            # a project could not be exported, so pages that link to it are written again
            pages.app.show(site_table)
            affected_names = self._find_affected(table.projects, site_table.projects)
            names_to_repeat = affected_names - self._failures.keys()
            self._export_projects(project_exporter, site_table, names_to_repeat, None)

        # after the pages of projects, to which the lists link
        if self._is_full or self._facts_before != site_table.projects:
            self._write_lists(pages, len(site_table.projects))
        return site_table

    def _write_fixed_pages(self, pages: project_export.SitePages, existing: dict[Key, int]) -> None:
        """Write the pages that depend on the options alone, but not over pages of the owner."""
        foreign_paths = self._manifest.foreign or ()
        fixed_pages = pages.app.fixed_pages()
        pages.write([page for page in fixed_pages if page.path not in foreign_paths], existing)

    def _write_lists(self, pages: project_export.SitePages, projects: int) -> None:
        """
        Write the pages that list projects.

        `projects` is the number of projects. Pages of lists that became shorter are obsolete.
        """
        list_pages = [pages.app.ask(question) for question in list_questions(projects)]
        pages.write(list_pages, None)
        obsolete_keys = set(self._writer.sizes([LISTS]))
        for page in list_pages:
            obsolete_keys.difference_update(self._writer.paths_of(page.path))
        self._obsolete_keys |= obsolete_keys

    def _export_projects(
        self,
        project_exporter: project_export.ProjectExport,
        table: ProjectTable,
        names: Iterable[NormalizedName],
        progress: ExportProgress | None,
    ) -> None:
        """Export the projects with these names, and note the result of each."""
        sorted_names = sorted(names)
        pool = ThreadPoolExecutor(REMOTE_PROJECTS, "project")
        facts = [table.find(name) or name_facts(name) for name in sorted_names]
        try:
            # in this thread alone, unless there is a bucket to wait for
            ordered_map = map if self._is_local else pool.map
            results = ordered_map(_export_project, repeat(project_exporter), facts)
            for finished, (name, result) in enumerate(zip(sorted_names, results, strict=True), 1):
                if isinstance(result, _FailedProject):
                    self._failures[name] = result.message
                else:
                    self._exported_entries[name] = result.entry
                    self._obsolete_keys |= result.obsolete
                if progress is not None:
                    progress(finished, len(sorted_names))
        finally:
            # waits for the projects that have begun: nothing may be written without the lease
            pool.shutdown(cancel_futures=True)

    def _list_existing(self) -> dict[Key, int]:
        """
        Return the sizes of all pages of the site, and of the objects of the export itself.

        Before that, leftovers of killed exports are removed, and if the site is not compressed any
        more, its compressed pages.
        """
        place = self._export.place
        if isinstance(place.store, site_folder.SiteFolder):
            place.store.remove_leftovers([keys.FILES, LISTS, *project_export.ROOTS])
        existing = {entry.key: entry.size for entry in project_export.pages_in(place.store)}
        existing.update(self._writer.sizes([site_folder.EXPORT_PREFIX]))
        if not self._options.is_gzipped:
            # before the new pages, as a web server might prefer old compressed pages to them
            compressed_keys = set[Key]()
            for key in existing.keys() - (self._manifest.foreign or ()):
                compressed_key = Key(f"{key}.gz")
                if not key.endswith(".gz") and compressed_key in existing:
                    compressed_keys.add(compressed_key)
            self._writer.delete(compressed_keys)
            for key in compressed_keys:
                del existing[key]
        return existing

    def _find_affected(
        self, before: Iterable[ProjectFacts], after: Iterable[ProjectFacts]
    ) -> set[NormalizedName]:
        """Return the projects whose pages differ between two states of the site."""
        facts_before = {facts.name: facts for facts in before}
        facts_after = {facts.name: facts for facts in after}
        affected_names = set[NormalizedName]()
        come_or_gone = set[NormalizedName]()
        for name in facts_before.keys() | facts_after.keys():
            old_facts = facts_before.get(name)
            new_facts = facts_after.get(name)
            if old_facts == new_facts:
                continue
            affected_names.add(name)
            # the page of a project names the projects that require it, each with its status
            for required_name, _ in _links_of(old_facts) ^ _links_of(new_facts):
                affected_names.add(required_name)
            if old_facts is None or new_facts is None or old_facts.origin != new_facts.origin:
                come_or_gone.add(name)
        if come_or_gone:
            # a page links to a project that a release requires only if the site has that project
            entries = self._entries_before | self._exported_entries
            for name, entry in entries.items():
                if not come_or_gone.isdisjoint(entry.linked_names):
                    affected_names.add(name)
        return affected_names & facts_after.keys()

    def _table_of_site(self) -> ProjectTable:
        """
        Return the projects as the site has them after the export of all.

        A project that could not be exported is as it was before. Returns `_table` itself if all
        projects were exported.
        """
        if not self._failures:
            return self._table
        facts_by_name = {facts.name: facts for facts in self._table.projects}
        for name in self._failures:
            facts_by_name.pop(name, None)
            if name in self._entries_before:
                facts_by_name[name] = self._entries_before[name].facts
        return table_of(facts_by_name.values())

    def _manifest_entry(self, facts: ProjectFacts) -> site_folder.ManifestEntry:
        """Return the entry of a project of the site for the manifest."""
        entry = self._exported_entries.get(facts.name) or self._entries_before[facts.name]
        if facts.name in self._failures:
            # without its version, so that the next export reads the project again
            return replace(entry, facts=replace(entry.facts, document=""))
        return entry

    def _delete_obsolete(self, site_table: ProjectTable, existing: dict[Key, int]) -> None:
        """Delete the pages and files that no page links to any more."""
        names = {facts.name for facts in site_table.projects} | self._failures.keys()
        gone_names = self._entries_before.keys() - names
        # without a manifest, no export has made the existing pages
        if self._manifest.format:
            for key in existing:
                name = _project_of(key)
                if name and name not in names:
                    gone_names.add(name)
                if key.startswith(site_folder.EXPORT_PREFIX) and key != site_folder.MANIFEST_PATH:
                    self._obsolete_keys.add(key)
        # of projects that are gone, all pages, also those of earlier versions
        folders = [f"{root}{name}/" for root in project_export.ROOTS for name in gone_names]
        self._obsolete_keys.update(self._writer.sizes(folders))
        self._obsolete_keys.update(self._find_obsolete_files(names, gone_names))
        for index_name in self._folders.removed:
            self._obsolete_keys.update(exported_objects(self._export.place.store, index_name))
        # pages before the files to which they link
        pages_first = sorted(self._obsolete_keys, key=lambda key: (key.startswith(keys.FILES), key))
        self._writer.delete(pages_first)

    def _find_obsolete_files(
        self, names: set[NormalizedName], gone_names: Iterable[NormalizedName]
    ) -> Iterator[Key]:
        """Yield the copies of files in the site to which no page of the site links."""
        options = self._options
        # files at the URL of the site itself are put there by somebody else
        is_own_url = options.files_url == f"{options.base_url}/files"
        if not self._export.owns_files or is_own_url:
            return
        if self._is_full and self._manifest.has_copies:
            # an interrupted export may have copied files of a name that is in no list any more
            prefixes: list[str] = [keys.FILES]
        else:
            prefixes = [keys.files_of(name) for name in gone_names]
        for key in self._writer.sizes(prefixes):
            owner = keys.parse_file_key(key)
            # with a URL for files, the site keeps no copy of any project
            if owner is not None and (options.files_url or owner.project not in names):
                yield key


class _FailedProject(Struct, frozen=True):
    """A project that could not be exported, which stays in the site as it was."""

    message: str
    """The error message, with advice."""


def _export_project(
    project_exporter: project_export.ProjectExport, facts: ProjectFacts
) -> project_export.ExportedProject | _FailedProject:
    """
    Export one project. Any thread may call this.

    Raises Unavailable if the store or the site does not answer, which ends the whole export.
    """
    try:
        return project_exporter.export(facts)
    except (NotFound, Unavailable) as fault:
        if isinstance(fault, Unavailable) and fault.code not in project_export.LOST_CODES:
            raise
        return _FailedProject(Terminal().message(fault.message, fault.advice))


def _by_project(existing: dict[Key, int]) -> dict[str, dict[Key, int]]:
    """Return the sizes of existing pages by the project of each. Other pages are left out."""
    sizes_by_project = dict[str, dict[Key, int]]()
    for key, size in existing.items():
        project = _project_of(key)
        if project is not None:
            sizes_by_project.setdefault(project, {})[key] = size
    return sizes_by_project


def _project_of(key: Key) -> NormalizedName | None:
    """Return the project whose page is at a key, or None for the page of no single project."""
    root, _, path_in_root = key.partition("/")
    name, slash, _ = path_in_root.partition("/")
    if not slash or f"{root}/" not in project_export.ROOTS:
        return None
    return NormalizedName(name)


def _links_of(facts: ProjectFacts | None) -> set[tuple[NormalizedName, str]]:
    """Return the projects that a project requires, each with the status that their pages show."""
    if facts is None:
        return set()
    return {(name, facts.status) for name in facts.required_names}


def open_export(
    index: Index, dest: str, requested: site_folder.RequestedOptions, on_wait: Callable[[], None]
) -> Export:
    """
    Return the export of an index to a folder, which is made, or to a bucket.

    For an option that is not requested, that of the site's last export counts. `on_wait` is called
    once if the export has to wait for another export of the site. Raises Invalid (code
    `bad_destination`) if `dest` is no folder and no bucket, or is in the way of the store or of its
    files, or has the site of another store or index, or of all indexes. Raises Invalid (code
    `bad_setting`) if the URL of a bucket is malformed, or its library is missing. Raises
    Unavailable if the site does not answer, nothing can be written to it, or there are no
    credentials for it.
    """
    place = open_place(index, dest)
    lease = site_folder.SiteLease(place.store, index.server.runtime, on_wait)
    settings = index.settings
    files_location = index.server.traits.files_location
    is_of_main = lease.options is not None and lease.options.store == store_id(settings, "")
    if is_of_main and not index.definition.is_main:
        raise Invalid(
            f"{escaped(dest)} is the site of all indexes, in which {index.name} has a folder. "
            "Upload without --export, and then export all, or choose another place for "
            f"{index.name} alone.",
            code=site_folder.BAD_DESTINATION,
        )
    new_options = site_folder.Options(
        base_url=settings.server.public_url.rstrip("/"),
        store=store_id(settings, index.definition.segment),
        brand=index.server.brand.fingerprint,
        has_public=index.upstream is not None,
    )

    # the store may have a location of its own for its files
    owns_files = True
    if files_location and is_bucket(dest):
        owns_files = parse_location(dest) != parse_location(files_location)
    options = requested.merged_with(lease.options, new_options, dest)
    if not options.files_url and not owns_files:
        raise Invalid(
            f"{escaped(dest)} has the store's own files. Leave them where they are "
            "with --files and the URL of its files/ folder, or choose another prefix.",
            code=site_folder.BAD_DESTINATION,
        )
    return Export(
        index=index,
        place=place,
        lease=lease,
        requested=requested,
        new=new_options,
        owns_files=owns_files,
    )


def open_place(index: Index, dest: str) -> SitePlace:
    """
    Return the destination of an export. A missing folder is made.

    Raises Invalid (code `bad_destination`) if `dest` is no folder and no bucket, or is in the way
    of the store. Raises Invalid (code `bad_setting`) if the URL of a bucket is malformed, or its
    library is missing. Raises Unavailable if nothing can be written to the folder, or there are no
    credentials for the bucket.
    """
    _require_safe(dest, index)
    if is_bucket(dest):
        store = open_single_store(dest, index.server.traits.operation_counter)
        return SitePlace(store, index.server.spool, dest, parse_location(dest))
    return SitePlace(site_folder.SiteFolder(Path(dest)), index.server.spool, dest)


def _require_safe(dest: str, index: Index) -> None:
    """
    Raise Invalid if a reader of the site could read the store.

    Raises Invalid, too, if `dest` is no folder and no bucket.
    """
    if not is_bucket(dest) and ("://" in dest or dest in ("", MEMORY_LOCATION)):
        raise Invalid(
            f"A site cannot be written to {quoted(dest)}. Give a folder, {BUCKET_FORMS}.",
            code=site_folder.BAD_DESTINATION,
        )
    settings = index.settings
    locations = [settings.store.location, settings.access.credentials_store]

    # if everyone may read the files, a site beside them opens nothing
    if settings.store.downloads != "public":
        locations.append(index.server.traits.files_location)
    for location in locations:
        if not location or location == MEMORY_LOCATION or is_bucket(location) != is_bucket(dest):
            continue
        if not is_bucket(dest):
            # `realpath`, as symbolic links may lead to one folder by two names
            site_path = Path(os.path.realpath(dest))
            store_path = Path(os.path.realpath(location))
            if site_path.is_relative_to(store_path) or store_path.is_relative_to(site_path):
                raise Invalid(
                    f"{escaped(dest)} and the store {escaped(location)} are in each other's "
                    "way: who can read the site could read credentials. Choose a folder beside the "
                    "store.",
                    code=site_folder.BAD_DESTINATION,
                )
        elif parse_location(location).root == parse_location(dest).root:
            raise Invalid(
                f"{escaped(dest)} is in the bucket of {escaped(location)}, and a site's bucket "
                "is readable as a whole. Choose another bucket.",
                code=site_folder.BAD_DESTINATION,
            )
