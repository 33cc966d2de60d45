"""
Removal of the files with one digest from a project at once, for good, in one or in all indexes.

Indexes share the bytes of a file. So the documents of the project in all indexes are read. If
another index lists the files, or keeps them in its trash, nothing is removed, unless the files are
removed from all indexes.

1. Each index that has the files gets a commit that takes them out of its list and its trash: the
   other indexes first, then this one. An index to which a file is noted as promoted
   (`promotion.py`) gets such a commit, too: it never lists a filename that was deleted there. A
   process that dies in between has removed the files from some indexes.
2. Then the rendered descriptions are deleted, and the documents about wheel variants that earlier
   pages link to, and then all objects with this digest. A process that dies before leaves bytes
   that no index lists. The same removal again finds these bytes by their keys, and so does the
   sweep.
3. The documents are read again. The removal fails if an index lists the bytes by then, as somebody
   has uploaded or promoted the file meanwhile.

A filename that was removed so can neither be restored nor uploaded again here, so no commit can
list bytes that are about to be deleted.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.file_removal import FileRemoval
from wheelyard.catalog.projects import Projects
from wheelyard.errors import Conflict, Forbidden, NotFound
from wheelyard.model.access import Action, Caller
from wheelyard.model.distribution_filename import Sha256, parse_known_filename, parse_sha256
from wheelyard.model.index_name import MAIN
from wheelyard.model.metadata import CoreMetadata, parse_any
from wheelyard.model.project import Deletion, Event, EventKind, File, Project
from wheelyard.operations.descriptions.descriptions import remove_results
from wheelyard.operations.lifecycle import PromotionNotes, require_manager
from wheelyard.remedies import Advice, Remedy
from wheelyard.storage.base import Key, Store, Stored
from wheelyard.storage.forwarding import PrefixedStore

LISTED_ELSEWHERE: Final = "listed_elsewhere"
"""The code of a Conflict for bytes that another index has: nothing was removed."""
LISTED_MEANWHILE: Final = "listed_meanwhile"
"""The code of a Conflict for bytes that an index got while the files were removed elsewhere."""


class RemovedFile(Struct, frozen=True, order=True):
    """A filename that an index had."""

    index: str
    """The name of the index."""
    filename: str


class RemovedFiles(Struct, frozen=True):
    """The files with a digest that were removed, or in a dry run, that would be removed."""

    name: NormalizedName
    sha256: str
    files: tuple[RemovedFile, ...]
    """
    The sorted filenames that indexes have listed, kept after a deletion, or were about to list.
    """
    objects: int
    """How many objects the store had for the digest: each filename, and its core metadata."""


class _Holdings(Struct, frozen=True):
    """What the indexes of a store have of a digest."""

    filenames: Mapping[str, set[str]]
    """
    The filenames that each index lists or keeps, or may be about to list, by the name of the index.
    """
    notes: PromotionNotes
    """The notes that the files have about their promotions."""
    objects: tuple[Key, ...]
    """The keys of the bytes, and of the objects beside them."""


class ImmediateDeletion(Struct, frozen=True):
    """Removes all files of a project that have one digest, with their bytes, at once."""

    projects: Projects
    removal: FileRemoval
    projects_of: Callable[[str], Projects]
    """Returns the projects of an index by its name, also of one that this process does not know."""
    index: str = MAIN
    """The name of this index."""

    def delete(
        self,
        caller_in: Callable[[str], Caller],
        name: NormalizedName,
        sha256: str,
        reason: str,
        *,
        everywhere: bool = False,
        dry_run: bool = False,
    ) -> RemovedFiles:
        """
        Remove listed and deleted files with their bytes, with `everywhere` from all indexes.

        `caller_in` returns the caller with the rights in an index by its name, and raises NotFound
        for an index that is not served. After an error some indexes may still list the files, and
        the same removal again does the rest. Files that are gone already are no error. With
        `dry_run` everything is checked, nothing is removed, and the result is what would be.

        Raises Forbidden unless the caller is an administrator, and for `everywhere` one of all
        indexes. Raises Invalid if `sha256` is malformed, or the reason is not one line of text.
        Raises NotFound if the project never had a file with this digest here, or with `everywhere`
        in any index. Raises Conflict (code `listed_elsewhere`) if another index has the bytes, and
        nothing was removed. Raises Conflict if one of the files was promoted meanwhile. Raises
        Conflict (code `listed_meanwhile`) if the files are removed here, and an index has got the
        bytes meanwhile. Raises Unavailable if the store does not answer.
        """
        caller = caller_in(self.index)
        _require_admin(caller, name, reason)
        if everywhere:
            _require_server_admin(caller)
        digest = parse_sha256(sha256)
        holdings = self._find_holdings(name, digest)
        other_indexes = sorted(holdings.filenames.keys() - {self.index})
        if other_indexes and not everywhere:
            names = _list_readable(other_indexes, name, caller_in)
            raise Conflict(
                "The same bytes are also listed, kept after a deletion, or just promoted in other "
                f"indexes: {names}. Nothing was removed. An administrator of the server can remove "
                "them from all.",
                code=LISTED_ELSEWHERE,
                advice=Advice(Remedy.DELETE_EVERYWHERE, name, sha256=digest),
            )

        # A removal that was done before is no error: a client repeats it if the first answer got
        # lost.
        if not holdings.filenames and not holdings.objects:
            self._require_known(name, digest, everywhere=everywhere)
        if not dry_run:
            remove = partial(self._remove, name, digest, holdings, caller, reason)
            # with the reserve, as this makes room on a full disk
            self.projects.store.with_reserve(remove)
            self._require_gone(name, digest, caller_in)
        files = list[RemovedFile]()
        for index, filenames in holdings.filenames.items():
            files += [RemovedFile(index, filename) for filename in filenames]
        return RemovedFiles(name, digest, tuple(sorted(files)), len(holdings.objects))

    def _find_holdings(self, name: NormalizedName, digest: Sha256) -> _Holdings:
        """Return what all indexes of the store have of a digest now."""
        filenames = dict[str, set[str]]()
        all_files = list[File]()
        for index, project in self._read_documents(name).items():
            files = self._files_with_digest(index, project, digest)
            if files:
                filenames[index] = {file.filename for file in files}
                all_files += files
        # a promotion that is between its two commits would list the file after its bytes are gone
        for index, awaited_filenames in self.removal.awaited(name, all_files).items():
            filenames.setdefault(index, set()).update(awaited_filenames)
        notes = PromotionNotes.of(all_files)
        return _Holdings(filenames, notes, self._list_objects(name, digest))

    def _files_with_digest(self, index: str, project: Project, digest: Sha256) -> tuple[File, ...]:
        """
        Return the files with a digest that an index lists or has in its trash.

        In another index than this one, files whose time in the trash is over do not count.
        """
        if index == self.index:
            # also files whose time in the trash is over, as the sweep may not have come yet
            files = project.files + project.trash
        else:
            files = self.removal.kept_files(project, self.removal.clock.estimate())
        return tuple(file for file in files if file.sha256 == digest)

    def _list_objects(self, name: NormalizedName, digest: Sha256) -> tuple[Key, ...]:
        """Return the keys of the bytes with a digest, and of the objects beside them."""
        folder = keys.files_with_digest(name, digest)
        return tuple(entry.key for entry in self.removal.stores.files.list(folder))

    def _require_known(self, name: NormalizedName, digest: Sha256, *, everywhere: bool) -> None:
        """
        Raise NotFound unless this index once had a file with this digest.

        With `everywhere`, any index counts.
        """
        for index, project in self._read_documents(name).items():
            if index != self.index and not everywhere:
                continue
            # the document has no digests of files that were removed at once, but the journal has
            journal = self.projects_of(index).journal(project)
            for _, commit in journal.find_all(range(1, project.revision + 1)):
                if commit is None:
                    continue
                if any(_is_upload_of(event, digest) for event in commit.events):
                    return
        raise NotFound(
            f"{name} has no file with this digest, and never had one.",
            advice=Advice(Remedy.LIST_DIGESTS, name),
        )

    def _remove(
        self,
        name: NormalizedName,
        digest: Sha256,
        holdings: _Holdings,
        caller: Caller,
        reason: str,
    ) -> None:
        """Take the files out of all indexes of `holdings`, and remove the bytes."""
        at = self.removal.clock.now()
        delete_intent = partial(_Delete, digest, holdings.notes, caller, reason, at)
        # if the process dies between two commits, the same removal again finds the other indexes
        for index in sorted(holdings.filenames.keys() - {self.index}):
            intent = delete_intent(holdings.filenames[index])
            self.projects_of(index).change(name, intent)
        # also if this index has no such file: the same removal again completes the journal after a
        # commit that died
        filenames_here = holdings.filenames.get(self.index, set())
        self.projects.change(name, delete_intent(filenames_here))
        # From here on no commit can list the bytes by one of these names, so they may be deleted.
        # They are listed again, as an upload may have stored bytes meanwhile.
        objects = self._list_objects(name, digest)
        # before the core metadata is deleted, by which the descriptions are found
        core_metadata = self._read_core_metadata(name, digest, objects)
        remove_results(self._stores_of_indexes(), core_metadata)
        for store in self._stores_of_indexes():
            for entry in store.list(keys.all_kept_variants(name)):
                store.delete(entry.key)
        self.removal.remove(name, objects)

    def _require_gone(
        self, name: NormalizedName, digest: Sha256, caller_in: Callable[[str], Caller]
    ) -> None:
        """Raise Conflict if an index has got the bytes since the removal looked for them."""
        now = self.removal.clock.now()
        indexes = list[str]()
        for index, project in self._read_documents(name).items():
            kept_files = self.removal.kept_files(project, now)
            if any(file.sha256 == digest for file in kept_files):
                indexes.append(index)
        if indexes:
            raise Conflict(
                "The files with this digest are deleted here, and cannot be restored here. But "
                "meanwhile the same bytes came to these indexes: "
                f"{_list_readable(indexes, name, caller_in)}. They are still listed there. To keep "
                "them, upload the same file there again, as parts of it may be gone. An "
                "administrator of the server can remove them from all.",
                code=LISTED_MEANWHILE,
                advice=Advice(Remedy.DELETE_EVERYWHERE, name, sha256=digest),
            )

    def _read_documents(self, name: NormalizedName) -> dict[str, Project]:
        """Return the documents of a project as they are now, by the name of their index."""
        documents = dict[str, Project]()
        for prefix in self.removal.indexes():
            # yields one document, or nothing if the index never had the project
            for project in self.removal.documents(name, (prefix,)):
                documents[keys.index_in(prefix)] = project
        return documents

    def _stores_of_indexes(self) -> Iterator[Store]:
        """Yield the documents store of each index."""
        for prefix in self.removal.indexes():
            yield PrefixedStore(self.removal.stores.documents, prefix)

    def _read_core_metadata(
        self, name: NormalizedName, digest: Sha256, objects: Iterable[Key]
    ) -> Iterator[CoreMetadata]:
        """Yield each core metadata among the objects of files with a digest."""
        for key in objects:
            owner = keys.parse_file_key(key)
            if owner is None or key != keys.core_metadata(name, digest, owner.filename):
                continue
            stored = self.removal.stores.files.get(key)
            if isinstance(stored, Stored):
                version = parse_known_filename(owner.filename, name).version
                yield parse_any(stored.body, name, version)


class _Delete(Struct, frozen=True):
    """The intent to delete the files with a digest from an index, and to block their filenames."""

    digest: Sha256
    notes: PromotionNotes
    caller: Caller
    reason: str
    at: datetime
    filenames: set[str]
    """The filenames that the index had, or was about to list, before the first commit."""

    def __call__(self, project: Project) -> tuple[Event, ...]:
        """
        Return the event that deletes the files, or nothing if there is no file to delete.

        Raises Conflict if one of the files was promoted meanwhile.
        """
        # from the document of the commit: a file may have been deleted or restored meanwhile
        files = [file for file in project.files + project.trash if file.sha256 == self.digest]
        self.notes.require_no_other(files)
        # A filename that a promotion is about to list is deleted before it is listed. If the index
        # has got other bytes under the filename, these stay.
        awaited = self.filenames.difference(project.deleted_filenames, project.by_filename)
        filenames = {file.filename for file in files} | awaited
        if not filenames:
            return ()
        event = Event.deleted(
            tuple(sorted(filenames)),
            self.reason,
            Deletion(at_once=True),
            at=self.at,
            by=self.caller.principal,
            by_name=self.caller.name,
        )
        return (event,)


def _is_upload_of(event: Event, digest: Sha256) -> bool:
    """Return whether an event has added a file with a digest to an index."""
    return event.what == EventKind.UPLOADED and event.file.sha256 == digest


def _require_admin(caller: Caller, name: NormalizedName, reason: str) -> None:
    """Raise Forbidden unless the caller administers the index, and Invalid for a bad reason."""
    require_manager(caller, name, reason)
    if not caller.may_everywhere(Action.ADMIN):
        raise Forbidden(
            f"{caller.display_name} may not remove the bytes of files at once. Delete them as "
            "usual, so that they can be restored for a while, or ask an administrator of this "
            "index."
        )


def _require_server_admin(caller: Caller) -> None:
    """Raise Forbidden unless the caller administers all indexes."""
    if not caller.administers_server:
        raise Forbidden(
            f"{caller.display_name} may not remove files from all indexes. It is for "
            "administrators of the server, whose right is about all indexes."
        )


def _list_readable(
    indexes: Iterable[str], name: NormalizedName, caller_in: Callable[[str], Caller]
) -> str:
    """
    Return the names of indexes, with commas between, for the caller.

    Indexes in which the caller may not read the project are counted, and not named.
    """
    texts = list[str]()
    unreadable = 0
    for index in indexes:
        if _may_read(index, name, caller_in):
            texts.append(index)
        else:
            unreadable += 1
    if unreadable:
        texts.append(f"{unreadable} that you may not read")
    return ", ".join(texts)


def _may_read(index: str, name: NormalizedName, caller_in: Callable[[str], Caller]) -> bool:
    """Return whether the caller may read a project in an index."""
    try:
        return caller_in(index).may(Action.READ, name)
    except NotFound:
        # only an administrator of the server may know of an index that is not served
        return caller_in(MAIN).administers_server
