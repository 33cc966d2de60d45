"""
The routing table: every URL path with its handler.

`+simple/` is for Hatch, which adds it to its upload URL. Pages have relative links to files, so
each root path has its own `files/`. `/<name>/` is a project unless another route has that path.
"""

from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Final

from msgspec.structs import replace

from wheelyard.api.table import OPERATIONS
from wheelyard.http.context import ServerContext
from wheelyard.http.handlers import api
from wheelyard.http.handlers.file_downloads import file_by_key, file_by_name
from wheelyard.http.handlers.metrics import answer_metrics, is_allowed_without_login
from wheelyard.http.handlers.probes import (
    explain_upload_url,
    health,
    ready,
    redirect_to_slash,
    robots,
)
from wheelyard.http.handlers.pypi_json_api import answer_pypi_json
from wheelyard.http.handlers.search import answer_search
from wheelyard.http.handlers.simple_api import project_detail, project_list
from wheelyard.http.handlers.trusted_publishing_api import TrustedPublishingApi
from wheelyard.http.observability.instrumentation import Instrumentation
from wheelyard.http.page_loader import PageLoader
from wheelyard.http.page_responses import wants_html
from wheelyard.http.protocol.messages import Request, Response
from wheelyard.http.protocol.router import (
    GET,
    POST,
    Route,
    Router,
    always,
    never,
)
from wheelyard.http.security.request_authentication import IAP_ASSERTION_HEADER
from wheelyard.http.uploads.handler import UploadHandler

UPLOAD_ROUTE: Final = "upload"


def build_router(
    context: ServerContext, uploads: UploadHandler, pages: PageLoader, metrics: Instrumentation
) -> Router:
    """Return the router with every route of the server."""

    def takes_uploads(raw_path: bytes) -> bool:
        return router.match(router.parse_path(raw_path), "POST")[0].name == UPLOAD_ROUTE

    publishing = _trusted_publishing(TrustedPublishingApi(context, takes_uploads))
    fixed = (*_operations(context, pages, metrics), *publishing)
    others = (
        _files(context),
        _api(context),
        _pages(pages, uploads),
        _index(context, pages),
        _uploads(uploads),
    )
    router = Router(context.index.settings.server.path_prefix, fixed, chain(*others))
    return router


def _operations(
    context: ServerContext, pages: PageLoader, instrumentation: Instrumentation
) -> Iterator[Route]:
    is_ready = partial(ready, context=context)
    metrics = partial(answer_metrics, context=context, observer=instrumentation)
    is_allowed = partial(is_allowed_without_login, settings=context.index.settings)
    yield Route("health", "/health", health, is_public=always, at_root=True)
    yield Route("ready", "/ready", is_ready, is_public=always, at_root=True)
    yield Route("metrics", "/metrics", metrics, is_public=is_allowed, at_root=True)
    yield Route("robots", "/robots.txt", robots, is_public=always, at_root=True)
    favicon = pages.handler("assets", "answer_favicon")
    yield Route("asset", "/favicon.ico", favicon, is_public=always, at_root=True)
    search = partial(answer_search, context=context)
    yield Route("search", "/search.json", search, accepts_iap=_has_iap_assertion)


def _trusted_publishing(api: TrustedPublishingApi) -> Iterator[Route]:
    mint, burn = partial(api.handle, step="mint"), partial(api.handle, step="burn")
    for path, handler, methods in (
        ("/.well-known/pytp", api.discovery, GET),
        ("/_/oidc/audience", api.audience, GET),
        ("/_/oidc/mint-token", mint, POST),
        ("/_/oidc/github/mint-token", mint, POST),
        ("/_/oidc/burn-token", burn, POST),
    ):  # no CSRF check: the credential is in the body, where a browser does not add one
        name = "trusted_publishing"
        yield Route(name, path, handler, methods, is_public=always, at_root=True)


def _files(context: ServerContext) -> Iterator[Route]:
    by_key, by_name = partial(file_by_key, context=context), partial(file_by_name, context=context)
    for root in ("", "/{root}", "/pypi/simple"):
        path = f"{root}/files/{{project}}/{{sha256}}/{{filename}}"
        yield Route("file", path, by_key, project="project")
    yield Route("file", "/files/{project}/{filename}", by_name, project="project")
    for root in ("packages", "raw"):
        yield Route("file", f"/{root}/{{*}}/{{filename}}", by_name)


