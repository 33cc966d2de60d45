"""Handlers of the pages on which people manage a project."""

import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Final

from msgspec.structs import replace
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.api import project_operations
from wheelyard.api.table import LocalApi
from wheelyard.catalog.projects import Projects
from wheelyard.errors import Invalid, NotFound, Unavailable, WheelyardError
from wheelyard.http import forms
from wheelyard.http.context import IndexRequest
from wheelyard.http.error_responses import status_of
from wheelyard.http.messages import Response, redirect
from wheelyard.http.request_authentication import CallerElsewhere
from wheelyard.model.access import Action
from wheelyard.model.decoding import require_one_line
from wheelyard.model.distribution_filename import (
    parse_known_filename,
    parse_name,
    parse_version,
    parse_version_set,
)
from wheelyard.model.project import EventKind, Project
from wheelyard.model.project_json import EventJson, entry_of
from wheelyard.operations.lifecycle import REASON_LIMIT
from wheelyard.rendering.advice import error_on_page
from wheelyard.rendering.project_facts import Release, all_releases
from wheelyard.rendering.web import manage_pages
from wheelyard.rendering.web.account_pages import FormState
from wheelyard.rendering.web.project_frame import MANAGE
from wheelyard.rendering.web.project_pages import Change, changes_of

FORM_LIMIT_BYTES: Final = 1 << 20
MAX_FIELDS: Final = 10_000
"""A release may have thousands of files, and each is a box to tick."""

_ACTIONS: Final = {
    "yank": project_operations.yank,
    "unyank": project_operations.unyank,
    "pin": project_operations.pin,
    "unpin": project_operations.unpin,
    "delete": project_operations.delete,
    "restore": project_operations.restore,
}
"""The changes of files."""
_NUMBER: Final = re.compile("[0-9]{1,15}")
EVERY_VERSION: Final = ">=0.dev0"
"""The set of all versions, as the first one of PEP 440 is in it."""
_VERSION_START: Final = re.compile("[0-9vV]")
"""The beginning of a version, and of no set of versions."""


def answer_manage(request: IndexRequest) -> Response:
    """Handle GET: what can be changed, the files of one release, or the form of one change."""
    context = request.context
    name = request.web.require_manager(request)
    if name != request.path_params["name"]:
        return redirect(
            301, request.web.path("project", name, "manage", query=request.query_string)
        )
    if context.index.settings.server.read_only:
        raise context.read_only()
    fields = forms.parse_form(request.query_string)
    form = FormState(forms.form_token(request))
    project = context.index.projects.get_current(name)
    version = fields.text("version")
    action = fields.text("action")
    if version:
        return _answer_release(request, project, fields, form)
    if action == manage_pages.STATUS:
        return _status_form(request, 200, name, project, form)
    if action == "delete":
        return _change_form(request, 200, form, _change_of(request, project, action))
    done = _done(context.index.projects, project, fields.text("commit"))
    return _overview(request, 200, project, form, done)


def _answer_release(
    request: IndexRequest, project: Project, fields: forms.FormFields, form: FormState
) -> Response:
    """Return the page of the files of one release, or the form of one change of them."""
    version = fields.text("version")
    action = fields.text("action")
    try:
        release = _find_release(project, version)
    except WheelyardError as error:
        form = FormState(form.token, {"versions": (version,)}, error_on_page(error), "versions")
        return _overview(request, status_of(error), project, form)
    filenames = fields.all("file") or None
    change = _change_of(request, project, action, {release.version}, filenames)
    if change.releases:
        return _change_form(request, 200, form, change)
    template = "manage_release.html"
    return _show(request, 200, project.name, template, release=release, form=form)


def answer_change(request: IndexRequest) -> Response:
    """
    Handle POST: make the change of a form, and redirect to a page that says what it was.

    A form in which releases or files were chosen changes nothing yet: the answer is the form
    that names all of their files.
    """
    name = request.web.require_manager(request)
    # the handler is called again once the body has come, and changes nothing before
    fields = forms.read_form(request, FORM_LIMIT_BYTES, MAX_FIELDS)
    if fields.text("choose") in manage_pages.VERBS:
        return _choose(request, name, fields)
    action = fields.action(manage_pages.STATUS, manage_pages.RELEASE, *manage_pages.VERBS)
    api = _api(request)
    try:
        forms.require_form_token(request, fields.text(forms.CSRF_FIELD))
        if action == manage_pages.RELEASE:
            return _release_name(request, api, name, fields)
        number = _change(api, name, fields)
    except WheelyardError as error:  # nothing was changed
        return _ask_again(request, name, fields, error)
    return redirect(303, request.web.path("project", name, "manage", query=b"commit=%d" % number))


def _api(request: IndexRequest) -> LocalApi:
    index = request.context.index
    callers = CallerElsewhere(request, index)
    return LocalApi(index=index, caller=request.caller, callers=callers)


