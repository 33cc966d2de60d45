"""
Commits that `wheelyard copy` takes over from another store: all of them arrive, or none.

The commits are first written into one object, `incoming/<project>.json`. Then comes the document
of the newest of them, by compare-and-swap: the commit point, as in the commit protocol. Then they
are written into the journal, and the object is deleted. If the writer dies in between, the next
copy or `wheelyard check` does the rest.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Codec, damaged, digest
from wheelyard.errors import Conflict
from wheelyard.model.project import Commit, Project, fold
from wheelyard.storage.base import ABSENT, Key, ObjectVersion, Store, Stored

COMMITS: Final = Codec(Commit)
DOCUMENTS: Final = Codec(Project)


class IncomingCommits(Struct, frozen=True):
    """The stored list of the commits that a copy is adding to a project; it is never empty."""

    commits: tuple[Commit, ...]


_INCOMING: Final = Codec(IncomingCommits)


def read_document(store: Store, name: NormalizedName) -> tuple[Project, ObjectVersion]:
    """Return a project's document and its version; an empty project and ABSENT if it is missing."""
    key = keys.project(name)
    found = store.get(key)
    if not isinstance(found, Stored):
        return Project(name=name), ABSENT
    return DOCUMENTS.decode_whole(key, found.body), found.version


def read_commit(store: Store, project: Project, number: int) -> Commit:
    """Return a commit of a project, the newest one from its document; raise if it is missing."""
    if project.commit is not None and number == project.revision:
        return project.commit
    key = keys.commit(project.name, number)
    found = store.get(key)
    if not isinstance(found, Stored):
        raise damaged(f"The journal has no {key}. Run 'wheelyard check' on this store.", "lost")
    return COMMITS.decode_whole(key, found.body)


def fold_all(project: Project, commits: Sequence[Commit]) -> Project:
    """Return `project` after `commits`; raise Unavailable if they do not continue its journal."""
    for commit in commits:
        previous = digest(COMMITS.encode(project.commit)) if project.commit else ""
        if (commit.number, commit.previous) != (project.revision + 1, previous):
            raise damaged(
                f"Commit {commit.number} of {project.name} does not continue the journal. Run "
                "'wheelyard check' on this store."
            )
        project = fold(project, commit)
    return project


def transfer(store: Store, name: NormalizedName, commits: Sequence[Commit]) -> None:
    """
    Add commits of another store to a project of this one; its bytes must be there already.

    Raises Conflict, and changes nothing, if the project has other commits, or if another copy is
    adding commits to it.
    """
    body = _INCOMING.encode(IncomingCommits(tuple(commits)))
    try:
        store.put(keys.incoming(name), body, ABSENT)
    except Conflict as error:
        raise Conflict(
            "another copy is writing this project. Copy again when it ends; if there is none, run "
            "'wheelyard check' on TO."
        ) from error
    finish_transfer(store, keys.incoming(name))


def finish_transfer(store: Store, key: Key) -> None:
    """
    Complete the transfer that `incoming/<project>.json`, the object at `key`, describes.

    Does nothing if there is none. Raises Conflict, after the end of the transfer, if the project
    has other commits.
    """
    name, found = keys.project_of_incoming(key), store.get(key)
    if name is None or not isinstance(found, Stored):
        return
    commits = _INCOMING.decode_whole(key, found.body).commits
    is_ours = _write_document(store, name, commits)
    if is_ours:
        entries = [(keys.commit(name, each.number), COMMITS.encode(each)) for each in commits]
        store.create_all(entries)
    with suppress(Conflict):  # another process has finished it
        store.delete(key, found.version)
    if not is_ours:
        raise diverged()


def diverged() -> Conflict:
    """Return the Conflict for what has commits in the target that the source lacks."""
    return Conflict(
        "TO has changes that FROM lacks, so it was left as it is there. Copy to another place."
    )


def _write_document(store: Store, name: NormalizedName, commits: Sequence[Commit]) -> bool:
    """Write the document after `commits` if it is not there; return whether it includes them."""
    project, version = read_document(store, name)
    if project.revision >= commits[0].number:
        is_newest = project.revision == commits[-1].number
        stored = project.commit if is_newest else _journaled(store, name, commits[-1].number)
        return stored == commits[-1]
    try:
        store.put(keys.project(name), DOCUMENTS.encode(fold_all(project, commits)), version)
    except Conflict:  # changed meanwhile, so that its revision is higher now
        return _write_document(store, name, commits)
    return True


def _journaled(store: Store, name: NormalizedName, number: int) -> Commit | None:
    key = keys.commit(name, number)
    found = store.get(key)
    return COMMITS.decode_whole(key, found.body) if isinstance(found, Stored) else None
