"""The pages for people: `/`, `/project/<name>/` and refusals."""

from functools import cached_property, partial
from importlib import invalidate_caches
from typing import TYPE_CHECKING

from packaging.utils import NormalizedName

from wheelyard.errors import IndexFault
from wheelyard.http.audience import name_in
from wheelyard.http.desk import Desk
from wheelyard.http.errors import TITLES, refusal
from wheelyard.http.exchange import Header, Reply, Request, redirect, reply
from wheelyard.http.negotiation import Form
from wheelyard.http.routing import path_of
from wheelyard.http.simple import answer, page_of, sight_of, visible
from wheelyard.model.project import Project
from wheelyard.rendering.releases import ProjectPage, latest, releases_of
from wheelyard.storage.disk import storage_faults

if TYPE_CHECKING:
    from wheelyard.rendering.pages import PageTemplates

HTML = b"text/html; charset=utf-8"


class People:
    """The pages for people, with their templates."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @cached_property
    def templates(self) -> "PageTemplates":
        """The templates; where they cannot be read, the next request tries again."""
        settings = self._desk.index.settings
        # they take longer to import than the first page of the Simple API may take
        with storage_faults("the templates of the pages"):
            try:
                from wheelyard.rendering.pages import PageTemplates  # noqa: PLC0415

                is_certain = bool(settings.server.public_url)
                return PageTemplates(settings.index_url, is_certain=is_certain)
            except ImportError as error:  # what could not be listed seemed not to be there
                invalidate_caches()
                raise OSError(str(error)) from error

    async def home(self, request: Request) -> Reply:
        """Answer `GET /` with the projects that the caller may read."""
        snapshot = await self._desk.reads.names()
        caller = request.caller

        def render() -> bytes:
            return self.templates.project_list(visible(snapshot, caller))

        subject = ("home", sight_of(caller))
        page = await page_of(self._desk, subject, snapshot.version, render, self._headers())
        return answer(request, page, Form.HTML)

    async def project(self, request: Request) -> Reply:
        """Answer `GET /project/<name>/`."""
        name = name_in(request.params["name"])
        self._desk.audience.require_read(request.caller, name)
        if name != request.params["name"]:
            prefix = self._desk.index.settings.server.path_prefix
            return redirect(301, path_of(prefix, ("project", name), request.query))
        project, version = await self._desk.reads.listed(name)
        subject, render = ("project", name), partial(self._render, project)
        page = await page_of(self._desk, subject, version, render, self._headers(name))
        return answer(request, page, Form.HTML)

    def refusal(self, fault: IndexFault) -> Reply:
        """Return a refusal as a page."""
        plain = refusal(fault)
        body = self.templates.refusal(TITLES[plain.status], fault.message)
        own = (b"content-", b"x-content-")
        kept = [header for header in plain.headers if not header[0].startswith(own)]
        return reply(plain.status, HTML, body, *kept, *self._policy)

    def _headers(self, name: NormalizedName | None = None) -> tuple[Header, ...]:
        # behind Google's proxy a page is for those whom it has let through
        audience, iap = self._desk.audience, self._desk.index.doors.iap
        is_public = audience.is_public(name) and iap is None
        return (*self._policy, *audience.caching_of_page(is_public=is_public))

    def _render(self, project: Project) -> bytes:
        releases, core = releases_of(project), None
        described = latest(releases)
        if described is not None:
            core = self._desk.core_metadata.core(project.name, described.speaker)
        return self.templates.project(
            ProjectPage(project=project, releases=releases, described=described, core=core)
        )

    @property
    def _policy(self) -> tuple[Header, ...]:
        policy = (b"content-security-policy", self.templates.policy.encode())
        return (policy, (b"referrer-policy", b"no-referrer"))
