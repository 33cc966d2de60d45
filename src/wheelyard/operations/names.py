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
    """It has files."""
    DELETED = "deleted"
    """All of its files were deleted."""
    RESERVED = "reserved"
    """Somebody has reserved it, and nobody has published under it."""
    CLAIMED = "claimed"
    """An upload has begun under it, and none has ended."""
    UNREADABLE = "unreadable"
    """Its document is damaged, or only a newer version of wheelyard can read it."""


class PrivateName(Struct, frozen=True, omit_defaults=True):
    """A private name, and for one without files who has made it private, when and why."""

    name: NormalizedName
    state: NameState
    files: int = 0
    by: str = ""
    at: datetime | None = None
    reason: str = ""


class TakenNames(Struct, frozen=True):
    """Names that no project can have, as they are paths of the server."""

    indexes: Callable[[], Collection[str]]
    """Returns the names of all indexes that have one, or none where paths have another one."""

    def require_free(self, name: NormalizedName) -> None:
        """
        Raise Invalid (code `invalid_name`) if no project can have a name.

        Raises Unavailable if the definitions of the indexes cannot be read.
        """
        if name in RESERVED_NAMES:
            what = "it is a path of the index"
        elif is_dated_view(name):
            what = "it is the name of a view of that day"
        elif name in self.indexes():
            what = OF_AN_INDEX
        else:
            return
        raise taken_name(name, what)


