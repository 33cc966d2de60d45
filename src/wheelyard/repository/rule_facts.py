"""The facts about the files of a project, as far as the rules of an index ask for them."""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from wheelyard.catalog.document_cache import Snapshot
from wheelyard.catalog.files import Files
from wheelyard.catalog.licence_finder import NOTHING_NOTED, LicenceFinder
from wheelyard.errors import Invalid
from wheelyard.model.licences import LOOKED_UP_LATER
from wheelyard.model.project import Project
from wheelyard.model.public_packages import UNDECIDED
from wheelyard.model.rule_keys import NO_KEYS, RuleKeys, parse_exceptions
from wheelyard.model.rule_reasons import LIFTABLE, Code
from wheelyard.model.rules import Facts, Rules

if TYPE_CHECKING:
    from wheelyard.upstream.indexes import UpstreamListing
    from wheelyard.upstream.policy.advisories import AdvisoryTable
    from wheelyard.upstream.policy.facts import PageFacts
    from wheelyard.upstream.policy.first_uses import FirstUses
    from wheelyard.upstream.policy.osv_source import OsvSource

_DECIDABLE_CODES: Final = frozenset((*LIFTABLE, Code.NOT_APPROVED))
"""The codes of reasons that a decision may lift, so that the decisions have to be read."""


class PublicState(Struct, frozen=True):
    """What the facts about public files follow from, besides the page and the decisions."""

    advisories: "AdvisoryTable | None"
    """The advisories, or None if no rule asks for them, or no database can be read."""
    licences: Snapshot[Any]
    first_uses: Snapshot[Any]
    licence_count: int
    """How many licences this process has found."""
    provenances: str
    """`PageProvenances.generation`, or an empty text if no rule asks."""

    @property
    def made_of(self) -> tuple[object, ...]:
        """Values that change whenever one of the fields does."""
        advisories_generation = None
        if self.advisories is not None:
            advisories_generation = self.advisories.generation
        return (
            advisories_generation,
            self.licences.version,
            self.first_uses.version,
            self.licence_count,
            self.provenances,
        )


class Advisories(Struct, frozen=True):
    """The advisories that the rules of an index look at."""

    upstream_source: "OsvSource"
    """The database as the rules of `[upstream]` read it."""
    index_source: "OsvSource | None" = None
    """The same database with more vulnerabilities, or None if those of `[upstream]` are enough."""

    def current(self) -> "AdvisoryTable | None":
        """
        Return the advisories of now, or None if nobody knows them: that hides files.

        Raises Unavailable if the store does not answer.
        """
        source = self.upstream_source
        if self.index_source is not None:
            source = self.index_source
            # a database that was refused at the start has none before it to fall back to
            if self.upstream_source.error and not self.index_source.in_force.entries:
                return None
        try:
            return source.current()
        except Invalid:  # the database cannot be read
            return None


