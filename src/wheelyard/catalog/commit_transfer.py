"""
Commits that `wheelyard copy` takes over from another store: all of them arrive, or none.

The commits are first written into one object, `incoming/<project>.json`. Then comes the document
of the newest of them, by compare-and-swap: the commit point, as in the commit protocol, with a mark
before it. Then they are written into the journal, and the object is deleted. If the writer dies in
between, the next copy or `wheelyard check` does the rest.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from msgspec import Raw, Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.changes import mark_commit
from wheelyard.catalog.document_cache import Codec
from wheelyard.catalog.journaled_document import Journal, JournalKind
from wheelyard.catalog.journals import project_journal
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Conflict
from wheelyard.model.project import Commit, Project
from wheelyard.storage.base import ABSENT, Key, Store, Stored


class IncomingCommits(Struct, frozen=True):
    """The stored list of the commits that a copy is adding to a project; it is never empty."""

    commits: tuple[Raw, ...]
    """As they are stored."""


_INCOMING: Final = Codec(IncomingCommits)


def transfer(
    store: Store, runtime: Runtime, name: NormalizedName, commits: Sequence[Commit]
) -> None:
    """
    Add commits of another store to a project of this one; its bytes must be there already.

    Raises Conflict, and changes nothing, if the project has other commits, or if another copy is
    adding commits to it.
    """
    body = _INCOMING.encode(IncomingCommits(tuple(Raw(commit.stored) for commit in commits)))
    try:
        store.put(keys.incoming(name), body, ABSENT)
    except Conflict as error:
        raise Conflict(
            "another copy is writing this project. Copy again when it ends; if there is none, run "
            "'wheelyard check' on TO."
        ) from error
    # not what is there now: whoever finished an earlier transfer late may just have deleted it
    _finish(store, runtime, name, commits)


def finish_transfer(store: Store, runtime: Runtime, key: Key) -> None:
    """
    Complete the transfer that `incoming/<project>.json`, the object at `key`, describes.

    Does nothing if there is none. Raises Conflict, after the end of the transfer, if the project
    has other commits.
    """
    name, found = keys.project_of_incoming(key), store.get(key)
    if name is None or not isinstance(found, Stored):
        return
    stored, codec = _INCOMING.decode_whole(key, found.body).commits, project_journal(name).commits
    _finish(store, runtime, name, [codec.decode(key, bytes(commit)) for commit in stored])


def _finish(
    store: Store, runtime: Runtime, name: NormalizedName, commits: Sequence[Commit]
) -> None:
    kind = project_journal(name)
    is_ours = _write_document(store, runtime, kind, commits)
    if is_ours:
        for commit in commits:
            with suppress(Conflict):  # another process has written it
                store.put(kind.entry_key(commit.number), kind.commits.encode(commit), ABSENT)
    store.delete(keys.incoming(name))
    if not is_ours:
        raise diverged()


def diverged() -> Conflict:
    """Return the Conflict for what has commits in the target that the source lacks."""
    return Conflict(
        "TO has changes that FROM lacks, so it was left as it is there. Copy to another place."
    )


def _write_document(
    store: Store,
    runtime: Runtime,
    kind: JournalKind[Project, Commit],
    commits: Sequence[Commit],
) -> bool:
    """Write the document after `commits` if it is not there; return whether it includes them."""
    project, version = kind.read(store)
    if project.revision >= commits[0].number:
        last = commits[-1]
        is_there = last.number <= project.revision
        return is_there and Journal(kind, store, project).read(last.number) == last
    body = kind.documents.encode(kind.fold_all(project, commits))
    mark_commit(store, runtime, project.name, commits[-1].number)
    try:
        store.put(kind.key, body, version)
    except Conflict:  # changed meanwhile, so that its revision is higher now
        return _write_document(store, runtime, kind, commits)
    return True
