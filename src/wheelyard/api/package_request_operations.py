"""
Operations on requests for public packages: what waits for a decision, and asking for more.

Each raises Unavailable if the store does not answer.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.api.operation import Call, WrittenReason
from wheelyard.api.public_package_operations import PackageQuestion, explain_package
from wheelyard.catalog.projects import NameList
from wheelyard.concurrency.threads import prefetch_map
from wheelyard.errors import Conflict, Invalid, NotFound, Unavailable, WheelyardError
from wheelyard.model.access import Action, Caller, everywhere, parse_name_patterns
from wheelyard.model.decoding import redact_tokens, require_one_line
from wheelyard.model.distribution_filename import parse_version
from wheelyard.model.package_requests import (
    MAX_ASKS,
    MAX_ASKS_OF_ONE,
    Ask,
    PackageRequest,
    RequestList,
)
from wheelyard.model.person import counted_apart, counted_as
from wheelyard.model.public_packages import (
    PRIVATE_NAME,
    Decision,
    DecisionList,
    ExplainedFile,
    Explanation,
    FileReason,
    NameAnswer,
)
from wheelyard.model.rule_reasons import Code
from wheelyard.operations.audit_log import log_request
from wheelyard.operations.lifecycle import REASON_LIMIT
from wheelyard.webhooks.package_news import WaitingPackages
from wheelyard.wiring.index import Index

if TYPE_CHECKING:
    from wheelyard.upstream.indexes import UpstreamIndex

_WEBHOOKS: Final = Caller("local:webhooks", (everywhere(Action.READ | Action.APPROVE),))
"""Sees every request."""
NOTHING_DECIDED: Final = datetime.min.replace(tzinfo=UTC)
"""When the last decision was made, if there is none."""


class WaitingRequest(PackageRequest, frozen=True, kw_only=True):
    """A request that waits for a decision."""

    approvable: bool
    """Whether an approval lets it through. Else a setting or its upstream index hides it."""
    despite: tuple[str, ...] = ()
    """Codes of rules that the approval has to lift."""
    decided: Decision | None = None
    """What was decided about it before."""


class WaitingRequests(Struct, frozen=True):
    """The requests that wait for a decision."""

    requests: tuple[WaitingRequest, ...]
    """Those with reasons first, then the one that was asked for last."""
    as_of: datetime = NOTHING_DECIDED
    """When the last decision was made that is known here, UTC."""


class PackageAsk(PackageQuestion, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A hidden project, or one version of it, that somebody needs, and why."""

    reason: WrittenReason


class RequestedPackage(Struct, frozen=True):
    """What was asked for."""

    project: NormalizedName
    version: str
    """Empty for the whole project."""
    reasons: tuple[FileReason, ...]
    """Why it is hidden."""


def list_requests(call: Call) -> WaitingRequests:
    """
    List what clients asked for in the last two weeks and the policy hid, and who asked.

    These are the requests that the caller may decide. One is left out if its name has become
    private and the caller may read it. No upstream index is asked: `despite` is about the rule that
    was noted.
    """
    index = call.index
    # the decisions first: what is decided meanwhile is later than `as_of`
    decided = index.server.decisions.get("current").value or DecisionList()
    stored = index.server.package_requests.get()
    waiting = stored.open_ones(decided, index.server.runtime.now())
    private_names = index.projects.names.get_current()
    visible = _visible(call, waiting, private_names)
    rows = tuple(_row(request, decided, (request.code,)) for request in visible)
    return WaitingRequests(rows, _as_of(decided))


def count_waiting(index: Index, caller: Caller) -> int:
    """
    Return how many requests a caller may decide, by what this process has in memory.

    It is for a figure on pages about something else, which read no store for it. It is 0 if the
    lists were not read lately.
    """
    stored = index.server.package_requests.peek_memory()
    decided = index.server.decisions.peek("any")
    names = index.projects.names.peek("any")
    # no figure is better than one read of a bucket more on each page
    if stored is None or decided is None or names is None:
        return 0
    private_names = names.value or NameList()
    waiting = stored.open_ones(decided.value or DecisionList(), index.server.runtime.now())
    visible = _visible(Call(index=index, caller=caller), waiting, private_names)
    return sum(1 for _ in visible)


def find_waiting(index: Index) -> WaitingPackages | None:
    """Return what waits, for webhooks, or None if the index has no upstream index."""
    if index.upstream is None:
        return None
    waiting = list_requests(Call(index=index, caller=_WEBHOOKS)).requests
    return WaitingPackages(waiting, index.server.decisions.get("current").value or DecisionList())


