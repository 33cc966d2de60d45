"""
Prefetching: the files that lock files list are brought into the store before anybody asks for them.

Only files whose digests are listed are fetched, of projects that are not private, as far as the
policy shows them. What is there already stays, so a prefetch that was interrupted goes on where it
stopped.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from enum import StrEnum
from functools import partial
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.concurrency.threads import DaemonThreads
from wheelyard.errors import UPSTREAM_CODES, NotFound, Unavailable
from wheelyard.upstream.indexes import UpstreamIndex
from wheelyard.upstream.lock_files import LockedFile, LockedFiles
from wheelyard.upstream.page import UpstreamFile, UpstreamPage

INTERRUPT_GRACE_SECONDS: Final = 1.0
"""How long fetches that were interrupted may take to clear up."""


class FileState(StrEnum):
    """What has become of a listed file."""

    FETCHED = "fetched"
    PRESENT = "present"
    """The store had it already."""
    MISSING = "missing"
    """No page of an upstream has its digest."""
    REFUSED = "refused"
    """The policy does not show it."""
    FAILED = "failed"


class PrefetchedFile(Struct, frozen=True):
    """A listed file, and what has become of it."""

    file: LockedFile
    state: FileState
    why: str = ""
    """One sentence or more, if it is not in the store now."""
    size: int = 0
    """Bytes, if it was fetched, or would be, and 0 if nobody knows."""


class PrefetchReport(Struct, frozen=True):
    """The result of a prefetch."""

    private: list[NormalizedName]
    """Listed projects that are private, and were left out, sorted."""
    results: list[PrefetchedFile]

    def in_state(self, state: FileState) -> list[PrefetchedFile]:
        """Return the files that are in this state now."""
        return [result for result in self.results if result.state is state]

    @property
    def fetched_bytes(self) -> int:
        """The size of all fetched files."""
        return sum(result.size for result in self.in_state(FileState.FETCHED))


class _Wanted(Struct, frozen=True):
    """A file to bring into the store, and where it is."""

    locked: LockedFile
    page: UpstreamPage
    file: UpstreamFile


class _Private(Struct, frozen=True):
    """A project that is private, or became so."""

    name: NormalizedName


_Step = _Wanted | PrefetchedFile | _Private
"""A file to bring, or a final result."""


class Prefetch(Struct, frozen=True, kw_only=True):
    """Brings listed files into the store, some at a time."""

    index: UpstreamIndex
    jobs: int
    """How many pages or files are fetched at a time."""
    received: Callable[[int], None]
    """Called in any thread with the number of bytes that have just arrived."""

    def run(self, locked: LockedFiles, *, dry_run: bool) -> PrefetchReport:
        """
        Bring all listed files into the store, or in a dry run only find them.

        What an upstream index does not give is in the report. Raises Invalid if a project that is
        not private is listed without a digest. Raises Unavailable if the store does not answer. An
        error while files are fetched closes the index.
        """
        private, results = set[NormalizedName](), list[PrefetchedFile]()
        for package in locked.without_digest:
            if not self.index.names.is_private(package.project):
                raise package.without_digest
            private.add(package.project)
        for result in self._results(locked, dry_run=dry_run):
            if isinstance(result, PrefetchedFile):
                results.append(result)
            else:
                private.add(result.name)
        return PrefetchReport(sorted(private), results)

    def _results(
        self, locked: LockedFiles, *, dry_run: bool
    ) -> Iterator[PrefetchedFile | _Private]:
        """
        Yield results as they come.

        Pages are read only as far ahead as there is room.
        """
        projects, wanted = deque(locked.projects.items()), deque[_Wanted]()
        threads, running = DaemonThreads(self.jobs, "prefetch"), set[Future[list[_Step]]]()
        try:
            while wanted or projects or running:
                while len(running) < self.jobs and (wanted or projects):
                    if wanted:
                        work = partial(self._bring, wanted.popleft(), dry_run=dry_run)
                    else:
                        work = partial(self._plan, *projects.popleft())
                    running.add(threads.start(work))
                # work runs in other threads, and what it returns is handled in this one
                done, running = wait(running, return_when=FIRST_COMPLETED)
                steps = [step for future in done for step in future.result()]
                wanted.extend(step for step in steps if isinstance(step, _Wanted))
                yield from (step for step in steps if not isinstance(step, _Wanted))
        except BaseException:
            self.index.close()  # so that what is being fetched leaves nothing in the spool
            wait(running, INTERRUPT_GRACE_SECONDS)
            raise

    def _plan(self, name: NormalizedName, files: tuple[LockedFile, ...]) -> list[_Step]:
        """Return what to do for the listed files of a project."""
        index = self.index
        if index.names.is_private(name):
            return [_Private(name)]
        reason = index.policy.refuses_name(name)
        if reason is not None:
            return _all(files, FileState.REFUSED, reason.text)
        try:
            current = index.pages.get(name)
            if current is not None and not _lists(current.page, files):
                index.pages.ask(name)  # a page of the cache may be older than the lock file
                current = index.pages.get(name)
        except Unavailable as fault:
            return _all(files, FileState.FAILED, _own_message(fault))
        if current is None:
            return _all(files, FileState.MISSING, f"No upstream index has {name}.")
        # a file without a digest on its page may have one since it was fetched
        page = index.files.with_digests(current.page)
        by_digest = {file.sha256: file for file in page.files}
        return [_find(page, by_digest, locked) for locked in files]

    def _bring(self, wanted: _Wanted, *, dry_run: bool) -> list[_Step]:
        locked, page = wanted.locked, wanted.page
        if self.index.names.is_private(page.name):  # claimed since its page was read
            return [_Private(page.name)]
        try:
            return [self._result(wanted, dry_run=dry_run)]
        except NotFound as fault:
            return [PrefetchedFile(locked, FileState.FAILED, fault.message)]
        except Unavailable as fault:
            return [PrefetchedFile(locked, FileState.FAILED, _own_message(fault))]

    def _result(self, wanted: _Wanted, *, dry_run: bool) -> PrefetchedFile:
        locked, page, file = wanted.locked, wanted.page, wanted.file
        reason = self.index.policy.refuses_file(page, file)
        if reason is not None:
            return PrefetchedFile(locked, FileState.REFUSED, reason.text)
        files = self.index.files
        stored = files.find(page, file)
        state = FileState.FETCHED if stored is None else FileState.PRESENT
        if dry_run:
            return PrefetchedFile(locked, state, size=file.size or 0)
        if stored is None:
            stored = files.bring(page, file, self.received)
        if stored.file.sha256 != locked.sha256:
            why = f"{file.filename} has another digest: sha256:{stored.file.sha256}."
            return PrefetchedFile(locked, FileState.MISSING, why)
        if file.serves_metadata and file.core_metadata:  # else it could not be verified
            with suppress(NotFound):  # then clients read the wheel
                files.bring_metadata(page, file)
        return PrefetchedFile(locked, state, size=stored.file.size)


def _find(page: UpstreamPage, by_digest: Mapping[str, UpstreamFile], locked: LockedFile) -> _Step:
    file = by_digest.get(locked.sha256)
    if file is None and locked.filename:  # its digest is not known before it was fetched
        named = page.by_filename.get(locked.filename)
        file = named if named is not None and not named.sha256 else None
    if file is None:
        why = f"No file on the page of {page.name} at {page.upstream} has this digest."
        return PrefetchedFile(locked, FileState.MISSING, why)
    return _Wanted(locked, page, file)


def _lists(page: UpstreamPage, files: tuple[LockedFile, ...]) -> bool:
    """Return whether a page has the digests of all files."""
    return {file.sha256 for file in page.files}.issuperset(locked.sha256 for locked in files)


def _all(files: tuple[LockedFile, ...], state: FileState, why: str) -> list[_Step]:
    return [PrefetchedFile(file, state, why) for file in files]


def _own_message(fault: Unavailable) -> str:
    """
    Return the message of a fault of an upstream.

    Raises the fault again if it is another one, which concerns all files.
    """
    if fault.code not in UPSTREAM_CODES:
        raise fault
    return fault.message