def _choose(request: IndexRequest, name: NormalizedName, fields: forms.FormFields) -> Response:
    """Return the form that names the files of the chosen releases, or what is wrong."""
    form = FormState(forms.form_token(request))
    project = request.context.index.projects.get_current(name)
    action = fields.text("choose")
    try:
        versions = _chosen_versions(_changeable(request, project, action), fields)
        change = _change_of(request, project, action, versions, fields.all("file") or None)
        if not change.releases:
            message = (
                f"None of these files can be {manage_pages.PARTICIPLES[action]}. Choose others."
            )
            raise Invalid(message, code="invalid_field")
    except WheelyardError as error:
        # the form to restore has no such field
        field = "" if action == "restore" else "versions"
        form = FormState(form.token, fields.values, error_on_page(error), field)
        return _overview(request, status_of(error), project, form)
    return _change_form(request, 200, form, change)


def _changeable(request: IndexRequest, project: Project, action: str) -> Project:
    """Return the project with the files that an action can be about: to restore, deleted."""
    kept = request.context.index.lifecycle.kept_files
    return replace(project, files=kept(project)) if action == "restore" else project


def _change_of(
    request: IndexRequest,
    project: Project,
    action: str,
    versions: Collection[str] | None = None,
    filenames: Collection[str] | None = None,
) -> manage_pages.FileChange:
    """
    Return the change of these files, which has no releases if there is nothing to change.

    It is about the whole project if neither is given.
    """
    releases = (
        manage_pages.chosen_releases(
            _changeable(request, project, action), action, versions, filenames
        )
        if action in manage_pages.VERBS
        else ()
    )
    return manage_pages.FileChange(
        name=project.name,
        action=action,
        releases=tuple(releases),
        is_whole=versions is None,
        is_kept=request.context.index.lifecycle.removal.keeps_deleted,
    )


def _release_name(
    request: IndexRequest, api: LocalApi, name: NormalizedName, fields: forms.FormFields
) -> Response:
    """
    Give up a name without files, and return the page that says so.

    Raises Invalid unless the name was typed, and what `release_name` raises.
    """
    with forms.checking("confirmation"):
        _require_confirmation(fields.text("confirmation"), name)
    body = forms.form_body(fields, project_operations.NameChange)
    api.call(project_operations.release_name, name, body)
    viewer = request.web.index_viewer(request)
    return request.web.show(request, viewer, 200, "name_released.html", "../../../", name=name)


def _overview(
    request: IndexRequest,
    status: int,
    project: Project,
    form: FormState,
    done: Sequence[Change] | None = None,
) -> Response:
    """Return the page on which one chooses what to change."""
    may_release = request.caller.may(Action.ADMIN, project.name)
    managed = manage_pages.ManagedProject(
        project=project,
        deleted=_changeable(request, project, "restore"),
        quota=request.context.index.uploads.quotas.project,
        is_kept=request.context.index.lifecycle.removal.keeps_deleted,
        may_release=may_release,
        done=done,
    )
    viewer = request.web.managed_viewer(request, project.name)
    return request.web.own_page(
        request, status, managed.render(request.web.environment, viewer, form)
    )


def _change_form(
    request: IndexRequest,
    status: int,
    form: FormState,
    change: manage_pages.FileChange,
    *,
    warns: bool = True,
) -> Response:
    """Return the form of a change of files, and if it `warns`, what a deletion leads to."""
    template = "manage_files.html"
    warnings = tuple[str, ...]()
    if warns and change.action == "delete":
        warnings = project_operations.deletion_warnings(_api(request), change.name, change.ticked)
    return _show(
        request, status, change.name, template, change=change, warnings=warnings, form=form
    )


def _status_form(
    request: IndexRequest,
    status: int,
    name: NormalizedName,
    project: Project | None,
    form: FormState,
) -> Response:
    """Return the page with the form that sets the status of a project, which may be unknown."""
    return _show(
        request,
        status,
        name,
        "manage_status.html",
        project=project,
        meanings=manage_pages.STATUS_MEANINGS.items(),
        form=form,
    )


def _show(
    request: IndexRequest,
    status: int,
    name: NormalizedName,
    template: str,
    **values: object,
) -> Response:
    viewer = request.web.managed_viewer(request, name)
    page = manage_pages.render_form(
        request.web.environment, viewer, name, template, MANAGE, **values
    )
    return request.web.own_page(request, status, page)


def _ask_again(
    request: IndexRequest, name: NormalizedName, fields: forms.FormFields, error: WheelyardError
) -> Response:
    """Return the page with the form that was refused, with the reason and what was typed."""
    store = request.context.index.projects
    form = forms.refused_form(request, fields, error)
    if isinstance(error, Unavailable):
        # while the store does not answer, what is remembered has to do
        cached = store.peek(name, "any")
        project = cached.value if cached is not None else None
    else:
        project = store.get_current(name)
    action = fields.text("action")
    status = status_of(error)
    if action == manage_pages.RELEASE and project is not None:
        return _overview(request, status, project, form)
    if action == manage_pages.STATUS or (project is None and action == manage_pages.RELEASE):
        return _status_form(request, status, name, project, form)
    if project is not None:
        project = _changeable(request, project, action)
    change = _asked_change(project, name, fields)
    is_kept = request.context.index.lifecycle.removal.keeps_deleted
    # a store that does not answer is not asked for more
    warns = not isinstance(error, Unavailable)
    change = replace(change, is_kept=is_kept)
    return _change_form(request, status, form, change, warns=warns)


