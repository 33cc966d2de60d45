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
    form_token_check,
    refused_form,
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
    context = web.context
    wants_json = b"application/json" in request.joined_headers.get(b"accept", b"")
    try:
        with checking():
            rows, errors = await _receive(request, web, uploads)
    except FormFault as fault:
        if wants_json or isinstance(fault.error, Unauthenticated):
            raise fault.error from fault
        context.store_errors.log(fault.error)
        ask_again = partial(refused_form, request, context, FormFields({}), fault)
        refused = await context.pools.run_read(ask_again)
        return _page(request, web, status_of(fault.error), refused)
    for error in errors:
        context.store_errors.log(error)
    status = status_of(errors[0]) if errors else 200
    if wants_json:
        return json_response(status, {"files": rows})
    token = await context.pools.run_read(partial(form_token, request, context))
    return _page(request, web, status, FormState(token), rows)


async def _receive(
    request: Request, web: WebPages, uploads: UploadHandler
) -> tuple[list[UploadedRow], list[WheelyardError]]:
    """Upload the files of a form; raise an error if the form as a whole is refused."""
    operation, caller = web.context.index.uploads, request.caller
    if int(request.joined_headers.get(b"content-length", b"0")) > uploads.body_limit:
        raise form_too_large(operation)
    boundary = uploads.boundary_of(request)
    context = web.context
    check_token = await context.pools.run_read(partial(form_token_check, request, context))
    reader = FormReader(boundary, operation, caller, check_token)
    return await uploads.receive(reader, request, partial(accept, operation, caller))


def accept(
    uploads: Uploads, caller: Caller, form: ReceivedForm
) -> tuple[list[UploadedRow], list[WheelyardError]]:
    """Upload each file of a form; return the result of each, refused ones last, and the errors."""
    rows, refused = list[UploadedRow](), list(form.refused)
    for upload in form.files:
        distribution = upload.distribution
        try:
            file = uploads.accept(upload, caller).published
        except WheelyardError as error:
            refused.append(RefusedFile(distribution.filename, error))
        else:
            rows.append(
                UploadedRow(file.filename, file.status, distribution.project, file.warnings)
            )
    errors = [each.error for each in refused]
    rows += [
        UploadedRow(each.filename, "refused", message=each.error.on_page, error=each.error.code)
        for each in refused
    ]
    return rows, errors


def _page(
    request: Request,
    web: WebPages,
    status: int,
    form: FormState,
    rows: Sequence[UploadedRow] = (),
) -> Response:
    settings = web.context.index.settings.uploads
    page = upload_page(
        web.environment,
        web.viewer(request.caller),
        form,
        rows,
        max_size=settings.max_file_size,
        zip_sdists=settings.zip_sdists,
    )
    return web.own_page(status, page)
