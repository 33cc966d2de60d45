"""
Refusal of uploads to main while it was never used, and there are other indexes.

Such an upload is most probably meant for one of the other indexes.
"""

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
"""Seconds until pages look again whether an index is still unused."""


@dataclass(slots=True)
class UnusedIndex:
    """
    Closes an index for uploads until it has its first file, while others have packages.

    Threads may share an object. Each method raises Unavailable if the store does not answer.
    """

    projects: Projects
    other_definitions: Callable[[], Mapping[str, IndexDefinition]]
    """Returns the definitions of the other indexes, by name."""
    runtime: Runtime
    _was_used: bool = field(default=False, init=False)
    """Whether the index was used, as far as this process knows: once it was, that stays true."""
    _looked_at: float = field(default=-inf, init=False)
    """When the store was last asked, in seconds of the monotonic clock."""

    def is_closed(self, max_age: float = 0.0) -> bool:
        """
        Return whether the index never had a file, and another index has its own packages.

        If the index was unused at most `max_age` seconds ago, the store is not asked again.
        """
        if self._was_used:
            return False
        definitions = self.other_definitions().values()
        if not any(definition.has_packages for definition in definitions):
            return False
        return not self._is_used(max_age)

    def note_use(self) -> None:
        """Note that the index has had a file, so that the store need not be asked for that."""
        self._was_used = True

    def require_use(self) -> None:
        """Raise Forbidden (code `index_not_named`) if the index is closed."""
        if not self.is_closed():
            return
        definitions = self.other_definitions()
        names = [name for name in sorted(definitions) if definitions[name].takes_uploads]
        fact = "Nothing was ever published in main, and there are other indexes"
        remedy = "an administrator gives main promote_only=false"
        if names:
            names_text = ", ".join(names)
            advice = (
                f"upload to one of the indexes: {names_text}. To publish in main, too, {remedy}"
            )
        else:
            advice = f"none of them takes any either. To publish in main, {remedy}"
        raise Forbidden(f"{fact}, so it takes no uploads: {advice}.", code=INDEX_NOT_NAMED)

    def _is_used(self, max_age: float) -> bool:
        """
        Return whether a file was ever listed in the index. A reserved name is no file.

        The store is asked if that was last done `max_age` seconds ago or earlier.
        """
        now = self.runtime.monotonic()
        # on a bucket each look is a request
        if now - self._looked_at >= max_age:
            entries = self.projects.store.list(keys.PROJECTS)
            projects = self.projects.documents.read_listed(entries, PREFETCH_THREADS)
            self._was_used = any(project.files or project.deleted_filenames for project in projects)
            # two threads may write both fields at once, and have found the same
            self._looked_at = now
        return self._was_used
