"""Request bodies of limited size, and JSON responses."""

from functools import partial

from msgspec.json import encode

from wheelyard.errors import Invalid, TooLarge
from wheelyard.http.protocol.error_responses import UNSUPPORTED_MEDIA_TYPE
from wheelyard.http.protocol.messages import (
    CSP,
    JSON,
    NO_STORE,
    Header,
    Request,
    Response,
    make_response,
)
from wheelyard.http.protocol.request_body import next_chunk

BODY_LIMIT_BYTES = 64 * 1024
BODY_TOO_LONG = f"A change has at most {BODY_LIMIT_BYTES} bytes. Send a shorter reason."


def read_body(
    request: Request, limit: int = BODY_LIMIT_BYTES, too_long: str = BODY_TOO_LONG
) -> bytes:
    """Return a whole request body as `receive_body` does; a handler waits for it."""
    return request.wait("body", partial(receive_body, request, limit, too_long))


async def receive_body(request: Request, limit: int, too_long: str) -> bytes:
    """Return a whole request body; raise TooLarge (message: `too_long`) above `limit` bytes."""
    body, more = b"", True
    while more:
        chunk, more = await next_chunk(request.receive)
        body += chunk
        if len(body) > limit:
            raise TooLarge(too_long)
    return body


def read_json(request: Request) -> bytes:
    """Return a JSON body; raise Invalid for another type."""
    if request.body_type != JSON:
        raise Invalid(
            'Send the change as JSON, with "Content-Type: application/json".',
            code=UNSUPPORTED_MEDIA_TYPE,
            short="Send application/json.",
        )
    return read_body(request)


def json_response(status: int, body: object, *headers: Header) -> Response:
    """Return a response with `body` encoded as JSON; caches may not store it."""
    return make_response(status, JSON, encode(body), CSP, NO_STORE, *headers)
