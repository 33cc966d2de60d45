"""The pages for people: `/` and `/project/<name>/`, and refusals that a browser shows."""

from dataclasses import dataclass

from wheelyard.errors import IndexFault
from wheelyard.http.desk import Desk, name_in
from wheelyard.http.errors import TITLES, refusal
from wheelyard.http.exchange import Header, Reply, Request, redirect, reply
from wheelyard.http.negotiation import Form
from wheelyard.http.paths import path_of
from wheelyard.http.simple import answer, page_of, sight_of, visible
from wheelyard.model.project import Project
from wheelyard.rendering import pages
from wheelyard.rendering.pages import PageTemplates
from wheelyard.rendering.releases import latest, releases_of

HTML = b"text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class People:
    """The pages for people, with their templates."""

    desk: Desk
    templates: PageTemplates

    @classmethod
    def of(cls, desk: Desk) -> "People":
        """Return the pages of the index behind `desk`."""
        settings = desk.index.settings
        is_certain = bool(settings.server.public_url)
        return cls(desk, PageTemplates(settings.index_url, is_certain=is_certain))

    async def home(self, request: Request) -> Reply:
        """Answer `GET /` with the projects that the caller may read."""
        snapshot = await self.desk.names()
        caller = request.caller

        def render() -> bytes:
            return self.templates.project_list(visible(snapshot, caller))

        subject = ("home", sight_of(caller))
        headers = (*self._policy, *self._caching(is_public=self.desk.is_public()))
        page = await page_of(self.desk, subject, snapshot.version, render, headers)
        return answer(request, page, Form.HTML)

    async def project(self, request: Request) -> Reply:
        """Answer `GET /project/<name>/`."""
        name = name_in(request.params["name"])
        self.desk.require_read(request.caller, name)
        if name != request.params["name"]:
            prefix = self.desk.index.settings.server.path_prefix
            return redirect(301, path_of(prefix, ("project", name), request.query))
        project, version = await self.desk.listed(name)
        page = await page_of(
            self.desk,
            ("project", name),
            version,
            lambda: self._render(project),
            (*self._policy, *self._caching(is_public=self.desk.is_public(name))),
        )
        return answer(request, page, Form.HTML)

    def refusal(self, fault: IndexFault) -> Reply:
        """Return a refusal as a page."""
        plain = refusal(fault)
        body = self.templates.refusal(TITLES[plain.status], fault.message)
        own = (b"content-", b"x-content-")
        kept = [header for header in plain.headers if not header[0].startswith(own)]
        return reply(plain.status, HTML, body, *kept, *self._policy)

    def _caching(self, *, is_public: bool) -> tuple[Header, ...]:
        # behind Google's proxy a page is for those whom it has let through
        is_open = is_public and self.desk.index.doors.iap is None
        return self.desk.caching_of_page(is_public=is_open)

    def _render(self, project: Project) -> bytes:
        releases = releases_of(project)
        described = latest(releases)
        core = None
        if described is not None:
            core = self.desk.core(project.name, described.speaker)
        return self.templates.project(
            pages.ProjectPage(project=project, releases=releases, described=described, core=core)
        )

    @property
    def _policy(self) -> tuple[Header, ...]:
        policy = (
            f"default-src 'none'; style-src '{self.templates.style_digest}'; "
            f"script-src '{self.templates.script_digest}'; connect-src 'self'; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'"
        )
        return (
            (b"content-security-policy", policy.encode()),
            (b"referrer-policy", b"no-referrer"),
        )
