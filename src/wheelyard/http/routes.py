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

from wheelyard.http.context import ServerContext
from wheelyard.http.handlers import projects_api, tokens_api
from wheelyard.http.handlers.file_downloads import file_by_key, file_by_name
from wheelyard.http.handlers.metrics import answer_metrics, is_allowed_without_login
from wheelyard.http.handlers.probes import cacheable_not_found, explain_upload_url, health, ready
from wheelyard.http.handlers.pypi_json_api import answer_pypi_json
from wheelyard.http.handlers.search import answer_search
from wheelyard.http.handlers.simple_api import project_detail, project_list
from wheelyard.http.handlers.trusted_publishing_api import TrustedPublishingApi
from wheelyard.http.handlers.web_ui import WebUi
from wheelyard.http.handlers.xml_rpc import answer_call, is_xml_rpc
from wheelyard.http.observability.instrumentation import DETAIL_ROUTE, Instrumentation
from wheelyard.http.page_responses import requested_media_type
from wheelyard.http.protocol.messages import Request, Response, redirect
from wheelyard.http.protocol.negotiation import MediaType
from wheelyard.http.protocol.router import (
    DELETE,
    POST,
    READ_METHODS,
    Route,
    Router,
    always,
    build_path,
    never,
)
from wheelyard.http.security.read_policy import parse_project_name
from wheelyard.http.uploads.handler import UploadHandler

UPLOAD_ROUTE: Final = "upload"
PROJECT_PAGE_ROUTE: Final = "project_page"
IAP_ASSERTION_HEADER: Final = b"x-goog-iap-jwt-assertion"
"""The header in which a proxy vouches for a person."""


def build_router(
    context: ServerContext, uploads: UploadHandler, web_ui: WebUi, observer: Instrumentation
) -> Router:
    """Return the table."""

    def takes_uploads(raw_path: bytes) -> bool:
        return routes.match(routes.parse_path(raw_path), "POST")[0].name == UPLOAD_ROUTE

    fixed = (*_open(context, observer), *_publishing(TrustedPublishingApi(context, takes_uploads)))
    others = (_files(context), _api(context), _index(context, web_ui), _uploads(context, uploads))
    routes = Router(context.index.settings.server.path_prefix, fixed, chain(*others))
    return routes


def _open(context: ServerContext, observer: Instrumentation) -> Iterator[Route]:
    settings = context.index.settings
    yield Route("health", "/health", health, is_unauthenticated=always, ignores_prefix=True)
    yield Route(
        "ready",
        "/ready",
        partial(ready, context=context),
        is_unauthenticated=always,
        ignores_prefix=True,
    )
    for path in ("/favicon.ico", "/robots.txt"):
        yield Route("absent", path, cacheable_not_found, is_unauthenticated=always)
    figures = partial(answer_metrics, context=context, observer=observer)
    is_unauthenticated = partial(is_allowed_without_login, settings=settings)
    yield Route(
        "metrics", "/metrics", figures, is_unauthenticated=is_unauthenticated, ignores_prefix=True
    )
    found = partial(answer_search, context=context)
    yield Route("search", "/search.json", found, accepts_iap=_is_vouched_for)


def _publishing(exchanges: TrustedPublishingApi) -> Iterator[Route]:
    mint, burn = partial(exchanges.handle, step="mint"), partial(exchanges.handle, step="burn")
    for path, answer, methods in (
        ("/.well-known/pytp", exchanges.discovery, READ_METHODS),
        ("/_/oidc/audience", exchanges.audience, READ_METHODS),
        ("/_/oidc/mint-token", mint, POST),
        ("/_/oidc/github/mint-token", mint, POST),
        ("/_/oidc/burn-token", burn, POST),
    ):  # a statement of a job is in the body, so a browser adds nothing
        name = "trusted_publishing"
        yield Route(name, path, answer, methods, is_unauthenticated=always, ignores_prefix=True)


def _files(context: ServerContext) -> Iterator[Route]:
    by_key, by_name = partial(file_by_key, context=context), partial(file_by_name, context=context)
    for root in ("", "/{root}", "/pypi/simple"):
        yield Route("file", f"{root}/files/{{project}}/{{sha256}}/{{filename}}", by_key)
    yield Route("file", "/files/{project}/{filename}", by_name)
    for root in ("packages", "raw"):
        yield Route("file", f"/{root}/{{*}}/{{filename}}", by_name)


