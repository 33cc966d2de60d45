"""Handlers of `/api/v1/tokens` and `/api/v1/whoami` (docs/api.md): rights and API tokens."""

from datetime import date, datetime, timedelta
from functools import partial
from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from wheelyard.authentication.api_tokens import (
    DEFAULT_LIFETIME,
    TokenRequest,
    invalid_credential,
)
from wheelyard.authentication.caller_tokens import can_own_tokens, wanted_token
from wheelyard.errors import Forbidden, Invalid
from wheelyard.http.context import ServerContext
from wheelyard.http.protocol.conditional_requests import require_match
from wheelyard.http.protocol.json_body import decode_json, json_response, read_json
from wheelyard.http.protocol.messages import NO_STORE, NOSNIFF, Request, Response
from wheelyard.http.security.csrf import cross_site_error, is_same_origin
from wheelyard.http.security.request_authentication import parse_authorization, signed_in_at
from wheelyard.model.access import ANONYMOUS, Action, Caller, Scope
from wheelyard.model.token import TokenRecord, parse_token
from wheelyard.rendering.simple_pages import timestamp

MAX_PATTERNS: Final = 100
FIELD_VALUES: Final = {
    "projects": f"a list of 1 to {MAX_PATTERNS} patterns",
    "can": "a list of some of read, upload, manage and admin",
    "days": "a number from 1 to 36500",
    "hours": "a number from 0 to 876000",
    "expires": "a time with its offset, such as 2030-01-31T00:00:00Z",
}
"""The accepted values of the fields of a new token that are not strings, for error messages."""

StringList = Annotated[list[str], Meta(min_length=1, max_length=MAX_PATTERNS)]


