"""Names of projects: which are private, reserved or taken, and who may claim a new one."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Final, Protocol

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import UnreadableIgnored, damaged
from wheelyard.catalog.files import Files
from wheelyard.catalog.journaled_documents import project_journal
from wheelyard.catalog.private_names import PrivateNames
from wheelyard.catalog.projects import Projects, unknown_project
from wheelyard.concurrency.runtime import Runtime
from wheelyard.concurrency.threads import prefetch_map
from wheelyard.errors import (
    UPSTREAM_UNAVAILABLE,
    UPSTREAM_UNPROVEN,
    Conflict,
    Forbidden,
    NotFound,
    Unavailable,
    WheelyardError,
    quoted,
)
from wheelyard.model.access import Action, Caller, NamePatterns, Pattern, matches_any
from wheelyard.model.decoding import require_one_line
from wheelyard.model.distribution_filename import RESERVED_NAMES
from wheelyard.model.index_definition import OF_AN_INDEX, taken_name
from wheelyard.model.index_name import is_dated_view
from wheelyard.model.project import Event, EventKind, File, Project
from wheelyard.operations.audit_log import log_name
from wheelyard.operations.lifecycle import REASON_LIMIT
from wheelyard.operations.search.project_table import MAX_CONCURRENT_READS, described_in
from wheelyard.remedies import ALL_VERSIONS, Advice, Remedy
from wheelyard.rendering.project_facts import required_name

PUBLIC_NAME: Final = "public_name"
"""The code of a Forbidden for a name that an upstream index has."""
REFUSALS: Final = frozenset({PUBLIC_NAME, UPSTREAM_UNAVAILABLE, UPSTREAM_UNPROVEN})
"""The codes of errors about a name alone, which say nothing of the store."""


class NameState(StrEnum):
    """Why a name is private."""

    FILES = "files"
    """The project has files."""
    DELETED = "deleted"
    """All files of the project were deleted."""
    RESERVED = "reserved"
    """Somebody has reserved the name, and nobody has published under it."""
    CLAIMED = "claimed"
    """An upload has begun under the name, and none has ended."""
    UNREADABLE = "unreadable"
    """The project's document is damaged, or only a newer version can read it."""


class PrivateName(Struct, frozen=True, omit_defaults=True):
    """
    A private name, and why it is private.

    `by`, `at` and `reason` say who has made a name without files private, when and why. They are
    empty for a name with files, and for one whose project has no document.
    """

    name: NormalizedName
    state: NameState
    files: int = 0
    """The number of files of the project."""
    by: str = ""
    """The principal of the last event of the project."""
    at: datetime | None = None
    """The time of the last event of the project."""
    reason: str = ""
    """The reason of the last event of the project."""


class TakenNames(Struct, frozen=True):
    """Names that no project can have, as they are paths of the server."""

    indexes: Callable[[], Collection[str]]
    """Returns the names of all indexes beside main, or none for an index that is not main."""

    def require_free(self, name: NormalizedName) -> None:
        """
        Raise Invalid (code `invalid_name`) if no project can have a name.

        Raises Unavailable if the definitions of the indexes cannot be read.
        """
        if name in RESERVED_NAMES:
            why_taken = "it is a path of the index"
        elif is_dated_view(name):
            why_taken = "it is the name of a view of that day"
        elif name in self.indexes():
            why_taken = OF_AN_INDEX
        else:
            return
        raise taken_name(name, why_taken)


