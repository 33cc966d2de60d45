"""
Handler of upload requests: streams the form to disk in a thread, and runs the upload operation.

Errors come in a fixed order: first the errors that need no body, and then, as soon as the filename
is known, missing rights on the project.

1. `http/routing.py` finds the route (`http/routes.py` has them all) and the caller. The handler
   of uploads is a coroutine, as it streams a body.
2. `http/upload_handler.py` refuses what can be refused without the body, waits for a slot
   (`http/context.py` gives one caller at most half of the slots), and passes the body to the form
   parser in a thread, chunk by chunk. As soon as the filename is known, `operations/uploads.py`
   checks that the caller may upload it. The bytes go to the spool. They are counted and hashed
   while they are written (`operations/spooled_upload.py`, which imports and the command line use,
   too).
3. The last bytes of the body are parsed in the thread that does all that follows. The form parser
   compares the digests that the client sent. `Uploads.accept` then compares name and version,
   checks that the filename is free, and lets `archive/distribution_reader.py` validate the
   archive, by `archive/archive_rules.py`. A wheel's small files are inflated once.
4. `catalog/files.py` stores the bytes and the core metadata under their digest, create-only.
5. `catalog/commits.py` adds an `uploaded` event to the project's document, puts a mark that a
   commit is coming (the feed), and writes the document with compare-and-swap: the commit point.
   Then it writes the journal entry and, for a new project, the list of names. A cached project
   keeps the stored form of each of its files, so a document is encoded by joining them
   (`ProjectCodec`).
6. The client gets 200. Every page that is asked for after that shows the file.

The upload page of the web UI sends the same form, which the same reader reads
(`http/upload_form.py`). The anti-forgery token comes first, and is checked before a byte
is spooled.

Errors are raised as one of seven classes where they are noticed. `http/index_app.py` makes the
answer to each of them, by the statuses of `http/error_responses.py`, and a page if a browser has
asked.

A digest field that arrives after the file is checked by reading the file again. Only distutils
sends its fields in that order. To compute MD5 and both BLAKE2b lengths for each file just in case
would cost 3 seconds of processor time a GiB. SHA-256 alone takes 0.6.

`multipart` finds the parts of a form, and we check what it lets pass: bytes before the first
boundary and after the closing one, an encoded part, a header of a part twice, other parameters
than one name and one filename. Each upload then has one meaning for the rules of `archive/`,
which decide what is stored. What a part's content begins with needs no rule here.
"""

import logging
import re
from asyncio import timeout
from collections.abc import Callable
from typing import Any, Final

from msgspec import to_builtins
from msgspec.json import encode

from wheelyard.authentication.api_tokens import invalid_credential
from wheelyard.errors import Invalid, NotFound, TooLarge, quoted
from wheelyard.http.context import IndexRequest
from wheelyard.http.error_responses import UNSUPPORTED_MEDIA_TYPE, error_response
from wheelyard.http.messages import JSON, NO_STORE, Response, make_response
from wheelyard.http.requests import BODY_TIMEOUT_SECONDS, announces_body, next_chunk
from wheelyard.http.upload_form import FIELDS_LIMIT_BYTES, FormReader, bad_multipart
from wheelyard.http.work_limits import ConcurrencyLimit
from wheelyard.model.access import Action, Caller
from wheelyard.model.decoding import escaped
from wheelyard.model.quotas import size_in_form
from wheelyard.operations.spooled_upload import SpooledUpload, file_too_large
from wheelyard.operations.upload_attestations import NOT_KEPT
from wheelyard.operations.uploads import PublishedFile
from wheelyard.wiring.server import Server

BATCH_BYTES: Final = 256 * 1024
"""Bytes of the body that are collected before a thread parses them."""
FIRST_CHUNK_SECONDS: Final = 2
"""How long the body of an upload to a full index may take to begin."""
PLAIN_TEXT: Final = b"text/plain; charset=utf-8"

_BOUNDARY = re.compile(
    r'"([0-9A-Za-z\'()+_,./:=? -]{0,69}[0-9A-Za-z\'()+_,./:=?-])"'
    r"|([0-9A-Za-z'()+_,./:=?-]{1,70})"
)
"""Matches a boundary, in quotation marks or without (RFC 2046, 5.1.1)."""

logger = logging.getLogger("wheelyard")


