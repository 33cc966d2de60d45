"""Main while nobody has used it: beside other indexes, an upload there is probably a mistake."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Final

from wheelyard.catalog import keys
from wheelyard.catalog.projects import Projects
from wheelyard.concurrency.runtime import Runtime
from wheelyard.concurrency.threads import PREFETCH_THREADS
from wheelyard.errors import Forbidden
from wheelyard.model.index_definition import IndexDefinition

INDEX_NOT_NAMED: Final = "index_not_named"
"""The code of a Forbidden for an upload to main that probably belongs into another index."""
LOOK_AGAIN: Final = 15.0
"""Seconds for which pages do not look again whether an index is still unused."""


@dataclass(slots=True)
class UnusedIndex:
    """
    Closes an index for uploads until it has its first file, while others have packages.

    Threads may share it. Each method raises Unavailable if the store does not answer.
    """

    projects: Projects
    other_definitions: Callable[[], Mapping[str, IndexDefinition]]
    """Returns the definitions of the other indexes, by name."""
    runtime: Runtime
    _was_used: bool = field(default=False, init=False)
    """What was used once stays so."""
    _looked_at: float = field(default=-inf, init=False)

    def is_closed(self, max_age: float = 0.0) -> bool:
        """
        Return whether the index never had a file, and another one has its own packages.

        That it was unused may have been seen `max_age` seconds ago.
        """
        if self._was_used:
            return False
        definitions = self.other_definitions().values()
        if not any(definition.has_packages for definition in definitions):
            return False
        return not self._is_used(max_age)

    def note_use(self) -> None:
        """Take note that the index has had a file, so that nobody has to ask the store for that."""
        self._was_used = True

    def require_use(self) -> None:
        """Raise Forbidden (code `index_not_named`) if the index is closed."""
        if not self.is_closed():
            return
        definitions = self.other_definitions()
        names = [name for name in sorted(definitions) if definitions[name].takes_uploads]
        fact = "Nothing was ever published in main, and there are other indexes, so it takes no"
        to_open = "an administrator gives main promote_only=false"
        if names:
            places = ", ".join(names)
            help_text = (
                f"upload to one of the indexes: {places}. To publish in main, too, {to_open}"
            )
        else:
            help_text = f"none of them takes any either. To publish in main, {to_open}"
        raise Forbidden(
            f"{fact} uploads: {help_text}.",
            code=INDEX_NOT_NAMED,
        )

    def _is_used(self, max_age: float) -> bool:
        """Return whether a file was ever listed in the index: a reserved name is none."""
        now = self.runtime.monotonic()
        # on a bucket each look is a request
        if now - self._looked_at >= max_age:
            entries = self.projects.store.list(keys.PROJECTS)
            projects = self.projects.documents.read_listed(entries, PREFETCH_THREADS)
            self._was_used = any(project.files or project.deleted_filenames for project in projects)
            # two threads may look at once: what both have seen is the same
            self._looked_at = now
        return self._was_used
