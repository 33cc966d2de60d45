"""
Handlers of the pages on which people manage a project.

They are about projects of the index's own packages. Each raises Unauthenticated, Forbidden or
NotFound unless the caller may manage the project, and Unavailable if the store does not answer.
"""

import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Final

from msgspec.structs import replace
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.api import project_operations
from wheelyard.api.local_api import LocalApi
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
from wheelyard.rendering.web.project_overview import Change, changes_of

FORM_LIMIT_BYTES: Final = 1 << 20
MAX_FIELDS: Final = 10_000
"""A release may have thousands of files, and each is a box to tick."""
EVERY_VERSION: Final = ">=0.dev0"
"""The set of all versions, as the first one of PEP 440 is in it."""
_ACTIONS: Final = {
    "yank": project_operations.yank,
    "unyank": project_operations.unyank,
    "pin": project_operations.pin,
    "unpin": project_operations.unpin,
    "delete": project_operations.delete,
    "restore": project_operations.restore,
}
"""The operations that change files, by the text of `action`."""
_NUMBER: Final = re.compile("[0-9]{1,15}")
_VERSION_START: Final = re.compile("[0-9vV]")
"""The beginning of a version, and of no set of versions."""


def answer_manage(request: IndexRequest) -> Response:
    """
    Handle GET: what can be changed, the files of one release, or the form of one change.

    `?version=` is the release, `?action=` the change, and `?commit=` the number of the commit that
    the page tells of. Another spelling of the name is redirected. A version that is malformed or
    not there is told on the page, which then has the status of that error. Raises Forbidden (code
    `read_only`) on a read-only server, and NotFound if there is no such project.
    """
    context = request.context
    name = request.web.require_manager(request)
    if name != request.path_params["name"]:
        path = request.web.path("project", name, "manage", query=request.query_string)
        return redirect(301, path)
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
        change = _change_of(request, project, action)
        return _change_form(request, 200, form, change)
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
        # the page to choose from, with the version in the field where one can be typed
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

    A form in which releases or files were chosen changes nothing yet: the answer is the form that
    names all of their files. A name that is released has a page of its own, without a redirect.
    What is refused is told on the form, which then has the status of the error. Raises Waiting
    until the body has come, Invalid for what is no form, and TooLarge if it is too long. Raises
    Invalid, too, for an action that no form has, and NotFound if there is no such project.
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
        if action == manage_pages.STATUS:
            number = _set_status(api, name, fields)
        else:
            number = _change_files(api, name, fields)
    except WheelyardError as error:
        # nothing was changed: a commit is all of a change, or nothing of it
        return _ask_again(request, name, fields, error)

    # a redirect, so that nobody sends the form again by loading the page again
    return redirect(303, request.web.path("project", name, "manage", query=b"commit=%d" % number))


def _api(request: IndexRequest) -> LocalApi:
    """Return the operations of the index, for the caller of a request."""
    index = request.context.index
    caller_elsewhere = CallerElsewhere(request, index)
    return LocalApi(index=index, caller=request.caller, caller_elsewhere=caller_elsewhere)


def _choose(request: IndexRequest, name: NormalizedName, fields: forms.FormFields) -> Response:
    """Return the form that names the files of the chosen releases, or what is wrong."""
    form = FormState(forms.form_token(request))
    project = request.context.index.projects.get_current(name)
    action = fields.text("choose")
    try:
        changeable = _changeable(request, project, action)
        versions = _chosen_versions(changeable, fields)
        change = _change_of(request, project, action, versions, fields.all("file") or None)
        if not change.releases:
            participle = manage_pages.PARTICIPLES[action]
            message = f"None of these files can be {participle}. Choose others."
            raise Invalid(message, code="invalid_field")
    except WheelyardError as error:
        field = "versions"
        # the form to restore has no such field
        if action == "restore":
            field = ""
        form = FormState(form.token, fields.values, error_on_page(error), field)
        return _overview(request, status_of(error), project, form)
    return _change_form(request, 200, form, change)


def _changeable(request: IndexRequest, project: Project, action: str) -> Project:
    """Return the project with the files that an action can be about: deleted ones to restore."""
    if action != "restore":
        return project
    return replace(project, files=request.context.index.lifecycle.kept_files(project))


