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
    Handle GET: the indexes to which the caller may promote a release, each with what forbids it.

    A dry run for each index finds what forbids the promotion, and writes nothing. Raises
    Unauthenticated for an anonymous caller, and Unauthenticated, Forbidden or NotFound if the
    caller may not read the project. Raises NotFound if the index has no such release of its own,
    and Forbidden (code `read_only`) on a read-only server. Raises Unavailable if the store does not
    answer.
    """
    name, version = _require_release(request)
    if request.context.index.settings.server.read_only:
        raise request.context.read_only_error()
    form = FormState(forms.form_token(request))
    return _show_page(request, 200, name, version, form)


def answer_form(request: IndexRequest) -> Response:
    """
    Handle POST: promote the release, and redirect to the page, which shows the indexes with it.

    A refused promotion gets the page with the reason, and the status of the error. Raises
    Unauthenticated, Forbidden or NotFound if the caller may not read the project, and NotFound if
    the version is malformed, or there is no such release. Raises Waiting until the body has come,
    Invalid if the body is no form, and TooLarge if it is too long. Raises Waiting, too, while an
    upstream index is asked.
    """
    name, version = _require_release(request)
    # the handler is called again once the body has come, and changes nothing before
    fields = forms.read_form(request)
    try:
        forms.require_form_token(request, fields.text(forms.CSRF_FIELD))
        _promote_by_form(request, name, version, fields)
    except WheelyardError as error:  # nothing was changed, or a store has not said whether
        form = forms.refused_form(request, fields, error)
        return _show_page(request, status_of(error), name, version, form)
    return redirect(303, request.web.path("project", name, str(version), PROMOTE))


def _promote_by_form(
    request: IndexRequest, name: NormalizedName, version: Version, fields: forms.FormFields
) -> None:
    """
    Promote a release to the index that is chosen in a form.

    Raises WheelyardError if nothing was promoted, or nobody knows whether it was. Raises Waiting
    while an upstream index is asked.
    """
    api = _api(request)
    fields.action(PROMOTE)  # raises Invalid for another action
    promotion = ReleasePromotion(str(version), fields.text("to"))
    request.ask_upstream(PROMOTE, _promote, api, name, promotion)


def _api(request: IndexRequest) -> LocalApi:
    """Return the operations of the index, for the caller of a request."""
    index = request.context.index
    caller_elsewhere = CallerElsewhere(request, index)
    return LocalApi(index=index, caller=request.caller, caller_elsewhere=caller_elsewhere)


def _require_release(request: IndexRequest) -> tuple[NormalizedName, Version]:
    """
    Return the project and the version in the URL.

    Raises NotFound if the version is malformed, or the index is a view. Raises Unauthenticated,
    Forbidden or NotFound unless the caller may read the project. Raises Unauthenticated if the
    caller is anonymous.
    """
    name = request.web.require_reader(request)
    if request.caller.is_anonymous:
        raise invalid_credential()
    message = f"{name} has no such release of its own. Its page shows what it has."
    try:
        version = parse_version(request.path_params["version"])
    except Invalid as fault:
        raise NotFound(message) from fault
    # a view has all of its releases from layers, so none can be promoted from it
    if not request.context.index.definition.has_packages:
        raise _layer_error(request, name, version) or NotFound(message)
    return name, version


def _layer_error(request: IndexRequest, name: NormalizedName, version: Version) -> NotFound | None:
    """Return the error that names the layer of a release, or None if no layer has the release."""
    with suppress(NotFound):
        for source in find_private(request.context, name).sources.projects:
            if Selection(version).of(source.project.files):
                return NotFound(
                    f"{name} {version} is from {source.index}. Promote it on its page there."
                )
    return None


def _show_page(
    request: IndexRequest,
    status: int,
    name: NormalizedName,
    version: Version,
    form: FormState,
) -> Response:
    """
    Return the page with the files that each index would get.

    Raises NotFound if the index has no such release of its own. Raises Unavailable if the store
    does not answer.
    """
    index = request.context.index
    try:
        project = index.projects.get_current(name)
        kept_files = index.lifecycle.kept_files(project)
        files = Selection(version).files_of(project, kept_files)
    except NotFound as fault:
        raise (_layer_error(request, name, version) or fault) from None
    targets = tuple(_find_targets(request, name, version))
    # as the release was uploaded: the URL may spell its version in another way
    listed_version = files[0].version
    viewer = request.web.index_viewer(request, name)
    viewer = request.web.with_places(request, viewer, name, listed_version, is_release=True)
    page = promotion_page(request.web.environment, viewer, (name, listed_version), targets, form)
    return request.web.own_page(request, status, page)


def _find_targets(
    request: IndexRequest, name: NormalizedName, version: Version
) -> Iterator[PromotionTarget]:
    """
    Yield each index to which the caller may upload the project, with the files that it would get.

    Raises Unavailable if the store does not say which indexes there are.
    """
    api = _api(request)
    for index in request.web.promotion_targets(request, name):
        # a dry run: the page says why the form would be refused
        trial = ReleasePromotion(str(version), index.name, dry_run=True)
        try:
            result = _promote(api, name, trial)
        except WheelyardError as error:
            yield PromotionTarget(name=index.name, error=error_on_page(error))
        else:
            yield PromotionTarget(
                name=index.name,
                new=tuple(file.filename for file in result.promoted),
                present=len(result.present),
                attested=result.attested,
                warnings=result.warnings,
            )


def _promote(api: LocalApi, name: NormalizedName, promotion: ReleasePromotion) -> PromotedRelease:
    """Call the operation that promotes a release, or makes a dry run of that."""
    return api.call(promote, name, promotion)
