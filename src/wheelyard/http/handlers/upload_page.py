"""Handlers of the page on which people upload."""

from functools import partial
from typing import Literal

from msgspec import Struct

from wheelyard.errors import Unauthenticated, WheelyardError
from wheelyard.http.context import IndexRequest
from wheelyard.http.error_responses import status_of
from wheelyard.http.forms import FormFields, form_token, refused_form, require_form_token
from wheelyard.http.messages import Response
from wheelyard.http.requests import json_response
from wheelyard.http.uploads import UploadHandler, form_reader, require_upload
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

    def __init__(self, uploads: UploadHandler) -> None:
        self._uploads = uploads

    def answer_page(self, request: IndexRequest) -> Response:
        """Handle GET: the form."""
        require_upload(request.caller)
        if request.context.index.settings.server.read_only:
            raise request.context.read_only()
        request.context.index.uploads.require_uploads()
        return self._page(request, 200, FormState(form_token(request)))

    async def answer_form(self, request: IndexRequest) -> Response:
        """Handle POST: upload the file, and answer with what became of it."""
        context, pools = request.context, request.context.process.pools
        wants_json = b"application/json" in request.joined_headers.get(b"accept", b"")
        try:
            if context.index.settings.server.read_only:
                raise context.read_only()
            check_token = partial(require_form_token, request)
            reader = form_reader(request, check_token)
            published = await self._uploads.receive(reader, request)
        except WheelyardError as error:
            if wants_json or isinstance(error, Unauthenticated):
                raise
            form = await pools.run_in(pools.reads, refused_form, request, FormFields({}), error)
            return self._page(request, status_of(error), form)
        uploaded = None
        if published is not None:
            uploaded = UploadedFile(
                published.filename, published.status, published.project, published.warnings
            )
        if wants_json:
            return json_response(200, uploaded)
        token = await pools.run_in(pools.reads, form_token, request)
        return self._page(request, 200, FormState(token), uploaded)

    def _page(
        self,
        request: IndexRequest,
        status: int,
        form: FormState,
        uploaded: UploadedFile | None = None,
    ) -> Response:
        settings = request.context.index.settings.uploads
        viewer = request.web.index_viewer(request)
        return request.web.show(
            viewer,
            status,
            "upload.html",
            "../../",
            form=form,
            uploaded=uploaded,
            max_size=settings.max_file_size,
            zip_sdists=settings.zip_sdists,
        )
