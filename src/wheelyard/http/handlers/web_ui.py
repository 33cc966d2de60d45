"""The pages for people: `/`, `/project/<name>/` and refusals."""

from functools import cached_property, partial
from importlib import invalidate_caches
from typing import TYPE_CHECKING

from packaging.utils import NormalizedName

from wheelyard.errors import WheelyardError
from wheelyard.http.context import ServerContext
from wheelyard.http.page_responses import answer, page_of, sight_of, visible
from wheelyard.http.protocol.error_responses import TITLES, refusal
from wheelyard.http.protocol.messages import Header, Request, Response, make_response, redirect
from wheelyard.http.protocol.negotiation import MediaType
from wheelyard.http.protocol.router import path_of
from wheelyard.http.security.read_policy import name_in
from wheelyard.model.project import Project
from wheelyard.rendering.releases import ProjectPage, latest_release, releases_of
from wheelyard.storage.disk import storage_faults

if TYPE_CHECKING:
    from wheelyard.rendering.web_pages import PageTemplates

HTML = b"text/html; charset=utf-8"


class WebUi:
    """The pages for people, with their templates."""

    def __init__(self, context: ServerContext) -> None:
        self._context = context

    @cached_property
    def templates(self) -> "PageTemplates":
        """The templates; where they cannot be read, the next request tries again."""
        settings = self._context.index.settings
        # they take longer to import than the first page of the Simple API may take
        with storage_faults("the templates of the pages"):
            try:
                from wheelyard.rendering.web_pages import PageTemplates  # noqa: PLC0415

                is_certain = bool(settings.server.public_url)
                return PageTemplates(settings.index_url, is_certain=is_certain)
            except ImportError as error:  # what could not be listed seemed not to be there
                invalidate_caches()
                raise OSError(str(error)) from error

    async def home(self, request: Request) -> Response:
        """Answer `GET /` with the projects that the caller may read."""
        snapshot = await self._context.reads.names()
        caller = request.caller

        def render() -> bytes:
            return self.templates.project_list(visible(snapshot, caller))

        subject = ("home", sight_of(caller))
        page = await page_of(self._context, subject, snapshot.version, render, self._headers())
        return answer(request, page, MediaType.HTML)

    async def project(self, request: Request) -> Response:
        """Answer `GET /project/<name>/`."""
        name = name_in(request.params["name"])
        self._context.audience.require_read(request.caller, name)
        if name != request.params["name"]:
            prefix = self._context.index.settings.server.path_prefix
            return redirect(301, path_of(prefix, ("project", name), request.query))
        project, version = await self._context.reads.listed(name)
        subject, render = ("project", name), partial(self._render, project)
        page = await page_of(self._context, subject, version, render, self._headers(name))
        return answer(request, page, MediaType.HTML)

    def refusal(self, fault: WheelyardError) -> Response:
        """Return a refusal as a page."""
        plain = refusal(fault)
        body = self.templates.refusal(TITLES[plain.status], fault.message)
        own = (b"content-", b"x-content-")
        kept = [header for header in plain.headers if not header[0].startswith(own)]
        return make_response(plain.status, HTML, body, *kept, *self._policy)

    def _headers(self, name: NormalizedName | None = None) -> tuple[Header, ...]:
        # behind Google's proxy a page is for those whom it has let through
        audience, iap = self._context.audience, self._context.index.authenticator.iap
        is_public = audience.is_public(name) and iap is None
        return (*self._policy, *audience.caching_of_page(is_public=is_public))

    def _render(self, project: Project) -> bytes:
        releases, core = releases_of(project), None
        described = latest_release(releases)
        if described is not None:
            core = self._context.core_metadata.core(project.name, described.metadata_file)
        return self.templates.project(
            ProjectPage(project=project, releases=releases, described=described, core=core)
        )

    @property
    def _policy(self) -> tuple[Header, ...]:
        policy = (b"content-security-policy", self.templates.policy.encode())
        return (policy, (b"referrer-policy", b"no-referrer"))
