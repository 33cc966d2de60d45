"""
Handlers of the page on which people upload.

With scripts, the page asks first what would become of each file (`check/`): a dry run of the
upload, which answers with the reasons that the upload would answer with.
"""

import re
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.errors import Invalid, Unauthenticated, Unavailable, WheelyardError
from wheelyard.http import forms
from wheelyard.http.context import IndexRequest
from wheelyard.http.error_responses import error_response, status_of
from wheelyard.http.messages import Response
from wheelyard.http.requests import json_response
from wheelyard.http.upload_handler import UploadHandler, form_reader, require_upload
from wheelyard.model.access import Action
from wheelyard.model.distribution_filename import parse_known_filename, parse_sha256
from wheelyard.operations.names import PUBLIC_NAME
from wheelyard.operations.upload_dry_run import CandidateFile, PreviewedUpload, UploadDryRun
from wheelyard.operations.uploads import FILE_EXISTS, PublishedFile
from wheelyard.remedies import Remedy
from wheelyard.rendering.advice import error_on_page
from wheelyard.rendering.web.account_pages import FormState
from wheelyard.rendering.web.compatibility import compatibility_of
from wheelyard.rendering.web.project_frame import version_path
from wheelyard.settings.sections import MIB

MAX_FILES: Final = 100
"""The most files of one dry run. The script of the page sends fewer at a time."""
_SIZE: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_BY_MANAGERS: Final = frozenset({Remedy.MAKE_ACTIVE, Remedy.RESTORE})
"""What those who manage a project do on a page of it."""


class UploadedFile(Struct, frozen=True):
    """A file that was uploaded, also as JSON for the script of the page."""

    filename: str
    status: Literal["uploaded", "there"]
    """`there` if it was listed with the same content already."""
    project: str
    warnings: tuple[str, ...]
    promotion: str = ""
    """The page on which its release is promoted, from the root of the index, or an empty text."""


class PageLink(Struct, frozen=True):
    """A link to a page of the index."""

    path: str
    """From the root of the index."""
    text: str


_RESERVE: Final = PageLink("-/admin/names/?action=reserve", "Reserve the name")