def _pages(pages: PageLoader, uploads: UploadHandler) -> Iterator[Route]:
    def page(pattern: str, module: str, function: str) -> Route:
        handler = pages.handler(module, function)
        return Route("page", pattern, handler, accepts_iap=always)

    def form(pattern: str, module: str, function: str, *more: object) -> Route:
        handler = pages.handler(module, function, *more)
        return Route("form", pattern, handler, POST, accepts_iap=always, takes_form=True)

    asset = pages.handler("assets", "answer_asset")
    yield Route("asset", "/-/assets/{asset}", asset, is_public=always)
    yield page("/-/projects/{number}/", "home", "answer_list")
    for signing in (
        page("/-/sign-in/", "sign_in", "show_sign_in"),
        form("/-/sign-in/", "sign_in", "sign_in"),
        form("/-/sign-out/", "sign_in", "sign_out"),
    ):
        yield replace(signing, needs_read=False)
    project = page("/project/{name}/", "project_pages", "answer_project")
    yield replace(project, name="project_page")
    for pattern in ("/project/{name}/history/", "/project/{name}/history/{number}/"):
        yield page(pattern, "history", "answer_history")
    yield page("/project/{name}/manage/", "manage", "answer_manage")
    yield form("/project/{name}/manage/", "manage", "answer_change")
    yield page("/project/{name}/access/", "manage", "answer_access")
    yield page("/-/account/", "account", "answer_account")
    for pattern in ("/-/account/tokens/", "/-/tokens/"):
        yield page(pattern, "account", "answer_tokens")
        yield form(pattern, "account", "answer_tokens_form")
    yield page("/-/upload/", "browser_upload", "answer_upload_page")
    yield form("/-/upload/", "browser_upload", "answer_upload_form", uploads)
    for pattern, function in (
        ("/feed.xml", "answer_feed"),
        ("/project/{name}/feed.xml", "answer_project_feed"),
    ):
        feed = pages.handler("feeds", function)
        yield Route("feed", pattern, feed, accepts_iap=_has_iap_assertion)
    # after the paths above, of which none is a version
    release = "/project/{name}/{version}/"
    yield page(release, "project_pages", "answer_release")
    for files in ("", "{facet}/", "{facet}/{number}/"):
        yield page(f"{release}files/{files}", "project_pages", "answer_files")


def _index(context: ServerContext, pages: PageLoader) -> Iterator[Route]:
    answer_home = pages.handler("home", "answer_home")
    answer_setup = pages.handler("home", "answer_setup")

    async def home(request: Request) -> Response:
        if wants_html(request):
            return await answer_home(request)
        return await project_list(request, context)

    async def setup(request: Request) -> Response:
        if wants_html(request):
            return await answer_setup(request)
        return await detail_page(replace(request, params={"name": "setup"}))

    yield Route("upload-url", "/legacy/?", explain_upload_url, is_public=always)
    pypi_json = partial(answer_pypi_json, context=context)
    list_page = partial(project_list, context=context)
    detail_page = partial(project_detail, context=context)
    add_slash = partial(redirect_to_slash, context=context)
    yield Route("setup", "/setup/", setup, accepts_iap=wants_html)
    yield Route("redirect", "/setup", add_slash)
    yield Route("redirect", "/-/{page}", add_slash, is_public=always)
    yield Route("redirect", "/project/{name}/{version}", add_slash)
    roots = (f"/{root}" for root in context.index.settings.server.roots)
    # `/pypi/simple/` comes before `/pypi/<name>/`
    for root in ("/pypi/simple", "/{root}/+simple", "/simple", "/pypi", "/+simple", *roots, ""):
        if root == "/pypi":
            yield Route("legacy_json", "/pypi/{name}/json/?", pypi_json)
            yield Route("legacy_json", "/pypi/{name}/{version}/json/?", pypi_json)
        route = Route("project_list", f"{root}/", list_page)
        yield route if root else replace(route, handler=home, accepts_iap=wants_html)
        yield Route("redirect", root, add_slash)
        yield Route("project_detail", f"{root}/{{name}}/", detail_page, project="name")
        yield Route("redirect", f"{root}/{{name}}", add_slash)
    yield Route("redirect", "/project/{name}", add_slash)


def _uploads(uploads: UploadHandler) -> Iterator[Route]:
    for pattern in ("/?", "/{root}/?"):
        yield Route(UPLOAD_ROUTE, pattern, uploads.handle, POST, needs_read=False)


def _api(context: ServerContext) -> Iterator[Route]:
    for operation in OPERATIONS:
        yield Route(
            "api",
            f"/api/v1/{operation.path}/?",
            partial(api.handle, context=context, operation=operation),
            GET if operation.method == "GET" else (operation.method,),
            accepts_iap=_has_iap_assertion if operation.takes_iap else never,
        )


def _has_iap_assertion(request: Request) -> bool:
    return IAP_ASSERTION_HEADER in request.headers and b"authorization" not in request.headers
