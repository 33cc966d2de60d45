"""
Namespaces (PEP 752), in which only their owners may publish new projects.

A namespace is the project of its name, and all projects whose names begin with this name and a
hyphen. A namespace that is inside another namespace has the same owners. The store keeps the keys
of `[[namespace]]` tables, with a journal.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta, Struct, field
from packaging.utils import NormalizedName

from wheelyard.errors import Invalid, quoted
from wheelyard.model.access import ALL_AUTHENTICATED, ANONYMOUS
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.grants import Groups, expand, groups_in, parse_group_name, parse_principal
from wheelyard.model.project import EventCommit
from wheelyard.model.stored_tables import (
    NEVER_CHANGED,
    ListedTable,
    StoredTable,
    TableAdded,
    TableChanged,
    TableKeys,
    TableKind,
    TableList,
    TableRemoved,
)
from wheelyard.remedies import Advice, Remedy

MAX_HYPHENS: Final = 3
"""The most hyphens in the name of a namespace."""
_GROUP: Final = "group:"
_Owners = tuple[Annotated[str, Meta(title="a principal")], ...]


class NamespaceFields(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a `[[namespace]]` table, before validation."""

    name: Annotated[str, Meta(title="a name such as acme")]
    owners: Annotated[_Owners, Meta(min_length=1, title='a list such as ["group:platform"]')]


class Namespace(Struct, frozen=True):
    """A namespace that is in force."""

    name: NormalizedName
    owners: frozenset[str]
    """Principals, and groups as `group:NAME`. Empty if the index itself owns the namespace."""
    since: datetime | None = None
    """When the namespace was granted (UTC), or None if the index itself owns it."""

    def has(self, project: NormalizedName) -> bool:
        """Return whether a project is in the namespace."""
        return project == self.name or project.startswith(f"{self.name}-")

    def contains(self, namespace: "Namespace") -> bool:
        """Return whether all projects of another namespace are in this namespace, too."""
        return self.has(namespace.name)

    def is_owned_by(self, principals: Iterable[str], groups: Groups) -> bool:
        """Return whether one of these principals is an owner, or a member of such a group."""
        return not expand(self.owners, groups).isdisjoint(principals)


class ProjectNamespace(Struct, frozen=True):
    """A namespace of a project, as its page names it."""

    name: NormalizedName
    owned: bool
    """False for a project from before the namespace that none of its owners has begun."""


class NamespacesInForce(Struct, frozen=True):
    """All namespaces, by name."""

    all: tuple[Namespace, ...] = ()

    def of(self, project: NormalizedName) -> tuple[Namespace, ...]:
        """Return the namespaces that a project is in, the widest one first."""
        return tuple(namespace for namespace in self.all if namespace.has(project))

    def find(self, name: NormalizedName) -> Namespace | None:
        """Return the namespace with a name, or None if there is none."""
        return next((namespace for namespace in self.all if namespace.name == name), None)

    def parent_of(self, namespace: Namespace) -> Namespace | None:
        """Return the narrowest namespace that contains another one, or None if none does."""
        namespaces = self.of(namespace.name)
        containing = [wider for wider in namespaces if wider.name != namespace.name]
        if not containing:
            return None
        return containing[-1]

    def children_of(self, namespace: Namespace) -> tuple[Namespace, ...]:
        """Return the namespaces whose parent this one is."""
        children = list[Namespace]()
        for inner in self.all:
            is_inside = namespace.contains(inner) and inner != namespace
            # a namespace further inside has another parent
            if is_inside and self.parent_of(inner) == namespace:
                children.append(inner)
        return tuple(children)


