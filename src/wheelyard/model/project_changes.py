"""
What each event changes in a project, and which parts of a project only a newer version knows.

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
    """Return a project with a commit as its last one. The events were applied to it before."""
    after = replace(project, revision=commit.number, stored_commit=Raw(commit.stored))
    # the cached properties still hold, as the commit changes only the number and itself
    vars(after).update(vars(project), commit=commit)
    return after


def apply(project: Project, event: Event) -> Project:  # noqa: PLR0911 - one for each kind
    """
    Return `project` after `event`, with its revision and last commit unchanged.

    An event of an unknown kind changes nothing but `needs`. Raises DecodeError if the data of the
    event is malformed.
    """
    # The document notes an event that no reader may pass over. An older version, which does not
    # know the event, then refuses the document.
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
            return _with_changed_files(
                project, event.files, lambda file: _with_promotion_noted(file, promotion)
            )
        case _:
            return project


def unknown_parts(project: Project, commits: Iterable[Commit]) -> Mapping[str, str]:
    """
    Return the parts of a project and its commits that only a newer version of wheelyard knows.

    A key names a part in words. Its value is the version that knows the part, or empty if the
    document does not say which. The result is empty if this version knows all parts.
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
    # an event without data is of a version that knew no trash, and dropped nothing from the trash
    trash = project.kept_files(event.at) if event.data else project.trash
    if deletion.at_once:
        trash = tuple(file for file in trash if file.filename not in deleted)
    if deletion.keep_until is not None:
        removed = [file for file in project.files if file.filename in deleted]
        trashed = [_in_trash(file, deletion, event.reason) for file in removed]
        trash = _sorted_by_filename(trash, trashed)
    remaining = [file for file in project.files if file.filename not in deleted]
    deleted_filenames = deleted.union(project.deleted_filenames)
    return replace(
        project,
        files=tuple(remaining),
        deleted_filenames=tuple(sorted(deleted_filenames)),
        trash=trash,
    )


def _in_trash(file: File, deletion: Deletion, reason: str) -> File:
    """Return a deleted file as the trash has it."""
    pinned = file.pinned
    # without a pin, the next run of retention would delete the file again if a person restores it
    if deletion.by_rule:
        pinned = f"restored after {reason}"
    return replace(file, keep_until=deletion.keep_until, pinned=pinned)


def _with_restored(project: Project, event: Event) -> Project:
    """Return a project after deleted files came back."""
    filenames_of_event = frozenset(event.files)
    # a file whose bytes are gone is not in the trash, and stays deleted
    from_trash = [file for file in project.trash if file.filename in filenames_of_event]
    restored = {file.filename for file in from_trash}
    listed_again = [replace(file, keep_until=None) for file in from_trash]
    still_deleted = [name for name in project.deleted_filenames if name not in restored]
    kept_in_trash = project.kept_files(event.at)
    return replace(
        project,
        files=_sorted_by_filename(project.files, listed_again),
        deleted_filenames=tuple(still_deleted),
        trash=tuple(file for file in kept_in_trash if file.filename not in restored),
    )


def _sorted_by_filename(files: Iterable[File], added: Iterable[File]) -> tuple[File, ...]:
    """Return files and added ones in the order of a document, by filename."""
    return tuple(sorted((*files, *added), key=lambda file: file.filename))


def _with_file(project: Project, file: File, summary: str) -> Project:
    """Return a project with one more file."""
    # A project may have thousands of files, and gets one at a time. So the cached properties are
    # carried over with the new file added, and not computed from all files again.
    position = bisect(project.files, file.filename, key=lambda listed: listed.filename)
    files = (*project.files[:position], file, *project.files[position:])
    after = replace(project, files=files, summary=summary, is_released=False)
    computed_before = vars(project)
    computed = vars(after)
    if "by_filename" in computed_before:
        computed["by_filename"] = project.by_filename | {file.filename: file}
    if "by_release" in computed_before:
        release = strip_trailing_zeros(file.version)
        # a new list, as another thread may read the list of the project before
        files_of_release = [*project.by_release.get(release, []), file]
        computed["by_release"] = project.by_release | {release: files_of_release}
    if "deleted_keys" in computed_before:
        computed["deleted_keys"] = project.deleted_keys
    if "stored_files" in computed_before:
        stored_files = project.stored_files
        stored_file = b"," + encode_all_fields(file)
        computed["stored_files"] = (*stored_files[:position], stored_file, *stored_files[position:])
    return after


def _with_changed_files(
    project: Project, filenames: Iterable[str], change: Callable[[File], File]
) -> Project:
    """Return a project in which `change` was applied to the files with these names."""
    to_change = frozenset(filenames)
    files = list(project.files)
    for position, file in enumerate(files):
        if file.filename in to_change:
            files[position] = change(file)
    return replace(project, files=tuple(files))


def _with_yank(project: Project, event: Event) -> Project:
    """Return a project after files were yanked, or a yank was taken back."""
    yanked = event.reason if event.what == EventKind.YANKED else None
    return _with_changed_files(project, event.files, lambda file: replace(file, yanked=yanked))


def _with_provenance(project: Project, event: Event) -> Project:
    """Return a project after a file got a provenance."""
    return _with_changed_files(
        project, event.files, lambda file: _with_provenance_added(file, event.provenance)
    )


def _with_provenance_added(file: File, provenance: str) -> File:
    """Return a file with a provenance."""
    sidecars = {**file.sidecars, PROVENANCE_SUFFIX: provenance}
    return replace(file, sidecars=sidecars, lost_attestations=False)


def _with_pin(project: Project, event: Event) -> Project:
    """Return a project after files were pinned, or a pin was taken back."""
    pinned = event.reason if event.what == EventKind.PINNED else None
    return _with_changed_files(project, event.files, lambda file: replace(file, pinned=pinned))


def _with_promotion_noted(file: File, promotion: PromotionData) -> File:
    """Return a file that notes its promotion, or in an earlier version the approval of one."""
    target = promotion.to
    if not promotion.person:
        targets = {*file.promoted_to, target}
        return replace(file, promoted_to=tuple(sorted(targets)))
    people = {*file.approved_for.get(target, ()), promotion.person}
    approved_for = dict(file.approved_for)
    approved_for[target] = tuple(sorted(people))
    # sorted, as the document has to follow from the journal byte for byte
    return replace(file, approved_for=dict(sorted(approved_for.items())))
