"""
Handlers of the page on which people upload.

With scripts, the page first asks for a dry run of the upload of each file (`check/`), which answers
with the reasons for which the upload would be refused.
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
"""How many files one dry run may have. The script of the page sends fewer at a time."""
_SIZE: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_BY_MANAGERS: Final = frozenset({Remedy.MAKE_ACTIVE, Remedy.RESTORE})
"""The remedies that a person who manages a project has on the page of the project."""


class UploadedFile(Struct, frozen=True):
    """A file that was uploaded, for the page, or as JSON for its script."""

    filename: str
    status: Literal["uploaded", "there"]
    """`there` if the file was listed with the same content already."""
    project: str
    warnings: tuple[str, ...]
    promotion: str = ""
    """The path, in the index, of the page to promote the release, or an empty text without one."""


class PageLink(Struct, frozen=True):
    """A link to a page of the index."""

    path: str
    """The path from the root of the index."""
    text: str


_RESERVE_NAME: Final = PageLink("-/admin/names/?action=reserve", "Reserve the name")


class CheckedFile(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The result of a dry run for one file, as JSON for the script of the page."""

    status: Literal["new", "there", "named", "refused", "unknown"]
    """
    `there`: the file is listed with the same content. `named`: a file of this name is listed, and
    the contents were not compared. `unknown`: a store or an upstream index does not answer.
    """
    project: str = ""
    version: str = ""
    kind: str = ""
    """The kind of the file and what it fits, in words."""
    is_first: bool = False
    """Whether the project of the file is new."""
    message: str = ""
    """Why the file is refused, or what its metadata decides."""
    needs_digest: bool = False
    """Whether the SHA-256 of the file, which was not sent, would make the result clear."""
    lacks_right: bool = False
    """Whether the file is refused as the caller lacks a right that can be given."""
    remedy: PageLink | None = None
    """The page on which the viewer can change the reason of the refusal."""


class UploadPage:
    """Handles the page on which people upload, and the upload by its form."""

    def __init__(self, uploads: UploadHandler) -> None:
        self._uploads = uploads

    def answer_page(self, request: IndexRequest) -> Response:
        """
        Handle GET: the form.

        Raises Unauthenticated or Forbidden unless the caller may upload to any project. Raises
        Forbidden if the index takes no uploads (codes `read_only`, `no_own_packages`,
        `promotions_only` and `index_not_named`). Raises Unavailable if the store does not answer.
        """
        require_upload(request.caller)
        if request.context.index.settings.server.read_only:
            raise request.context.read_only_error()
        request.context.index.uploads.require_uploads()
        return _show_page(request, 200, FormState(forms.form_token(request)))

    async def answer_form(self, request: IndexRequest) -> Response:
        """
        Handle POST: upload the file, and answer with the result.

        The answer is JSON for a client that accepts JSON, else the page. For a refused upload it
        has the reason, and the status of the error. Raises Unauthenticated, so that a browser gets
        to the page to sign in. Raises TimeoutError, SlowClient or ClientDisconnected if the body
        does not come. Raises Unavailable if the page with the form cannot be made.
        """
        # a coroutine, as the body is streamed: calls that may wait for the store run in a thread
        context = request.context
        pools = context.process.pools
        wants_json = b"application/json" in request.joined_headers.get(b"accept", b"")
        try:
            if context.index.settings.server.read_only:
                raise context.read_only_error()
            check_token = partial(forms.require_form_token, request)
            reader = form_reader(request, check_token)
            published = await self._uploads.receive(reader, request)
        except WheelyardError as error:
            # the usual answer to this error leads to the page to sign in
            if isinstance(error, Unauthenticated):
                raise
            # with the message for a page: the script shows it, and nobody types commands there
            if wants_json:
                context.process.store_errors.log(error)
                return error_response(status_of(error), error.code, error_on_page(error))
            # without values, as a browser cannot fill in the field of a file again
            empty_fields = forms.FormFields({})
            form = await pools.run_in(pools.reads, forms.refused_form, request, empty_fields, error)
            return _show_page(request, status_of(error), form, lacks_right=_lacks_right(error))
        uploaded: UploadedFile | None = None
        if published is not None:
            uploaded = await pools.run_in(pools.reads, _uploaded_file, request, published)
        if wants_json:
            return json_response(200, uploaded)
        form_token = await pools.run_in(pools.reads, forms.form_token, request)
        return _show_page(request, 200, FormState(form_token), uploaded)


def _show_page(
    request: IndexRequest,
    status: int,
    form: FormState,
    uploaded: UploadedFile | None = None,
    *,
    lacks_right: bool = False,
) -> Response:
    """Return the page with the form, and with the file that was uploaded before, if any."""
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
        max_size=_size_limit(request) // MIB,
        zip_sdists=settings.uploads.zip_sdists,
    )


def answer_check(request: IndexRequest) -> Response:
    """
    Handle POST `check/`: the results of a dry run of uploads, in the order of the files, as JSON.

    No file is stored. A file that would be refused is a part of the answer, and no error. Raises
    Unauthenticated or Forbidden unless the caller may upload to any project. Raises Forbidden if
    the form is too old (code `stale_form`), or on a read-only server (code `read_only`). Raises
    Invalid if a field is wrong or missing, or if there are no files or too many. Raises TooLarge
    for a form that is too long. Raises Waiting until the form has come, and while an upstream index
    is asked.
    """
    require_upload(request.caller)
    # the handler is called again once the body has come
    fields = forms.read_form(request)
    forms.require_form_token(request, fields.text(forms.CSRF_FIELD))
    candidates = _candidate_files(fields)
    # new names are looked up at the upstream index
    checked_files = request.ask_upstream("check", _check_files, request, candidates)
    return json_response(200, checked_files)


