"""
Handlers of `/api/v1/tokens` and `/api/v1/whoami`: the caller's rights and API tokens.

    GET    whoami                 the caller's principals and rights
    GET    tokens                 the caller's tokens; for an administrator all tokens
    POST   tokens                 {"name": "ci", "can": ["upload"], "projects": ["acme-core"]}
    POST   tokens/rotate          {"token": "ci", "hours": 24}
    DELETE tokens/<id>            for its owner, an administrator, or the token itself
    POST   tokens/self/revoke     for anyone who has the token, as the finder of a leaked one

An administrator creates tokens for others, and tokens without an owner. Everybody else creates
tokens of their own, with an ID token of the last hour or behind the Identity-Aware Proxy: no token
creates a token. When a token is used, it gives no rights that its owner does not have at that time.

GET and POST of `tokens` read the records of all tokens, as there is no other list. On a bucket that
costs one class A operation for each thousand tokens, and one class B operation for each record that
this process has not read yet; GET reads the days of last use as well. So both are
`long_read_limit`ed.
"""

from datetime import date, datetime, timedelta
from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from wheelyard.authentication import api_tokens
from wheelyard.authentication.api_tokens import TokenRequest, invalid_credential
from wheelyard.authentication.explain import OWNER_PREFIXES, parse_owner
from wheelyard.authentication.token_rotation import find_token, rotate
from wheelyard.authentication.verifiers.verifier import decode_segment
from wheelyard.errors import Forbidden, Invalid, NotFound
from wheelyard.http.context import ServerContext
from wheelyard.http.protocol.conditional_requests import check_if_match
from wheelyard.http.protocol.json_body import check_json, decode_json, json_response, read_body
from wheelyard.http.protocol.messages import NO_STORE, NOSNIFF, Request, Response
from wheelyard.http.security.csrf import cross_site_error, is_same_origin
from wheelyard.http.security.request_authentication import parse_authorization
from wheelyard.model import access
from wheelyard.model.access import ANONYMOUS, Action, Caller, Scope
from wheelyard.model.claim_matchers import numeric_date
from wheelyard.model.token import TokenRecord, is_token_id, parse_token
from wheelyard.rendering.simple_pages import timestamp

REAUTHENTICATION_WINDOW: Final = timedelta(hours=1)
"""The age at which an ID token is too old to create an API token with it."""
MAX_PATTERNS: Final = 100
"""Project patterns of one token."""
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
    hours: Annotated[int, Meta(ge=0, le=876_000)] = 24
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
    tokens, now, caller = context.index.tokens, context.index.runtime.now(), request.caller
    is_admin = caller.may_everywhere(Action.ADMIN)

    def respond(records: list[TokenRecord]) -> Response:
        days = tokens.last_uses(records) if records else {}
        listed = [_token_json(each, now, days.get(each.id)) for each in records]
        return json_response(200, {"tokens": listed})

    def list_all() -> Response:
        return respond([each for each in tokens.all() if is_admin or _owns(caller, each)])

    def list_sent() -> Response:
        record = _find_record(caller.principal.removeprefix("token:"), context)
        return respond([record] if record and _owns(caller, record) else [])

    if not is_admin and not _can_own_tokens(caller):
        # a caller with an API token sees that token, and any other caller sees none
        return await context.pools.run_read(list_sent)
    async with context.long_read_limit.acquire(request.client_key):
        return await context.pools.run_read(list_all)


