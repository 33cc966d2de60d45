"""
The table of routes.

Hatch adds `+simple/` to its upload URL. A page links to files relatively, so every root has its own
`files/`. `/<name>/` is a project unless it is `simple`, `pypi`, `legacy` or fixed.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Final

from wheelyard.http import api, token_api
from wheelyard.http.audience import name_in
from wheelyard.http.desk import Desk
from wheelyard.http.exchange import Reply, Request, redirect
from wheelyard.http.files import file_by_key, file_by_name
from wheelyard.http.fixed import absent, answer_call, health, is_xml_rpc, ready, upload_url
from wheelyard.http.metrics import answer_metrics, is_open_to
from wheelyard.http.negotiation import Form
from wheelyard.http.observing import DETAIL, Observer
from wheelyard.http.oidc import Exchanges
from wheelyard.http.pages import People
from wheelyard.http.routing import DELETE, POST, READ, Route, Routes, always, never, path_of
from wheelyard.http.simple import answer_search, form_of, legacy_json, project_detail, project_list
from wheelyard.http.upload import Uploader

UPLOAD: Final = "upload"
PAGE: Final = "project_page"
ASSERTION: Final = b"x-goog-iap-jwt-assertion"
"""The header in which a proxy vouches for a person."""


def routes_of(desk: Desk, uploads: Uploader, people: People, observer: Observer) -> Routes:
    """Return the table."""

    def takes_uploads(raw_path: bytes) -> bool:
        return routes.find(routes.path(raw_path), "POST")[0].name == UPLOAD

    fixed = (*_open(desk, observer), *_publishing(Exchanges(desk, takes_uploads)))
    others = (_files(desk), _api(desk), _index(desk, people), _uploads(desk, uploads))
    routes = Routes(desk.index.settings.server.path_prefix, fixed, chain(*others))
    return routes


def _open(desk: Desk, observer: Observer) -> Iterator[Route]:
    settings = desk.index.settings
    yield Route("health", "/health", health, is_open=always, at_root=True)
    yield Route("ready", "/ready", partial(ready, desk=desk), is_open=always, at_root=True)
    for path in ("/favicon.ico", "/robots.txt"):
        yield Route("absent", path, absent, is_open=always)
    figures = partial(answer_metrics, desk=desk, observer=observer)
    is_open = partial(is_open_to, settings=settings)
    yield Route("metrics", "/metrics", figures, is_open=is_open, at_root=True)
    found = partial(answer_search, desk=desk)
    yield Route("search", "/search.json", found, by_proxy=_is_vouched_for)


def _publishing(exchanges: Exchanges) -> Iterator[Route]:
    mint, burn = partial(exchanges.answer, step="mint"), partial(exchanges.answer, step="burn")
    for path, answer, methods in (
        ("/.well-known/pytp", exchanges.discovery, READ),
        ("/_/oidc/audience", exchanges.audience, READ),
        ("/_/oidc/mint-token", mint, POST),
        ("/_/oidc/github/mint-token", mint, POST),
        ("/_/oidc/burn-token", burn, POST),
    ):  # a statement of a job is in the body, so a browser adds nothing
        name = "trusted_publishing"
        yield Route(name, path, answer, methods, is_open=always, at_root=True)


def _files(desk: Desk) -> Iterator[Route]:
    by_key, by_name = partial(file_by_key, desk=desk), partial(file_by_name, desk=desk)
    for root in ("", "/{root}", "/pypi/simple"):
        yield Route("file", f"{root}/files/{{project}}/{{sha256}}/{{filename}}", by_key)
    yield Route("file", "/files/{project}/{filename}", by_name)
    for root in ("packages", "raw"):
        yield Route("file", f"/{root}/{{*}}/{{filename}}", by_name)


def _index(desk: Desk, people: People) -> Iterator[Route]:
    # `/pypi/simple/` comes before `/pypi/<name>/`

    async def home(request: Request) -> Reply:
        if wants_page(request):
            return await people.home(request)
        return await project_list(request, desk)

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
    yield Route(PAGE, "/project/{name}/", people.project, by_proxy=always, is_page=True)
    yield Route("redirect", "/project/{name}", slash)


def _uploads(desk: Desk, uploads: Uploader) -> Iterator[Route]:
    called = partial(answer_call, prefix=desk.index.settings.server.path_prefix)

    async def upload(request: Request) -> Reply:
        if is_xml_rpc(request):
            return await called(request)
        return await uploads.answer(request)

    def is_upload(request: Request) -> bool:
        return not is_xml_rpc(request)

    yield Route("xml-rpc", "/RPC2/?", called, POST, is_open=always, changes=never)
    for place in ("/?", "/{root}/?"):
        yield Route(UPLOAD, place, upload, POST, needs_reader=False, changes=is_upload)


def _api(desk: Desk) -> Iterator[Route]:
    projects = "/api/v1/projects"
    yield Route("api", f"{projects}/?", partial(api.projects, desk=desk))
    yield Route("api", f"{projects}/{{name}}/?", partial(api.project, desk=desk))
    yield Route("api", f"{projects}/{{name}}/journal/?", partial(api.journal, desk=desk))
    for verb, change in api.CHANGES.items():
        changed = partial(api.change_project, change=change, desk=desk)
        yield Route("api", f"{projects}/{{name}}/{verb}/?", changed, POST)
    yield Route("api", "/api/v1/whoami/?", token_api.whoami, by_proxy=_is_vouched_for)
    for pattern, answer, methods in (
        ("tokens", token_api.list_tokens, READ),
        ("tokens", token_api.make_token, POST),
        ("tokens/{id}", token_api.revoke_token, DELETE),
        ("tokens/self/revoke", token_api.revoke_itself, POST),
    ):
        own = partial(answer, desk=desk)
        yield Route("api", f"/api/v1/{pattern}/?", own, methods, by_proxy=_is_vouched_for)


async def add_slash(request: Request, desk: Desk) -> Reply:
    """Redirect a page's path without its slash, if the caller may read it."""
    if "name" in request.params:
        desk.audience.require_read(request.caller, name_in(request.params["name"]))
    prefix = desk.index.settings.server.path_prefix
    return redirect(301, path_of(prefix, request.segments, request.query))


def wants_page(request: Request) -> bool:
    """Return whether `/` is asked for by a person."""
    return form_of(request) in (None, Form.HTML)


def _is_vouched_for(request: Request) -> bool:
    return ASSERTION in request.headers and b"authorization" not in request.headers