class Names(Struct, frozen=True):
    """Lists, reserves and releases private names."""

    projects: Projects
    runtime: Runtime
    taken: TakenNames

    def listed(self) -> tuple[NormalizedName, ...]:
        """
        Return the private names of the list, sorted.

        Names that only a pattern of the settings makes private are not in the list.
        Raises Unavailable if the store does not answer, or the list is damaged.
        """
        return self.projects.names.get_current().names

    def describe(self, names: Iterable[NormalizedName]) -> Iterator[PrivateName]:
        """
        Read the document of each name, and yield why the name is private, in the given order.

        Raises Unavailable if the store does not answer.
        """
        return prefetch_map(self._read_private_name, names)

    def reserve(self, caller: Caller, name: NormalizedName, reason: str) -> bool:
        """
        Make a name private that has no project, and return whether this call has reserved it.

        Nothing is reserved if there is a project, or somebody has reserved the name before. No
        upstream index is asked: if one has the name, its package is not served any more.

        Raises Forbidden if the caller is no administrator of the project, Invalid if nobody may
        have the name (code `invalid_name`) or the reason is not one line of text, and Unavailable
        if the store does not answer.
        """
        _require_admin(caller, name, "reserve")
        require_one_line(reason, "The reason", REASON_LIMIT)
        self.taken.require_free(name)
        # in the list first, so that the name is private even if this process dies before the commit
        self.projects.names.claim(name)

        committed = self.projects.change(name, partial(self._reservation_events, caller, reason))
        # a commit without an event leaves the document as it is
        return committed.after is not committed.before

    def _reservation_events(
        self, caller: Caller, reason: str, project: Project
    ) -> tuple[Event, ...]:
        """Return the event of a reservation, or none if the project exists by now."""
        # somebody may have published under the name since the list was changed
        if project.exists:
            return ()
        return (self._event(caller, EventKind.RESERVED, reason),)

    def release(self, caller: Caller, name: NormalizedName, reason: str) -> None:
        """
        Give up a private name without files.

        The name first leaves the list. The document, which is written last, then makes it unknown.

        Raises Forbidden if the caller is no administrator of the project. Raises Invalid if the
        reason is not one line of text. Raises NotFound if the name is not private, or only a
        pattern of the settings makes it so. Raises Conflict if the project has files. Raises
        Unavailable if the store does not answer.
        """
        _require_admin(caller, name, "release")
        require_one_line(reason, "The reason", REASON_LIMIT)
        is_listed = name in self.projects.names.get_current().as_set

        intent = partial(self._release_events, caller, reason, is_listed=is_listed)
        document = self.projects.documents.get(keys.project(name), "current").value
        intent(document or Project(name=name))  # raises before anything is written
        # if this process dies after the list was written, the document keeps the name private, and
        # the same release again completes it
        self.projects.names.remove(name)
        try:
            self.projects.commits.submit(project_journal(name), intent)
        except WheelyardError:
            # the name stays private: somebody has published meanwhile, or nobody knows whether the
            # release was committed
            self.projects.names.claim(name)
            raise

    def _release_events(
        self, caller: Caller, reason: str, project: Project, *, is_listed: bool
    ) -> tuple[Event, ...]:
        """
        Return the event of a release, or none if the name is released already.

        Raises Conflict if the project has files, and NotFound if the name is not in the list.
        """
        if project.files:
            raise Conflict(
                f"{quoted(project.name)} has files, so its name cannot be released.",
                advice=Advice(Remedy.DELETE, project.name, versions=ALL_VERSIONS),
            )
        if not (project.exists or is_listed):
            raise NotFound(
                f"{quoted(project.name)} is not in the list of private names. A pattern of the "
                "settings is changed there.",
                advice=Advice(Remedy.LIST_NAMES),
            )
        if project.is_released:
            return ()
        return (self._event(caller, EventKind.RELEASED, reason),)

    def _event(self, caller: Caller, kind: EventKind, reason: str) -> Event:
        """Return the event of a reservation or a release, at this moment."""
        at = self.runtime.now()
        by = caller.principal
        by_name = caller.name
        return Event(what=kind, at=at, by=by, by_name=by_name, reason=reason)

    def _read_private_name(self, name: NormalizedName) -> PrivateName:
        """Read the document of a name, and return why the name is private."""
        with UnreadableIgnored():
            return _private_name_of(self.projects.get_for_update(name))
        return PrivateName(name, NameState.UNREADABLE)


def _private_name_of(project: Project) -> PrivateName:
    """Return why the name of a project is private, by its document alone."""
    name = project.name
    if project.files:
        return PrivateName(name, NameState.FILES, len(project.files))
    if project.commit is None:
        return PrivateName(name, NameState.CLAIMED)
    last_event = project.commit.events[-1]
    if project.deleted_filenames:
        state = NameState.DELETED
    elif project.is_released:  # a release was interrupted, or somebody uploads again
        state = NameState.CLAIMED
    else:
        state = NameState.RESERVED
    return PrivateName(
        name,
        state,
        by=last_event.by,
        at=last_event.at,
        reason=last_event.reason,
    )


