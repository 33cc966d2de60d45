"""
Removal of files with their bytes at once, from one index or from all indexes of a store.

Indexes share the bytes of a file. So all documents of the project are asked who lists the digest,
or keeps it in its trash, and nothing is removed while there is such another index, unless it is
removed from all of them. The digests are those that this index has or had: other bytes of the same
filename or release stay in other indexes. Only if this index never had any of the selected files,
a removal from all indexes is about what any of them has.

1. Each index gets a commit that takes the files out of its list and its trash: the others first. A
   process that dies in between has removed it from some of them. So does each index that a file is
   noted as promoted to (`promotion.py`): it never lists a filename that was deleted there.
2. Then the rendered descriptions go, and then the bytes. A process that dies before leaves bytes
   that no index lists. The same removal again finds them by their filenames, and so does the sweep.
   Who has other bytes of that filename keeps them: the journal has the digests of this index.
3. The documents are read again: it fails if an index lists the bytes by then, as somebody has
   uploaded or promoted the file meanwhile.

A file that was removed so can neither be restored nor uploaded again here, so no commit can list
bytes that are about to go.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.files import FileRemoval, listed_objects
from wheelyard.catalog.projects import Projects
from wheelyard.errors import Conflict, Forbidden
from wheelyard.model.access import Action, Caller
from wheelyard.model.distribution_filename import parse_known_filename
from wheelyard.model.metadata import CoreMetadata, parse_any
from wheelyard.model.project import Deletion, Event, EventKind, File, Project
from wheelyard.model.promotion import describe_index
from wheelyard.operations.descriptions.descriptions import remove_results
from wheelyard.operations.lifecycle import PromotionNotes, Selection, require_manager
from wheelyard.storage.base import Key, Store, Stored
from wheelyard.storage.forwarding import PrefixedStore

LISTED_ELSEWHERE: Final = "listed_elsewhere"
"""The code of a Conflict for bytes that another index of the store lists or keeps."""


class Removed(Struct, frozen=True):
    """What was removed, or in a dry run, what would be."""

    project: Project
    """The project of this index afterwards."""
    files: tuple[File, ...]
    """The files that these indexes have listed or kept, without copies of the same bytes."""
    indexes: tuple[str, ...] = ()
    """The names of the other indexes that have listed or kept them; empty for that without one."""
    leftovers: int = 0
    """How many objects were removed of files that were deleted before."""


class _Removal(Struct, frozen=True):
    """Whose files and bytes are removed."""

    projects: Mapping[str, Project]
    """The project in each index that has it, by the name of the index."""
    files: Mapping[str, tuple[File, ...]]
    """What of it is removed, of each index that lists or keeps any of it."""
    awaited: Mapping[str, set[str]]
    """The names of files that an index may be about to list, by the name of the index."""
    digests: frozenset[str]
    """The SHA-256 of all files that are removed."""
    leftovers: frozenset[Key]
    """Objects of selected files that were deleted before, which no index lists or keeps."""
    notes: PromotionNotes
    """What is noted of promotions in `files`."""

    def distinct_files(self, index: str) -> tuple[File, ...]:
        """Return all files that are removed, once each, as one index has them before others."""
        every = (*chain.from_iterable(self.files.values()), *self.files.get(index, ()))
        distinct = {(file.filename, file.sha256): file for file in every}
        return tuple(distinct[key] for key in sorted(distinct))


class ImmediateDeletion(Struct, frozen=True):
    """Removes files with their bytes at once."""

    projects: Projects
    removal: FileRemoval
    projects_of: Callable[[str], Projects]
    """Returns the projects of an index by its name, also of one that this process does not know."""
    index: str = ""
    """The name of this index, empty for that without one."""

    def delete(
        self,
        caller: Caller,
        name: NormalizedName,
        selection: Selection,
        reason: str,
        *,
        everywhere: bool = False,
        dry_run: bool = False,
    ) -> Removed:
        """
        Remove listed and deleted files with their bytes, with `everywhere` from all indexes.

        After an error some indexes may still list them. The same removal again goes on.

        Raises Forbidden unless the caller is an administrator, and for `everywhere` one of the
        index without a name. Raises Invalid if the reason is not one line of text. Raises NotFound
        if the project or the selected files were never here. Raises Conflict (code
        `listed_elsewhere`) if another index has the bytes, and Unavailable if the store does not
        answer.
        """
        self._require_admin(caller, name, reason, everywhere=everywhere)
        removal = self._plan(name, selection, everywhere=everywhere)
        own = removal.projects.get(self.index, Project(name=name))
        if not removal.files and not removal.leftovers:
            selection.require_known(own, allow_deleted=True)
        others = tuple(sorted({*removal.files, *removal.awaited} - {self.index}))
        if others and not everywhere:
            raise _listed_elsewhere(name, others)
        if not dry_run:
            delete = partial(self._delete, name, removal, others, caller, reason)
            own = self.projects.store.with_reserve(delete)
        return Removed(
            project=own,
            files=removal.distinct_files(self.index),
            indexes=others,
            leftovers=len(removal.leftovers),
        )

    def _delete(
        self,
        name: NormalizedName,
        removal: _Removal,
        others: Iterable[str],
        caller: Caller,
        reason: str,
    ) -> Project:
        """Take the files out of all these indexes, remove the bytes, and return the project."""
        for index in others:
            deletion = self._deletion(removal, index, caller, reason)
            self.projects_of(index).change(name, deletion)
        deletion = self._deletion(removal, self.index, caller, reason)
        own = self.projects.change(name, deletion).after
        self._remove_bytes(name, removal)
        return own

    def _deletion(self, removal: _Removal, index: str, caller: Caller, reason: str) -> "_Delete":
        awaited = removal.awaited.get(index, set())
        at = self.removal.clock.now()
        return _Delete(removal.digests, awaited, removal.notes, caller, reason, at)

    def _remove_bytes(self, name: NormalizedName, removal: _Removal) -> None:
        objects = {
            key
            for files in removal.files.values()
            for file in files
            for key, _ in listed_objects(name, file)
        }
        objects |= removal.leftovers
        # before the bytes that it is found by
        remove_results(self._stores_of_indexes(), self._core_metadata(name, objects))
        self.removal.remove(name, objects)
        # whoever lists them by now was faster than this removal has looked, or has committed since
        now = self.removal.clock.now()
        still = [
            index
            for index, project in self._documents(name).items()
            if any(file.sha256 in removal.digests for file in self.removal.kept_files(project, now))
        ]
        if still:
            named = ", ".join(map(describe_index, still))
            raise Conflict(
                f"These files of {name} are deleted here, and cannot be restored here. But "
                f"meanwhile they came to: {named}. Nothing was removed there, so the bytes are "
                "still in the store. Do the same with --everywhere to remove them there, too.",
                code=LISTED_ELSEWHERE,
            )

    def _stores_of_indexes(self) -> Iterator[Store]:
        documents = self.removal.stores.documents
        return (PrefixedStore(documents, prefix) for prefix in self.removal.indexes())

    def _core_metadata(
        self, name: NormalizedName, objects: Iterable[Key]
    ) -> Iterator[CoreMetadata]:
        """Yield the core metadata among the objects of files."""
        for key in objects:
            owner = keys.parse_file_key(key)
            if owner is None or key != keys.core_metadata(name, owner.sha256, owner.filename):
                continue
            stored = self.removal.stores.files.get(key)
            if isinstance(stored, Stored):
                version = parse_known_filename(owner.filename, name).version
                yield parse_any(stored.body, name, version)

    def _require_admin(
        self, caller: Caller, name: NormalizedName, reason: str, *, everywhere: bool
    ) -> None:
        require_manager(caller, name, reason)
        if not caller.may_everywhere(Action.ADMIN):
            raise Forbidden(
                f"{caller.display_name} may not remove the bytes of files at once. Delete them as "
                "usual, so that they can be restored for a while, or ask an administrator of this "
                "index."
            )
        # the grants of an index with a name say nothing about other indexes
        if everywhere and caller.index:
            raise Forbidden(
                "Only administrators of the index without a name may remove files from all "
                "indexes. Send the same to that index: leave out --index."
            )

    def _plan(self, name: NormalizedName, selection: Selection, *, everywhere: bool) -> _Removal:
        projects = self._documents(name)
        own = projects.get(self.index, Project(name=name))
        is_here = bool(selection.of((*own.files, *own.trash)) or selection.deleted_in(own))
        everything = tuple(projects.values()) if everywhere else (own,)
        digests = {
            file.sha256
            for project in ((own,) if is_here else everything)
            for file in selection.of((*project.files, *project.trash))
        }
        lost = self._lost(name, selection, everything, digests)
        if lost and is_here:
            digests |= self._digests_ever(own) & set(lost.values())
        else:
            digests |= set(lost.values())
        files = {
            index: tuple(file for file in self._held(index, project) if file.sha256 in digests)
            for index, project in projects.items()
        }
        held = tuple(chain.from_iterable(files.values()))
        kept = self.removal.kept(projects.values(), self.removal.clock.estimate())
        return _Removal(
            projects=projects,
            files={index: files for index, files in files.items() if files},
            awaited=self.removal.awaited(name, held),
            digests=frozenset(digests),
            leftovers=frozenset(lost) - kept,
            notes=PromotionNotes.of(held),
        )

    def _lost(
        self,
        name: NormalizedName,
        selection: Selection,
        projects: Iterable[Project],
        digests: Container[str],
    ) -> Mapping[Key, str]:
        """
        Return objects with the names of deleted files of these projects, and their digests.

        What is in no trash has no digest any more. Its bytes may be there, as somebody has died, or
        as another index has them, or other ones of that filename.
        """
        deleted = set[str]()
        for project in projects:
            in_trash = {file.filename for file in project.trash}
            deleted |= set(selection.deleted_in(project)) - in_trash
        return {
            entry.key: owner.sha256
            for entry in (self.removal.stores.files.list(keys.files_of(name)) if deleted else ())
            if (owner := keys.parse_file_key(entry.key))
            and owner.filename in deleted
            and owner.sha256 not in digests
        }

    def _digests_ever(self, project: Project) -> set[str]:
        """Return the digests of all files that this index ever had, as its journal has them."""
        journal = self.projects.journal(project)
        return {
            event.file.sha256
            for _, commit in journal.find_all(range(1, project.revision + 1))
            for event in (commit.events if commit else ())
            if event.what == EventKind.UPLOADED
        }

    def _held(self, index: str, project: Project) -> tuple[File, ...]:
        """Return the files of an index that count: in another one those that keep the bytes."""
        if index == self.index:
            return *project.files, *project.trash
        return self.removal.kept_files(project, self.removal.clock.estimate())

    def _documents(self, name: NormalizedName) -> dict[str, Project]:
        """Return the documents of a project as they are now, by the name of their index."""
        return {
            keys.index_in(prefix): project
            for prefix in self.removal.indexes()
            for project in self.removal.documents(name, (prefix,))
        }


class _Delete(Struct, frozen=True):
    """The intent that an index has no files with these digests, and never gets the awaited ones."""

    digests: frozenset[str]
    awaited: set[str]
    notes: PromotionNotes
    caller: Caller
    reason: str
    at: datetime

    def __call__(self, project: Project) -> tuple[Event, ...]:
        """
        Return the event, if `project` has any of them.

        Raises Conflict if one of them was promoted meanwhile.
        """
        # a file may have been deleted or restored meanwhile
        held = (*project.files, *project.trash)
        files = [file for file in held if file.sha256 in self.digests]
        self.notes.require_no_other(files)
        names = {file.filename for file in files}
        # other bytes may have come by one of these names
        names |= self.awaited - {*project.deleted_filenames, *project.by_filename}
        if not names:
            return ()
        event = Event.deleted(
            tuple(sorted(names)),
            self.reason,
            Deletion(at_once=True),
            at=self.at,
            by=self.caller.principal,
            by_name=self.caller.name,
        )
        return (event,)


def _listed_elsewhere(name: NormalizedName, indexes: Iterable[str]) -> Conflict:
    named = ", ".join(map(describe_index, indexes))
    return Conflict(
        f"These files of {name} are also listed, kept after a deletion, or just promoted in: "
        f"{named}. Nothing was removed. With --everywhere they are deleted there, too.",
        code=LISTED_ELSEWHERE,
    )
