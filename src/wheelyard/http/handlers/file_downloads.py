"""
Handlers that serve distributions and their core metadata.

A file is served if the caller may read its project, the project's document lists it, and the
project's status permits it. A 304, a 412 and HEAD of a distribution need no bytes of the file. Core
metadata is compressed and cached as pages are; a range of it is not compressed.
"""

from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import Final

from packaging.utils import NormalizedName

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
from wheelyard.model.project import File
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
    requested, sha256 = await _find_listed(request, project, context), request.params["sha256"]
    if requested and requested.project == project and requested.file.sha256 == sha256:
        return await _respond(request, requested, context)
    return file_not_found()


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
    requested = await _find_listed(request, project, context)
    return file_not_found() if requested is None else await _respond(request, requested, context)


async def _find_listed(
    request: Request, project: str, context: ServerContext
) -> _RequestedFile | None:
    """
    Return which listed file the path names; None if its project does not list or serve it.

    Raise WheelyardError if the caller may not read the project.
    """
    name, sent = _parse_name_or_none(project), request.params["filename"]
    if name is None:
        return None
    context.read_policy.require_project_read(request.caller, name)
    snapshot = await context.documents.load_project(name)
    document = snapshot.value
    if document is None or not document.status.serves_files:
        return None
    filename = sent.removesuffix(METADATA_SUFFIX)
    file = document.by_filename.get(filename)
    if file is None:
        return None
    return _RequestedFile(name, snapshot.version, file, filename != sent)


def _parse_name_or_none(project: str) -> NormalizedName | None:
    try:
        return parse_name(project)
    except WheelyardError:
        return None


async def _respond(request: Request, requested: _RequestedFile, context: ServerContext) -> Response:
    file, project = requested.file, requested.project
    if requested.is_metadata and not file.serves_metadata:
        return file_not_found()
    respond = _core_metadata if requested.is_metadata else _distribution
    try:
        return await respond(request, requested, context)
    except NotFound as error:
        # a concurrent delete first changes the document, then deletes the bytes
        if await context.documents.is_file_listed(project, file):
            raise missing_file_error(file) from error
        return file_not_found()


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
    if is_not_modified(request.headers.get(b"if-none-match"), etag):
        return Response(304, common)
    return await _whole_or_range(request, requested, common, context)


async def _whole_or_range(
    request: Request, requested: _RequestedFile, common: tuple[Header, ...], context: ServerContext
) -> Response:
    """Return the response 200, 206, 302 or 416 to GET or HEAD; `common` begins with the ETag."""
    file, project = requested.file, requested.project
    part = requested_range(request, common[0][1], file.size)
    if part is not None and not part.size:
        return range_not_satisfiable(file.size)
    size = part.size if part else file.size
    headers = (OCTET_STREAM, (b"content-length", b"%d" % size))
    if request.method == "HEAD":
        return Response(200, (*headers, *common))
    deliver = partial(context.file_delivery.open_body, project, file, part)
    # on a bucket, even signing a URL may be a request to Google
    body = deliver() if context.index.is_local else await context.pools.run_read(deliver)
    if isinstance(body, str):
        return redirect(302, body, *SIGNED_URL_HEADERS)
    if part is None:
        return Response(200, (*headers, *common), body)
    return Response(206, (*headers, content_range(part, file.size), *common), body)


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
    headers = (ACCEPT_RANGES, SANDBOX, *metadata_cache_headers(is_public=is_public))
    load = partial(context.core_metadata.load_bytes, project, file)
    # its digest is its version
    page = await load_page(context, key, ObjectVersion(file.core_metadata), load, headers)
    is_current = context.index.projects.watch(project, requested.version)
    whole = page_response(request, page, MediaType.CORE_METADATA, context.pages, is_current)
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
