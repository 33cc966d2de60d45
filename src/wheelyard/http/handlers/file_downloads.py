"""
Handlers that serve distributions and their core metadata.

A file is served if the caller may read its project, the project's document lists it, and the
project's status permits it.

On a bucket, a cached document that has to be revalidated and the file that it lists are requested
at the same time. The response is sent only if the document still lists the file.
"""

from asyncio import Task, create_task
from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog.document_cache import Snapshot
from wheelyard.errors import NotFound, WheelyardError
from wheelyard.http.context import ServerContext
from wheelyard.http.file_delivery import missing_file_error
from wheelyard.http.file_responses import (
    Body,
    FileToSend,
    core_metadata_response,
    file_headers,
    file_response,
)
from wheelyard.http.protocol.conditional_requests import ByteRange
from wheelyard.http.protocol.error_responses import file_not_found
from wheelyard.http.protocol.messages import Request, Response
from wheelyard.model.distribution_filename import parse_known_filename, parse_name
from wheelyard.model.project import File, Project
from wheelyard.storage.base import ObjectVersion

if TYPE_CHECKING:
    from wheelyard.http.upstream_reader import UpstreamReader

METADATA_SUFFIX: Final = ".metadata"


class _RequestedFile(Struct, frozen=True):
    project: NormalizedName
    version: ObjectVersion
    """Of the project's document."""
    file: File
    is_metadata: bool


async def file_by_key(request: Request, context: ServerContext) -> Response:
    """Handle GET `/files/<project>/<sha256>/<filename>`: a distribution or its core metadata."""
    project = request.params["project"]
    return await _respond(request, project, context, request.params["sha256"])


async def file_by_name(request: Request, context: ServerContext) -> Response:
    """Handle GET of a distribution or its core metadata by filename, at a path without SHA-256."""
    sent = request.params.get("project")
    name = None if sent is None else _parse_name_or_none(sent)
    if name is not None:  # before the filename is parsed
        context.read_policy.require_lookup(request.caller, name)
    filename = request.params["filename"].removesuffix(METADATA_SUFFIX)
    try:
        project = parse_known_filename(filename).project
    except WheelyardError:
        return file_not_found()
    if sent is not None and name != project:
        return file_not_found()
    return await _respond(request, project, context)


def _parse_name_or_none(project: str) -> NormalizedName | None:
    try:
        return parse_name(project)
    except WheelyardError:
        return None


async def _respond(
    request: Request, project: str, context: ServerContext, sha256: str | None = None
) -> Response:
    """
    Return the response with the file that the path names; 404 if its project does not serve it.

    With `sha256`, the file must have that digest, and `project` must be a normalized name. Raise
    WheelyardError if the caller may not read the project.
    """
    name = _parse_name_or_none(project)
    if name is None:
        return file_not_found()
    context.read_policy.require_lookup(request.caller, name)
    if sha256 is not None and name != project:
        return file_not_found()
    if context.upstream is not None:
        public = await _upstream_response(request, name, sha256, context.upstream, context)
        if public is not None:
            return public
    return await _private_response(request, name, sha256, context)


async def _private_response(
    request: Request, name: NormalizedName, sha256: str | None, context: ServerContext
) -> Response:
    """Return the response with a file of a private project."""
    find = partial(_find_served, request, name, sha256)
    expired = context.documents.peek_expired(name)
    expected = None if expired is None else find(expired)
    early = None if expected is None else create_task(_file_response(request, expected, context))
    requested: _RequestedFile | None = None
    try:
        requested = find(await context.documents.load_project(name))
    finally:
        if early and expected and (requested is None or requested.file != expected.file):
            early.add_done_callback(_discard)
            early = None
    if requested is None:
        return file_not_found()
    try:
        return await (early or _file_response(request, requested, context))
    except NotFound as error:
        # a concurrent delete first changes the document, then deletes the bytes
        if await context.documents.is_file_listed(name, requested.file):
            raise missing_file_error(requested.file) from error
        return file_not_found()


async def _upstream_response(
    request: Request,
    name: NormalizedName,
    sha256: str | None,
    reader: "UpstreamReader",
    context: ServerContext,
) -> Response | None:
    """Return the response with a file of an upstream index; None if the name is private."""
    page = await reader.find(request, name, may_refresh=False)
    if page is None:
        return None
    # no server without an upstream index needs it
    from wheelyard.http.upstream_files import UpstreamDownload  # noqa: PLC0415

    sent = request.params["filename"]
    filename = sent.removesuffix(METADATA_SUFFIX)
    download = UpstreamDownload(request, context, reader, page)
    return await download.response(sha256, filename, is_metadata=filename != sent)


def _find_served(
    request: Request, name: NormalizedName, sha256: str | None, snapshot: Snapshot[Project]
) -> _RequestedFile | None:
    """Return the file of a project that the path names; None if the document does not serve it."""
    document, sent = snapshot.value, request.params["filename"]
    if document is None or not document.status.serves_files:
        return None
    filename = sent.removesuffix(METADATA_SUFFIX)
    file, is_metadata = document.by_filename.get(filename), filename != sent
    if file is None or sha256 not in (None, file.sha256):
        return None
    if is_metadata and not file.serves_metadata:
        return None
    return _RequestedFile(name, snapshot.version, file, is_metadata)


def _discard(task: Task[Response]) -> None:
    """Close the body of a response that is not sent; ignore the error of a failed one."""
    if not task.cancelled() and task.exception() is None:
        getattr(task.result().body, "close", lambda: None)()


async def _file_response(
    request: Request, requested: _RequestedFile, context: ServerContext
) -> Response:
    """Return the response with a file, or with its core metadata; may raise NotFound."""
    file, project = requested.file, requested.project
    is_current = context.index.projects.watch(project, requested.version)
    if requested.is_metadata:
        load = partial(context.core_metadata.load_bytes, project, file)
        version = ObjectVersion(file.core_metadata)  # its digest
        is_public = context.read_policy.is_public(project)
        return await core_metadata_response(
            request, context, version, load, is_current, is_public=is_public
        )

    def open_at_once(part: ByteRange | None) -> Body:
        return context.file_delivery.open_body(project, file, part)

    async def open_body(part: ByteRange | None) -> Body:
        if context.index.is_local:
            return open_at_once(part)
        # on a bucket, even signing a URL may be a request to Google
        return await context.pools.run_read(partial(open_at_once, part))

    found = FileToSend(
        sha256=file.sha256,
        size=file.size,
        headers=file_headers(context, project),
        open_body=open_body,
        open_again=open_at_once,
        is_current=is_current,
    )
    return await file_response(request, found)