def _candidate_files(fields: forms.FormFields) -> list[CandidateFile]:
    """
    Return the files of a form, which has a filename, a size and a SHA-256 for each.

    Raises Invalid for a wrong field, for no files or too many, or if a file lacks a field.
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
    candidates: list[CandidateFile] = []
    for filename, size, digest in zip(filenames, sizes, digests, strict=True):
        candidate = CandidateFile(filename, _parse_size(size))
        # the script computes no digest of a large file, or on a page without HTTPS
        if digest:
            candidate = replace(candidate, sha256=parse_sha256(digest))
        candidates.append(candidate)
    return candidates


def _parse_size(text: str) -> int:
    """Return a size in bytes, or raise Invalid if the text is no number."""
    if not _SIZE.fullmatch(text):
        raise Invalid("The size of a file is a number of bytes. Send that.", code="invalid_field")
    return int(text)


def _check_files(request: IndexRequest, candidates: list[CandidateFile]) -> list[CheckedFile]:
    """Return the results of a dry run, in which files are uploaded in their order."""
    dry_run = UploadDryRun(request.context.index.uploads, request.caller)
    filename_counts = Counter(candidate.filename for candidate in candidates)
    checked_files: list[CheckedFile] = []
    for candidate in candidates:
        checked = _checked_file(request, dry_run.preview(candidate))
        # of two files with one name, only the digests say whether they are equal
        is_name_repeated = filename_counts[candidate.filename] > 1
        if is_name_repeated and not candidate.sha256 and checked.status == "new":
            checked = replace(checked, needs_digest=True)
        checked_files.append(checked)
    return checked_files


def _checked_file(request: IndexRequest, preview: PreviewedUpload) -> CheckedFile:
    """Return the result of the dry run for one file, as the page shows it."""
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
            kind=_describe_kind(preview.distribution.filename),
        )
    if preview.refusal is not None:
        checked = _with_refusal(request, checked, preview, preview.refusal)
    return checked


def _with_refusal(
    request: IndexRequest, checked: CheckedFile, preview: PreviewedUpload, refusal: WheelyardError
) -> CheckedFile:
    """Return the result of a refused file: with the reason, and the page to change the reason."""
    request.context.process.store_errors.log(refusal)
    status: Literal["unknown", "refused"] = "refused"
    # without an answer of the store or an upstream index, the file may be accepted later
    if isinstance(refusal, Unavailable):
        status = "unknown"
    return replace(
        checked,
        status=status,
        message=error_on_page(refusal),
        needs_digest=refusal.code == FILE_EXISTS and not preview.file.sha256,
        lacks_right=_lacks_right(refusal),
        remedy=_remedy_link(request, refusal),
    )


def _lacks_right(refusal: WheelyardError) -> bool:
    """Return whether an upload is refused as the caller lacks a right that can be given."""
    return refusal.advice is not None and refusal.advice.right != ""


def _remedy_link(request: IndexRequest, refusal: WheelyardError) -> PageLink | None:
    """
    Return the link to the page on which the caller can change the reason of a refusal.

    None means that there is no such page, or that the caller may not use it.
    """
    advice = refusal.advice
    if refusal.code == PUBLIC_NAME:
        # names are reserved only in main, by administrators
        if request.context.index.definition.is_main and request.caller.administers_server:
            return _RESERVE_NAME
        return None
    if advice is None or advice.remedy not in _BY_MANAGERS:
        return None
    name = NormalizedName(advice.subject)
    if not request.caller.may(Action.MANAGE, name):
        return None
    return PageLink(f"project/{name}/manage/", f"Manage {name}")


def _describe_kind(filename: str) -> str:
    """Return the kind of a file and what it fits, in words."""
    compatibility = compatibility_of(filename)
    return f"{compatibility.kind}, {compatibility.text}"


def _uploaded_file(request: IndexRequest, published: PublishedFile) -> UploadedFile:
    """Return an uploaded file as the page shows it, with a link to promote its release."""
    name = NormalizedName(published.project)
    promotion_path = ""
    # The file is published in any case. It is shown without the link if the store does not say to
    # which indexes it can be promoted, or if the credential has ended during the upload.
    with suppress(Unauthenticated, Unavailable):
        first_target = next(request.web.promotion_targets(request, name), None)
        if first_target is not None:
            version = parse_known_filename(published.filename, name).version
            promotion_path = f"project/{name}/{version_path(str(version))}/promote/"
    return UploadedFile(
        published.filename, published.status, name, published.warnings, promotion_path
    )


def _size_limit(request: IndexRequest) -> int:
    """Return the number of bytes that a file may have by the settings and the quotas."""
    uploads = request.context.index.uploads
    limits = (uploads.rules.max_size, uploads.quotas.project.bytes, uploads.quotas.index.bytes)
    # 0 means no limit
    return min(limit for limit in limits if limit)
