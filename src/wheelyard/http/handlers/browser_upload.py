"""
Handlers of `/-/upload/`: the form for uploads, and the files that a browser sends with it.

A browser without scripts sends all files as one form, and gets a page; the script of the page sends
each file by itself, and asks for JSON.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from urllib.parse import urlencode

from wheelyard.catalog.projects import Projects
from wheelyard.errors import Invalid, NotFound, Unauthenticated
from wheelyard.http.form_faults import FormFault, checking, refused_form
from wheelyard.http.protocol.error_responses import read_only, status_of
from wheelyard.http.protocol.fields import FormFields, parse_form
from wheelyard.http.protocol.json_body import json_response
from wheelyard.http.protocol.messages import Request, Response, redirect
from wheelyard.http.security.form_tokens import form_token, form_token_check
from wheelyard.http.uploads.browser_form import (
    MAX_FILES,
    AcceptedFile,
    BrowserFormReader,
    FileOutcome,
    RefusedFile,
    form_too_large,
)
from wheelyard.http.uploads.handler import UploadHandler, require_upload
from wheelyard.http.web_pages import WebPages
from wheelyard.model.access import Action, Caller
from wheelyard.model.distribution_filename import parse_filename
from wheelyard.rendering.web.forms import FormState
from wheelyard.rendering.web.upload_page import UploadedRow, upload_page

MAX_QUERY_CHARACTERS: Final = 2000
"""The longest query of the page with the results; with more files the answer is the page itself."""


async def answer_upload_page(request: Request, web: WebPages) -> Response:
    """Handle GET: the form, and the files in `?file=`, which were just uploaded."""
    context, caller = web.context, request.caller
    require_upload(caller)
    if context.index.settings.server.read_only:
        raise read_only()
    filenames = parse_form(request.query).all("file")[:MAX_FILES]
    form = FormState(await form_token(request, context))

    def respond() -> Response:
        rows = tuple(_listed(context.index.projects, caller, filenames))
        return _page(request, web, 200, form, rows)

    return await context.pools.run_read(respond)


async def answer_upload_form(request: Request, web: WebPages, uploads: UploadHandler) -> Response:
    """Handle POST: upload each file, and answer with its result, or redirect to a page with it."""
    context = web.context
    wants_json = b"application/json" in request.headers.get(b"accept", b"")
    try:
        with checking():
            outcomes = await _receive(request, web, uploads)
    except FormFault as fault:
        if wants_json or isinstance(fault.error, Unauthenticated):
            raise fault.error from fault
        context.store_errors.log(fault.error)
        refused = await refused_form(request, context, FormFields({}), fault)
        return _page(request, web, status_of(fault.error), refused)
    if wants_json:
        return json_response(_status(outcomes), {"files": [_as_json(each) for each in outcomes]})
    query = urlencode([("file", each.filename) for each in outcomes])
    if _can_be_shown_later(outcomes, request.caller) and len(query) <= MAX_QUERY_CHARACTERS:
        return redirect(303, web.path("-", "upload", query=query.encode()))
    form, rows = FormState(await form_token(request, context)), tuple(map(_as_row, outcomes))
    return _page(request, web, _status(outcomes), form, rows)


async def _receive(
    request: Request, web: WebPages, uploads: UploadHandler
) -> Sequence[FileOutcome]:
    """Upload the files of a form; raise an error if the form as a whole is refused."""
    context, index = web.context, web.context.index
    if index.settings.server.read_only:
        raise read_only()
    if int(request.headers.get(b"content-length", b"0")) > uploads.body_limit:
        raise form_too_large(index.uploads)
    boundary = uploads.boundary_of(request)
    check_token = await form_token_check(request, context)
    arguments = (boundary, index.uploads, request.caller, check_token, uploads.body_limit)
    form = BrowserFormReader(*arguments)
    outcomes = await uploads.receive(form, request, form.finish)
    for each in outcomes:
        if isinstance(each, RefusedFile):
            context.store_errors.log(each.error)
    return outcomes


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


def _listed(projects: Projects, caller: Caller, filenames: Iterable[str]) -> Iterator[UploadedRow]:
    """Yield a row for each of these files that is listed, and that the caller may read."""
    for filename in filenames:
        try:
            name = parse_filename(filename, zip_sdists=True).project
            found = projects.get_current(name) if caller.may(Action.READ, name) else None
        except (Invalid, NotFound):
            continue
        file = found.by_filename.get(filename) if found is not None else None
        if file is not None:
            at = f"{file.uploaded_at:%Y-%m-%d %H:%M:%S} UTC"
            state = f"uploaded {at} by {file.uploaded_by_name or file.uploaded_by}"
            yield UploadedRow(filename=filename, state=state, project=name)


def _can_be_shown_later(outcomes: Iterable[FileOutcome], caller: Caller) -> bool:
    """Return whether the projects of all files say all that there is to say of an upload."""
    return all(
        isinstance(each, AcceptedFile)
        and not each.published.warnings
        and caller.may(Action.READ, each.project)
        for each in outcomes
    )


def _status(outcomes: Iterable[FileOutcome]) -> int:
    """Return the status of the first error, or 200."""
    refused = (each for each in outcomes if isinstance(each, RefusedFile))
    return next((status_of(each.error) for each in refused), 200)


def _as_row(outcome: FileOutcome) -> UploadedRow:
    if isinstance(outcome, RefusedFile):
        return UploadedRow(filename=outcome.filename, error=outcome.error.on_page)
    is_new = outcome.published.status == "uploaded"
    return UploadedRow(
        filename=outcome.filename,
        state="uploaded" if is_new else "was there already",
        project=outcome.project,
        warnings=outcome.published.warnings,
    )


def _as_json(outcome: FileOutcome) -> dict[str, object]:
    if isinstance(outcome, RefusedFile):
        said = {"message": outcome.error.on_page, "error": outcome.error.code}
        return {"filename": outcome.filename, "status": "refused", **said}
    return {
        "filename": outcome.filename,
        "status": outcome.published.status,
        "project": outcome.project,
        "warnings": outcome.published.warnings,
    }
