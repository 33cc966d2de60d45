"""Requests for public packages: which hidden packages clients and people wanted, and who."""

from collections import Counter
from collections.abc import Iterable
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
"""The most requests of clients for which nobody has given a reason."""
MAX_OF_ONE: Final = 200
"""The most requests without a reason that one person, or other principal, has made first."""
MAX_ASKS: Final = 500
"""The most reasons of all people in the list."""
MAX_ASKS_OF_ONE: Final = 50
"""The most reasons of one person in the list."""
MAX_WHO: Final = 10
"""The most principals that a request names."""

RequestKey = tuple[NormalizedName, str]
"""A project, and a version without trailing zeros, or an empty text for the whole project."""


class Ask(Struct, frozen=True, omit_defaults=True):
    """The wish of a person for a package, with a reason."""

    by: str
    """The principal of the person."""
    at: datetime
    """When the person asked, in UTC."""
    reason: str
    asker: str = ""
    """
    What stands for the person in limits: a provider and the account there, or the principal. An
    empty text, from an older version, stands for the principal.
    """

    def is_by(self, asker: str) -> bool:
        """Return whether a person has asked, whom `asker` stands for in limits."""
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
    """The code of the reason for which the package was hidden when somebody asked last."""
    reason: str
    """The reason for which the package was hidden, in sentences for the user of an installer."""
    who: tuple[str, ...]
    """The principals who asked, ten at most, the first one first."""
    asker: str = ""
    """
    What stands in limits for the first principal in `who`, or an empty text if that is the
    principal itself.
    """
    times: int
    """How often the package was refused, or asked for. Not every repetition is counted."""
    first: datetime
    last: datetime
    """When the package was last asked for, in UTC."""
    until: datetime | None = None
    """When the package is shown by time alone, in UTC, or None if it never is."""
    asks: tuple[Ask, ...] = ()
    """The wishes of people who have said why they need the package."""

    @property
    def key(self) -> RequestKey:
        """What the request is about: a project, or one version of it."""
        return self.project, strip_trailing_zeros(self.version)

    @property
    def counts_for(self) -> str:
        """What stands in limits for the principal that asked first, or an empty text."""
        if self.asker or not self.who:
            return self.asker
        return self.who[0]

    @property
    def target(self) -> str:
        """The project, or project and version, in words."""
        return f"{self.project} {self.version}".rstrip()

    def combined(self, added: "PackageRequest") -> "PackageRequest":
        """
        Return this request together with another request for the same package.

        The later of both requests says what hides the package, and until when.
        """
        later = added if added.last >= self.last else self
        who = tuple(dict.fromkeys(self.who + added.who))[:MAX_WHO]
        # what stands in limits for the first principal of `who`
        asker = self.asker if self.who else added.asker
        return replace(
            later,
            who=who,
            asker=asker,
            times=self.times + added.times,
            first=min(self.first, added.first),
            asks=_newest_of_each(self.asks + added.asks),
        )

    def is_open(self, decided: ProjectDecisions, now: datetime) -> bool:
        """
        Return whether the request waits for a decision at `now`.

        A request for a blocked package waits again when the block is two weeks old, and for an
        approved package when something else hides the package. Both wait at once when a person
        gives a reason. An approval that does not lift the rule decides nothing.
        """
        # a request is not removed as soon as it is over, so each reader calls this method
        is_old = now - self.last > KEPT_FOR
        is_shown_by_now = self.until is not None and now >= self.until
        if is_old or is_shown_by_now:
            return False
        decision = self.decision(decided)
        if decision is None:
            return True
        if any(ask.at > decision.at for ask in self.asks):
            return True
        if decision.verdict is Verdict.BLOCKED:
            return now - decision.at > KEPT_FOR
        if not _lets_through(decision, self.code):
            return True
        # another server may have refused the package before it has read the approval
        return self.last - decision.at > SETTLING

    def is_new(self, decided: ProjectDecisions, told_at: datetime | None) -> bool:
        """
        Return whether nobody was told that this open request waits in its present state.

        `told_at` is when a message last told of the request, or None if no message did. A later
        reason makes the request new, and so does a later decision.
        """
        if told_at is None or any(ask.at > told_at for ask in self.asks):
            return True
        decision = self.decision(decided)
        return decision is not None and decision.at > told_at

    def decision(self, decided: ProjectDecisions) -> Decision | None:
        """
        Return the decision about the requested package, or None if there is none.

        For a whole project that is the last decision about the project, or the last approval of one
        of its versions.
        """
        if self.version:
            return decided.for_version(self.version)
        # a project of which nothing was shown is shown as soon as one version is approved
        decisions = list[Decision]()
        if decided.project is not None:
            decisions.append(decided.project)
        for decision in decided.versions.values():
            if decision.verdict is Verdict.APPROVED:
                decisions.append(decision)
        return max(decisions, key=lambda decision: decision.at, default=None)