class NewToken(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request for a new token."""

    name: str
    projects: StringList
    can: StringList | None = None
    """Some of `read`, `upload`, `manage`, `admin`; by default read and upload."""
    days: Annotated[int, Meta(ge=1, le=36_500)] | None = None
    expires: Annotated[datetime, Meta(tz=True)] | None = None
    """Instead of `days`."""
    owner: str | UnsetType | None = UNSET
    """
    By default the caller, if it can own tokens; None is nobody. Only an administrator makes tokens
    of nobody, and of others.
    """


class TokenRotation(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request for the rotation of a token."""

    token: str
    """Its id or its name."""
    hours: Annotated[float, Meta(ge=0, le=876_000)] = 24
    """How long the old token lives on."""


async def whoami(request: Request) -> Response:
    """Handle GET `/api/v1/whoami`: the caller's principals and rights."""
    caller = request.caller
    body = {
        "principal": caller.principal,
        "principals": sorted({ANONYMOUS, *caller.principals}),
        "rights": [_rights_json(scope) for scope in caller.scopes],
    }
    return json_response(200, body)


async def list_tokens(request: Request, context: ServerContext) -> Response:
    """Handle GET `/api/v1/tokens`: the tokens a caller owns or has sent; for administrators all."""
    if request.caller.is_anonymous:
        raise invalid_credential()
    tokens, now = context.index.caller_tokens, context.index.runtime.now()

    def respond() -> Response:
        listed = tokens.visible(request.caller)
        return json_response(
            200, {"tokens": [_token_json(each.record, now, each.last_used) for each in listed]}
        )

    if tokens.reads_all(request.caller):
        return await context.run_long_read(request, respond)
    return await context.pools.run_read(respond)


async def create_token(request: Request, context: ServerContext) -> Response:
    """Handle POST `/api/v1/tokens`: create a token, and answer with its text."""
    caller, index = request.caller, context.index
    signed_in = _require_maker(request, context)
    now, body = index.runtime.now(), await read_json(request, "token")
    wanted = _parse_request(body, caller, now)
    create = partial(index.caller_tokens.create, caller, signed_in, wanted)
    async with context.long_read_limit.acquire(request.client_key):
        token, record = await context.pools.run_write(create)
    return json_response(201, {"token": token.text, **_token_json(record, now)})


async def rotate_token(request: Request, context: ServerContext) -> Response:
    """Handle POST `/api/v1/tokens/rotate`: replace a token by a new one; answer with its text."""
    caller, index = request.caller, context.index
    signed_in = _require_maker(request, context)
    now, body = index.runtime.now(), await read_json(request, "token")
    wanted = decode_json(body, TokenRotation, FIELD_VALUES)
    overlap = timedelta(hours=wanted.hours)
    rotate = partial(index.caller_tokens.rotate, caller, signed_in, wanted.token, overlap)
    async with context.long_read_limit.acquire(request.client_key):
        rotated = await context.pools.run_write(rotate)
    made = {"token": rotated.token.text, **_token_json(rotated.new, now)}
    return json_response(201, {**made, "replaces": _token_json(rotated.old, now)})


async def revoke_token(request: Request, context: ServerContext) -> Response:
    """Handle DELETE `/api/v1/tokens/<id>`: revoke it, or raise NotFound if the caller may not."""
    _check_change(request, context)
    revoke = partial(context.index.caller_tokens.revoke, request.caller, request.params["id"])
    await context.pools.run_write(revoke)
    return Response(204, (NOSNIFF, NO_STORE))


async def revoke_sent_token(request: Request, context: ServerContext) -> Response:
    """Handle POST `/api/v1/tokens/self/revoke`: revoke the API token sent as the credential."""
    _check_change(request, context)
    header = request.headers.get(b"authorization")
    halves = parse_authorization(header).halves if header else ()
    token = next(filter(None, map(parse_token, halves)), None)
    if token is None:
        raise Forbidden("This is not an API token. Send the token that is to be revoked.")
    tokens, by = context.index.tokens, request.caller.principal
    await context.pools.run_write(lambda: tokens.revoke(token.id, by))
    return Response(204, (NOSNIFF, NO_STORE))


def _require_maker(request: Request, context: ServerContext) -> datetime | None:
    """Return when the caller has signed in, if that counts; raise unless it may make tokens."""
    _check_change(request, context)
    signed_in = signed_in_at(request) if can_own_tokens(request.caller) else None
    context.index.caller_tokens.require_maker(request.caller, signed_in)
    return signed_in


def _check_change(request: Request, context: ServerContext) -> None:
    """Raise an error if a changing request is anonymous, cross-site or has If-Match."""
    if request.caller.is_anonymous:
        raise invalid_credential()
    # behind the proxy a browser is authenticated by cookies, which any site can make it send
    by_proxy = b"authorization" not in request.headers
    if by_proxy and not is_same_origin(request.headers, context.index.settings.server):
        raise cross_site_error()
    require_match(request.headers, None)


def _parse_request(body: bytes, caller: Caller, now: datetime) -> TokenRequest:
    fields = decode_json(body, NewToken, FIELD_VALUES)
    if fields.days is not None and fields.expires is not None:
        raise Invalid("Send days or expires, and not both.", code="invalid_field")
    if fields.expires is not None:
        lifetime = fields.expires - now
    else:
        lifetime = timedelta(fields.days) if fields.days else DEFAULT_LIFETIME
    can, projects = fields.can or (), fields.projects
    return wanted_token(caller, fields.name, can, projects, lifetime, fields.owner)


def _token_json(
    record: TokenRecord, now: datetime, last_used: date | None = None
) -> dict[str, object]:
    """Return the JSON fields of a token, without its secret; `state` is as of `now`."""
    fields: dict[str, object] = {
        "id": record.id,
        "name": record.name,
        "owner": record.owner or None,
        **_rights_json(record.scope),
        "state": record.state(now),
        "created": timestamp(record.created_at),
        "created-by": record.created_by,
        "expires": timestamp(record.expires_at),
        "last-used": last_used,
    }
    if record.revoked_at is not None:
        fields |= {"revoked": timestamp(record.revoked_at), "revoked-by": record.revoked_by}
    if record.rotation is not None:
        fields["replaced-by"] = record.rotation.successor
    if record.publishers:
        fields["publishers"] = record.publishers
    return fields


def _rights_json(scope: Scope) -> dict[str, object]:
    can = [action.word for action in Action if action & scope.actions]
    return {"can": can, "projects": scope.projects}
