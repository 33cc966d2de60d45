"""Handlers of the page on which people upload."""

from functools import partial
from typing import Literal

from msgspec import Struct

from wheelyard.errors import Unauthenticated, WheelyardError
from wheelyard.http.error_responses import status_of
from wheelyard.http.forms import FormFields, form_token, refused_form, require_form_token
from wheelyard.http.messages import Request, Response
from wheelyard.http.requests import json_response
from wheelyard.http.uploads import UploadHandler, require_upload
from wheelyard.http.web_pages import WebPages
from wheelyard.rendering.web.account_pages import FormState


class UploadedFile(Struct, frozen=True):
    """A file that was uploaded, also as JSON for the script of the page."""

    filename: str
    status: Literal["uploaded", "there"]
    """`there` if it was listed with the same content already."""
    project: str
    warnings: tuple[str, ...]


class UploadPage:
    """The page on which people upload."""

    def __init__(self, web: WebPages, uploads: UploadHandler) -> None:
        self._web = web
        self._context = web.context
        self._uploads = uploads

    def answer_page(self, request: Request) -> Response:
        """Handle GET: the form."""
        require_upload(request.caller)
        if self._context.index.settings.server.read_only:
            raise self._context.read_only()
        self._context.index.uploads.require_uploads()
        return self._page(request, 200, FormState(form_token(request, self._context)))

    async def answer_form(self, request: Request) -> Response:
        """Handle POST: upload the file, and answer with what became of it."""
        context, pools = self._context, self._context.process.pools
        wants_json = b"application/json" in request.joined_headers.get(b"accept", b"")
        try:
            if context.index.settings.server.read_only:
                raise context.read_only()
            check_token = partial(require_form_token, request, context)
            reader = self._uploads.reader(request, check_token)
            published = await self._uploads.receive(reader, request)
        except WheelyardError as error:
            if wants_json or isinstance(error, Unauthenticated):
                raise
            form = await pools.run_in(
                pools.reads, refused_form, request, context, FormFields({}), error
            )
            return self._page(request, status_of(error), form)
        uploaded = None
        if published is not None:
            uploaded = UploadedFile(
                published.filename, published.status, published.project, published.warnings
            )
        if wants_json:
            return json_response(200, uploaded)
        token = await pools.run_in(pools.reads, form_token, request, context)
        return self._page(request, 200, FormState(token), uploaded)

    def _page(
        self, request: Request, status: int, form: FormState, uploaded: UploadedFile | None = None
    ) -> Response:
        settings = self._context.index.settings.uploads
        viewer = self._web.viewer(request.caller)
        return self._web.show(
            viewer,
            status,
            "upload.html",
            "../../",
            form=form,
            uploaded=uploaded,
            max_size=settings.max_file_size,
            zip_sdists=settings.zip_sdists,
        )