def _lets_through(approval: Decision, code: str) -> bool:
    """Return whether an approval lifts the rule of a code."""
    if code == COOLDOWN and approval.version:
        return True
    return code in {"not_approved", "blocked", *approval.despite}


class RequestList(
    Extensible, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """The stored requests. Some of them may have been decided meanwhile."""

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
        requests = [request for request in self.requests if now - request.last <= KEPT_FOR]
        requests += noted
        request_by_key = dict[RequestKey, PackageRequest]()
        for request in requests:
            same_package = request_by_key.get(request.key)
            if same_package is not None:
                request_by_key[request.key] = same_package.combined(request)
            else:
                request_by_key[request.key] = request
        return self._within_limits(request_by_key.values(), now)

    def with_still_hidden(
        self, project: NormalizedName, version: str, hidden: "PackageRequest", now: datetime
    ) -> "RequestList":
        """
        Return the list after an approval of a project, or of a version, that was not enough.

        Whoever waited for the package now waits for `hidden`, which says what still hides the
        package. If nobody has waited for the package, the list stays as it is.
        """
        key = project, strip_trailing_zeros(version)
        requests = [request for request in self.requests if request.key == key]
        if not requests:
            return self
        request = requests[0]
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
        Return the principals that wait for a version, at most `MAX_WHO`.

        Without a version, return those that wait for the project or any version of it.
        """
        release = strip_trailing_zeros(version)
        who = dict[str, None]()
        for request in self.requests:
            # whoever waits for a project waits for each version of it
            _, requested_release = request.key
            is_about_release = not release or requested_release in {"", release}
            if request.project != project or not is_about_release:
                continue
            if request.is_open(decided, now):
                who |= dict.fromkeys(request.who)
        return tuple(who)[:MAX_WHO]

    def _within_limits(self, requests: Iterable[PackageRequest], now: datetime) -> "RequestList":
        """Return the list with these requests, without old ones, within the limits."""
        current = [request for request in requests if now - request.last <= KEPT_FOR]
        # requests with reasons have limits of their own, which are checked when somebody asks
        with_reason = [request for request in current if request.asks]
        without_reason = [request for request in current if not request.asks]
        # requests that wait come first, so that nobody can push them out by asking for many names
        stored_keys = {request.key for request in self.requests}
        without_reason.sort(
            key=lambda request: (request.key in stored_keys, request.times, request.last),
            reverse=True,
        )
        within_limits = list[PackageRequest]()
        count_by_asker = Counter[str]()
        for request in without_reason:
            is_full = len(within_limits) >= MAX_REQUESTS
            if not is_full and count_by_asker[request.counts_for] < MAX_OF_ONE:
                count_by_asker[request.counts_for] += 1
                within_limits.append(request)
        sorted_requests = sorted(with_reason + within_limits, key=lambda request: request.key)
        return replace(self, requests=tuple(sorted_requests))
