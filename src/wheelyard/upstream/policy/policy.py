"""The policy of an index: what of upstream indexes it shows, and why it does not show the rest."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog.document_cache import Snapshot
from wheelyard.catalog.journaled_documents import DecisionRecords
from wheelyard.concurrency.caches import LruCache
from wheelyard.model.public_packages import UNDECIDED, DecisionList, ProjectDecisions, Verdict
from wheelyard.storage.base import ABSENT
from wheelyard.upstream.page import UpstreamFile, UpstreamPage
from wheelyard.upstream.policy import rules
from wheelyard.upstream.policy.advisories import AdvisoryTable
from wheelyard.upstream.policy.evaluation import Evaluation, FirstUses, KnownLicences, PageView
from wheelyard.upstream.policy.osv_source import OsvSource
from wheelyard.upstream.policy.rules import Code, NoteDocument, PolicyRules, Reason

VIEW_BYTES: Final = 16 * 1024**2
"""Estimated bytes of memory for the views of pages."""
PAGE_BYTES, SHOWN_BYTES, HIDDEN_BYTES = 1000, 8, 400
"""Estimated bytes of a view without its files, of a file that is shown, and of one that is not."""
NO_ADVISORIES: Final = AdvisoryTable("")
NOT_NOTED: Final = Snapshot[Any](None, ABSENT, 0.0, 0.0, 0)


class PolicyState(Struct, frozen=True):
    """What decides besides the rules, the page and the time, as it was read once."""

    decided: Snapshot[DecisionList]
    advisories: AdvisoryTable
    licences: Snapshot[NoteDocument[str]]
    first_uses: Snapshot[NoteDocument[datetime]]

    @property
    def generation(self) -> str:
        """Another one whenever any of it is."""
        documents = (self.decided, self.licences, self.first_uses)
        versions = (document.version for document in documents)
        return "/".join((*versions, self.advisories.generation))

    @property
    def decisions(self) -> DecisionList:
        """What was approved and blocked."""
        return self.decided.value or DecisionList()


class _CachedView(Struct, frozen=True):
    view: PageView
    made_at: datetime
    made_of: tuple[object, ...]
    """What of the page it was made of."""

    def is_valid(self, made_of: tuple[object, ...], now: datetime, generation: str) -> bool:
        """Return whether it is of the same files, by the same decisions, and in its time."""
        end = self.view.changes_at
        is_in_time = self.made_at <= now and (end is None or now < end)
        return is_in_time and self.view.generation == generation and self.made_of == made_of


class Policy:
    """
    Decides what is shown.

    Threads may share it. `records` has the decisions in the store. `osv` is the database of
    malicious and vulnerable versions. `licences` is given if licences are blocked, and `first_uses`
    if there are exceptions from the cooldown for one version.
    """

    def __init__(
        self,
        rules: PolicyRules,
        records: DecisionRecords,
        osv: OsvSource | None = None,
        licences: KnownLicences | None = None,
        first_uses: FirstUses | None = None,
    ) -> None:
        self.rules = rules
        self.records = records
        self.osv = osv
        self._runtime = records.commits.runtime
        self._licences = licences
        self._first_uses = first_uses
        self._views: LruCache[tuple[str, str], _CachedView] = LruCache(VIEW_BYTES)
        self._is_undecided = False

    @property
    def generation(self) -> str | None:
        """
        The generation that a view has that is made now, or None if something has to be read first.

        It changes when anything that decides does, except the page and the time. This reads no
        remote store, and no file of advisories. Raises Unavailable if a local store cannot be read.
        """
        decided = self.records.peek()
        advisories = self.osv.peek() if self.osv else NO_ADVISORIES
        licences = self._licences.notes.peek() if self._licences else NOT_NOTED
        first_uses = self._first_uses.notes.peek() if self._first_uses else NOT_NOTED
        if decided is None or advisories is None or licences is None or first_uses is None:
            return None
        return PolicyState(decided, advisories, licences, first_uses).generation

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
            self._licences.notes.get() if self._licences else NOT_NOTED,
            self._first_uses.notes.get() if self._first_uses else NOT_NOTED,
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
    ) -> Reason | None:
        """
        Return why the upstream is not asked for a name, or None if it may be.

        With a version, it is the reason for that one. Without `state`, what decides is read. Raises
        Unavailable if the store does not say.
        """
        if not self.rules.accept(name):
            is_denied = all(names.deny.match(name) for names in self.rules.names)
            return rules.denied(name) if is_denied else rules.not_listed(name)
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
        made_of = page.status, page.reason, page.empty_versions, page.files
        cached = self._views.get(key)
        if cached is not None and cached.is_valid(made_of, now, state.generation):
            return cached.view
        view = self._evaluate(page, now, state).view(state.generation)
        size = PAGE_BYTES + SHOWN_BYTES * len(view.shown) + HIDDEN_BYTES * len(view.hidden)
        self._views.put(key, _CachedView(view, now, made_of), size)
        return view

    def reasons(self, page: UpstreamPage, now: datetime) -> Mapping[str, tuple[Reason, ...]]:
        """
        Return every reason why files of a page are not shown, by filename.

        A file that is shown has no entry. Raises as `view`.
        """
        evaluation = self._evaluate(page, now, self._note_first_uses(page, now))
        by_filename = {file.filename: tuple(evaluation.reasons(file)) for file in page.files}
        return {filename: why for filename, why in by_filename.items() if why}

    def refuses_file(
        self, page: UpstreamPage, file: UpstreamFile, view: PageView | None = None
    ) -> Reason | None:
        """
        Return why a file of a page, or its metadata, is not sent, or None if it may be.

        It may also be one that the page does not list any more, and that is kept. `view` is the one
        of the page that has just been made. Without it, it is made. If licences are blocked, the
        metadata of the file may be fetched for that. Raises as `view`, and Unavailable if that
        metadata cannot be had now.
        """
        now = self._runtime.now()
        if page.by_filename.get(file.filename) != file:
            page = replace(page, files=(*page.files, file))
            reason = next(
                self._evaluate(page, now, self._note_first_uses(page, now)).reasons(file), None
            )
        else:
            reason = (view or self.view(page, now)).hidden.get(file.filename)
        return reason or self.refuses_licence(page, file)

    def refuses_licence(self, page: UpstreamPage, file: UpstreamFile) -> Reason | None:
        """
        Return why a file is not sent if its licence is blocked and nobody has lifted that.

        The metadata of the file may be fetched. Raises Unavailable if it cannot be had now.
        """
        if self._licences is None:
            return None
        decision = self.decisions_of(page.name).for_file(file.version, file.sha256)
        if decision is not None and Code.LICENCE in decision.despite:
            return None
        licence = self._licences.find(page, file)
        target = f"{page.name} {file.version}"
        return None if licence is None else rules.licence(target, licence)

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
            if self.rules.accept(name) and self._refuses(name, decisions) is None:
                yield name, decisions

    def decisions_of(self, name: NormalizedName) -> ProjectDecisions:
        """
        Return what was decided about a project.

        Raises Unavailable if the store does not say.
        """
        return (self._load_decisions().value or DecisionList()).for_project(name)

    def _refuses(
        self, name: NormalizedName, decisions: ProjectDecisions, version: str = ""
    ) -> Reason | None:
        """Return why an upstream index that accepts a name is not asked for it."""
        if _approves(decisions) or not (decisions.project or self.rules.needs_approval):
            return None
        block = decisions.for_version(version) if version else decisions.project
        if block is not None:
            return rules.blocked(f"{name} {version}".rstrip(), block)
        # somebody has blocked a version, which says more than that nobody has approved another
        latest = max(decisions.all, key=lambda decision: decision.at, default=None)
        return rules.not_approved(name, None if version else latest)

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

    def _evaluate(self, page: UpstreamPage, now: datetime, state: PolicyState) -> Evaluation:
        licences, first_uses = self._licences, self._first_uses
        versions = dict.fromkeys((*(file.version for file in page.files), *page.empty_versions))
        return Evaluation(
            rules=self.rules,
            page=page,
            now=now,
            decisions=state.decisions.for_project(page.name),
            advisories=state.advisories.hits(page.name, versions),
            licences=licences.blocked(page, state.licences) if licences else {},
            first_uses=first_uses.of_page(page, state.first_uses) if first_uses else {},
        )


def _approves(decisions: ProjectDecisions) -> bool:
    return any(decision.verdict is Verdict.APPROVED for decision in decisions.all)
