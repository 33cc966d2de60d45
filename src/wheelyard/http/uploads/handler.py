"""
Handler of upload requests: streams the form to disk in a thread, and runs the upload operation.

Errors come in a fixed order: first those that need no body; then, as soon as the filename is known,
missing rights on the project.
"""

import logging
from asyncio import timeout
from functools import partial
from typing import Final

from msgspec import to_builtins
from msgspec.json import encode
from msgspec.structs import replace

from wheelyard.authentication.api_tokens import invalid_credential
from wheelyard.http.concurrency_limit import ConcurrencyLimit, Slot
from wheelyard.http.context import ServerContext
from wheelyard.http.protocol.error_responses import error_response, error_response_for
from wheelyard.http.protocol.messages import JSON, NO_STORE, Request, Response, make_response
from wheelyard.http.protocol.request_body import BODY_TIMEOUT_SECONDS
from wheelyard.http.uploads.attestations import ATTESTATIONS_NOT_STORED
from wheelyard.http.uploads.form import FIELDS_LIMIT_BYTES, UploadFormReader
from wheelyard.http.uploads.multipart_parser import parse_boundary
from wheelyard.model.access import Action, Caller
from wheelyard.model.text import escaped
from wheelyard.operations.spooled_upload import SpooledUpload, file_too_large
from wheelyard.operations.upload import PublishedFile, Uploads

BATCH_BYTES: Final = 256 * 1024
"""Bytes of the body that are collected before a thread parses them."""
TEXT: Final = b"text/plain; charset=utf-8"

logger = logging.getLogger("wheelyard")


class UploadHandler:
    """Handles upload requests, and limits how many run at a time."""

    def __init__(self, context: ServerContext) -> None:
        self._index = context.index
        self._pools = context.pools
        self._slots = ConcurrencyLimit(context.index.settings.http.concurrent_uploads, "uploads")

    @property
    def body_limit(self) -> int:
        """The most bytes that the body of an upload may have."""
        return self._index.uploads.rules.max_size + FIELDS_LIMIT_BYTES

    async def handle(self, request: Request) -> Response:
        """Handle POST of an upload form: store its file, and answer with filename and SHA-256."""
        if rejection := self._check_headers(request):
            return rejection
        boundary = parse_boundary(request.headers.get(b"content-type"))
        if boundary is None:
            message = "An upload is a form with a file in it. Send multipart/form-data."
            return error_response(
                415, "unsupported_media_type", message, "Send multipart/form-data."
            )
        uploads, caller = self._index.uploads, request.caller
        form = UploadFormReader(boundary, uploads, caller)
        async with self._slots.acquire(request.client_key) as slot, timeout(BODY_TIMEOUT_SECONDS):
            try:
                last = await self._feed(form, request, slot)
                # one thread for all of it: each change of threads takes time
                done = await self._pools.run_write(partial(_accept, form, last, uploads, caller))
            finally:
                form.close()
        if done is None:
            message = "Registration is not needed, upload the files."
            return error_response(410, "invalid_action", message, message)
        upload, published = done
        if upload.has_attestations:
            principal = escaped(caller.principal)
            logger.warning(
                "the attestations that %s sent with %s were not kept", principal, published.filename
            )
            warnings = (*published.warnings, ATTESTATIONS_NOT_STORED)
            published = replace(published, warnings=warnings)
        return _success(request, published, self._index.settings.server.roots)

    def _check_headers(self, request: Request) -> Response | None:
        """Return the error response if caller or headers rule out an upload, else None."""
        caller, rules = request.caller, self._index.uploads.rules
        if caller.is_anonymous and not caller.may_anywhere(Action.UPLOAD):
            return error_response_for(invalid_credential())
        # `RequestBody` has checked the header: it has digits only, and few of them
        if int(request.headers.get(b"content-length", b"0")) > self.body_limit:
            return error_response_for(file_too_large(rules.max_size))
        if not caller.may_anywhere(Action.UPLOAD):
            fact = f"{caller.display_name} may not upload."
            message = (
                f"{fact} Ask the operator of this index for the right, or use a token that has it: "
                "'wheelyard token create NAME'."
            )
            return error_response(403, "forbidden", message, fact)
        if request.headers.get(b"content-encoding", b"identity").lower() != b"identity":
            message = "The body is compressed. Send the form as it is."
            return error_response(415, "unsupported_media_type", message, "Send no encoding.")
        if not request.has_body:
            message = "The request has no body. Send a form with a file in it."
            return error_response(400, "incomplete_body", message, "The request has no body.")
        return None

    async def _feed(self, form: UploadFormReader, request: Request, slot: Slot) -> bytes:
        """Feed the body to the form in batches, and return the last batch, which was not fed."""
        batch, more = bytearray(), True
        while more:
            chunk, more = await slot.next_chunk(request.receive)
            batch += chunk
            if more and len(batch) >= BATCH_BYTES:
                await self._pools.run_write(partial(form.feed, bytes(batch)))
                batch.clear()
        return bytes(batch)


def _accept(
    form: UploadFormReader, last: bytes, uploads: Uploads, caller: Caller
) -> tuple[SpooledUpload, PublishedFile] | None:
    """Finish a form and upload its file; return None if the form asks for something else."""
    try:
        upload = form.finish(last)
        return None if upload is None else (upload, uploads.accept(upload, caller).published)
    finally:
        form.close()  # here, because the event loop must not wait for the disk


def _success(request: Request, file: PublishedFile, roots: tuple[str, ...]) -> Response:
    agent = request.headers.get(b"user-agent", b"")
    if request.params.get("root") in roots and agent.startswith(b"curl/"):
        lines = ("~~> Processing package upload", f"{file.filename} ... ok", *file.warnings, "")
        return make_response(200, TEXT, "\n".join(lines).encode(), NO_STORE)
    body = {"message": "OK", "code": "200 OK", "title": "OK", **to_builtins(file)}
    return make_response(200, JSON, encode(body), NO_STORE)