class CheckedFile(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What would become of a file, as JSON for the script of the page."""

    status: Literal["new", "there", "named", "refused", "unknown"]
    """
    `there`: listed with the same content. `named`: listed, and nobody has compared the content.
    `unknown`: nobody can say it now.
    """
    project: str = ""
    version: str = ""
    kind: str = ""
    """What it is for, in words."""
    is_first: bool = False
    """Whether its project is new."""
    message: str = ""
    """Why it is refused, or what its metadata decides."""
    needs_digest: bool = False
    """Whether the SHA-256 of the file, which was not sent, would say more."""
    lacks_right: bool = False
    """Whether the reason is a right that somebody has to give."""
    remedy: PageLink | None = None
    """The page on which the viewer can change that."""


class UploadPage:
    """The page on which people upload."""

    def __init__(self, uploads: UploadHandler) -> None:
        self._uploads = uploads

    def answer_page(self, request: IndexRequest) -> Response:
        """
        Handle GET: the form.

        Raises Unauthenticated or Forbidden unless the caller may upload to some project. Raises
        Forbidden if the index takes no uploads (codes `read_only`, `no_own_packages`,
        `promotions_only` and `index_not_named`). Raises Unavailable if the store does not answer.
        """
        require_upload(request.caller)
        if request.context.index.settings.server.read_only:
            raise request.context.read_only()
        request.context.index.uploads.require_uploads()
        return self._page(request, 200, FormState(forms.form_token(request)))

    async def answer_form(self, request: IndexRequest) -> Response:
        """
        Handle POST: upload the file, and answer with what became of it.

        The answer is JSON for a client that accepts it, and else the page. What is refused is told
        in it, with the status of the error. Raises Unauthenticated, so that a browser gets to the
        page to sign in. Raises TimeoutError, SlowClient or ClientDisconnected if the body does not
        come. Raises Unavailable if the page with the form cannot be made.
        """
        # a coroutine, as the body is streamed: what may wait for the store runs in a thread
        context = request.context
        pools = context.process.pools
        wants_json = b"application/json" in request.joined_headers.get(b"accept", b"")
        try:
            if context.index.settings.server.read_only:
                raise context.read_only()
            check_token = partial(forms.require_form_token, request)
            reader = form_reader(request, check_token)
            published = await self._uploads.receive(reader, request)
        except WheelyardError as error:
            # the usual answer leads to the page to sign in
            if isinstance(error, Unauthenticated):
                raise
            # the script shows the message on the page, where nobody types commands
            if wants_json:
                context.process.store_errors.log(error)
                return error_response(status_of(error), error.code, error_on_page(error))
            # without values: a browser cannot fill in a file again
            nothing_typed = forms.FormFields({})
            form = await pools.run_in(
                pools.reads, forms.refused_form, request, nothing_typed, error
            )
            return self._page(request, status_of(error), form, lacks_right=_lacks_right(error))
        uploaded = None
        if published is not None:
            uploaded = await pools.run_in(pools.reads, _uploaded, request, published)
        if wants_json:
            return json_response(200, uploaded)
        token = await pools.run_in(pools.reads, forms.form_token, request)
        return self._page(request, 200, FormState(token), uploaded)

    def _page(
        self,
        request: IndexRequest,
        status: int,
        form: FormState,
        uploaded: UploadedFile | None = None,
        *,
        lacks_right: bool = False,
    ) -> Response:
        settings = request.context.index.settings
        viewer = request.web.index_viewer(request)
        return request.web.show(
            request,
            viewer,
            status,
            "upload.html",
            "../../",
            form=form,
            uploaded=uploaded,
            lacks_right=lacks_right,
            contact=settings.web.contact,
            max_size=_largest_file(request) // MIB,
            zip_sdists=settings.uploads.zip_sdists,
        )


def answer_check(request: IndexRequest) -> Response:
    """
    Handle POST `check/`: what would become of files, in their order, as JSON.

    No file is stored. Why one would be refused is told in the answer, and no error. Raises
    Unauthenticated or Forbidden unless the caller may upload to some project. Raises Forbidden if
    the form is too old (code `stale_form`), or on a read-only server (code `read_only`). Raises
    Invalid if a field is wrong or missing, or there are none or too many files. Raises TooLarge for
    a form that is too long, and Waiting until it has come, and while an upstream index is asked.
    """
    require_upload(request.caller)
    # the handler is called again once the body has come
    fields = forms.read_form(request)
    forms.require_form_token(request, fields.text(forms.CSRF_FIELD))
    files = _candidates(fields)
    # new names are looked up at the upstream index
    checked = request.ask_upstream("check", _check, request, files)
    return json_response(200, checked)


def _candidates(fields: forms.FormFields) -> list[CandidateFile]:
    """
    Return the files of a form, which has a filename, a size and a SHA-256 for each.

    Raises Invalid for a wrong field, none or too many files, or if one of the three is missing.
    """
    filenames = fields.all("filename")
    sizes = fields.all("size")
    digests = fields.all("sha256")
    is_complete = len(filenames) == len(sizes) == len(digests)
    if not is_complete or not 1 <= len(filenames) <= MAX_FILES:
        raise Invalid(
            f"A dry run is for 1 to {MAX_FILES} files. Send a filename, a size and a sha256 for "
            "each, of which the last may be empty.",
            code="invalid_field",
        )
    files: list[CandidateFile] = []
    for filename, size, digest in zip(filenames, sizes, digests, strict=True):
        candidate = CandidateFile(filename, _parse_size(size))
        # the script computes none of a large file, nor on a page without HTTPS
        if digest:
            candidate = replace(candidate, sha256=parse_sha256(digest))
        files.append(candidate)
    return files


def _parse_size(text: str) -> int:
    if not _SIZE.fullmatch(text):
        raise Invalid("The size of a file is a number of bytes. Send that.", code="invalid_field")
    return int(text)


def _check(request: IndexRequest, files: list[CandidateFile]) -> list[CheckedFile]:
    """Return what would become of files that are uploaded one after another, in their order."""
    dry_run = UploadDryRun(request.context.index.uploads, request.caller)
    names = Counter(file.filename for file in files)
    checked: list[CheckedFile] = []
    for file in files:
        answer = _checked(request, dry_run.preview(file))
        # of two files with one name, only the digests of both say whether they are the same
        if names[file.filename] > 1 and not file.sha256 and answer.status == "new":
            answer = replace(answer, needs_digest=True)
        checked.append(answer)
    return checked


def _checked(request: IndexRequest, preview: PreviewedUpload) -> CheckedFile:
    """Return what the page shows of what would become of a file."""
    checked = CheckedFile(status="new", is_first=preview.is_first)
    if preview.is_listed:
        checked = replace(checked, status="there")
    if preview.is_listed and not preview.file.sha256:
        checked = replace(checked, status="named", needs_digest=True)
    if len(preview.readings) > 1 and preview.refusal is None:
        names = " or ".join(reading.project for reading in preview.readings)
        # a filename may be read in several ways, and a dry run has no metadata
        checked = replace(checked, message=f"Its metadata says whether it is of {names}.")
    if preview.distribution is not None:
        checked = replace(
            checked,
            project=preview.distribution.project,
            version=str(preview.distribution.version),
            kind=_kind_of(preview.distribution.filename),
        )
    if preview.refusal is not None:
        checked = _refused(request, checked, preview, preview.refusal)
    return checked


def _refused(
    request: IndexRequest, checked: CheckedFile, preview: PreviewedUpload, refusal: WheelyardError
) -> CheckedFile:
    """Return what the page shows of a refused file: why, and where the viewer can change that."""
    request.context.process.store_errors.log(refusal)
    status: Literal["unknown", "refused"] = "refused"
    # a store or an upstream index that does not answer refuses nothing
    if isinstance(refusal, Unavailable):
        status = "unknown"
    return replace(
        checked,
        status=status,
        message=error_on_page(refusal),
        needs_digest=refusal.code == FILE_EXISTS and not preview.file.sha256,
        lacks_right=_lacks_right(refusal),
        remedy=_remedy(request, refusal),
    )


def _lacks_right(refusal: WheelyardError) -> bool:
    """Return whether somebody can give the caller the right that is missing."""
    return refusal.advice is not None and refusal.advice.right != ""


def _remedy(request: IndexRequest, refusal: WheelyardError) -> PageLink | None:
    """Return the link to the page on which the caller can change why a file is refused."""
    advice = refusal.advice
    if refusal.code == PUBLIC_NAME:
        # names are reserved in main alone, on a page for administrators
        if request.context.index.definition.is_main and request.caller.administers_server:
            return _RESERVE
        return None
    if advice is None or advice.remedy not in _BY_MANAGERS:
        return None
    name = NormalizedName(advice.subject)
    if not request.caller.may(Action.MANAGE, name):
        return None
    return PageLink(f"project/{name}/manage/", f"Manage {name}")


def _kind_of(filename: str) -> str:
    """Return what a file is for, in words."""
    compatibility = compatibility_of(filename)
    return f"{compatibility.kind}, {compatibility.text}"


def _uploaded(request: IndexRequest, published: PublishedFile) -> UploadedFile:
    """Return what the page shows of an uploaded file."""
    name = NormalizedName(published.project)
    promotion = ""
    # the file is there in any case: the answer says so, also while a link to promote it is unknown,
    # or if the credential has ended while the file came
    with suppress(Unauthenticated, Unavailable):
        if next(request.web.promotion_targets(request, name), None) is not None:
            version = parse_known_filename(published.filename, name).version
            promotion = f"project/{name}/{version_path(str(version))}/promote/"
    return UploadedFile(published.filename, published.status, name, published.warnings, promotion)


def _largest_file(request: IndexRequest) -> int:
    """Return the bytes that a file may have by the settings, and by the quotas."""
    uploads = request.context.index.uploads
    limits = (uploads.rules.max_size, uploads.quotas.project.bytes, uploads.quotas.index.bytes)
    # 0 stands for no limit
    return min(limit for limit in limits if limit)
