"""
The export of an index to a static site, which asks for the pages that a change touches.

A site is public for everyone who can reach it. So the destination may not be in a bucket that holds
the store or its credentials, and neither in, around nor equal to a folder that does.
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
from wheelyard.errors import UNREADABLE_CODES, Conflict, Invalid, NotFound, Unavailable, quoted
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
from wheelyard.wiring.stores import store_in

MAX_LOSSES: Final = 5
"""How often another export may take the lease of one, which then begins again."""
REMOTE_PROJECTS: Final = 16
"""Projects that are exported at a time, if the store or the site is a bucket."""

ExportProgress = Callable[[int, int], None]
"""Called with the number of finished projects, and of all to export."""


class ExportResult(Struct, frozen=True):
    """The result of an export: numbers of projects and pages, and error messages."""

    options: site_folder.Options
    """How the site was made."""
    projects: int
    """The number of projects that were exported."""
    total: int
    """The number of projects in the site."""
    written: int
    """The number of pages that were written: those whose bytes have changed."""
    failed: tuple[str, ...] = ()
    """The error messages of the projects that were not exported."""
    removed: tuple[str, ...] = ()
    """The names of indexes whose folders were deleted."""
    warnings: tuple[str, ...] = ()
    """Sentences about indexes that the export has left out, and folders that it has left."""


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
        Check that an export has made the pages of the site, if it has any.

        Raises Invalid (code `bad_destination`) if another program has. Raises Unavailable if the
        site does not answer.
        """
        store = self.place.store
        # an export that was killed before its first manifest has left its folder
        if self.lease.options is not None or any(
            True for _ in store.list(site_folder.EXPORT_PREFIX)
        ):
            return
        for entry in project_export.pages_in(store):
            # the owner of a web server may have these, and keeps them
            if entry.key.startswith(site_folder.COMMON_PATHS):
                continue
            where = "There"
            if not self.index.definition.is_main:
                where = f"Where the index {self.index.name} belongs, there"
            raise Invalid(
                f"{where} are pages that no export has made, {entry.key} for one. Choose an empty "
                "place, or have them replaced by --all.",
                code=site_folder.BAD_DESTINATION,
            )

    def run(self, progress: ExportProgress, *, everything: bool = False) -> ExportResult:
        """
        Export what has changed, once no other export writes the site.

        `progress` is called in this thread. What no page links to any more is deleted.

        Every page is made again if the site is new, was made with other options or by another
        version, if an export of it was interrupted, or if `everything`. The latter also replaces
        pages that no export has made. A project of which the store has lost something stays as it
        was, and is in `failed` of the result. Raises Invalid (code `bad_destination`) if another
        program has made pages of the site, unless `everything`, or if the site was made from
        another store or index. Raises NotFound if the index was removed meanwhile. Raises
        Unavailable if the store or the site does not answer, or other exports interrupt this one
        again and again.
        """
        if not everything:
            self.check_destination()
        losses = 0
        while losses < MAX_LOSSES:
            before = self.lease.wait(replaces_others=everything)
            options = self.requested.merged_with(self.lease.options, self.new, self.place.dest)
            is_same = before.is_whole and before.options == options
            # after a loss, the other export may have written pages of an older state
            is_full = everything or losses > 0 or not is_same
            # it reads the store, to see whether anything has to be written at all
            run = _Run(self, options, before, is_full=is_full, everything=everything)
            if not run.is_needed:
                return run.result(before.projects)
            try:
                self.lease.take(before, options)
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
                # also Ctrl-C; without this, the next export waits until the lease ends
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
        before: site_folder.Manifest,
        *,
        is_full: bool,
        everything: bool,
    ) -> None:
        self._export = export
        self._options = options
        self._manifest = before
        self._before = {entry.facts.name: entry for entry in before.projects}
        self._facts_before = tuple(entry.facts for entry in before.projects)
        self._is_full = is_full
        self._is_local = export.index.server.is_local and export.place.bucket is None
        self._index = index_for_site(export.index, options)
        folders = IndexFolders()
        if self._index.definition.is_main:
            site = export.place.store
            folders = index_folders(self._index, site, before, everything=everything)
        self._folders = folders

        # all of them are on the home page
        self._is_full |= before.indexes != folders.names
        self._writer = SiteWriter(export.place, export.lease, is_gzipped=options.is_gzipped)
        changed = self._changed_revisions(before.serial)
        self._table, self._unread = SiteProjects(self._index, self._before, changed).read()
        self._entries = dict[NormalizedName, site_folder.ManifestEntry]()
        """The projects that were exported."""
        self._failed = dict[NormalizedName, str]()
        """The error messages of the projects that were not."""
        self._obsolete = set[Key]()
        """Objects to delete as soon as no page links to them."""

    def _changed_revisions(self, serial: int) -> dict[NormalizedName, int] | None:
        """Return the revisions of the projects that have changed, or None for a full export."""
        # what other indexes have is in their feeds, and time may change what rules hide
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
        is_changed = self._facts_before != self._table.projects
        return self._is_full or bool(self._unread) or is_changed

    def run(self, progress: ExportProgress) -> ExportResult:
        """Export what has changed, write the manifest, and give back the lease."""
        existing = dict[Key, int]()
        if self._is_full:
            existing = self._look_at_all()
        with (
            closing(SiteApplication(self._index, self._options, self._folders.names)) as app,
            ThreadPoolExecutor(REMOTE_PROJECTS, "site") as pool,
        ):
            # a folder is not waited for, as a bucket is
            page_pool = pool if not self._is_local else None
            pages = project_export.SitePages(app, self._writer, page_pool)
            exported = self._write(pages, existing, progress)

        # no page links to these any more; a crash before this leaves them to the next export
        self._delete_obsolete(exported, existing)

        # last of all: a crash before this leaves the lease, and then every page is made again
        entries = tuple(map(self._entry, exported.projects))
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
            projects=len(self._entries),
            total=len(entries),
            written=self._writer.written,
            failed=tuple(self._failed[name] for name in sorted(self._failed)),
            removed=self._folders.removed,
            warnings=self._folders.warnings,
        )

    def _write(
        self, pages: project_export.SitePages, existing: dict[Key, int], progress: ExportProgress
    ) -> ProjectTable:
        """Write all pages, and return the projects that the site has now."""
        table = self._table
        existing_pages = _by_project(existing) if self._is_full else None
        project = project_export.ProjectExport(
            pages=pages,
            copies_files=not self._options.files_url,
            before=self._before,
            existing=existing_pages,
        )
        before = self._facts_before
        names = self._affected_projects(before, table.projects)
        names.update(self._unread)
        if self._is_full:
            names.update(facts.name for facts in table.projects)

        # before any page, as each links only to what is shown
        pages.app.show(table)
        if self._is_full:
            fixed = pages.app.fixed_pages()
            foreign = self._manifest.foreign or ()
            pages.write([page for page in fixed if page.path not in foreign], existing)
        self._export_projects(project, table, names, progress)
        exported = self._without_missing(table)
        if exported is not table:
            # links to projects that could not be exported lead nowhere
            pages.app.show(exported)
            again = self._affected_projects(table.projects, exported.projects)
            self._export_projects(project, exported, again - self._failed.keys(), None)

        # after the pages of projects, which they link to
        if self._is_full or before != exported.projects:
            self._write_lists(pages, len(exported.projects))
        return exported

    def _write_lists(self, pages: project_export.SitePages, projects: int) -> None:
        """Write what lists so many projects, and note pages of lists that are left over."""
        lists = [pages.app.ask(question) for question in list_questions(projects)]
        pages.write(lists, None)
        obsolete = set(self._writer.sizes([LISTS]))
        for page in lists:
            obsolete.difference_update(self._writer.paths_of(page.path))
        self._obsolete |= obsolete

    def _export_projects(
        self,
        project: project_export.ProjectExport,
        table: ProjectTable,
        names: Iterable[NormalizedName],
        progress: ExportProgress | None,
    ) -> None:
        """Export these projects of a table, and note what became of each."""
        ordered = sorted(names)
        pool = ThreadPoolExecutor(REMOTE_PROJECTS, "project")
        facts = [table.find(name) or name_facts(name) for name in ordered]
        try:
            # in this thread alone, unless there is a bucket to wait for
            in_order = map if self._is_local else pool.map
            exports = in_order(_export_project, repeat(project), facts)
            for ended, (name, result) in enumerate(zip(ordered, exports, strict=True), 1):
                if isinstance(result, _FailedProject):
                    self._failed[name] = result.message
                else:
                    self._entries[name] = result.entry
                    self._obsolete |= result.obsolete
                if progress is not None:
                    progress(ended, len(ordered))
        finally:
            # also waits for those that have begun: nothing may be written without the lease
            pool.shutdown(cancel_futures=True)

    def _look_at_all(self) -> dict[Key, int]:
        """Remove what no web server must find any more, and return the sizes of all pages."""
        place = self._export.place
        if isinstance(place.store, site_folder.SiteFolder):
            place.store.remove_leftovers([keys.FILES, LISTS, *project_export.ROOTS])
        existing = {entry.key: entry.size for entry in project_export.pages_in(place.store)}
        existing.update(self._writer.sizes([site_folder.EXPORT_PREFIX]))
        if not self._options.is_gzipped:
            # now, as a web server might prefer old compressed pages to new ones
            ours = existing.keys() - (self._manifest.foreign or ())
            pages = [key for key in ours if not key.endswith(".gz")]
            packed = {Key(f"{key}.gz") for key in pages} & existing.keys()
            self._writer.delete(packed)
            for key in packed:
                del existing[key]
        return existing

    def _affected_projects(
        self, before: Iterable[ProjectFacts], after: Iterable[ProjectFacts]
    ) -> set[NormalizedName]:
        """Return the projects whose pages differ between two states of the site."""
        old = {facts.name: facts for facts in before}
        new = {facts.name: facts for facts in after}
        affected = set[NormalizedName]()
        come_or_gone = set[NormalizedName]()
        for name in old.keys() | new.keys():
            old_facts = old.get(name)
            new_facts = new.get(name)
            if old_facts == new_facts:
                continue
            affected.add(name)
            # the page of a project names its users, each with its status
            for used, _ in _links_of(old_facts) ^ _links_of(new_facts):
                affected.add(used)
            if old_facts is None or new_facts is None or old_facts.origin != new_facts.origin:
                come_or_gone.add(name)
        if come_or_gone:
            # a page links to a project that a release requires only if the site has it
            entries = self._before | self._entries
            for name, entry in entries.items():
                if not come_or_gone.isdisjoint(entry.linked_names):
                    affected.add(name)
        return affected & new.keys()

    def _without_missing(self, table: ProjectTable) -> ProjectTable:
        """Return the table as the site has it now: the same one if nothing has failed."""
        if not self._failed:
            return table
        by_name = {facts.name: facts for facts in table.projects}
        for name in self._failed:
            by_name.pop(name, None)
            if name in self._before:
                by_name[name] = self._before[name].facts
        return table_of(by_name.values())

    def _entry(self, facts: ProjectFacts) -> site_folder.ManifestEntry:
        """Return what the manifest has of a project of the site."""
        entry = self._entries.get(facts.name) or self._before[facts.name]
        if facts.name in self._failed:
            # without its version, so that the next export tries it again
            return replace(entry, facts=replace(entry.facts, document=""))
        return entry

    def _delete_obsolete(self, exported: ProjectTable, existing: dict[Key, int]) -> None:
        """Delete the pages and files that no page links to any more."""
        names = {facts.name for facts in exported.projects} | self._failed.keys()
        gone = self._before.keys() - names
        # without a manifest, what is there was not made by an export
        if self._manifest.format:
            gone |= {name for name in map(_project_of, existing) if name} - names
            state = {key for key in existing if key.startswith(site_folder.EXPORT_PREFIX)}
            self._obsolete |= state - {site_folder.MANIFEST_PATH}
        # of projects that are gone, all pages, also those of earlier versions
        folders = [f"{root}{name}/" for root in project_export.ROOTS for name in gone]
        self._obsolete.update(self._writer.sizes(folders))
        self._obsolete.update(self._obsolete_files(names, gone))
        for name in self._folders.removed:
            self._obsolete.update(exported_objects(self._export.place.store, name))
        # pages go before the files that they name
        by_kind = sorted(self._obsolete, key=lambda key: (key.startswith(keys.FILES), key))
        self._writer.delete(by_kind)

    def _obsolete_files(
        self, names: set[NormalizedName], gone: Iterable[NormalizedName]
    ) -> Iterator[Key]:
        """Yield the copies of files that the site has, and no page of it links to."""
        options = self._options
        # files at the URL of the site itself are put there by somebody else
        is_own_url = options.files_url == f"{options.base_url}/files"
        if not self._export.owns_files or is_own_url:
            return
        if self._is_full and self._manifest.has_copies:
            # an interrupted export may have copied files of a name that is in no list any more
            prefixes: list[str] = [keys.FILES]
        else:
            prefixes = [keys.files_of(name) for name in gone]
        for key in self._writer.sizes(prefixes):
            file = keys.parse_file_key(key)
            # with a URL for files, the site keeps no copy at all
            if file is not None and (options.files_url or file.project not in names):
                yield key


