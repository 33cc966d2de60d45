"""
Handlers of `/api/v1/upstream` (docs/api.md): decisions about public packages, and why.

`explain` is for whoever may read the project, `refresh` for whoever may upload, the rest for
administrators.
"""

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from wheelyard.authentication.api_tokens import invalid_credential
from wheelyard.errors import Forbidden, NotFound
from wheelyard.http.context import ServerContext
from wheelyard.http.protocol.fields import parse_after, query_field
from wheelyard.http.protocol.json_body import decode_json, json_response, read_json
from wheelyard.http.protocol.messages import Request, Response
from wheelyard.http.security.read_policy import require_admin
from wheelyard.model.access import Action
from wheelyard.model.distribution_filename import parse_name, parse_version

if TYPE_CHECKING:
    from wheelyard.http.upstream_reader import UpstreamReader

CHANGES: Final = ("approve", "block")
"""The changes: the last segment of the path."""


class BlockRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request to block a project, or one version of it."""

    project: str
    version: str = ""
    """Empty for the whole project."""
    reason: str = ""


class RefreshRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request to ask the upstream indexes for a project now."""

    project: str


class ApprovalRequest(BlockRequest, frozen=True, forbid_unknown_fields=True):
    """The body of a request to approve a project, or one version of it."""

    despite: tuple[str, ...] = ()
    """Codes of rules that are lifted, too."""
    sha256: tuple[str, ...] = ()
    """Digests of the files of the version; without any, the upstream index is asked."""


async def list_decisions(request: Request, context: ServerContext) -> Response:
    """Handle GET `/api/v1/upstream/decisions`: the decisions in force."""
    require_admin(request.caller, "see or make decisions")

    def respond() -> Response:
        known = context.index.decisions.get("current").value
        return json_response(200, {"decisions": known.decisions if known else ()})

    return await context.pools.run_read(respond)


async def show_history(request: Request, context: ServerContext) -> Response:
    """Handle GET `/api/v1/upstream/decisions/history`: the commits after number `after`."""
    require_admin(request.caller, "see or make decisions")
    after = parse_after(request.query)

    def respond() -> Response:
        return json_response(200, {"commits": list(context.index.decisions.history(after))})

    return await context.run_long_read(request, respond)


async def decide(request: Request, context: ServerContext, change: str) -> Response:
    """Handle POST `/api/v1/upstream/<change>`; answer with all decisions about the project."""
    require_admin(request.caller, "see or make decisions")
    body, index, reader = await read_json(request), context.index, context.upstream
    kind = BlockRequest if change == "block" else ApprovalRequest
    lists = "a list of strings"
    sent = decode_json(body, kind, {"despite": lists, "sha256": lists})
    # no server without an upstream index needs it
    from wheelyard.upstream.policy.deciding import Deciding  # noqa: PLC0415

    def respond() -> Response:
        upstream = reader.upstream if reader is not None else None
        by, names = request.caller.principal, index.projects.names
        deciding = Deciding(index.decisions, by, names, upstream)
        name = parse_name(sent.project)
        version = parse_version(sent.version) if sent.version else None
        if isinstance(sent, ApprovalRequest):
            known = deciding.approve(name, version, sent.reason, sent.despite, sent.sha256)
        else:
            known = deciding.block(name, version, sent.reason)
        index.search.note_decision()
        return json_response(200, {"decisions": known.all})

    if reader is not None and isinstance(sent, ApprovalRequest) and not sent.sha256:
        return await reader.run_asking(request.client_key, respond)
    return await context.pools.run_write(respond)


async def explain(request: Request, context: ServerContext) -> Response:
    """Handle GET `/api/v1/upstream/why`: what clients get for a project or a version, and why."""
    name = parse_name(query_field(request.query, "project") or "")
    version = query_field(request.query, "version")
    context.read_policy.require_lookup(request.caller, name)
    wanted = parse_version(version) if version else None
    explanation = await _reader(context).explain(request, name, wanted)
    if not explanation.is_about_public_package:  # nobody learns if a name is private or unknown
        context.read_policy.require_project_read(request.caller, name)
    return json_response(200, explanation)


async def refresh(request: Request, context: ServerContext) -> Response:
    """Handle POST `/api/v1/upstream/refresh`: what the upstream indexes have of a project now."""
    caller = request.caller
    if caller.is_anonymous and not caller.may_anywhere(Action.UPLOAD):
        raise invalid_credential()
    if not (caller.may_anywhere(Action.UPLOAD) or caller.may_everywhere(Action.ADMIN)):
        fact = f"{caller.display_name} may not refresh what upstream indexes have."
        raise Forbidden(
            f"{fact} It is for whoever may upload something: use a token of 'wheelyard token "
            "create NAME --can read,upload', or a grant of upload.",
            short=fact,
        )
    sent = decode_json(await read_json(request), RefreshRequest)
    name = parse_name(sent.project)
    context.read_policy.require_lookup(caller, name)
    return json_response(200, await _reader(context).refresh(request, name))


def _reader(context: ServerContext) -> "UpstreamReader":
    if context.upstream is None:
        message = "This index has no upstream index. Set [upstream] enabled, and restart it."
        raise NotFound(message, short="No upstream index.")
    return context.upstream
