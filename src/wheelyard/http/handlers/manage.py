"""Handlers of the pages on which people upload, and manage a project."""

import re
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Final, Literal

from msgspec import Struct
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.api import project_operations
from wheelyard.api.project_operations import ReleaseChange, StatusChange
from wheelyard.api.table import LocalApi
from wheelyard.authentication.caller_tokens import is_token_admin
from wheelyard.authentication.rights import effective_access
from wheelyard.catalog.projects import Projects
from wheelyard.errors import Invalid, NotFound, Unauthenticated, Unavailable, WheelyardError
from wheelyard.http.error_responses import read_only, status_of
from wheelyard.http.forms import (
    CSRF_FIELD,
    FormFields,
    checking,
    form_body,
    form_token,
    parse_form,
    read_form,
    refused_form,
    require_form_token,
)
from wheelyard.http.messages import Request, Response, redirect
from wheelyard.http.requests import json_response
from wheelyard.http.upload_form import FormReader
from wheelyard.http.uploads import UploadHandler, require_upload
from wheelyard.http.web_pages import WebPages
from wheelyard.model.decoding import require_one_line
from wheelyard.model.distribution_filename import parse_known_filename, parse_name, parse_version
from wheelyard.model.project import EventKind, Project
from wheelyard.model.project_json import EventJson, entry_of
from wheelyard.operations.lifecycle import REASON_LIMIT
from wheelyard.rendering.project_facts import Release, all_releases
from wheelyard.rendering.web.account_pages import FormState
from wheelyard.rendering.web.environment import Viewer
from wheelyard.rendering.web.project_pages import (
    ROOT,
    STATUS,
    STATUS_MEANINGS,
    VERBS,
    Change,
    ChoosableFile,
    FileChange,
    changes_of,
    manage_page,
)

FORM_LIMIT_BYTES: Final = 1 << 20
MAX_FIELDS: Final = 10_000
"""A release may have thousands of files, and each is a box to tick."""

_ACTIONS: Final = {
    "yank": project_operations.yank,
    "unyank": project_operations.unyank,
    "delete": project_operations.delete,
}
_NUMBER = re.compile("[0-9]{1,15}")


class UploadedFile(Struct, frozen=True):
    """A file that was uploaded, also as JSON for the script of the page."""

    filename: str
    status: Literal["uploaded", "there"]
    """`there` if it was listed with the same content already."""
    project: str
    warnings: tuple[str, ...]


class ManagePages:
    """The pages on which people upload, and manage a project."""

    def __init__(self, web: WebPages, uploads: UploadHandler) -> None:
        self._web = web
        self._context = web.context
        self._uploads = uploads

    def answer_manage(self, request: Request) -> Response:
        """Handle GET: what can be changed, one release, or the form of one change."""
        context, name = self._context, self._web.require_manager(request)
        if name != request.path_params["name"]:
            return redirect(
                301, self._web.path("project", name, "manage", query=request.query_string)
            )
        if context.index.settings.server.read_only:
            raise read_only()
        fields, form = parse_form(request.query_string), FormState(form_token(request, context))
        viewer = self._web.viewer(request.caller, name)
        project = context.index.projects.get_current(name)
        version, action = fields.text("version"), fields.text("action")
        if action == STATUS:
            return self._status_form(viewer, 200, name, project, form)
        if not version:
            done = _done(context.index.projects, project, fields.text("commit"))
            return self._web.own_page(
                200, manage_page(self._web.environment, viewer, project, form, done)
            )
        try:
            release = _find_release(project, version)
        except WheelyardError as error:
            form = FormState("", fields.values, error.on_page, "version")
            page = manage_page(self._web.environment, viewer, project, form)
            return self._web.own_page(status_of(error), page)
        files = _choosable(release, action, fields.all("file") or None)
        if not files:
            return self._web.show(
                viewer, 200, "manage_release.html", ROOT, name=name, release=release
            )
        change = FileChange(name, action, release.version, files)
        return self._web.show(viewer, 200, "manage_files.html", ROOT, change=change, form=form)

    def answer_change(self, request: Request) -> Response:
        """Handle POST: make the change of a form, and redirect to a page that says what it was."""
        context, name = self._context, self._web.require_manager(request)
        # the handler is called again once the body has come, and changes nothing before
        fields = read_form(request, FORM_LIMIT_BYTES, MAX_FIELDS)
        fields.action(STATUS, *VERBS)
        try:
            require_form_token(request, context, fields.text(CSRF_FIELD))
            number = _change(LocalApi(index=context.index, caller=request.caller), name, fields)
        except WheelyardError as error:  # nothing was changed
            return self._ask_again(request, name, fields, error)
        return redirect(303, self._web.path("project", name, "manage", query=b"commit=%d" % number))

    def answer_access(self, request: Request) -> Response:
        """Handle GET: the effective rights on a project. On a bucket it reads all tokens."""
        index, name = self._context.index, self._web.require_manager(request)
        if name != request.path_params["name"]:
            return redirect(
                301, self._web.path("project", name, "access", query=request.query_string)
            )
        self._context.require_project(name)
        viewer, is_admin = self._web.viewer(request.caller, name), is_token_admin(request.caller)
        entries = effective_access(name, index.authenticator, index.tokens.all())
        values = {"name": name, "entries": entries, "has_details": is_admin}
        return self._web.show(viewer, 200, "access.html", ROOT, **values)

    def _status_form(
        self,
        viewer: Viewer,
        status: int,
        name: NormalizedName,
        project: Project | None,
        form: FormState,
    ) -> Response:
        """Return the page with the form that sets the status of a project, which may be unknown."""
        values = {
            "name": name,
            "project": project,
            "meanings": STATUS_MEANINGS.items(),
            "form": form,
        }
        return self._web.show(viewer, status, "manage_status.html", ROOT, **values)

    def _ask_again(
        self, request: Request, name: NormalizedName, fields: FormFields, error: WheelyardError
    ) -> Response:
        """Return the page with the form that was refused, with the reason and what was typed."""
        store, viewer = self._context.index.projects, self._web.viewer(request.caller, name)
        form = refused_form(request, self._context, fields, error)
        if isinstance(error, Unavailable):
            # while the store does not answer, what is remembered has to do
            cached = store.peek(name, "any")
            project = cached.value if cached is not None else None
        else:
            project = store.get_current(name)
        action, version = fields.text("action"), fields.text("version")
        if action == STATUS:
            return self._status_form(viewer, status_of(error), name, project, form)
        ticked = fields.all("file")
        files = tuple(ChoosableFile(filename, None) for filename in sorted(set(ticked)))
        with suppress(Invalid, NotFound):
            if project is not None:
                files = _choosable(_find_release(project, version), action, ticked) or files
        change, status = FileChange(name, action, version, files), status_of(error)
        return self._web.show(viewer, status, "manage_files.html", ROOT, change=change, form=form)

    def answer_upload_page(self, request: Request) -> Response:
        """Handle GET: the form."""
        require_upload(request.caller)
        if self._context.index.settings.server.read_only:
            raise read_only()
        return self._page(request, 200, FormState(form_token(request, self._context)))

    async def answer_upload_form(self, request: Request) -> Response:
        """Handle POST: upload the file, and answer with what became of it."""
        context, pools = self._context, self._context.pools
        wants_json = b"application/json" in request.joined_headers.get(b"accept", b"")
        try:
            if context.index.settings.server.read_only:
                raise read_only()
            check_token = partial(require_form_token, request, context)
            boundary, uploads = self._uploads.boundary_of(request), context.index.uploads
            reader = FormReader(boundary, uploads, request.caller, check_token)
            published = await self._uploads.receive(reader, request)
        except WheelyardError as error:
            if wants_json or isinstance(error, Unauthenticated):
                raise
            form = await pools.run_in(
                pools.reads, refused_form, request, context, FormFields({}), error
            )
            return self._page(request, status_of(error), form)
        uploaded = None
        if published is not None:
            project = parse_known_filename(published.filename).project
            uploaded = UploadedFile(
                published.filename, published.status, project, published.warnings
            )
        if wants_json:
            return json_response(200, uploaded)
        token = await pools.run_in(pools.reads, form_token, request, context)
        return self._page(request, 200, FormState(token), uploaded)

    def _page(
        self, request: Request, status: int, form: FormState, uploaded: UploadedFile | None = None
    ) -> Response:
        settings = self._context.index.settings.uploads
        viewer = self._web.viewer(request.caller)
        return self._web.show(
            viewer,
            status,
            "upload.html",
            "../../",
            form=form,
            uploaded=uploaded,
            max_size=settings.max_file_size,
            zip_sdists=settings.zip_sdists,
        )


