"""Handlers of `/api/v1/projects`: projects, their journals, and changes of them (docs/api.md)."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Final, Literal

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.authentication.api_tokens import invalid_credential
from wheelyard.errors import Invalid, NotFound, quoted
from wheelyard.http.context import ServerContext
from wheelyard.http.page_responses import load_projects, visible_names
from wheelyard.http.protocol.fields import parse_after, query_field
from wheelyard.http.protocol.json_body import decode_json, json_response, read_json
from wheelyard.http.protocol.messages import NO_STORE, NOSNIFF, Request, Response
from wheelyard.http.security.read_policy import parse_project_name, require_admin
from wheelyard.model.access import Action
from wheelyard.model.distribution_filename import parse_version, parse_version_set
from wheelyard.model.project import File, Project, Status
from wheelyard.model.project_json import CommitJson
from wheelyard.operations.lifecycle import ReleaseAction, Selection
from wheelyard.rendering.simple_pages import timestamp


class ReleaseChange(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request to yank, unyank or delete releases, or one file of them."""

    version: str = ""
    versions: str = ""
    """A set of versions; one of these two is sent."""
    file: str | None = None
    reason: str = ""
    dry_run: bool = False
    """Whether nothing is changed, and the response says what would be."""

    @property
    def selection(self) -> Selection:
        """The files that the body selects; Invalid if it is malformed."""
        if bool(self.version) == bool(self.versions):
            what = "version or versions, not both" if self.version else "version is missing"
            message = f'{what}. Send "version": "1.0", or "versions": "<2".'
            raise Invalid(message, code="invalid_field", short=f"{what}.")
        versions = parse_version(self.version) if self.version else parse_version_set(self.versions)
        return Selection(versions, self.file)


