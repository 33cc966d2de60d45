"""
The routing table: every URL path with its handler.

`+simple/` is for Hatch, which adds it to its upload URL. Pages have relative links to files, so
each root path has its own `files/`. `/<name>/` is a project unless another route has that path.
"""

from collections.abc import Iterator
from functools import partial
from typing import Final, Protocol

from msgspec.structs import replace

from wheelyard.api.table import OPERATIONS
from wheelyard.http.context import ServerContext
from wheelyard.http.handlers import account, api, home_and_probes, manage, packages, project_pages
from wheelyard.http.handlers.api import TrustedPublishingApi
from wheelyard.http.instrumentation import Instrumentation
from wheelyard.http.messages import Request, Response
from wheelyard.http.request_authentication import IAP_ASSERTION_HEADER
from wheelyard.http.responses import wants_html
from wheelyard.http.routing import (
    GET,
    POST,
    Route,
    RouteTable,
    always,
    never,
)
from wheelyard.http.uploads import UploadHandler
from wheelyard.http.web_pages import WebPages

UPLOAD_ROUTE: Final = "upload"


class PageHandler(Protocol):
    """Answers with a page."""

    def __call__(self, request: Request, web: WebPages) -> Response:
        """Return the response to a request."""
        ...


def build_routes(
    context: ServerContext,
    uploads: UploadHandler,
    pages: WebPages,
    metrics: Instrumentation,
) -> RouteTable:
    """Return the table with every route of the server."""

    def takes_uploads(raw_path: bytes) -> bool:
        route = table.find(table.parse_path(raw_path), "POST")
        return route is not None and route[0].name == UPLOAD_ROUTE

    rows = [
        *_operations(context, pages, metrics),
        *_trusted_publishing(TrustedPublishingApi(context, takes_uploads)),
        *_files(context),
        *_api(context),
        *_pages(pages, uploads),
        *_index(context, pages),
        *_uploads(uploads),
    ]
    table = RouteTable(context.index.settings.server.path_prefix, rows)
    return table


def _operations(
    context: ServerContext, pages: WebPages, instrumentation: Instrumentation
) -> Iterator[Route]:
    public = Route("", "", home_and_probes.health, is_public=always, is_fixed=True, at_root=True)
    is_ready = partial(home_and_probes.ready, context=context)
    settings = context.index.settings
    metrics = partial(home_and_probes.answer_metrics, settings=settings, observer=instrumentation)
    is_allowed = partial(home_and_probes.is_allowed_without_login, settings=settings)
    icon = partial(home_and_probes.answer_favicon, web=pages)
    yield replace(public, name="health", path="/health", is_instant=True)
    yield replace(public, name="ready", path="/ready", handler=is_ready)
    yield replace(public, name="metrics", path="/metrics", handler=metrics, is_public=is_allowed)
    yield replace(
        public, name="robots", path="/robots.txt", handler=home_and_probes.robots, is_instant=True
    )
    yield replace(public, name="asset", path="/favicon.ico", handler=icon)
    search = partial(packages.answer_search, context=context)
    yield Route(
        "search",
        "/search.json",
        search,
        accepts_iap=_has_iap_assertion,
        is_fixed=True,
        is_long=True,
    )


def _trusted_publishing(publishing: TrustedPublishingApi) -> Iterator[Route]:
    mint, burn = partial(publishing.handle, step="mint"), partial(publishing.handle, step="burn")
    # no CSRF check: the credential is in the body, where a browser does not add one
    public = Route(
        "trusted_publishing", "", publishing.audience, is_public=always, is_fixed=True, at_root=True
    )
    yield replace(public, path="/.well-known/pytp", handler=publishing.discovery)
    yield replace(public, path="/_/oidc/audience")
    for path, step in (
        ("/_/oidc/mint-token", mint),
        ("/_/oidc/github/mint-token", mint),
        ("/_/oidc/burn-token", burn),
    ):
        yield replace(public, path=path, handler=step, methods=POST, is_coroutine=True)


def _files(context: ServerContext) -> Iterator[Route]:
    answer = partial(packages.answer_file, context=context)
    for root in ("", "/{root}", "/pypi/simple"):
        yield Route("file", f"{root}/files/{{project}}/{{sha256}}/{{filename}}", answer)
    yield Route("file", "/files/{project}/{filename}", answer)
    for root in ("packages", "raw"):
        yield Route("file", f"/{root}/{{filename}}", answer)
        yield Route("file", f"/{root}/{{folders:path}}/{{filename}}", answer)


