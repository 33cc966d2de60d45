"""
Builds the export of an index to a destination, and runs it in threads or processes.

A site is public for everyone who can reach it. So the destination may not be in a bucket that holds
the store or its credentials, and neither in, around nor equal to a folder that does.
"""

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from hashlib import sha256
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from threading import Thread, active_count
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.files import ORPHAN_AGE
from wheelyard.concurrency.runtime import ConflictRetries, remote_conflict_retries
from wheelyard.errors import Invalid, NotFound, Unavailable, quoted
from wheelyard.model.lenient_metadata import parse_any
from wheelyard.model.metadata import CoreMetadata
from wheelyard.model.project import File
from wheelyard.model.text import escaped
from wheelyard.operations.descriptions.descriptions import Descriptions
from wheelyard.operations.exporting.incremental_export import IncrementalExport, TaskResults
from wheelyard.operations.exporting.index_pages import IndexPages
from wheelyard.operations.exporting.manifest import (
    BAD_DESTINATION,
    FileMode,
    Options,
    RequestedOptions,
    load_manifest,
)
from wheelyard.operations.exporting.page_writer import PagePaths, PageWriter
from wheelyard.operations.exporting.project_export import ExportTask, ProjectExport, TaskResult
from wheelyard.operations.exporting.site_distributions import CopyObject, Site, SiteDistributions
from wheelyard.operations.exporting.site_pages import SitePages
from wheelyard.operations.project_history import HistoryReader
from wheelyard.operations.search.stored_table import decode_table
from wheelyard.rendering.project_facts import ProjectFacts
from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.settings.sections import MEMORY_LOCATION, Settings
from wheelyard.storage.base import Key, ObjectVersion, Store, Stored, WebType
from wheelyard.storage.gcs.location import is_bucket, parse_location
from wheelyard.storage.local import LocalStore
from wheelyard.wiring.index import Index, open_index
from wheelyard.wiring.stores import store_in

if TYPE_CHECKING:  # nothing imports it while there is no upstream index
    from wheelyard.upstream.public_export import PublicResult, PublicSite

LOCAL_THREADS: Final = 4
REMOTE_THREADS: Final = 16
"""The number of concurrently exported projects, if the store or the site is a bucket."""
IS_LINUX: Final = sys.platform == "linux"
"""Whether a process may be forked; on macOS that is not safe."""
MIN_PROJECTS_FOR_PROCESSES: Final = 500
"""With more projects, the export runs in several processes."""
INTERRUPT_GRACE_SECONDS: Final = 0.5
"""The wait for a Ctrl-C that has already ended the pool's processes."""
GC_THRESHOLD_OBJECTS: Final = 100_000
"""The threshold of the garbage collector, high because pages have hardly any cycles."""
DESCRIPTIONS_IDLE_SECONDS: Final = 2.0
"""After this time without a description, the process that renders them ends."""
MAX_PROJECTS_PER_PART: Final = 500
"""The most projects in one task of a process."""


