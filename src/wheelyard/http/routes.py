"""
The routing table: every URL path with its handler.

`+simple/` is for Hatch, which adds that to its upload URL. Pages have relative links to files, so
each root path has its own `files/`. `/<name>/` is a project unless another route has that path.
"""

from collections.abc import Iterator, Sequence
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
"""The first segments below which each index has its Simple API and its uploads as well."""

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
    """The routes of main, with the routes about the whole server."""
    other: RouteTable
    """The routes of any other index."""
    day: RouteTable
    """The routes of any index at the end of a day, which takes no changes."""

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
    api = [_api_route(operation) for operation in OPERATIONS]
    api_of_index = list[Route]()
    for route, operation in zip(api, OPERATIONS, strict=True):
        # an operation about the whole server has one path, below main
        if operation.is_of_index:
            api_of_index.append(route)
    redirects = list(_server_redirects())
    changes = [*_management_pages(UploadPage(uploads)), *_promotion_pages()]
    pages = [*_download_page(process), *_project_pages()]
    main = [
        *_server_programs(process, metrics),
        *_search_and_files(server.roots),
        *api,
        *_home_pages(),
        *_server_pages(process),
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
        *_home_pages(),
        *redirects,
        *changes,
        *pages,
        *_index(),
        *_uploads(uploads),
    ]
    day = [
        *_search_and_files(),
        *_home_pages(),
        *redirects,
        *pages,
        *_index(),
        *_uploads(uploads),
    ]
    return RouteTables(RouteTable(main), RouteTable(other), RouteTable(day))


def _server_pages(process: ProcessContext) -> Iterator[Route]:
    """Yield the routes of the pages about the whole server."""
    yield Route("docs", "/-/docs/{path:path}", docs.answer, is_public=always)
    yield from _account_pages()
    yield from _provider_sign_in(process)
    yield from _package_request_pages(process)
    yield from _admin_pages()


def _server_redirects() -> Iterator[Route]:
    """Yield the redirects, below the path of an index, to the pages of the whole server."""
    for page in SERVER_PAGES:
        yield Route(
            "redirect", f"/-/{page}/{{path:path}}", server_redirects.answer, is_public=always
        )


def _server_programs(process: ProcessContext, metrics: Instrumentation) -> Iterator[Route]:
    """Yield the routes by which programs ask about the whole server."""
    yield from _probes(Probes(metrics))
    yield from _trusted_publishing(TrustedPublishingApi(process.server.runtime.monotonic))


