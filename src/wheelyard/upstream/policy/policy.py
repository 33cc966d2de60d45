"""The policy of an index: what of upstream indexes it shows, and why it does not show the rest."""

from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from datetime import datetime
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog.document_cache import Snapshot
from wheelyard.catalog.journaled_documents import DecisionRecords
from wheelyard.catalog.version_notes import NoteDocument
from wheelyard.concurrency.caches import AnswerCache
from wheelyard.model.access import NameFilter
from wheelyard.model.project import Status
from wheelyard.model.public_packages import (
    UNDECIDED,
    DecisionList,
    FileReason,
    ProjectDecisions,
    Verdict,
)
from wheelyard.model.rule_keys import RuleKeys, licence_rule
from wheelyard.model.rule_reasons import (
    FETCHED,
    Code,
    blocked,
    denied,
    not_approved,
    not_listed,
)
from wheelyard.model.rule_rows import rules_of_upstream
from wheelyard.model.rules import NOTHING_HIDDEN, Facts, Rules, lifted_by
from wheelyard.storage.base import ABSENT
from wheelyard.upstream.page import UpstreamFile, UpstreamPage
from wheelyard.upstream.policy.advisories import AdvisoryTable
from wheelyard.upstream.policy.facts import PageFacts
from wheelyard.upstream.policy.first_uses import FirstUses
from wheelyard.upstream.policy.osv_source import OsvSource
from wheelyard.upstream.policy.sidecar_facts import SidecarFacts

VIEW_BYTES: Final = 16 * 1024**2
"""Estimated bytes of memory for the views of pages."""
PAGE_BYTES, SHOWN_BYTES, HIDDEN_BYTES = 1000, 8, 400
"""Estimated bytes of a view without its files, of a file that is shown, and of one that is not."""
NO_ADVISORIES: Final = AdvisoryTable("")
NOT_NOTED: Final = Snapshot[Any](None, ABSENT, 0.0, 0.0, 0)
_WITHOUT_KEYS: Final = frozenset({Code.QUARANTINED, Code.BLOCKED, Code.MALICIOUS})
"""What hides files although no key of a rule is set."""


class PageView(Struct, frozen=True):
    """What of a page is shown now, and why the rest is not."""

    shown: tuple[UpstreamFile, ...]
    """Sorted by filename."""
    hidden: Mapping[str, FileReason]
    """The most serious reason of each file that is not shown, by filename."""
    changes_at: datetime | None
    """The next moment at which files appear by time alone, or None if there is none."""
    generation: str
    """The policy's, as this view was made."""
    empty_versions: tuple[str, ...] = ()
    """Versions without files that are shown."""


class PolicyState(Struct, frozen=True):
    """What decides besides the rules, the page and the time, as it was read once."""

    decided: Snapshot[DecisionList]
    advisories: AdvisoryTable
    licences: Snapshot[NoteDocument[str]]
    first_uses: Snapshot[NoteDocument[datetime]]
    provenances: str
    """`PageProvenances.generation`, or an empty text if no rule asks."""

    @property
    def generation(self) -> str:
        """Another one whenever any of it is."""
        documents = (self.decided, self.licences, self.first_uses)
        versions = (document.version for document in documents)
        return "/".join((*versions, self.advisories.generation, self.provenances))

    @property
    def decisions(self) -> DecisionList:
        """What was approved and blocked."""
        return self.decided.value or DecisionList()


