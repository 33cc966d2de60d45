"""What rights in indexes with a name lead to that may not be meant, for whoever changes either."""

from collections.abc import Iterator, Mapping

from wheelyard.errors import quoted
from wheelyard.model.access import Action
from wheelyard.model.grants import Grant, Grants
from wheelyard.model.index_definition import IndexDefinition, parts_of
from wheelyard.remedies import Caution

Definitions = Mapping[str, IndexDefinition]


def layer_warnings(grants: Grants, definitions: Definitions) -> dict[str, Caution]:
    """Return, by name, which indexes show packages of others whose grants do not hold in them."""
    warnings = dict[str, Caution]()
    for name, definition in definitions.items():
        closed = [part for part in parts_of(definition, definitions) if grants.has_own(part)]
        if closed and not grants.has_own(name):
            warnings[name] = Caution(
                f"The index {name} shows packages of {', '.join(closed)}, whose grants do not hold "
                "in it: whoever has a right that names no index may read them there. Add a grant "
                f"with index = {quoted(name)}."
            )
    return warnings


def grant_warnings(grant: Grant, grants: Grants, definitions: Definitions) -> Iterator[Caution]:
    """Yield what a new grant leads to, which is one of `grants`."""
    for name in grant.scope.indexes:
        definition, actions = definitions.get(name), grant.scope.actions
        takes_none = definition is not None and not definition.has_packages
        if takes_none and Action.UPLOAD in actions and Action.ADMIN not in actions:
            yield Caution(
                f"the index {name} has no packages of its own, so that nobody uploads to it or "
                "changes them there; for that, grant the right in the index that has them"
            )
    before = layer_warnings(grants.without(grant.id), definitions)
    for name, warning in sorted(layer_warnings(grants, definitions).items()):
        if warning != before.get(name):
            yield warning


def revocation_warnings(
    grant_id: str, grants: Grants, definitions: Definitions
) -> Iterator[Caution]:
    """Yield which indexes have no grant of their own without this one of `grants`."""
    for name in sorted(grants.named_indexes - grants.without(grant_id).named_indexes):
        if name in definitions:
            yield Caution(
                f"Without grant {grant_id}, the index {name} has no grants of its own: rights that "
                "name no index hold in it again, also those of everybody. To close it, add another "
                f"grant with index = {quoted(name)}."
            )
