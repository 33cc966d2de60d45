"""The policy of an index: what it shows of upstream indexes, and why it does not show the rest."""

from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from datetime import datetime
from operator import attrgetter
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
    Decision,
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
PAGE_BYTES: Final = 1000
"""Estimated bytes of a view without its files."""
SHOWN_BYTES: Final = 8
"""Estimated bytes of a shown file in a view."""
HIDDEN_BYTES: Final = 400
"""Estimated bytes of a hidden file in a view."""
NO_ADVISORIES: Final = AdvisoryTable("")
NOT_NOTED: Final = Snapshot[Any](None, ABSENT, 0.0, 0.0, 0)
"""Notes that were not read, as no rule needs them."""
_CODES_WITHOUT_KEYS: Final = frozenset({Code.QUARANTINED, Code.BLOCKED, Code.MALICIOUS})
"""The codes of reasons that hide files although no key of a rule is set."""


class PageView(Struct, frozen=True):
    """Which files of a page are shown now, and why the others are not."""

    shown: tuple[UpstreamFile, ...]
    """Sorted by filename."""
    hidden: Mapping[str, FileReason]
    """The most serious reason of each file that is not shown, by filename."""
    changes_at: datetime | None
    """The next moment at which time alone shows more files, or None if it never does."""
    generation: str
    """The generation of the policy when this view was made."""
    empty_versions: tuple[str, ...] = ()
    """Versions without files that are shown."""


class PolicyState(Struct, frozen=True):
    """What decides besides the rules, the page and the time, as it was read at one moment."""

    decisions_snapshot: Snapshot[DecisionList]
    advisories: AdvisoryTable
    licences: Snapshot[NoteDocument[str]]
    first_uses: Snapshot[NoteDocument[datetime]]
    provenances: str
    """`PageProvenances.generation`, or an empty text if no rule asks."""

    @property
    def generation(self) -> str:
        """A text that changes whenever one of the fields does."""
        generations = (
            self.decisions_snapshot.version,
            self.licences.version,
            self.first_uses.version,
            self.advisories.generation,
            self.provenances,
        )
        return "/".join(generations)

    @property
    def decisions(self) -> DecisionList:
        """All decisions in force."""
        return self.decisions_snapshot.value or DecisionList()