class Policy:
    """
    Decides what is shown.

    Threads may share it.

    Args:
        keys: The keys of its rules.
        names: Which names each upstream index is asked for.
        records: The decisions in the store.
        sidecar_facts: Finds licences, and verifies attestations. The notes of the store are read if
            a rule needs them.
        first_uses: When exceptions from the cooldown for one version were first used. It is read
            if there are any.
        osv: The database of malicious and vulnerable versions.
    """

    def __init__(
        self,
        keys: RuleKeys,
        names: tuple[NameFilter, ...],
        records: DecisionRecords,
        sidecar_facts: SidecarFacts,
        first_uses: FirstUses,
        osv: OsvSource | None = None,
    ) -> None:
        self.rules = rules_of_upstream(keys)
        self.licence_rule = licence_rule(keys, needs_known=False)
        self.names = names
        self.records = records
        self.osv = osv
        self.sidecar_facts = sidecar_facts
        self.first_uses = first_uses
        self._runtime = records.commits.runtime
        has_exceptions = bool(keys.cooldown_days and first_uses.exceptions.versions)
        self._first_uses = first_uses if has_exceptions else None
        self._views: AnswerCache[tuple[str, str], PageView] = AnswerCache(VIEW_BYTES)
        self._is_undecided = False

    def of_names(self, names: tuple[NameFilter, ...]) -> "Policy":
        """Return the same policy for some of the upstream indexes."""
        policy = copy(self)
        policy.names = names
        return policy

    @property
    def generation(self) -> str | None:
        """
        The generation that a view has that is made now, or None if something has to be read first.

        It changes when anything that decides does, except the page and the time. This reads no
        remote store, and no file of advisories. Raises Unavailable if a local store cannot be read.
        """
        decided = self.records.peek()
        advisories = self.osv.peek() if self.osv else NO_ADVISORIES
        notes = self.sidecar_facts.licences.finder.notes if self.licence_rule else None
        licences = notes.peek() if notes else NOT_NOTED
        first_uses = self._first_uses.notes.peek() if self._first_uses else NOT_NOTED
        if decided is None or advisories is None or licences is None or first_uses is None:
            return None
        state = PolicyState(decided, advisories, licences, first_uses, self._provenances)
        return state.generation

    @property
    def _provenances(self) -> str:
        if Code.NOT_VERIFIED not in self.rules.codes:
            return ""
        return self.sidecar_facts.provenances.generation

    def state(self) -> PolicyState:
        """
        Return what decides now.

        Raises Unavailable if the store does not say. Raises Invalid (code `bad_setting`) if `load`
        was not called before, the database of advisories cannot be used, and none was accepted
        before.
        """
        return PolicyState(
            self._load_decisions(),
            self.osv.current() if self.osv else NO_ADVISORIES,
            self.sidecar_facts.licences.finder.read_notes() if self.licence_rule else NOT_NOTED,
            self._first_uses.notes.get() if self._first_uses else NOT_NOTED,
            self._provenances,
        )

    def load(self) -> tuple[str, ...]:
        """
        Read the database of advisories, without which no server starts, and return its warnings.

        Raises Invalid (code `bad_setting`) if it cannot be read and none was accepted before.
        Raises Unavailable if the store does not say what was.
        """
        if self.osv is None:
            return ()
        self.osv.load()
        return self.osv.warnings

    def refuses_name(
        self, name: NormalizedName, state: PolicyState | None = None, version: str = ""
    ) -> FileReason | None:
        """
        Return why the upstream is not asked for a name, or None if it may be.

        With a version, it is the reason for that one. Without `state`, what decides is read. Raises
        Unavailable if the store does not say.
        """
        if not self.accepts(name):
            is_denied = all(names.deny.match(name) for names in self.names)
            return denied(name) if is_denied else not_listed(name)
        decisions = state.decisions.for_project(name) if state else self.decisions_of(name)
        return self._refuses(name, decisions, version)

    def view(self, page: UpstreamPage, now: datetime, state: PolicyState | None = None) -> PageView:
        """
        Return what of a page is shown.

        It is cached as long as nothing that decides changes. Without `state`, what decides is read.
        Raises as `state`, and Unavailable if the first use of an exception cannot be written.
        """
        # first uses are written down before the view, whose generation has them
        state = self._note_first_uses(page, now, state)
        key = page.upstream, page.name
        # the generation first, which is compared in a moment
        made_of = state.generation, page.status, page.reason, page.empty_versions, page.files
        view = self._views.get(key, made_of, now)
        if view is None:
            view = self._judge(self._facts(page, state), now, state.generation)
            size = PAGE_BYTES + SHOWN_BYTES * len(view.shown) + HIDDEN_BYTES * len(view.hidden)
            self._views.put(key, made_of, now, view, view.changes_at, size)
        return view

    def reasons(self, page: UpstreamPage, now: datetime) -> Mapping[str, tuple[FileReason, ...]]:
        """
        Return every reason why files of a page are not shown, by filename.

        A file that is shown has no entry. Raises as `view`.
        """
        facts = self._facts(page, self._note_first_uses(page, now))
        by_filename = {
            file.filename: self.rules.reasons(facts.of(file), now) for file in page.files
        }
        return {filename: why for filename, why in by_filename.items() if why}

    def refuses_file(
        self, page: UpstreamPage, file: UpstreamFile, view: PageView | None = None
    ) -> FileReason | None:
        """
        Return why a file of a page, or its metadata, is not sent, or None if it may be.

        It may also be one that the page does not list any more, and that is kept. `view` is the one
        of the page that has just been made. Without it, it is made. Raises as `view` and
        `refuses_by_sidecars`.
        """
        now = self._runtime.now()
        if page.by_filename.get(file.filename) != file:
            page = replace(page, files=(*page.files, file))
            facts = self._facts(page, self._note_first_uses(page, now))
            reason = self.rules.first(facts.of(file), now)
        else:
            reason = (view or self.view(page, now)).hidden.get(file.filename)
        return reason or self.refuses_by_sidecars(page, file)

    @property
    def asks_sidecars(self) -> bool:
        """Whether something about a file may have to be fetched before it can be judged."""
        return not self.rules.codes.isdisjoint(FETCHED)

    def refuses_by_sidecars(self, page: UpstreamPage, file: UpstreamFile) -> FileReason | None:
        """
        Return why a file is not sent by its licence or its attestations, unless that is lifted.

        Its metadata and its provenance may be fetched. Raises Unavailable if they cannot be had
        now.
        """
        if not self.asks_sidecars:
            return None
        decision = self.decisions_of(page.name).for_file(file.version, file.sha256)
        codes = self.rules.codes & (FETCHED - lifted_by(decision))
        facts = Facts(name=page.name, version=file.version, uploaded_at=file.uploaded_at)
        facts = self.sidecar_facts.complete(facts, page, file, codes, self.licence_rule)
        rows = tuple(row for row in self.rules.rows if row.code in codes)
        return Rules(rows=rows).first(facts, self._runtime.now())

    def accepts(self, name: NormalizedName) -> bool:
        """Return whether an upstream index is asked for a name, as far as the settings say."""
        return any(names.accepts(name) for names in self.names)

    def accepted(
        self, names: Iterable[NormalizedName]
    ) -> Iterator[tuple[NormalizedName, ProjectDecisions]]:
        """
        Yield those of some names, and of all that are approved, that `refuses_name` does not.

        Each comes with what was decided about it, which is read once. Raises Unavailable if the
        store does not say.
        """
        decided = (self._load_decisions().value or DecisionList()).by_project
        approved = (name for name, decisions in decided.items() if _approves(decisions))
        for name in {*names, *approved}:
            decisions = decided.get(name, UNDECIDED)
            if self.accepts(name) and self._refuses(name, decisions) is None:
                yield name, decisions

    def decisions_of(self, name: NormalizedName) -> ProjectDecisions:
        """
        Return what was decided about a project.

        Raises Unavailable if the store does not say.
        """
        return (self._load_decisions().value or DecisionList()).for_project(name)

    def _refuses(
        self, name: NormalizedName, decisions: ProjectDecisions, version: str = ""
    ) -> FileReason | None:
        """Return why an upstream index that accepts a name is not asked for it."""
        needs_approval = Code.NOT_APPROVED in self.rules.codes
        if _approves(decisions) or not (decisions.project or needs_approval):
            return None
        block = decisions.for_version(version) if version else decisions.project
        if block is not None:
            said = blocked(f"{name} {version}".rstrip(), block)
            return FileReason(Code.BLOCKED, said.text, said.advice)
        # somebody has blocked a version, which says more than that nobody has approved another
        latest = max(decisions.all, key=lambda decision: decision.at, default=None)
        said = not_approved(name, None if version else latest)
        return FileReason(Code.NOT_APPROVED, said.text, said.advice)

    def _load_decisions(self) -> Snapshot[DecisionList]:
        """
        Return all decisions.

        Raises Unavailable if the store does not say, or has lost them.
        """
        snapshot = self.records.get()
        if snapshot.value is None and not self._is_undecided:
            # only asked until this process knows that nothing was ever decided
            self.records.require_not_lost("what is blocked")
            self._is_undecided = True
        return snapshot

    def _note_first_uses(
        self, page: UpstreamPage, now: datetime, state: PolicyState | None = None
    ) -> PolicyState:
        """Return the state, after the exceptions from the cooldown for a page are used."""
        state = state or self.state()
        if self._first_uses is None:
            return state
        return replace(state, first_uses=self._first_uses.note(page, now, state.first_uses))

    def _facts(self, page: UpstreamPage, state: PolicyState) -> PageFacts:
        """Return what is known of the files of a page, by what was read of the store."""
        first_uses = self._first_uses
        versions = dict.fromkeys((*(file.version for file in page.files), *page.empty_versions))
        licences: Mapping[str, str] = {}
        if self.licence_rule:
            licences = self.sidecar_facts.licences.known(page, state.licences, is_of_store=True)
        faults: Mapping[str, str] = {}
        if Code.NOT_VERIFIED in self.rules.codes:
            faults = self.sidecar_facts.provenances.remembered(page.files)
        return PageFacts(
            page=page,
            attestation_faults=faults,
            decisions=state.decisions.for_project(page.name),
            hits=state.advisories.hits(page.name, versions),
            licences=licences,
            first_uses=first_uses.of_page(page, state.first_uses) if first_uses else {},
        )

    def _judge(self, facts: PageFacts, now: datetime, generation: str) -> PageView:
        """Return what is shown of a page now."""
        page, rules = facts.page, self.rules
        if rules.codes <= _WITHOUT_KEYS and not (
            facts.decisions.all or facts.hits or page.status is Status.QUARANTINED
        ):
            return PageView(page.files, NOTHING_HIDDEN, None, generation, page.empty_versions)
        judged = rules.judge(page.files, map(facts.of, page.files), now)
        of_versions = map(facts.of_version, page.empty_versions)
        empty_versions = rules.shown_versions(of_versions, now)
        shown = judged.shown if judged.hidden else page.files
        return PageView(shown, judged.hidden, judged.changes_at, generation, empty_versions)


def _approves(decisions: ProjectDecisions) -> bool:
    return any(decision.verdict is Verdict.APPROVED for decision in decisions.all)
