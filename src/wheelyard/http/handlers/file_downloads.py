"""Handlers that serve distributions and their core metadata, to whoever may read their project."""

from typing import Final

from packaging.utils import NormalizedName

from wheelyard.errors import WheelyardError
from wheelyard.http.context import ServerContext
from wheelyard.http.file_responses import WantedFile
from wheelyard.http.protocol.error_responses import file_not_found
from wheelyard.http.protocol.messages import Request, Response
from wheelyard.model.distribution_filename import parse_known_filename, parse_name

METADATA_SUFFIX: Final = ".metadata"


def file_by_key(request: Request, context: ServerContext) -> Response:
    """Handle GET `/files/<project>/<sha256>/<filename>`: a distribution or its core metadata."""
    project = request.path_params["project"]
    return _respond(request, project, context, request.path_params["sha256"])


def file_by_name(request: Request, context: ServerContext) -> Response:
    """Handle GET of a distribution or its core metadata by filename, at a path without SHA-256."""
    sent = request.path_params.get("project")
    name = None if sent is None else _parse_name_or_none(sent)
    if name is not None:  # before the filename is parsed
        context.read_policy.require_lookup(request.caller, name)
    filename = request.path_params["filename"].removesuffix(METADATA_SUFFIX)
    try:
        project = parse_known_filename(filename).project
    except WheelyardError:
        return file_not_found()
    if sent is not None and name != project:
        return file_not_found()
    return _respond(request, project, context)


def _parse_name_or_none(project: str) -> NormalizedName | None:
    try:
        return parse_name(project)
    except WheelyardError:
        return None


def _respond(
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
    sent = request.path_params["filename"]
    filename = sent.removesuffix(METADATA_SUFFIX)
    listing = context.resolver.find(name, request, may_refresh=False)
    return listing.open.response(request, WantedFile(filename, sha256, filename != sent))