class SiteExporter(Struct, frozen=True, kw_only=True):
    """Builds the export of an index to a site."""

    index: Index
    dest: str
    """A folder, or `gs://BUCKET/PREFIX`."""
    requested: RequestedOptions
    processors: int = 1
    """The number of processes to use, at most."""

    def open(self) -> IncrementalExport:
        """
        Return the export to `dest`, not yet run; raise Invalid if `dest` is not allowed.

        From now on, this process collects garbage less often.
        """
        gc.set_threshold(GC_THRESHOLD_OBJECTS)
        return self.export_to(open_site(self.dest, self.index))

    def _merged_options(self, previous: Options | None) -> Options:
        settings = self.index.settings
        return self.requested.merged_with(
            previous or Options(base_url=settings.server.public_url.rstrip("/")),
            brand=self.index.brand.fingerprint,
            remote_images=settings.web.remote_images,
            has_public=self.index.upstream is not None,
        )

    def export_to(self, site: Site) -> IncrementalExport:
        """
        Return the export to an open site, not yet run.

        An option that is not requested is that of the site's last export. Raises Invalid if the
        export is not allowed.
        """
        index, loaded = self.index, load_manifest(site.store)
        options = self._merged_options(loaded.manifest.options if loaded.manifest else None)
        has_store_files = _has_files_of(index, self.dest)
        if has_store_files and options.files is not FileMode.LEAVE:  # a site's files are deleted
            raise Invalid(
                f"{escaped(self.dest)} has the store's own files. Leave them where they are "
                "with --files and the URL of its files/ folder, or choose another prefix.",
                code=BAD_DESTINATION,
            )
        is_local = index.is_local and site.serves_index
        environment = PageEnvironment(
            f"{options.base_url}/simple/" if options.base_url else index.settings.index_url,
            is_certain=bool(options.base_url),
            files_url=options.files_from_page,
            brand=index.brand,
            remote_images=options.remote_images,
            serves_public=options.has_public is True,
        )
        paths = PagePaths(site.serves_index, options.is_gzipped)
        writer, runtime = PageWriter(site.store, paths), index.runtime
        retries = ConflictRetries(runtime=runtime) if is_local else remote_conflict_retries(runtime)

        descriptions = _descriptions(index, options)
        history = HistoryReader(index.projects, index.tokens.records, is_local=index.is_local)
        project = ProjectExport(
            projects=index.projects,
            pages=SitePages(
                options, environment, partial(_core_of, index), history, descriptions.render
            ),
            files=SiteDistributions(index.files, site, options.files),
            writer=writer,
            retries=retries,
        )

        def run_all(tasks: list[ExportTask], known: frozenset[str]) -> TaskResults:
            if is_local and self.processors > 1 and len(tasks) > MIN_PROJECTS_FOR_PROCESSES:
                return self._run_in_processes(tasks, known, options, writer)
            threads = LOCAL_THREADS if is_local else REMOTE_THREADS
            return _run_in_threads(tasks, lambda task: project.export(task, known), threads)

        return IncrementalExport(
            projects=index.projects,
            loaded=loaded,
            options=options,
            project=project,
            pages=IndexPages(options, environment),
            writer=writer,
            retries=retries,
            run_all=run_all,
            known_facts=partial(_known_facts, index),
            is_local=index.is_local,
            owns_files=not has_store_files,
        )

    def remove_public(self, export: IncrementalExport, names: Iterable[str] | None = None) -> None:
        """
        Remove public projects from the site of an export: `names`, or all if it has none any more.

        To be called before all projects are exported, as the manifest then forgets that the site
        had some.
        """
        manifest = export.loaded.manifest
        had_public = manifest is not None and manifest.options.has_public is True
        is_over = had_public and export.options.has_public is not True
        if names is not None or is_over:
            _public_site(self.index, export).remove(names)

    def export_public(
        self, export: IncrementalExport, *, everything: bool = False
    ) -> "PublicResult | None":
        """Export what the store has of upstream indexes; return None if there are none."""
        index, site = self.index, export.project.files.site
        if index.upstream is None or export.options.has_public is not True:
            return None
        from wheelyard.upstream.public_export import PublicExport  # noqa: PLC0415 - see above
        from wheelyard.upstream.public_web_pages import PublicWebPages  # noqa: PLC0415 - see above

        def site_of(upstream_id: str) -> Site:
            prefix = keys.upstream(upstream_id)
            return replace(site, copy_object=_object_copier(site.store, index, prefix))

        is_local = index.is_local and site.serves_index
        return PublicExport(
            upstream=index.upstream,
            place=_public_site(index, export),
            site_of=site_of,
            options=export.options,
            web=PublicWebPages(
                environment=export.pages.environment,
                files=index.upstream.files,
                describe=export.project.pages.describe,
                decisions=index.decisions,
                is_local=index.is_local,
            ),
            threads=LOCAL_THREADS if is_local else REMOTE_THREADS,
        ).run(everything=everything)

    def _run_in_processes(
        self,
        tasks: list[ExportTask],
        known: frozenset[str],
        options: Options,
        writer: PageWriter,
    ) -> TaskResults:
        """
        Export projects in several processes; yield each task with its result, in order.

        Threads would not do, as making pages is limited by the processor.
        """
        parts = _split(tasks, self.processors)
        requested = RequestedOptions(
            base_url=options.base_url,
            files=options.files,
            files_url=options.files_url,
            is_gzipped=options.is_gzipped,
        )
        work = partial(_export_part, self.index.settings, self.dest, requested, known)
        # a fork starts faster, but would copy locks that other threads may hold
        context = get_context("fork" if IS_LINUX and active_count() == 1 else "spawn")
        with ProcessPoolExecutor(min(self.processors, len(parts)), context, _init_worker) as pool:
            try:
                # blocked until _init_worker, as a process would print a traceback on Ctrl-C
                before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
                try:
                    done = pool.map(work, parts)
                finally:
                    signal.pthread_sigmask(signal.SIG_SETMASK, before)
                for part, (results, written) in zip(parts, done, strict=True):
                    writer.count(written)
                    yield from zip(part, results, strict=True)
            except BrokenProcessPool as error:
                # Ctrl-C may have ended the processes
                self.index.runtime.pause(INTERRUPT_GRACE_SECONDS)
                raise Unavailable(
                    "A part of the export was killed, perhaps for want of memory. Export again: "
                    "what is done stays done.",
                ) from error
            finally:
                # Nothing more after Ctrl-C, which ends the processes, too. Without this wait,
                # Python 3.11.2 may print a traceback at its end.
                pool.shutdown(cancel_futures=True)


