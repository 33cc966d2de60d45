"""
Operations on requests for public packages: those that wait for a decision, and new ones.

A client sends a `PackageAsk`, and gets a `RequestedPackage`. The store has one `PackageRequest` for
each package, and in it an `Ask` for each person who has given a reason. A `WaitingRequest` is a
request together with what its approval would have to lift.

`list_requests` returns what nobody has decided, and `find_waiting` the same for webhooks.
`find_requests` returns requests for given packages, whether decided or not, and `find_hidden` makes
one for a package that nobody has asked for.

Each raises Unavailable if the store does not answer.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace
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
from wheelyard.model.person import counted_as, counted_unless_principal
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

_WEBHOOK_CALLER: Final = Caller("local:webhooks", (everywhere(Action.READ | Action.APPROVE),))
"""The caller in whose name webhooks are told of every request."""
NEVER_DECIDED: Final = datetime.min.replace(tzinfo=UTC)
"""The time of the last decision while there is none."""


_POLICY_CODES: Final = frozenset[str](Code)
"""The codes of the reasons for which the policy hides a file."""


class WaitingRequest(PackageRequest, frozen=True, kw_only=True):
    """A request that waits for a decision."""

    approvable: bool
    """
    Whether an approval lets the package through. Otherwise a setting or the upstream index hides
    the package.
    """
    despite: tuple[str, ...] = ()
    """The codes of the rules that the approval has to lift."""
    decided: Decision | None = None
    """The decision that was made before about the package, or None if there was none."""


class WaitingRequests(Struct, frozen=True):
    """The requests that wait for a decision."""

    requests: tuple[WaitingRequest, ...]
    """
    The requests: those with reasons of people, and then the others, both with the newest first.
    """
    as_of: datetime = NEVER_DECIDED
    """The time, in UTC, of the last decision that this answer takes into account."""


class PackageAsk(PackageQuestion, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A hidden project, or one version of it, that somebody needs, and why."""

    reason: WrittenReason


class RequestedPackage(Struct, frozen=True):
    """A package that was asked for."""

    project: NormalizedName
    version: str
    """The version, or an empty text for the whole project."""
    reasons: tuple[FileReason, ...]
    """The reasons why the package is hidden."""


class _StillHidden(Struct, frozen=True):
    """What hides an approved package."""

    version: str
    """The hidden version, or an empty text for the whole project."""
    reason: FileReason
    is_liftable: bool
    """Whether an approval can lift the reason."""


def list_requests(call: Call) -> WaitingRequests:
    """
    List what clients asked for in the last two weeks and the policy hid, and who asked.

    These are the requests that the caller may decide. A request is left out if its name has become
    private and the caller may read it. No upstream index is asked: `despite` is about the rule that
    was noted.
    """
    index = call.index
    # the decisions are read first, so that a decision made meanwhile is later than `as_of`
    decisions = _read_decisions(index)
    stored_requests = index.server.package_requests.get()
    waiting_requests = stored_requests.open_ones(decisions, index.server.runtime.now())
    private_names = index.projects.names.get_current()
    described = list[WaitingRequest]()
    for request in _select_visible(call, waiting_requests, private_names):
        described.append(_describe_waiting(request, decisions, (request.code,)))
    return WaitingRequests(tuple(described), _last_decision_at(decisions))


def count_waiting(index: Index, caller: Caller) -> int:
    """
    Return how many requests a caller may decide, by the lists that this process has in memory.

    The number is for pages about something else, which read no store for it. It is 0 if the lists
    are not in memory.
    """
    stored_requests = index.server.package_requests.peek_memory()
    decisions = index.server.decisions.peek("any")
    name_list = index.projects.names.peek("any")
    # no figure is better than one more read of a bucket for each page
    if stored_requests is None or decisions is None or name_list is None:
        return 0
    private_names = name_list.value or NameList()
    waiting_requests = stored_requests.open_ones(
        decisions.value or DecisionList(), index.server.runtime.now()
    )
    visible = _select_visible(Call(index=index, caller=caller), waiting_requests, private_names)
    return sum(1 for _ in visible)


