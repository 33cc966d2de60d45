"""
The export of an index to a place, wired.

A site is open to whoever reaches it. So it is never put into a bucket where the store keeps what
nobody may read, nor into the store's own folder.
"""

import gc
import os
import sys
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from signal import (
    SIG_BLOCK,
    SIG_DFL,
    SIG_IGN,
    SIG_SETMASK,
    SIG_UNBLOCK,
    SIGINT,
    getsignal,
    pthread_sigmask,
    signal,
)
from threading import Thread, active_count
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.catalog.conflict_retry import ConflictRetries, remote_conflict_retries
from wheelyard.catalog.files import ORPHAN_AGE
from wheelyard.errors import Invalid, NotFound, Unavailable, quoted
from wheelyard.model.lenient_metadata import parse_any
from wheelyard.model.metadata import CoreMetadata
from wheelyard.model.project import File
from wheelyard.model.text import escaped
from wheelyard.operations.exporting.incremental_export import (
    ExportTask,
    IncrementalExport,
    TaskResult,
    Work,
)
from wheelyard.operations.exporting.manifest import (
    BAD_DESTINATION,
    FileMode,
    Options,
    RequestedOptions,
    load_manifest,
)
from wheelyard.operations.exporting.site_files import Copied, Site, SiteFiles
from wheelyard.operations.exporting.site_pages import PageWriter, SitePages
from wheelyard.rendering.web_pages import PageTemplates
from wheelyard.settings.sections import MEMORY_LOCATION, Settings
from wheelyard.storage.base import Store
from wheelyard.storage.gcs.location import is_bucket, parse_location
from wheelyard.storage.local import LocalStore
from wheelyard.wiring.index import Index, open_index
from wheelyard.wiring.stores import store_in

Done = Generator[tuple[ExportTask, TaskResult], None, None]

LOCAL_THREADS: Final = 4
REMOTE_THREADS: Final = 16
"""Projects at a time, where the store or the site is a bucket."""
IS_LINUX: Final = sys.platform == "linux"
"""Whether a process may fork without more ado; macOS has its own view of that."""
MIN_PROJECTS_FOR_PROCESSES: Final = 1000
"""Projects that are worth starting processes for."""
INTERRUPT_GRACE_SECONDS: Final = 0.5
"""Seconds that a Ctrl-C may be late that has ended a pool already."""
GC_THRESHOLD_OBJECTS: Final = 100_000
"""Objects after which garbage is collected: pages hold hardly any cycle."""
MAX_PROJECTS_PER_PART: Final = 4000
"""Projects that a process takes at a time, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteExporter:
    """What brings a site up to date."""

    index: Index
    place: str
    """The site: a folder, or a bucket's prefix."""
    asked: RequestedOptions
    """How it is to look."""
    processors: int = 1
    """Those of this machine that may be used."""

    def opened(self) -> IncrementalExport:
        """
        Return the export to the place, which is looked at.

        Raises:
            Invalid: The place is none for a site (code `bad_destination`).
            Unavailable: It does not answer.
        """
        return self.over(open_site(self.place, self.index))

    def over(self, site: Site) -> IncrementalExport:
        """Return the export to a site that is open."""
        index, found = self.index, load_manifest(site.store)
        base = index.settings.server.public_url.rstrip("/")
        before = found.manifest.options if found.manifest else Options(base_url=base)
        options = self.asked.over(before)
        has_files = _has_files_of(index, self.place)
        if has_files and options.files is not FileMode.LEAVE:  # those of a site come and go
            raise Invalid(
                f"{escaped(self.place)} has the store's own files. Leave them where they are with "
                "--files and the URL of its files/ folder, or choose another prefix.",
                code=BAD_DESTINATION,
            )
        is_local = index.is_local and site.serves_directory_index
        templates = PageTemplates(
            f"{options.base_url}/simple/" if options.base_url else index.settings.index_url,
            is_certain=bool(options.base_url),
            files_url=options.files_from_page,
        )
        writing = PageWriter(site.store)

        def each(tasks: list[ExportTask], work: Work) -> Done:
            if is_local and self.processors > 1 and len(tasks) > MIN_PROJECTS_FOR_PROCESSES:
                return self._in_processes(tasks, options, writing)
            return _in_threads(tasks, work, LOCAL_THREADS if is_local else REMOTE_THREADS)

        return IncrementalExport(
            projects=index.projects,
            noted=found,
            options=options,
            pages=SitePages(
                options, templates, partial(_core_of, index), site.serves_directory_index
            ),
            places=SiteFiles(index.files, site, options.files),
            writing=writing,
            retries=ConflictRetries(runtime=index.runtime)
            if is_local
            else remote_conflict_retries(index.runtime),
            each=each,
            owns_files=not has_files,
        )

    def _in_processes(self, tasks: list[ExportTask], options: Options, writing: PageWriter) -> Done:
        """Export projects on every processor: pages are made of computing, and little else."""
        parts = _parts(tasks, self.processors)
        asked = RequestedOptions(
            base_url=options.base_url,
            files=options.files,
            files_url=options.files_url,
            is_gzipped=options.is_gzipped,
        )
        work = partial(_export_part, self.index.settings, self.place, asked)
        # a fork starts at once, but would copy locks that other threads may hold
        context = get_context("fork" if IS_LINUX and active_count() == 1 else "spawn")
        with ProcessPoolExecutor(min(self.processors, len(parts)), context, _attend) as pool:
            try:
                # until processes attend to Ctrl-C, they would tell of it
                before = pthread_sigmask(SIG_BLOCK, {SIGINT})
                try:
                    done = pool.map(work, parts)
                finally:
                    pthread_sigmask(SIG_SETMASK, before)
                for part, (lines, written) in zip(parts, done, strict=True):
                    writing.count(written)
                    yield from zip(part, lines, strict=True)
            except BrokenProcessPool as error:
                self.index.runtime.pause(
                    INTERRUPT_GRACE_SECONDS
                )  # for Ctrl-C, which has ended them a moment before
                raise Unavailable(
                    "A part of the export was killed, perhaps for want of memory. Export again: "
                    "what is done stays done.",
                ) from error
            finally:
                pool.shutdown(wait=False, cancel_futures=True)  # nothing more after Ctrl-C


