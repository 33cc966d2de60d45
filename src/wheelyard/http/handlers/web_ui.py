"""Handlers of the web UI: `/`, `/project/<name>/`, `/setup/` and error pages."""

from functools import cached_property, partial
from importlib import invalidate_caches
from typing import TYPE_CHECKING

from packaging.utils import NormalizedName

from wheelyard.errors import WheelyardError
from wheelyard.http.caching.cache_headers import page_cache_headers
from wheelyard.http.context import ServerContext
from wheelyard.http.page_responses import load_page, page_response, visibility_key, visible_names
from wheelyard.http.protocol.error_responses import REASON_PHRASES, error_response_for
from wheelyard.http.protocol.messages import Header, Request, Response, make_response, redirect
from wheelyard.http.protocol.negotiation import MediaType
from wheelyard.http.protocol.router import build_path
from wheelyard.http.security.read_policy import parse_project_name
from wheelyard.model.project import Project
from wheelyard.rendering.releases import latest_release, releases_of
from wheelyard.storage.base import ABSENT
from wheelyard.storage.filesystem import storage_faults

if TYPE_CHECKING:
    from wheelyard.rendering.web_pages import PageTemplates

HTML = b"text/html; charset=utf-8"


class WebUi:
    """Handles requests for the HTML pages of the web UI."""

    def __init__(self, context: ServerContext) -> None:
        self._context = context

    @cached_property
    def templates(self) -> "PageTemplates":
        """The renderer of the HTML pages, made at the first use that can read its templates."""
        settings = self._context.index.settings
        # slow to import: the first page of the Simple API must not wait for this
        with storage_faults("the templates of the pages"):
            try:
                from wheelyard.rendering.web_pages import PageTemplates  # noqa: PLC0415

                is_certain = bool(settings.server.public_url)
                return PageTemplates(settings.index_url, is_certain=is_certain)
            except ImportError as error:  # a folder that could not be read looked empty
                invalidate_caches()  # so that the next request tries again
                raise OSError(str(error)) from error

    async def home(self, request: Request) -> Response:
        """Handle GET `/` for a browser: the names of the projects that the caller may read."""
        snapshot = await self._context.documents.load_names()
        caller = request.caller

        def render() -> bytes:
            return self.templates.project_list(visible_names(snapshot, caller))

        key = ("home", visibility_key(caller))
        page = await load_page(self._context, key, snapshot.version, render, self._headers())
        return page_response(request, page, MediaType.HTML)

    async def project(self, request: Request) -> Response:
        """Handle GET `/project/<name>/`: a project's page; redirect a name in another spelling."""
        name = parse_project_name(request.params["name"])
        self._context.read_policy.require_project_read(request.caller, name)
        if name != request.params["name"]:
            prefix = self._context.index.settings.server.path_prefix
            return redirect(301, build_path(prefix, ("project", name), request.query))
        project, version = await self._context.documents.require_project(name)
        key, render = ("project", name), partial(self._render, project)
        page = await load_page(self._context, key, version, render, self._headers(name))
        return page_response(request, page, MediaType.HTML)

    async def setup(self, request: Request) -> Response:
        """Handle GET `/setup/` for a browser: the settings of each client for this index."""
        is_read_only = self._context.index.settings.server.read_only

        def render() -> bytes:
            return self.templates.setup(can_publish=not is_read_only)

        # it is made from no document, and so from no version of one
        page = await load_page(self._context, ("setup",), ABSENT, render, self._headers())
        return page_response(request, page, MediaType.HTML)

    def error_page(self, error: WheelyardError) -> Response:
        """Return the HTML error response for `error`, with the status of the JSON response."""
        plain = error_response_for(error)
        body = self.templates.error_page(REASON_PHRASES[plain.status], error.message)
        of_body = (b"content-", b"x-content-")
        headers = [header for header in plain.headers if not header[0].startswith(of_body)]
        return make_response(plain.status, HTML, body, *headers, *self._security_headers)

    def _headers(self, name: NormalizedName | None = None) -> tuple[Header, ...]:
        context = self._context
        # behind Identity-Aware Proxy, a page is only for users that the proxy has authenticated
        is_behind_iap = context.index.authenticator.iap is not None
        is_public = context.read_policy.is_public(name) and not is_behind_iap
        max_age = context.index.settings.http.public_max_age
        return (*self._security_headers, *page_cache_headers(max_age, is_public=is_public))

    def _render(self, project: Project) -> bytes:
        releases, core = releases_of(project), None
        described = latest_release(releases)
        if described is not None:
            core = self._context.core_metadata.load(project.name, described.metadata_file)
        return self.templates.project(project, releases, described, core)

    @property
    def _security_headers(self) -> tuple[Header, ...]:
        policy = (b"content-security-policy", self.templates.policy.encode())
        return (policy, (b"referrer-policy", b"no-referrer"))
