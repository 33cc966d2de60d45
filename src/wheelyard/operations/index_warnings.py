"""Warnings about rights in indexes that are of no use, for those who change these rights."""

from collections.abc import Iterator, Mapping

from wheelyard.model.access import Action
from wheelyard.model.grants import Grant
from wheelyard.model.index_definition import IndexDefinition
from wheelyard.remedies import Caution

Definitions = Mapping[str, IndexDefinition]


def grant_warnings(grant: Grant, definitions: Definitions) -> Iterator[Caution]:
    """Yield a warning for each index in which a new grant to upload is of no use."""
    actions = grant.scope.actions
    for name in grant.scope.indexes:
        definition = definitions.get(name)
        takes_no_uploads = definition is not None and not definition.has_packages
        if takes_no_uploads and Action.UPLOAD in actions and Action.ADMIN not in actions:
            yield Caution(
                f"the index {name} has no packages of its own, so that nobody uploads to it or "
                "changes them there; for that, grant the right in the index that has them"
            )