def _pages(pages: WebPages, uploads: UploadHandler) -> Iterator[Route]:
    def page(path: str, handler: PageHandler) -> Route:
        return Route("page", path, partial(handler, web=pages), accepts_iap=always)

    def form(path: str, handler: PageHandler) -> Route:
        answer = partial(handler, web=pages)
        return Route("form", path, answer, POST, accepts_iap=always, takes_form=True)

    asset = partial(home_and_probes.answer_asset, web=pages)
    yield Route("asset", "/-/assets/{asset}", asset, is_public=always)
    yield page("/-/projects/{number}/", home_and_probes.answer_list)
    for signing in (
        page("/-/sign-in/", account.show_sign_in),
        form("/-/sign-in/", account.sign_in),
        form("/-/sign-out/", account.sign_out),
    ):
        yield replace(signing, needs_read=False)
    yield replace(page("/project/{name}/", project_pages.answer_project), name="project_page")
    for path in ("/project/{name}/history/", "/project/{name}/history/{number}/"):
        yield replace(page(path, project_pages.answer_history), is_long=True)
    yield page("/project/{name}/manage/", manage.answer_manage)
    yield form("/project/{name}/manage/", manage.answer_change)
    yield replace(page("/project/{name}/access/", manage.answer_access), is_long=True)
    yield page("/-/account/", account.answer_account)
    for path in ("/-/account/tokens/", "/-/tokens/"):
        yield replace(page(path, account.answer_tokens), is_long=True)
        yield replace(form(path, account.answer_tokens_form), is_long=True)
    yield page("/-/upload/", manage.answer_upload_page)
    upload_form = partial(manage.answer_upload_form, web=pages, uploads=uploads)
    upload = form("/-/upload/", manage.answer_upload_page)
    yield replace(upload, handler=upload_form, is_coroutine=True)
    for path, handler in (
        ("/feed.xml", project_pages.answer_feed),
        ("/project/{name}/feed.xml", project_pages.answer_project_feed),
    ):
        feed = partial(handler, web=pages)
        yield Route("feed", path, feed, accepts_iap=_has_iap_assertion, is_long=True)
    # after the paths above, of which none is a version
    release = "/project/{name}/{version}/"
    yield page(release, project_pages.answer_release)
    for files in ("", "{facet}/", "{facet}/{number}/"):
        yield page(f"{release}files/{files}", project_pages.answer_files)


def _index(context: ServerContext, pages: WebPages) -> Iterator[Route]:
    def answer_root(request: Request) -> Response:
        if not wants_html(request):
            return packages.project_list(request, context)
        return home_and_probes.answer_home(request, pages)

    def answer_setup(request: Request) -> Response:
        if wants_html(request):
            return home_and_probes.answer_setup(request, pages)
        request.path_params["name"] = "setup"
        return packages.project_detail(request, context)

    help_text = home_and_probes.explain_upload_url
    yield Route("upload-url", "/legacy/?", help_text, is_public=always, is_instant=True)
    pypi_json = partial(packages.answer_pypi_json, context=context)
    list_page = partial(packages.project_list, context=context)
    detail_page = partial(packages.project_detail, context=context)
    add_slash = partial(home_and_probes.redirect_to_slash, context=context)
    yield Route("setup", "/setup/", answer_setup, accepts_iap=wants_html)
    yield Route("redirect", "", add_slash)  # the prefix without its slash
    yield Route("redirect", "/setup", add_slash)
    yield Route("redirect", "/-/{page}", add_slash, is_public=always)
    yield Route("redirect", "/project/{name}/{version}", add_slash)
    roots = (f"/{root}" for root in context.index.settings.server.roots)
    # `/pypi/simple/` comes before `/pypi/<name>/`
    for root in ("/pypi/simple", "/{root}/+simple", "/simple", "/pypi", "/+simple", *roots, ""):
        if root == "/pypi":
            yield Route("legacy_json", "/pypi/{name}/json/?", pypi_json)
            yield Route("legacy_json", "/pypi/{name}/{version}/json/?", pypi_json)
        if root:
            yield Route("project_list", f"{root}/", list_page)
            yield Route("redirect", root, add_slash)
        else:
            yield Route("project_list", "/", answer_root, accepts_iap=wants_html)
        yield Route("project_detail", f"{root}/{{name}}/", detail_page)
        yield Route("redirect", f"{root}/{{name}}", add_slash)
    yield Route("redirect", "/project/{name}", add_slash)


def _uploads(uploads: UploadHandler) -> Iterator[Route]:
    upload = Route(UPLOAD_ROUTE, "/", uploads.handle, POST, needs_read=False, is_coroutine=True)
    yield upload
    yield replace(upload, path="/{root}/?")


def _api(context: ServerContext) -> Iterator[Route]:
    for operation in OPERATIONS:
        yield Route(
            "api",
            f"/api/v1/{operation.path}/?",
            partial(api.handle, context=context, operation=operation),
            GET if operation.method == "GET" else (operation.method,),
            accepts_iap=_has_iap_assertion if operation.takes_iap else never,
            is_long=operation.is_long,
        )


def _has_iap_assertion(request: Request) -> bool:
    return (
        IAP_ASSERTION_HEADER in request.joined_headers
        and b"authorization" not in request.joined_headers
    )