def _find_release(project: Project, text: str) -> Release:
    """
    Return the release with the version in `text`.

    Raises Invalid if that is no version, and NotFound if there is no such release.
    """
    with forms.checking("version"):
        version = parse_version(text)
        for release in all_releases(project):
            if Version(release.version) == version:
                return release
        raise NotFound(f"{project.name} has no release {version}. Choose another one.")


def _chosen_versions(project: Project, fields: forms.FormFields) -> set[str]:
    """
    Return the versions of the releases that are ticked or in the set of versions of a form.

    Raises Invalid if the set is malformed, or nothing is chosen. Raises NotFound if the project has
    no such release.
    """
    releases = all_releases(project)
    text = fields.text("versions").strip("\"' ")  # a shell needs quotes
    chosen = {release.version for release in releases} & set(fields.all("version"))
    if text:
        is_set = not _VERSION_START.match(text)
        wanted = parse_version_set(text) if is_set else SpecifierSet(f"=={parse_version(text)}")
        matching = wanted.filter([release.version for release in releases], prereleases=True)
        chosen.update(matching)
    if not chosen and (text or fields.all("version")):
        raise NotFound(f"{project.name} has no such release. Choose others.")
    if not chosen:
        message = "Tick the releases that you mean, or write a set of versions."
        raise Invalid(message, code="missing_field")
    return chosen


def _asked_change(
    project: Project | None, name: NormalizedName, fields: forms.FormFields
) -> manage_pages.FileChange:
    """Return the change that a form has asked for, also if its project or its files are gone."""
    action = fields.text("action")
    ticked = fields.all("file")
    is_whole = bool(fields.text("whole"))
    releases = tuple[manage_pages.ChosenRelease, ...]()
    if project is not None:
        of_ticked = (_version_in(filename, name) for filename in ticked)
        versions = None if is_whole else {*fields.all("version"), *of_ticked}
        releases = tuple(manage_pages.chosen_releases(project, action, versions, ticked))
    if not releases:
        files = tuple(
            manage_pages.ChoosableFile(filename, None) for filename in sorted(set(ticked))
        )
        releases = (manage_pages.ChosenRelease(next(iter(fields.all("version")), ""), files),)
    return manage_pages.FileChange(name=name, action=action, releases=releases, is_whole=is_whole)


def _version_in(filename: str, project: NormalizedName) -> str:
    """Return the version in the name of a project's file, or an empty text for no such name."""
    with suppress(Invalid):
        return str(parse_known_filename(filename, project).version)
    return ""


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


def _change(api: LocalApi, name: NormalizedName, fields: forms.FormFields) -> int:
    """
    Make the change that a form asks for, and return the number of its commit, 0 if it has none.

    Raises WheelyardError if a field is wrong, or the change is refused.
    """
    with forms.checking("reason"):
        require_one_line(fields.text("reason"), "The reason", REASON_LIMIT)
    action = fields.text("action")
    if action == manage_pages.STATUS:
        status = forms.form_body(fields, project_operations.StatusChange)
        project = api.call(project_operations.set_status, name, status)
        events = project.commit.events if project.commit else ()
        return project.revision if any(event.what == EventKind.STATUS for event in events) else 0
    versions = [parse_version(text) for text in fields.all("version")]
    with forms.checking("file"):
        if not fields.all("file"):
            message = "No file is ticked. Tick the files that you mean."
            raise Invalid(message, code="missing_field")
    one = versions[0] if len(versions) == 1 else None
    if action == "delete":
        with forms.checking("confirmation"):
            _require_confirmation(fields.text("confirmation"), name, one)
    version, all_versions = (str(one), "") if one else ("", EVERY_VERSION)
    change = project_operations.ReleaseChange(
        version, all_versions, fields.all("file"), fields.text("reason")
    )
    changed = api.call(_ACTIONS[action], name, change)
    return changed.revision if changed.changed else 0


def _require_confirmation(text: str, name: NormalizedName, version: Version | None = None) -> None:
    """Raise Invalid unless `text` is the name, and the version if there is one, in any spelling."""
    typed_name, _, typed_version = text.partition(" ")
    with suppress(Invalid):
        is_version = (
            not typed_version
            if version is None
            else (parse_version(typed_version.strip()) == version)
        )
        if parse_name(typed_name) == name and is_version:
            return
    expected = f"{name} {version}" if version else name
    raise Invalid(f"This is something else. To confirm, type: {expected}", code="not_confirmed")
