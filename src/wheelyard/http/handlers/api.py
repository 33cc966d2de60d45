"""The handler of `/api/v1/` (docs/api.md): a request calls an operation of the table."""

from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.api.operation import ApiOperation, Call, decode_body, decode_query
from wheelyard.authentication.caller_tokens import can_own_tokens
from wheelyard.http.context import ServerContext
from wheelyard.http.protocol.messages import NO_STORE, NOSNIFF, Request, Response
from wheelyard.http.protocol.representation import require_match
from wheelyard.http.protocol.requests import json_response, read_json
from wheelyard.http.security.origins import cross_site_error, is_same_origin
from wheelyard.http.security.request_authentication import parse_authorization, signed_in_at
from wheelyard.model.token import parse_token


def handle(request: Request, context: ServerContext, operation: ApiOperation) -> Response:
    """Handle a request for an operation; blocks."""
    call, params = _call(request, context, operation), request.path_params
    operation.arguments(call, params)  # before a body is read
    if operation.method != "GET":
        _check_change(request, context, operation)
    body: Struct | None = None
    if operation.body is not None and operation.method == "GET":
        body = decode_query(request.query_string, operation.body)
    elif operation.body is not None:
        body = decode_body(read_json(request), operation.body)
    work, upstream = partial(operation.answer_to, call, params, body), context.upstream
    # an approval that has the digests asks nobody
    if operation.asks_upstream and upstream is not None and not getattr(body, "sha256", ()):
        result = request.wait("operation", partial(upstream.answer, request.client_key, work))
    else:
        result = work()
    if result is None:
        return Response(204, (NOSNIFF, NO_STORE))
    return json_response(operation.status, result)


def _call(request: Request, context: ServerContext, operation: ApiOperation) -> Call:
    index, caller = context.index, request.caller
    call = Call(index=index, caller=caller, lists_public=True)
    if operation.method == "GET" or not operation.takes_iap:
        return call
    header = request.joined_headers.get(b"authorization")
    halves = parse_authorization(header).halves if header else ()
    return replace(
        call,
        signed_in_at=signed_in_at(request) if can_own_tokens(caller) else None,
        sent_token=next(filter(None, map(parse_token, halves)), None),
    )


def _check_change(request: Request, context: ServerContext, operation: ApiOperation) -> None:
    """Raise an error if a changing request is cross-site, or has If-Match."""
    # behind the proxy a browser is authenticated by cookies, which any site can make it send
    by_proxy = operation.takes_iap and b"authorization" not in request.joined_headers
    if by_proxy and not is_same_origin(request.joined_headers, context.index.settings.server):
        raise cross_site_error()
    require_match(request.joined_headers, None)
