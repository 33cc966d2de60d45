"""`/api/v1/projects`: projects, journals and changes; docs/api.md has them all."""

import re
from collections.abc import Callable
from functools import partial
from typing import Final
from urllib.parse import parse_qs

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.authentication.api_tokens import invalid_credential
from wheelyard.catalog.projects import Projects
from wheelyard.errors import Invalid, quoted
from wheelyard.http.context import ServerContext
from wheelyard.http.page_responses import visible_names
from wheelyard.http.protocol.conditional_requests import check_if_match
from wheelyard.http.protocol.error_responses import error_response
from wheelyard.http.protocol.json_body import decode_json, json_response, read_body
from wheelyard.http.protocol.messages import JSON, Request, Response
from wheelyard.http.security.read_policy import parse_project_name
from wheelyard.model.access import Action, Caller
from wheelyard.model.distribution_filename import parse_version
from wheelyard.model.project import File, Project, Status
from wheelyard.operations.lifecycle import Lifecycle, Selection
from wheelyard.rendering.simple_pages import timestamp

_NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)


class ReleaseChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What to yank, unyank or delete."""

    version: str
    file: str | None = None
    reason: str = ""


class StatusChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What status to set."""

    status: Status
    reason: str = ""


ProjectChange = Callable[[Lifecycle, Caller, NormalizedName, bytes], Project]
"""Changes a project for a caller, as a body says, and returns it."""


async def list_projects(request: Request, context: ServerContext) -> Response:
    """Answer with the names that the caller may read."""
    snapshot = await context.documents.load_names()

    def listed() -> Response:
        names = visible_names(snapshot, request.caller)
        return json_response(200, {"projects": [{"name": name} for name in names]})

    return await context.pools.run_read(listed)


async def get_project(request: Request, context: ServerContext) -> Response:
    """Answer with what a project is, and which files it has and had."""
    found = await _readable_project(request, context)
    return await context.pools.run_read(lambda: json_response(200, _described(found)))


async def get_journal(request: Request, context: ServerContext) -> Response:
    """Answer with who did what to a project, and when."""
    found = await _readable_project(request, context)
    after = parse_after(request.query)
    async with context.long_read_limit.acquire(request.client_key):
        # far, each commit is a request of its own
        size = 1000 if context.index.is_local else 100
        read = partial(journal_page, context.index.projects, found, after, size)
        return await context.pools.run_read(read)


def parse_after(query: bytes) -> int:
    """Return the number that `?after=` names, or 0."""
    values = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("after", ["0"])
    if len(values) > 1 or not _NUMBER.fullmatch(values[0]):
        raise Invalid(
            f"'after' is {quoted(values[-1])}. Send the number of one commit, in digits.",
            code="invalid_field",
        )
    return int(values[0])


def journal_page(projects: Projects, project: Project, after: int, page_size: int) -> Response:
    """Answer with at most `page_size` commits behind number `after`."""
    last = min(after + page_size, project.revision)
    commits = list(projects.journal(project, after, last))
    page: dict[str, object] = {"name": project.name, "commits": commits}
    if last < project.revision:
        page["next"] = last
    return json_response(200, page)


async def _readable_project(request: Request, context: ServerContext) -> Project:
    name = parse_project_name(request.params["name"])
    context.read_policy.require_project_read(request.caller, name)
    return (await context.documents.require_project(name))[0]


async def change_project(
    request: Request, context: ServerContext, change: ProjectChange
) -> Response:
    """Change a project, and answer with what it is then."""
    name, caller = parse_project_name(request.params["name"]), request.caller
    if caller.is_anonymous:
        raise invalid_credential()
    caller.require(Action.MANAGE, name)
    refused = check_if_match(request.headers, None)
    if refused is not None:
        return refused
    if request.media_type != JSON:
        message = 'Send the change as JSON, with "Content-Type: application/json".'
        return error_response(415, "unsupported_media_type", message, "Send application/json.")
    body = await read_body(request.receive)

    def changed() -> Response:
        return json_response(200, _described(change(context.index.lifecycle, caller, name, body)))

    return await context.pools.run_write(changed)


def _release_change(
    verb: Callable[[Lifecycle, Caller, NormalizedName, Selection, str], Project],
) -> ProjectChange:
    def change(lifecycle: Lifecycle, caller: Caller, name: NormalizedName, body: bytes) -> Project:
        wanted = decode_json(body, ReleaseChange)
        selection = Selection(parse_version(wanted.version), wanted.file)
        return verb(lifecycle, caller, name, selection, wanted.reason)

    return change


def _status_change(
    lifecycle: Lifecycle, caller: Caller, name: NormalizedName, body: bytes
) -> Project:
    wanted = decode_json(body, StatusChange)
    return lifecycle.set_status(caller, name, wanted.status, wanted.reason)


CHANGES: Final[dict[str, ProjectChange]] = {
    "yank": _release_change(Lifecycle.yank),
    "unyank": _release_change(Lifecycle.unyank),
    "delete": _release_change(Lifecycle.delete),
    "status": _status_change,
}
"""What can be done to a project, by the last segment of the path."""


def _described(project: Project) -> dict[str, object]:
    status: dict[str, object] = {"status": project.status}
    if project.reason:
        status["reason"] = project.reason
    return {
        "name": project.name,
        "revision": project.revision,
        "project-status": status,
        "files": [_file(file) for file in project.files],
        "deleted": project.deleted_filenames,
    }


def _file(file: File) -> dict[str, object]:
    return {
        "filename": file.filename,
        "version": file.version,
        "sha256": file.sha256,
        "size": file.size,
        "upload-time": timestamp(file.uploaded_at),
        "uploaded-by": file.uploaded_by,
        "requires-python": file.requires_python,
        "yanked": False if file.yanked is None else file.yanked or True,
    }