def _run_in_threads(
    tasks: list[ExportTask], run: Callable[[ExportTask], TaskResult], threads: int
) -> TaskResults:
    with ThreadPoolExecutor(threads) as pool:
        try:
            yield from zip(tasks, pool.map(run, tasks), strict=True)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _split(tasks: list[ExportTask], processors: int) -> list[list[ExportTask]]:
    rounds = -(-len(tasks) // (MAX_PROJECTS_PER_PART * processors))
    size = -(-len(tasks) // (rounds * processors))
    return [tasks[start : start + size] for start in range(0, len(tasks), size)]


def _init_worker() -> None:
    """Set up this process of a pool, so that it ends on Ctrl-C and when its parent ends."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # ignored in background jobs
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    parent = parent_process()
    assert parent is not None  # noqa: S101 - this is run in a pool only

    def exit_with_parent() -> None:
        wait([parent.sentinel])  # a killed parent sends no signal
        os._exit(1)

    Thread(target=exit_with_parent, daemon=True).start()


def _export_part(
    settings: Settings,
    dest: str,
    requested: RequestedOptions,
    known: frozenset[str],
    tasks: list[ExportTask],
) -> tuple[list[TaskResult], int]:
    index = open_index(settings, create=False)
    export = SiteExporter(index=index, dest=dest, requested=requested).open()
    return [export.project.export(task, known) for task in tasks], export.writer.written


def open_site(dest: str, index: Index) -> Site:
    """
    Return the site at `dest`: a folder, which is created, or a prefix of a bucket.

    Removes what a killed export has left in the folder's spool. Raises Invalid if `dest` is not
    allowed.
    """
    _check_destination(dest, index)
    if is_bucket(dest):
        store = store_in(dest, index.traits.operation_counter)
        copier = _object_copier(store, index)
        return Site(store, index.spool, serves_index=False, copy_object=copier)
    folder = LocalStore(Path(dest), index.runtime.random, is_site=True)
    probe, sink = folder.spool.create()  # to fail now if nothing can be written
    sink.close()
    probe.unlink()
    for left in folder.spool.leftovers((index.runtime.now() - ORPHAN_AGE).timestamp()):
        left.unlink(missing_ok=True)  # from a killed export
    return Site(folder, folder.spool, serves_index=True, link_file=folder.link)


def _check_destination(dest: str, index: Index) -> None:
    if not is_bucket(dest) and ("://" in dest or dest in ("", MEMORY_LOCATION)):
        raise Invalid(
            f"A site cannot be written to {quoted(dest)}. Give a folder, or gs://BUCKET/PREFIX.",
            code=BAD_DESTINATION,
        )
    settings = index.settings
    # a bucket of files that everyone may read has nothing that a site beside them would show
    files = "" if settings.store.downloads == "public" else index.traits.files
    for each in (settings.store.location, settings.access.credentials_store, files):
        if not each or each == MEMORY_LOCATION or is_bucket(each) != is_bucket(dest):
            continue
        if not is_bucket(dest):
            site, store = Path(os.path.realpath(dest)), Path(os.path.realpath(each))
            if site == store or site in store.parents or store in site.parents:
                raise Invalid(
                    f"{escaped(dest)} and the store {escaped(each)} are in each other's "
                    "way: who can read the site could read credentials. Choose a folder beside the "
                    "store.",
                    code=BAD_DESTINATION,
                )
        elif parse_location(each).bucket == parse_location(dest).bucket:
            raise Invalid(
                f"{escaped(dest)} is in the bucket of {escaped(each)}, and a site's bucket "
                "is readable as a whole. Choose another bucket.",
                code=BAD_DESTINATION,
            )


def _object_copier(store: Store, index: Index, prefix: str = "") -> CopyObject | None:
    """Return what copies distributions within Cloud Storage; `prefix` is that of an upstream."""
    from wheelyard.storage.gcs.store import GcsStore  # noqa: PLC0415 - of a bucket's site only

    settings = index.settings
    location = settings.store.location
    if files := settings.upstream.bucket if prefix else index.traits.files:
        location = files
    if not is_bucket(location) or not isinstance(store, GcsStore):
        return None
    source = parse_location(location)

    def copy(key: Key, expect: ObjectVersion, kind: WebType) -> None:
        store.copy(source, source.name_of(Key(prefix + key)), key, expect, kind)

    return copy


def _public_site(index: Index, export: IncrementalExport) -> "PublicSite":
    from wheelyard.upstream.public_export import PublicSite  # noqa: PLC0415 - see above

    return PublicSite(
        projects=index.projects,
        writer=export.writer,
        site=export.project.files.site,
        retries=export.retries,
    )


def _descriptions(index: Index, options: Options) -> Descriptions:
    return Descriptions(
        index.runtime.monotonic,
        remote_images=options.remote_images,
        is_patient=True,
        idle_seconds=DESCRIPTIONS_IDLE_SECONDS,
    )


def _has_files_of(index: Index, dest: str) -> bool:
    """Return whether the destination is the separate location of the store's files in a bucket."""
    files = index.traits.files
    return bool(files) and is_bucket(dest) and parse_location(dest) == parse_location(files)


def _known_facts(index: Index) -> tuple[ProjectFacts, ...]:
    """Return the facts of private projects that a server has stored; perhaps old or none."""
    stored = index.projects.store.get(keys.SEARCH)
    table = decode_table(stored.body) if isinstance(stored, Stored) else None
    return tuple(each for each in table.projects if not each.origin) if table else ()


def _core_of(index: Index, name: NormalizedName, file: File) -> CoreMetadata:
    raw = index.files.core_metadata(name, file) if file.has_metadata else None
    if raw is not None and sha256(raw).hexdigest() != file.core_metadata:
        raise NotFound(f"The core metadata of {file.filename} has changed in the store.")
    return parse_any(raw, name, file.version)