class Policy:
    """
    Decides what is shown.

    Threads may share it.

    Args:
        keys: The keys of the rules.
        names: The names that each upstream index is asked for.
        records: The decisions in the store.
        sidecar_facts: Finds licences, and verifies attestations. The notes of the store are read if
            a rule needs them.
        first_uses: When exceptions from the cooldown for one version were first used. The notes are
            read if there are such exceptions.
        osv: The database of malicious and vulnerable versions, or None without one.
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
        self._first_uses: FirstUses | None = None
        # without a cooldown, exceptions mean nothing, and no use of one is read or written
        if keys.cooldown_days and first_uses.exceptions.versions:
            self._first_uses = first_uses
        self._views: AnswerCache[tuple[str, str], PageView] = AnswerCache(VIEW_BYTES)
        self._is_undecided = False
        """Whether this process knows that nothing was ever decided."""

    def of_names(self, names: tuple[NameFilter, ...]) -> "Policy":
        """Return the same policy for some of the upstream indexes."""
        policy = copy(self)
        policy.names = names
        return policy

    @property
    def generation(self) -> str | None:
        """
        The generation of a view that is made now, or None if something has to be read first.

        It changes when anything that decides does, except the page and the time. No remote store
        and no file of advisories is read. Raises Unavailable if a local store cannot be read.
        """
        decisions_snapshot = self.records.peek()
        advisories: AdvisoryTable | None = NO_ADVISORIES
        if self.osv is not None:
            advisories = self.osv.peek()
        licences: Snapshot[NoteDocument[str]] | None = NOT_NOTED
        notes = self.sidecar_facts.licences.finder.notes
        if self.licence_rule and notes:
            licences = notes.peek()
        first_uses: Snapshot[NoteDocument[datetime]] | None = NOT_NOTED
        if self._first_uses is not None:
            first_uses = self._first_uses.notes.peek()
        if decisions_snapshot is None or advisories is None:
            return None
        if licences is None or first_uses is None:
            return None
        state = PolicyState(decisions_snapshot, advisories, licences, first_uses, self._provenances)
        return state.generation

    @property
    def _provenances(self) -> str:
        """The generation of what is known of attestations, or an empty text if no rule asks."""
        if Code.NOT_VERIFIED not in self.rules.codes:
            return ""
        return self.sidecar_facts.provenances.generation

    def state(self) -> PolicyState:
        """
        Read what decides now, and return it.

        Raises Unavailable if the store does not say. Raises Invalid (code `bad_setting`) if `load`
        was not called before, the database of advisories is refused, and none was accepted before.
        """
        decisions_snapshot = self._load_decisions()
        advisories = NO_ADVISORIES
        if self.osv is not None:
            advisories = self.osv.current()
        licences: Snapshot[NoteDocument[str]] = NOT_NOTED
        if self.licence_rule:
            licences = self.sidecar_facts.licences.finder.read_notes()
        first_uses: Snapshot[NoteDocument[datetime]] = NOT_NOTED
        if self._first_uses is not None:
            first_uses = self._first_uses.notes.get()
        return PolicyState(decisions_snapshot, advisories, licences, first_uses, self._provenances)

    def load(self) -> tuple[str, ...]:
        """
        Read the database of advisories, without which no server starts, and return its warnings.

        An accepted database is kept in the store. Raises Invalid (code `bad_setting`) if the
        database is refused (it cannot be read, or has no usable entry), and none was accepted
        before. Raises Unavailable if the store does not answer.
        """
        if self.osv is None:
            return ()
        self.osv.load()
        return self.osv.warnings

    def refusal_of_name(
        self, name: NormalizedName, state: PolicyState | None = None, version: str = ""
    ) -> FileReason | None:
        """
        Return why no upstream index is asked for a name, or None if one may be asked.

        With a version, the reason is that for the version. Without `state`, the decisions are read.
        Raises Unavailable if the store does not say.
        """
        # the settings come first, and no approval lifts what the operator has written there
        if not self.accepts(name):
            is_denied = all(names.deny.match(name) for names in self.names)
            return denied(name) if is_denied else not_listed(name)
        decisions = state.decisions.for_project(name) if state else self.decisions_of(name)
        return self._refusal_by_decisions(name, decisions, version)

    def view(self, page: UpstreamPage, now: datetime, state: PolicyState | None = None) -> PageView:
        """
        Return which files of a page are shown, and why the others are not.

        The view is cached as long as nothing that decides changes. Without `state`, what decides is
        read. The first use of an exception from the cooldown is written. Raises Unavailable if the
        store does not answer. Raises Invalid (code `bad_setting`) if the database of advisories is
        refused, and none was accepted before.
        """
        # first uses are written before the view is made, as its generation has them
        state = self._note_first_uses(page, now, state)
        key = (page.upstream, page.name)
        # the generation first, which is compared fast, and differs most often
        made_of = (state.generation, page.status, page.reason, page.empty_versions, page.files)
        view = self._views.get(key, made_of, now)
        if view is None:
            view = self._judge(self._facts(page, state), now, state.generation)
            size = PAGE_BYTES + SHOWN_BYTES * len(view.shown) + HIDDEN_BYTES * len(view.hidden)
            self._views.put(key, made_of, now, view, view.changes_at, size)
        return view

    def reasons(self, page: UpstreamPage, now: datetime) -> Mapping[str, tuple[FileReason, ...]]:
        """
        Return every reason why files of a page are not shown, by filename.

        A file that is shown has no entry. The first use of an exception from the cooldown is
        written. Raises Unavailable if the store does not answer. Raises Invalid (code
        `bad_setting`) if the database of advisories is refused, and none was accepted before.
        """
        facts = self._facts(page, self._note_first_uses(page, now))
        by_filename = dict[str, tuple[FileReason, ...]]()
        for file in page.files:
            reasons = self.rules.reasons(facts.of(file), now)
            if reasons:
                by_filename[file.filename] = reasons
        return by_filename

    def refusal_of_file(
        self, page: UpstreamPage, file: UpstreamFile, view: PageView | None = None
    ) -> FileReason | None:
        """
        Return why a file of a page, or its metadata, is not sent, or None if it may be.

        The file may also be one that the page does not list any more, and that is kept. `view` is
        the view of the page that has just been made. Without it, a view is made. Metadata and
        provenance of the file may be fetched. A licence that hides the file is noted in the store,
        and so is the first use of an exception from the cooldown.

        Raises Unavailable (a code of `UPSTREAM_CODES`) if metadata or provenance cannot be had now.
        Raises Unavailable if the store does not answer. Raises Invalid (code `bad_setting`) if the
        database of advisories is refused, and none was accepted before.
        """
        now = self._runtime.now()
        if page.by_filename.get(file.filename) == file:
            if view is None:
                view = self.view(page, now)
            reason = view.hidden.get(file.filename)
        else:
            # judged as if the page still listed it, beside whatever has its name there now
            page = replace(page, files=(*page.files, file))
            facts = self._facts(page, self._note_first_uses(page, now))
            reason = self.rules.first(facts.of(file), now)
        if reason is not None:
            return reason
        # last, as this may fetch sidecars, and most hidden files are hidden by what is known
        return self.refusal_by_sidecars(page, file)

    @property
    def asks_sidecars(self) -> bool:
        """Whether sidecars of a file may have to be fetched before the file can be judged."""
        return not self.rules.codes.isdisjoint(FETCHED)

    def refusal_by_sidecars(self, page: UpstreamPage, file: UpstreamFile) -> FileReason | None:
        """
        Return why the licence or the attestations of a file hide it, unless an approval lifts that.

        Its metadata and its provenance may be fetched. A licence that hides the file is noted in
        the store. Raises Unavailable (a code of `UPSTREAM_CODES`) if metadata or provenance cannot
        be had now. Raises Unavailable if the store does not answer.
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
        """Return whether the settings let an upstream index be asked for a name."""
        return any(names.accepts(name) for names in self.names)

    def accepted(
        self, names: Iterable[NormalizedName]
    ) -> Iterator[tuple[NormalizedName, ProjectDecisions]]:
        """
        Yield the names that `refusal_of_name` does not refuse, of `names` and all approved names.

        Each comes with the decisions about it, which are read once. Raises Unavailable if the store
        does not say.
        """
        document = self._load_decisions().value or DecisionList()
        decisions_by_name = document.by_project
        candidates = set(names)
        for name, decisions in decisions_by_name.items():
            if _approves(decisions):
                candidates.add(name)
        for name in candidates:
            decisions = decisions_by_name.get(name, UNDECIDED)
            if self.accepts(name) and self._refusal_by_decisions(name, decisions) is None:
                yield name, decisions

    def decisions_of(self, name: NormalizedName) -> ProjectDecisions:
        """
        Return the decisions about a project.

        Raises Unavailable if the store does not say.
        """
        document = self._load_decisions().value or DecisionList()
        return document.for_project(name)

    def _refusal_by_decisions(
        self, name: NormalizedName, decisions: ProjectDecisions, version: str = ""
    ) -> FileReason | None:
        """Return why no upstream index is asked for a name that the settings accept, or None."""
        # one approved version is enough to ask for the page, whose other files stay hidden
        if _approves(decisions):
            return None
        needs_approval = Code.NOT_APPROVED in self.rules.codes
        if decisions.project is None and not needs_approval:
            return None
        block = decisions.for_version(version) if version else decisions.project
        if block is not None:
            reason = blocked(f"{name} {version}".rstrip(), block)
            return FileReason(Code.BLOCKED, reason.text, reason.advice)
        latest_decision: Decision | None = None
        if not version:
            # that a version is blocked says more than that no other version is approved
            latest_decision = max(decisions.all, key=attrgetter("at"), default=None)
        reason = not_approved(name, latest_decision)
        return FileReason(Code.NOT_APPROVED, reason.text, reason.advice)

    def _load_decisions(self) -> Snapshot[DecisionList]:
        """
        Return all decisions.

        Raises Unavailable if the store does not answer, or has lost the decisions.
        """
        snapshot = self.records.get()
        if snapshot.value is None and not self._is_undecided:
            # checked until this process knows that nothing was ever decided
            self.records.require_not_lost("what is blocked")
            self._is_undecided = True
        return snapshot

    def _note_first_uses(
        self, page: UpstreamPage, now: datetime, state: PolicyState | None = None
    ) -> PolicyState:
        """Note that exceptions from the cooldown for a page are used, and return the state then."""
        state = state or self.state()
        if self._first_uses is None:
            return state
        first_uses = self._first_uses.note(page, now, state.first_uses)
        return replace(state, first_uses=first_uses)

    def _facts(self, page: UpstreamPage, state: PolicyState) -> PageFacts:
        """Return what is known of the files of a page, by what was read of the store."""
        versions = dict.fromkeys(file.version for file in page.files)  # each once, in order
        versions.update(dict.fromkeys(page.empty_versions))
        licences: Mapping[str, str] = {}
        if self.licence_rule:
            licences = self.sidecar_facts.licences.list_known(
                page, state.licences, stored_only=True
            )
        faults: Mapping[str, str] = {}
        if Code.NOT_VERIFIED in self.rules.codes:
            # `refusal_by_sidecars` verifies the others when a client wants the file
            faults = self.sidecar_facts.provenances.remembered(page.files)
        first_uses: Mapping[str, datetime] = {}
        if self._first_uses is not None:
            first_uses = self._first_uses.of_page(page, state.first_uses)
        return PageFacts(
            page=page,
            attestation_faults=faults,
            decisions=state.decisions.for_project(page.name),
            hits=state.advisories.hits(page.name, versions),
            licences=licences,
            first_uses=first_uses,
        )

    def _judge(self, facts: PageFacts, now: datetime, generation: str) -> PageView:
        """Return which files of a page are shown now, by the facts about them."""
        page = facts.page
        is_anything_known = facts.decisions.all or facts.hits or page.status is Status.QUARANTINED
        # on most pages of a server without rules, no file has to be looked at
        if self.rules.codes <= _CODES_WITHOUT_KEYS and not is_anything_known:
            return PageView(page.files, NOTHING_HIDDEN, None, generation, page.empty_versions)
        judged = self.rules.judge(page.files, map(facts.of, page.files), now)
        version_facts = map(facts.of_version, page.empty_versions)
        empty_versions = self.rules.shown_versions(version_facts, now)
        # if all files are shown, the tuple of the page itself, which thousands of views share
        files = judged.shown if judged.hidden else page.files
        return PageView(files, judged.hidden, judged.changes_at, generation, empty_versions)


def _approves(decisions: ProjectDecisions) -> bool:
    """Return whether a project, or a version of it, is approved."""
    return any(decision.verdict is Verdict.APPROVED for decision in decisions.all)