class _FailedProject(Struct, frozen=True):
    """A project that could not be exported, which stays in the site as it was."""

    message: str


def _export_project(
    project: project_export.ProjectExport, facts: ProjectFacts
) -> project_export.ExportedProject | _FailedProject:
    """
    Export one project, in any thread.

    Raises Unavailable if the store or the site does not answer, which ends the whole export.
    """
    try:
        return project.export(facts)
    except (NotFound, Unavailable) as fault:
        if isinstance(fault, Unavailable) and fault.code not in UNREADABLE_CODES:
            raise
        return _FailedProject(Terminal().message(fault.message, fault.advice))


def _by_project(existing: dict[Key, int]) -> dict[str, dict[Key, int]]:
    projects = dict[str, dict[Key, int]]()
    for key, size in existing.items():
        project = _project_of(key)
        if project is not None:
            projects.setdefault(project, {})[key] = size
    return projects


def _project_of(key: Key) -> NormalizedName | None:
    """Return the project whose page is at a key, or None if it is that of no single project."""
    root, _, rest = key.partition("/")
    name, slash, _ = rest.partition("/")
    if not slash or f"{root}/" not in project_export.ROOTS:
        return None
    return NormalizedName(name)


def _links_of(facts: ProjectFacts | None) -> set[tuple[NormalizedName, str]]:
    """Return the projects whose pages name this one as a user, each with the status they show."""
    if facts is None:
        return set()
    return {(name, facts.status) for name in facts.required_names}


