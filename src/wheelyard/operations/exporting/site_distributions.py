"""Distributions and their core metadata in a site: copied or linked, and removed."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from wheelyard.catalog import keys
from wheelyard.catalog.files import Files
from wheelyard.errors import Invalid, NotFound, WheelyardError, quoted
from wheelyard.model.project import Project
from wheelyard.operations.exporting.manifest import BAD_DESTINATION, FileMode
from wheelyard.operations.exporting.site_pages import FILE_TYPE, METADATA_TYPE
from wheelyard.rendering.shown import ShownFile, ShownProject
from wheelyard.rendering.simple_pages import served_files
from wheelyard.storage.base import ABSENT, Key, ObjectVersion, Store, WebType
from wheelyard.storage.filesystem import require_no_links, storage_faults, write_all
from wheelyard.storage.spool import Spool

LinkFile = Callable[[Key, Path], object]
"""Makes a hard link at a key of the site to a local file."""
CopyObject = Callable[[Key, ObjectVersion, WebType], object]
"""Copies the object at a key from the store's bucket, over the expected version."""

LINK_ERRORS: Final = {
    errno.EXDEV: "it is on another file system",
    errno.EPERM: "the file system has no links, or the file belongs to somebody else",
    errno.ENOTSUP: "the file system has no links",
    errno.EMLINK: "it has too many names already",
}


class Site(Struct, frozen=True):
    """The destination of an export: a folder or a bucket."""

    store: Store
    spool: Spool
    """The folder for scratch files."""
    serves_index: bool
    """Whether web servers answer `simple/` with `simple/index.html`; a bucket does not."""
    link_file: LinkFile | None = None
    """None if the site is a bucket."""
    copy_object: CopyObject | None = None
    """None unless both the site and the store's files are in buckets."""


class SiteDistributions(Struct, frozen=True):
    """Copies or links distributions and core metadata into the site, and removes them."""

    files: Files
    site: Site
    mode: FileMode

    def copy_missing(self, project: ShownProject[ShownFile]) -> None:
        """
        Copy or link a project's missing or incomplete files into the site; with LEAVE, do nothing.

        Raise NotFound if the store has lost one, Invalid if it cannot be linked.
        """
        if self.mode is FileMode.LEAVE or not (required := required_objects(project)):
            return
        existing = {entry.key: entry for entry in self.site.store.list(keys.files_of(project.name))}
        for key, size in required.items():
            found = existing.get(key)
            # the digest is in the key, so an object of another size is incomplete
            if found is None or size not in (None, found.size):
                self._add(key, found.version if found else ABSENT)

    def remove_unavailable(self, project: Project) -> None:
        """Remove deleted files from the site, or all of a quarantined project; not with LEAVE."""
        if self.mode is FileMode.LEAVE:
            return
        required, deleted = required_objects(project), set(project.deleted_filenames)
        for entry in list(self.site.store.list(keys.files_of(project.name))):
            owner = keys.parse_file_key(entry.key)
            if owner is None or entry.key in required:
                continue
            if owner.filename in deleted or not project.status.serves_files:
                self.site.store.delete(entry.key, None)

    def _add(self, key: Key, expect: ObjectVersion) -> None:
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
        site, kind = self.site, METADATA_TYPE if key.endswith(".metadata") else FILE_TYPE
        if self.mode is FileMode.LINK:
            self._link(key, local, expect)
        elif site.copy_object is not None:
            site.copy_object(key, expect, kind)
        elif local is not None:
            site.store.put(key, local, expect, kind)
        else:
            with self._spooled(key) as path:
                site.store.put(key, path, expect, kind)

    def _link(self, key: Key, source: Path | None, expect: ObjectVersion) -> None:
        if source is None:
            raise _link_error(key, "it is no file of this machine")
        if self.site.link_file is None:
            raise _link_error(str(source), "the site is in a bucket")
        if expect != ABSENT:
            self.site.store.delete(key, expect)
        with storage_faults(str(key)):
            try:
                self.site.link_file(key, source)
            except OSError as error:
                if error.errno in LINK_ERRORS:
                    raise _link_error(str(source), LINK_ERRORS[error.errno]) from error
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


def required_objects(project: ShownProject[ShownFile]) -> dict[Key, int | None]:
    """Return the keys of the files and core metadata that pages link to, with known sizes."""
    required = dict[Key, int | None]()
    for file in served_files(project):
        parts = (project.name, file.sha256, file.filename)
        required[keys.distribution(*parts)] = file.size
        if file.serves_metadata:
            required[keys.core_metadata(*parts)] = None
    return required


def _link_error(source: str, why: str) -> Invalid:
    return Invalid(
        f"{quoted(source)} cannot be linked into the site: {why}. Export with --files copy.",
        code=BAD_DESTINATION,
    )
