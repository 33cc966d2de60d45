"""
Handlers of `/-/upload/`: the form for uploads, and the files that a browser sends with it.

A browser without scripts sends all files as one form, and gets a page; the script of the page sends
each file by itself, and asks for JSON.
"""

from collections.abc import Sequence
from functools import partial

from wheelyard.errors import Unauthenticated, WheelyardError
from wheelyard.http.forms import (
    FormFault,
    FormFields,
    checking,
    form_token,
    refused_form,
    require_form_token,
)
from wheelyard.http.protocol.error_responses import read_only, status_of
from wheelyard.http.protocol.messages import Request, Response
from wheelyard.http.protocol.request_body import json_response
from wheelyard.http.uploads.form_reader import (
    FormReader,
    ReceivedForm,
    RefusedFile,
    form_too_large,
)
from wheelyard.http.uploads.handler import UploadHandler, require_upload
from wheelyard.http.web_pages import WebPages
from wheelyard.model.access import Caller
from wheelyard.operations.upload import Uploads
from wheelyard.rendering.web.forms import FormState
from wheelyard.rendering.web.upload_page import UploadedRow, upload_page


def answer_upload_page(request: Request, web: WebPages) -> Response:
    """Handle GET: the form."""
    require_upload(request.caller)
    if web.context.index.settings.server.read_only:
        raise read_only()
    return _page(request, web, 200, FormState(form_token(request, web.context)))


async def answer_upload_form(request: Request, web: WebPages, uploads: UploadHandler) -> Response:
    """Handle POST: upload each file, and answer with what became of it."""
    context, operation = web.context, web.context.index.uploads
    wants_json = b"application/json" in request.joined_headers.get(b"accept", b"")
    try:
        with checking():
            if context.index.settings.server.read_only:
                raise read_only()
            if int(request.joined_headers.get(b"content-length", b"0")) > uploads.body_limit:
                raise form_too_large(operation)
            check_token = partial(require_form_token, request, context)
            boundary = uploads.boundary_of(request)
            reader = FormReader(boundary, operation, request.caller, check_token)
            publish = partial(accept, operation, request.caller)
            rows, errors = await uploads.receive(reader, request, publish)
    except FormFault as fault:
        if wants_json or isinstance(fault.error, Unauthenticated):
            raise fault.error from fault
        ask_again = partial(refused_form, request, context, FormFields({}), fault)
        refused = await context.pools.run_in(context.pools.reads, ask_again)
        return _page(request, web, status_of(fault.error), refused)
    for error in errors:
        context.store_errors.log(error)
    status = status_of(errors[0]) if errors else 200
    if wants_json:
        return json_response(status, {"files": rows})
    make_token = partial(form_token, request, context)
    token = await context.pools.run_in(context.pools.reads, make_token)
    return _page(request, web, status, FormState(token), rows)


def accept(
    uploads: Uploads, caller: Caller, form: ReceivedForm
) -> tuple[list[UploadedRow], list[WheelyardError]]:
    """Upload each file of a form; return the result of each, refused ones last, and the errors."""
    rows, refused = list[UploadedRow](), list(form.refused)
    for upload in form.files:
        try:
            file, project = uploads.accept(upload, caller).published, upload.distribution.project
            rows.append(UploadedRow(file.filename, file.status, project, file.warnings))
        except WheelyardError as error:
            refused.append(RefusedFile(upload.distribution.filename, error))
    errors = [file.error for file in refused]
    rows += [
        UploadedRow(file.filename, "refused", message=file.error.on_page, error=file.error.code)
        for file in refused
    ]
    return rows, errors


def _page(
    request: Request,
    web: WebPages,
    status: int,
    form: FormState,
    rows: Sequence[UploadedRow] = (),
) -> Response:
    settings, viewer = web.context.index.settings.uploads, web.viewer(request.caller)
    page = upload_page(
        web.environment,
        viewer,
        form,
        rows,
        max_size=settings.max_file_size,
        zip_sdists=settings.zip_sdists,
    )
    return web.own_page(status, page)