def find_waiting(index: Index) -> WaitingPackages | None:
    """Return the requests to tell webhooks of, or None if the index has no upstream index."""
    if index.upstream is None:
        return None
    waiting = list_requests(Call(index=index, caller=_WEBHOOK_CALLER)).requests
    return WaitingPackages(waiting, _read_decisions(index))


def find_requests(call: Call, targets: Collection[str]) -> WaitingRequests:
    """
    Return the requests for these packages, also those that were decided since.

    A target is a normalised name or, for one version, the name, a blank and the version. A request
    is left out if the caller may not decide it, or if its name has become private and the caller
    may read it. `despite` is about the rule that was noted and, of a request for a version, about
    all rules that hide the version now. An upstream index may be asked for these rules: they are
    left out if it does not answer. Raises Invalid (code `bad_setting`) if the database of
    advisories is refused, and none was accepted before.
    """
    decisions = _read_decisions(call.index)
    stored_requests = call.index.server.package_requests.get().requests
    visible = _select_visible(call, stored_requests, call.index.projects.names.get_current())
    wanted = [request for request in visible if request.target in targets]
    # in threads, as each request reads the page of its project from the store
    codes_of_requests = prefetch_map(partial(_codes_to_lift, call.index.upstream), wanted)
    described = list[WaitingRequest]()
    for request, codes in zip(wanted, codes_of_requests, strict=True):
        described.append(_describe_waiting(request, decisions, codes))
    return WaitingRequests(tuple(described), _last_decision_at(decisions))


def find_hidden(call: Call, question: PackageQuestion) -> WaitingRequests:
    """
    Return a request for a hidden package that nobody has asked for, so that it can be approved.

    The answer has no request if the caller may not approve the package, nothing hides it, or nobody
    has it. An upstream index may be asked. Raises Invalid if the name or the version is
    malformed. Raises Unauthenticated, Forbidden or NotFound if the caller may not know about the
    name, and NotFound without an upstream index. Raises Unavailable if it cannot be said now what
    hides it.
    """
    decisions = _read_decisions(call.index)
    name, version = question.parsed

    # checked first: for other callers, no page may cause a request to an upstream index
    if not call.caller.may(Action.APPROVE, name):
        return WaitingRequests((), _last_decision_at(decisions))
    explanation = explain_package(call, question)
    described = list[WaitingRequest]()

    # a package that nothing hides or nobody has needs no approval
    with suppress(Conflict, NotFound):
        hidden_version, reasons = _find_what_hides(explanation, name, version)
        request = _request_of_nobody(call, name, hidden_version, reasons[0])
        codes = _codes_to_lift(call.index.upstream, request)
        described.append(_describe_waiting(request, decisions, codes))
    return WaitingRequests(tuple(described), _last_decision_at(decisions))


def _read_decisions(index: Index) -> DecisionList:
    """Return all decisions about public packages, as the store has them now."""
    return index.server.decisions.get("current").value or DecisionList()


def _request_of_nobody(
    call: Call, name: NormalizedName, version: str, reason: FileReason
) -> PackageRequest:
    """Return a request for a project, or one version of it, which no caller has made."""
    now = call.index.server.runtime.now()
    return PackageRequest(
        project=name,
        version=version,
        code=reason.code,
        reason=reason.text,
        who=(),
        times=0,
        first=now,
        last=now,
        until=reason.changes_at,
    )


def _select_visible(
    call: Call, requests: Iterable[PackageRequest], private_names: NameList
) -> Iterator[PackageRequest]:
    """Yield the requests that the caller may decide, but for private names that they may read."""
    private_projects = private_names.as_set
    patterns = parse_name_patterns(call.index.settings.upstream_private)
    for request in requests:
        name = request.project
        # the name may have become private since
        is_private = name in private_projects or patterns.match(name)
        is_known_as_private = is_private and call.caller.may(Action.READ, name)
        if call.caller.may(Action.APPROVE, name) and not is_known_as_private:
            yield request