def _require_admin(caller: Caller, name: NormalizedName, verb: str) -> None:
    """Raise Forbidden unless a caller is an administrator of a project. `verb` is what it does."""
    if not caller.may(Action.ADMIN, name):
        fact = f"{caller.display_name} may not {verb} {quoted(name)}."
        raise Forbidden(f"{fact} Ask an administrator of this index to do it.")


class UpstreamNames(Protocol):
    """The names of the upstream indexes."""

    def ask(self, name: NormalizedName) -> bool:
        """
        Return whether an upstream index has this name now.

        Raises Unavailable if an index does not answer.
        """
        ...

    def forget(self, name: NormalizedName) -> object:
        """
        Remove the stored facts of upstream indexes about this name, which is private now.

        Raises Unavailable if the store does not answer.
        """
        ...


class NameClaims(Struct, frozen=True, kw_only=True):
    """Decides whether a name may become private, and makes it private before its first file."""

    names: PrivateNames
    upstream: UpstreamNames
    shadow: NamePatterns
    """Names that may be taken although an upstream index has them."""
    asks_upstream: bool = True
    """Whether upstream indexes are asked at all."""

    def require_free(self, name: NormalizedName, caller: Caller) -> None:
        """
        Raise an error unless `name` is private, or may become private for a file of `caller`.

        Raises Forbidden (code `public_name`) if an upstream index has this name, and writes that
        into the log. Raises Unavailable if the store does not say whether the name is private, or
        an upstream index cannot say whether it has the name (codes `upstream_unavailable` and
        `upstream_unproven`).
        """
        if not self.names.is_private(name):
            self._require_unknown_upstream(name, caller)

    def claim(self, name: NormalizedName, caller: Caller) -> tuple[str, ...]:
        """
        Make a name private for a file, log that, and return warnings for the publisher of the file.

        Raises Forbidden (code `public_name`) if an upstream index has the name, and Unavailable if
        the store does not answer, or nobody can say whether the name is free.
        """
        self.require_free(name, caller)
        # also a name that is private already, perhaps by a pattern alone, or as a cache says
        self.names.claim(name)
        is_shadow = self.shadow.match(name)
        log_name("name_claimed", caller.principal, name, is_shadow=is_shadow)
        if is_shadow or not self.asks_upstream:
            with suppress(Unavailable):  # the public package is not shown any more anyway
                self.upstream.forget(name)
        if not is_shadow:
            return ()
        return (f"{name} is private from now on: clients get no public package of that name",)

    def _require_unknown_upstream(self, name: NormalizedName, caller: Caller) -> None:
        """
        Raise Forbidden (code `public_name`) if an upstream index has a name, and log that.

        Nothing is asked about a name that may be taken anyway. Raises Unavailable if an upstream
        index does not answer.
        """
        if self.shadow.match(name) or not self.asks_upstream:
            return
        try:
            is_public = self.upstream.ask(name)
        except Unavailable as fault:
            if fault.code == UPSTREAM_UNPROVEN:
                raise
            fact = f"Nobody can say now whether {quoted(name)} is the name of a public package."
            raise Unavailable(
                f"{fact} If it is yours, the operator can write it into upstream.private, and "
                f"then nobody is asked. {fault.message}",
                code=UPSTREAM_UNAVAILABLE,
                retry_after=fault.retry_after,
            ) from fault
        if is_public:
            log_name("name_refused", caller.principal, name)
            # clients take other words of a 403 for "uploaded before", and go on
            fact = f"{quoted(name)} is the name of a public package."
            raise Forbidden(
                f"{fact} Choose another name. To serve your own package instead of the public one, "
                "an administrator reserves the name in this index, or the operator writes it into "
                "upstream.private or upstream.shadow.",
                code=PUBLIC_NAME,
            )