class UploadHandler:
    """
    Handles upload requests, and limits how many run at a time.

    `handle` and `receive` raise Invalid for a wrong form or file, and Forbidden if the caller may
    not upload the file. They raise TooLarge if a limit or a quota has no room, Conflict (code
    `file_exists`) if the filename is taken, and Unavailable if there is no slot (code
    `overloaded`), or the store or an upstream index does not answer. They raise TimeoutError,
    SlowClient or ClientDisconnected if the body does not come.
    """

    def __init__(self, server: Server[Any]) -> None:
        self._slots = ConcurrencyLimit(server.settings.http.concurrent_uploads, "uploads")
        if server.state is not None:
            server.state.watch(self._slots)

    async def handle(self, request: IndexRequest) -> Response:
        """
        Handle POST of an upload form: store its file, and answer with filename and SHA-256.

        The answer to a form with one of `RETIRED_ACTIONS` has the status 410. Raises
        Unauthenticated if an anonymous caller may upload nothing.
        """
        reader = form_reader(request)
        published = await self.receive(reader, request)
        if published is None:
            message = "Registration is not needed, upload the files."
            return error_response(410, "invalid_action", message)
        return _success_response(request, published)

    async def receive(self, reader: FormReader, request: IndexRequest) -> PublishedFile | None:
        """
        Read the body of an upload as soon as there is a slot, and upload the file of its form.

        Return None if the form asks for one of `RETIRED_ACTIONS`. The reader is closed at the end,
        also after an error.
        """
        refusal = await _quota_refusal(request)
        async with self._slots.acquire(request.client_key), timeout(BODY_TIMEOUT_SECONDS):
            try:
                last_batch = await _feed(reader, request, refusal)
                # one thread for all further work, as each change of threads takes time
                return await request.context.process.pools.run_upload(
                    _finish, reader, last_batch, request
                )
            finally:
                reader.close()


async def _quota_refusal(request: IndexRequest) -> TooLarge | None:
    """
    Return the error of an index that has no room for the form, or None if it has room.

    Raises this error at once if the client waits for an answer before it sends the body (`Expect`).
    Raises Unavailable if the store does not answer.
    """
    quotas = request.context.index.uploads.quota_check
    pools = request.context.process.pools
    if quotas is None:
        return None
    size = size_in_form(_announced_length(request))
    refusal = await pools.run_in(pools.writes, quotas.index_refusal, size)
    if refusal is not None and b"expect" in request.joined_headers:
        raise refusal
    return refusal


def form_reader(
    request: IndexRequest, check_token: Callable[[str], None] | None = None
) -> FormReader:
    """
    Return the reader of the form of a request.

    `check_token` is that of `FormReader`. Raises Unauthenticated or Forbidden if the caller may not
    upload to any project. Raises TooLarge if Content-Length is too large, and Invalid if the
    headers are not those of a form.
    """
    boundary = _boundary_of(request)
    length = _announced_length(request)
    return FormReader(boundary, request.context.index.uploads, request.caller, check_token, length)


def _boundary_of(request: IndexRequest) -> bytes:
    """
    Check the caller and the headers of a request, and return the boundary of its form.

    Raises Unauthenticated or Forbidden if the caller may not upload to any project. Raises
    TooLarge if Content-Length is too large, and Invalid if the headers are not those of a form.
    """
    caller = request.caller
    headers = request.joined_headers
    max_size = request.context.index.uploads.rules.max_size

    # an anonymous caller learns first that a credential is missing
    if caller.is_anonymous:
        require_upload(caller)
    if _announced_length(request) > max_size + FIELDS_LIMIT_BYTES:
        raise file_too_large(max_size)
    require_upload(caller)
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Invalid(
            "The body is compressed. Send the form as it is.", code=UNSUPPORTED_MEDIA_TYPE
        )
    if not announces_body(request.scope, headers):
        raise Invalid(
            "The request has no body. Send a form with a file in it.", code="incomplete_body"
        )
    boundary = parse_boundary(headers.get(b"content-type"))
    if boundary is None:
        raise Invalid(
            "An upload is a form with a file in it. Send multipart/form-data.",
            code=UNSUPPORTED_MEDIA_TYPE,
        )
    return boundary


