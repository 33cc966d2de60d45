"""
Handlers of `/api/v1/` (the page `api.md`), and of the endpoints of trusted publishing.

    GET  /_/oidc/audience      the audience to request an ID token for
    POST /_/oidc/mint-token    {"token": ID_TOKEN}: returns an upload token that lives for minutes
    POST /_/oidc/burn-token    {"token": UPLOAD_TOKEN}: revokes it before it expires
    GET  /.well-known/pytp     the URLs of these endpoints (PEP 807, a draft)

The caller of these four endpoints is not authenticated: the ID token in the body is the proof. The
body of an error response has two forms in one: `errors`, which clients read (some without looking
at the status), and RFC 9457. No token is ever logged, nor an error message, which repeats claims.

Tokens that are malformed or not genuine have a rate limit of their own. So a client that sends
garbage does not lock out CI jobs behind the same address.
"""

import logging
import re
from contextlib import suppress
from math import ceil
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import parse_qs

from msgspec import DecodeError, Struct, ValidationError
from msgspec.json import decode, encode
from msgspec.structs import replace

from wheelyard import errors
from wheelyard.api.operation import ApiOperation, Call, decode_body, decode_query
from wheelyard.authentication.rejections import rejection_reason
from wheelyard.authentication.verifiers.login_rate_limit import LoginRateLimit, address_key
from wheelyard.concurrency.runtime import Clock
from wheelyard.http import error_responses
from wheelyard.http.context import IndexRequest
from wheelyard.http.forms import cross_site_error, is_same_origin, public_origin
from wheelyard.http.messages import CSP, JSON, NO_STORE, NOSNIFF, Response, make_response
from wheelyard.http.representation import require_match
from wheelyard.http.request_authentication import CallerElsewhere, parse_authorization, signed_in_at
from wheelyard.http.requests import json_response, read_json, receive_body
from wheelyard.http.routing import UPLOAD_ROUTE, RouteTable
from wheelyard.http.work_limits import ConcurrencyLimit
from wheelyard.model.api_token import parse_token
from wheelyard.settings.sections import Settings

if TYPE_CHECKING:
    from wheelyard.authentication.trusted_publishing import TrustedPublishing

BODY_LIMIT_BYTES: Final = 32 * 1024
BODY_TOO_LONG: Final = f"A request for a token has at most {BODY_LIMIT_BYTES} bytes."
REQUESTS_PER_MINUTE: Final = 60
"""The limit of an address for an endpoint, of genuine tokens and of other ones separately."""
WELL_FORMED_PER_MINUTE: Final = 10 * REQUESTS_PER_MINUTE
"""How many well-formed tokens of an address are verified; to verify a signature costs little."""
MAX_CONCURRENT_REQUESTS: Final = 8
"""How many requests run at a time: a slow issuer must not take the threads that uploads need."""
GENUINE_CODES: Final = frozenset({errors.INVALID_PUBLISHER, errors.INVALID_REUSE})
"""Error codes of ID tokens that are genuine, but rejected."""
ERROR_TITLE: Final = "Token request failed"
FEATURES: Final = ("multi-use-token",)
"""PEP 807's name for a token that may upload more than one file."""
Step = Literal["mint", "burn"]
"""What a request asks for: to make a token, or to revoke one."""
_JWT: Final = re.compile(r"[A-Za-z0-9_=-]+\.[A-Za-z0-9_=-]+\.[A-Za-z0-9_=-]+")
_DISCOVERY_TYPES: Final = frozenset(
    {"", "*/*", "application/*", "application/json", "application/vnd.pypi.pytp.v1+json"}
)
logger = logging.getLogger("wheelyard")