def _in_threads(tasks: list[ExportTask], work: Work, threads: int) -> Done:
    with ThreadPoolExecutor(threads) as pool:
        try:
            yield from zip(tasks, pool.map(work, tasks), strict=True)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _parts(tasks: list[ExportTask], processors: int) -> list[list[ExportTask]]:
    turns = -(-len(tasks) // (MAX_PROJECTS_PER_PART * processors))
    size = -(-len(tasks) // (turns * processors))
    return [tasks[start : start + size] for start in range(0, len(tasks), size)]


def _attend() -> None:
    """Let a process of the pool end with Ctrl-C, and with its parent."""
    if getsignal(SIGINT) is not SIG_IGN:  # as for what a shell has put into the background
        signal(SIGINT, SIG_DFL)
    pthread_sigmask(SIG_UNBLOCK, {SIGINT})
    gc.set_threshold(GC_THRESHOLD_OBJECTS)
    parent = parent_process()
    assert parent is not None  # noqa: S101 - this is run in a pool only

    def leave() -> None:
        wait([parent.sentinel])  # one that was killed tells nobody
        os._exit(1)

    Thread(target=leave, daemon=True).start()


def _export_part(
    settings: Settings, place: str, asked: RequestedOptions, tasks: list[ExportTask]
) -> tuple[list[TaskResult], int]:
    index = open_index(settings, create=False)
    export = SiteExporter(index=index, place=place, asked=asked).opened()
    return [export.project(task) for task in tasks], export.writing.written


def open_site(place: str, index: Index) -> Site:
    """Return the site at a place: a folder, which is made, or a bucket's prefix."""
    _refuse_place(place, index.settings)
    if is_bucket(place):
        store = store_in(place, index.traits.operation_counter)
        return Site(store, index.spool, serves_directory_index=False, copied=_copier(store, index))
    folder = LocalStore(Path(place), index.runtime.random, is_site=True)
    probe, sink = folder.spool.create()  # to say at once, and not half-way, that nothing can be
    sink.close()
    probe.unlink()
    for left in folder.spool.leftovers((index.runtime.now() - ORPHAN_AGE).timestamp()):
        left.unlink(missing_ok=True)  # of an export that was killed
    return Site(folder, folder.spool, serves_directory_index=True, linked=folder.link)


def _refuse_place(place: str, settings: Settings) -> None:
    if not is_bucket(place) and ("://" in place or place in ("", MEMORY_LOCATION)):
        raise Invalid(
            f"A site cannot be written to {quoted(place)}. Give a folder, or gs://BUCKET/PREFIX.",
            code=BAD_DESTINATION,
        )
    for each in (settings.store.location, settings.access.credentials_store):
        if not each or each == MEMORY_LOCATION or is_bucket(each) != is_bucket(place):
            continue
        if not is_bucket(place):
            site, store = Path(os.path.realpath(place)), Path(os.path.realpath(each))
            if site == store or site in store.parents or store in site.parents:
                raise Invalid(
                    f"{escaped(place)} and the store {escaped(each)} are in each other's way: who "
                    "can read the site could read credentials. Choose a folder beside the store.",
                    code=BAD_DESTINATION,
                )
        elif parse_location(each).bucket == parse_location(place).bucket:
            raise Invalid(
                f"{escaped(place)} is in the bucket of {escaped(each)}, and a site's bucket is "
                "readable as a whole. Choose another bucket.",
                code=BAD_DESTINATION,
            )


def _copier(store: Store, index: Index) -> Copied | None:
    from wheelyard.storage.gcs.store import GcsStore  # noqa: PLC0415 - of a bucket's site only

    location = index.traits.files or index.settings.store.location
    if not is_bucket(location) or not isinstance(store, GcsStore):
        return None
    place = parse_location(location)
    return lambda key, expect, kind: store.copy(place, place.name_of(key), key, expect, kind)


def _has_files_of(index: Index, place: str) -> bool:
    files = index.traits.files
    return bool(files) and is_bucket(place) and parse_location(place) == parse_location(files)


def _core_of(index: Index, name: NormalizedName, file: File) -> CoreMetadata:
    raw = index.files.core_metadata(name, file) if file.has_metadata else None
    if raw is not None and sha256(raw).hexdigest() != file.core_metadata:
        raise NotFound(f"The core metadata of {file.filename} is not what it was.")
    return parse_any(raw, name, file.version)
