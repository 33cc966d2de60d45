"""
What the store keeps of public packages, how large it is, when it was used, and what is removed.

The sweep only ever sees what is below `upstream/`, so it cannot touch what is private. Servers may
run meanwhile: a file that they need again is fetched again. Pages stay, because they say which
index owns a name, and so do the learned digests.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.store_clock import StoreClock
from wheelyard.concurrency.threads import prefetch_map
from wheelyard.errors import Invalid
from wheelyard.model.distribution_filename import parse_known_filename
from wheelyard.model.public_packages import KeptPackage
from wheelyard.storage.base import Entry, Store
from wheelyard.storage.forwarding import PrefixedStore

_OBJECT: Final = re.compile(
    rf"([^/]+)/(?:{keys.UPSTREAM_FILES}|({keys.UPSTREAM_USES}))"
    r"([a-z0-9-]+/[0-9a-f]{64}/[^/]+?)(?:\.metadata)?"
)


class SweepRules(Struct, frozen=True, kw_only=True):
    """Which files are removed."""

    unused_for: timedelta | None = None
    """Those that were not used for so long."""
    max_bytes: int | None = None
    """As many as are too many for so many bytes, those first that were not used for longest."""


class KeptFile(Struct, kw_only=True):
    """A file of an upstream index in the store, with its core metadata and the note of its use."""

    upstream: str
    """The id of the upstream index."""
    path: str
    """Project, digest and filename."""
    size: int = 0
    """Bytes."""
    last_use: float = 0.0
    """When it was used or fetched last, within a day, in seconds since the epoch."""
    objects: list[Entry] = []
    """In the order of their removal."""

    @property
    def project(self) -> NormalizedName:
        """The project."""
        return NormalizedName(self.path.partition("/")[0])

    @property
    def version(self) -> str:
        """The normalised version, or an empty text if the filename has none that is known."""
        try:
            filename = self.path.rpartition("/")[2]
            return str(parse_known_filename(filename, self.project).version)
        except Invalid:
            return ""

    def add(self, entry: Entry, *, is_note: bool) -> None:
        """Count an object as one of this file's."""
        self.last_use = max(self.last_use, entry.modified)
        if is_note:  # removed first: a sweep that is interrupted leaves no note alone
            self.objects.insert(0, entry)
        else:
            self.size += entry.size
            self.objects.append(entry)


class SweepReport(Struct, frozen=True):
    """What was removed, or would be, and what stays."""

    removed: tuple[KeptFile, ...]
    """Those first that were not used for longest."""
    kept: int
    """Files."""
    kept_bytes: int


class UpstreamSweep(Struct, frozen=True):
    """Removes files of upstream indexes from a store."""

    clock: StoreClock
    """That of the store with what is below `upstream/`."""

    def run(self, rules: SweepRules, *, dry_run: bool = False) -> SweepReport:
        """
        Remove what the rules say, or in a dry run nothing, and return what that is.

        A server that runs meanwhile may fetch a removed file again. Raises Unavailable (code
        `clock_differs`), before anything is removed, if the machine's clock is wrong. Raises
        Unavailable if the store does not answer. Some files may be removed then.
        """
        now = self.clock.estimate() if dry_run else self.clock.require_agreement()
        files = sorted(kept_files(self.clock.store), key=attrgetter("last_use"))
        chosen = self._choose(files, rules, now.timestamp())
        for _ in prefetch_map(self._remove, () if dry_run else chosen):
            pass
        kept_bytes = sum(file.size for file in files) - sum(file.size for file in chosen)
        return SweepReport(tuple(chosen), len(files) - len(chosen), kept_bytes)

    def _remove(self, file: KeptFile) -> None:
        """Remove a file, in a thread of its own. A crash leaves the rest to the next sweep."""
        below = PrefixedStore(self.clock.store, keys.UPSTREAM)
        for entry in file.objects:
            below.delete(entry.key)

    @staticmethod
    def _choose(files: list[KeptFile], rules: SweepRules, now: float) -> list[KeptFile]:
        """Return the files to remove, of `files` in the order of their last use."""
        size = sum(file.size for file in files)
        chosen = list[KeptFile]()
        for file in files:
            is_unused = (
                rules.unused_for is not None
                and now - file.last_use >= rules.unused_for.total_seconds()
            )
            if is_unused or (rules.max_bytes is not None and size > rules.max_bytes):
                chosen.append(file)
                size -= file.size
        return chosen


def kept_files(store: Store, project: NormalizedName | None = None) -> Iterable[KeptFile]:
    """
    Return all files that are kept, or those of one project, by listing their keys.

    `store` has what is below `upstream/`. No object is read. Raises Unavailable if the store does
    not answer.
    """
    files = dict[tuple[str, str], KeptFile]()
    below = PrefixedStore(store, keys.UPSTREAM)
    for entry in below.list("") if project is None else _objects_of(below, project):
        match = _OBJECT.fullmatch(entry.key)
        if match is not None:
            upstream, note, path = match.groups()
            file = files.setdefault((upstream, path), KeptFile(upstream=upstream, path=path))
            file.add(entry, is_note=note is not None)
    return files.values()


def _objects_of(below: Store, project: NormalizedName) -> Iterator[Entry]:
    """Yield the objects of a project, without a listing of those of others."""
    after = ""
    while first := next(below.list("", after), None):
        upstream = first.key.partition("/")[0]
        for part in (keys.UPSTREAM_FILES, keys.UPSTREAM_USES):
            yield from below.list(f"{upstream}/{part}{project}/")
        after = f"{upstream}0"  # the character after the slash: what follows is of another index


def kept_packages(store: Store, project: NormalizedName | None = None) -> list[KeptPackage]:
    """
    Return what is kept of each project, or of each version of one project, the largest first.

    What is kept of another upstream index, also one that is not asked any more, is a package of its
    own. Raises as `kept_files`.
    """
    groups = dict[tuple[str, NormalizedName, str], list[KeptFile]]()
    for file in kept_files(store, project):
        version = "" if project is None else file.version
        groups.setdefault((file.upstream, file.project, version), []).append(file)
    packages = (
        KeptPackage(
            project=name,
            version=version,
            upstream=upstream,
            files=len(group),
            bytes=sum(file.size for file in group),
            last_used=datetime.fromtimestamp(max(file.last_use for file in group), UTC),
        )
        for (upstream, name, version), group in groups.items()
    )
    return sorted(packages, key=lambda package: (-package.bytes, package.project, package.version))