class OperationHandler(Struct, frozen=True):
    """Handles the requests for one operation of the API."""

    operation: ApiOperation

    def handle(self, request: IndexRequest) -> Response:
        """
        Call the operation, and return its result as JSON, or 204 without a result.

        The right of the operation is checked before a body is read: raises Unauthenticated,
        Forbidden, or NotFound for a malformed name. Raises Forbidden if a change comes from another
        site, and Invalid (412) if it has If-Match. Raises Invalid for a malformed body or query,
        and TooLarge for a body that is too long. Raises Waiting for the body or an upstream index.
        Raises what the operation raises.
        """
        operation = self.operation
        call = self._call(request)
        params = request.path_params

        # this checks the right, too, before the body of a stranger is read
        operation.checked_arguments(call, params)
        if operation.method != "GET":
            self._require_safe_change(request)
        body: Struct | None = None
        if operation.body_type is not None and operation.method == "GET":
            body = decode_query(request.query_string, operation.body_type)
        elif operation.body_type is not None:
            body = decode_body(read_json(request, operation.body_limit), operation.body_type)
        asks_upstream = operation.asks_upstream and getattr(body, "asks_upstream", True)

        if asks_upstream:
            result = request.ask_upstream("operation", operation.answer_to, call, params, body)
        else:
            result = operation.answer_to(call, params, body)
        if result is None:
            return Response(204, (NOSNIFF, NO_STORE))
        return json_response(operation.status, result)

    def _call(self, request: IndexRequest) -> Call:
        """Return the index, the caller and the credential of a request, for the operation."""
        caller = request.caller
        call = Call(
            index=request.context.index,
            caller=caller,
            lists_public=True,
            caller_elsewhere=CallerElsewhere(request, request.context.index),
        )
        # only to make or revoke tokens needs the time of the sign-in, and the sent token
        if self.operation.method == "GET" or not self.operation.takes_iap:
            return call
        if caller.can_own_tokens:
            call = replace(call, signed_in_at=signed_in_at(request))
        header = request.joined_headers.get(b"authorization")
        if header:
            # either half of a Basic credential may be the token
            for half in parse_authorization(header).halves:
                token = parse_token(half)
                if token is not None:
                    return replace(call, sent_token=token)
        return call

    def _require_safe_change(self, request: IndexRequest) -> None:
        """Raise Forbidden if a changing request is cross-site, and Invalid if it has If-Match."""
        headers = request.joined_headers
        server = request.context.index.settings.server
        # a proxy authenticates a browser by cookies, which any site can make the browser send
        is_by_proxy = self.operation.takes_iap and b"authorization" not in headers
        if is_by_proxy and not is_same_origin(headers, server):
            raise cross_site_error()
        # no resource that the API changes has an ETag, so If-Match never holds
        require_match(headers, None)


class _TokenBody(Struct, frozen=True):
    """The body of a request to mint or to revoke a token. Its other fields are ignored."""

    token: str


