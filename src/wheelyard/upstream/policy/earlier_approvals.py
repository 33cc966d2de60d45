"""
Approvals of versions that an earlier release of wheelyard made, without digests of files.

Each is bound to the files of the page that is in the store, or of the first one that is fetched.
That is written down before another page takes the place of this one, so it is the same on every
server and after a restart. A server that writes nothing binds them to the page in the store, which
no other server replaces before it has written them down.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog.journals import DecisionRecords
from wheelyard.errors import Unavailable
from wheelyard.model.decisions import Decision, DecisionList, ProjectDecisions
from wheelyard.model.distribution_filename import strip_trailing_zeros
from wheelyard.upstream.page import UpstreamPage

UNDECIDED: Final = ProjectDecisions()

logger = logging.getLogger("wheelyard")


class EarlierApprovals:
    """
    Adds the digests that approvals lack; safe to share by threads.

    Args:
        records: The decisions in the store.
        complete: Returns a page with the digests that were learned of files without one.
        is_read_only: Whether nothing is written to the store.
    """

    def __init__(
        self,
        records: DecisionRecords,
        complete: Callable[[UpstreamPage], UpstreamPage],
        *,
        is_read_only: bool,
    ) -> None:
        self.records = records
        self._complete = complete
        self.is_read_only = is_read_only
        self._digests: dict[tuple[NormalizedName, str], tuple[str, ...]] = {}
        self._stored: dict[NormalizedName, UpstreamPage] = {}
        """Pages in the store that were read before the decisions were."""

    def decisions_of(self, name: NormalizedName, known: DecisionList | None) -> ProjectDecisions:
        """Return what was decided about a project, with the digests that are bound here."""
        found = known.by_project.get(name, UNDECIDED) if known else UNDECIDED
        if not any(each.lacks_files for each in found.versions.values()):
            return found
        versions = {
            key: replace(each, sha256=self._digests.get((name, key))) if each.lacks_files else each
            for key, each in found.versions.items()
        }
        return ProjectDecisions(found.project, versions)

    def bind_to_stored(self, page: UpstreamPage) -> None:
        """Bind the approvals of a project to its page in the store."""
        if self.records.peek("any") is None:
            # on a bucket both are read at the same time
            self._stored[page.name] = page
            return
        lacking = self._lacking(page.name)
        if lacking:
            self._note(page, lacking)
            if not self.is_read_only:
                with suppress(Unavailable):  # it counts here, and is written before the page is
                    self._write(page.name, lacking)

    def bind_to_fetched(self, page: UpstreamPage) -> None:
        """
        Bind the approvals of a project to a page that was fetched, unless they are bound already.

        Raise Unavailable if that cannot be written down. A server that writes nothing could not
        keep to it, so it binds none to a page that is not in the store.
        """
        lacking, stored = self._lacking(page.name), self._stored.pop(page.name, None)
        if lacking and stored is not None:
            self._note(stored, lacking)
        if lacking and not self.is_read_only:
            self._note(page, lacking)
            self._write(page.name, lacking)

    def _lacking(self, name: NormalizedName) -> list[Decision]:
        # an old state of the document will do: such approvals are made no more
        known = (self.records.peek("any") or self.records.get()).value
        versions = known.by_project.get(name, UNDECIDED).versions if known else {}
        return [each for each in versions.values() if each.lacks_files]

    def _note(self, page: UpstreamPage, lacking: list[Decision]) -> None:
        files = self._complete(
            replace(page, files=(*page.files, *page.changed, *page.removed))
        ).files
        for decision in lacking:
            key = decision.key
            digests = {each.sha256 for each in files if strip_trailing_zeros(each.version) == key}
            self._digests.setdefault((page.name, key), tuple(sorted(digests - {""})))

    def _write(self, name: NormalizedName, lacking: list[Decision]) -> None:
        for key in (each.key for each in lacking):

            def bound(known: DecisionList, key: str = key) -> Decision | None:
                found = known.by_project.get(name, UNDECIDED).versions.get(key)
                if found is None or not found.lacks_files:
                    return None
                return replace(found, sha256=self._digests[name, key])

            self.records.change(bound)
        logger.info("upstream: the approvals of %s are bound to the files of its page", name)
