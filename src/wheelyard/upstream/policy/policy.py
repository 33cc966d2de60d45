"""The policy of an index: what of upstream indexes it shows, and why it does not show the rest."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Snapshot, damaged
from wheelyard.catalog.journals import DecisionRecords
from wheelyard.concurrency.caches import LruCache
from wheelyard.model.decisions import UNDECIDED, DecisionList, ProjectDecisions, Verdict
from wheelyard.model.project import Status
from wheelyard.upstream.page import UpstreamFile, UpstreamPage
from wheelyard.upstream.policy import reasons
from wheelyard.upstream.policy.advisories import AdvisoryTable
from wheelyard.upstream.policy.evaluation import Evaluation, PageView
from wheelyard.upstream.policy.first_uses import FirstUseList, FirstUses
from wheelyard.upstream.policy.known_licences import KnownLicences, LicenceList
from wheelyard.upstream.policy.osv_source import OsvSource
from wheelyard.upstream.policy.reasons import Code, Reason
from wheelyard.upstream.policy.rules import PolicyRules

VIEW_BYTES: Final = 16 * 1024**2
"""Estimated bytes of memory for the views of pages."""
PAGE_BYTES, SHOWN_BYTES, HIDDEN_BYTES = 1000, 8, 400
"""Estimated bytes of a view without its files, of a file that is shown, and of one that is not."""
NO_ADVISORIES: Final = AdvisoryTable("")


class _CachedView(Struct, frozen=True):
    view: PageView
    made_at: datetime
    files: tuple[UpstreamFile, ...]
    """Those that it was made from."""
    empty_versions: tuple[str, ...]
    """Those of the page."""
    status: tuple[Status, str]
    """The status of the project, and its reason."""


class _Facts(Struct, frozen=True):
    """What decides at one moment, besides the rules."""

    generation: str
    decisions: DecisionList
    advisories: AdvisoryTable
    licences: LicenceList | None
    first_uses: FirstUseList | None


class Policy:
    """
    Decides what is shown; safe to share by threads.

    Args:
        rules: Those of the settings.
        records: The decisions in the store.
        osv: The database of malicious and vulnerable versions, if there is one.
        licences: What is known of licences, if some are blocked.
        first_uses: Those of exceptions from the cooldown for one version, if there are some.
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
        The generation that a view has that is made now; None if something has to be read first.

        It changes when anything that decides does, except the page and the time. This reads no
        remote store, and no file of advisories.
        """
        decisions = self.records.peek()
        advisories = self.osv.peek() if self.osv else NO_ADVISORIES
        licences = self._licences.peek() if self._licences else None
        first_uses = self._first_uses.peek() if self._first_uses else None
        if decisions is None or advisories is None:
            return None
        if (licences is None and self._licences) or (first_uses is None and self._first_uses):
            return None
        return _generation(decisions, advisories, licences, first_uses)

    def load(self) -> tuple[str, ...]:
        """
        Read the database of advisories, without which no server starts; return warnings about it.

        Raise Invalid (code `bad_setting`) if it cannot be read and none was accepted before, and
        Unavailable if the store does not say what was.
        """
        if self.osv is None:
            return ()
        self.osv.load()
        return self.osv.warnings

    def refuses_name(
        self, name: NormalizedName, decided: Snapshot[DecisionList] | None = None
    ) -> Reason | None:
        """
        Return why the upstream is not asked for a name; None if it may be.

        `decided` is what the method of this name has just returned; it is called without.
        Raises Unavailable if the store does not say what was decided.
        """
        if not self.rules.accept(name):
            is_denied = all(each.deny.match(name) for each in self.rules.names)
            return reasons.denied(name) if is_denied else reasons.not_listed(name)
        found = (decided or self.decided()).value or DecisionList()
        return self._refuses(name, found.of_project(name))

    def view(
        self, page: UpstreamPage, now: datetime, decided: Snapshot[DecisionList] | None = None
    ) -> PageView:
        """
        Return what of a page is shown; cached as long as nothing that decides changes.

        `decided` is as for `refuses_name`. Raises Unavailable if the store does not say what was
        decided.
        """
        facts = self._facts(page, now, decided or self.decided())
        key = page.upstream, page.name
        cached = self._views.get(key)
        if cached is not None and _is_valid(cached, page, now, facts.generation):
            return cached.view
        view = self._evaluate(page, now, facts).view(facts.generation)
        status = page.status, page.reason
        made = _CachedView(view, now, page.files, page.empty_versions, status)
        size = PAGE_BYTES + SHOWN_BYTES * len(view.shown) + HIDDEN_BYTES * len(view.hidden)
        self._views.put(key, made, size)
        return view

    def reasons(self, page: UpstreamPage, now: datetime) -> Mapping[str, tuple[Reason, ...]]:
        """Return every reason why files of a page are not shown, by filename."""
        evaluation = self._evaluate(page, now, self._facts(page, now, self.decided()))
        found = {each.filename: tuple(evaluation.reasons(each)) for each in page.files}
        return {filename: some for filename, some in found.items() if some}

    def refuses_file(
        self, page: UpstreamPage, file: UpstreamFile, view: PageView | None = None
    ) -> Reason | None:
        """
        Return why a file of a page, or its metadata, is not sent; None if it may be.

        It may also be one that the page does not list any more, and that is kept. `view` is the
        one of the page that has just been made; without, it is made. If licences are blocked, the
        metadata of the file may be fetched for that. Raises Unavailable if something that decides
        cannot be read now.
        """
        if page.by_filename.get(file.filename) != file:
            page, now = replace(page, files=(*page.files, file)), self._runtime.now()
            facts = self._facts(page, now, self.decided())
            found = next(self._evaluate(page, now, facts).reasons(file), None)
        else:
            found = (view or self.view(page, self._runtime.now())).hidden.get(file.filename)
        if found is not None or self._licences is None:
            return found
        decision = self.decisions_of(page.name).of_file(file.version, file.sha256)
        if decision is not None and Code.LICENCE in decision.despite:
            return None
        licence = self._licences.find(page, file)
        target = f"{page.name} {file.version}"
        return None if licence is None else reasons.licence(target, licence)

    def accepted(
        self, names: Iterable[NormalizedName]
    ) -> Iterator[tuple[NormalizedName, ProjectDecisions]]:
        """
        Yield those of some names, and of all that are approved, that `refuses_name` does not.

        Each comes with what was decided about it; that is read once. Raises Unavailable as above.
        """
        decided = (self.decided().value or DecisionList()).by_project
        approved = (name for name, decisions in decided.items() if _approves(decisions))
        for name in {*names, *approved}:
            decisions = decided.get(name, UNDECIDED)
            if self.rules.accept(name) and self._refuses(name, decisions) is None:
                yield name, decisions

    def decisions_of(self, name: NormalizedName) -> ProjectDecisions:
        """Return what was decided about a project; raise Unavailable if the store does not say."""
        return (self.decided().value or DecisionList()).of_project(name)

    def _refuses(self, name: NormalizedName, decisions: ProjectDecisions) -> Reason | None:
        """Return why an upstream index that accepts a name is not asked for it."""
        if _approves(decisions):
            return None
        if decisions.project is not None:
            return reasons.blocked(name, decisions.project)
        return reasons.not_approved(name) if self.rules.needs_approval else None

    def decided(self) -> Snapshot[DecisionList]:
        """Return all decisions; raise Unavailable if the store does not say, or has lost them."""
        found = self.records.get()
        if found.value is None and not self._is_undecided:
            if self.records.exist():
                raise damaged(
                    f"The document {keys.DECISIONS} is lost: what is blocked cannot be said. Run "
                    "'wheelyard check --rebuild'.",
                )
            self._is_undecided = True
        return found

    def _facts(
        self, page: UpstreamPage, now: datetime, decisions: Snapshot[DecisionList]
    ) -> _Facts:
        advisories = self.osv.current() if self.osv else NO_ADVISORIES
        licences = self._licences.get() if self._licences else None
        first_uses = self._first_uses.note(page, now) if self._first_uses else None
        return _Facts(
            _generation(decisions, advisories, licences, first_uses),
            decisions.value or DecisionList(),
            advisories,
            licences.value if licences else None,
            first_uses.value if first_uses else None,
        )

    def _evaluate(self, page: UpstreamPage, now: datetime, facts: _Facts) -> Evaluation:
        known, uses = self._licences, self._first_uses
        versions = dict.fromkeys((*(each.version for each in page.files), *page.empty_versions))
        return Evaluation(
            rules=self.rules,
            page=page,
            now=now,
            decisions=facts.decisions.of_project(page.name),
            advisories=facts.advisories.hits(page.name, versions),
            licences=known.blocked(page, facts.licences) if known else {},
            first_uses=uses.of(page, facts.first_uses) if uses else {},
        )


def _approves(decisions: ProjectDecisions) -> bool:
    return any(decision.verdict is Verdict.APPROVED for decision in decisions.all)


def _generation(
    decisions: Snapshot[DecisionList],
    advisories: AdvisoryTable,
    licences: Snapshot[LicenceList] | None,
    first_uses: Snapshot[FirstUseList] | None,
) -> str:
    documents = (decisions, licences, first_uses)
    versions = "/".join(each.version if each else "" for each in documents)
    return f"{versions}/{advisories.generation}"


def _is_valid(cached: _CachedView, page: UpstreamPage, now: datetime, generation: str) -> bool:
    """Return whether a view is of the same files, by the same decisions, and in its time."""
    view, files = cached.view, cached.files
    return (
        view.generation == generation
        and cached.made_at <= now
        and (view.changes_at is None or now < view.changes_at)
        and cached.status == (page.status, page.reason)
        and cached.empty_versions == page.empty_versions
        and (files is page.files or files == page.files)
    )