class TrustedPublishingApi:
    """Handles the requests to the endpoints of trusted publishing, within rate limits."""

    def __init__(self, monotonic: Clock) -> None:
        self._concurrency = ConcurrencyLimit(MAX_CONCURRENT_REQUESTS, "requests for tokens")
        self._rate_limit = LoginRateLimit(REQUESTS_PER_MINUTE, monotonic)
        self._well_formed_rate_limit = LoginRateLimit(WELL_FORMED_PER_MINUTE, monotonic)
        """Counts all well-formed tokens of an address, before they are verified."""

    def discovery(self, request: IndexRequest) -> Response:
        """
        Handle GET `/.well-known/pytp`: the URLs to get an audience, and to mint a token.

        The response is 404 if there is no publisher, the settings name no host, or `?discover=` is
        not the upload URL of an index that takes uploads. It is 406 if the client accepts no JSON.
        Raises Unavailable if the publishers of the store cannot be read.
        """
        if _publishing_in_use(request) is None:
            return _problem_response(404)
        accept_header = request.joined_headers.get(b"accept", b"")
        accept = accept_header.decode("latin-1").lower()
        accepted_types = {entry.partition(";")[0].strip() for entry in accept.split(",")}
        if accepted_types.isdisjoint(_DISCOVERY_TYPES):
            return _problem_response(406)
        # from the settings, and never from the header Host, which a client can choose
        origin = _public_origin(request.context.index.settings)
        if not origin or not self._asks_for_upload_url(request):
            return _problem_response(404)
        body = {
            "audience-endpoint": f"{origin}/_/oidc/audience",
            "token-mint-endpoint": f"{origin}/_/oidc/mint-token",
            "features": FEATURES,
            "default-features": FEATURES,
        }
        return json_response(200, body)

    def audience(self, request: IndexRequest) -> Response:
        """
        Handle GET `/_/oidc/audience`: the audience that a CI job requests an ID token for.

        The response is 404 if there is no publisher. Raises Unavailable if the publishers of the
        store cannot be read.
        """
        publishing = _publishing_in_use(request)
        if publishing is None:
            return _not_enabled()
        return json_response(200, {"audience": publishing.audiences[0]})

    def _asks_for_upload_url(self, request: IndexRequest) -> bool:
        """Return whether the query's `discover` is an upload URL of an index that takes uploads."""
        routes: RouteTable = request.app.routes
        index = request.context.index
        server = index.settings.server
        # a query that cannot be parsed, or an index that cannot be read, is no upload URL
        with suppress(errors.WheelyardError, LookupError, ValueError):
            query = request.query_string.decode("ascii")
            (path,) = parse_qs(query, errors="strict", max_num_fields=8)["discover"]
            before_prefix, prefix, path_in_server = path.partition(f"{server.public_path}/")
            path_in_index = path_in_server
            first_segment, slash, path_after_segment = path_in_server.partition("/")
            if slash and first_segment in index.server.definitions.served():
                path_in_index = path_after_segment
                index = index.named(first_segment)
            has_prefix = prefix != "" and before_prefix == ""
            if not has_prefix or not index.takes_uploads:
                return False
            return routes.name_of(f"/{path_in_index}".encode(), "POST") == UPLOAD_ROUTE
        return False

    async def mint(self, request: IndexRequest) -> Response:
        """
        Handle POST `/_/oidc/mint-token`: return an upload token for an ID token.

        An error is answered, and logged unless it is a rate limit. Raises ClientDisconnected or
        SlowClient if the body does not come.
        """
        return await self._handle(request, "mint")

    async def burn(self, request: IndexRequest) -> Response:
        """
        Handle POST `/_/oidc/burn-token`: revoke an upload token before it expires.

        An error is answered, and logged unless it is a rate limit. Raises ClientDisconnected or
        SlowClient if the body does not come.
        """
        return await self._handle(request, "burn")

    async def _handle(self, request: IndexRequest, step: Step) -> Response:
        """Return the response to a request for a step, also if the step fails."""
        publishing = request.context.index.authenticator.trusted_publishing
        if publishing is None:
            return _not_enabled()
        try:
            return await self._answer_step(request, publishing, step)
        except errors.WheelyardError as error:
            return _error_response_for(step, error)

    async def _answer_step(
        self, request: IndexRequest, publishing: "TrustedPublishing", step: Step
    ) -> Response:
        """
        Do a step within the rate limits, and return the response.

        Raises WheelyardError if the step fails.
        """
        genuine_key = address_key(request.address, step)
        garbage_key = address_key(request.address, f"{step}-garbage")
        try:
            token = await _read_token(request)
        except (errors.Invalid, errors.TooLarge):
            _require_no_wait(self._rate_limit.count_attempt(garbage_key))
            raise
        if step == "burn":
            is_well_formed = parse_token(token) is not None
        else:
            is_well_formed = _JWT.fullmatch(token) is not None

        # before the concurrency limit, whose places are for all clients
        if is_well_formed:
            _require_no_wait(self._well_formed_rate_limit.count_attempt(genuine_key))
            _require_no_wait(self._rate_limit.seconds_until((genuine_key,)))
        else:
            _require_no_wait(self._rate_limit.count_attempt(garbage_key))

        # A thread reads the store, and asks the issuer for keys: this coroutine runs in the event
        # loop.
        pools = request.context.process.pools
        async with self._concurrency.acquire(request.client_key):
            # a malformed token was counted above, and is refused without asking the issuer
            if not is_well_formed:
                return await pools.run_in(pools.writes, _mint_or_revoke, publishing, step, token)
            return await pools.run_in(
                pools.writes,
                self._mint_or_revoke_counted,
                publishing,
                step,
                token,
                genuine_key,
                garbage_key,
            )

    def _mint_or_revoke_counted(
        self,
        publishing: "TrustedPublishing",
        step: Step,
        token: str,
        genuine_key: str,
        garbage_key: str,
    ) -> Response:
        """
        Do a step, and count its token as genuine, or as garbage if it proves not to be genuine.

        The keys are those of the address in the two counts. Raises WheelyardError if the step
        fails.
        """
        # counted before and given back after: requests at the same time cannot pass the limit
        _require_no_wait(self._rate_limit.count_attempt(genuine_key))
        try:
            return _mint_or_revoke(publishing, step, token)
        except errors.WheelyardError as error:
            if error.code not in GENUINE_CODES:
                self._rate_limit.give_back(genuine_key)
                _require_no_wait(self._rate_limit.count_attempt(garbage_key))
            raise