async def _feed(reader: FormReader, request: IndexRequest, refusal: TooLarge | None) -> bytes:
    """
    Feed a body to the reader in batches, and return the last batch, which was not fed.

    Raises `refusal`, unless it is None, if the body does not begin within `FIRST_CHUNK_SECONDS`.
    """
    pools = request.context.process.pools

    # The index may have the file already, and then needs no room. The filename is in the body, and
    # most clients send that without asking. So a full index waits for the first chunk.
    seconds = None if refusal is None else FIRST_CHUNK_SECONDS
    batch = bytearray()
    has_more = True
    while has_more:
        try:
            async with timeout(seconds):
                chunk, has_more = await next_chunk(request.receive)
        except TimeoutError:
            raise refusal or TimeoutError from None
        # the body has begun: from now on only its content decides about the upload
        refusal = None
        seconds = None
        # a batch goes to a thread only when the next chunk is there: the last batch is left for the
        # thread that finishes the upload
        if len(batch) >= BATCH_BYTES:
            await pools.run_in(pools.writes, reader.feed, bytes(batch))
            batch.clear()
        batch += chunk
    return bytes(batch)


def _finish(reader: FormReader, last_batch: bytes, request: IndexRequest) -> PublishedFile | None:
    """
    Read the last bytes of a form, and upload its file, in a thread for writes.

    Return None if the form asks for one of `RETIRED_ACTIONS`.
    """
    try:
        upload = reader.finish(last_batch)
        if upload is None:
            return None
        return _accept(upload, request)
    finally:
        reader.close()  # here, because the event loop must not wait for the disk


def _accept(upload: SpooledUpload, request: IndexRequest) -> PublishedFile:
    """Upload a file of the spool, and log if its attestations were not kept."""
    published = request.context.index.uploads.accept(upload, request.caller)
    if not NOT_KEPT.isdisjoint(published.warnings):
        logger.warning(
            "the attestations that %s sent with %s were not kept",
            escaped(request.caller.principal),
            published.filename,
        )
    return published


def _announced_length(request: IndexRequest) -> int:
    """Return the Content-Length of a request, or 0 without that header."""
    # `check_limits` has checked the header: it has digits only, and few of them
    return int(request.joined_headers.get(b"content-length", b"0"))


def parse_boundary(content_type: bytes | None) -> bytes | None:
    """
    Return the boundary of a form, or None if `content_type` is not multipart/form-data.

    A charset is ignored, as a form is UTF-8. Raises Invalid if the boundary is missing or
    malformed.
    """
    if content_type is None:
        return None
    media_type, *parameters = content_type.decode("latin-1").split(";")
    if media_type.strip().lower() != "multipart/form-data":
        return None
    boundaries = list[str]()
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "boundary":
            boundaries.append(value.strip(" \t"))
    # of two boundaries, a proxy that looks into the body may take the other one
    match = None
    if len(boundaries) == 1:
        match = _BOUNDARY.fullmatch(boundaries[0])
    if match is None:
        raise bad_multipart("its Content-Type does not name one boundary of 1 to 70 letters")
    return (match[1] or match[2]).encode("ascii")


def require_upload(caller: Caller) -> None:
    """
    Check that a caller may upload to any project at all.

    Raises Unauthenticated if an anonymous caller may not, and Forbidden if another caller may not.
    """
    if caller.may_anywhere(Action.UPLOAD):
        return
    if caller.is_anonymous:
        raise invalid_credential()
    raise caller.forbidden("upload")


def refuse_unknown_root(request: IndexRequest) -> Response:
    """
    Handle an upload to `/<name>/`, which is neither an index nor a root of the settings.

    Raises NotFound always.
    """
    name = request.path_params["name"]
    raise NotFound(
        f"There is no index {quoted(name)}, and [server] roots does not name it. Upload to the URL "
        f"of the server itself, or have its operator add {quoted(name)} to roots."
    )


def _success_response(request: IndexRequest, file: PublishedFile) -> Response:
    """Return the response to a successful upload: JSON, or lines for curl at a root."""
    roots = request.context.index.settings.server.roots
    agent = request.joined_headers.get(b"user-agent", b"")
    is_at_root = "".join(request.segments) in roots
    if is_at_root and agent.startswith(b"curl/"):
        lines = ("~~> Processing package upload", f"{file.filename} ... ok", *file.warnings, "")
        return make_response(200, PLAIN_TEXT, "\n".join(lines).encode(), NO_STORE)
    body = {"message": "OK", "code": "200 OK", "title": "OK", **to_builtins(file)}
    return make_response(200, JSON, encode(body), NO_STORE)
