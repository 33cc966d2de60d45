"""Handler of the page with the downloads of a project."""

from functools import partial
from typing import Final

from wheelyard.errors import Invalid, NotFound
from wheelyard.http import resolver
from wheelyard.http.context import IndexRequest
from wheelyard.http.messages import Response, redirect
from wheelyard.http.resolver import PrivateFiles
from wheelyard.model.downloads import SHOWN_DAYS
from wheelyard.rendering.web.download_pages import DAY_CHOICES, downloads_page

_DAYS_BY_TEXT: Final = {str(days): days for days in DAY_CHOICES}
"""The numbers of days that the page offers, by their text in a query."""


def answer(request: IndexRequest) -> Response:
    """
    Handle GET `/project/<name>/downloads/`: the downloads of the last days, by version.

    `?days=` is the number of days, `SHOWN_DAYS` if it is missing or empty. There is a route to this
    only where downloads are counted. Another spelling of the name is redirected. Raises
    Unauthenticated or Forbidden if the caller may not ask for the project. Raises NotFound if there
    is no such private project, and Invalid (code `invalid_field`) for a number of days that the
    page does not offer. Raises Unavailable if the store or an upstream index does not answer.
    Raises Waiting if an upstream index has to be asked.
    """
    name = request.web.require_lookup(request)
    if name != request.path_params["name"]:
        path = request.web.path("project", name, "downloads", query=request.query_string)
        return redirect(301, path)
    downloads = request.context.downloads
    assert downloads is not None  # noqa: S101 - there is no such route if they are not counted
    days = _DAYS_BY_TEXT.get(request.query_field("days") or str(SHOWN_DAYS))
    if days is None:
        message = f"There is no such page. Choose {', '.join(_DAYS_BY_TEXT)} days."
        raise Invalid(message, code="invalid_field")
    listing = resolver.find(request.context, name, request)
    if not isinstance(listing.open, PrivateFiles):
        raise NotFound("Downloads of public packages are not counted.")
    own_name = name if listing.origin.is_own else None
    viewer = request.web.index_viewer(request, own_name)
    viewer = request.web.with_places(request, viewer, name)

    # without deleted releases, which may be in the report: a row cannot link to their pages
    linked_versions = {file.version for file in listing.files}
    report, until = downloads.report(name, days)
    render = partial(downloads_page, request.web.environment, viewer, name, report, linked_versions)
    key = ("downloads", name, days, viewer)
    version = f"{listing.version} {report.digest}"
    return request.web.respond(request, key, version, render, listing=listing, until=until)
