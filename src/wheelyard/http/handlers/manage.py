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
    Handle GET: the overview of a project, the files of one release, or the form of one change.

    `?version=` is the release, `?action=` the change, and `?commit=` the number of the commit that
    the overview tells of. Another spelling of the name is redirected. If the version is malformed,
    or there is no such release, the page says so, and has the status of that error. Raises
    Forbidden (code `read_only`) on a read-only server, and NotFound if there is no such project.
    """
    context = request.context
    name = request.web.require_manager(request)
    if name != request.path_params["name"]:
        path = request.web.path("project", name, "manage", query=request.query_string)
        return redirect(301, path)
    if context.index.settings.server.read_only:
        raise context.read_only_error()
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
    changes = _changes_of_commit(context.index.projects, project, fields.text("commit"))
    return _overview(request, 200, project, form, changes)


def _answer_release(
    request: IndexRequest, project: Project, fields: forms.FormFields, form: FormState
) -> Response:
    """Return the page of the files of one release, or the form of one change of them."""
    version = fields.text("version")
    action = fields.text("action")
    try:
        release = _find_release(project, version)
    except WheelyardError as error:
        # the overview, with the version in the field of a set of versions
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
    Handle POST: make the change of a form, and redirect to the overview, which tells of it.

    A form in which releases or files were chosen changes nothing yet: the answer is a form that
    names all of their files. A released name gets a page without a redirect. A refused change gets
    the form again, with the reason and the status of the error. Raises Waiting until the body has
    come, Invalid if the body is no form or its action is unknown, and TooLarge if the body is too
    long. Raises NotFound if there is no such project.
    """
    name = request.web.require_manager(request)

    # the handler is called again once the body has come, and changes nothing before
    fields = forms.read_form(request, FORM_LIMIT_BYTES, MAX_FIELDS)
    if fields.text("choose") in manage_pages.VERBS:
        return _answer_choice(request, name, fields)
    action = fields.action(manage_pages.STATUS, manage_pages.RELEASE, *manage_pages.VERBS)
    api = _api(request)
    try:
        forms.require_form_token(request, fields.text(forms.CSRF_FIELD))
        if action == manage_pages.RELEASE:
            return _release_name(request, api, name, fields)
        if action == manage_pages.STATUS:
            commit_number = _set_status(api, name, fields)
        else:
            commit_number = _change_files(api, name, fields)
    except WheelyardError as error:
        # nothing was changed: a commit has all of a change, or nothing
        return _show_refused_form(request, name, fields, error)

    # a redirect, so that to load the page again does not send the form again
    query = b"commit=%d" % commit_number
    return redirect(303, request.web.path("project", name, "manage", query=query))


def _api(request: IndexRequest) -> LocalApi:
    """Return the operations of the index, for the caller of a request."""
    index = request.context.index
    caller_elsewhere = CallerElsewhere(request, index)
    return LocalApi(index=index, caller=request.caller, caller_elsewhere=caller_elsewhere)


def _answer_choice(
    request: IndexRequest, name: NormalizedName, fields: forms.FormFields
) -> Response:
    """Return the form with the files of the chosen releases, or the overview with an error."""
    form = FormState(forms.form_token(request))
    project = request.context.index.projects.get_current(name)
    action = fields.text("choose")
    try:
        changeable_project = _changeable_project(request, project, action)
        versions = _chosen_versions(changeable_project, fields)
        change = _change_of(request, project, action, versions, fields.all("file") or None)
        if not change.releases:
            participle = manage_pages.PARTICIPLES[action]
            message = f"None of these files can be {participle}. Choose others."
            raise Invalid(message, code="invalid_field")
    except WheelyardError as error:
        wrong_field = "versions"
        # the form to restore has no field of versions
        if action == "restore":
            wrong_field = ""
        form = FormState(form.token, fields.values, error_on_page(error), wrong_field)
        return _overview(request, status_of(error), project, form)
    return _change_form(request, 200, form, change)


def _changeable_project(request: IndexRequest, project: Project, action: str) -> Project:
    """Return the project with the files that an action can change: to restore, the deleted ones."""
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
    Return the change of files by an action, which has no releases if no file can be changed.

    `versions` are the releases to change, or None for the whole project. `filenames` are the files
    of these to change, or None for all files.
    """
    releases: tuple[manage_pages.ChosenRelease, ...] = ()
    if action in manage_pages.VERBS:
        changeable_project = _changeable_project(request, project, action)
        releases = tuple(
            manage_pages.chosen_releases(changeable_project, action, versions, filenames)
        )
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
    Release the name of a project without files, and return the page that confirms it.

    Raises Invalid unless the name was typed, and WheelyardError if the name is not released.
    """
    with forms.naming_field("confirmation"):
        _require_confirmation(fields.text("confirmation"), name)
    body = forms.form_body(fields, project_operations.NameChange)
    api.call(project_operations.release_name, name, body)
    # no redirect, as the project has no page any more
    viewer = request.web.index_viewer(request)
    return request.web.show(request, viewer, 200, "name_released.html", "../../../", name=name)


