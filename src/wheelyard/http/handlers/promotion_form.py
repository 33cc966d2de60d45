"""Handlers of the page on which people promote a release to another index."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.api.local_api import LocalApi
from wheelyard.api.promotion_operations import PromotedRelease, ReleasePromotion, promote
from wheelyard.authentication.api_tokens import invalid_credential
from wheelyard.errors import Invalid, NotFound, WheelyardError
from wheelyard.http import forms
from wheelyard.http.context import IndexRequest
from wheelyard.http.error_responses import status_of
from wheelyard.http.messages import Response, redirect
from wheelyard.http.request_authentication import CallerElsewhere
from wheelyard.http.resolver import find_private
from wheelyard.model.distribution_filename import parse_version
from wheelyard.operations.lifecycle import Selection
from wheelyard.rendering.advice import error_on_page
from wheelyard.rendering.web.account_pages import FormState
from wheelyard.rendering.web.promotion_page import PromotionTarget, promotion_page

PROMOTE: Final = "promote"


def answer(request: IndexRequest) -> Response:
    """
    Handle GET: to which indexes the caller may promote a release, and what forbids it.

    Each is found by a dry run, in which nothing is written. Raises Unauthenticated for an anonymous
    caller, and Unauthenticated, Forbidden or NotFound if the caller may not read the project.
    Raises NotFound if the index has no such release of its own, and Forbidden (code `read_only`) on
    a read-only server. Raises Unavailable if the store does not answer.
    """
    name, version = _require_release(request)
    if request.context.index.settings.server.read_only:
        raise request.context.read_only()
    form = FormState(forms.form_token(request))
    return _show(request, 200, name, version, form)


def answer_form(request: IndexRequest) -> Response:
    """
    Handle POST: promote the release, and redirect to the page, which says where it is now.

    What is refused is told on the page, which then has the status of the error. Raises
    Unauthenticated, Forbidden or NotFound if the caller may not read the project, and NotFound if a
    version is malformed or not there. Raises Waiting until the body has come, Invalid for what is
    no form, and TooLarge if it is too long. Raises Waiting, too, while an upstream index is asked.
    """
    name, version = _require_release(request)
    # the handler is called again once the body has come, and changes nothing before
    fields = forms.read_form(request)
    try:
        forms.require_form_token(request, fields.text(forms.CSRF_FIELD))
        _promote_by_form(request, name, version, fields)
    except WheelyardError as error:  # nothing was changed, or nobody knows
        form = forms.refused_form(request, fields, error)
        return _show(request, status_of(error), name, version, form)
    return redirect(303, request.web.path("project", name, str(version), PROMOTE))


def _promote_by_form(
    request: IndexRequest, name: NormalizedName, version: Version, fields: forms.FormFields
) -> None:
    """
    Promote what a form asks for.

    Raises WheelyardError if nothing was promoted, or nobody knows. Raises Waiting while an upstream
    index is asked.
    """
    api = _api(request)
    fields.action(PROMOTE)
    release = ReleasePromotion(str(version), fields.text("to"))
    request.ask_upstream(PROMOTE, _promote, api, name, release)


def _api(request: IndexRequest) -> LocalApi:
    index = request.context.index
    caller_elsewhere = CallerElsewhere(request, index)
    return LocalApi(index=index, caller=request.caller, caller_elsewhere=caller_elsewhere)


def _require_release(request: IndexRequest) -> tuple[NormalizedName, Version]:
    """
    Return the project and the version in a URL.

    Raises NotFound if they are none, and Unauthenticated, Forbidden or NotFound unless the caller
    may read the project. Raises Unauthenticated if the caller is anonymous.
    """
    name = request.web.require_reader(request)
    if request.caller.is_anonymous:
        raise invalid_credential()
    message = f"{name} has no such release of its own. Its page shows what it has."
    try:
        version = parse_version(request.path_params["version"])
    except Invalid as fault:
        raise NotFound(message) from fault
    # nothing is promoted from a view, which has all of its releases from layers
    if not request.context.index.definition.has_packages:
        raise _of_layer(request, name, version) or NotFound(message)
    return name, version


def _of_layer(request: IndexRequest, name: NormalizedName, version: Version) -> NotFound | None:
    """Return the NotFound for a release that the index has from a layer, or None."""
    with suppress(NotFound):
        for source in find_private(request.context, name).sources.projects:
            if Selection(version).of(source.project.files):
                return NotFound(
                    f"{name} {version} is from {source.index}. Promote it on its page there."
                )
    return None


def _show(
    request: IndexRequest,
    status: int,
    name: NormalizedName,
    version: Version,
    form: FormState,
) -> Response:
    """
    Return the page with what each index would get.

    Raises NotFound if the index has no such release of its own. Raises Unavailable if the store
    does not answer.
    """
    index = request.context.index
    try:
        project = index.projects.get_current(name)
        kept_files = index.lifecycle.kept_files(project)
        files = Selection(version).files_of(project, kept_files)
    except NotFound as fault:
        raise (_of_layer(request, name, version) or fault) from None
    targets = tuple(_targets(request, name, version))
    # as the release was uploaded: the URL may spell its version in another way
    spelling = files[0].version
    viewer = request.web.index_viewer(request, name)
    viewer = request.web.with_places(request, viewer, name, spelling, is_release=True)
    page = promotion_page(request.web.environment, viewer, (name, spelling), targets, form)
    return request.web.own_page(request, status, page)


def _targets(
    request: IndexRequest, name: NormalizedName, version: Version
) -> Iterator[PromotionTarget]:
    """
    Yield what each index would get that the caller may upload the project to.

    Raises Unavailable if the store does not say which indexes there are.
    """
    api = _api(request)
    for index in request.web.promotion_targets(request, name):
        # a dry run: the page says what the form would be refused for
        release = ReleasePromotion(str(version), index.name, dry_run=True)
        try:
            trial = _promote(api, name, release)
        except WheelyardError as error:
            yield PromotionTarget(name=index.name, error=error_on_page(error))
        else:
            yield PromotionTarget(
                name=index.name,
                new=tuple(file.filename for file in trial.promoted),
                present=len(trial.present),
                attested=trial.attested,
                warnings=trial.warnings,
            )


def _promote(api: LocalApi, name: NormalizedName, release: ReleasePromotion) -> PromotedRelease:
    return api.call(promote, name, release)
