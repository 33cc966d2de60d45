"""
Operations on projects: lists, journals, changes of releases, and private names.

Each raises Unavailable if the store does not answer, or a document that it needs is damaged.

Operations that change releases raise Forbidden if the caller may not manage the project, and
NotFound if the project or the selected files do not exist. They raise Invalid if a version, a set
of versions or the reason is malformed, or not exactly one of `version` and `versions` is sent. A
file that has the wanted state already is left alone. A dry run raises the same errors, and writes
nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field
from msgspec.structs import asdict, replace
from packaging.utils import NormalizedName, canonicalize_name

from wheelyard.api.operation import (
    Call,
    Filename,
    Reason,
    Sha256,
    Version,
    VersionSet,
    naming_alternatives,
)
from wheelyard.authentication.authorization import (
    parse_project_name,
    project_not_found,
    require_all_read,
)
from wheelyard.catalog.changes import CLOCK_TOLERANCE, NO_SERIAL
from wheelyard.errors import Invalid, NotFound
from wheelyard.model.access import Action, Caller, parse_name_patterns
from wheelyard.model.distribution_filename import parse_version, parse_version_set
from wheelyard.model.project import NO_JSON, File, Project, Status
from wheelyard.model.project_json import CommitJson, TrashedFile
from wheelyard.operations.immediate_deletion import RemovedFiles
from wheelyard.operations.journal_reader import BEGINNING
from wheelyard.operations.lifecycle import ReleaseAction, Selection
from wheelyard.operations.names import ClientProjects, NameState, PrivateName

LOCAL_PAGE_COMMITS: Final = 1000
REMOTE_PAGE_COMMITS: Final = 100
"""The commits of a journal in one answer, of which each is a request on a bucket."""
MAX_LISTED_CHANGES: Final = 10_000
"""The most changes in one answer."""

FirstNumber = Annotated[int, Meta(ge=0, le=999_999_999_999_999)]

NameSelection = Literal["files", "unpublished", "deleted", "reserved", "claimed", "unreadable"]


class After(Struct, frozen=True):
    """A query for what follows a commit."""

    after: FirstNumber = 0
    """The number of the commit after which the answer begins, or 0 for all commits."""


class HistoryQuery(After, frozen=True):
    """A query for changes that follow a commit."""

    limit: Annotated[int, Meta(ge=0, le=1000)] = 0
    """The most changes in one answer, or 0 for all."""


WHOLE_HISTORY: Final = HistoryQuery()


class ProjectsQuery(Struct, frozen=True):
    """A query for the names of projects."""

    changed_since: Annotated[datetime, Meta(tz=True)] | None = field(
        default=None, name="changed-since"
    )
    """
    Only private projects that have changed since this time are listed, and perhaps some more.
    Without a time, all projects are listed.
    """


class ListedProject(Struct, frozen=True):
    """A private project in a list."""

    name: NormalizedName


class ListedPublicProject(Struct, frozen=True):
    """A public project that is used here."""

    name: NormalizedName
    origin: str
    """The label of the upstream index of the project."""


class ProjectList(Struct, frozen=True):
    """The projects that a caller may read, sorted."""

    projects: tuple[ListedProject, ...]
    public: tuple[ListedPublicProject, ...] | UnsetType = UNSET
    """
    The projects of upstream indexes, apart, so that nobody takes them for private ones. The field
    is missing if the answer lists private projects only.
    """
    other_indexes: tuple[str, ...] | UnsetType = UNSET
    """The names of the other indexes, if main has no project that the caller may read."""


class FileAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="kebab"):
    """A file of a project."""

    filename: Filename
    version: str
    sha256: str
    size: int
    uploaded_at: datetime = field(name="upload-time")
    uploaded_by: str
    uploaded_by_name: str = ""
    """The name of the token that has uploaded the file, or an empty text if no name is known."""
    requires_python: str | None
    yanked: bool | str
    """Whether the file is yanked, or the reason if there is one."""
    core_metadata: str
    """SHA-256 of the core metadata, or an empty text if the file has none."""
    imported_at: datetime | None = field(name="imported")
    waived_rules: tuple[str, ...]
    promoted_at: datetime | None = field(default=None, name="promoted")
    """When the file was promoted from another index, or None if it was not."""
    promoted_from: str = ""
    """The index that the file was promoted from, or an empty text if it was not."""
    promoted_by: str = ""
    promoted_by_name: str = ""
    """The name of the token that has promoted the file, or an empty text if no name is known."""
    promoted_to: tuple[str, ...] = ()
    """The indexes that the file was promoted to."""
    pinned: bool | str = False
    """Whether rules of retention keep the release of the file, or the reason if there is one."""

    @classmethod
    def of(cls, file: File) -> "FileAnswer":
        """Return the answer about a file."""
        # most fields have the name and the value of the record
        fields = dict[str, Any]()
        for name in cls.__struct_fields__:
            if name not in {"yanked", "pinned"}:
                fields[name] = getattr(file, name)
        fields["promoted_from"] = file.source_index
        fields["promoted_to"] = file.targets
        return cls(
            **fields, yanked=_mark_of_reason(file.yanked), pinned=_mark_of_reason(file.pinned)
        )


def _mark_of_reason(reason: str | None) -> bool | str:
    """Return the reason of a mark, True for one without a reason, and False without a mark."""
    if reason is None:
        return False
    return reason or True


class ProjectStatus(Struct, frozen=True, omit_defaults=True):
    """The status of a project (PEP 792)."""

    status: Status
    reason: str = ""


class ProjectAnswer(Struct, frozen=True, kw_only=True):
    """A project, with its status and its files."""

    name: NormalizedName
    revision: int
    """The number of the last commit of the project."""
    status: ProjectStatus = field(name="project-status")
    summary: str
    files: tuple[FileAnswer, ...]
    deleted: tuple[str, ...]
    """The names of deleted files, in the first index or layer that has the project."""
    commit: CommitJson | None
    """
    The last commit of the project.

    None if the project has no commit, or rules or a day decide which of its files are shown.
    """
    trash: tuple[TrashedFile, ...] = ()
    """The deleted files that can be restored in this index."""

    @classmethod
    def of(cls, project: Project, kept_files: Iterable[File]) -> "ProjectAnswer":
        """
        Return the answer about a project, of which these deleted files can be restored.

        A deleted file that has no time until which it is kept is left out.
        """
        last_commit: CommitJson | None = None
        if project.commit:
            last_commit = CommitJson.from_commit(project.commit)
        trash = list[TrashedFile]()
        for file in kept_files:
            if file.keep_until is None:
                continue
            trashed = TrashedFile(
                filename=file.filename,
                version=file.version,
                sha256=file.sha256,
                size=file.size,
                keep_until=file.keep_until,
            )
            trash.append(trashed)
        return ProjectAnswer(
            name=project.name,
            revision=project.revision,
            status=ProjectStatus(project.status, project.reason),
            summary=project.shown_summary,
            files=tuple(map(FileAnswer.of, project.files)),
            deleted=project.deleted_filenames,
            commit=last_commit,
            trash=tuple(trash),
        )


class ChangedProject(ProjectAnswer, frozen=True, kw_only=True):
    """A project after a change of files."""

    changed: tuple[FileAnswer, ...]
    """The files that were changed, or in a dry run, the files that would be changed."""
    keep_until: datetime | UnsetType = UNSET
    """
    Until when the deleted files can be restored. The field is missing if there are none to restore.
    """
    warnings: tuple[str, ...] = ()
    """After a deletion, the releases that are left without a version that they require."""


class JournalPage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Some commits of a journal, oldest first."""

    name: NormalizedName
    revision: int
    """The number of the last commit of the project."""
    commits: tuple[CommitJson, ...]
    lost: tuple[int, ...] = ()
    """The numbers of commits that the journal has lost."""
    next: int = 0
    """The number of the last commit of this page, or 0 if no more commits follow."""