def _last_decision_at(decisions: DecisionList) -> datetime:
    """Return when the last of these decisions was made, or `NEVER_DECIDED` if there is none."""
    return max((decision.at for decision in decisions.decisions), default=NEVER_DECIDED)


def _codes_to_lift(upstream: "UpstreamIndex | None", request: PackageRequest) -> tuple[str, ...]:
    """Return the codes of the rules that hide a requested package, first that of the request."""
    codes_now = upstream.hidden_codes(request.project, request.version) if upstream else ()
    return tuple(dict.fromkeys((request.code, *codes_now)))


def _describe_waiting(
    request: PackageRequest, decisions: DecisionList, codes: Iterable[str]
) -> WaitingRequest:
    """Return a request with the rules that its approval has to lift, of those with these codes."""
    # nothing of upstream/ is loaded until there is a request
    from wheelyard.upstream.decisions import needed_despite  # noqa: PLC0415

    despite = list[str]()
    is_approvable = True
    for code in codes:
        lifted_codes = needed_despite(code, request.version)
        # no approval lifts this rule
        if lifted_codes is None:
            is_approvable = False
        else:
            despite += lifted_codes
    fields = {name: getattr(request, name) for name in request.__struct_fields__}
    return WaitingRequest(
        **fields,
        approvable=is_approvable,
        despite=tuple(despite),
        decided=request.decision(decisions.for_project(request.project)),
    )


def note_still_hidden(call: Call, question: PackageQuestion) -> str:
    """
    Note in the requests for an approved package why nothing of it is shown, and return the reason.

    Only a reason that an approval can lift is noted: the requests then wait for a decision again.
    Returns an empty text, and notes nothing, if a file is shown, or if nobody can say now what
    hides the package.
    """
    # the package is approved, whether or not it can be explained
    try:
        explanation = explain_package(call, question)
    except WheelyardError:
        return ""
    hidden = _find_still_hidden(explanation, question.version)
    if hidden is None:
        return ""
    name, version = question.parsed
    request = _request_of_nobody(call, name, hidden.version, hidden.reason)
    if hidden.is_liftable:
        asked_version = str(version or "")
        call.index.server.package_requests.change(
            lambda stored: stored.with_still_hidden(name, asked_version, request, request.last)
        )
    return hidden.reason.text


def _find_still_hidden(explanation: Explanation, asked_version: str) -> _StillHidden | None:
    """Return what hides a package, or None if a file of it is shown, or there is no reason."""
    files = explanation.files

    # one file is enough to install the package
    is_shown = any(file.shown for file in files)
    is_explained = bool(files or explanation.reasons)
    if is_shown or not is_explained:
        return None
    # a reason that no rule of this index gives (no such file, another owner) is no request
    is_by_rule = explanation.answer in (NameAnswer.REFUSED, NameAnswer.UPSTREAM)
    if not files:
        return _StillHidden(asked_version, explanation.reasons[0], is_by_rule)
    newest_file = max(files, key=_preference)
    is_liftable = is_by_rule and _is_decidable(newest_file)
    return _StillHidden(newest_file.version, newest_file.reasons[0], is_liftable)


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
    hidden_version, reasons = _find_what_hides(explanation, name, version)
    by = call.caller.acts_for
    asker_in_limits = counted_as(call.caller)
    request = _request_of_nobody(call, name, hidden_version, reasons[0])
    now = request.last
    request = replace(
        request,
        who=(by,),
        asker=counted_unless_principal(call.caller),
        times=1,
        asks=(Ask(by, now, redact_tokens(reason), asker_in_limits),),
    )
    decisions = _read_decisions(call.index)

    def note_request(stored: RequestList) -> RequestList:
        # inside the change, so that two requests at a time cannot both take the last place
        _require_room(stored.open_ones(decisions, now), asker_in_limits)
        return stored.with_noted((request,), now)

    call.index.server.package_requests.change(note_request)

    # after the write, as the log says what was stored
    log_request(by, request.target, reason)
    return RequestedPackage(name, request.version, reasons)


