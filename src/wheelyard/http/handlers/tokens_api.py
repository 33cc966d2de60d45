"""
`/api/v1/tokens` and `/api/v1/whoami`: who is calling, and the API tokens of a person.

    GET    whoami                 by which names grants call the caller, and what they may do
    GET    tokens                 one's own; an administrator sees all of them
    POST   tokens                 {"name": "ci", "can": ["upload"], "projects": ["acme-core"]}
    DELETE tokens/<id>            by its owner, an administrator, or with the token itself
    POST   tokens/self/revoke     with the token, by whoever has found it

A token never makes a token: only somebody who has signed in within the hour does, for themselves,
and it opens nothing that is not open to them at the time it is used.

Whose tokens there are is in their records alone. So GET and POST list all of them, and read what
this process has not seen yet: one class A operation for a thousand tokens, and one class B for each
that is new or was revoked; for GET the same again for the days of last use. They are long
reads, of which few are under way at a time.
"""

from datetime import date, datetime, timedelta
from types import MappingProxyType
from typing import Annotated, Final

from msgspec import Meta, Struct

from wheelyard.authentication.api_tokens import (
    DEFAULT_ACTIONS,
    DEFAULT_LIFETIME,
    TokenRequest,
    invalid_credential,
)
from wheelyard.authentication.verifiers.verifier import decode_segment
from wheelyard.errors import Forbidden, Invalid, NotFound
from wheelyard.http.context import ServerContext
from wheelyard.http.protocol.conditional_requests import check_if_match
from wheelyard.http.protocol.error_responses import error_response
from wheelyard.http.protocol.json_body import decode_json, json_response, read_body
from wheelyard.http.protocol.messages import JSON, NO_STORE, NOSNIFF, Request, Response
from wheelyard.http.security.csrf import cross_site_error, is_same_origin
from wheelyard.http.security.request_authentication import parse_authorization
from wheelyard.model.access import (
    ANONYMOUS,
    Action,
    Caller,
    Scope,
    is_subset,
    parse_actions,
    parse_pattern,
)
from wheelyard.model.claim_matchers import numeric_date
from wheelyard.model.token import TokenRecord, is_token_id, parse_token
from wheelyard.rendering.simple_pages import timestamp

REAUTHENTICATION_WINDOW: Final = timedelta(hours=1)
"""How long ago somebody may have signed in who makes a token."""
OWNER_PREFIXES: Final = ("user:", "serviceAccount:")
"""How the principals begin of those who have signed in, and who can own a token."""
MAX_PATTERNS: Final = 100
"""Patterns of one token."""

FIELD_VALUES: Final = MappingProxyType(
    {
        "projects": f"a list of 1 to {MAX_PATTERNS} patterns",
        "can": "a list of some of read, upload and manage",
        "days": "a number from 1 to 36500",
        "expires": "a time with its offset, such as 2030-01-31T00:00:00Z",
    }
)
"""What the fields of a new token can be that are no strings."""

StringList = Annotated[list[str], Meta(min_length=1, max_length=MAX_PATTERNS)]


class NewToken(Struct, frozen=True, forbid_unknown_fields=True):
    """What a token is to be."""

    name: str
    projects: StringList
    can: StringList | None = None
    """`read`, `upload`, `manage`; read and upload if it is not said."""
    days: Annotated[int, Meta(ge=1, le=36_500)] | None = None
    expires: Annotated[datetime, Meta(tz=True)] | None = None
    """Instead of `days`."""


async def whoami(request: Request) -> Response:
    """Answer by which names grants call the caller, and what they may do."""
    caller = request.caller
    body = {
        "principal": caller.principal,
        "principals": sorted({ANONYMOUS, *caller.principals}),
        "rights": [_rights(scope) for scope in caller.scopes],
    }
    return json_response(200, body)


async def list_tokens(request: Request, context: ServerContext) -> Response:
    """Answer with the caller's tokens; an administrator sees all of them."""
    _require_somebody(request)
    tokens, now, caller = context.index.tokens, context.index.runtime.now(), request.caller
    is_admin = caller.may_everywhere(Action.ADMIN)

    def shown(found: list[TokenRecord]) -> Response:
        days = tokens.last_uses(found) if found else {}
        return json_response(
            200, {"tokens": [_shown(each, now, days.get(each.id)) for each in found]}
        )

    def every() -> Response:
        return shown([each for each in tokens.all() if is_admin or _owns(caller, each)])

    def itself() -> Response:
        record = _record(caller.principal.removeprefix("token:"), context)
        return shown([record] if record and _owns(caller, record) else [])

    if not is_admin and not _is_person(caller):
        return await context.pools.run_read(itself)  # nothing here is theirs but the token itself
    async with context.long_read_limit.acquire(request.client_key):
        return await context.pools.run_read(every)


async def create_token(request: Request, context: ServerContext) -> Response:
    """
    Make a token for the caller.

    Raises:
        Forbidden: The caller may not make such a token.
        Conflict: The caller has too many tokens.
    """
    refused = _refused(request, context)
    if refused is not None:
        return refused
    caller, now = request.caller, context.index.runtime.now()
    _require_signed_in(request, now)
    if request.media_type != JSON:
        message = 'Send the token as JSON, with "Content-Type: application/json".'
        return error_response(415, "unsupported_media_type", message, "Send application/json.")
    wanted = _wanted(await read_body(request.receive), caller, now)
    # what anybody may do, a stranger needs no token for
    own = context.index.authenticator.policy.grants.scopes_of(caller.principals)
    if not is_subset(Scope(wanted.actions, wanted.projects), own):
        raise Forbidden(
            "A token may do no more than whoever makes it. Ask for fewer projects or actions; "
            "/api/v1/whoami has what you may do.",
            short="More than you may do.",
        )
    tokens = context.index.tokens
    async with context.long_read_limit.acquire(request.client_key):
        await context.pools.run_read(
            lambda: tokens.check_quota(caller.principal, caller.principals)
        )
    token, record = await context.pools.run_write(
        lambda: tokens.create(wanted, by=caller.principal)
    )
    return json_response(201, {"token": token.text, **_shown(record, now)})