class ReleaseChange(Struct, frozen=True, forbid_unknown_fields=True):
    """Which files are yanked, unyanked or deleted, and why."""

    version: Version = ""
    versions: VersionSet = ""
    """A set of versions. Either `version` or `versions` is sent."""
    file: Filename | Annotated[tuple[Filename, ...], Meta(min_length=1)] | None = None
    """The file or the files to change, or None for all files of the releases."""
    reason: Reason = ""
    dry_run: bool = False
    """Whether nothing is changed, and the response says what would be changed."""

    @property
    def selection(self) -> Selection:
        """
        The selected files.

        Raises Invalid if the version or the set of versions is malformed, or not exactly one of
        both fields is sent.
        """
        if bool(self.version) == bool(self.versions):
            fault = "version or versions, not both" if self.version else "version is missing"
            message = f'{fault}. Send "version": "1.0", or "versions": "<2".'
            raise Invalid(message, code="invalid_field")
        versions = parse_version(self.version) if self.version else parse_version_set(self.versions)
        # without a filename, all files of the versions
        if self.file is None:
            return Selection(versions)
        if isinstance(self.file, str):
            return Selection(versions, frozenset({self.file}))
        return Selection(versions, frozenset(self.file))


class DigestRemoval(Struct, frozen=True, forbid_unknown_fields=True):
    """Which bytes are removed at once, and why."""

    sha256: Sha256
    everywhere: bool = False
    """Whether the bytes are removed from all indexes of the store, and not from this one alone."""
    reason: Reason = ""
    dry_run: bool = False
    """Whether nothing is removed, and the response says what would be removed."""


