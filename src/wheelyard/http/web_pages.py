"""What the handlers of all pages for people share: templates, viewers, headers, cached pages."""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from math import inf
from typing import Final

from msgspec.structs import replace
from packaging.utils import NormalizedName, canonicalize_name

from wheelyard.authentication.api_tokens import invalid_credential
from wheelyard.authentication.authorization import CacheScope, parse_project_name
from wheelyard.concurrency.caches import LruCache
from wheelyard.errors import UPSTREAM_CODES, Unauthenticated, Unavailable
from wheelyard.http import responses
from wheelyard.http.client_choice import chosen_client
from wheelyard.http.client_paths import build_path
from wheelyard.http.context import IndexContext, IndexRequest
from wheelyard.http.messages import (
    NO_STORE,
    Header,
    HeaderList,
    MadeFrom,
    Request,
    Response,
    make_response,
)
from wheelyard.http.page_cache import Render
from wheelyard.http.representation import GZIP, MediaType, accepts_gzip, compressed
from wheelyard.http.request_authentication import CallerElsewhere
from wheelyard.http.resolver import OpenListing
from wheelyard.model.access import Action, Caller, short_name
from wheelyard.model.metadata import CoreMetadata, parse_any
from wheelyard.rendering.listing import ShownFile
from wheelyard.rendering.project_facts import ProjectFacts
from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.home_page import NOT_FOUND, ErrorFacts
from wheelyard.rendering.web.release_page import dependency_names
from wheelyard.rendering.web.viewer import ReleasesElsewhere, Viewer
from wheelyard.wiring.index import Index

RIGHTS_SECONDS: Final = 1.0
"""How long a page with what the caller may read in other indexes is repeated."""
MEMORY_BYTES: Final = 1024**2
"""For each of the two tables of what pages need again."""
SERVER_ERROR: Final = 500
"""The lowest HTTP status of a failure of the server."""
SERVER_PAGES: Final = ("account", "admin", "docs", "request", "sign-in", "tokens")
"""The pages below `/-/` that are about the whole server, and no index of it."""

RequiredNames = LruCache[str, frozenset[NormalizedName]]
"""The names that releases require, by project and the digest of core metadata, or of the file."""


def _choice(request: Request) -> str:
    """Return the client that was chosen in the browser of a request, or an empty text."""
    return chosen_client(request.joined_headers.get(b"cookie", b""))


def _is_about_server(request: Request) -> bool:
    """Return whether a request is for a page about the whole server."""
    segments = request.segments
    return len(segments) > 1 and segments[0] == "-" and segments[1] in SERVER_PAGES


def _tells_of_granted(request: IndexRequest) -> bool:
    """Return whether a page tells of indexes that a grant may have opened, and its end closes."""
    readable = request.readable_indexes or ()
    return any(right.index.read_policy.depends_on_grants for right in readable)