def parse_namespace(keys: TableKeys, since: datetime) -> Namespace:
    """
    Return the namespace of the keys of a table.

    Raises Invalid, with several codes, if a key is wrong, if the name is no project name or has
    more than `MAX_HYPHENS` hyphens, or if an owner is neither a principal nor a group.
    """
    fields = NAMESPACE_KIND.checked(keys)
    name = parse_name(str(fields["name"]))
    if name.count("-") > MAX_HYPHENS:
        raise Invalid(
            f"{quoted(name)} has more than {MAX_HYPHENS} hyphens. Take a shorter name.",
            code="invalid_field",
            field="name",
        )
    owners = frozenset(_parse_owner(owner) for owner in fields["owners"])
    return Namespace(name, owners, since)


def canonical_namespace(keys: TableKeys) -> TableKeys:
    """
    Return the keys of a namespace in a form that all equal namespaces have.

    Raises Invalid, with several codes, if a key is wrong.
    """
    namespace = parse_namespace(keys, NEVER_CHANGED)
    return {"name": str(namespace.name), "owners": sorted(namespace.owners)}


def groups_of_owners(keys: TableKeys) -> frozenset[str]:
    """Return the names of the groups among the owners of a namespace."""
    return groups_in(map(str, keys.get("owners", ())))


def _parse_owner(text: str) -> str:
    """Return the principal or the group that a text names, or raise Invalid."""
    # the group need not exist yet, as a file may make the group and the namespace at once
    if text.startswith(_GROUP) and "@" not in text:
        return f"{_GROUP}{parse_group_name(text.removeprefix(_GROUP))}"
    if text in {ANONYMOUS, ALL_AUTHENTICATED}:
        raise Invalid(f"{text} can own nothing. Name somebody.", code="bad_setting")
    return parse_principal(text)


class NamespaceGranted(
    TableAdded, frozen=True, kw_only=True, omit_defaults=True, tag="namespace-granted"
):
    """A namespace was granted."""


class NamespaceChanged(
    TableChanged, frozen=True, kw_only=True, omit_defaults=True, tag="namespace-changed"
):
    """A namespace has other owners now."""


class NamespaceRevoked(
    TableRemoved, frozen=True, kw_only=True, omit_defaults=True, tag="namespace-revoked"
):
    """A namespace was revoked."""


AnyNamespaceEvent = NamespaceGranted | NamespaceChanged | NamespaceRevoked


class NamespaceCommit(
    EventCommit[AnyNamespaceEvent], frozen=True, kw_only=True, omit_defaults=True
):
    """One write of the document of namespaces, with the events that the write added."""


class StoredNamespace(StoredTable, frozen=True, kw_only=True, omit_defaults=True):
    """A namespace in the store."""


class NamespaceList(TableList[StoredNamespace], frozen=True, kw_only=True, omit_defaults=True):
    """The namespaces in the store after the commits 1 to `revision`."""

    tables: tuple[StoredNamespace, ...] = ()
    commit: NamespaceCommit | None = None
    """The last commit, number `revision`."""


class ListedNamespace(ListedTable, frozen=True, kw_only=True, omit_defaults=True):
    """A namespace in a list for people and programs."""

    keys: TableKeys = field(name="namespace")
    """The keys of the `[[namespace]]` table."""


NAMESPACE_KIND: Final = TableKind[NamespaceList, AnyNamespaceEvent, ListedNamespace](
    noun="namespace",
    plural="namespaces",
    title="namespaces",
    exists_code="namespace_exists",
    changed_code="namespace_changed",
    fields=NamespaceFields,
    fixed_keys={"name": "The name of a namespace stays as it is. Revoke it, and grant another."},
    list_them=Advice(Remedy.LIST_NAMESPACES),
    titles=("Namespace", "Owners", "Granted"),
    added_word="granted",
    document=NamespaceList,
    commit=NamespaceCommit,
    stored=StoredNamespace,
    events={
        NamespaceGranted: "Granted namespaces",
        NamespaceChanged: "Changed namespaces",
        NamespaceRevoked: "Revoked namespaces",
    },
    added=NamespaceGranted,
    changed=NamespaceChanged,
    removed=NamespaceRevoked,
    listed=ListedNamespace,
)
