"""Main while nobody has used it: beside other indexes, an upload there is probably a mistake."""

from collections.abc import Callable, Mapping
from itertools import chain

from msgspec import Struct

from wheelyard.catalog import keys
from wheelyard.catalog.projects import Projects
from wheelyard.errors import Forbidden
from wheelyard.model.index_definition import IndexDefinition

INDEX_NOT_NAMED = "index_not_named"
"""The code of a Forbidden for an upload to main that probably belongs into another index."""


class UnusedIndex(Struct, frozen=True):
    """
    Closes an index for uploads until it has its first project, while others have packages.

    Each method raises Unavailable if the store does not answer.
    """

    projects: Projects
    others: Callable[[], Mapping[str, IndexDefinition]]
    """Returns the definitions of the other indexes, by name."""

    def is_closed(self) -> bool:
        """Return whether the index never had a project, and another one has its own packages."""
        others = self.others().values()
        return any(other.has_packages for other in others) and not self._was_used()

    def require_use(self) -> None:
        """Raise Forbidden (code `index_not_named`) if the index is closed."""
        if not self.is_closed():
            return
        definitions = self.others()
        names = [name for name in sorted(definitions) if definitions[name].takes_uploads]
        where = f"upload to one of the indexes: {', '.join(names)}" if names else "promote it"
        raise Forbidden(
            f"Nothing was ever published in main, and there are other indexes, so it takes no "
            f"uploads: {where}. To publish in main, too, the operator sets promote_only = false in "
            "[main] of the settings.",
            code=INDEX_NOT_NAMED,
        )

    def _was_used(self) -> bool:
        """Return whether the index has, or had, a project: a reserved name is none."""
        store = self.projects.store
        # a project whose name was released has left its journal
        return any(True for _ in chain(store.list(keys.PROJECTS), store.list(keys.JOURNAL)))