class StatusChange(Struct, frozen=True, forbid_unknown_fields=True):
    """The new status of a project, and why."""

    status: Status
    reason: Reason = ""


class NameChange(Struct, frozen=True, forbid_unknown_fields=True):
    """Why a name is reserved or released."""

    reason: Reason = ""


class Reservation(Struct, frozen=True):
    """A name that is private now."""

    name: NormalizedName
    is_new: bool
    """Whether the name was not private before."""


class NamesQuery(Struct, frozen=True):
    """A query for some of the private names."""

    search: str = ""
    """A part of the name, in any spelling, or an empty text for all names."""
    state: NameSelection | None = None
    """
    The state of the names. Without a state, all names are listed. `unpublished` has all states
    without files.
    """
    limit: Annotated[int, Meta(ge=0, le=1000)] = 0
    """The most names in one answer, or 0 for all."""
    offset: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """How many names to leave out before the first one, if `limit` is sent."""


class PrivatePattern(Struct, frozen=True):
    """A pattern of the settings, which makes every name private that it matches."""

    pattern: str
    setting: str
    """The setting that has the pattern: `access.private_names` or `upstream.private`."""
    matches: bool
    """Whether the pattern matches the name that is searched."""


class PrivateNameList(Struct, frozen=True):
    """The private names, sorted."""

    names: tuple[PrivateName, ...]
    patterns: tuple[PrivatePattern, ...] = ()
    total: int | UnsetType = UNSET
    """The number of names without the limit. The field is missing if no limit was sent."""


class ClientProjectsQuery(Struct, frozen=True):
    """A query for the projects that the settings of a client have to name."""

    project: str = ""
    """The projects that the client wants, separated by commas. The field may be given again."""


def list_projects(call: Call, body: ProjectsQuery) -> ProjectList:
    """
    List the projects that the caller may read.

    They are the private ones of the index and its layers, and if the call lists them, the public
    ones that are used here. With `changed-since` they are the index's own ones that may have
    changed since then, among them names that were released.
    """
    if body.changed_since is not None:
        names = _names_changed_since(call, body.changed_since)
        return ProjectList(_listed_projects(call, names))
    readable_names = call.index.repository.names().readable_by(call.caller)
    projects = _listed_projects(call, readable_names)
    other_indexes: tuple[str, ...] | UnsetType = UNSET
    if not projects:
        other_indexes = call.index.alternatives or UNSET
    if not call.lists_public or call.index.upstream is None:
        return ProjectList(projects, other_indexes=other_indexes)
    private_names = frozenset(readable_names)
    origins = dict[NormalizedName, str]()
    for facts in call.index.repository.shown_projects.table().readable_by(call.caller).public:
        # the table may be older than the list of names: a private name is never called public
        if facts.name not in private_names:
            origins[facts.name] = facts.origin
    public_projects = [ListedPublicProject(name, origin) for name, origin in origins.items()]
    return ProjectList(projects, tuple(public_projects), other_indexes)


