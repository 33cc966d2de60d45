"""Requests for public packages: what clients and people wanted of what is hidden, and who."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.model.decoding import Extensible
from wheelyard.model.distribution_filename import strip_trailing_zeros
from wheelyard.model.public_packages import Decision, DecisionList, ProjectDecisions, Verdict

COOLDOWN: Final = "cooldown"
"""The code of the rule that ends by time alone, or by the approval of a version."""
KEPT_FOR: Final = timedelta(days=14)
"""How long a request waits after somebody has asked last."""
SETTLING: Final = timedelta(minutes=1)
"""How long after an approval another server may still refuse what was approved."""
MAX_REQUESTS: Final = 500
"""Requests that clients have made, and nobody has asked for by a reason."""
MAX_OF_ONE: Final = 200
"""How many of these the same person, or other principal, has made first."""
MAX_ASKS: Final = 500
MAX_ASKS_OF_ONE: Final = 50
"""Reasons that the list has at most: of all people, and of one."""
MAX_WHO: Final = 10
"""Principals that a request names."""

RequestKey = tuple[NormalizedName, str]
"""A project, and a version without trailing zeros, or an empty text for the whole project."""


class Ask(Struct, frozen=True, omit_defaults=True):
    """That a person has asked for a package."""

    by: str
    """The principal."""
    at: datetime
    """UTC."""
    reason: str
    asker: str = ""
    """
    What stands for the person in limits: a provider and the account there, or the principal.

    Empty in requests of older versions.
    """

    def is_by(self, asker: str) -> bool:
        """Return whether it is of somebody, by what stands for them in limits."""
        return asker == (self.asker or self.by)


def _newest_of_each(asks: Iterable[Ask]) -> tuple[Ask, ...]:
    """Return the last reason of each person, the oldest first."""
    newest = dict[str, Ask]()
    for ask in sorted(asks, key=lambda ask: ask.at):
        newest[ask.asker or ask.by] = ask
    return tuple(newest.values())


class PackageRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A hidden project, or a hidden version, that somebody wanted."""

    project: NormalizedName
    version: str = ""
    """The normalised version, or an empty text for the whole project."""
    code: str
    """Of the reason for which it was hidden when somebody asked last."""
    reason: str
    """This reason, in sentences for the user of an installer."""
    who: tuple[str, ...]
    """Principals who asked, at most `MAX_WHO`, the first one first."""
    asker: str = ""
    """What stands in limits for the first of them. Empty if that is the principal."""
    times: int
    """How often it was refused, or asked for. Not every repetition is counted."""
    first: datetime
    last: datetime
    """When it was asked for, UTC."""
    until: datetime | None = None
    """When it is shown by time alone, UTC, or None if it never is."""
    asks: tuple[Ask, ...] = ()
    """People who have said why they need it."""

    @property
    def key(self) -> RequestKey:
        """What it is about."""
        return self.project, strip_trailing_zeros(self.version)

    @property
    def counts_for(self) -> str:
        """What stands in limits for whoever asked first, or an empty text."""
        return self.asker or next(iter(self.who), "")

    @property
    def target(self) -> str:
        """The project, or project and version, in words."""
        return f"{self.project} {self.version}".rstrip()

    def combined(self, other: "PackageRequest") -> "PackageRequest":
        """
        Return this request together with another one for the same.

        What hides the package, and until when, is as the later of both says.
        """
        later = other if other.last >= self.last else self
        who = tuple(dict.fromkeys(self.who + other.who))[:MAX_WHO]
        asks = _newest_of_each(self.asks + other.asks)
        # that of the first principal, which is one of the other request if this names nobody
        asker = self.asker if self.who else other.asker
        return replace(
            later,
            who=who,
            asker=asker,
            times=self.times + other.times,
            first=min(self.first, other.first),
            asks=asks,
        )

    def is_open(self, decided: ProjectDecisions, now: datetime) -> bool:
        """
        Return whether it waits for a decision at `now`.

        A blocked package is asked for again when the block is two weeks old, an approved one when
        something else hides it. Either waits at once when a person gives a reason, and an approval
        that does not lift the rule decides nothing.
        """
        # nothing removes a request at once, so each reader asks whether it still counts
        is_over = now - self.last > KEPT_FOR or (self.until is not None and now >= self.until)
        decision = self.decision(decided)
        if is_over or decision is None:
            return not is_over
        if any(ask.at > decision.at for ask in self.asks):
            return True
        if decision.verdict is Verdict.BLOCKED:
            return now - decision.at > KEPT_FOR
        if not _lets_through(decision, self.code):
            return True
        # another server may not have read the approval yet when it refused this
        return self.last - decision.at > SETTLING

    def is_new(self, decided: ProjectDecisions, told_at: datetime | None) -> bool:
        """
        Return whether nobody was told that this open request waits, as it does now.

        `told_at` is when somebody was told of it last, or None if nobody was. A later reason makes
        it new, and so does a later decision.
        """
        if told_at is None or any(ask.at > told_at for ask in self.asks):
            return True
        decision = self.decision(decided)
        return decision is not None and decision.at > told_at

    def decision(self, decided: ProjectDecisions) -> Decision | None:
        """Return the decision about it, if there is one: of a project, also that of a version."""
        if self.version:
            return decided.for_version(self.version)
        # nothing of the project was shown, and an approved version is
        about = list[Decision]()
        if decided.project is not None:
            about.append(decided.project)
        for decision in decided.versions.values():
            if decision.verdict is Verdict.APPROVED:
                about.append(decision)
        return max(about, key=lambda decision: decision.at, default=None)