class ClientProjects(Struct, frozen=True):
    """What the settings of a client say about the projects of an index."""

    serves_public: bool
    """Whether public packages come from this index, too, so that no project has to be named."""
    projects: tuple[NormalizedName, ...] = ()
    """
    The projects of the client, and then all private projects that these need, also indirectly.
    """
    takes_uploads: bool = True
    """Whether clients can publish to the index."""
    other_indexes: tuple[str, ...] = ()
    """The indexes beside main, if the caller may read no project of main."""
    needs_credential: bool = False
    """Whether nobody reads all of the index without a credential."""


class ClientProjectsReader(Struct, frozen=True):
    """Finds the private projects that a client must look up in this index alone."""

    layers: Sequence[Projects]
    """The projects of each index whose packages the index shows."""
    files: Files
    private_patterns: Sequence[Pattern]
    """The patterns of `[access] private_names`."""
    is_local: bool
    """Whether the store is a folder of this machine or memory, so that reads need no threads."""
    has_upstream: bool
    """Whether the index shows public packages, too."""

    def read(self, caller: Caller, projects: Collection[NormalizedName]) -> ClientProjects:
        """
        Return what the settings of a client have to say, if the client installs these projects.

        The requirements of all files count, of all versions, extras and markers. A required name is
        private if one of the layers has a project of that name, or a pattern of the settings
        matches it. Names that the caller may not read are left out. Raises NotFound if one of the
        projects does not exist or may not be read, and Unavailable if a document or core metadata
        cannot be read.
        """
        if self.has_upstream:
            return ClientProjects(serves_public=True)
        for name in projects:
            # the same error for both, so that it does not tell which projects there are
            if not caller.may(Action.READ, name):
                raise unknown_project(name)
            if not self._load_from_layers(name):
                raise unknown_project(name)
        needed_projects = dict.fromkeys(projects)
        # first the named projects, then those that they require, and so on: all projects of a level
        # are read at the same time
        level = list(needed_projects)
        while level:
            new_names = self._required_by(level) - needed_projects.keys()
            readable = [name for name in sorted(new_names) if caller.may(Action.READ, name)]
            level = [name for name in readable if self._is_private(name)]
            needed_projects |= dict.fromkeys(level)
        return ClientProjects(serves_public=False, projects=tuple(needed_projects))

    def _is_private(self, name: NormalizedName) -> bool:
        """Return whether a required name is private, by the patterns or by the layers."""
        return matches_any(self.private_patterns, name) or bool(self._load_from_layers(name))

    def _required_by(self, names: Sequence[NormalizedName]) -> set[NormalizedName]:
        """Return the names that the core metadata of any file of these projects require."""
        # handing work to threads takes longer than reading a file
        threads = 1 if self.is_local else MAX_CONCURRENT_READS
        files = list[tuple[NormalizedName, File]]()
        # no layer has a project of a name that only a pattern makes private
        for projects in prefetch_map(self._load_from_layers, names, threads):
            for project in projects:
                # the wheels of a release often have the same metadata, which are read once
                file_by_metadata = {file.core_metadata: file for file in project.files}
                for file in file_by_metadata.values():
                    files.append((project.name, file))
        required_names = set[NormalizedName]()
        for requirements in prefetch_map(self._read_requirements, files, threads):
            for text in requirements:
                required_names.add(NormalizedName(required_name(text)))
        required_names.discard(NormalizedName(""))  # of a text that is no requirement
        return required_names

    def _load_from_layers(self, name: NormalizedName) -> list[Project]:
        """
        Return the projects of a name in all layers.

        These are also the projects that clients do not see, as a layer above has the name.
        """
        snapshots = [layer.load(name) for layer in self.layers]
        return [snapshot.value for snapshot in snapshots if snapshot.value is not None]

    def _read_requirements(self, name_and_file: tuple[NormalizedName, File]) -> Sequence[str]:
        """
        Return the requirements in the core metadata of a file of a project.

        Raises Unavailable if the store has lost the metadata.
        """
        name, file = name_and_file
        if not file.has_metadata:
            return ()
        try:
            raw = self.files.core_metadata(name, file)
        except NotFound as fault:
            # not NotFound: nobody knows now whether the file needs another private project
            raise damaged(f"The core metadata of {file.filename} are lost.") from fault
        return described_in(raw, name, file.version).requirements