def _overview(
    request: IndexRequest,
    status: int,
    project: Project,
    form: FormState,
    changes: Sequence[Change] | None = None,
) -> Response:
    """
    Return the overview of a project, on which a person chooses releases and a change.

    `changes` are those that the person has just made, which the page tells of, or None.
    """
    may_release = request.caller.may(Action.ADMIN, project.name)
    managed = manage_pages.ManagedProject(
        project=project,
        deleted=_changeable_project(request, project, "restore"),
        quota=request.context.index.uploads.quotas.project,
        is_kept=request.context.index.lifecycle.removal.keeps_deleted,
        may_release=may_release,
        done=changes,
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
    has_warnings: bool = True,
) -> Response:
    """Return the form of a change of files. Before a deletion, it `has_warnings` of its effects."""
    warnings: tuple[str, ...] = ()
    if has_warnings and change.action == "delete":
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
    """
    Return the page with the form that sets the status of a project.

    `project` is None if it cannot be read.
    """
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
    """Return the page of a template for people who manage a project."""
    viewer = request.web.managed_viewer(request, name)
    page = manage_pages.render_form(
        request.web.environment, viewer, name, template, MANAGE, **values
    )
    return request.web.own_page(request, status, page)


def _show_refused_form(
    request: IndexRequest, name: NormalizedName, fields: forms.FormFields, error: WheelyardError
) -> Response:
    """Return the form that was refused, with the reason and the typed fields."""
    form = forms.refused_form(request, fields, error)

    # a store that does not answer is not asked again: the cached project has to do
    is_store_down = isinstance(error, Unavailable)
    if is_store_down:
        project = _peek_project(request, name)
    else:
        project = request.context.index.projects.get_current(name)
    action = fields.text("action")
    status = status_of(error)
    if action == manage_pages.RELEASE and project is not None:
        return _overview(request, status, project, form)

    # also for the release of a name, as there is no overview of a project that cannot be read
    if action in {manage_pages.STATUS, manage_pages.RELEASE}:
        return _status_form(request, status, name, project, form)
    if project is not None:
        project = _changeable_project(request, project, action)
    change = _refused_change(project, name, fields)
    is_kept = request.context.index.lifecycle.removal.keeps_deleted
    change = replace(change, is_kept=is_kept)
    return _change_form(request, status, form, change, has_warnings=not is_store_down)


def _peek_project(request: IndexRequest, name: NormalizedName) -> Project | None:
    """Return a project from the cache, however old it is, or None if it is not cached."""
    snapshot = request.context.index.projects.peek(name, "any")
    if snapshot is None:
        return None
    return snapshot.value


def _find_release(project: Project, text: str) -> Release:
    """
    Return the release of a project with the version in `text`.

    Raises Invalid if `text` is no version, and NotFound if there is no such release.
    """
    with forms.naming_field("version"):
        version = parse_version(text)
        for release in all_releases(project):
            if Version(release.version) == version:
                return release
        raise NotFound(f"{project.name} has no release {version}. Choose another one.")


def _chosen_versions(project: Project, fields: forms.FormFields) -> set[str]:
    """
    Return the versions of the releases that are ticked, or in the typed set of versions.

    Raises Invalid if the set is malformed, or no release is ticked and no set typed. Raises
    NotFound if the project has none of the chosen releases.
    """
    versions = [release.version for release in all_releases(project)]
    ticked_versions = fields.all("version")
    chosen_versions = set(versions).intersection(ticked_versions)
    # without quotes, which a shell needs around ">=1,<2" in a command that is pasted
    typed_set = fields.text("versions").strip("\"' ")
    if typed_set:
        # people also type a single version, which is no set in PEP 440
        if _VERSION_START.match(typed_set):
            version_set = SpecifierSet(f"=={parse_version(typed_set)}")
        else:
            version_set = parse_version_set(typed_set)
        # people who type a set mean pre-releases, too
        chosen_versions.update(version_set.filter(versions, prereleases=True))
    if chosen_versions:
        return chosen_versions
    if typed_set or ticked_versions:
        raise NotFound(f"{project.name} has no such release. Choose others.")
    message = "Tick the releases that you mean, or write a set of versions."
    raise Invalid(message, code="missing_field")


