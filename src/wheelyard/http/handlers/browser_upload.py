"""
Handlers of `/-/upload/`: the form for uploads, and the file that a browser sends with it.

The script of the page sends one file after another, and asks for JSON.
"""

from functools import partial
from typing import Literal

from msgspec import Struct

from wheelyard.errors import Unauthenticated, WheelyardError
from wheelyard.http.forms import (
    FormFields,
    form_token,
    refused_form,
    require_form_token,
)
from wheelyard.http.protocol.error_responses import read_only, status_of
from wheelyard.http.protocol.messages import Request, Response
from wheelyard.http.protocol.requests import json_response
from wheelyard.http.uploads.form_reader import FormReader
from wheelyard.http.uploads.handler import UploadHandler, accept, require_upload
from wheelyard.http.web_pages import WebPages
from wheelyard.model.distribution_filename import parse_known_filename
from wheelyard.rendering.web.forms import FormState


class UploadedFile(Struct, frozen=True):
    """A file that was uploaded, also as JSON for the script of the page."""

    filename: str
    status: Literal["uploaded", "there"]
    """`there` if it was listed with the same content already."""
    project: str
    warnings: tuple[str, ...]


def answer_upload_page(request: Request, web: WebPages) -> Response:
    """Handle GET: the form."""
    require_upload(request.caller)
    if web.context.index.settings.server.read_only:
        raise read_only()
    return _page(request, web, 200, FormState(form_token(request, web.context)))


async def answer_upload_form(request: Request, web: WebPages, uploads: UploadHandler) -> Response:
    """Handle POST: upload the file, and answer with what became of it."""
    context, operation = web.context, web.context.index.uploads
    wants_json = b"application/json" in request.joined_headers.get(b"accept", b"")
    try:
        if context.index.settings.server.read_only:
            raise read_only()
        check_token = partial(require_form_token, request, context)
        boundary = uploads.boundary_of(request)
        reader = FormReader(boundary, operation, request.caller, check_token)
        publish = partial(accept, operation, request.caller)
        published = await uploads.receive(reader, request, publish)
    except WheelyardError as error:
        if wants_json or isinstance(error, Unauthenticated):
            raise
        ask_again = partial(refused_form, request, context, FormFields({}), error)
        refused = await context.pools.run_in(context.pools.reads, ask_again)
        return _page(request, web, status_of(error), refused)
    uploaded = None
    if published is not None:
        project = parse_known_filename(published.filename).project
        uploaded = UploadedFile(published.filename, published.status, project, published.warnings)
    if wants_json:
        return json_response(200, uploaded)
    make_token = partial(form_token, request, context)
    token = await context.pools.run_in(context.pools.reads, make_token)
    return _page(request, web, 200, FormState(token), uploaded)


def _page(
    request: Request,
    web: WebPages,
    status: int,
    form: FormState,
    uploaded: UploadedFile | None = None,
) -> Response:
    settings, viewer = web.context.index.settings.uploads, web.viewer(request.caller)
    return web.show(
        viewer,
        status,
        "upload.html",
        "../../",
        form=form,
        uploaded=uploaded,
        max_size=settings.max_file_size,
        zip_sdists=settings.zip_sdists,
    )