class StatusChange(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request to set a project's status."""

    status: Status
    reason: str = ""


class NameChange(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request to reserve or to release a name."""

    reason: str = ""


ProjectAction = ReleaseAction | Literal["status"]
ACTIONS: Final[tuple[ProjectAction, ...]] = ("yank", "unyank", "delete", "status")


async def list_projects(request: Request, context: ServerContext) -> Response:
    """
    Handle GET `/api/v1/projects`: the names of the projects that the caller may read.

    With `changed-since`, they are only private ones that have changed since that time, as a listing
    of the store says, and perhaps some more. Without it, public ones that are used here have a list
    of their own: who knows nothing of them must not take them for projects of this index.
    """
    since, caller = parse_changed_since(request.query), request.caller
    if since is None:
        snapshot = await context.documents.load_names()
        table = None if context.upstream is None else await load_projects(context)

        def respond_with_all() -> Response:
            names = visible_names(snapshot, caller)
            if table is None:
                return _names_response(names)
            private = snapshot.value.as_set if snapshot.value else frozenset[NormalizedName]()
            public = table.readable_by(caller).public
            # the table may be older than the list of names: a private name is never called public
            origins = {facts.name: facts.origin for facts in public if facts.name not in private}
            return _names_response(names, origins)

        return await context.pools.run_read(respond_with_all)
    from wheelyard.operations.journal import StoreJournals  # noqa: PLC0415 - rare

    journals = StoreJournals(context.index.projects, context.index.tokens.records)

    def respond() -> Response:
        changed = journals.changed(since)
        return _names_response(sorted(name for name in changed if caller.may(Action.READ, name)))

    return await context.run_long_read(request, respond)


def _names_response(
    names: Iterable[str], origins: Mapping[NormalizedName, str] | None = None
) -> Response:
    """Return the response with private names, and with the upstream indexes of public ones."""
    body: dict[str, object] = {"projects": [{"name": name} for name in names]}
    if origins is not None:
        body["public"] = [{"name": name, "origin": origin} for name, origin in origins.items()]
    return json_response(200, body)


async def get_project(request: Request, context: ServerContext) -> Response:
    """Handle GET `/api/v1/projects/<name>`: status, files, deleted files, and the last commit."""
    project = await _readable_project(request, context)
    return await context.pools.run_read(lambda: json_response(200, _project_json(project)))


async def get_client_projects(request: Request, context: ServerContext) -> Response:
    """
    Handle GET `/api/v1/client-projects`: what the settings of a client have to say.

    For each field `project`, the names are that one and the private ones that it needs.
    """
    fields, caller = query_field(request.query, "project") or "", request.caller
    wanted = dict.fromkeys(parse_project_name(text.strip()) for text in fields.split(",") if text)
    if context.upstream is None:
        for name in wanted:
            context.read_policy.require_project_read(caller, name)
    reader = context.index.client_projects
    return await context.run_long_read(
        request, lambda: json_response(200, reader.read(caller, wanted))
    )


async def get_journal(request: Request, context: ServerContext) -> Response:
    """Handle GET `/api/v1/projects/<name>/journal`: one page of commits after number `after`."""
    project, after = await _journaled_project(request, context), parse_after(request.query)
    page_size = 1000 if context.index.is_local else 100  # on a bucket, each is a request
    last = min(after + page_size, project.revision)

    def respond() -> Response:
        projects, numbers = context.index.projects, range(after + 1, last + 1)
        found = {number: projects.commit(project, number) for number in numbers}
        commits = [each for each in found.values() if each is not None]
        page: dict[str, object] = {"name": project.name, "revision": project.revision}
        page["commits"] = list(map(CommitJson.of, commits))
        if len(commits) < len(found):
            page["lost"] = [number for number, each in found.items() if each is None]
        if last < project.revision:
            page["next"] = last
        return json_response(200, page)

    return await context.run_long_read(request, respond)


def parse_changed_since(query: bytes) -> datetime | None:
    """Return the time in the field `changed-since`, None if it is missing; or raise Invalid."""
    text = query_field(query, "changed-since")
    if text is None:
        return None
    try:
        since = datetime.fromisoformat(text)
    except ValueError:
        since = datetime.min  # noqa: DTZ901 - it has no offset, which is what counts
    if since.tzinfo is None:
        raise Invalid(
            f"'changed-since' is {quoted(text)}. Send a time with its offset, such as "
            "2026-01-31T12:00:00Z.",
            code="invalid_field",
        )
    from wheelyard.operations.journal import BEGINNING  # noqa: PLC0415 - rare

    return max(since, BEGINNING)


async def _journaled_project(request: Request, context: ServerContext) -> Project:
    """Return the project that a request wants the journal of; its name may be released."""
    try:
        return await _readable_project(request, context)
    except NotFound:
        name, caller = parse_project_name(request.params["name"]), request.caller
        if not caller.may(Action.READ, name):
            raise
        read = partial(context.index.projects.get_for_update, name)
        project = await context.pools.run_read(read)
        if not project.is_released:
            raise
        return project


async def _readable_project(request: Request, context: ServerContext) -> Project:
    name = parse_project_name(request.params["name"])
    context.read_policy.require_project_read(request.caller, name)
    return (await context.documents.require_project(name))[0]


async def change_project(
    request: Request, context: ServerContext, action: ProjectAction
) -> Response:
    """Handle POST `/api/v1/projects/<name>/<action>`: apply it, and answer with the project."""
    name, caller = _manageable_name(request), request.caller
    body, lifecycle = await read_json(request), context.index.lifecycle

    def respond() -> Response:
        if action == "status":
            status = decode_json(body, StatusChange)
            project = lifecycle.set_status(caller, name, status.status, status.reason)
            return json_response(200, _project_json(project))
        release = decode_json(body, ReleaseChange, {"dry_run": "true or false"})
        selection, reason, dry_run = release.selection, release.reason, release.dry_run
        changed = lifecycle.change(action, caller, name, selection, reason, dry_run=dry_run)
        files = [_file_json(file) for file in changed.files]
        return json_response(200, {**_project_json(changed.project), "changed": files})

    return await context.pools.run_write(respond)


async def list_names(request: Request, context: ServerContext) -> Response:
    """Handle GET `/api/v1/names`: all private names, and why they are; for administrators."""
    names = context.index.names
    # it reads the document of each project
    require_admin(request.caller, "list the private names")

    def respond() -> Response:
        return json_response(200, {"names": list(names.all())})

    return await context.run_long_read(request, respond)


async def change_name(request: Request, context: ServerContext, *, is_release: bool) -> Response:
    """Handle POST `/api/v1/projects/<name>/reserve` and `release`: make a name private, or not."""
    name, caller = _manageable_name(request), request.caller
    body, names = await read_json(request), context.index.names

    def respond() -> Response:
        reason = decode_json(body, NameChange).reason
        if is_release:
            names.release(caller, name, reason)
            return Response(204, (NOSNIFF, NO_STORE))
        is_new = names.reserve(caller, name, reason)
        return json_response(200, {"name": name, "is_new": is_new})

    return await context.pools.run_write(respond)


def _manageable_name(request: Request) -> NormalizedName:
    """Return the project that a request wants to change; raise an error if the caller may not."""
    name, caller = parse_project_name(request.params["name"]), request.caller
    if caller.is_anonymous:
        raise invalid_credential()
    caller.require(Action.MANAGE, name)
    return name


def _project_json(project: Project) -> dict[str, object]:
    status: dict[str, object] = {"status": project.status}
    if project.reason:
        status["reason"] = project.reason
    return {
        "name": project.name,
        "revision": project.revision,
        "project-status": status,
        "summary": project.summary,
        "files": [_file_json(file) for file in project.files],
        "deleted": project.deleted_filenames,
        "commit": CommitJson.of(project.commit) if project.commit else None,
    }


def _file_json(file: File) -> dict[str, object]:
    return {
        "filename": file.filename,
        "version": file.version,
        "sha256": file.sha256,
        "size": file.size,
        "upload-time": timestamp(file.uploaded_at),
        "uploaded-by": file.uploaded_by,
        **({"uploaded-by-name": file.uploaded_by_name} if file.uploaded_by_name else {}),
        "requires-python": file.requires_python,
        "yanked": False if file.yanked is None else file.yanked or True,
        "core-metadata": file.core_metadata,
        "imported": None if file.imported_at is None else timestamp(file.imported_at),
        "waived-rules": file.waived_rules,
    }
