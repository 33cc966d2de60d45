"""
What each event changes in a project, and what of one only a newer version of wheelyard knows.

A project's document is the fold of its commits: `apply` for each of their events.
"""

from bisect import bisect
from collections.abc import Callable, Iterable, Mapping

from msgspec import Raw
from msgspec.json import encode
from msgspec.structs import replace

from wheelyard.errors import quoted
from wheelyard.model.decoding import encode_all_fields
from wheelyard.model.distribution_filename import strip_trailing_zeros
from wheelyard.model.project import (
    PROVENANCE_SUFFIX,
    Commit,
    Deletion,
    Event,
    EventKind,
    File,
    Project,
    PromotionData,
    Status,
)


def with_commit(project: Project, commit: Commit) -> Project:
    """Return `project`, to which the events of `commit` were applied, after that commit."""
    after = replace(project, revision=commit.number, stored_commit=Raw(commit.stored))
    # what was computed of the files still holds: only the number and the commit have changed
    vars(after).update(vars(project), commit=commit)
    return after


def apply(project: Project, event: Event) -> Project:  # noqa: PLR0911 - one for each kind
    """
    Return `project` after `event`, with its revision and last commit unchanged.

    An event of an unknown kind changes nothing but `needs`. Raises DecodeError if the data of the
    event is malformed.
    """
    # An event that no reader may pass over makes the document say so. An older version that reads
    # the document then refuses it.
    if event.needs:
        project = replace(project, needs={**project.needs, event.what: event.needs})
    match event.what:
        case EventKind.UPLOADED:
            return _with_file(project, event.file, event.summary or project.summary)
        case EventKind.YANKED | EventKind.UNYANKED:
            return _with_yank(project, event)
        case EventKind.ATTESTED:
            return _with_provenance(project, event)
        case EventKind.PINNED | EventKind.UNPINNED:
            return _with_pin(project, event)
        case EventKind.DELETED:
            return _without_files(project, event)
        case EventKind.RESTORED:
            return _with_restored(project, event)
        case EventKind.STATUS:
            return replace(project, status=event.status, reason=event.reason)
        case EventKind.RESERVED:
            return replace(project, is_released=False)
        case EventKind.RELEASED:
            return replace(project, status=Status.ACTIVE, reason="", is_released=True)
        case EventKind.PROMOTED_TO | EventKind.PROMOTION_APPROVED:
            promotion = event.promotion
            return _with_changed(project, event.files, lambda file: _noted(file, promotion))
        case _:
            return project


def unknown_parts(project: Project, commits: Iterable[Commit]) -> Mapping[str, str]:
    """
    Return what of a project and its commits only a newer version of wheelyard knows.

    The keys name it in words. A value is the version that knows it, or empty if that is not said.
    Without such parts the result is empty.
    """
    unknown = {f"the field {quoted(name)}": "" for name, _ in project.other_fields}
    for commit in commits:
        if encode(commit) != commit.stored:
            unknown[f"a field of commit {commit.number}"] = ""
        for event in commit.events:
            if not event.is_known:
                unknown[f"the event {quoted(event.what)}"] = event.needs
    return unknown


# A file whose time in the trash is over is dropped by the next deletion or restoration, at the time
# of that event. Other events drop none: an older version writes them, too, and drops nothing.


def _without_files(project: Project, event: Event) -> Project:
    """Return a project after a deletion of files, whose bytes may be kept for a while."""
    deleted = frozenset(event.files)
    deletion = event.deletion
    # an event without data is of a version that knew no trash, and dropped nothing from it
    trash = project.kept_files(event.at) if event.data else project.trash
    if deletion.at_once:
        trash = tuple(file for file in trash if file.filename not in deleted)
    if deletion.keep_until is not None:
        removed = [file for file in project.files if file.filename in deleted]
        trash = _sorted(trash, [_trashed(file, deletion, event.reason) for file in removed])
    return replace(
        project,
        files=tuple(file for file in project.files if file.filename not in deleted),
        deleted_filenames=tuple(sorted(deleted.union(project.deleted_filenames))),
        trash=trash,
    )


