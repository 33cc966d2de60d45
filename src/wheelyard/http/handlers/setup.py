"""Handlers for the setup of clients: the page with settings, the choice, the upload URL."""

from datetime import UTC, datetime, time, timedelta
from functools import partial
from typing import Final

from msgspec.structs import replace

from wheelyard.api import project_operations
from wheelyard.api.local_api import LocalApi
from wheelyard.errors import Forbidden, Invalid, NotFound
from wheelyard.http.client_choice import remember_client
from wheelyard.http.context import IndexRequest
from wheelyard.http.error_responses import status_of
from wheelyard.http.forms import referring_page
from wheelyard.http.messages import NO_STORE, Response, make_response, redirect
from wheelyard.model.index_name import DATED
from wheelyard.rendering.client_settings import CLIENTS, INSTALL_CHOICES
from wheelyard.rendering.web.core_metadata import TEXT_LIMIT
from wheelyard.rendering.web.setup_page import SetupContent

TEXT: Final = b"text/plain; charset=utf-8"
UPLOAD_URL_HELP: Final = b"""This is the upload URL of a wheelyard index. Give it to your client:

    twine upload --repository-url <this URL> dist/*
"""


def answer(request: IndexRequest) -> Response:
    """
    Handle GET `/setup/` for a browser: the settings of each client for this index.

    `?client=` is the client whose settings are shown. If it is missing or unknown, the page shows
    the client that was chosen in this browser before, if any. `?project=` is the project whose name
    is filled in. If that does not exist, the page says so, and has the status of the error. Raises
    Unauthenticated or Forbidden if the caller may not read the page. Raises Unavailable if the
    store does not answer.
    """
    viewer = request.web.choosing_viewer(request)
    index = request.context.index
    client = _text_field(request, "client")
    project = _text_field(request, "project")
    now = index.server.runtime.now()
    day_view = ""

    # a static site has no views of days, and a view of a day is one itself
    if request.context.process.site is None and index.definition.day is None:
        day_view = f"{DATED}{now.date()}"
    if client not in CLIENTS:
        client = ""
        # the client that this browser chose for commands: `uv-pip` has no settings of its own
        if viewer.client in CLIENTS:
            client = viewer.client
    content = SetupContent(
        client=client,
        asked=project,
        needs_credential=viewer.needs_credential,
        index=index.name,
        contact=index.settings.web.contact,
        days_path=f"{index.settings.server.public_path}/{DATED}",
        today=day_view,
    )

    # not cached, as the page depends on the requirements of a project, and on the caller
    if project:
        status, content = _with_project_names(request, content)
        page = content.render(request.web.environment, viewer)
        return request.web.own_page(request, status, page)

    render = partial(content.render, request.web.environment, viewer)

    # The page is made from no document but the list of indexes, so its version is the day that it
    # names. The next day, an identical request gets another page.
    midnight = datetime.combine(now.date() + timedelta(days=1), time.min, UTC)
    until = index.server.runtime.monotonic() + (midnight - now).total_seconds()
    return request.web.respond(request, ("setup", viewer, client), day_view, render, until=until)


def _text_field(request: IndexRequest, name: str) -> str:
    """Return a field of the query, cut off at a length that no client and no project has."""
    text = request.query_field(name) or ""
    return text.strip()[:TEXT_LIMIT]


def _with_project_names(request: IndexRequest, content: SetupContent) -> tuple[int, SetupContent]:
    """
    Return the status of the page, and the page with the names that settings for a project need.

    If the caller may read no such project, the page has an error, and the status of that.
    """
    api = LocalApi(index=request.context.index, caller=request.caller)
    query = project_operations.ClientProjectsQuery(project=content.asked)
    # a private name and an unused name get the same answer
    try:
        client_projects = api.call(project_operations.client_projects, query)
    except (Invalid, NotFound) as error:
        message = "There is no such project here, or you may not read it."
        return status_of(error), replace(content, error=message)
    names: tuple[str, ...] = client_projects.projects
    if not names:
        first_name, _, _ = content.asked.partition(",")
        names = (first_name,)
    return 200, replace(content, projects=names)


def choose_client(request: IndexRequest) -> Response:
    """
    Handle GET `/-/client/?client=`: keep the choice in a cookie, and redirect back to the page.

    This is for browsers that run no script. A GET may do it, as it changes nothing for other
    people. The target is the page whose link was followed, or the home page. Raises Invalid (code
    `invalid_field`) for a client that no page offers.
    """
    client = request.query_field("client")
    server = request.context.index.settings.server
    if client not in INSTALL_CHOICES:
        message = "There is no such client. Choose one on the page of a project."
        raise Invalid(message, code="invalid_field")
    target = referring_page(request.joined_headers, server)
    return redirect(303, target, NO_STORE, remember_client(client, server))


def explain_upload_url(request: IndexRequest) -> Response:
    """
    Handle GET `/legacy/`, the upload URL: a text that explains the URL.

    Raises Forbidden if the index takes no uploads, with a code for each reason: `read_only`,
    `no_own_packages`, `promotions_only` or `index_not_named`. The error does not name the layers of
    the index, as anybody may send this request.
    """
    index = request.context.index
    if index.takes_uploads:
        return make_response(200, TEXT, UPLOAD_URL_HELP, NO_STORE)
    if index.settings.server.read_only:
        raise request.context.read_only_error()
    if index.definition.takes_uploads:
        index.uploads.require_uploads()  # raises the error of an index that nobody has used
    code = "no_own_packages"
    if index.definition.has_packages:
        code = "promotions_only"
    message = "This index takes no uploads. Upload to the one that is to have the file."
    raise Forbidden(message, code=code)
