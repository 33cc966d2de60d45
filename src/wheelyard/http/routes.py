"""
The routing table: every URL path with its handler.

`+simple/` is for Hatch, which adds it to its upload URL. Pages have relative links to files, so
each root path has its own `files/`. `/<name>/` is a project unless another route has that path.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.api.index_operations import INDEXES
from wheelyard.api.namespace_operations import NAMESPACES
from wheelyard.api.operation import ApiOperation
from wheelyard.api.publisher_operations import PUBLISHERS
from wheelyard.api.table import OPERATIONS
from wheelyard.api.table_operations import TableOperations
from wheelyard.api.webhook_operations import WEBHOOKS
from wheelyard.authentication.authorization import require_approver
from wheelyard.http import resolver
from wheelyard.http.context import IndexRequest, ProcessContext
from wheelyard.http.handlers import (
    account,
    asset_files,
    compare,
    docs,
    histories,
    home,
    integrity,
    manage,
    packages,
    project_access,
    project_pages,
    promotion_form,
    server_redirects,
    setup,
    simple_namespaces,
    token_pages,
    upload_page,
)
from wheelyard.http.handlers.admin import package_request_pages
from wheelyard.http.handlers.admin.admin_pages import AdminPages
from wheelyard.http.handlers.admin.explain import ExplainPage
from wheelyard.http.handlers.admin.grant_pages import GrantPages
from wheelyard.http.handlers.admin.group_pages import GroupPages
from wheelyard.http.handlers.admin.health import HealthPages
from wheelyard.http.handlers.admin.index_pages import IndexPages
from wheelyard.http.handlers.admin.journal_page import JournalPages
from wheelyard.http.handlers.admin.name_pages import NamePages
from wheelyard.http.handlers.admin.namespace_pages import NamespacePages
from wheelyard.http.handlers.admin.overview import OverviewPage
from wheelyard.http.handlers.admin.package_request_pages import RequestPages
from wheelyard.http.handlers.admin.person_pages import PeoplePages
from wheelyard.http.handlers.admin.publisher_pages import PublisherPages
from wheelyard.http.handlers.admin.retention_page import RetentionPage
from wheelyard.http.handlers.admin.storage import StoragePage
from wheelyard.http.handlers.admin.table_pages import TablePages
from wheelyard.http.handlers.admin.tokens import TokenAdministration
from wheelyard.http.handlers.admin.webhook_pages import WebhookPages
from wheelyard.http.handlers.api import OperationHandler, TrustedPublishingApi
from wheelyard.http.handlers.probes import Probes, health
from wheelyard.http.handlers.upload_page import UploadPage
from wheelyard.http.instrumentation import Instrumentation
from wheelyard.http.messages import Response
from wheelyard.http.request_authentication import IAP_ASSERTION_HEADER
from wheelyard.http.responses import wants_html
from wheelyard.http.routing import (
    GET,
    POST,
    UPLOAD_ROUTE,
    Handler,
    Route,
    RouteTable,
    always,
    never,
)
from wheelyard.http.upload_handler import UploadHandler, refuse_unknown_root
from wheelyard.http.web_pages import SERVER_PAGES
from wheelyard.model.index_definition import IndexDefinition

ROOTS: Final = ("legacy", "simple", "pypi")
"""The first segments under which clients may have any index as well."""

TABLE_PAGES: Final[tuple[tuple[type[TablePages], TableOperations], ...]] = (
    (PublisherPages, PUBLISHERS),
    (NamespacePages, NAMESPACES),
    (WebhookPages, WEBHOOKS),
    (IndexPages, INDEXES),
)
"""The pages of each kind of table, and the operations of the kind."""


class RouteTables(Struct, frozen=True):
    """The routes of all indexes of a process, which share their handlers."""

    main: RouteTable
    """With what is about the whole server."""
    other: RouteTable
    day: RouteTable
    """Of main and of any other index at the end of a day, which takes no changes."""

    def of(self, definition: IndexDefinition) -> RouteTable:
        """Return the routes of an index."""
        if definition.day is not None:
            return self.day
        if definition.is_main:
            return self.main
        return self.other


def build_routes(
    process: ProcessContext, uploads: UploadHandler, metrics: Instrumentation
) -> RouteTables:
    """Return the tables with every route, whose handlers are made here, once for a process."""
    server = process.server.settings.server
    api = [_api(operation) for operation in OPERATIONS]
    api_of_index = list[Route]()
    for row, operation in zip(api, OPERATIONS, strict=True):
        # what is about the whole server has one path, below main
        if operation.is_of_index:
            api_of_index.append(row)
    elsewhere = list(_elsewhere())
    changes = [*_management(UploadPage(uploads)), *_promotion()]
    pages = [*_downloads(process), *_projects()]
    main = [
        *_server(process, metrics),
        *_search_and_files(server.roots),
        *api,
        *_home(),
        *_people(process),
        *changes,
        *pages,
        *_index(server.roots),
        *_uploads(uploads, server.roots),
        # as clients of Gemfury upload
        Route("unknown_root", "/{name}/", refuse_unknown_root, POST, needs_read=False),
    ]
    other = [
        *_search_and_files(),
        *api_of_index,
        *_home(),
        *elsewhere,
        *changes,
        *pages,
        *_index(),
        *_uploads(uploads),
    ]
    day = [*_search_and_files(), *_home(), *elsewhere, *pages, *_index(), *_uploads(uploads)]
    return RouteTables(RouteTable(main), RouteTable(other), RouteTable(day))


def _people(process: ProcessContext) -> Iterator[Route]:
    """Yield the routes of what people do with the whole server."""
    yield Route("docs", "/-/docs/{path:path}", docs.answer, is_public=always)
    yield from _account()
    yield from _providers(process)
    yield from _asking(process)
    yield from _administration()


def _elsewhere() -> Iterator[Route]:
    """Yield the redirects, below the path of an index, to the pages of the whole server."""
    for page in SERVER_PAGES:
        yield Route(
            "redirect", f"/-/{page}/{{path:path}}", server_redirects.answer, is_public=always
        )


def _server(process: ProcessContext, metrics: Instrumentation) -> Iterator[Route]:
    """Yield the routes of what programs ask the whole server for."""
    yield from _operations(Probes(metrics))
    yield from _trusted_publishing(TrustedPublishingApi(process.server.runtime.monotonic))


def _operations(probes: Probes) -> Iterator[Route]:
    public = Route("", "", health, is_public=always, is_fixed=True, at_root=True)
    may_read_metrics = probes.is_allowed_without_login
    yield replace(public, name="health", path="/health", is_instant=True)
    yield replace(public, name="ready", path="/ready", handler=probes.ready)
    yield replace(
        public,
        name="metrics",
        path="/metrics",
        handler=probes.answer_metrics,
        is_public=may_read_metrics,
    )
    yield replace(
        public, name="robots", path="/robots.txt", handler=asset_files.robots, is_instant=True
    )
    yield replace(public, name="asset", path="/favicon.ico", handler=asset_files.answer_favicon)


def _trusted_publishing(publishing: TrustedPublishingApi) -> Iterator[Route]:
    """Yield the routes by which CI jobs exchange an ID token for an API token."""
    # no CSRF check: the credential is in the body, where a browser does not add one
    public = Route(
        "trusted_publishing", "", publishing.audience, is_public=always, is_fixed=True, at_root=True
    )
    yield replace(public, path="/.well-known/pytp", handler=publishing.discovery)
    yield replace(public, path="/_/oidc/audience")
    post = replace(public, methods=POST, is_coroutine=True)
    yield replace(post, path="/_/oidc/mint-token", handler=publishing.mint)
    yield replace(post, path="/_/oidc/github/mint-token", handler=publishing.mint)
    yield replace(post, path="/_/oidc/burn-token", handler=publishing.burn)


def _search_and_files(roots: tuple[str, ...] = ()) -> Iterator[Route]:
    """Yield the routes of the list for searches, and of files below all roots."""
    yield Route(
        "search",
        "/search.json",
        packages.answer_search,
        accepts_iap=_has_iap_assertion,
        is_fixed=True,
        is_long=True,
    )
    answer = packages.answer_file
    for root in ("", *(f"/{root}" for root in (*ROOTS, *roots)), "/pypi/simple"):
        yield Route("file", f"{root}/files/{{project}}/{{sha256}}/{{filename}}", answer)
        path = f"{root}/integrity/{{project}}/{{version}}/{{filename}}/provenance"
        yield Route("provenance", path, integrity.answer)
    yield Route("file", "/files/{project}/{filename}", answer)
    for root in ("packages", "raw"):
        yield Route("file", f"/{root}/{{filename}}", answer)
        yield Route("file", f"/{root}/{{folders:path}}/{{filename}}", answer)


def _page(path: str, handler: Handler) -> Route:
    """Return the route of a page for people."""
    return Route("page", path, handler, accepts_iap=always)


def _form(path: str, handler: Handler) -> Route:
    """Return the route of a form that changes something."""
    return Route("form", path, handler, POST, accepts_iap=always, takes_form=True)


def _home() -> Iterator[Route]:
    yield Route("asset", "/-/assets/{asset}", asset_files.answer_asset, is_public=always)
    yield _page("/-/projects/{number}/", home.answer_list)
    yield _page("/-/client/", setup.choose_client)


def _account() -> Iterator[Route]:
    """Yield the routes by which people sign in and out, and look after their tokens."""
    yield replace(_page("/-/sign-in/", account.show_sign_in), needs_read=False)
    yield replace(_form("/-/sign-in/", account.sign_in), needs_read=False)
    yield replace(_form("/-/sign-out/", account.sign_out), needs_read=False)
    yield replace(_page("/-/account/", account.answer_account), is_long=True)
    yield replace(_page("/-/account/tokens/", token_pages.answer), is_long=True)
    yield replace(_form("/-/account/tokens/", token_pages.answer_form), is_long=True)


def _providers(process: ProcessContext) -> Iterator[Route]:
    """Yield the routes of a sign-in with a provider, if there is one."""
    sign_in = process.server.sessions.sign_in
    if sign_in is None:
        return
    # nothing of it is loaded without a provider
    from wheelyard.http.handlers.providers import ProviderPages  # noqa: PLC0415

    pages = ProviderPages(sign_in, process.server.settings)
    # whoever comes has no credential yet; HEAD would use up the answer of a provider
    public = Route("sign_in", "", pages.begin, methods=("GET",), is_public=always)
    yield replace(public, path="/-/sign-in/{provider}/")
    yield replace(public, path="/-/sign-in/{provider}/callback", handler=pages.finish)


def _management(upload: UploadPage) -> Iterator[Route]:
    """Yield the routes of pages that manage a project, and of the one that uploads."""
    yield _page("/project/{name}/manage/", manage.answer_manage)
    yield _form("/project/{name}/manage/", manage.answer_change)
    yield replace(_page("/project/{name}/access/", project_access.answer), is_long=True)
    page = upload.answer_page
    yield _page("/-/upload/", page)
    yield replace(_form("/-/upload/", page), handler=upload.answer_form, is_coroutine=True)
    yield replace(_form("/-/upload/check/", upload_page.answer_check), is_long=True)


def _asking(process: ProcessContext) -> Iterator[Route]:
    """Yield the routes by which people ask for a public package that the policy hides."""
    if process.server.settings.upstream.is_on:
        answer = package_request_pages.answer_ask
        answer_form = package_request_pages.answer_ask_form
        yield replace(_page("/-/request/", answer), needs_read=False)
        yield replace(_form("/-/request/", answer_form), needs_read=False)


def _administration() -> Iterator[Route]:
    """Yield the routes of the pages for administrators, and of what approvers decide."""
    pages = AdminPages()
    yield from _admin_page("/-/admin/", OverviewPage(pages).answer)
    people = PeoplePages(pages)
    yield from _admin_page("/-/admin/people/", people.answer, people.answer_form)
    groups = GroupPages(pages)
    grants = GrantPages(pages)
    yield from _admin_page("/-/admin/groups/", groups.answer, groups.answer_form)
    yield from _admin_page("/-/admin/grants/", grants.answer, grants.answer_form)
    yield from _admin_page("/-/admin/grants/history/", grants.answer_history)
    yield from _admin_page("/-/admin/explain/", ExplainPage(pages).answer)
    for kind, operations in TABLE_PAGES:
        tables = kind(pages, operations)
        path = f"/-/admin/{tables.section}"
        yield from _admin_page(path, tables.answer, tables.answer_form)
        yield from _admin_page(f"{path}history/", tables.answer_history)
    requests = RequestPages(AdminPages(require_approver))
    yield from _admin_page("/-/admin/requests/", requests.answer, requests.answer_form)
    names = NamePages(pages)
    yield from _admin_page("/-/admin/names/", names.answer, names.answer_form)
    tokens = TokenAdministration(pages)
    yield from _admin_page("/-/admin/tokens/", tokens.answer, tokens.answer_form)
    yield _page("/-/tokens/", tokens.redirect)  # where the page was once
    journal = JournalPages(pages)
    yield from _admin_page("/-/admin/journal/", journal.answer)
    yield from _admin_page("/-/admin/storage/", StoragePage(pages).answer)
    retention = RetentionPage(pages)
    yield from _admin_page("/-/admin/retention/", retention.answer, retention.answer_form)
    health = HealthPages(pages)
    yield from _admin_page("/-/admin/health/", health.answer)
    yield from _admin_page("/-/admin/settings/", health.answer_settings)


def _admin_page(path: str, answer: Handler, answer_form: Handler | None = None) -> Iterator[Route]:
    """Yield the routes of a page for administrators, which may read much, and of its forms."""
    yield replace(_page(path, answer), is_long=True)
    if answer_form is not None:
        yield replace(_form(path, answer_form), is_long=True)


def _promotion() -> Iterator[Route]:
    """Yield the routes of the page that lists a release in another index."""
    path = "/project/{name}/{version}/promote/"
    yield replace(_page(path, promotion_form.answer), is_long=True)
    yield replace(_form(path, promotion_form.answer_form), is_long=True)


def _downloads(process: ProcessContext) -> Iterator[Route]:
    """Yield the route of the page with the counts of downloads, if they are counted."""
    if process.counts_downloads:
        # nothing of it is loaded while it is off
        from wheelyard.http.handlers import download_page  # noqa: PLC0415

        yield _page("/project/{name}/downloads/", download_page.answer)


def _projects() -> Iterator[Route]:
    """Yield the routes of the pages of projects and releases, and of their feeds."""
    project = "/project/{name}/"
    release = "/project/{name}/{version}/"
    yield replace(_page(project, project_pages.answer_description), name="project_page")
    yield _page(f"{project}releases/", project_pages.answer_releases)
    yield replace(_page(f"{project}compare/", compare.answer), is_long=True)
    for path in (f"{project}history/", f"{project}history/{{number}}/"):
        yield replace(_page(path, histories.answer_history), is_long=True)
    feed = Route("feed", "", histories.answer_feed, accepts_iap=_has_iap_assertion, is_long=True)
    yield replace(feed, path="/feed.xml")
    yield replace(feed, path=f"{project}feed.xml", handler=histories.answer_project_feed)
    # none of these words, and of those of `_management`, is a version
    for path in (project, release):
        yield _page(f"{path}files/", project_pages.answer_files)
        yield _page(f"{path}dependencies/", project_pages.answer_dependencies)
    yield _page(release, project_pages.answer_description)
    yield _page(f"{release}requirements.txt", project_pages.answer_requirements)
    for files in ("{facet}/", "{facet}/{number}/"):
        yield _page(f"{release}files/{files}", project_pages.answer_old_files)


def _answer_root(request: IndexRequest) -> Response:
    """Handle GET `/`: the home page, or the list of projects."""
    if wants_html(request):
        return home.answer_home(request)
    return packages.project_list(request)


def _answer_setup(request: IndexRequest) -> Response:
    """Handle GET `/setup/`: the settings of clients, or the project of that name."""
    if wants_html(request):
        return setup.answer(request)
    request.path_params["name"] = "setup"
    return packages.project_detail(request)


def _answer_namespaces(request: IndexRequest) -> Response:
    """Handle GET `/simple/namespaces`: those of the index, or the project of that name."""
    if resolver.has_namespaces(request.context):
        return simple_namespaces.answer_list(request)
    request.path_params["name"] = "namespaces"
    return packages.redirect_to_slash(request)


def _index(roots: tuple[str, ...] = ()) -> Iterator[Route]:
    """Yield the routes of the index itself, also below its own roots."""
    add_slash = packages.redirect_to_slash
    yield Route(
        "upload-url",
        "/legacy/?",
        setup.explain_upload_url,
        is_public=always,
        is_instant=True,
    )
    yield Route("setup", "/setup/", _answer_setup, accepts_iap=wants_html, is_long=True)
    yield Route("redirect", "", add_slash)  # the prefix without its slash
    yield Route("redirect", "/setup", add_slash)
    yield Route("redirect", "/-/{page}", add_slash, is_public=always)
    yield Route("redirect", "/project/{name}/{version}", add_slash)
    for root in ("/pypi/simple", *(f"/{root}/+simple" for root in (*ROOTS, *roots)), "/simple"):
        yield from _simple_api(root)
    yield _page("/legacy/{name}/{version}/", project_pages.answer_link_of_hatch)

    # after `/pypi/simple/`, as this is also `/pypi/<name>/`
    yield Route("legacy_json", "/pypi/{name}/json/?", packages.answer_pypi_json)
    yield Route("legacy_json", "/pypi/{name}/{version}/json/?", packages.answer_pypi_json)
    for root in ("pypi", "+simple", *roots):
        yield from _simple_api(f"/{root}")
    yield Route("project_list", "/", _answer_root, accepts_iap=wants_html)
    yield Route("project_detail", "/{name}/", packages.project_detail)
    yield Route("redirect", "/{name}", add_slash)
    yield Route("redirect", "/project/{name}", add_slash)


def _simple_api(root: str) -> Iterator[Route]:
    """Yield the routes of the Simple API below a root path."""
    yield Route("project_list", f"{root}/", packages.project_list)
    yield Route("redirect", root, packages.redirect_to_slash)
    yield Route("project_detail", f"{root}/{{name}}/", packages.project_detail)
    # with a slash at the end, it is the page of a project of this name
    yield Route("namespaces", f"{root}/namespaces", _answer_namespaces)
    yield Route("namespaces", f"{root}/namespace/{{namespace}}/?", simple_namespaces.answer_one)
    yield Route("redirect", f"{root}/{{name}}", packages.redirect_to_slash)


def _uploads(uploads: UploadHandler, roots: tuple[str, ...] = ()) -> Iterator[Route]:
    """Yield the routes that clients upload to: the URL of the index, and each root below it."""
    upload = Route(UPLOAD_ROUTE, "/", uploads.handle, POST, needs_read=False, is_coroutine=True)
    yield upload
    for root in (*ROOTS, *roots):
        yield replace(upload, path=f"/{root}/?")


def _api(operation: ApiOperation) -> Route:
    """Return the route of an operation of the API."""
    methods = GET if operation.method == "GET" else (operation.method,)
    accepts_iap = _has_iap_assertion if operation.takes_iap else never
    return Route(
        "api",
        f"/api/v1/{operation.path}/?",
        OperationHandler(operation).handle,
        methods,
        accepts_iap=accepts_iap,
        is_long=operation.is_long,
    )


def _has_iap_assertion(request: IndexRequest) -> bool:
    """Return whether a request comes through Identity-Aware Proxy, and brings nothing else."""
    return (
        IAP_ASSERTION_HEADER in request.joined_headers
        and b"authorization" not in request.joined_headers
    )