class TemporaryPage(Exception):
    """A page that no cache may keep, as the next request may get a better one."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.body = body


class ReleaseMetadata:
    """
    The core metadata of a release, read at most once for a page.

    Args:
        request: Waits for what an upstream index sends.
        listing: Lists the release.
        file: Describes it.
    """

    def __init__(self, request: Request, listing: OpenListing, file: ShownFile) -> None:
        self._request = request
        self.listing = listing
        self.file = file
        # no cached_property: that of Python 3.11 has one lock for all objects
        self._core: CoreMetadata | None = None
        self._has_come = False

    @property
    def core(self) -> CoreMetadata:
        """
        The core metadata, a minimum if its upstream index does not send it.

        Raises Forbidden if the policy refuses the file, as for a blocked licence. Raises
        Unavailable if the store does not answer, or has lost it. Raises Waiting if an upstream
        index has to be asked.
        """
        if self._core is None:
            core = None
            try:
                core = self.listing.open.core_metadata(self._request, self.file.filename)
            except Unavailable as error:
                # a page with less on it is better than none while an upstream index is away
                if error.code not in UPSTREAM_CODES:
                    raise
            self._has_come = core is not None
            self._core = core or parse_any(None, self.listing.name, self.file.version)
        return self._core

    @property
    def is_missing(self) -> bool:
        """
        Whether `core` is a minimum because its upstream index has not sent it.

        Raises Forbidden, Unavailable or Waiting if `core` is read for it, and cannot be.
        """
        return bool(self.core) and not self._has_come

    def required_names(self, remembered: RequiredNames) -> frozenset[NormalizedName]:
        """
        Return the names of all projects that the release may need, or none if these are not known.

        They are not known if its upstream index does not send the metadata. Names that are known
        are put into `remembered`, if the file has a digest. Raises Forbidden, Unavailable or
        Waiting if `core` is read for it, and cannot be.
        """
        digest = self.file.core_metadata or self.file.sha256
        # without a digest, nobody knows whether it is the same file
        if not digest:
            return dependency_names(self.core)
        key = f"{self.listing.name} {digest}"
        names = remembered.get(key)
        if names is None:
            names = dependency_names(self.core)
            # a minimum must not be remembered: the next request may get what was sent
            if not self.is_missing:
                size = 256 + len(key) + sum(100 + len(name) for name in names)
                remembered.put(key, names, size)
        return names


class WebPages:
    """Makes viewers, headers and responses of pages."""

    def __init__(self, context: IndexContext) -> None:
        self.context = context
        settings = context.index.settings
        is_certain = bool(settings.server.public_url)
        self.required_names: RequiredNames = LruCache(MEMORY_BYTES)
        self.latest_files: LruCache[str, ShownFile] = LruCache(MEMORY_BYTES)
        """The file that describes the latest release, by name and version of a listing."""
        self.environment = PageEnvironment(
            settings.index_url,
            is_certain=is_certain,
            files_url=context.files_from_page,
            brand=context.index.server.brand,
            serves_public=context.index.upstream is not None,
            is_static=context.process.site is not None,
            counts_downloads=context.downloads is not None,
            index_name=context.index.definition.path,
            takes_uploads=context.index.definition.takes_uploads and not settings.server.read_only,
        )
        self.security_headers: HeaderList = (
            (b"content-security-policy", self.environment.policy.encode()),
            # without an origin, forms would look as if a page of another site had sent them
            (b"referrer-policy", b"same-origin"),
        )

    def viewer(self, caller: Caller, name: NormalizedName | None = None) -> Viewer:
        """
        Return who looks at a page, which may be the page of the project `name`.

        It knows nothing of other indexes, and the number of waiting requests is that in memory.
        """
        index = self.context.index
        is_anonymous = caller.is_anonymous
        viewer_name = ""
        if not is_anonymous:
            viewer_name = caller.name or short_name(caller.principal)
        may_upload = not is_anonymous and index.takes_uploads
        may_change = not is_anonymous and not index.settings.server.read_only
        may_administer = not is_anonymous and caller.administers_server
        may_approve = not is_anonymous and caller.may_anywhere(Action.APPROVE)
        waiting_requests = 0
        if may_approve and index.upstream is not None:
            # nobody else's page needs it
            from wheelyard.api.package_request_operations import count_waiting  # noqa: PLC0415

            waiting_requests = count_waiting(index, caller)
        return Viewer(
            name=viewer_name,
            may_sign_in=index.settings.access.cookie_login or index.authenticator.iap is not None,
            may_own_tokens=caller.can_own_tokens,
            may_upload=may_upload and caller.may_anywhere(Action.UPLOAD),
            may_manage=may_change and name is not None and caller.may(Action.MANAGE, name),
            may_administer=may_administer,
            may_approve=may_approve and not may_administer,
            waiting_requests=waiting_requests,
            may_ask=self.context.process.site is None and not index.settings.server.read_only,
        )

    def may_decide(self, caller: Caller, name: NormalizedName) -> bool:
        """Return whether somebody may approve a public package on a page of this index."""
        index = self.context.index
        # people decide in main, where they may have other rights
        is_open = index.definition.is_main and not index.settings.server.read_only
        return is_open and not caller.is_anonymous and caller.may(Action.APPROVE, name)

    def index_viewer(self, request: IndexRequest, name: NormalizedName | None = None) -> Viewer:
        """
        Return who looks at a page of this index, with the other indexes that they may read.

        These are noted in the request.
        """
        viewer = self.viewer(request.caller, name)
        if self.context.process.site is None and not self.context.in_force.names:
            return viewer
        # no server with one index needs it
        from wheelyard.http.other_indexes import with_indexes  # noqa: PLC0415

        return with_indexes(request, viewer)

    def with_places(
        self,
        request: IndexRequest,
        viewer: Viewer,
        name: NormalizedName,
        version: str = "",
        *,
        is_release: bool = False,
        is_public: bool = False,
    ) -> Viewer:
        """
        Return the viewer of a page of a project, with what the indexes have of it.

        It is `viewer` itself if that names no indexes, for a static site, and for the view of a
        day. What the page of a private project shows of other indexes is noted in the request.

        `version` is that of the release that is shown, if one is, and `is_release` whether the page
        is about that release alone. `is_public` is for a public project: no upstream index is asked
        because of another index.
        """
        is_asked = self.context.process.site is None and self.context.index.definition.day is None
        if not viewer.indexes or not is_asked:
            return viewer
        from wheelyard.http.other_indexes import places_of, public_places_of  # noqa: PLC0415

        if is_public:
            places = public_places_of(request, viewer.indexes, name, version)
            return replace(viewer, places=places)
        places, request.shows_elsewhere = places_of(
            request, viewer.indexes, name, version, is_release=is_release
        )
        return replace(viewer, places=places)

    def managed_viewer(self, request: IndexRequest, name: NormalizedName) -> Viewer:
        """
        Return the viewer of a page for those who manage a project, which this index has.

        What it shows of other indexes is noted in the request.
        """
        return self.with_places(request, self.index_viewer(request, name), name)

    def releases_elsewhere(
        self, request: IndexRequest, viewer: Viewer, name: NormalizedName
    ) -> tuple[ReleasesElsewhere, ...]:
        """
        Return which releases of a private project the other indexes have that the page names.

        There are none if the viewer has no places.
        """
        if not viewer.places:
            return ()
        from wheelyard.http.other_indexes import releases_elsewhere  # noqa: PLC0415 - above

        return releases_elsewhere(request, name)

    def choosing_viewer(self, request: IndexRequest, name: NormalizedName | None = None) -> Viewer:
        """
        Return who looks at a page of this index, with the client that was chosen before.

        Also with the other indexes that they may read, which are noted in the request, with whether
        they may promote the project `name`, which depends on these, and whether installing it needs
        a credential. Without `name`, the last is about all projects.

        They may not promote it if nobody can say now whether they may. Raises Unavailable if the
        grants cannot be read.
        """
        viewer = self.index_viewer(request, name)
        may_promote = False
        if name is not None:
            # the credential may have ended in this moment: the next request says so
            with suppress(Unauthenticated, Unavailable):
                may_promote = next(self.promotion_targets(request, name), None) is not None
        needs_credential = not self.context.read_policy.is_public(name)
        return replace(
            viewer,
            client=_choice(request),
            may_promote=may_promote,
            needs_credential=needs_credential,
        )

    def promotion_targets(self, request: Request, name: NormalizedName) -> Iterator[Index]:
        """
        Yield the other indexes with packages that the caller may upload a project to.

        None if the caller cannot promote it from this one. Raises Unavailable if the store does not
        say which there are, or who the caller is there. Raises Unauthenticated if the credential
        does not hold any more.
        """
        index = self.context.index
        in_index = CallerElsewhere(request, self.context.index)
        is_read_only = index.settings.server.read_only or not index.definition.has_packages
        if request.caller.is_anonymous or is_read_only:
            return
        definitions = index.server.definitions.load().with_main
        for index_name, definition in sorted(definitions.items()):
            if index_name != index.name and definition.has_packages:
                target = index.named(index_name)
                if in_index(target).may(Action.UPLOAD, name):
                    yield target

    @property
    def until_rights_change(self) -> float:
        """Until when a page is repeated because of rights elsewhere, on the monotonic clock."""
        if not self.context.in_force.names:
            return inf
        # as long as a credential counts that was verified before
        return self.context.index.server.runtime.monotonic() + RIGHTS_SECONDS

    def path(self, *segments: str, query: bytes = b"") -> str:
        """Return the URL path of a page, and its query unless that may have a secret."""
        return build_path(self.context.index.settings.server, segments, query)

    def require_lookup(self, request: Request) -> NormalizedName:
        """
        Return the name of the project in a URL.

        Raises NotFound for no name, and Unauthenticated, Forbidden or NotFound unless the caller
        may ask for it.
        """
        name = parse_project_name(request.path_params["name"])
        self.context.read_policy.require_lookup(request.caller, name)
        return name

    def require_reader(self, request: Request) -> NormalizedName:
        """
        Return the name of the project in a URL.

        Raises NotFound for no name, and Unauthenticated, Forbidden or NotFound unless the caller
        may read it.
        """
        name = parse_project_name(request.path_params["name"])
        self.context.read_policy.require_project_read(request.caller, name)
        return name

    def require_manager(self, request: Request) -> NormalizedName:
        """
        Return the name of the project in a URL.

        Raises Unauthenticated if the caller is anonymous, and Forbidden if another one may not
        manage it. Raises NotFound for no name, or a project that the caller may not read.
        """
        name = self.require_reader(request)
        caller = request.caller
        if caller.is_anonymous:
            raise invalid_credential()
        caller.require(Action.MANAGE, name)
        return name

    def respond(  # noqa: PLR0913 - all that it depends on
        self,
        request: IndexRequest,
        key: Hashable,
        version: str,
        render: Render,
        *,
        listing: OpenListing | None = None,
        shows: MadeFrom | None = (),
        until: float = inf,
    ) -> Response:
        """
        Return the response with a page, which is rendered unless it is in the cache.

        `key` has all that the page depends on besides `version`, such as its `Viewer`. `render` may
        raise TemporaryPage, whose page is sent, and kept by no cache. `listing`: the project that
        the page is about. `shows`: what it shows besides the listing, and besides what the request
        notes of other indexes, None if each request needs a page of its own. `until`: when an
        identical request may get another one, on the monotonic clock.

        Raises Invalid (412) if If-Match has another ETag, and what else `render` raises. Raises
        Unavailable if the grants decide which caches may keep it, and cannot be read.
        """
        is_upstream = listing is not None and listing.origin.is_upstream
        name = None if listing is None else listing.name
        headers = self.headers(name, request)
        client = _choice(request)
        if is_upstream:  # no shared cache may keep it: the name may become private any time
            headers = (
                self.security_headers
                + responses.page_cache_headers(0, "private")
                + (responses.FROM_UPSTREAM,)
            )
        elif client:  # the page may be for this browser alone
            headers = self.security_headers + responses.page_cache_headers(0, "private")
        made_from = None
        if shows is not None and request.shows_elsewhere is not None:
            made_from = shows + request.shows_elsewhere
        try:
            return responses.page_response(
                self.context,
                request,
                MediaType.HTML,
                # keys of people's pages must differ from those of programs in the same cache
                ("web", client, key),
                version,
                render,
                repeats=(made_from, min(until, self.until_rights_change)),
                listing=listing,
                headers=headers,
            )
        except TemporaryPage as temporary:
            source = (responses.FROM_UPSTREAM,) if is_upstream else ()
            response = self.own_page(request, 200, temporary.body, *source)
            if listing is None:
                return response
            return responses.with_age(response, listing.origin)

    def show(
        self,
        request: Request,
        viewer: Viewer,
        status: int,
        template: str,
        root: str,
        **values: object,
    ) -> Response:
        """
        Return the page of a template with some values, for one viewer, which no cache may keep.

        `root` is the way to the home page.
        """
        page = self.environment.render(template, viewer, root, **values)
        return self.own_page(request, status, page)

    def own_page(self, request: Request, status: int, body: bytes, *headers: Header) -> Response:
        """Return a page for this caller alone, such as one with a form: no cache may keep it."""
        # nobody learns a secret from the length (BREACH): pages of other sites send no cookie
        return self._made_page(request, status, body, *self.security_headers, NO_STORE, *headers)

    def uncached_page(self, request: Request, body: bytes, *headers: Header) -> Response:
        """Return a page that is made for each request."""
        return self._made_page(request, 200, body, *headers)

    def _made_page(self, request: Request, status: int, body: bytes, *headers: Header) -> Response:
        """Return a page with these headers, compressed if the client takes that."""
        content_type = MediaType.HTML.value.content_type
        packed = compressed(body) if accepts_gzip(request.joined_headers) else None
        if packed is None:
            return make_response(status, content_type, body, *headers)
        return make_response(status, content_type, packed, GZIP, *headers)

    def similar(self, request: Request) -> Sequence[ProjectFacts]:
        """
        Return the projects that the caller may read and may have meant, if a project is missing.

        There are none for any other page. The store is not read: it may be what has failed.
        """
        name = request.path_params.get("name", "")
        repository = self.context.index.peek_repository()
        if request.segments[:1] != ("project",) or not name or repository is None:
            return ()
        visible = repository.shown_projects.in_memory.readable_by(request.caller)
        # a project that the caller sees in the list is not missing: something of it is
        if any(visible.named([canonicalize_name(name)])):
            return ()
        return visible.similar(name)

    def error_page(
        self, facts: ErrorFacts, root: str, request: IndexRequest
    ) -> tuple[bytes, HeaderList]:
        """Return the bytes of the page of an error, and its headers."""
        # nobody's rights are looked for while the store may be what has failed
        if facts.status >= SERVER_ERROR or _is_about_server(request):
            viewer = self.viewer(request.caller)
        else:
            viewer = self.index_viewer(request)
        page = self.environment.render(
            "error.html",
            viewer,
            root,
            error=facts,
            is_missing_project=facts.status == NOT_FOUND and request.segments[:1] == ("project",),
        )
        return page, self.security_headers

    def headers(self, name: NormalizedName | None, request: IndexRequest | None) -> HeaderList:
        """
        Return the headers of a page about the project `name`, or about all projects.

        `request` is of the caller whom the page shows. None if it shows nobody, as a feed. Raises
        Unavailable if the grants decide which caches may keep it, and cannot be read.
        """
        context = self.context
        # behind Identity-Aware Proxy, a page is only for users that the proxy has authenticated
        is_behind_iap = context.index.authenticator.iap is not None
        scope: CacheScope = "private"
        if not is_behind_iap and (request is None or request.caller.is_anonymous):
            scope = context.read_policy.cache_scope(name)
        if scope == "public" and request is not None and _tells_of_granted(request):
            scope = "revalidated"
        return self.scoped_headers(scope)

    def scoped_headers(self, scope: CacheScope) -> HeaderList:
        """Return the headers of a page that the caches of a scope may keep."""
        settings = self.context.index.settings
        headers = responses.page_cache_headers(settings.http.public_max_age, scope)
        if scope != "private" and settings.access.cookie_login:
            remaining = tuple(header for header in headers if header != responses.VARY)
            headers = (responses.VARY_BY_COOKIE, *remaining)
        return self.security_headers + headers
