"""The pages for people: `/` and `/project/<name>/`, and refusals that a browser shows."""

from dataclasses import dataclass

from wheelyard.errors import IndexFault, NotFound
from wheelyard.http.desk import Desk, unreadable
from wheelyard.http.errors import TITLES, refusal
from wheelyard.http.exchange import Header, Reply, Request, redirect, reply
from wheelyard.http.negotiation import Form
from wheelyard.http.pagestore import make_page
from wheelyard.http.paths import path_of
from wheelyard.http.routes import ProjectPage
from wheelyard.http.simple import VARY, answer, readable
from wheelyard.model.access import Action
from wheelyard.model.distribution import parse_name
from wheelyard.model.metadata import parse_metadata
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
        return cls(desk, PageTemplates(desk.index.settings.index_url))

    async def home(self, request: Request) -> Reply:
        """Answer `GET /` with the projects that the caller may read."""
        caller = request.caller
        snapshot = await self.desk.names()
        sees_all = caller.may_everywhere(Action.READ)
        subject = ("home", None if sees_all else caller.scopes)
        page = self.desk.pages.get(subject, snapshot.version)
        if page is None:
            names = snapshot.value.names if snapshot.value else ()
            visible = names if sees_all else readable(names, caller)
            page = await self.desk.read(
                lambda: make_page(
                    snapshot.version, self.templates.project_list(visible), self._headers
                )
            )
            self.desk.pages.put(subject, page)
        return answer(request, page, Form.HTML)

    async def project(self, request: Request, route: ProjectPage) -> Reply:
        """Answer `GET /project/<name>/`."""
        try:
            name = parse_name(route.name)
        except IndexFault as error:
            raise NotFound(error.message, short="No such project.") from error
        self.desk.require_read(request.caller, name)
        if name != route.name:
            prefix = self.desk.index.settings.server.path_prefix
            return redirect(301, path_of(prefix, ("project", name), request.query))
        snapshot = await self.desk.project(name)
        project = snapshot.value
        if project is None:
            raise unreadable(name)
        page = self.desk.pages.get(("project", name), snapshot.version)
        if page is None:
            page = await self.desk.read(
                lambda: make_page(snapshot.version, self._render(project), self._headers)
            )
            self.desk.pages.put(("project", name), page)
        return answer(request, page, Form.HTML)

    def refusal(self, fault: IndexFault) -> Reply:
        """Return a refusal as a page."""
        plain = refusal(fault)
        body = self.templates.refusal(TITLES[plain.status], fault.message)
        kept = [header for header in plain.headers if not header[0].startswith(b"content-")]
        return reply(plain.status, HTML, body, *kept, *self._policy)

    def _render(self, project: Project) -> bytes:
        releases = releases_of(project)
        described = latest(releases)
        core = None
        if described is not None:
            core = parse_metadata(self.desk.core_metadata(project.name, described.speaker))
        return self.templates.project(
            pages.ProjectPage(project=project, releases=releases, described=described, core=core)
        )

    @property
    def _headers(self) -> tuple[Header, ...]:
        return (VARY, self.desk.cache_control, *self._policy)

    @property
    def _policy(self) -> tuple[Header, ...]:
        policy = (
            f"default-src 'none'; style-src '{self.templates.style_digest}'; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'"
        )
        return (
            (b"content-security-policy", policy.encode()),
            (b"referrer-policy", b"no-referrer"),
        )