def _listed_projects(call: Call, names: Iterable[NormalizedName]) -> tuple[ListedProject, ...]:
    """Return the projects of these names that the caller may read."""
    return tuple(ListedProject(name) for name in names if call.caller.may(Action.READ, name))


def _names_changed_since(call: Call, since: datetime) -> Iterable[NormalizedName]:
    """Return the names of the index's own projects that may have changed since then, sorted."""
    # from an earlier time on, as the clocks of the servers that have written may differ
    changes, _ = call.index.changes.made_since(max(since, BEGINNING) - CLOCK_TOLERANCE)
    return sorted({change.project for change in changes})


def get_project(call: Call, name: NormalizedName) -> ProjectAnswer:
    """
    Show a project: its status and its files.

    It is a private one, of the index or of its layers. Files that rules or the day of a view hide
    are left out. Where rules or a day decide about files, the last commit is left out, whether or
    not a file is hidden. `deleted` has the names of deleted files, of the first index or layer that
    has the project. `trash` has those that can be restored, and is empty if that is not this index.
    Raises Unauthenticated, Forbidden or NotFound if the caller may not read the project, whether or
    not it exists, and NotFound if it does not exist.
    """
    # checked before anything is read, so that the error tells nobody what exists
    call.index.read_policy.require_project_read(call.caller, name)
    repository = call.index.repository
    if repository.has_own_packages_alone and not repository.hides_files:
        project = _load_own_project(call, name)
        return ProjectAnswer.of(project, call.index.lifecycle.kept_files(project))
    answer = repository.find(name)
    if not answer.projects:
        raise project_not_found(name)
    first_source = answer.projects[0]
    kept_files: tuple[File, ...] = ()
    # a deleted file can be restored in the index that has it, and in no other one
    if first_source.index == call.index.name:
        kept_files = call.index.lifecycle.kept_files(first_source.project)
    project = answer.merged
    # the last commit and its summary may be about files that rules hide from the caller
    if answer.is_filtered:
        project = replace(project, stored_commit=NO_JSON, summary=repository.summary_of(answer))
    return ProjectAnswer.of(project, kept_files)


def _load_own_project(call: Call, name: NormalizedName) -> Project:
    """Return a project of the own packages of the index, or raise NotFound."""
    projects = call.index.projects
    # readers may get a document from memory, without a look whether it is the newest
    snapshot = projects.peek(name) or projects.load(name)
    if snapshot.value is None:
        raise project_not_found(name)
    return snapshot.value


def get_journal(call: Call, name: NormalizedName, body: After) -> JournalPage:
    """
    Show the commits of a project of the own packages that follow a number.

    A released name has commits, too, for callers who have the right to read it. Commits in an index
    with rules name files that the rules hide, and are for callers who may manage the project.
    Raises Unauthenticated, Forbidden or NotFound if the caller may not read the project, and
    NotFound if it does not exist, or its journal is not for the caller.
    """
    projects = call.index.projects
    call.index.read_policy.require_project_read(call.caller, name)
    if call.index.definition.hides_files and not call.caller.may(Action.MANAGE, name):
        raise project_not_found(name)
    project = _load_project_or_released_name(call, name)
    page_size = LOCAL_PAGE_COMMITS if call.index.server.is_local else REMOTE_PAGE_COMMITS

    # up to the number in the document: the journal may lack the entry of the last commit
    last_number = min(body.after + page_size, project.revision)
    numbers = range(body.after + 1, last_number + 1)
    commits = list[CommitJson]()
    lost_numbers = list[int]()
    for number, commit in projects.journal(project).find_all(numbers):
        if commit is None:
            lost_numbers.append(number)
        else:
            commits.append(CommitJson.from_commit(commit))
    return JournalPage(
        name=project.name,
        revision=project.revision,
        commits=tuple(commits),
        lost=tuple(lost_numbers),
        next=last_number if last_number < project.revision else 0,
    )


