"""`/api/v1/projects`: projects, journals and changes; docs/api.md has them all."""

import re
from collections.abc import Callable
from functools import partial
from typing import Final
from urllib.parse import parse_qs

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog.projects import Projects
from wheelyard.errors import Invalid, quoted
from wheelyard.http.audience import name_in
from wheelyard.http.bodies import answered, decoded, small_body
from wheelyard.http.desk import Desk
from wheelyard.http.errors import refuse
from wheelyard.http.exchange import JSON, Reply, Request
from wheelyard.http.negotiation import unmet
from wheelyard.http.simple import visible
from wheelyard.model.access import Action, Caller
from wheelyard.model.distribution import parse_version
from wheelyard.model.project import File, Project, Status
from wheelyard.operations.lifecycle import Lifecycle, Selection
from wheelyard.operations.tokens import bad_credential
from wheelyard.rendering.simple import timestamp

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


Change = Callable[[Lifecycle, Caller, NormalizedName, bytes], Project]
"""Changes a project for a caller, as a body says, and returns it."""


async def projects(request: Request, desk: Desk) -> Reply:
    """Answer with the names that the caller may read."""
    snapshot = await desk.reads.names()

    def listed() -> Reply:
        names = visible(snapshot, request.caller)
        return answered(200, {"projects": [{"name": name} for name in names]})

    return await desk.threads.read(listed)


async def project(request: Request, desk: Desk) -> Reply:
    """Answer with what a project is, and which files it has and had."""
    found = await _readable_project(request, desk)
    return await desk.threads.read(lambda: answered(200, _described(found)))


async def journal(request: Request, desk: Desk) -> Reply:
    """Answer with who did what to a project, and when."""
    found = await _readable_project(request, desk)
    after = after_of(request.query)
    async with desk.long_reads.one(request.party):
        # far, each commit is a request of its own
        size = 1000 if desk.index.is_near else 100
        read = partial(journal_json, desk.index.projects, found, after, size)
        return await desk.threads.read(read)


def after_of(query: bytes) -> int:
    """Return the number that `?after=` names, or 0."""
    values = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("after", ["0"])
    if len(values) > 1 or not _NUMBER.fullmatch(values[0]):
        raise Invalid(
            f"'after' is {quoted(values[-1])}. Send the number of one commit, in digits.",
            code="invalid_field",
        )
    return int(values[0])


def journal_json(projects: Projects, project: Project, after: int, page_size: int) -> Reply:
    """Answer with at most `page_size` commits behind number `after`."""
    last = min(after + page_size, project.revision)
    commits = list(projects.journal(project, after, last))
    page: dict[str, object] = {"name": project.name, "commits": commits}
    if last < project.revision:
        page["next"] = last
    return answered(200, page)


async def _readable_project(request: Request, desk: Desk) -> Project:
    name = name_in(request.params["name"])
    desk.audience.require_read(request.caller, name)
    return (await desk.reads.listed(name))[0]


async def change_project(request: Request, desk: Desk, change: Change) -> Reply:
    """Change a project, and answer with what it is then."""
    name, caller = name_in(request.params["name"]), request.caller
    if caller.is_anonymous:
        raise bad_credential()
    caller.require(Action.MANAGE, name)
    refused = unmet(request.headers, None)
    if refused is not None:
        return refused
    if request.media_type != JSON:
        message = 'Send the change as JSON, with "Content-Type: application/json".'
        return refuse(415, "unsupported_media_type", message, "Send application/json.")
    body = await small_body(request.receive)

    def changed() -> Reply:
        return answered(200, _described(change(desk.index.lifecycle, caller, name, body)))

    return await desk.threads.write(changed)


def _release_change(
    verb: Callable[[Lifecycle, Caller, NormalizedName, Selection, str], Project],
) -> Change:
    def change(lifecycle: Lifecycle, caller: Caller, name: NormalizedName, body: bytes) -> Project:
        wanted = decoded(body, ReleaseChange)
        selection = Selection(parse_version(wanted.version), wanted.file)
        return verb(lifecycle, caller, name, selection, wanted.reason)

    return change


def _status_change(
    lifecycle: Lifecycle, caller: Caller, name: NormalizedName, body: bytes
) -> Project:
    wanted = decoded(body, StatusChange)
    return lifecycle.set_status(caller, name, wanted.status, wanted.reason)


CHANGES: Final[dict[str, Change]] = {
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
        "deleted": project.gone,
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
