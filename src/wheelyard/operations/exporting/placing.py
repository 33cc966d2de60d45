"""Distributions and their core metadata, brought to where the pages link to, and taken away."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.codec import DAMAGED
from wheelyard.catalog.files import Files
from wheelyard.errors import IndexFault, NotFound, Unavailable
from wheelyard.model.project import Project
from wheelyard.operations.exporting.options import Placing
from wheelyard.operations.exporting.pages import BINARY, METADATA
from wheelyard.rendering.simple import served_files
from wheelyard.storage.base import Key, WebType
from wheelyard.storage.in_place import require_in_place
from wheelyard.storage.site.base import Site

Copied = Callable[[Key, WebType], object]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Something that pages link to."""

    key: Key
    """Its place in the store, and in the site."""
    size: int | None
    """Bytes, where that is known."""
    kind: WebType


@dataclass(frozen=True, slots=True)
class Places:
    """Brings what pages link to."""

    files: Files
    site: Site
    placing: Placing
    copied: Copied | None = None
    """Has the bucket of the site copy an object of the store's bucket, if both are in one."""

    def bring(self, project: Project) -> None:
        """
        See to it that all is there that the pages of `project` will link to.

        Raises:
            Unavailable: The store has lost some of it, or one of the two places does not answer.
        """
        wanted = list(wanted_by(project)) if self.placing is not Placing.LEAVE else []
        if not wanted:
            return
        there = {path: size for path, size, _ in self.site.names(_folder(project.name))}
        for each in wanted:
            if each.key not in there or each.size not in (None, there[each.key]):
                self._bring(each)

    def take_away(self, project: Project) -> None:
        """Remove what is not to be had any more: what was deleted, for ever, or is quarantined."""
        if self.placing is Placing.LEAVE:
            return
        kept = {each.key for each in wanted_by(project)}
        gone = set(project.gone)
        for path, _, _ in list(self.site.names(_folder(project.name))):
            owner = keys.owner_of(Key(path))
            if owner is None or path in kept:
                continue
            if owner.filename in gone or not project.status.serves_files:
                self.site.delete(path, None)

    def _bring(self, wanted: Wanted) -> None:
        local = self._on_disk(wanted.key)
        try:
            self._put(wanted, local)
        except IndexFault as fault:
            if local is None or local.exists():
                raise
            raise NotFound(f"The store holds nothing at {wanted.key}.") from fault

    def _put(self, wanted: Wanted, local: Path | None) -> None:
        if self.placing is Placing.LINK:
            self.site.link_file(wanted.key, local or Path(wanted.key))
        elif self.copied is not None:
            self.copied(wanted.key, wanted.kind)
        elif local is not None:
            self.site.put_file(wanted.key, local, wanted.kind)
        else:
            self.site.put_stream(wanted.key, lambda: self.files.read(wanted.key), wanted.kind)

    def _on_disk(self, key: Key) -> Path | None:
        """
        Return the file of this machine that holds an object, if one does.

        Raises:
            Unavailable: There is a link on the way to it.
        """
        path = self.files.path_of(key)
        if path is not None:
            require_in_place(path)
        return path


def wanted_by(project: Project) -> Iterator[Wanted]:
    """Yield what the pages of `project` link to."""
    for file in served_files(project):
        name = project.name
        yield Wanted(keys.distribution(name, file.sha256, file.filename), file.size, BINARY)
        if file.serves_metadata:
            key = keys.core_metadata(name, file.sha256, file.filename)
            yield Wanted(key, None, METADATA)


def lost(name: NormalizedName, fault: NotFound) -> Unavailable:
    """Return the fault for what a project lists, and the store has not."""
    return Unavailable(
        f"{fault.message} But {name} lists it. Run 'wheelyard check', restore it from a backup, "
        "and export again.",
        code=DAMAGED,
        short="A file is missing from storage.",
    )


def lost_document(name: NormalizedName) -> Unavailable:
    """Return the fault for a project whose document the store has not."""
    return Unavailable(
        f"The document of {name} is lost. Run 'wheelyard check --rebuild', or restore it from a "
        "backup, and export again.",
        code=DAMAGED,
        short="A document of the index is damaged.",
    )


def _folder(name: NormalizedName) -> str:
    return f"{keys.FILES}{name}/"
