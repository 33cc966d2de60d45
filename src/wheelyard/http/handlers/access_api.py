"""Handlers of `/api/v1/access` (docs/api.md): grants and groups, for administrators."""

from typing import Final

from msgspec import Struct

from wheelyard.authentication.explain import explain, parse_subject
from wheelyard.errors import Invalid, quoted
from wheelyard.http.context import ServerContext
from wheelyard.http.protocol.fields import parse_after, query_field
from wheelyard.http.protocol.json_body import decode_json, json_response, read_json
from wheelyard.http.protocol.messages import NO_STORE, NOSNIFF, Request, Response
from wheelyard.http.security.read_policy import require_admin
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.grants import ACTIONS, GrantFields
from wheelyard.operations.access_control import GroupChange

CHANGES: Final = ("grant", "revoke", "group")
GRANT_VALUES: Final = dict.fromkeys(("who", "projects", "actions"), "a list of strings")


class GrantRevocation(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request to revoke a grant."""

    id: str
    note: str = ""


class GroupEdit(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request to change a group."""

    change: GroupChange
    name: str
    who: tuple[str, ...] = ()
    note: str = ""


async def show_access(request: Request, context: ServerContext) -> Response:
    """Handle GET `/api/v1/access`: all grants and groups, of the settings and of the store."""
    require_admin(request.caller, "see or change rights")
    access = context.index.access
    return await context.pools.run_read(lambda: json_response(200, access.show()))


async def show_history(request: Request, context: ServerContext) -> Response:
    """Handle GET `/api/v1/access/history`: the commits in the store after number `after`."""
    require_admin(request.caller, "see or change rights")
    after = parse_after(request.query)

    def respond() -> Response:
        return json_response(200, {"commits": list(context.index.access.history(after))})

    return await context.run_long_read(request, respond)


async def explain_access(request: Request, context: ServerContext) -> Response:
    """Handle GET `/api/v1/access/explain`: whether somebody may do something, and why."""
    require_admin(request.caller, "see or change rights")
    names = ("who", "project", "action")
    who, project, action = (query_field(request.query, each) or "" for each in names)
    if action not in ACTIONS:
        message = f"'action' is {quoted(action)}. Send one of {', '.join(ACTIONS)}."
        raise Invalid(message, code="invalid_field")
    name, index = parse_name(project), context.index

    def respond() -> Response:
        subject = parse_subject(who, index.authenticator)
        patterns, wanted = index.settings.private_patterns, ACTIONS[action]
        found = explain(
            subject,
            wanted,
            name,
            index.authenticator,
            patterns,
            may_be_public=index.may_be_public(name),
        )
        return json_response(200, found)

    return await context.pools.run_read(respond)


async def change_access(request: Request, context: ServerContext, change: str) -> Response:
    """Handle POST `/api/v1/access/<change>`: change the grants and groups of the store."""
    require_admin(request.caller, "see or change rights")
    body, index, by = await read_json(request), context.index, request.caller.principal

    def respond() -> Response:
        if change == "grant":
            made = index.add_grant(decode_json(body, GrantFields, GRANT_VALUES), by)
            return json_response(201, made)
        if change == "revoke":
            revoked = decode_json(body, GrantRevocation)
            index.access.revoke(revoked.id, by, revoked.note)
        else:
            edit = decode_json(body, GroupEdit, {"change": "set, add, remove or delete"})
            index.access.edit_group(edit.change, edit.name, edit.who, by, edit.note)
        return Response(204, (NOSNIFF, NO_STORE))

    return await context.pools.run_write(respond)
