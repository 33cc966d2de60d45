"""
The table of routes: what each path leads to, which methods it takes, and what a request needs.

The index answers under `/simple/`, `/pypi/simple/`, `/pypi/`, `/` and the configured roots; Hatch
adds `+simple/` to whatever upload URL it has. A file is at its object's key, which a page links to
relatively, so every root also has its own `files/`. `/<name>/` is the root alias where nothing
fixed stands; only `simple`, `pypi` and `legacy` cannot be projects.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Final

from wheelyard.http import api, token_api
from wheelyard.http.desk import Desk, name_in
from wheelyard.http.exchange import Reply, Request, redirect
from wheelyard.http.files import file_by_key, file_by_name
from wheelyard.http.fixed import absent, health, ready, upload_url
from wheelyard.http.legacy import legacy_json
from wheelyard.http.metrics import answer_metrics, is_open_to
from wheelyard.http.negotiation import Form
from wheelyard.http.observing import DETAIL, Observer
from wheelyard.http.oidc import Exchanges
from wheelyard.http.paths import path_of
from wheelyard.http.routing import DELETE, POST, READ, Route, Routes, always, never
from wheelyard.http.search import answer_search
from wheelyard.http.simple import form_of, project_detail, project_list
from wheelyard.http.upload import Uploader
from wheelyard.http.xml_rpc import answer_call, is_xml_rpc

if TYPE_CHECKING:
    from wheelyard.http.pages import People

UPLOAD: Final = "upload"
PAGE: Final = "project_page"
ASSERTION: Final = b"x-goog-iap-jwt-assertion"
"""The header in which a proxy vouches for a person."""


def routes_of(
    desk: Desk,
    uploads: Uploader,
    publishing: Exchanges,
    observer: Observer,
    people: "Callable[[], People]",
) -> Routes:
    """
    Return the table.

    Args:
        desk: What handlers share.
        uploads: Takes uploads.
        publishing: Answers the steps of trusted publishing.
        observer: Has the figures.
        people: Returns the pages for people; their templates are read when they are wanted.
    """
    others = (_files(desk), _api(desk), _index(desk, people), _uploads(desk, uploads))
    return Routes((*_open(desk, observer), *_publishing(publishing)), chain(*others))


def _open(desk: Desk, observer: Observer) -> Iterator[Route]:
    """Yield small routes with a path of their own, most of them open to everybody."""
    settings = desk.index.settings
    yield Route("health", "/health", health, is_open=always)
    yield Route("ready", "/ready", partial(ready, desk=desk), is_open=always)
    for path in ("/favicon.ico", "/robots.txt"):
        yield Route("absent", path, absent, is_open=always)
    figures = partial(answer_metrics, desk=desk, observer=observer)
    yield Route("metrics", "/metrics", figures, is_open=partial(is_open_to, settings=settings))
    found = partial(answer_search, desk=desk)
    yield Route("search", "/search.json", found, by_proxy=_is_vouched_for)


def _publishing(exchanges: Exchanges) -> Iterator[Route]:
    name = "trusted_publishing"  # a statement of a job is in the body, so a browser adds nothing
    mint, burn = partial(exchanges.answer, step="mint"), partial(exchanges.answer, step="burn")
    yield Route(name, "/_/oidc/audience", exchanges.audience, is_open=always)
    yield Route(name, "/.well-known/pytp", exchanges.discovery, is_open=always)
    for path in ("/_/oidc/mint-token", "/_/oidc/github/mint-token"):
        yield Route(name, path, mint, POST, is_open=always)
    yield Route(name, "/_/oidc/burn-token", burn, POST, is_open=always)


def _files(desk: Desk) -> Iterator[Route]:
    by_key, by_name = partial(file_by_key, desk=desk), partial(file_by_name, desk=desk)
    for root in ("", "/{root}", "/pypi/simple"):
        yield Route("file", f"{root}/files/{{project}}/{{sha256}}/{{filename}}", by_key)
    yield Route("file", "/files/{project}/{filename}", by_name)
    for root in ("packages", "raw"):
        yield Route("file", f"/{root}/{{*}}/{{filename}}", by_name)


def _index(desk: Desk, people: "Callable[[], People]") -> Iterator[Route]:
    """Yield the pages; those of `/pypi/simple/` come before what `/pypi/<name>/` has."""

    async def home(request: Request) -> Reply:
        if wants_page(request):
            return await people().home(request)
        return await project_list(request, desk)

    async def page(request: Request) -> Reply:
        return await people().project(request)

    yield Route("upload-url", "/legacy/?", upload_url, is_open=always)
    described = partial(legacy_json, desk=desk)
    every, one = partial(project_list, desk=desk), partial(project_detail, desk=desk)
    slash = partial(add_slash, desk=desk)
    roots = (f"/{root}" for root in desk.index.settings.server.roots)
    for root in ("/pypi/simple", "/{root}/+simple", "/simple", "/pypi", "/+simple", *roots, ""):
        if root == "/pypi":
            yield Route("legacy_json", "/pypi/{name}/json/?", described)
            yield Route("legacy_json", "/pypi/{name}/{version}/json/?", described)
        listed = Route("project_list", f"{root}/", every)
        yield listed if root else replace(listed, handler=home, by_proxy=wants_page)
        yield Route("redirect", root, slash)
        yield Route(DETAIL, f"{root}/{{name}}/", one)
        yield Route("redirect", f"{root}/{{name}}", slash)
    yield Route(PAGE, "/project/{name}/", page, by_proxy=always, is_page=True)
    yield Route("redirect", "/project/{name}", slash)


def _uploads(desk: Desk, uploads: Uploader) -> Iterator[Route]:
    """Yield where uploads go: besides the fixed places, any single segment takes them."""

    async def upload(request: Request) -> Reply:
        if is_xml_rpc(request):
            return await answer_call(request, desk)
        return await uploads.answer(request)

    def is_upload(request: Request) -> bool:
        return not is_xml_rpc(request)

    called = partial(answer_call, desk=desk)
    yield Route("xml-rpc", "/RPC2/?", called, POST, is_open=always, changes=never)
    for place in ("/?", "/{root}/?"):
        yield Route(UPLOAD, place, upload, POST, needs_reader=False, changes=is_upload)


def _api(desk: Desk) -> Iterator[Route]:
    """Yield the documented API; what is about a project comes before what is about the caller."""
    projects = "/api/v1/projects"
    yield Route("api", f"{projects}/?", partial(api.projects, desk=desk))
    yield Route("api", f"{projects}/{{name}}/?", partial(api.project, desk=desk))
    yield Route("api", f"{projects}/{{name}}/journal/?", partial(api.journal, desk=desk))
    for verb, change in api.CHANGES.items():
        changed = partial(api.change_project, change=change, desk=desk)
        yield Route("api", f"{projects}/{{name}}/{verb}/?", changed, POST)
    for pattern, answer, methods in (
        ("whoami", token_api.whoami, READ),
        ("tokens", token_api.list_tokens, READ),
        ("tokens", token_api.make_token, POST),
        ("tokens/{id}", token_api.revoke_token, DELETE),
        ("tokens/self/revoke", token_api.revoke_itself, POST),
    ):
        own = partial(answer, desk=desk)
        yield Route("api", f"/api/v1/{pattern}/?", own, methods, by_proxy=_is_vouched_for)


async def add_slash(request: Request, desk: Desk) -> Reply:
    """Send a page's path without its slash to the page, if the caller may read that project."""
    if "name" in request.params:
        desk.require_read(request.caller, name_in(request.params["name"]))
    prefix = desk.index.settings.server.path_prefix
    return redirect(301, path_of(prefix, request.segments, request.query))


def wants_page(request: Request) -> bool:
    """Return whether whoever asks for `/` gets the page for people: all but programs do."""
    return form_of(request) in (None, Form.HTML)


def _is_vouched_for(request: Request) -> bool:
    """Return whether a proxy says who asks, and the request has no credential of its own."""
    return ASSERTION in request.headers and b"authorization" not in request.headers