def open_export(
    index: Index, dest: str, requested: site_folder.RequestedOptions, on_wait: Callable[[], None]
) -> Export:
    """
    Return the export of an index to a folder, which is made, or to a bucket.

    An option that is not requested is that of the site's last export. `on_wait` is called once if
    the export has to wait for another one of the site. Raises Invalid (code `bad_destination`) if
    the place is none, or is in the way of the store or of its files, or if its site is that of
    another store or index, or of all indexes. Raises Invalid (code `bad_setting`) if the URL of a
    bucket is malformed, or its library is missing. Raises Unavailable if the site does not answer,
    nothing can be written there, or there are no credentials for it.
    """
    place = open_place(index, dest)
    lease = site_folder.SiteLease(place.store, index.server.runtime, on_wait)
    settings = index.settings
    files = index.server.traits.files
    is_part = lease.options is not None and lease.options.store == store_id(settings, "")
    if is_part and not index.definition.is_main:
        raise Invalid(
            f"{escaped(dest)} is the site of all indexes, in which {index.name} has a folder. "
            "Upload without --export, and then export all, or choose another place for "
            f"{index.name} alone.",
            code=site_folder.BAD_DESTINATION,
        )
    new = site_folder.Options(
        base_url=settings.server.public_url.rstrip("/"),
        store=store_id(settings, index.definition.segment),
        brand=index.server.brand.fingerprint,
        has_public=index.upstream is not None,
    )

    # the store may have a location of its own for its files
    owns_files = not files or not is_bucket(dest) or parse_location(dest) != parse_location(files)
    if not requested.merged_with(lease.options, new, dest).files_url and not owns_files:
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
        new=new,
        owns_files=owns_files,
    )