async def create_token(request: Request, context: ServerContext) -> Response:
    """Handle POST `/api/v1/tokens`: create a token, and answer with its text."""
    if rejection := _check_creation(request, context):
        return rejection
    caller, now, tokens = request.caller, context.index.runtime.now(), context.index.tokens
    is_admin = caller.may_everywhere(Action.ADMIN)
    wanted = _parse_request(await read_body(request.receive), caller, now)
    if wanted.owner == caller.principal:
        _require_signed_in(request, now)
        await _require_own_rights(wanted, context, caller)
        async with context.long_read_limit.acquire(request.client_key):
            await context.pools.run_read(
                lambda: tokens.check_quota(caller.principal, caller.principals)
            )
    elif not is_admin:
        raise Forbidden(
            "Only an administrator makes tokens for others, or tokens of nobody. Name yourself "
            f"as the owner: {caller.principal}.",
            short="Only an administrator makes tokens for others.",
        )
    token, record = await context.pools.run_write(
        lambda: tokens.create(wanted, by=caller.principal)
    )
    return json_response(201, {"token": token.text, **_token_json(record, now)})


async def _require_own_rights(wanted: TokenRequest, context: ServerContext, caller: Caller) -> None:
    """Raise Forbidden if a token could do more than grants allow its owner, the caller."""
    # without the scopes of anonymous callers: nobody needs a token for those
    grants = await context.pools.run_read(context.index.access.load)
    own_scopes = grants.scopes_of(caller.principals)
    if not access.is_subset(Scope(wanted.actions, wanted.projects), own_scopes):
        raise Forbidden(
            "A token may do no more than its owner. Ask for fewer projects or actions; "
            "/api/v1/whoami has your rights.",
            short="More than you may do.",
        )


async def rotate_token(request: Request, context: ServerContext) -> Response:
    """
    Handle POST `/api/v1/tokens/rotate`: replace a token by a new one; answer with its text.

    An administrator may rotate each token, given by name or id; its owner, who has signed in, may
    do so by id.
    """
    if rejection := _check_creation(request, context):
        return rejection
    caller, now, tokens = request.caller, context.index.runtime.now(), context.index.tokens
    is_admin = caller.may_everywhere(Action.ADMIN)
    wanted = decode_json(await read_body(request.receive), TokenRotation, FIELD_VALUES)
    async with context.long_read_limit.acquire(request.client_key):
        if is_admin:
            old = await context.pools.run_read(lambda: find_token(tokens, wanted.token))
        else:
            found = await context.pools.run_read(lambda: _find_record(wanted.token, context))
            if found is None or not _owns(caller, found):
                raise _no_such_token()
            old = found
            await context.pools.run_read(
                lambda: tokens.check_quota(caller.principal, caller.principals)
            )
    overlap = timedelta(hours=wanted.hours)
    rotated = await context.pools.run_write(lambda: rotate(tokens, old, overlap, caller.principal))
    made = {"token": rotated.token.text, **_token_json(rotated.new, now)}
    return json_response(201, {**made, "replaces": _token_json(rotated.old, now)})


async def revoke_token(request: Request, context: ServerContext) -> Response:
    """Handle DELETE `/api/v1/tokens/<id>`: revoke it, or raise NotFound if the caller may not."""
    if rejection := _check_change(request, context):
        return rejection
    token_id, caller = request.params["id"], request.caller
    is_admin = caller.may_everywhere(Action.ADMIN) and is_token_id(token_id)
    record = await context.pools.run_read(lambda: _find_record(token_id, context))
    if not is_admin and (record is None or not _owns(caller, record)):
        raise _no_such_token()
    return await _revoke(token_id, caller, context)


async def revoke_sent_token(request: Request, context: ServerContext) -> Response:
    """Handle POST `/api/v1/tokens/self/revoke`: revoke the API token sent as the credential."""
    if rejection := _check_change(request, context):
        return rejection
    header = request.headers.get(b"authorization")
    halves = parse_authorization(header).halves if header else ()
    token = next(filter(None, map(parse_token, halves)), None)
    if token is None:
        raise Forbidden("This is not an API token. Send the token that is to be revoked.")
    return await _revoke(token.id, request.caller, context)


def _check_creation(request: Request, context: ServerContext) -> Response | None:
    """
    Return an error response if a request for a new token is malformed or cross-site, else None.

    Raise Forbidden unless the caller is an administrator or has signed in.
    """
    if rejection := _check_change(request, context):
        return rejection
    if not request.caller.may_everywhere(Action.ADMIN):
        _require_signed_in(request, context.index.runtime.now())
    return check_json(request, "token")