def _find_release(project: Project, text: str) -> Release:
    """
    Return the release with the version in `text`.

    Raises Invalid if that is no version, and NotFound if there is no such release.
    """
    with checking("version"):
        version = parse_version(text)
        for release in all_releases(project):
            if Version(release.version) == version:
                return release
        raise NotFound(f"{project.name} has no release {version}. Choose another one.")


def _choosable(
    release: Release, action: str, ticked: Iterable[str] | None
) -> tuple[ChoosableFile, ...]:
    """Return the files that `action` can change, and whether they are `ticked` (None: all are)."""
    if action not in VERBS:
        return ()
    return tuple(
        ChoosableFile(file.filename, file, ticked is None or file.filename in ticked)
        for file in release.files
        if action != "unyank" or file.yanked is not None
    )


def _done(store: Projects, project: Project, text: str) -> list[Change] | None:
    """Return the changes of the commit whose number is `text`, or None if it is no commit's."""
    number = int(text) if _NUMBER.fullmatch(text) else -1
    if number == 0:
        return []
    commit = store.journal(project).find(number) if 0 < number <= project.revision else None
    if commit is None:
        return None
    events = [EventJson.from_event(event) for event in commit.events]
    return changes_of([entry_of(project.name, number, event, event.by_name) for event in events])


def _change(api: LocalApi, name: NormalizedName, fields: FormFields) -> int:
    """
    Make the change that a form asks for, and return the number of its commit, 0 if it has none.

    Raises WheelyardError if a field is wrong, or the change is refused.
    """
    with checking("reason"):
        require_one_line(fields.text("reason"), "The reason", REASON_LIMIT)
    action = fields.text("action")
    if action == STATUS:
        status = form_body(fields, StatusChange)
        project = api.call(project_operations.set_status, name, status)
        events = project.commit.events if project.commit else ()
        return project.revision if any(event.what == EventKind.STATUS for event in events) else 0
    version = parse_version(fields.text("version"))
    with checking("file"):
        if not fields.all("file"):
            message = "No file is ticked. Tick the files that you mean."
            raise Invalid(message, code="missing_field")
    if action == "delete":
        with checking("confirmation"):
            _require_confirmation(fields.text("confirmation"), name, version)
    change = form_body(fields, ReleaseChange, "file")
    changed = api.call(_ACTIONS[action], name, change)
    return changed.revision if changed.changed else 0


def _require_confirmation(text: str, name: NormalizedName, version: Version) -> None:
    """Raise Invalid unless `text` is the name and the version, in any spelling of them."""
    typed_name, _, typed_version = text.partition(" ")
    with suppress(Invalid):
        if parse_name(typed_name) == name and parse_version(typed_version.strip()) == version:
            return
    raise Invalid(f"Type exactly: {name} {version}", code="not_confirmed")
