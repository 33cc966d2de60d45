"""
Handlers that serve distributions and their core metadata.

A file is served if the caller may read its project, the project's document lists it, and the
project's status permits it. A 304, a 412 and HEAD of a distribution need no bytes of the file. Core
metadata is compressed and cached as pages are; a range of it is not compressed.

On a bucket, a cached document that has to be revalidated and the file that it lists are requested
at the same time. The response is sent only if the document still lists the file.
"""

from asyncio import Task, create_task
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.catalog.document_cache import Snapshot
from wheelyard.errors import NotFound, WheelyardError
from wheelyard.http.caching.cache_headers import file_cache_headers, metadata_cache_headers
from wheelyard.http.context import ServerContext
from wheelyard.http.file_delivery import missing_file_error
from wheelyard.http.page_responses import load_page, page_response
from wheelyard.http.protocol.conditional_requests import check_if_match, is_not_modified
from wheelyard.http.protocol.error_responses import file_not_found
from wheelyard.http.protocol.messages import NOSNIFF, Header, Request, Response, redirect
from wheelyard.http.protocol.negotiation import MediaType
from wheelyard.http.protocol.range_requests import (
    content_range,
    range_not_satisfiable,
    requested_range,
)
from wheelyard.model.distribution_filename import parse_known_filename, parse_name
from wheelyard.model.project import File, Project
from wheelyard.storage.base import ObjectVersion

METADATA_SUFFIX: Final = ".metadata"
OCTET_STREAM: Final[Header] = (b"content-type", b"application/octet-stream")
ACCEPT_RANGES: Final[Header] = (b"accept-ranges", b"bytes")
SANDBOX: Final[Header] = (b"content-security-policy", b"sandbox; default-src 'none'")
SIGNED_URL_HEADERS: Final[tuple[Header, ...]] = (
    (b"cache-control", b"private, no-store"),
    (b"referrer-policy", b"no-referrer"),  # a signed URL gives access to the file
)


@dataclass(frozen=True, slots=True)
class _RequestedFile:
    project: NormalizedName
    version: ObjectVersion
    """Of the project's document."""
    file: File
    is_metadata: bool
    """Whether the core metadata of the file is requested, instead of the file."""


async def file_by_key(request: Request, context: ServerContext) -> Response:
    """Handle GET `/files/<project>/<sha256>/<filename>`: a distribution or its core metadata."""
    project = request.params["project"]
    return await _respond(request, project, context, request.params["sha256"])


async def file_by_name(request: Request, context: ServerContext) -> Response:
    """Handle GET of a distribution or its core metadata by filename, at a path without SHA-256."""
    sent = request.params.get("project")
    name = None if sent is None else _parse_name_or_none(sent)
    if name is not None:  # before the filename is parsed
        context.read_policy.require_project_read(request.caller, name)
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
    context.read_policy.require_project_read(request.caller, name)
    if sha256 is not None and name != project:
        return file_not_found()
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
    respond = _core_metadata if requested.is_metadata else _distribution
    return await respond(request, requested, context)


async def _distribution(
    request: Request, requested: _RequestedFile, context: ServerContext
) -> Response:
    """Return the response to GET or HEAD of a distribution."""
    file, project = requested.file, requested.project
    etag = f'"{file.sha256}"'.encode()
    cache_headers = file_cache_headers(is_public=context.read_policy.is_public(project))
    common = ((b"etag", etag), ACCEPT_RANGES, NOSNIFF, SANDBOX, *cache_headers)
    if rejection := check_if_match(request.headers, etag):
        return rejection
    is_current = context.index.projects.watch(project, requested.version)
    if is_not_modified(request.headers.get(b"if-none-match"), etag):
        return _repeating(Response(304, common), is_current)
    return await _whole_or_range(request, requested, common, context, is_current)


def _repeating(
    response: Response,
    is_current: Callable[[], bool],
    open_body: Callable[[], bytes | Path | Iterator[bytes] | str] = bytes,
) -> Response:
    """Return `response`, to be repeated with a new body while the project's document is current."""

    def repeat() -> Response | None:
        body = open_body() if is_current() else None
        return replace(response, body=body) if isinstance(body, bytes | Path) else None

    return replace(response, repeat=repeat)


async def _whole_or_range(
    request: Request,
    requested: _RequestedFile,
    common: tuple[Header, ...],
    context: ServerContext,
    is_current: Callable[[], bool],
) -> Response:
    """Return the response 200, 206, 302 or 416 to GET or HEAD; `common` begins with the ETag."""
    file, project = requested.file, requested.project
    part = requested_range(request, common[0][1], file.size)
    if part is not None and not part.size:
        return range_not_satisfiable(file.size)
    size = part.size if part else file.size
    headers = (OCTET_STREAM, (b"content-length", b"%d" % size))
    if request.method == "HEAD":
        return _repeating(Response(200, (*headers, *common)), is_current)
    deliver = partial(context.file_delivery.open_body, project, file, part)
    # on a bucket, even signing a URL may be a request to Google
    body = deliver() if context.index.is_local else await context.pools.run_read(deliver)
    if isinstance(body, str):
        return redirect(302, body, *SIGNED_URL_HEADERS)
    ranges = (content_range(part, file.size),) if part else ()
    response = Response(206 if part else 200, (*headers, *ranges, *common), body)
    if not isinstance(body, bytes | Path):
        return response
    return _repeating(response, is_current, deliver)


async def _core_metadata(
    request: Request, requested: _RequestedFile, context: ServerContext
) -> Response:
    """Return the response to GET or HEAD of core metadata."""
    if b"range" in request.headers:
        uncompressed = {**request.headers, b"accept-encoding": b"identity"}
        request = replace(request, headers=uncompressed)
    file, project = requested.file, requested.project
    is_public = context.read_policy.is_public(project)
    key = ("core_metadata", file.core_metadata, is_public)
    # of a resolver's answers these are the most and the smallest: no header that none of them reads
    headers = metadata_cache_headers(is_public=is_public)
    load = partial(context.core_metadata.load_bytes, project, file)
    # its digest is its version
    page = await load_page(context, request, key, ObjectVersion(file.core_metadata), load, headers)
    is_current = context.index.projects.watch(project, requested.version)
    whole = page_response(request, page, MediaType.CORE_METADATA, is_current)
    is_whole = b"range" not in request.headers or whole.status != HTTPStatus.OK
    return whole if is_whole else _part_of(request, whole)


def _part_of(request: Request, whole: Response) -> Response:
    """Return the response 200, 206 or 416 to a request with Range."""
    body, headers = whole.body, dict(whole.headers)
    assert isinstance(body, bytes)  # noqa: S101 - a page's
    part = requested_range(request, headers[b"etag"], len(body))
    if part is None:
        return whole
    if not part.size:
        return range_not_satisfiable(len(body))
    headers[b"content-length"] = b"%d" % part.size
    every = (*headers.items(), content_range(part, len(body)))
    return Response(206, every, body[part.start : part.stop])
