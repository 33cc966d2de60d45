"""The operations on namespaces."""

from typing import Annotated, Final

from msgspec import Meta, Struct, field

from wheelyard.api import table_operations
from wheelyard.model.stored_namespaces import NAMESPACE_KIND, ListedNamespace, NamespaceCommit
from wheelyard.model.stored_tables import TableKeys

KeysOfNamespace = Annotated[TableKeys, Meta(title="NamespaceKeys")]


class NamespaceAnswer(Struct, frozen=True):
    """All namespaces."""

    tables: tuple[ListedNamespace, ...] = field(name="namespaces")
    revision: int
    """The number of the last commit of the namespaces in the store, or 0 if there is none."""


class NamespaceHistory(table_operations.TableHistory[NamespaceCommit], frozen=True):
    """Changes of the namespaces, oldest first."""


class NewNamespace(table_operations.NewTable, frozen=True, forbid_unknown_fields=True):
    """A namespace to grant, and why."""

    keys: KeysOfNamespace = field(name="namespace")
    """The keys of a `[[namespace]]` table."""
    even_if_public: bool = False
    """
    Whether to grant the namespace although public packages that are in use are not served
    afterwards.
    """


class NamespaceEdit(table_operations.TableEdit, frozen=True, forbid_unknown_fields=True):
    """A change of the owners of a namespace, and why."""

    keys: KeysOfNamespace = field(name="namespace")


class NamespaceRemoval(table_operations.TableRemoval, frozen=True, forbid_unknown_fields=True):
    """The namespace to revoke, and why."""


NAMESPACES: Final = table_operations.TableOperations(
    NAMESPACE_KIND,
    table_operations.TableJson(
        answer=NamespaceAnswer,
        listed=ListedNamespace,
        history=NamespaceHistory,
        new=NewNamespace,
        edit=NamespaceEdit,
        removal=NamespaceRemoval,
        removed=None,
        confirmations=("even_if_public",),
    ),
    table_operations.TableTexts(
        list="List the namespaces.",
        history="Show the changes of namespaces that follow a number.",
        add="Grant a namespace, whose names are private from then on.",
        change="Give a namespace other owners.",
        remove="Revoke a namespace, in which anybody with the right publishes from then on.",
        right_to_see="see or change namespaces",
        right_to_change="change namespaces",
    ),
    lambda call: call.index.server.namespaces,
    add_path="grant",
)