def open_place(index: Index, dest: str) -> SitePlace:
    """
    Return the destination of an export. A folder is made.

    Raises Invalid (code `bad_destination`) if it is none, or is in the way of the store. Raises
    Invalid (code `bad_setting`) if the URL of a bucket is malformed, or its library is missing.
    Raises Unavailable if nothing can be written to the folder, or there are no credentials for the
    bucket.
    """
    _check_destination(dest, index)
    if is_bucket(dest):
        store = store_in(dest, index.server.traits.operation_counter)
        return SitePlace(store, index.server.spool, dest, parse_location(dest))
    return SitePlace(site_folder.SiteFolder(Path(dest)), index.server.spool, dest)


def _check_destination(dest: str, index: Index) -> None:
    """Raise Invalid if whoever reads the site could read the store, or the place is none."""
    if not is_bucket(dest) and ("://" in dest or dest in ("", MEMORY_LOCATION)):
        raise Invalid(
            f"A site cannot be written to {quoted(dest)}. Give a folder, {BUCKET_FORMS}.",
            code=site_folder.BAD_DESTINATION,
        )
    settings = index.settings
    locations = [settings.store.location, settings.access.credentials_store]

    # a bucket of files that everyone may read has nothing that a site beside them would show
    if settings.store.downloads != "public":
        locations.append(index.server.traits.files)
    for location in locations:
        if not location or location == MEMORY_LOCATION or is_bucket(location) != is_bucket(dest):
            continue
        if not is_bucket(dest):
            # symbolic links may lead to one folder by two names
            site = Path(os.path.realpath(dest))
            store = Path(os.path.realpath(location))
            if site == store or site in store.parents or store in site.parents:
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
