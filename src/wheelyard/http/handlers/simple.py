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
from wheelyard.http.caching.page_cache import CachedPage, detail_subject
from wheelyard.http.context import ServerContext
from wheelyard.http.error_responses import refusal_response
from wheelyard.http.protocol.messages import POLICY, Header, Request, Response, redirect
from wheelyard.http.protocol.negotiation import (
    MediaType,
    best_media_type,
    encoding_for,
    media_type_by_format,
    unmet,
)
from wheelyard.http.protocol.router import path_of
from wheelyard.http.security.read_policy import VARY, name_in
from wheelyard.model.access import Action, Caller, Scope
from wheelyard.model.distribution import parse_name, parse_version
from wheelyard.model.project import Project
from wheelyard.rendering import simple
from wheelyard.rendering.pypi_json import PypiJsonPage, project_json, release_json
from wheelyard.rendering.releases import latest, releases_of, search_json
from wheelyard.storage.base import ObjectVersion


def form_of(request: Request) -> MediaType | None:
    """Return the form that a request asks for, None where none suits."""
    if b"format=" in request.query:
        query = parse_qs(request.query.decode("latin-1"), keep_blank_values=True)
        if "format" in query:
            return media_type_by_format(query["format"][0])
    return best_media_type(request.headers.get(b"accept", b""))


async def project_list(request: Request, context: ServerContext) -> Response:
    """Answer `GET /simple/` with the projects that the caller may read."""
    form = form_of(request)
    if form is None:
        return not_acceptable()
    snapshot = await context.reads.names()
    rendering = simple.list_json if form.value.is_json else simple.list_html

    def render() -> bytes:
        return rendering(visible(snapshot, request.caller))

    subject = ("list", form.value.is_json, sight_of(request.caller))
    page = await page_of(context, subject, snapshot.version, render, headers_of(context))
    return answer(request, page, form)


async def project_detail(request: Request, context: ServerContext) -> Response:
    """Answer `GET /simple/<name>/`; another spelling is redirected."""
    name = name_in(request.params["name"])
    context.audience.require_read(request.caller, name)
    prefix, root = context.index.settings.server.path_prefix, request.segments[:-1]
    if prefix and not root:
        # the page's relative links would leave the prefix from here
        return redirect(301, path_of("..", ("simple", name), request.query))
    if name != request.params["name"]:
        return redirect(301, path_of(prefix, (*root, name), request.query))
    form = form_of(request)
    if form is None:
        return not_acceptable()
    subject, headers = detail_subject(name, form), headers_of(context, name)
    rendering = simple.detail_json if form.value.is_json else simple.detail_html

    ready = dict[ObjectVersion, CachedPage]()

    def make(found: Snapshot[Project]) -> None:  # in the thread that has read the document
        # others wait for that document: a page that cannot be made is tried again below
        if found.value is not None:
            with suppress(Exception):
                render = partial(rendering, found.value)
                ready[found.version] = context.pages.made(subject, found.version, render, headers)

    project, version = await context.reads.listed(name, ahead=make)
    page = ready.get(version)
    if page is None:
        page = await page_of(context, subject, version, partial(rendering, project), headers)
    return answer(request, page, form)


async def legacy_json(request: Request, context: ServerContext) -> Response:
    """Answer with a project or one of its releases, in any spelling."""
    try:
        name = parse_name(request.params["name"])
        context.audience.require_read(request.caller, name)
        asked = request.params.get("version")
        version = None if asked is None else parse_version(asked)
    except Invalid as error:
        raise NotFound(error.message, short="No such project or version.") from error
    project, revision = await context.reads.listed(name)
    render = partial(_legacy, project, version, context)
    page = await page_of(
        context, ("legacy", name, version), revision, render, headers_of(context, name)
    )
    return answer(request, page, MediaType.PLAIN_JSON)


def _legacy(project: Project, version: Version | None, context: ServerContext) -> bytes:
    name, releases = project.name, releases_of(project)
    release = latest(releases)
    if version is not None:
        release = next((each for each in releases if Version(each.version) == version), None)
    if release is None:
        raise NotFound(
            f"{name} has no such release. See /simple/{name}/ for those it has.",
            short="No such release.",
        )
    server = context.index.settings.server
    files_url = f"{server.public_url.rstrip('/') or server.path_prefix}/files"
    page = PypiJsonPage(name, release, context.core_metadata.core(name, release.speaker), files_url)
    return project_json(page, releases) if version is None else release_json(page)


async def answer_search(request: Request, context: ServerContext) -> Response:
    """Answer with a line about each project that the caller may read."""
    async with context.long_reads.one(request.party):
        seen = await context.threads.read(context.index.search.everything)
    caller = request.caller
    if not caller.may_everywhere(Action.READ):
        seen = tuple(each for each in seen if caller.may(Action.READ, each.name))
    body = search_json(seen)
    version = ObjectVersion(sha256(body).hexdigest())
    page = await page_of(context, ("search", version), version, lambda: body, headers_of(context))
    return answer(request, page, MediaType.PLAIN_JSON)


def headers_of(context: ServerContext, name: NormalizedName | None = None) -> tuple[Header, ...]:
    """Return the headers of a page about a project, or about all of them."""
    audience = context.audience
    return (POLICY, *audience.caching_of_page(is_public=audience.is_public(name)))


async def page_of(
    context: ServerContext,
    subject: tuple[object, ...],
    version: ObjectVersion,
    render: Callable[[], bytes],
    headers: tuple[Header, ...],
) -> CachedPage:
    """Return a page that is at hand, or rendered in a thread."""
    page = context.pages.get(subject, version)
    if page is None:
        make = partial(context.pages.made, subject, version, render, headers)
        page = await context.reads.shared(("page", subject, version), make)
    return page


def answer(request: Request, page: CachedPage, form: MediaType) -> Response:
    """Return `page` in the client's encoding, or 304, or 412."""
    encoding = encoding_for(request.headers.get(b"accept-encoding", b""))
    found = page.response(form, encoding, request.headers.get(b"if-none-match"))
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


def not_acceptable() -> Response:
    """Return the reply for a client that takes no form that we have."""
    return refusal_response(
        406,
        "not_acceptable",
        "This page comes as application/vnd.pypi.simple.v1+json, "
        "application/vnd.pypi.simple.v1+html or text/html. Ask for one of them.",
        "Not acceptable.",
        VARY,
    )