def _load_project_or_released_name(call: Call, name: NormalizedName) -> Project:
    """
    Return a project of the own packages of the index, or the document of a released name.

    Raises NotFound if there is neither, or the name was released and the caller has no right to
    read it.
    """
    try:
        return _load_own_project(call, name)
    except NotFound:
        if not call.caller.may(Action.READ, name):
            raise
        # the document of a released name stays, for its journal
        project = call.index.projects.get_for_update(name)
        if not project.is_released:
            raise
        return project


def client_projects(call: Call, body: ClientProjectsQuery) -> ClientProjects:
    """
    Name the projects that the settings of a client have to name.

    With an upstream index there are none. Else they are the wanted projects, and the private
    projects that the wanted ones require. Raises NotFound if a name is malformed. Without an
    upstream index, raises Unauthenticated, Forbidden or NotFound for a wanted project that the
    caller may not read or that does not exist.
    """
    wanted_names = list[NormalizedName]()
    for text in body.project.split(","):
        if text:
            wanted_names.append(parse_project_name(text.strip()))
    wanted = dict.fromkeys(wanted_names)
    # with an upstream index, any name may be that of a public package
    if call.index.upstream is None:
        with naming_alternatives(call.index):
            for name in wanted:
                call.index.read_policy.require_project_read(call.caller, name)
    projects = call.index.client_projects.read(call.caller, wanted)
    other_indexes = tuple[str, ...]()
    names = call.index.repository.names().readable_by(call.caller)
    if not any(call.caller.may(Action.READ, name) for name in names):
        other_indexes = call.index.alternatives
    return replace(
        projects,
        takes_uploads=call.index.takes_uploads,
        needs_credential=not call.index.read_policy.is_public(),
        other_indexes=other_indexes,
    )


def yank(call: Call, name: NormalizedName, body: ReleaseChange) -> ChangedProject:
    """
    Yank releases, or files of them.

    A file that is yanked already gets the new reason.
    """
    return _change_files("yank", call, name, body)


def unyank(call: Call, name: NormalizedName, body: ReleaseChange) -> ChangedProject:
    """Take back that releases, or files of them, are yanked."""
    return _change_files("unyank", call, name, body)


def pin(call: Call, name: NormalizedName, body: ReleaseChange) -> ChangedProject:
    """
    Keep releases from rules of retention.

    A release of which a file is pinned is kept. A file that is pinned already gets the new reason.
    """
    return _change_files("pin", call, name, body)


def unpin(call: Call, name: NormalizedName, body: ReleaseChange) -> ChangedProject:
    """Take back that releases are pinned."""
    return _change_files("unpin", call, name, body)


def delete(call: Call, name: NormalizedName, body: ReleaseChange) -> ChangedProject:
    """
    Delete releases, or files of them, which are kept for 30 days, unless that is forbidden.

    Where everybody can read the bucket, the bytes are removed at once. In that case, raises
    Conflict while one of the files is being promoted. After Unavailable the files may be deleted.
    """
    return _change_files("delete", call, name, body)