def _find_what_hides(
    explanation: Explanation, name: NormalizedName, version: Version | None
) -> tuple[str, tuple[FileReason, ...]]:
    """
    Return the hidden version to ask for, and the reasons that hide it.

    Without `version` this is the newest hidden version, or an empty text, which stands for the
    whole project, if no file of the project is known. Raises Conflict, NotFound or
    Unavailable if the policy hides nothing of the package.
    """
    _require_upstream_answer(explanation)
    files = [file for file in explanation.files if _is_decidable(file)]
    if explanation.answer is NameAnswer.REFUSED:
        # the version in the spelling of its files
        hidden_version = files[0].version if version and files else str(version or "")
        return hidden_version, explanation.reasons
    newest_file = _newest_hidden(files, name, version)
    return newest_file.version, newest_file.reasons


def _require_upstream_answer(explanation: Explanation) -> None:
    """
    Check that an upstream index has a name, or that the policy refuses the whole name.

    Raises Conflict if the name is private, NotFound if no upstream index has it, and Unavailable if
    that cannot be said now.
    """
    text = explanation.reasons[0].text if explanation.reasons else ""
    if explanation.answer is NameAnswer.PRIVATE:
        raise Conflict(f"{text} Ask its owners for a release.", code=PRIVATE_NAME)
    if explanation.answer is NameAnswer.UNKNOWN:
        raise NotFound(text)
    if explanation.answer is NameAnswer.UNAVAILABLE:
        raise Unavailable(text, code=explanation.reasons[0].code)


def _newest_hidden(
    files: Sequence[ExplainedFile], name: NormalizedName, version: Version | None
) -> ExplainedFile:
    """
    Return the hidden file that an installer would prefer.

    Raises NotFound without files. Raises Conflict if none is hidden, or, without `version`, if some
    are shown.
    """
    target = f"{name} {version}" if version else name
    if not files:
        raise NotFound(f"Its upstream index lists no file of {target}. Check the version.")
    hidden_files = [file for file in files if not file.shown]
    if not hidden_files:
        raise Conflict(f"{target} is not hidden here: install it.")
    if len(hidden_files) < len(files) and version is None:
        message = f"Some versions of {name} are shown. Name the one that you need."
        raise Conflict(message)
    return max(hidden_files, key=_preference)


def _is_decidable(file: ExplainedFile) -> bool:
    """Return whether a file is shown, or the policy hides it."""
    return file.shown or file.reasons[0].code in _POLICY_CODES


def _preference(file: ExplainedFile) -> tuple[bool, Version]:
    """Return a key by which the file that an installer prefers is the greatest."""
    version = parse_version(file.version)
    # pip and uv choose a pre-release only if there is nothing else
    return not version.is_prerelease, version


def _require_room(waiting: Iterable[PackageRequest], asker: str) -> None:
    """Raise Conflict (code `request_limit`) if too many reasons wait, of `asker` or of all."""
    asks = list[Ask]()
    for request in waiting:
        asks += request.asks
    # counted by person, so that one cannot fill the list with several tokens
    count_of_asker = sum(ask.is_by(asker) for ask in asks)
    if count_of_asker < MAX_ASKS_OF_ONE and len(asks) < MAX_ASKS:
        return
    fact = f"People wait for {len(asks)}"
    if count_of_asker >= MAX_ASKS_OF_ONE:
        fact = f"You have asked for {count_of_asker}"
    raise Conflict(
        f"{fact} public packages that nobody has decided about, which is the limit. Talk to "
        "whoever may approve them.",
        code="request_limit",
    )