async def revoke_token(request: Request, context: ServerContext) -> Response:
    """
    Revoke a token by its id.

    Raises:
        NotFound: There is no token with that id, or it is not the caller's.
    """
    refused = _refused(request, context)
    if refused is not None:
        return refused
    token_id, caller = request.params["id"], request.caller
    record = await context.pools.run_read(lambda: _record(token_id, context))
    is_theirs = record is not None and _owns(caller, record)
    if record is None or not (is_theirs or caller.may_everywhere(Action.ADMIN)):
        raise NotFound(
            "There is no token with this id, or it is not yours. See /api/v1/tokens.",
            short="No such token.",
        )
    return await _revoke(token_id, caller, context)


async def revoke_sent_token(request: Request, context: ServerContext) -> Response:
    """
    Revoke the token that the request was sent with.

    Raises:
        Forbidden: It was sent with another kind of credential.
    """
    refused = _refused(request, context)
    if refused is not None:
        return refused
    header = request.headers.get(b"authorization")
    halves = parse_authorization(header).halves if header else ()
    token = next(filter(None, map(parse_token, halves)), None)
    if token is None:
        raise Forbidden("This is no API token. Send the token that is to be revoked.")
    return await _revoke(token.id, request.caller, context)


def _require_somebody(request: Request) -> None:
    if request.caller.is_anonymous:
        raise invalid_credential()


def _refused(request: Request, context: ServerContext) -> Response | None:
    """Return the refusal of a change that a browser may have been made to send, else None."""
    _require_somebody(request)
    is_ambient = b"authorization" not in request.headers
    if is_ambient and not is_same_origin(request.headers, context.index.settings.server):
        return cross_site_error()
    return check_if_match(request.headers, None)


async def _revoke(token_id: str, caller: Caller, context: ServerContext) -> Response:
    tokens = context.index.tokens
    await context.pools.run_write(lambda: tokens.revoke(token_id, by=caller.principal))
    return Response(204, (NOSNIFF, NO_STORE))


def _require_signed_in(request: Request, now: datetime) -> None:
    """Raise unless somebody asks who has proven lately who they are, not by a stored secret."""
    if not _is_person(request.caller):
        raise Forbidden(
            "Only somebody who signs in makes a token: send an ID token made out to this index, "
            "or have its operator use 'wheelyard token create'.",
            short="A stored secret makes no tokens.",
        )
    header = request.headers.get(b"authorization")
    # a proxy's word for somebody lives for ten minutes, and is never older
    if header is None:
        return
    age = now.timestamp() - _issued_at(parse_authorization(header).secret)
    if age > REAUTHENTICATION_WINDOW.total_seconds():
        raise Forbidden("You have signed in more than an hour ago. Send a new ID token.")


def _issued_at(statement: str) -> float:
    """Return when a signed token was made; whoever is a person by it has shown it to hold."""
    return numeric_date(decode_segment(statement.split(".")[1]).get("iat")) or 0.0


def _wanted(body: bytes, caller: Caller, now: datetime) -> TokenRequest:
    asked = decode_json(body, NewToken, FIELD_VALUES)
    if asked.days is not None and asked.expires is not None:
        raise Invalid("Send days or expires, and not both.", code="invalid_field")
    lifetime = DEFAULT_LIFETIME if asked.days is None else timedelta(days=asked.days)
    return TokenRequest(
        name=asked.name,
        actions=DEFAULT_ACTIONS if asked.can is None else parse_actions(asked.can),
        projects=tuple(sorted({parse_pattern(each) for each in asked.projects})),
        lifetime=lifetime if asked.expires is None else asked.expires - now,
        owner=caller.principal,
        owner_names=tuple(sorted(caller.principals)),
    )


def _record(token_id: str, context: ServerContext) -> TokenRecord | None:
    if not is_token_id(token_id):
        return None
    return context.index.tokens.records.get(token_id).value


def _owns(caller: Caller, record: TokenRecord) -> bool:
    """Return whether a token is the caller's: the one they have made, or the one they send."""
    is_owner = _is_person(caller) and record.is_owned_by(caller.principal, caller.principals)
    return is_owner or caller.principal == f"token:{record.id}"


def _is_person(caller: Caller) -> bool:
    return caller.principal.startswith(OWNER_PREFIXES)


def _shown(record: TokenRecord, now: datetime, last_used: date | None = None) -> dict[str, object]:
    """Return what may be told of a token: everything but what it is known by."""
    shown: dict[str, object] = {
        "id": record.id,
        "name": record.name,
        "owner": record.owner or None,
        **_rights(record.scope),
        "state": record.state(now),
        "created": timestamp(record.created_at),
        "created-by": record.created_by,
        "expires": timestamp(record.expires_at),
        "last-used": last_used,
    }
    if record.revoked_at is not None:
        shown |= {"revoked": timestamp(record.revoked_at), "revoked-by": record.revoked_by}
    if record.publishers:
        shown["publishers"] = record.publishers
    return shown


def _rights(scope: Scope) -> dict[str, object]:
    can = [action.word for action in Action if action & scope.actions]
    return {"can": can, "projects": scope.projects}