def delete_now(call: Call, name: NormalizedName, body: DigestRemoval) -> RemovedFiles:
    """
    Remove all files with a digest, listed or deleted, and their bytes, for good.

    After an error some indexes may still list the files. The same removal again goes on.

    Raises Forbidden unless the caller is an administrator, for `everywhere` in all indexes.
    Raises Invalid if the digest is malformed, or the reason is not one line of text. Raises
    NotFound if nothing ever had this digest, or an index is not served. Raises Conflict (code
    `listed_elsewhere`) if another index has the bytes, and nothing was removed, and (code
    `listed_meanwhile`) if the files are removed here, and an index has got the bytes meanwhile.
    """

    # the bytes may be listed in several indexes, and the caller needs the right in each of them
    def caller_in(index: str) -> Caller:
        return call.caller_in(call.index.named(index))

    return call.index.immediate_deletion.delete(
        caller_in,
        name,
        body.sha256,
        body.reason,
        everywhere=body.everywhere,
        dry_run=body.dry_run,
    )


def restore(call: Call, name: NormalizedName, body: ReleaseChange) -> ChangedProject:
    """
    Restore deleted releases, or files of them, as they were.

    A file that a rule of retention has deleted is pinned, too. Raises NotFound (code `not_kept`) if
    a file that is named, or each one of a release, is not kept any more. Raises Conflict if bytes
    are missing or damaged (code `not_intact`), or the deleted files have changed meanwhile. Raises
    TooLarge (code `quota_exceeded`) if a quota has no room, and Invalid (code `variant_conflict`)
    if a wheel with a label does not fit its release any more.
    """
    return _change_files("restore", call, name, body)


def _change_files(
    action: ReleaseAction, call: Call, name: NormalizedName, body: ReleaseChange
) -> ChangedProject:
    """Do an action with releases or files of them, and return the project after the change."""
    changed = call.index.lifecycle.change(
        action, call.caller, name, body.selection, body.reason, dry_run=body.dry_run
    )
    warnings = tuple[str, ...]()
    if action == "delete":
        warnings = deletion_warnings(call, name, changed.files)
    kept_files = call.index.lifecycle.kept_files(changed.project)
    project = ProjectAnswer.of(changed.project, kept_files)
    return ChangedProject(
        **asdict(project),
        changed=tuple(map(FileAnswer.of, changed.files)),
        keep_until=changed.keep_until or UNSET,
        warnings=warnings,
    )


def deletion_warnings(call: Call, name: NormalizedName, files: Sequence[File]) -> tuple[str, ...]:
    """
    Return warnings about releases that lack a version which they require, without these files.

    These are releases of the index, and of the indexes that have it as a layer. If they cannot be
    looked up, a warning says so.
    """
    check = call.index.server.requirements(call.caller_in)
    return check.of_deletion(call.index.name, {name: files})


def set_status(call: Call, name: NormalizedName, body: StatusChange) -> ProjectAnswer:
    """
    Set the status of a project.

    Nothing is written if it has this status for this reason. Raises Forbidden if the caller may not
    manage the project, NotFound if it does not exist, and Invalid if the reason is not one line of
    text.
    """
    project = call.index.lifecycle.set_status(call.caller, name, body.status, body.reason)
    return ProjectAnswer.of(project, call.index.lifecycle.kept_files(project))


ALL_NAMES: Final = NamesQuery()


def list_names(call: Call, body: NamesQuery = ALL_NAMES) -> PrivateNameList:
    """
    List the private names, and why they are private.

    These are the names in the list of the index. Of names that only a pattern makes private, the
    answer has the pattern. A name whose document cannot be read has a state that says so.

    With a limit, the documents of names outside of the page are not read. If names without files
    are wanted, the documents of names that have files by the table for searches are not read.
    """
    private_names = call.index.names

    # names are listed in their normal form, and people type them in any other
    search = canonicalize_name(body.search)
    names = [name for name in private_names.listed() if search in name]
    slice_of_page = slice(None)
    if body.limit:
        slice_of_page = slice(body.offset, body.offset + body.limit)
    described_names: Iterable[PrivateName]
    if body.state is None:
        total = len(names)
        described_names = private_names.describe(names[slice_of_page])
    elif body.state == "files":
        published = _published_names(call)
        names = [name for name in names if name in published]
        total = len(names)
        described_names = private_names.describe(names[slice_of_page])
    else:
        # which state a name without files has, only its document says
        published = _published_names(call)
        unpublished = private_names.describe(name for name in names if name not in published)
        selected_names = [name for name in unpublished if _has_unpublished_state(name, body.state)]
        total = len(selected_names)
        described_names = selected_names[slice_of_page]
    patterns = tuple(_private_patterns(call, search))
    return PrivateNameList(tuple(described_names), patterns, total if body.limit else UNSET)