def _lets_through(approval: Decision, code: str) -> bool:
    """Return whether an approval lifts the rule of a code."""
    is_lifted = code in {"not_approved", "blocked"} or code in approval.despite
    return is_lifted or (code == COOLDOWN and bool(approval.version))


class RequestList(
    Extensible, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """The stored requests, also some that were decided meanwhile."""

    requests: tuple[PackageRequest, ...] = ()
    """Sorted by project and version."""

    def open_ones(self, decided: DecisionList, now: datetime) -> tuple[PackageRequest, ...]:
        """Return the requests that wait for a decision, those with reasons first, newest first."""
        waiting = list[PackageRequest]()
        for request in self.requests:
            if request.is_open(decided.for_project(request.project), now):
                waiting.append(request)
        waiting.sort(key=lambda request: (bool(request.asks), request.last), reverse=True)
        return tuple(waiting)

    def with_noted(self, noted: Iterable[PackageRequest], now: datetime) -> "RequestList":
        """Return the list with further requests, without old ones, within the limits."""
        current = [request for request in self.requests if now - request.last <= KEPT_FOR]
        current += noted
        merged = dict[RequestKey, PackageRequest]()
        for request in current:
            before = merged.get(request.key)
            if before is not None:
                merged[request.key] = before.combined(request)
            else:
                merged[request.key] = request
        return self._of(merged, now)

    def with_still_hidden(
        self, project: NormalizedName, version: str, hidden: "PackageRequest", now: datetime
    ) -> "RequestList":
        """
        Return the list after an approval of a project, or of a version, that was not enough.

        Whoever waited for it waits for `hidden`, which says what hides it now. If nobody has waited
        for it, the list stays as it is.
        """
        key = project, strip_trailing_zeros(version)
        request = next((request for request in self.requests if request.key == key), None)
        if request is None:
            return self
        changed = replace(
            request,
            version=hidden.version,
            code=hidden.code,
            reason=hidden.reason,
            until=hidden.until,
            times=0,
        )
        return self.with_noted((changed,), now)

    def asked_by(
        self, project: NormalizedName, version: str, decided: ProjectDecisions, now: datetime
    ) -> tuple[str, ...]:
        """
        Return who waits for a version, or without one for the project or any version of it.

        They are principals, at most `MAX_WHO`.
        """
        release = strip_trailing_zeros(version)
        who = dict[str, None]()
        for request in self.requests:
            # whoever waits for a project waits for each version of it
            is_about = not release or request.key[1] in {"", release}
            if request.project == project and is_about and request.is_open(decided, now):
                who |= dict.fromkeys(request.who)
        return tuple(who)[:MAX_WHO]

    def _of(self, merged: Mapping[RequestKey, PackageRequest], now: datetime) -> "RequestList":
        """Return the list with these requests, without old ones, within the limits."""
        current = [request for request in merged.values() if now - request.last <= KEPT_FOR]
        # those with reasons have limits of their own, which are checked when somebody asks
        kept = [request for request in current if request.asks]
        without_reason = [request for request in current if not request.asks]
        # whoever asks for many names pushes out none that waits
        stored = {request.key for request in self.requests}
        without_reason.sort(
            key=lambda request: (request.key in stored, request.times, request.last), reverse=True
        )
        by_asker = Counter[str]()
        count = 0
        for request in without_reason:
            if count < MAX_REQUESTS and by_asker[request.counts_for] < MAX_OF_ONE:
                by_asker[request.counts_for] += 1
                count += 1
                kept.append(request)
        kept.sort(key=lambda request: request.key)
        return replace(self, requests=tuple(kept))