class Names(Struct, frozen=True):
    """Lists, reserves and releases private names."""

    projects: Projects
    runtime: Runtime
    taken: TakenNames

    def listed(self) -> tuple[NormalizedName, ...]:
        """
        Return the private names that are in the list, sorted, but none of a pattern alone.

        Raises Unavailable if the store does not answer, or the list is damaged.
        """
        return self.projects.names.get_current().names

    def describe(self, names: Iterable[NormalizedName]) -> Iterator[PrivateName]:
        """
        Yield why each of these names is private, in their order, by a read of each document.

        Raises Unavailable if the store does not answer.
        """
        return prefetch_map(self._describe, names)

    def reserve(self, caller: Caller, name: NormalizedName, reason: str) -> bool:
        """
        Make a name private that has no project, and return whether this call has reserved it.

        It has not if there is a project, or somebody has reserved the name before. No upstream
        index is asked: if it has the name, its package is not served any more.

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
        return committed.after is not committed.before

    def _reservation_events(
        self, caller: Caller, reason: str, project: Project
    ) -> tuple[Event, ...]:
        """Return the event of a reservation, in its commit."""
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
        # if this process dies behind that, the document keeps the name private, and the same call
        # goes on
        self.projects.names.remove(name)
        try:
            self.projects.commits.submit(project_journal(name), intent)
        except WheelyardError:
            self.projects.names.claim(name)  # somebody has published meanwhile, or nothing is known
            raise

    def _release_events(
        self, caller: Caller, reason: str, project: Project, *, is_listed: bool
    ) -> tuple[Event, ...]:
        """Return the event of a release, or none if there was one. Raises if it is refused."""
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
        at = self.runtime.now()
        by = caller.principal
        by_name = caller.name
        return Event(what=kind, at=at, by=by, by_name=by_name, reason=reason)

    def _describe(self, name: NormalizedName) -> PrivateName:
        with UnreadableIgnored():
            return _describe(self.projects.get_for_update(name))
        return PrivateName(name, NameState.UNREADABLE)


def _describe(project: Project) -> PrivateName:
    """Return why the name of a project is private, by its document alone."""
    name = project.name
    if project.files:
        return PrivateName(name, NameState.FILES, len(project.files))
    if project.commit is None:
        return PrivateName(name, NameState.CLAIMED)
    last = project.commit.events[-1]
    if project.deleted_filenames:
        state = NameState.DELETED
    elif project.is_released:  # a release was interrupted, or somebody uploads again
        state = NameState.CLAIMED
    else:
        state = NameState.RESERVED
    return PrivateName(name, state, 0, last.by, last.at, last.reason)


def _require_admin(caller: Caller, name: NormalizedName, what: str) -> None:
    if not caller.may(Action.ADMIN, name):
        fact = f"{caller.display_name} may not {what} {quoted(name)}."
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
        Remove what is known of this name, which is private now.

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
        Raise an error unless `name` is private, or may become it for a file of `caller`.

        Raises Forbidden (code `public_name`) if an upstream index has this name, which is logged.
        Raises Unavailable if the store does not say whether it is private, or no upstream index can
        say whether it is free (codes `upstream_unavailable` and `upstream_unproven`).
        """
        if not self.names.is_private(name):
            self._require_unknown_upstream(name, caller)

    def claim(self, name: NormalizedName, caller: Caller) -> tuple[str, ...]:
        """
        Make a name private for a file, log that, and return warnings for its publisher.

        Raises Forbidden (code `public_name`) if an upstream index has the name, and Unavailable if
        the store does not answer, or nobody can say whether the name is free.
        """
        self.require_free(name, caller)
        # also a name that is private: it may be a pattern that says so, or an answer of a cache
        self.names.claim(name)
        is_shadow = self.shadow.match(name)
        log_name("name_claimed", caller.principal, name, is_shadow=is_shadow)
        if is_shadow or not self.asks_upstream:
            with suppress(Unavailable):  # it is never shown again anyway
                self.upstream.forget(name)
        if not is_shadow:
            return ()
        return (f"{name} is private from now on: clients get no public package of that name",)

    def _require_unknown_upstream(self, name: NormalizedName, caller: Caller) -> None:
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
    """The projects of the client, and then all private ones that these need, also indirectly."""
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
    has_upstream: bool

    def read(self, caller: Caller, projects: Collection[NormalizedName]) -> ClientProjects:
        """
        Return what the settings of a client have to say, if it installs these projects.

        All files count, whatever their version, and so do all extras and markers. A required name
        is private if it is in the list of names, or a pattern of the settings matches it. What the
        caller may not read is left out. Raises NotFound if one of the projects does not exist or
        may not be read, and Unavailable if not everything can be read.
        """
        if self.has_upstream:
            return ClientProjects(serves_public=True)
        for name in projects:
            # the same error for both, so that it does not tell which projects there are
            if not caller.may(Action.READ, name):
                raise unknown_project(name)
            if not self._load(name):
                raise unknown_project(name)
        named = dict.fromkeys(projects)
        # level by level: all projects of one are read at once
        level = list(named)
        while level:
            required = self._required_by(level) - named.keys()
            readable = [name for name in sorted(required) if caller.may(Action.READ, name)]
            level = [name for name in readable if self._is_private(name)]
            named |= dict.fromkeys(level)
        return ClientProjects(serves_public=False, projects=tuple(named))

    def _is_private(self, name: NormalizedName) -> bool:
        return matches_any(self.private_patterns, name) or bool(self._load(name))

    def _required_by(self, names: Sequence[NormalizedName]) -> set[NormalizedName]:
        """Return the names that the core metadata of any file of these projects require."""
        # handing work to threads takes longer than reading a file
        threads = 1 if self.is_local else MAX_CONCURRENT_READS
        files = list[tuple[NormalizedName, File]]()
        for projects in prefetch_map(self._load, names, threads):
            for project in projects:  # none: a pattern matches the name, and nothing is there yet
                # the wheels of a release often have the same metadata, which are read once
                file_by_metadata = {file.core_metadata: file for file in project.files}
                files += ((project.name, file) for file in file_by_metadata.values())
        required = set[NormalizedName]()
        for requirements in prefetch_map(self._requirements, files, threads):
            required.update(NormalizedName(required_name(text)) for text in requirements)
        required.discard(NormalizedName(""))  # of a text that is no requirement
        return required

    def _load(self, name: NormalizedName) -> list[Project]:
        """Return the project of each layer that has it, also of those that the first one hides."""
        snapshots = [layer.load(name) for layer in self.layers]
        return [snapshot.value for snapshot in snapshots if snapshot.value is not None]

    def _requirements(self, named_file: tuple[NormalizedName, File]) -> Sequence[str]:
        """Return the requirements of a file of a project, in one of several threads."""
        name, file = named_file
        if not file.has_metadata:
            return ()
        try:
            raw = self.files.core_metadata(name, file)
        except NotFound as fault:
            # not NotFound: what is not read might need another private project
            raise damaged(f"The core metadata of {file.filename} are lost.") from fault
        return described_in(raw, name, file.version).requirements