def _trashed(file: File, deletion: Deletion, reason: str) -> File:
    """Return a file as it is in the trash."""
    pinned = file.pinned
    # without a pin, the next run would delete again what a person has restored
    if deletion.by_rule:
        pinned = f"restored after {reason}"
    return replace(file, keep_until=deletion.keep_until, pinned=pinned)


def _with_restored(project: Project, event: Event) -> Project:
    """Return a project after deleted files came back."""
    named = frozenset(event.files)
    restored = [file for file in project.trash if file.filename in named]
    # those alone that were in the trash: a name whose bytes are gone stays deleted
    names = {file.filename for file in restored}
    return replace(
        project,
        files=_sorted(project.files, [replace(file, keep_until=None) for file in restored]),
        deleted_filenames=tuple(name for name in project.deleted_filenames if name not in names),
        trash=tuple(file for file in project.kept_files(event.at) if file.filename not in names),
    )


def _sorted(files: Iterable[File], more: Iterable[File]) -> tuple[File, ...]:
    """Return files of two sources as a document has them, by filename."""
    return tuple(sorted((*files, *more), key=lambda file: file.filename))


def _with_file(project: Project, file: File, summary: str) -> Project:
    """Return a project with one more file."""
    # A project may have thousands of files, and gets one at a time. So what was computed of its
    # files is carried over with the new file added, and not computed of all files again.
    at = bisect(project.files, file.filename, key=lambda listed: listed.filename)
    files = (*project.files[:at], file, *project.files[at:])
    after = replace(project, files=files, summary=summary, is_released=False)
    computed_before = vars(project)
    computed = vars(after)
    if "by_filename" in computed_before:
        computed["by_filename"] = project.by_filename | {file.filename: file}
    if "by_release" in computed_before:
        release = strip_trailing_zeros(file.version)
        # a new list: the one of the project before is perhaps read by another thread
        of_release = [*project.by_release.get(release, []), file]
        computed["by_release"] = project.by_release | {release: of_release}
    if "deleted_keys" in computed_before:
        computed["deleted_keys"] = project.deleted_keys
    if "stored_files" in computed_before:
        stored = project.stored_files
        computed["stored_files"] = (*stored[:at], b"," + encode_all_fields(file), *stored[at:])
    return after


def _with_changed(
    project: Project, filenames: Iterable[str], change: Callable[[File], File]
) -> Project:
    """Return a project in which `change` was applied to each of these files that it lists."""
    named = frozenset(filenames)
    files = list(project.files)
    for at, file in enumerate(files):
        if file.filename in named:
            files[at] = change(file)
    return replace(project, files=tuple(files))


def _with_yank(project: Project, event: Event) -> Project:
    """Return a project after files were yanked, or are so no longer."""
    yanked = event.reason if event.what == EventKind.YANKED else None
    return _with_changed(project, event.files, lambda file: replace(file, yanked=yanked))


def _with_provenance(project: Project, event: Event) -> Project:
    """Return a project after a file got a provenance."""
    return _with_changed(project, event.files, lambda file: _attested(file, event.provenance))


def _attested(file: File, provenance: str) -> File:
    """Return a file with a provenance."""
    sidecars = {**file.sidecars, PROVENANCE_SUFFIX: provenance}
    return replace(file, sidecars=sidecars, lost_attestations=False)


def _with_pin(project: Project, event: Event) -> Project:
    """Return a project after files were pinned, or are so no longer."""
    pinned = event.reason if event.what == EventKind.PINNED else None
    return _with_changed(project, event.files, lambda file: replace(file, pinned=pinned))


def _noted(file: File, promotion: PromotionData) -> File:
    """Return a file with the note of its promotion, or of an approval of an earlier version."""
    to = promotion.to
    if not promotion.person:
        targets = set(file.promoted_to) | {to}
        return replace(file, promoted_to=tuple(sorted(targets)))
    people = set(file.approved_for.get(to, ())) | {promotion.person}
    approved_for = dict(file.approved_for)
    approved_for[to] = tuple(sorted(people))
    # sorted: the document has to follow from the journal byte for byte
    return replace(file, approved_for=dict(sorted(approved_for.items())))
