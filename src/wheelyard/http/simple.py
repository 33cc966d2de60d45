"""Pages for programs: the Simple API, PyPI's JSON, and the search index."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from hashlib import sha256
from urllib.parse import parse_qs

from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.catalog.documents import Snapshot
from wheelyard.catalog.projects import NameList
from wheelyard.errors import Invalid, NotFound
from wheelyard.http.audience import VARY, name_in
from wheelyard.http.desk import Desk
from wheelyard.http.errors import refuse
from wheelyard.http.exchange import POLICY, Header, Reply, Request, redirect
from wheelyard.http.negotiation import Form, encoding_for, form_by_name, form_for, unmet
from wheelyard.http.pagestore import Page, detail_subject
from wheelyard.http.routing import path_of
from wheelyard.model.access import Action, Caller, Scope
from wheelyard.model.distribution import parse_name, parse_version
from wheelyard.model.project import Project
from wheelyard.rendering import simple
from wheelyard.rendering.legacy import LegacyPage, project_json, release_json
from wheelyard.rendering.releases import latest, releases_of, search_json
from wheelyard.storage.base import ObjectVersion


def form_of(request: Request) -> Form | None:
    """Return the form that a request asks for, None where none suits."""
    if b"format=" in request.query:
        query = parse_qs(request.query.decode("latin-1"), keep_blank_values=True)
        if "format" in query:
            return form_by_name(query["format"][0])
    return form_for(request.headers.get(b"accept", b""))


async def project_list(request: Request, desk: Desk) -> Reply:
    """Answer `GET /simple/` with the projects that the caller may read."""
    form = form_of(request)
    if form is None:
        return not_acceptable()
    snapshot = await desk.reads.names()
    rendering = simple.list_json if form.value.is_json else simple.list_html

    def render() -> bytes:
        return rendering(visible(snapshot, request.caller))

    subject = ("list", form.value.is_json, sight_of(request.caller))
    page = await page_of(desk, subject, snapshot.version, render, headers_of(desk))
    return answer(request, page, form)


async def project_detail(request: Request, desk: Desk) -> Reply:
    """Answer `GET /simple/<name>/`; another spelling is redirected."""
    name = name_in(request.params["name"])
    desk.audience.require_read(request.caller, name)
    prefix, root = desk.index.settings.server.path_prefix, request.segments[:-1]
    if prefix and not root:
        # the page's relative links would leave the prefix from here
        return redirect(301, path_of("..", ("simple", name), request.query))
    if name != request.params["name"]:
        return redirect(301, path_of(prefix, (*root, name), request.query))
    form = form_of(request)
    if form is None:
        return not_acceptable()
    subject, headers = detail_subject(name, form), headers_of(desk, name)
    rendering = simple.detail_json if form.value.is_json else simple.detail_html

    ready = dict[ObjectVersion, Page]()

    def make(found: Snapshot[Project]) -> None:  # in the thread that has read the document
        # others wait for that document: a page that cannot be made is tried again below
        if found.value is not None:
            with suppress(Exception):
                render = partial(rendering, found.value)
                ready[found.version] = desk.pages.made(subject, found.version, render, headers)

    project, version = await desk.reads.listed(name, ahead=make)
    page = ready.get(version)
    if page is None:
        page = await page_of(desk, subject, version, partial(rendering, project), headers)
    return answer(request, page, form)


async def legacy_json(request: Request, desk: Desk) -> Reply:
    """Answer with a project or one of its releases, in any spelling."""
    try:
        name = parse_name(request.params["name"])
        desk.audience.require_read(request.caller, name)
        asked = request.params.get("version")
        version = None if asked is None else parse_version(asked)
    except Invalid as error:
        raise NotFound(error.message, short="No such project or version.") from error
    project, revision = await desk.reads.listed(name)
    render = partial(_legacy, project, version, desk)
    page = await page_of(desk, ("legacy", name, version), revision, render, headers_of(desk, name))
    return answer(request, page, Form.PLAIN_JSON)


def _legacy(project: Project, version: Version | None, desk: Desk) -> bytes:
    name, releases = project.name, releases_of(project)
    release = latest(releases)
    if version is not None:
        release = next((each for each in releases if Version(each.version) == version), None)
    if release is None:
        raise NotFound(
            f"{name} has no such release. See /simple/{name}/ for those it has.",
            short="No such release.",
        )
    server = desk.index.settings.server
    files_url = f"{server.public_url.rstrip('/') or server.path_prefix}/files"
    page = LegacyPage(name, release, desk.core_metadata.core(name, release.speaker), files_url)
    return project_json(page, releases) if version is None else release_json(page)


async def answer_search(request: Request, desk: Desk) -> Reply:
    """Answer with a line about each project that the caller may read."""
    async with desk.long_reads.one(request.party):
        seen = await desk.threads.read(desk.index.search.everything)
    caller = request.caller
    if not caller.may_everywhere(Action.READ):
        seen = tuple(each for each in seen if caller.may(Action.READ, each.name))
    body = search_json(seen)
    version = ObjectVersion(sha256(body).hexdigest())
    page = await page_of(desk, ("search", version), version, lambda: body, headers_of(desk))
    return answer(request, page, Form.PLAIN_JSON)


def headers_of(desk: Desk, name: NormalizedName | None = None) -> tuple[Header, ...]:
    """Return the headers of a page about a project, or about all of them."""
    audience = desk.audience
    return (POLICY, *audience.caching_of_page(is_public=audience.is_public(name)))


async def page_of(
    desk: Desk,
    subject: tuple[object, ...],
    version: ObjectVersion,
    render: Callable[[], bytes],
    headers: tuple[Header, ...],
) -> Page:
    """Return a page that is at hand, or rendered in a thread."""
    page = desk.pages.get(subject, version)
    if page is None:
        make = partial(desk.pages.made, subject, version, render, headers)
        page = await desk.reads.shared(("page", subject, version), make)
    return page


def answer(request: Request, page: Page, form: Form) -> Reply:
    """Return `page` in the client's encoding, or 304, or 412."""
    encoding = encoding_for(request.headers.get(b"accept-encoding", b""))
    found = page.reply(form, encoding, request.headers.get(b"if-none-match"))
    return unmet(request.headers, dict(found.headers)[b"etag"]) or found


def sight_of(caller: Caller) -> tuple[Scope, ...] | None:
    """Return what decides which names `caller` sees; None for all."""
    return None if caller.may_everywhere(Action.READ) else caller.scopes


def visible(names: Snapshot[NameList], caller: Caller) -> tuple[NormalizedName, ...]:
    """Return the names that `caller` may read."""
    every = names.value.names if names.value else ()
    if sight_of(caller) is None:
        return every
    return tuple(name for name in every if caller.may(Action.READ, name))


def not_acceptable() -> Reply:
    """Return the reply for a client that takes no form that we have."""
    return refuse(
        406,
        "not_acceptable",
        "This page comes as application/vnd.pypi.simple.v1+json, "
        "application/vnd.pypi.simple.v1+html or text/html. Ask for one of them.",
        "Not acceptable.",
        VARY,
    )
