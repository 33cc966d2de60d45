"""
The namespaces of the store (PEP 752), and who may publish new projects in them.

Namespaces change while servers run. Each server reads them again after as long as it keeps the
record of a token, so that a change is in force everywhere within 15 seconds. The publishers of a
project that is older than its namespace may publish as before.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from threading import Lock
from typing import Any, Final

from packaging.utils import NormalizedName, canonicalize_name

from wheelyard.catalog.document_cache import Snapshot
from wheelyard.catalog.journaled_documents import NamespaceRecords
from wheelyard.catalog.stored_tokens import in_background
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Conflict, Invalid, Unavailable, field_errors, quoted
from wheelyard.model.access import Caller
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.project import File, Project
from wheelyard.model.stored_namespaces import (
    NAMESPACE_KIND,
    AnyNamespaceEvent,
    ListedNamespace,
    Namespace,
    NamespaceCommit,
    NamespaceList,
    NamespaceRevoked,
    NamespacesInForce,
    ProjectNamespace,
    canonical_namespace,
    groups_of_owners,
    parse_namespace,
)
from wheelyard.model.stored_tables import TableKeys
from wheelyard.operations.access_control import AccessControl
from wheelyard.operations.table_changes import StoredTables
from wheelyard.remedies import Advice, Caution, Remedy
from wheelyard.storage.base import ObjectVersion

NAMESPACE_RESERVED: Final = "namespace_reserved"
"""The code of a Conflict for a new project in a namespace of others."""
NAMESPACE_OVERLAPS: Final = "namespace_overlaps"
"""The code of a Conflict for a namespace in, or around, one of other owners."""
HIDES_PUBLIC_NAMES: Final = "hides_public_names"
"""The code of a Conflict for a namespace that makes names private which are public and in use."""
NAMED_PROJECTS: Final = 20
"""The most public projects that a message names."""

FindPublicNames = Callable[[Namespace], Sequence[NormalizedName]]
"""Returns the public names in use that a namespace would make private."""
FindTokenOwner = Callable[[str], str]
"""Returns the principal of who owns the token of a principal, or an empty text."""


class Namespaces(StoredTables[NamespaceList, NamespaceCommit, AnyNamespaceEvent, ListedNamespace]):
    """
    Returns the namespaces in force, and changes those of the store.

    Threads may share an object. Each method raises Unavailable if the namespaces cannot be read:
    without them, anybody could publish a project in a namespace, and clients could look for its
    names at an upstream index.

    Args:
        records: The namespaces of the store.
        runtime: Has the clock.
        access: Has the groups.
        of_settings: The namespaces that the index itself owns, by patterns of the settings.
        find_public_names: Finds what a new namespace would hide.
        find_token_owner: Finds who owns the token of a principal.
    """

    def __init__(
        self,
        records: NamespaceRecords,
        runtime: Runtime,
        access: AccessControl,
        of_settings: Sequence[Namespace],
        find_public_names: FindPublicNames,
        find_token_owner: FindTokenOwner,
    ) -> None:
        super().__init__(NAMESPACE_KIND, records, runtime)
        self._access = access
        self._of_settings = of_settings
        self._find_public_names = find_public_names
        self._find_token_owner = find_token_owner
        # Threads may set it at once. Each value is right for its version, so any may be the last.
        self._parsed: tuple[ObjectVersion, NamespacesInForce] | None = None
        self._is_refreshing = Lock()

    def load(self) -> NamespacesInForce:
        """
        Return the namespaces in force, read from the store if they may have changed.

        The same object is returned until a namespace changes. Rights are decided by these
        namespaces alone, and not by those of `for_pages`.
        """
        return self._in_force(self.records.get())

    def for_pages(self) -> NamespacesInForce:
        """
        Return the namespaces that pages show, which may be outdated.

        If what is in memory is old, the document is read in the background, so that no page waits
        for the store. If nothing is in memory yet, the document is read now, which raises
        Unavailable if the store does not answer.
        """
        is_fresh = self.records.peek() is not None
        if is_fresh:
            return self.load()
        snapshot = self.records.peek("any")
        if snapshot is None:
            return self.load()
        # Many pages may be asked for at once: one thread reads for all, and then releases the lock.
        if self._is_refreshing.acquire(blocking=False):
            in_background(self._refresh)
        return self._in_force(snapshot)

    def read_ahead(self) -> None:
        """Read the document when a server starts, so that its first requests need not wait."""
        with suppress(Unavailable):  # each request that needs the namespaces raises it again
            self._in_force(self.records.read_ahead())

    def _refresh(self) -> None:
        """Read the document for the next pages, and release the lock."""
        try:
            with suppress(Unavailable):  # the next page tries it again
                self.records.get()
        finally:
            self._is_refreshing.release()

    def _in_force(self, snapshot: Snapshot[NamespaceList]) -> NamespacesInForce:
        """Return the namespaces in a document, together with those of the settings."""
        parsed = self._parsed
        if parsed is not None and parsed[0] == snapshot.version:
            return parsed[1]
        if snapshot.value is None:
            self.records.require_not_lost("who owns which names")
        by_name = {namespace.name: namespace for namespace in self._of_settings}
        # last: a namespace of the settings that was granted belongs to the owners of the grant
        for namespace in _granted(snapshot.value or NamespaceList()):
            by_name[namespace.name] = namespace
        sorted_namespaces = [by_name[name] for name in sorted(by_name)]
        in_force = NamespacesInForce(tuple(sorted_namespaces))
        self._parsed = (snapshot.version, in_force)
        return in_force

    def describe(self, project: Project) -> tuple[ProjectNamespace, ...]:
        """Return the namespaces that a project is in, as its page names them, the widest first."""
        namespaces = list[ProjectNamespace]()
        for namespace in self.for_pages().of(project.name):
            is_owned = self._is_owned(namespace, project)
            namespaces.append(ProjectNamespace(namespace.name, is_owned))
        return tuple(namespaces)

    def _is_owned(self, namespace: Namespace, project: Project) -> bool:
        """Return whether an owner of a namespace has published the first file of a project."""
        files = project.files + project.trash
        first_file = min(files, key=_listed_at, default=None)
        if namespace.since is None or first_file is None:
            return True
        # since there is a namespace, only its owners begin projects in it
        if _listed_at(first_file) >= namespace.since:
            return True
        uploader = first_file.uploaded_by
        principals = (uploader, self._find_token_owner(uploader))
        return namespace.is_owned_by(principals, self._access.load().groups)

    def has(self, project: NormalizedName) -> bool:
        """Return whether a project is in a namespace, so that its name is private."""
        return any(namespace.has(project) for namespace in self.load().all)

    def is_owner(self, namespace: Namespace, caller: Caller) -> bool:
        """
        Return whether a caller is an owner of a namespace.

        Owners are principals, owners of tokens and members of groups. Everybody counts as an owner
        of a namespace of the settings. So does whoever administers the server in any namespace, as
        they can make themselves owners.
        """
        if namespace.since is None:
            return True
        principals = {caller.principal, caller.owner, *caller.principals, *caller.owner_names}
        groups = self._access.load().groups
        return namespace.is_owned_by(principals, groups) or caller.administers_server

    def require_owner(self, project: Project, caller: Caller) -> None:
        """
        Raise an error unless a caller, who may upload to a project, may publish its first file.

        The error is a Conflict (code `namespace_reserved`), for a new project in a namespace of
        other owners. PEP 752 asks for the HTTP status of a Conflict.
        """
        if project.files or project.deleted_filenames:
            return
        for namespace in self.load().of(project.name):
            if not self.is_owner(namespace, caller):
                raise Conflict(
                    f"{quoted(project.name)} is in the namespace {namespace.name}, in which only "
                    "its owners publish new projects. Choose another name, or ask an administrator "
                    "of this index to make you an owner.",
                    code=NAMESPACE_RESERVED,
                )

    def read_stored(self) -> NamespaceList:
        """Return the document as it is in the store now. Raises Unavailable if it is lost."""
        stored = self.records.get("current").value
        if stored is None:
            self.records.require_not_lost("who owns which names")
            return NamespaceList()
        return stored

    def change(
        self,
        name: str,
        keys: Mapping[str, Any],
        by: str,
        note: str = "",
        as_of: datetime | None = None,
    ) -> ListedNamespace:
        """
        Give a namespace, in any spelling of its name, other owners, and return the namespace.

        Raises NotFound if there is no such namespace, and Invalid (code `invalid_field`) if a key
        or the note is wrong. Raises Conflict (code `namespace_changed`) unless `as_of` is None or
        the time of the last change of the namespace, (code `unknown_group`) for a group that does
        not exist, and (code `namespace_overlaps`) if the namespace is in, or around, a namespace of
        other owners.
        """
        return super().change(canonicalize_name(name), keys, by, note, as_of)

    def remove(self, name: str, by: str, note: str = "") -> tuple[Caution, ...]:
        """Revoke a namespace, in any spelling of its name. Raises NotFound if there is none."""
        return super().remove(canonicalize_name(name), by, note)

    def require_no_owner(self, group: str) -> None:
        """Raise Conflict (code `group_in_use`) if a group owns a namespace."""
        for table in self.read_stored().tables:
            if group in groups_of_owners(table.keys):
                raise Conflict(
                    f"The group {group} owns the namespace {table.name}. Give that other owners, "
                    "or revoke it, first.",
                    code="group_in_use",
                    advice=Advice(Remedy.LIST_NAMESPACES),
                )

    def add(
        self, keys: TableKeys, by: str, note: str = "", *, even_if_public: bool = False
    ) -> ListedNamespace:
        """
        Grant a namespace, whose names are private from then on, and return it.

        Raises Invalid (code `invalid_field`) if a key or the note is wrong. Raises Conflict (code
        `namespace_exists`) if there is a namespace of this name, (code `namespace_overlaps`) if the
        new one is in, or around, a namespace of other owners, and (code `unknown_group`) for a
        group that does not exist. Unless `even_if_public` is set, raises Conflict (code
        `hides_public_names`) if public names of the namespace are in use here. Raises NotFound if
        another process has revoked the namespace meanwhile.
        """
        if not even_if_public:
            self.require_unused(keys)
        return super().add(keys, by, note)

    def require_unused(self, keys: TableKeys) -> None:
        """
        Raise Conflict (code `hides_public_names`) if public names in use would be hidden.

        Raises Invalid (code `invalid_field`) if a key is wrong.
        """
        why = self.describe_hidden_names(keys)
        if why:
            raise Conflict(why, code=HIDES_PUBLIC_NAMES, advice=Advice(Remedy.CONFIRM_PUBLIC_NAMES))

    def describe_hidden_names(self, keys: TableKeys) -> str:
        """
        Return a sentence with the public names in use that a namespace would hide.

        The text is empty if there are none.
                Raises Invalid (code `invalid_field`) if a key is wrong.
        """
        with field_errors():
            namespace = parse_namespace(keys, self.runtime.now())
        names = self._find_public_names(namespace)
        if not names:
            return ""
        names_text = ", ".join(names[:NAMED_PROJECTS])
        if len(names) > NAMED_PROJECTS:
            names_text = f"{names_text}, and {len(names) - NAMED_PROJECTS} more"
        return f"Public packages that are in use here would not be served any more: {names_text}."

    def checked(self, keys: TableKeys, name: str | None) -> TableKeys:
        """Return the keys of a namespace as they are stored. Raises Invalid if one is wrong."""
        del name
        with field_errors():
            return canonical_namespace(keys)

    def problems(self, stored: NamespaceList) -> dict[str, str]:
        """
        Return why namespaces are not in force, by name.

        A newer version has written keys that this version cannot read.
        """
        problems = dict[str, str]()
        for table in stored.tables:
            try:
                parse_namespace(table.keys, table.created)
            except Invalid as fault:
                problems[table.name] = fault.message
        return problems

    def require_fit(self, event: AnyNamespaceEvent, stored: NamespaceList) -> None:
        """
        Raise Conflict if a namespace names an unknown group, or overlaps one of other owners.

        The codes are `unknown_group` and `namespace_overlaps`.
        """
        if isinstance(event, NamespaceRevoked):
            return
        groups = self._access.load("current").groups
        for group in sorted(groups_of_owners(event.keys) - groups.keys()):
            raise Conflict(
                f"There is no group {quoted(group)}.",
                code="unknown_group",
                advice=Advice(Remedy.MAKE_GROUP, group),
                field="owners",
            )
        self.require_no_overlap(event, stored)

    def require_no_overlap(self, event: AnyNamespaceEvent, stored: NamespaceList) -> None:
        """
        Raise Conflict (code `namespace_overlaps`) if a namespace is in, or around, another one.

        `event` grants or changes the namespace. An event that revokes it is always fine. `stored`
        has the other namespaces, and perhaps this one as it was before. Namespaces with exactly the
        same owners may overlap, and those of the settings may overlap all others.
        """
        if isinstance(event, NamespaceRevoked):
            return
        namespace = parse_namespace(event.keys, event.at)
        for granted in _granted(stored):
            is_itself = granted.name == namespace.name  # as it was before the change
            if is_itself or granted.owners == namespace.owners:
                continue
            if namespace.contains(granted) or granted.contains(namespace):
                raise Conflict(
                    f"The namespace {namespace.name} overlaps {granted.name}, which has other "
                    "owners. Give both the same owners, at once by one applied file, or revoke one "
                    "of them.",
                    code=NAMESPACE_OVERLAPS,
                    field="owners",
                )


def _listed_at(file: File) -> datetime:
    """Return when the index has listed a file, by a promotion, an import or an upload."""
    return file.promoted_at or file.imported_at or file.uploaded_at


def namespaces_of_patterns(patterns: Collection[str]) -> tuple[Namespace, ...]:
    """Return the namespaces of pairs of patterns such as `acme` and `acme-*`, by name."""
    namespaces = list[Namespace]()
    for pattern in sorted(patterns):
        is_name = "*" not in pattern and "?" not in pattern
        if is_name and f"{pattern}-*" in patterns:
            namespaces.append(Namespace(NormalizedName(pattern), frozenset()))
    return tuple(namespaces)


def _granted(stored: NamespaceList) -> list[Namespace]:
    """Return the namespaces of a document, even if this version cannot read their keys."""
    namespaces = list[Namespace]()
    for table in stored.tables:
        try:
            namespaces.append(parse_namespace(table.keys, table.created))
        except Invalid:
            # a newer version has written it: its names stay private, and only administrators
            # publish in it
            with suppress(Invalid):
                namespaces.append(Namespace(parse_name(table.name), frozenset(), table.created))
    return namespaces