def _change_of(
    request: IndexRequest,
    project: Project,
    action: str,
    versions: Collection[str] | None = None,
    filenames: Collection[str] | None = None,
) -> manage_pages.FileChange:
    """
    Return the change of these files, which has no releases if there is nothing to change.

    It is about the whole project without `versions`, and about all files of these without
    `filenames`.
    """
    releases: tuple[manage_pages.ChosenRelease, ...] = ()
    if action in manage_pages.VERBS:
        changeable = _changeable(request, project, action)
        chosen = manage_pages.chosen_releases(changeable, action, versions, filenames)
        releases = tuple(chosen)
    return manage_pages.FileChange(
        name=project.name,
        action=action,
        releases=releases,
        is_whole=versions is None,
        is_kept=request.context.index.lifecycle.removal.keeps_deleted,
    )


def _release_name(
    request: IndexRequest, api: LocalApi, name: NormalizedName, fields: forms.FormFields
) -> Response:
    """
    Give up a name without files, and return the page that says so.

    Raises Invalid unless the name was typed, and WheelyardError if the name is not given up.
    """
    with forms.checking("confirmation"):
        _require_confirmation(fields.text("confirmation"), name)
    body = forms.form_body(fields, project_operations.NameChange)
    api.call(project_operations.release_name, name, body)
    # no redirect: the project has no page any more to which one could lead
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
    page = managed.render(request.web.environment, viewer, form)
    return request.web.own_page(request, status, page)