def _refused_change(
    project: Project | None, name: NormalizedName, fields: forms.FormFields
) -> manage_pages.FileChange:
    """
    Return the change of a refused form, so that the form can be shown again.

    `project` has the files that can be changed, and is None if it cannot be read.
    """
    action = fields.text("action")
    ticked_filenames = fields.all("file")
    is_whole = bool(fields.text("whole"))
    releases: tuple[manage_pages.ChosenRelease, ...] = ()
    if project is not None:
        versions: set[str] | None = None
        if not is_whole:
            # with the versions of ticked files: a form without a project has no field of versions
            versions = set(fields.all("version"))
            versions.update(_version_in(filename, name) for filename in ticked_filenames)
        releases = tuple(manage_pages.chosen_releases(project, action, versions, ticked_filenames))
    # another person may have deleted the files meanwhile: the form still names the ticked ones
    if not releases:
        releases = (_release_of_fields(fields),)
    return manage_pages.FileChange(name=name, action=action, releases=releases, is_whole=is_whole)


def _release_of_fields(fields: forms.FormFields) -> manage_pages.ChosenRelease:
    """Return the first version and the ticked files of a form, as a release without records."""
    version = ""
    if fields.all("version"):
        version = fields.all("version")[0]
    filenames = sorted(set(fields.all("file")))
    files = tuple(manage_pages.ChoosableFile(filename, None) for filename in filenames)
    return manage_pages.ChosenRelease(version, files)


def _version_in(filename: str, project: NormalizedName) -> str:
    """Return the version in a filename of a project, or an empty text for any other filename."""
    with suppress(Invalid):
        return str(parse_known_filename(filename, project).version)
    return ""


def _changes_of_commit(projects: Projects, project: Project, text: str) -> list[Change] | None:
    """
    Return the changes of the commit whose number is `text`, which is from the URL.

    The list is empty for 0, the number after a form that changed nothing. None means that `text` is
    not the number of a commit that can be read.
    """
    if not _NUMBER.fullmatch(text):
        return None
    number = int(text)
    if number == 0:
        return []
    if number > project.revision:
        return None
    commit = projects.journal(project).find(number)
    if commit is None:
        return None
    events = [EventJson.from_event(event) for event in commit.events]
    return changes_of([entry_of(project.name, number, event, event.by_name) for event in events])


def _set_status(api: LocalApi, name: NormalizedName, fields: forms.FormFields) -> int:
    """
    Set the status of a project, and return the number of the commit, or 0 without a change.

    Raises WheelyardError if a field is wrong, or the change is refused.
    """
    _require_reason(fields)
    status_change = forms.form_body(fields, project_operations.StatusChange)
    project = api.call(project_operations.set_status, name, status_change)
    commit = project.commit
    # if the project had the status before, its last commit may be about something else
    if commit is None or all(event.what != EventKind.STATUS for event in commit.events):
        return 0
    return project.revision


def _change_files(api: LocalApi, name: NormalizedName, fields: forms.FormFields) -> int:
    """
    Change the ticked files of a form, and return the number of the commit, or 0 without a change.

    Raises WheelyardError if a field is wrong, or the change is refused.
    """
    _require_reason(fields)
    action = fields.text("action")
    versions = [parse_version(text) for text in fields.all("version")]
    with forms.naming_field("file"):
        if not fields.all("file"):
            message = "No file is ticked. Tick the files that you mean."
            raise Invalid(message, code="missing_field")
    version = None
    if len(versions) == 1:
        version = versions[0]

    # the typed name has to be that of the project, or of the one release whose files are deleted
    if action == "delete":
        with forms.naming_field("confirmation"):
            _require_confirmation(fields.text("confirmation"), name, version)

    # the filenames are enough, but the operation also needs a version or a set of versions
    change = project_operations.ReleaseChange(file=fields.all("file"), reason=fields.text("reason"))
    if version is None:
        change = replace(change, versions=EVERY_VERSION)
    else:
        change = replace(change, version=str(version))
    result = api.call(_ACTIONS[action], name, change)
    if not result.changed:
        return 0
    return result.revision


def _require_reason(fields: forms.FormFields) -> None:
    """Raise Invalid if the reason in a form is too long, or has more than one line."""
    with forms.naming_field("reason"):
        require_one_line(fields.text("reason"), "The reason", REASON_LIMIT)


def _require_confirmation(text: str, name: NormalizedName, version: Version | None = None) -> None:
    """Raise Invalid unless `text` is the name, and the version if it is given, in any spelling."""
    typed_name, _, typed_version = text.partition(" ")
    with suppress(Invalid):
        if version is None:
            is_right_version = not typed_version
        else:
            is_right_version = parse_version(typed_version.strip()) == version
        if parse_name(typed_name) == name and is_right_version:
            return
    expected = str(name)
    if version is not None:
        expected = f"{name} {version}"
    raise Invalid(f"This is something else. To confirm, type: {expected}", code="not_confirmed")
