"""
Operations on requests for public packages: what waits for a decision, and asking for more.

Each raises Unavailable if the store does not answer.
"""

from datetime import datetime
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.api.operation import Call, Reason
from wheelyard.api.public_package_operations import PackageQuestion, explain_package
from wheelyard.errors import Conflict, Invalid, NotFound, Unavailable
from wheelyard.model.access import Action, parse_name_patterns
from wheelyard.model.decoding import redact_tokens, require_one_line
from wheelyard.model.distribution_filename import parse_version
from wheelyard.model.package_requests import (
    MAX_ASKS,
    MAX_ASKS_OF_ONE,
    Ask,
    PackageRequest,
    RequestList,
)
from wheelyard.model.public_packages import (
    DecisionList,
    ExplainedFile,
    Explanation,
    FileReason,
    NameAnswer,
)
from wheelyard.operations.audit_log import log_request
from wheelyard.operations.lifecycle import REASON_LIMIT

COOLDOWN: Final = "cooldown"


class WaitingRequest(PackageRequest, frozen=True, kw_only=True):
    """A request that waits for a decision."""

    approvable: bool
    """Whether an approval lets it through; else a setting or its upstream index hides it."""
    despite: tuple[str, ...] = ()
    """Codes of rules that the approval has to lift."""


class WaitingRequests(Struct, frozen=True):
    """The requests that wait for a decision."""

    requests: tuple[WaitingRequest, ...]
    """Those with reasons first, then the one that was asked for last."""
    not_sent: str = ""
    """Why the last message about requests was not sent, or an empty text."""


class PackageAsk(PackageQuestion, frozen=True, forbid_unknown_fields=True):
    """A hidden project, or one version of it, that somebody needs, and why."""

    reason: Reason = ""


class RequestedPackage(Struct, frozen=True):
    """What was asked for."""

    project: NormalizedName
    version: str
    """Empty for the whole project."""
    reasons: tuple[FileReason, ...]
    """Why it is hidden."""


def list_requests(call: Call) -> WaitingRequests:
    """List what clients asked for in the last two weeks and the policy hid, and who asked."""
    from wheelyard.upstream.policy.decisions import needed_despite  # noqa: PLC0415 - if it is used

    index = call.index
    stored, decided = index.package_requests.get(), index.decisions.get("current").value
    private = index.projects.names.get_current().as_set
    patterns = parse_name_patterns(index.settings.upstream_private)
    waiting = list[WaitingRequest]()
    for request in stored.open_ones(decided or DecisionList(), index.runtime.now()):
        name = request.project
        # it may have become private since
        if name in private or patterns.match(name) or not call.caller.may(Action.APPROVE, name):
            continue
        despite = needed_despite(request.code, request.version)
        waiting.append(
            WaitingRequest(
                **{field: getattr(request, field) for field in request.__struct_fields__},
                approvable=despite is not None,
                despite=despite or (),
            )
        )
    return WaitingRequests(tuple(waiting), stored.message.error if stored.message else "")


def request_package(call: Call, body: PackageAsk) -> RequestedPackage:
    """
    Ask whoever may approve public packages for one that is hidden, with a reason.

    Raises Invalid without a reason, or if the name or version is malformed, private or shown.
    Raises as `explain_package`, and NotFound if no upstream index has it. Raises Conflict (code
    `request_limit`) if too many of the caller's reasons wait.
    """
    reason = require_one_line(body.reason.strip(), "A reason", REASON_LIMIT)
    if not reason:
        message = "Say why you need it: whoever decides reads that."
        raise Invalid(message, code="missing_field")
    name, version = body.parsed
    explanation = explain_package(call, PackageQuestion(name, body.version))
    wanted, why = _hidden(explanation, name, version)
    now, by = call.index.runtime.now(), call.caller.owner or call.by
    request = PackageRequest(
        project=name,
        version=wanted.version if wanted else str(version or ""),
        code=why[0].code,
        reason=why[0].text,
        who=(by,),
        times=1,
        first=now,
        last=now,
        until=_shown_from(call, wanted, why[0]),
        asks=(Ask(by, now, redact_tokens(reason)),),
    )

    def change(stored: RequestList) -> RequestList:
        _require_room(stored, by)
        return stored.with_noted((request,), now)

    call.index.package_requests.change(change)
    log_request(by, request.target, reason)
    return RequestedPackage(name, request.version, why)


def _hidden(
    explanation: Explanation, name: NormalizedName, version: Version | None
) -> tuple[ExplainedFile | None, tuple[FileReason, ...]]:
    """
    Return the hidden file that stands for what is wanted, if a file is known, and what hides it.

    Raises Invalid, NotFound or Unavailable if nothing of it is hidden by the policy.
    """
    text = explanation.reasons[0].text if explanation.reasons else ""
    if explanation.answer is NameAnswer.PRIVATE:
        raise Invalid(f"{text} Ask its owners for a release.", code="invalid_field")
    if explanation.answer is NameAnswer.UNKNOWN:
        raise NotFound(text)
    if explanation.answer is NameAnswer.UNAVAILABLE:
        raise Unavailable(text)
    target = f"{name} {version}" if version else name
    files = [file for file in explanation.files if _is_decidable(file)]
    if explanation.answer is NameAnswer.REFUSED:
        return next(iter(files), None) if version else None, explanation.reasons
    if not files:
        raise NotFound(f"Its upstream index lists no file of {target}. Check the version.")
    hidden = [file for file in files if not file.shown]
    if not hidden:
        raise Invalid(f"{target} is not hidden here: install it.", code="invalid_field")
    if len(hidden) < len(files) and version is None:
        message = f"Some versions of {name} are shown. Name the one that you need."
        raise Invalid(message, code="invalid_field")
    newest = max(hidden, key=_preference)
    return newest, newest.reasons


def _is_decidable(file: ExplainedFile) -> bool:
    """Return whether a file is shown, or the policy hides it."""
    from wheelyard.upstream.policy.rules import Code  # noqa: PLC0415 - see above

    return file.shown or file.reasons[0].code in {*Code}


def _preference(file: ExplainedFile) -> tuple[bool, Version]:
    """Return what is greatest for the file that an installer would choose."""
    version = parse_version(file.version)
    return not version.is_prerelease, version


def _shown_from(call: Call, file: ExplainedFile | None, reason: FileReason) -> datetime | None:
    """Return when a hidden file is shown by time alone, or None if it never is."""
    upstream = call.index.upstream
    if reason.code != COOLDOWN or upstream is None or file is None or file.uploaded_at is None:
        return None
    try:
        return file.uploaded_at + upstream.policy.rules.cooldown
    except OverflowError:  # somebody has written the year 9999
        return None


def _require_room(stored: RequestList, by: str) -> None:
    """Raise Conflict if there are too many reasons, of all people or of one."""
    asks = [ask for request in stored.requests for ask in request.asks]
    own = sum(ask.by == by for ask in asks)
    if own < MAX_ASKS_OF_ONE and len(asks) < MAX_ASKS:
        return
    who = f"You have asked for {own}" if own >= MAX_ASKS_OF_ONE else f"People wait for {len(asks)}"
    raise Conflict(
        f"{who} public packages in the last two weeks, which is the limit. Talk to whoever may "
        "approve them.",
        code="request_limit",
    )