class FactFinder:
    """
    Finds the facts that the rules of an index ask for. Threads may share it.

    Args:
        rules: The rules of the index.
        files: Where the core metadata of private files is.
        licences: Finds the licences of private files, and of public ones.
        keys: The keys that the rules are made of.
        advisories: The database of the vulnerabilities that count, or None without one.
        first_uses: When exceptions from the cooldown for one version were first used.
    """

    def __init__(
        self,
        rules: Rules,
        files: Files,
        licences: LicenceFinder,
        keys: RuleKeys = NO_KEYS,
        advisories: Advisories | None = None,
        first_uses: "FirstUses | None" = None,
    ) -> None:
        self.asks_licences = Code.LICENCE in rules.codes
        self.asks_advisories = Code.VULNERABLE in rules.codes
        self._asks_attestations = Code.NOT_VERIFIED in rules.codes
        self._asks_decisions = not rules.codes.isdisjoint(_DECIDABLE_CODES)
        self._files = files
        self._licences = licences
        self._advisories = advisories
        self._exceptions = parse_exceptions(keys.cooldown_allow)
        # without a cooldown an exception from it means nothing, and no use of it is written
        self._first_uses = None
        if keys.cooldown_days and self._exceptions.versions:
            self._first_uses = first_uses

    @property
    def looks_again(self) -> bool:
        """Whether something may become known that changes what is shown of a page."""
        return self.asks_licences or self.asks_advisories or self._asks_attestations

    def private_facts(self, project: Project) -> Iterator[Facts]:
        """
        Yield the facts about the files of a private project, in their order.

        There are no decisions, as who may publish here has approved what they publish, and no
        advisories, as these are about public packages. The provenance that a file has was verified
        at its upload. A promoted file counts from its promotion on. A licence is `LOOKED_UP_LATER`
        if no rule asks for it. Raises Unavailable if the store does not answer.
        """
        read_metadata = partial(self._files.core_metadata, project.name)
        for file in project.files:
            licence = LOOKED_UP_LATER
            if self.asks_licences:
                licence = self._licences.of_private(project.name, file, read_metadata)
            exempt = self._exceptions.version_for(project.name, file.version)
            yield Facts(
                name=project.name,
                version=file.version,
                uploaded_at=file.promoted_at or file.uploaded_at,
                licence=licence,
                is_exempt=exempt is not None,
                is_private=True,
                is_yanked=file.yanked is not None,
                is_attested=file.has_provenance,
            )

    def read_public_state(self, listing: "UpstreamListing", now: datetime) -> PublicState:
        """
        Return what decides about public files now, besides the page and the decisions.

        The first use of an exception from the cooldown for the page is written. Raises Unavailable
        if the store does not answer, or a first use cannot be written.
        """
        licences: Snapshot[Any] = NOTHING_NOTED
        first_uses: Snapshot[Any] = NOTHING_NOTED
        licence_count = 0
        # only what rules ask for is read: each of these may be a request to a bucket
        if self.asks_licences:
            licences = self._licences.read_notes()
            licence_count = self._licences.count
        advisories = None
        if self.asks_advisories and self._advisories is not None:
            advisories = self._advisories.current()
        if self._first_uses is not None:
            noted_uses = self._first_uses.notes.get()
            first_uses = self._first_uses.note(listing.origin.page, now, noted_uses)
        provenances = ""
        if self._asks_attestations:
            provenances = listing.origin.policy.sidecar_facts.provenances.generation
        return PublicState(advisories, licences, first_uses, licence_count, provenances)

    def licences_of(
        self, listing: "UpstreamListing", versions: Collection[str]
    ) -> Mapping[str, str]:
        """
        Return the licences of the files of some versions, as far as they are known, by filename.

        A licence that nobody has looked up yet is `LOOKED_UP_LATER`. `versions` are written as on
        the page. Raises Unavailable if the store does not answer.
        """
        page = listing.origin.page
        files = [file for file in page.files if file.version in versions]
        noted_licences = self._licences.read_notes()
        return self._licences.remembered_licences(page.name, files, noted_licences)

    def public_facts(
        self, listing: "UpstreamListing", state: PublicState, *, with_sidecars: bool = True
    ) -> "PageFacts":
        """
        Return what is known of the files of a public project.

        `state` is what `read_public_state` has returned. A licence that nobody has looked up yet is
        `LOOKED_UP_LATER`. Unless `with_sidecars` is set, each licence is, and attestations count as
        not looked at. Raises Unavailable if the store does not answer.
        """
        # a process that has a page of an upstream index has loaded this module already
        from wheelyard.upstream.policy.facts import PageFacts  # noqa: PLC0415

        page = listing.origin.page
        decisions = UNDECIDED
        if self._asks_decisions:
            decisions = listing.origin.policy.decisions_of(page.name)
        hits = None
        if state.advisories is not None:
            versions = [file.version for file in listing.files]
            hits = state.advisories.hits(page.name, versions)
        licences = {}
        if self.asks_licences and with_sidecars:
            licences = self._licences.remembered_licences(page.name, page.files, state.licences)
        faults: Mapping[str, str] = {}
        if self._asks_attestations and with_sidecars:
            provenances = listing.origin.policy.sidecar_facts.provenances
            faults = provenances.list_known(page, listing.files)
        first_uses = {}
        if self._first_uses is not None:
            first_uses = dict(self._first_uses.of_page(page, state.first_uses))
        return PageFacts(
            page=page,
            decisions=decisions,
            hits=hits,
            licences=licences,
            attestation_faults=faults,
            first_uses=first_uses,
        )