def _index(context: ServerContext, web_ui: WebUi) -> Iterator[Route]:
    # `/pypi/simple/` comes before `/pypi/<name>/`

    async def home(request: Request) -> Response:
        if wants_html(request):
            return await web_ui.home(request)
        return await project_list(request, context)

    yield Route("upload-url", "/legacy/?", explain_upload_url, is_unauthenticated=always)
    described = partial(answer_pypi_json, context=context)
    every, one = partial(project_list, context=context), partial(project_detail, context=context)
    slash = partial(redirect_to_slash, context=context)
    roots = (f"/{root}" for root in context.index.settings.server.roots)
    for root in ("/pypi/simple", "/{root}/+simple", "/simple", "/pypi", "/+simple", *roots, ""):
        if root == "/pypi":
            yield Route("legacy_json", "/pypi/{name}/json/?", described)
            yield Route("legacy_json", "/pypi/{name}/{version}/json/?", described)
        listed = Route("project_list", f"{root}/", every)
        yield listed if root else replace(listed, handler=home, accepts_iap=wants_html)
        yield Route("redirect", root, slash)
        yield Route(DETAIL_ROUTE, f"{root}/{{name}}/", one)
        yield Route("redirect", f"{root}/{{name}}", slash)
    yield Route(
        PROJECT_PAGE_ROUTE, "/project/{name}/", web_ui.project, accepts_iap=always, is_web_page=True
    )
    yield Route("redirect", "/project/{name}", slash)


def _uploads(context: ServerContext, uploads: UploadHandler) -> Iterator[Route]:
    called = partial(answer_call, prefix=context.index.settings.server.path_prefix)

    async def upload(request: Request) -> Response:
        if is_xml_rpc(request):
            return await called(request)
        return await uploads.handle(request)

    def is_upload(request: Request) -> bool:
        return not is_xml_rpc(request)

    yield Route("xml-rpc", "/RPC2/?", called, POST, is_unauthenticated=always, modifies_store=never)
    for place in ("/?", "/{root}/?"):
        yield Route(
            UPLOAD_ROUTE, place, upload, POST, requires_any_read=False, modifies_store=is_upload
        )


def _api(context: ServerContext) -> Iterator[Route]:
    projects = "/api/v1/projects"
    yield Route("api", f"{projects}/?", partial(projects_api.list_projects, context=context))
    yield Route("api", f"{projects}/{{name}}/?", partial(projects_api.get_project, context=context))
    yield Route(
        "api", f"{projects}/{{name}}/journal/?", partial(projects_api.get_journal, context=context)
    )
    for verb, change in projects_api.CHANGES.items():
        changed = partial(projects_api.change_project, change=change, context=context)
        yield Route("api", f"{projects}/{{name}}/{verb}/?", changed, POST)
    yield Route("api", "/api/v1/whoami/?", tokens_api.whoami, accepts_iap=_is_vouched_for)
    for pattern, answer, methods in (
        ("tokens", tokens_api.list_tokens, READ_METHODS),
        ("tokens", tokens_api.create_token, POST),
        ("tokens/{id}", tokens_api.revoke_token, DELETE),
        ("tokens/self/revoke", tokens_api.revoke_sent_token, POST),
    ):
        own = partial(answer, context=context)
        yield Route("api", f"/api/v1/{pattern}/?", own, methods, accepts_iap=_is_vouched_for)


async def redirect_to_slash(request: Request, context: ServerContext) -> Response:
    """Redirect a page's path without its slash, if the caller may read it."""
    if "name" in request.params:
        context.read_policy.require_project_read(
            request.caller, parse_project_name(request.params["name"])
        )
    prefix = context.index.settings.server.path_prefix
    return redirect(301, build_path(prefix, request.segments, request.query))


def wants_html(request: Request) -> bool:
    """Return whether `/` is asked for by a person."""
    return requested_media_type(request) in (None, MediaType.HTML)


def _is_vouched_for(request: Request) -> bool:
    return IAP_ASSERTION_HEADER in request.headers and b"authorization" not in request.headers