def _change_form(
    request: IndexRequest,
    status: int,
    form: FormState,
    change: manage_pages.FileChange,
    *,
    warns: bool = True,
) -> Response:
    """Return the form of a change of files, and if it `warns`, what a deletion leads to."""
    warnings: tuple[str, ...] = ()
    if warns and change.action == "delete":
        warnings = project_operations.deletion_warnings(_api(request), change.name, change.ticked)
    return _show(
        request,
        status,
        change.name,
        "manage_files.html",
        change=change,
        warnings=warnings,
        form=form,
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
    """Return the page of a template for those who manage a project."""
    viewer = request.web.managed_viewer(request, name)
    page = manage_pages.render_form(
        request.web.environment, viewer, name, template, MANAGE, **values
    )
    return request.web.own_page(request, status, page)


def _ask_again(
    request: IndexRequest, name: NormalizedName, fields: forms.FormFields, error: WheelyardError
) -> Response:
    """Return the page with the form that was refused, with the reason and what was typed."""
    form = forms.refused_form(request, fields, error)

    # a store that does not answer is not asked for more
    is_store_down = isinstance(error, Unavailable)
    if is_store_down:
        project = _peek_project(request, name)
    else:
        project = request.context.index.projects.get_current(name)
    action = fields.text("action")
    status = status_of(error)
    if action == manage_pages.RELEASE and project is not None:
        return _overview(request, status, project, form)

    # also for a name to give up, as the overview cannot be shown of a project that is not known
    if action in {manage_pages.STATUS, manage_pages.RELEASE}:
        return _status_form(request, status, name, project, form)
    if project is not None:
        project = _changeable(request, project, action)
    change = _refused_change(project, name, fields)
    is_kept = request.context.index.lifecycle.removal.keeps_deleted
    change = replace(change, is_kept=is_kept)
    return _change_form(request, status, form, change, warns=not is_store_down)


def _peek_project(request: IndexRequest, name: NormalizedName) -> Project | None:
    """Return a project as it is remembered, however old that is, or None. No store is read."""
    snapshot = request.context.index.projects.peek(name, "any")
    if snapshot is None:
        return None
    return snapshot.value


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
    versions = [release.version for release in releases]
    # as somebody pastes it from a command: a shell needs quotes around ">=1,<2"
    text = fields.text("versions").strip("\"' ")
    chosen = set(versions) & set(fields.all("version"))
    if text:
        # a single version is what people mean most often, and no set of PEP 440
        if _VERSION_START.match(text):
            version_set = SpecifierSet(f"=={parse_version(text)}")
        else:
            version_set = parse_version_set(text)
        # nobody means to spare the pre-releases
        chosen.update(version_set.filter(versions, prereleases=True))
    if not chosen and (text or fields.all("version")):
        raise NotFound(f"{project.name} has no such release. Choose others.")
    if not chosen:
        message = "Tick the releases that you mean, or write a set of versions."
        raise Invalid(message, code="missing_field")
    return chosen


def _refused_change(
    project: Project | None, name: NormalizedName, fields: forms.FormFields
) -> manage_pages.FileChange:
    """
    Return the change that a form has asked for, so that the form can be shown again.

    `project` has the files that can be changed, and is None if it is not known.
    """
    action = fields.text("action")
    ticked = fields.all("file")
    is_whole = bool(fields.text("whole"))
    releases: tuple[manage_pages.ChosenRelease, ...] = ()
    if project is not None:
        versions = None
        if not is_whole:
            # those of ticked files, too: a form that was shown without the project has no version
            versions = set(fields.all("version"))
            versions.update(_version_in(filename, name) for filename in ticked)
        releases = tuple(manage_pages.chosen_releases(project, action, versions, ticked))
    # somebody else may have deleted the files meanwhile: the form still names what was ticked
    if not releases:
        filenames = sorted(set(ticked))
        files = tuple(manage_pages.ChoosableFile(filename, None) for filename in filenames)
        version = next(iter(fields.all("version")), "")
        releases = (manage_pages.ChosenRelease(version, files),)
    return manage_pages.FileChange(name=name, action=action, releases=releases, is_whole=is_whole)


def _version_in(filename: str, project: NormalizedName) -> str:
    """Return the version in the name of a project's file, or an empty text for no such name."""
    with suppress(Invalid):
        return str(parse_known_filename(filename, project).version)
    return ""


def _done(store: Projects, project: Project, text: str) -> list[Change] | None:
    """Return the changes of the commit whose number is `text`, or None if it is no commit's."""
    # it is from a URL, in which anybody may write anything
    if not _NUMBER.fullmatch(text):
        return None
    number = int(text)
    # what a change leads to that had nothing to change
    if number == 0:
        return []
    if number > project.revision:
        return None
    commit = store.journal(project).find(number)
    if commit is None:
        return None
    events = [EventJson.from_event(event) for event in commit.events]
    return changes_of([entry_of(project.name, number, event, event.by_name) for event in events])


def _set_status(api: LocalApi, name: NormalizedName, fields: forms.FormFields) -> int:
    """
    Set the status of a project, and return the number of the commit, 0 if there is none.

    Raises WheelyardError if a field is wrong, or the change is refused.
    """
    _require_reason(fields)
    status = forms.form_body(fields, project_operations.StatusChange)
    project = api.call(project_operations.set_status, name, status)
    commit = project.commit
    # if the project had the status before, its last commit may be about something else
    if commit is None or all(event.what != EventKind.STATUS for event in commit.events):
        return 0
    return project.revision


def _change_files(api: LocalApi, name: NormalizedName, fields: forms.FormFields) -> int:
    """
    Change the files that a form names, and return the number of the commit, 0 if there is none.

    Raises WheelyardError if a field is wrong, or the change is refused.
    """
    _require_reason(fields)
    action = fields.text("action")
    versions = [parse_version(text) for text in fields.all("version")]
    with forms.checking("file"):
        if not fields.all("file"):
            message = "No file is ticked. Tick the files that you mean."
            raise Invalid(message, code="missing_field")
    version = None
    if len(versions) == 1:
        version = versions[0]

    # what is typed has to name as much as is deleted: the project, or one release of it
    if action == "delete":
        with forms.checking("confirmation"):
            _require_confirmation(fields.text("confirmation"), name, version)

    # the filenames say what is changed, but the operation also wants a version or a set of them
    change = project_operations.ReleaseChange(file=fields.all("file"), reason=fields.text("reason"))
    if version is None:
        change = replace(change, versions=EVERY_VERSION)
    else:
        change = replace(change, version=str(version))
    changed = api.call(_ACTIONS[action], name, change)
    if not changed.changed:
        return 0
    return changed.revision


def _require_reason(fields: forms.FormFields) -> None:
    """Raise Invalid if the reason in a form is too long, or has more than one line."""
    with forms.checking("reason"):
        require_one_line(fields.text("reason"), "The reason", REASON_LIMIT)


def _require_confirmation(text: str, name: NormalizedName, version: Version | None = None) -> None:
    """Raise Invalid unless `text` is the name, and the version if there is one, in any spelling."""
    typed_name, _, typed_version = text.partition(" ")
    with suppress(Invalid):
        if version is None:
            is_version = not typed_version
        else:
            is_version = parse_version(typed_version.strip()) == version
        if parse_name(typed_name) == name and is_version:
            return
    expected = str(name)
    if version is not None:
        expected = f"{name} {version}"
    raise Invalid(f"This is something else. To confirm, type: {expected}", code="not_confirmed")