def find_requests(call: Call, targets: Collection[str]) -> WaitingRequests:
    """
    Return the requests for some packages, also those that were decided since.

    `targets` are normalized names, each with a blank and a version behind it if it is about one. A
    request is left out if the caller may not decide it, or if its name has become private and the
    caller may read it. `despite` is about the rule that was noted and, with a version, about all
    that hide it now. An upstream index may be asked for that. What it does not answer is missing.
    Raises Invalid (code `bad_setting`) if no database of advisories can be used.
    """
    decided = call.index.server.decisions.get("current").value or DecisionList()
    stored = call.index.server.package_requests.get().requests
    visible = _visible(call, stored, call.index.projects.names.get_current())
    wanted = [request for request in visible if request.target in targets]
    # each reads the page of its project from the store
    codes = prefetch_map(partial(_codes, call.index.upstream), wanted)
    rows = zip(wanted, codes, strict=True)
    return WaitingRequests(tuple(_row(row, decided, why) for row, why in rows), _as_of(decided))


def find_hidden(call: Call, question: PackageQuestion) -> WaitingRequests:
    """
    Return a hidden package that nobody has asked for as if somebody had, for whoever approves it.

    There are no requests in the answer if the caller may not approve it, nothing hides it, or
    nobody has it. An upstream index may be asked. Raises Invalid if the name or the version is
    malformed. Raises Unauthenticated, Forbidden or NotFound if the caller may not know about the
    name, and NotFound without an upstream index. Raises Unavailable if it cannot be said now what
    hides it.
    """
    decided = call.index.server.decisions.get("current").value or DecisionList()
    name, version = question.parsed

    # first: only for who decides may a page have an upstream index asked
    if not call.caller.may(Action.APPROVE, name):
        return WaitingRequests((), _as_of(decided))
    explanation = explain_package(call, question)
    rows = []

    # nothing hides it, or nobody has it: then there is nothing to approve
    with suppress(Conflict, NotFound):
        wanted, why = _hidden(explanation, name, version)
        now = call.index.server.runtime.now()
        hidden = PackageRequest(
            project=name,
            version=wanted.version if wanted else str(version or ""),
            code=why[0].code,
            reason=why[0].text,
            who=(),
            times=0,
            first=now,
            last=now,
            until=why[0].changes_at,
        )
        rows.append(_row(hidden, decided, _codes(call.index.upstream, hidden)))
    return WaitingRequests(tuple(rows), _as_of(decided))


def _visible(
    call: Call, requests: Iterable[PackageRequest], private_names: NameList
) -> Iterator[PackageRequest]:
    """Yield the requests that the caller may decide, but of names that they know as private."""
    private = private_names.as_set
    patterns = parse_name_patterns(call.index.settings.upstream_private)
    for request in requests:
        name = request.project
        # it may have become private since
        is_private = name in private or patterns.match(name)
        is_known = is_private and call.caller.may(Action.READ, name)
        if call.caller.may(Action.APPROVE, name) and not is_known:
            yield request


def _as_of(decided: DecisionList) -> datetime:
    """Return when the last decision was made."""
    return max((decision.at for decision in decided.decisions), default=NOTHING_DECIDED)


def _codes(upstream: "UpstreamIndex | None", request: PackageRequest) -> tuple[str, ...]:
    """Return the codes of all rules that hide what is wanted, the one that was noted first."""
    hidden = upstream.hidden_codes(request.project, request.version) if upstream else ()
    return tuple(dict.fromkeys((request.code, *hidden)))


def _row(request: PackageRequest, decided: DecisionList, codes: Iterable[str]) -> WaitingRequest:
    """Return a request with what its approval has to lift, which is hidden for these reasons."""
    from wheelyard.upstream.decisions import needed_despite  # noqa: PLC0415 - if it is used

    needed = [needed_despite(code, request.version) for code in codes]
    return WaitingRequest(
        **{field: getattr(request, field) for field in request.__struct_fields__},
        approvable=None not in needed,
        despite=tuple(code for lifted in needed for code in lifted or ()),
        decided=request.decision(decided.for_project(request.project)),
    )


def keep_hidden(call: Call, question: PackageQuestion) -> str:
    """
    Return why nothing of an approved package is shown, or an empty text if it is.

    The text is also empty if nobody can say it now. If an approval can lift the reason, the
    requests for the package are noted again with it, so that whoever wanted it waits on. It decides
    nothing.
    """
    try:
        explanation = explain_package(call, question)
    except WheelyardError:  # it is approved all the same
        return ""
    files = explanation.files

    # one file is enough to install it
    if any(file.shown for file in files) or not (files or explanation.reasons):
        return ""
    newest = max(files, key=_preference) if files else None
    why = (newest.reasons if newest else explanation.reasons)[0]
    name, version = question.parsed
    now = call.index.server.runtime.now()
    hidden = PackageRequest(
        project=name,
        version=newest.version if newest else question.version,
        code=why.code,
        reason=why.text,
        who=(),
        times=0,
        first=now,
        last=now,
        until=why.changes_at,
    )

    # a reason that nobody here can lift (no such file, another owner) is no request
    is_ruled = explanation.answer in (NameAnswer.REFUSED, NameAnswer.UPSTREAM)
    if is_ruled and (newest is None or _is_decidable(newest)):
        call.index.server.package_requests.change(
            lambda stored: stored.with_still_hidden(name, str(version or ""), hidden, now)
        )
    return why.text


