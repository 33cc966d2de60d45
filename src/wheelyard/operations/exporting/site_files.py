"""Distributions and core metadata, brought to where pages link to, and taken away."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.files import Files
from wheelyard.errors import Invalid, NotFound, WheelyardError, quoted
from wheelyard.model.project import Project
from wheelyard.operations.exporting.manifest import BAD_DESTINATION, FileMode
from wheelyard.operations.exporting.site_pages import BINARY, METADATA
from wheelyard.rendering.simple_pages import served_files
from wheelyard.storage.base import ABSENT, Key, ObjectVersion, Store, WebType
from wheelyard.storage.disk import require_no_links, storage_faults, write_all
from wheelyard.storage.spool import Spool

Linked = Callable[[Key, Path], object]
Copied = Callable[[Key, ObjectVersion, WebType], object]

UNLINKABLE: Final = {
    errno.EXDEV: "it is on another file system",
    errno.EPERM: "the file system has no links, or the file belongs to somebody else",
    errno.ENOTSUP: "the file system has no links",
    errno.EMLINK: "it has too many names already",
}


@dataclass(frozen=True, slots=True)
class Site:
    """A place that a static site is written to, which is open."""

    store: Store
    spool: Spool
    """Where the bytes of a stream wait for its end."""
    serves_directory_index: bool
    """Whether who serves it answers `simple/` with `simple/index.html`; a bucket does not."""
    linked: Linked | None = None
    """Gives a file of this machine a second name there, if it is a folder."""
    copied: Copied | None = None
    """Has its bucket copy an object of the store's bucket, if both are in one."""


@dataclass(frozen=True, slots=True)
class SiteFiles:
    """Brings what pages link to."""

    files: Files
    site: Site
    placing: FileMode

    def bring(self, project: Project) -> None:
        """
        See to it that all is there that the pages of `project` will link to.

        Raises:
            Conflict: Somebody else brings it, too.
            Unavailable: The store has lost some of it, or one of the two places does not answer.
        """
        wanted = required_objects(project)
        if self.placing is FileMode.LEAVE or not wanted:
            return
        there = {entry.key: entry for entry in self.site.store.list(_folder(project.name))}
        for key, size in wanted.items():
            found = there.get(key)
            # the digest is in the path, so an object of another size is half a one
            if found is None or size not in (None, found.size):
                self._bring(key, found.version if found else ABSENT)

    def take_away(self, project: Project) -> None:
        """Remove what is not to be had any more: what was deleted, for ever, or is quarantined."""
        if self.placing is FileMode.LEAVE:
            return
        kept, gone = required_objects(project), set(project.deleted_filenames)
        for entry in list(self.site.store.list(_folder(project.name))):
            owner = keys.owner_of(entry.key)
            if owner is None or entry.key in kept:
                continue
            if owner.filename in gone or not project.status.serves_files:
                self.site.store.delete(entry.key, None)

    def _bring(self, key: Key, expect: ObjectVersion) -> None:
        local = self.files.store.path_of(key)
        if local is not None:
            require_no_links(local)
        try:
            self._put(key, local, expect)
        except WheelyardError as fault:
            if local is None or local.exists():
                raise
            raise NotFound(f"The store holds nothing at {key}.") from fault

    def _put(self, key: Key, local: Path | None, expect: ObjectVersion) -> None:
        site, kind = self.site, METADATA if key.endswith(".metadata") else BINARY
        if self.placing is FileMode.LINK:
            self._link(key, local, expect)
        elif site.copied is not None:
            site.copied(key, expect, kind)
        elif local is not None:
            site.store.put(key, local, expect, kind)
        else:
            with self._spooled(key) as path:
                site.store.put(key, path, expect, kind)

    def _link(self, key: Key, source: Path | None, expect: ObjectVersion) -> None:
        if source is None:
            raise _no_link(key, "it is no file of this machine")
        if self.site.linked is None:
            raise _no_link(str(source), "the site is in a bucket")
        if expect != ABSENT:
            self.site.store.delete(key, expect)
        with storage_faults(str(key)):
            try:
                self.site.linked(key, source)
            except OSError as error:
                if error.errno in UNLINKABLE:
                    raise _no_link(str(source), UNLINKABLE[error.errno]) from error
                raise

    @contextmanager
    def _spooled(self, key: Key) -> Iterator[Path]:
        chunks = self.files.store.read(key)
        path, sink = self.site.spool.create()
        try:
            with sink:
                for chunk in chunks:
                    with storage_faults(str(key)):
                        write_all(sink.fileno(), chunk)
            yield path
        finally:
            path.unlink(missing_ok=True)


def required_objects(project: Project) -> dict[Key, int | None]:
    """Return the keys of what a project's pages link to, with the sizes that are known."""
    wanted = dict[Key, int | None]()
    for file in served_files(project):
        named = (project.name, file.sha256, file.filename)
        wanted[keys.distribution(*named)] = file.size
        if file.serves_metadata:
            wanted[keys.core_metadata(*named)] = None
    return wanted


def _no_link(source: str, why: str) -> Invalid:
    return Invalid(
        f"{quoted(source)} cannot be linked into the site: {why}. Export with --files copy.",
        code=BAD_DESTINATION,
    )


def _folder(name: NormalizedName) -> str:
    return f"{keys.FILES}{name}/"