def _publishing_in_use(request: IndexRequest) -> "TrustedPublishing | None":
    """
    Return the exchange of tokens, or None if there is no publisher.

    Clients that learn of None ask for no token. Raises Unavailable if the publishers of the store
    cannot be read.
    """
    publishing = request.context.index.authenticator.trusted_publishing
    if publishing is None or not publishing.publishers.load().all:
        return None
    return publishing


def _mint_or_revoke(publishing: "TrustedPublishing", step: Step, token: str) -> Response:
    """
    Mint or revoke a token, and return the response.

    Raises WheelyardError if the step fails.
    """
    if step == "burn":
        publishing.revoke(token)
        return json_response(202, {})
    minted = publishing.mint(token)
    body = {"success": True, "token": minted.token.text, "expires": minted.expires}
    return json_response(200, body)


async def _read_token(request: IndexRequest) -> str:
    """
    Return the token in a JSON body of any Content-Type.

    Raises Invalid for a malformed body, and TooLarge for one that is too long.
    """
    body = await receive_body(request, BODY_LIMIT_BYTES, BODY_TOO_LONG)
    try:
        return decode(body, type=_TokenBody).token
    except (DecodeError, ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise errors.Invalid('Send a JSON object: {"token": "..."}.') from error


def _public_origin(settings: Settings) -> str:
    """Return the origin that the settings name for this index, or an empty text without one."""
    origin = public_origin(settings.server)
    hosts = settings.access.trusted_hosts
    if not origin and hosts:
        return f"https://{hosts[0]}"
    return origin


def _error_response_for(step: Step, error: errors.WheelyardError) -> Response:
    """Log the code of an error in a step of trusted publishing, and return the error response."""
    response = error_responses.error_response_for(error)
    code = error.code
    # not logged, as a client could fill the log
    if code == errors.RATE_LIMITED:
        return _with_errors(response, "rate-limited", error.message)
    reason = rejection_reason(error, otherwise=code)
    logger.info("a step of trusted publishing was refused: %s, %s", step, reason)
    if isinstance(error, errors.Invalid):
        # clients know only the codes of PyPI, which have dashes
        response.status_code = 422
        if "-" not in code:
            code = "invalid-payload"
    return _with_errors(response, code, error.message)


def _require_no_wait(seconds: float) -> None:
    """Raise Unavailable (code `rate_limited`) if a client has to wait some seconds."""
    if seconds:
        message = "Too many requests from this address."
        raise errors.Unavailable(message, code=errors.RATE_LIMITED, retry_after=ceil(seconds))


def _not_enabled() -> Response:
    """Return the response (404) of a server without trusted publishing."""
    message = "Trusted publishing is not enabled here."
    response = error_responses.error_response(404, "not-enabled", message)
    return _with_errors(response, "not-enabled", message)


def _with_errors(response: Response, code: str, description: str) -> Response:
    """Return an error response with the two forms of body that clients of these endpoints read."""
    body = {
        "type": "about:blank",
        "title": ERROR_TITLE,
        "status": response.status_code,
        "detail": description,
        "message": ERROR_TITLE,
        "errors": [{"code": code, "description": description}],
    }
    return error_responses.with_body(response, JSON, encode(body), CSP)


def _problem_response(status: int) -> Response:
    """Return an error response in the form of RFC 9457, which PEP 807 asks for."""
    body = encode({"title": error_responses.REASON_PHRASES[status], "status": status})
    return make_response(status, b"application/problem+json", body, NO_STORE)