def _published_names(call: Call) -> set[NormalizedName]:
    """Return the private names with a release, perhaps without releases of the last minute."""
    # from the table in memory, as each document would be a request on a bucket
    facts = call.index.search.table().projects
    return {project.name for project in facts if project.version and not project.origin}


def _has_unpublished_state(name: PrivateName, state: str) -> bool:
    """Return whether a name is without files, and in a state, where `unpublished` is any state."""
    # the table for searches may lack a release of the last minute
    return name.state is not NameState.FILES and state in {"unpublished", name.state}


def _private_patterns(call: Call, search: str) -> Iterator[PrivatePattern]:
    """Yield the patterns of the settings, and whether each matches the name that is searched."""
    settings = call.index.settings
    texts_by_setting = {
        "access.private_names": settings.access.private_names,
        "upstream.private": settings.upstream.private,
    }
    name = NormalizedName(search)
    for setting, texts in texts_by_setting.items():
        for text in texts:
            matches = bool(search) and parse_name_patterns((text,)).match(name)
            yield PrivatePattern(text, setting, matches)


def reserve_name(call: Call, name: NormalizedName, body: NameChange) -> Reservation:
    """
    Make a name private before anything is published under it.

    No upstream index is asked. If one has the name, its package is not served any more. A project
    that is there already stays as it is. Raises Forbidden if the caller is no administrator of the
    project. Raises Invalid if nobody may have the name (code `invalid_name`), or the reason is not
    one line of text.
    """
    return Reservation(name, call.index.names.reserve(call.caller, name, body.reason))


def release_name(call: Call, name: NormalizedName, body: NameChange) -> None:
    """
    Give up a private name without files.

    Raises Forbidden if the caller is no administrator of the project, and Invalid if the reason is
    not one line of text. Raises NotFound if the name is not private, or only a pattern of the
    settings makes it so. Raises Conflict if the project has files.
    """
    call.index.names.release(call.caller, name, body.reason)


class ChangesQuery(Struct, frozen=True):
    """A query for what follows a change."""

    since: Annotated[int, Meta(ge=0, le=999_999_999_999_999)] = 0
    """The serial of the change after which the answer begins, or 0 for all changes."""


class ListedChange(Struct, frozen=True):
    """A change: at this serial, a project had this revision."""

    serial: int
    project: str
    revision: int
    """The number of the last commit of the project at this change."""


class ChangeList(Struct, frozen=True):
    """The changes of all projects after a serial, in order."""

    newest: int
    """The serial of the newest change there is."""
    changes: tuple[ListedChange, ...]
    more: bool
    """Whether more changes follow the last one of this answer."""


def list_changes(call: Call, body: ChangesQuery) -> ChangeList:
    """
    List which projects have changed since a change (404 `unknown_serial` after a restore).

    The changes are those of the index's own packages. Those that have no serial yet get one, and
    are left out if nothing can be written. Raises Unauthenticated or Forbidden unless the caller
    may read all projects. Raises NotFound (code `unknown_serial`) if there is no such serial.
    """
    # the answer has the names of all projects, also those outside of the patterns of a scope
    require_all_read(call.caller)
    changes, newest = call.index.changes.since(body.since, MAX_LISTED_CHANGES)
    listed = list[ListedChange]()
    for change in changes:
        # a change without a serial, as nothing could be written, comes again once it has one
        if change.serial != NO_SERIAL:
            listed.append(ListedChange(change.serial, change.project, change.revision))
    # changes without a serial come last, so the last listed change has the highest serial
    more = bool(listed) and listed[-1].serial < newest
    return ChangeList(newest, tuple(listed), more=more)
