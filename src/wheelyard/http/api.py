"""
`/api/v1/`: projects, their journals, and what can be done to them.

    GET  projects                       names that the caller may read
    GET  projects/<name>                the project: status, files, deleted filenames
    GET  projects/<name>/journal        who did what, when
    POST projects/<name>/yank           {"version": "1.0", "file": "...", "reason": "..."}
    POST projects/<name>/unyank         {"version": "1.0", "file": "..."}
    POST projects/<name>/delete         {"version": "1.0", "file": "...", "reason": "..."}
    POST projects/<name>/status         {"status": "archived", "reason": "..."}
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

from msgspec import DecodeError, Meta, Struct
from msgspec.json import decode, encode
from packaging.utils import NormalizedName

from wheelyard.errors import IndexFault, Invalid, NotFound, TooLarge, quoted
from wheelyard.http.desk import Desk, unreadable
from wheelyard.http.errors import nothing_here, refuse, wrong_method
from wheelyard.http.exchange import JSON, NO_STORE, Receive, Reply, Request, reply
from wheelyard.http.incoming import next_piece
from wheelyard.http.routes import POST, READ, Api
from wheelyard.http.simple import readable
from wheelyard.model.access import Action
from wheelyard.model.distribution import parse_name, parse_version
from wheelyard.model.project import File, Project, Status
from wheelyard.operations.lifecycle import Selection
from wheelyard.operations.tokens import bad_credential
from wheelyard.rendering.simple import timestamp

BODY_LIMIT: Final = 64 * 1024
"""Bytes of a request."""
REASON_LIMIT: Final = 1024
"""Characters of a reason."""


Reason = Annotated[str, Meta(max_length=REASON_LIMIT, pattern=r"^[^\x00-\x1f\x7f]*$")]

T = TypeVar("T")


class ReleaseChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What to yank, unyank or delete."""

    version: str
    file: str | None = None
    reason: Reason = ""


class StatusChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What status to set."""

    status: Status
    reason: Reason = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A change that somebody asks for: of a project, with a body."""

    request: Request
    name: NormalizedName
    body: bytes
    desk: Desk


async def answer_api(request: Request, route: Api, desk: Desk) -> Reply:
    """Answer a route below `/api/v1/`."""
    match route.segments:
        case ("projects", name, verb) if verb in _CHANGES:
            posts = request.method == "POST"
            return await _change(request, name, verb, desk) if posts else wrong_method(POST)
        case ("projects",) | ("projects", _) | ("projects", _, "journal"):
            reads = request.method != "POST"
            return await _read(request, route.segments[1:], desk) if reads else wrong_method(READ)
        case _:
            return nothing_here()


async def _read(request: Request, segments: tuple[str, ...], desk: Desk) -> Reply:
    if not segments:
        return await _projects(request, desk)
    project = await _readable_project(request, segments[0], desk)
    if len(segments) == 1:
        return _json(_described(project))
    commits = await desk.read(lambda: list(desk.index.projects.journal(project.name)))
    return _json({"name": project.name, "commits": commits})


async def _projects(request: Request, desk: Desk) -> Reply:
    desk.require_reading(request.caller)
    snapshot = await desk.names()
    names = readable(snapshot.value.names, request.caller) if snapshot.value else ()
    return _json({"projects": [{"name": name} for name in names]})


async def _readable_project(request: Request, asked: str, desk: Desk) -> Project:
    name = _name(asked)
    desk.require_read(request.caller, name)
    project = (await desk.project(name)).value
    if project is None:
        raise unreadable(name)
    return project


async def _change(request: Request, asked: str, verb: str, desk: Desk) -> Reply:
    name = _name(asked)
    if request.caller.is_anonymous:
        raise bad_credential()
    request.caller.require(Action.MANAGE, name)
    if not request.headers.get(b"content-type", b"").lower().startswith(JSON):
        message = 'Send the change as JSON, with "Content-Type: application/json".'
        return refuse(415, "unsupported_media_type", message, "Send application/json.")
    change = Change(request, name, await _body(request.receive), desk)
    return _json(_described(await desk.write(lambda: _CHANGES[verb](change))))


def _release_change(change: Change, verb: Callable[..., Project]) -> Project:
    wanted = _decoded(change.body, ReleaseChange)
    selection = Selection(parse_version(wanted.version), wanted.file)
    return verb(change.request.caller, change.name, selection, wanted.reason)


def _yank(change: Change) -> Project:
    return _release_change(change, change.desk.index.lifecycle.yank)


def _unyank(change: Change) -> Project:
    return _release_change(change, change.desk.index.lifecycle.unyank)


def _delete(change: Change) -> Project:
    return _release_change(change, change.desk.index.lifecycle.delete)


def _status(change: Change) -> Project:
    wanted = _decoded(change.body, StatusChange)
    lifecycle, caller = change.desk.index.lifecycle, change.request.caller
    return lifecycle.set_status(caller, change.name, wanted.status, wanted.reason)


_CHANGES: Final[dict[str, Callable[[Change], Project]]] = {
    "yank": _yank,
    "unyank": _unyank,
    "delete": _delete,
    "status": _status,
}


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return decode(body, type=kind)
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(
            f"The body is not what this route takes: {quoted(error)}. See docs/api.md.",
            code="invalid_field",
        ) from error


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        piece, more = await next_piece(receive)
        body += piece
        if len(body) > BODY_LIMIT:
            raise TooLarge(f"A change has at most {BODY_LIMIT} bytes. Send a shorter reason.")
    return body


def _name(asked: str) -> NormalizedName:
    try:
        return parse_name(asked)
    except IndexFault as error:
        raise NotFound(error.message, short="No such project.") from error


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


def _json(value: object) -> Reply:
    return reply(200, JSON, encode(value), NO_STORE)
