"""Pages for programs: the Simple API, PyPI's JSON, and the search index."""

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from urllib.parse import parse_qs

from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.catalog.documents import Snapshot
from wheelyard.catalog.names import NameList
from wheelyard.errors import Invalid, NotFound
from wheelyard.http.desk import VARY, Desk, name_in
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
from wheelyard.rendering.releases import Release, latest, releases_of, search_json
from wheelyard.storage.base import ObjectVersion


def form_of(request: Request) -> Form | None:
    """Return the form that a request asks for, None where none suits."""
    if b"format=" in request.query:
        query = parse_qs(request.query.decode("latin-1"), keep_blank_values=True)
        if "format" in query:
            return form_by_name(query["format"][0])
    accept = request.headers.get(b"accept")
    return form_for(accept.decode("latin-1") if accept is not None else None)


async def project_list(request: Request, desk: Desk) -> Reply:
    """Answer `GET /simple/` with the projects that the caller may read."""
    form = form_of(request)
    if form is None:
        return not_acceptable()
    snapshot = await desk.names()
    subject = ("list", form.value.is_json, sight_of(request.caller))
    rendering = simple.list_json if form.value.is_json else simple.list_html
    page = await page_of(
        desk,
        subject,
        snapshot.version,
        lambda: rendering(visible(snapshot, request.caller)),
        (POLICY, *desk.caching_of_page(is_public=desk.is_public())),
    )
    return answer(request, page, form)


async def project_detail(request: Request, desk: Desk) -> Reply:
    """Answer `GET /simple/<name>/`; another spelling of the name is sent to the normalised one."""
    name = name_in(request.params["name"])
    desk.require_read(request.caller, name)
    prefix, root = desk.index.settings.server.path_prefix, request.segments[:-1]
    if prefix and not root:
        # the page's relative links would leave the prefix from here
        return redirect(301, path_of("..", ("simple", name), request.query))
    if name != request.params["name"]:
        return redirect(301, path_of(prefix, (*root, name), request.query))
    form = form_of(request)
    if form is None:
        return not_acceptable()
    subject = detail_subject(name, form)
    headers = (POLICY, *desk.caching_of_page(is_public=desk.is_public(name)))
    ready = dict[ObjectVersion, Page]()

    def make(found: Snapshot[Project]) -> None:
        if found.value is not None:
            render = partial(render_detail, found.value, form)
            ready[found.version] = desk.pages.made(subject, found.version, render, headers)

    project, version = await desk.listed(name, ahead=make)
    page = ready.get(version)
    if page is None:
        render = partial(render_detail, project, form)
        page = await page_of(desk, subject, version, render, headers)
    return answer(request, page, form)


def render_detail(project: Project, form: Form) -> bytes:
    """Return a project's page in a form."""
    return simple.detail_json(project) if form.value.is_json else simple.detail_html(project)


async def legacy_json(request: Request, desk: Desk) -> Reply:
    """Answer with a project, or with one of its releases; the name may have any spelling."""
    try:
        name = parse_name(request.params["name"])
        desk.require_read(request.caller, name)
        asked = request.params.get("version")
        version = None if asked is None else parse_version(asked)
    except Invalid as error:
        raise NotFound(error.message, short="No such project or version.") from error
    project, revision = await desk.listed(name)
    render = _renderer(project, version, desk)
    caching = desk.caching_of_page(is_public=desk.is_public(name))
    page = await page_of(desk, ("legacy", name, version), revision, render, (POLICY, *caching))
    return answer(request, page, Form.PLAIN_JSON)


def _renderer(project: Project, version: Version | None, desk: Desk) -> Callable[[], bytes]:
    def render() -> bytes:
        releases = releases_of(project)
        if version is None:
            page = _page(project.name, latest(releases), desk)
            return project_json(page, releases)
        chosen = next((each for each in releases if Version(each.version) == version), None)
        return release_json(_page(project.name, chosen, desk))

    return render


def _page(name: NormalizedName, release: Release | None, desk: Desk) -> LegacyPage:
    if release is None:
        raise NotFound(
            f"{name} has no such release. See /simple/{name}/ for those it has.",
            short="No such release.",
        )
    settings = desk.index.settings
    base = settings.server.public_url.rstrip("/") or settings.server.path_prefix
    core = desk.core(name, release.speaker)
    return LegacyPage(name, release, core, f"{base}/files")


async def answer_search(request: Request, desk: Desk) -> Reply:
    """
    Answer with a line about each project that the caller may read.

    Raises:
        Unavailable: Too many ask at once, or the store does not answer.
    """
    async with desk.long_reads.one(request.party):
        every = await desk.read(desk.index.search.everything)
    caller = request.caller
    seen = every
    if not caller.may_everywhere(Action.READ):
        seen = tuple(each for each in every if caller.may(Action.READ, each.name))
    body = search_json(seen)
    version = ObjectVersion(sha256(body).hexdigest())
    caching = desk.caching_of_page(is_public=desk.is_public())
    page = await page_of(desk, ("search", version), version, lambda: body, (POLICY, *caching))
    return answer(request, page, Form.PLAIN_JSON)


async def page_of(
    desk: Desk,
    subject: tuple[object, ...],
    version: ObjectVersion,
    render: Callable[[], bytes],
    headers: tuple[Header, ...],
) -> Page:
    """
    Return the page about `subject`, rendered in a thread if it is not at hand.

    Args:
        desk: Where pages are kept.
        subject: What the page is kept under.
        version: Of the document that it shows.
        render: Makes its bytes.
        headers: What a client is told with it: its policy, for whom it may be kept, how long.
    """
    page = desk.pages.get(subject, version)
    if page is None:
        about = ("page", subject, version)
        make = partial(desk.pages.made, subject, version, render, headers)
        page = await desk.shared(about, make)
    return page


def answer(request: Request, page: Page, form: Form) -> Reply:
    """Return `page` as the client can take it, or "not modified", or that it is not what it was."""
    accepted = request.headers.get(b"accept-encoding")
    encoding = encoding_for(accepted.decode("latin-1") if accepted is not None else None)
    found = page.reply(form, encoding, request.headers.get(b"if-none-match"))
    return unmet(request.headers, dict(found.headers)[b"etag"]) or found


def sight_of(caller: Caller) -> tuple[Scope, ...] | None:
    """Return what decides about the names that `caller` sees: None stands for all of them."""
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
