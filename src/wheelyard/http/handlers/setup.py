"""Handlers of the page with which people set up a client, and of the choice of one."""

from datetime import UTC, datetime, time, timedelta

from msgspec.structs import replace

from wheelyard.api import project_operations
from wheelyard.api.project_operations import ClientProjectsQuery
from wheelyard.api.table import LocalApi
from wheelyard.errors import Invalid, NotFound
from wheelyard.http.client_choice import remember_client
from wheelyard.http.context import IndexRequest
from wheelyard.http.error_responses import status_of
from wheelyard.http.forms import referring_page
from wheelyard.http.messages import NO_STORE, Response, redirect
from wheelyard.model.index_name import DATED
from wheelyard.rendering.client_settings import CLIENTS, INSTALL_CHOICES
from wheelyard.rendering.web.core_metadata import TEXT_LIMIT
from wheelyard.rendering.web.setup_page import SetupContent


def answer(request: IndexRequest) -> Response:
    """
    Handle GET `/setup/` for a browser: the settings of each client for this index.

    `?client=` is the client to show, `?project=` the project whose name to fill in.
    """
    viewer = request.web.choosing_viewer(request)
    index = request.context.index
    client, asked = (
        (request.query_field(name) or "").strip()[:TEXT_LIMIT] for name in ("client", "project")
    )
    now = index.server.runtime.now()
    view = ""
    if request.context.process.site is None and index.definition.day is None:
        view = f"{DATED}{now.date()}"
    if client not in CLIENTS:
        client = viewer.client if viewer.client in CLIENTS else ""
    content = SetupContent(
        client=client,
        asked=asked,
        needs_credential=viewer.needs_credential,
        index=index.name,
        contact=index.settings.web.contact,
        days_path=f"{index.settings.server.public_path}/{DATED}",
        today=view,
    )
    if asked:  # no cache keeps it: it depends on what a project needs, and on the caller
        status, content = _filled_in(request, content)
        page = content.render(request.web.environment, viewer)
        return request.web.own_page(request, status, page)

    def render() -> bytes:
        return content.render(request.web.environment, viewer)

    # it is made from no document but the list of indexes
    midnight = datetime.combine(now.date() + timedelta(days=1), time.min, UTC)
    until = index.server.runtime.monotonic() + (midnight - now).total_seconds()
    return request.web.respond(request, ("setup", viewer, client), view, render, until=until)


def _filled_in(request: IndexRequest, content: SetupContent) -> tuple[int, SetupContent]:
    """Return the page with the names that settings for one project need, and its status."""
    api = LocalApi(index=request.context.index, caller=request.caller)
    query = ClientProjectsQuery(project=content.asked)
    try:
        listed = api.call(project_operations.client_projects, query)
    except (Invalid, NotFound) as error:
        message = "There is no such project here, or you may not read it."
        return status_of(error), replace(content, error=message)
    names = listed.projects or (content.asked.partition(",")[0],)
    return 200, replace(content, projects=names)


def choose_client(request: IndexRequest) -> Response:
    """
    Handle GET `/-/client/?client=`: keep the choice in a cookie, and go back to the page.

    It is for browsers that run no script; it changes nothing that anybody else sees. Raises
    Invalid (code `invalid_field`) for a client that no page offers.
    """
    client = request.query_field("client")
    server = request.context.index.settings.server
    if client not in INSTALL_CHOICES:
        message = "There is no such client. Choose one on the page of a project."
        raise Invalid(message, code="invalid_field")
    target = referring_page(request.joined_headers, server)
    return redirect(303, target, NO_STORE, remember_client(client, server))