def _probes(probes: Probes) -> Iterator[Route]:
    """Yield the routes of health probes, of metrics, and of files that a host has at its root."""
    public = Route("", "", health, is_public=always, is_fixed=True, at_root=True)
    yield replace(public, name="health", path="/health", is_instant=True)
    yield replace(public, name="ready", path="/ready", handler=probes.ready)
    yield replace(
        public,
        name="metrics",
        path="/metrics",
        handler=probes.answer_metrics,
        is_public=probes.is_allowed_without_login,
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
    root_paths = ["", *_paths_of((*ROOTS, *roots)), "/pypi/simple"]
    for root_path in root_paths:
        file_path = f"{root_path}/files/{{project}}/{{sha256}}/{{filename}}"
        yield Route("file", file_path, packages.answer_file)
        provenance_path = f"{root_path}/integrity/{{project}}/{{version}}/{{filename}}/provenance"
        yield Route("provenance", provenance_path, integrity.answer)
    yield Route("file", "/files/{project}/{filename}", packages.answer_file)
    for folder in ("packages", "raw"):
        yield Route("file", f"/{folder}/{{filename}}", packages.answer_file)
        yield Route("file", f"/{folder}/{{folders:path}}/{{filename}}", packages.answer_file)


def _paths_of(segments: Sequence[str]) -> list[str]:
    """Return the path of each first segment."""
    return [f"/{segment}" for segment in segments]


def _page(path: str, handler: Handler) -> Route:
    """Return the route of a page for people."""
    return Route("page", path, handler, accepts_iap=always)


def _form(path: str, handler: Handler) -> Route:
    """Return the route of a form that changes something."""
    return Route("form", path, handler, POST, accepts_iap=always, takes_form=True)


def _home_pages() -> Iterator[Route]:
    """Yield the routes of assets, of the list of projects, and of the choice of a client."""
    yield Route("asset", "/-/assets/{asset}", asset_files.answer_asset, is_public=always)
    yield _page("/-/projects/{number}/", home.answer_list)
    yield _page("/-/client/", setup.choose_client)


def _account_pages() -> Iterator[Route]:
    """Yield the routes by which people sign in and out, and look after their tokens."""
    yield replace(_page("/-/sign-in/", account.show_sign_in), needs_read=False)
    yield replace(_form("/-/sign-in/", account.sign_in), needs_read=False)
    yield replace(_form("/-/sign-out/", account.sign_out), needs_read=False)
    yield replace(_page("/-/account/", account.answer_account), is_long=True)
    yield replace(_page("/-/account/tokens/", token_pages.answer), is_long=True)
    yield replace(_form("/-/account/tokens/", token_pages.answer_form), is_long=True)


def _provider_sign_in(process: ProcessContext) -> Iterator[Route]:
    """Yield the routes of a sign-in with a provider, if the settings have a provider."""
    sign_in = process.server.sessions.sign_in
    if sign_in is None:
        return
    # no server without a provider needs this module
    from wheelyard.http.handlers.providers import ProviderPages  # noqa: PLC0415

    pages = ProviderPages(sign_in, process.server.settings)
    # people have no credential yet; HEAD would use up the answer of a provider
    public = Route("sign_in", "", pages.begin, methods=("GET",), is_public=always)
    yield replace(public, path="/-/sign-in/{provider}/")
    yield replace(public, path="/-/sign-in/{provider}/callback", handler=pages.finish)


def _management_pages(upload: UploadPage) -> Iterator[Route]:
    """Yield the routes of the pages that manage a project, and of the page that uploads."""
    yield _page("/project/{name}/manage/", manage.answer_manage)
    yield _form("/project/{name}/manage/", manage.answer_change)
    yield replace(_page("/project/{name}/access/", project_access.answer), is_long=True)
    yield _page("/-/upload/", upload.answer_page)
    upload_form = _form("/-/upload/", upload.answer_page)
    yield replace(upload_form, handler=upload.answer_form, is_coroutine=True)
    yield replace(_form("/-/upload/check/", upload_page.answer_check), is_long=True)


def _package_request_pages(process: ProcessContext) -> Iterator[Route]:
    """Yield the routes by which people ask for a public package that the policy hides."""
    if process.server.settings.upstream.is_on:
        answer = package_request_pages.answer_ask
        answer_form = package_request_pages.answer_ask_form
        yield replace(_page("/-/request/", answer), needs_read=False)
        yield replace(_form("/-/request/", answer_form), needs_read=False)


def _admin_pages() -> Iterator[Route]:
    """Yield the routes of the pages for administrators, and of the page for approvers."""
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
    for pages_class, operations in TABLE_PAGES:
        table_pages = pages_class(pages, operations)
        path = f"/-/admin/{table_pages.section}"
        yield from _admin_page(path, table_pages.answer, table_pages.answer_form)
        yield from _admin_page(f"{path}history/", table_pages.answer_history)
    requests = RequestPages(AdminPages(require_approver))
    yield from _admin_page("/-/admin/requests/", requests.answer, requests.answer_form)
    names = NamePages(pages)
    yield from _admin_page("/-/admin/names/", names.answer, names.answer_form)
    tokens = TokenAdministration(pages)
    yield from _admin_page("/-/admin/tokens/", tokens.answer, tokens.answer_form)
    yield _page("/-/tokens/", tokens.redirect)  # an earlier path of the page
    journal = JournalPages(pages)
    yield from _admin_page("/-/admin/journal/", journal.answer)
    yield from _admin_page("/-/admin/storage/", StoragePage(pages).answer)
    retention = RetentionPage(pages)
    yield from _admin_page("/-/admin/retention/", retention.answer, retention.answer_form)
    health = HealthPages(pages)
    yield from _admin_page("/-/admin/health/", health.answer)
    yield from _admin_page("/-/admin/settings/", health.answer_settings)


def _admin_page(path: str, answer: Handler, answer_form: Handler | None = None) -> Iterator[Route]:
    """Yield the routes of a page for administrators, which may take long, and of its forms."""
    yield replace(_page(path, answer), is_long=True)
    if answer_form is not None:
        yield replace(_form(path, answer_form), is_long=True)


def _promotion_pages() -> Iterator[Route]:
    """Yield the routes of the page that promotes a release to another index."""
    path = "/project/{name}/{version}/promote/"
    yield replace(_page(path, promotion_form.answer), is_long=True)
    yield replace(_form(path, promotion_form.answer_form), is_long=True)


def _download_page(process: ProcessContext) -> Iterator[Route]:
    """Yield the route of the page with the counts of downloads, if they are counted."""
    if process.counts_downloads:
        # no server that counts no downloads needs this module
        from wheelyard.http.handlers import download_page  # noqa: PLC0415

        yield _page("/project/{name}/downloads/", download_page.answer)


def _project_pages() -> Iterator[Route]:
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
    # no word in these paths, and in those of `_management_pages`, is a version
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
    """Handle GET `/simple/namespaces`: the list of namespaces, or the project of that name."""
    if resolver.has_namespaces(request.context):
        return simple_namespaces.answer_list(request)
    request.path_params["name"] = "namespaces"
    return packages.redirect_to_slash(request)


def _index(roots: tuple[str, ...] = ()) -> Iterator[Route]:
    """Yield the routes of the Simple API, also below `roots`, and of the home page and setup."""
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
    hatch_paths = [f"{path}/+simple" for path in _paths_of((*ROOTS, *roots))]
    for root_path in ("/pypi/simple", *hatch_paths, "/simple"):
        yield from _simple_api(root_path)
    yield _page("/legacy/{name}/{version}/", project_pages.answer_link_of_hatch)

    # after `/pypi/simple/`, as `/pypi/<name>/` below matches that path, too
    yield Route("legacy_json", "/pypi/{name}/json/?", packages.answer_pypi_json)
    yield Route("legacy_json", "/pypi/{name}/{version}/json/?", packages.answer_pypi_json)
    for root_path in _paths_of(("pypi", "+simple", *roots)):
        yield from _simple_api(root_path)
    yield Route("project_list", "/", _answer_root, accepts_iap=wants_html)
    yield Route("project_detail", "/{name}/", packages.project_detail)
    yield Route("redirect", "/{name}", add_slash)
    yield Route("redirect", "/project/{name}", add_slash)


def _simple_api(root_path: str) -> Iterator[Route]:
    """Yield the routes of the Simple API below a root path."""
    yield Route("project_list", f"{root_path}/", packages.project_list)
    yield Route("redirect", root_path, packages.redirect_to_slash)
    yield Route("project_detail", f"{root_path}/{{name}}/", packages.project_detail)
    # with a slash at its end, this is the path of a project named `namespaces`
    yield Route("namespaces", f"{root_path}/namespaces", _answer_namespaces)
    namespace_path = f"{root_path}/namespace/{{namespace}}/?"
    yield Route("namespaces", namespace_path, simple_namespaces.answer_one)
    yield Route("redirect", f"{root_path}/{{name}}", packages.redirect_to_slash)


def _uploads(uploads: UploadHandler, roots: tuple[str, ...] = ()) -> Iterator[Route]:
    """Yield the routes that clients upload to: the URL of the index, and each root below it."""
    upload = Route(UPLOAD_ROUTE, "/", uploads.handle, POST, needs_read=False, is_coroutine=True)
    yield upload
    for root in (*ROOTS, *roots):
        yield replace(upload, path=f"/{root}/?")


def _api_route(operation: ApiOperation) -> Route:
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
    """Return whether a request has an assertion of Identity-Aware Proxy, and no Authorization."""
    headers = request.joined_headers
    return IAP_ASSERTION_HEADER in headers and b"authorization" not in headers