def request_package(call: Call, body: PackageAsk) -> RequestedPackage:
    """
    Ask whoever may approve public packages for one that is hidden, with a reason.

    The reason is also logged. Raises Invalid without a reason of one line, or if the name or
    version is malformed. Raises Conflict if all or some of it is shown, if the name is private
    (code `private_name`), or if too many reasons wait (code `request_limit`), of the caller or of
    all. Raises Unauthenticated, Forbidden or NotFound if the caller may not know about the name,
    and NotFound if no upstream index has it, or there is none. Raises Unavailable if it cannot be
    said now what hides it.
    """
    reason = require_one_line(body.reason.strip(), "A reason", REASON_LIMIT)
    if not reason:
        message = "Say why you need it: whoever decides reads that."
        raise Invalid(message, code="missing_field")
    name, version = body.parsed
    explanation = explain_package(call, PackageQuestion(name, body.version))
    wanted, why = _hidden(explanation, name, version)
    now = call.index.server.runtime.now()
    by = call.caller.acts_for
    asker = counted_as(call.caller)
    request = PackageRequest(
        project=name,
        version=wanted.version if wanted else str(version or ""),
        code=why[0].code,
        reason=why[0].text,
        who=(by,),
        asker=counted_apart(call.caller),
        times=1,
        first=now,
        last=now,
        until=why[0].changes_at,
        asks=(Ask(by, now, redact_tokens(reason), asker),),
    )

    decided = call.index.server.decisions.get("current").value or DecisionList()

    def change(stored: RequestList) -> RequestList:
        # inside the change, so that two requests at a time cannot both take the last place
        _require_room(stored.open_ones(decided, now), asker)
        return stored.with_noted((request,), now)

    call.index.server.package_requests.change(change)

    # after the write: the log says what was stored
    log_request(by, request.target, reason)
    return RequestedPackage(name, request.version, why)


def _hidden(
    explanation: Explanation, name: NormalizedName, version: Version | None
) -> tuple[ExplainedFile | None, tuple[FileReason, ...]]:
    """
    Return the hidden file that stands for what is wanted, if a file is known, and what hides it.

    Raises Conflict, NotFound or Unavailable if nothing of it is hidden by the policy.
    """
    text = explanation.reasons[0].text if explanation.reasons else ""
    if explanation.answer is NameAnswer.PRIVATE:
        raise Conflict(f"{text} Ask its owners for a release.", code=PRIVATE_NAME)
    if explanation.answer is NameAnswer.UNKNOWN:
        raise NotFound(text)
    if explanation.answer is NameAnswer.UNAVAILABLE:
        raise Unavailable(text, code=explanation.reasons[0].code)
    target = f"{name} {version}" if version else name
    files = [file for file in explanation.files if _is_decidable(file)]
    if explanation.answer is NameAnswer.REFUSED:
        return next(iter(files), None) if version else None, explanation.reasons
    if not files:
        raise NotFound(f"Its upstream index lists no file of {target}. Check the version.")
    hidden = [file for file in files if not file.shown]
    if not hidden:
        raise Conflict(f"{target} is not hidden here: install it.")
    if len(hidden) < len(files) and version is None:
        message = f"Some versions of {name} are shown. Name the one that you need."
        raise Conflict(message)
    newest = max(hidden, key=_preference)
    return newest, newest.reasons


def _is_decidable(file: ExplainedFile) -> bool:
    """Return whether a file is shown, or the policy hides it."""
    return file.shown or file.reasons[0].code in {*Code}


def _preference(file: ExplainedFile) -> tuple[bool, Version]:
    """Return what is greatest for the file that an installer would choose."""
    version = parse_version(file.version)
    # as pip and uv: a pre-release only if there is nothing else
    return not version.is_prerelease, version


def _require_room(waiting: Iterable[PackageRequest], asker: str) -> None:
    """Raise Conflict if too many reasons wait, of all people or of one."""
    asks = [ask for request in waiting for ask in request.asks]
    # by person, so that one cannot fill the list with several tokens
    own = sum(ask.is_by(asker) for ask in asks)
    if own < MAX_ASKS_OF_ONE and len(asks) < MAX_ASKS:
        return
    who = f"You have asked for {own}" if own >= MAX_ASKS_OF_ONE else f"People wait for {len(asks)}"
    raise Conflict(
        f"{who} public packages that nobody has decided about, which is the limit. Talk to whoever "
        "may approve them.",
        code="request_limit",
    )