def _no_such_token() -> NotFound:
    return NotFound(
        "There is no token with this id, or it is not yours. See /api/v1/tokens.",
        short="No such token.",
    )


def _check_change(request: Request, context: ServerContext) -> Response | None:
    """
    Return an error response if a changing request is cross-site or has If-Match, else None.

    Raise Unauthenticated if the caller is anonymous. A request that the Identity-Aware Proxy has
    authenticated is cross-site unless its headers say that a page of this index has made it.
    """
    if request.caller.is_anonymous:
        raise invalid_credential()
    # behind the proxy a browser is authenticated by cookies, which any site can make it send
    by_proxy = b"authorization" not in request.headers
    if by_proxy and not is_same_origin(request.headers, context.index.settings.server):
        return cross_site_error()
    return check_if_match(request.headers, None)


async def _revoke(token_id: str, caller: Caller, context: ServerContext) -> Response:
    tokens = context.index.tokens
    await context.pools.run_write(lambda: tokens.revoke(token_id, by=caller.principal))
    return Response(204, (NOSNIFF, NO_STORE))


def _require_signed_in(request: Request, now: datetime) -> None:
    """
    Raise Forbidden unless the caller has signed in with Google lately, directly or at the proxy.

    An ID token must be at most an hour old. No other credential counts, such as an API token or a
    password.
    """
    if not _can_own_tokens(request.caller):
        raise Forbidden(
            "Only an administrator, or a user who has signed in, can create or rotate a token: "
            "send an ID token for this index, or ask its operator to use 'wheelyard token'.",
            short="Sign in to create tokens.",
        )
    header = request.headers.get(b"authorization")
    if header is None:  # an assertion of the proxy, which expires after ten minutes
        return
    id_token = parse_authorization(header).secret  # has been verified: the caller is a user
    issued_at = numeric_date(decode_segment(id_token.split(".")[1]).get("iat")) or 0.0
    if now.timestamp() - issued_at > REAUTHENTICATION_WINDOW.total_seconds():
        raise Forbidden("You have signed in more than an hour ago. Send a new ID token.")


def _parse_request(body: bytes, caller: Caller, now: datetime) -> TokenRequest:
    fields = decode_json(body, NewToken, FIELD_VALUES)
    if fields.days is not None and fields.expires is not None:
        raise Invalid("Send days or expires, and not both.", code="invalid_field")
    if fields.expires is not None:
        lifetime = fields.expires - now
    else:
        lifetime = timedelta(fields.days) if fields.days else api_tokens.DEFAULT_LIFETIME
    owner, names = caller.principal, tuple(sorted(caller.principals))
    if fields.owner is None or (fields.owner is UNSET and not _can_own_tokens(caller)):
        owner, names = "", ()
    elif fields.owner is not UNSET:
        owner, others = parse_owner(fields.owner)
        # a caller's own principals are those that the credential proves, whatever is sent
        names = names if owner == caller.principal else others
    return TokenRequest(
        name=fields.name,
        actions=access.parse_actions(fields.can, admin=True)
        if fields.can
        else api_tokens.DEFAULT_ACTIONS,
        projects=tuple(sorted({access.parse_pattern(each) for each in fields.projects})),
        lifetime=lifetime,
        owner=owner,
        owner_names=names,
    )


def _find_record(token_id: str, context: ServerContext) -> TokenRecord | None:
    if not is_token_id(token_id):
        return None
    return context.index.tokens.records.get(token_id).value


def _owns(caller: Caller, record: TokenRecord) -> bool:
    """Return whether the caller owns a token, or has sent it as the credential."""
    is_owner = _can_own_tokens(caller) and record.is_owned_by(caller.principal, caller.principals)
    return is_owner or caller.principal == f"token:{record.id}"


def _can_own_tokens(caller: Caller) -> bool:
    return caller.principal.startswith(OWNER_PREFIXES)


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
