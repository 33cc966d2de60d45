"""What the handlers of pages for people share: templates, viewers, headers and responses."""

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
"""How long a page is repeated that shows what the caller may read in other indexes."""
MEMORY_BYTES: Final = 1024**2
"""The memory of each of the two caches of an index's pages."""
NAMES_ENTRY_BYTES: Final = 256
"""The estimated memory of an entry of `RequiredNames`, besides its key and its names."""
NAME_BYTES: Final = 100
"""The estimated memory of a name in such an entry, besides its text."""
SERVER_ERROR: Final = 500
"""The lowest HTTP status of a failure of the server."""
SERVER_PAGES: Final = ("account", "admin", "docs", "request", "sign-in", "tokens")
"""The pages below `/-/` that are about the whole server, and not about one index."""

RequiredNames = LruCache[str, frozenset[NormalizedName]]
"""The names that releases require, by project and the digest of core metadata or of a file."""


class TemporaryPage(Exception):
    """A page that no cache may keep, as the next request may get a better one."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.body = body


class ReleaseMetadata:
    """
    The core metadata of a release, read at most once for a page.

    Args:
        request: The request for the page, which waits for an upstream index.
        listing: The listing that has the release.
        file: The file of the release whose core metadata is read.
    """

    def __init__(self, request: Request, listing: OpenListing, file: ShownFile) -> None:
        self._request = request
        self.listing = listing
        self.file = file
        # no cached_property: in Python 3.11 it has one lock for all objects
        self._core: CoreMetadata | None = None
        self._is_minimum = False

    @property
    def core(self) -> CoreMetadata:
        """
        The core metadata, or a minimum of it if its upstream index does not send it.

        Raises Forbidden if the policy refuses the file, as for a blocked licence. Raises
        Unavailable if the store does not answer, or has lost the core metadata. Raises Waiting if
        an upstream index has to be asked.
        """
        if self._core is None:
            self._core = self._read_core()
        return self._core

    @property
    def is_missing(self) -> bool:
        """
        Whether `core` is a minimum because its upstream index has not sent the core metadata.

        Raises Forbidden, Unavailable or Waiting if `core` has to be read, and cannot be.
        """
        if self._core is None:
            self._core = self._read_core()
        return self._is_minimum

    def _read_core(self) -> CoreMetadata:
        """Return the core metadata or a minimum, and note which. Raises errors as `core` does."""
        core = None
        try:
            core = self.listing.open.core_metadata(self._request, self.file.filename)
        except Unavailable as error:
            # a page that shows less is better than an error while an upstream index is away
            if error.code not in UPSTREAM_CODES:
                raise
        self._is_minimum = core is None
        return core or parse_any(None, self.listing.name, self.file.version)

    def required_names(self, remembered: RequiredNames) -> frozenset[NormalizedName]:
        """
        Return the names of all projects that the release may need, or none if these are not known.

        They are not known if its upstream index does not send the core metadata. If they are known,
        and the file has a digest, they are put into `remembered`. Raises Forbidden, Unavailable or
        Waiting if `core` has to be read, and cannot be.
        """
        digest = self.file.core_metadata or self.file.sha256
        # without a digest, nobody knows whether the next page is about the same file
        if not digest:
            return dependency_names(self.core)
        key = f"{self.listing.name} {digest}"
        names = remembered.get(key)
        if names is None:
            names = dependency_names(self.core)
            # a minimum must not be remembered: the next request may get the real core metadata
            if not self.is_missing:
                names_size = sum(NAME_BYTES + len(name) for name in names)
                remembered.put(key, names, NAMES_ENTRY_BYTES + len(key) + names_size)
        return names


class WebPages:
    """Makes viewers, headers and responses of the pages of one index."""

    def __init__(self, context: IndexContext) -> None:
        self.context = context
        settings = context.index.settings
        takes_uploads = context.index.definition.takes_uploads and not settings.server.read_only
        self.required_names: RequiredNames = LruCache(MEMORY_BYTES)
        self.latest_files: LruCache[str, ShownFile] = LruCache(MEMORY_BYTES)
        """The file that describes the latest release, by name and version of a listing."""
        self.environment = PageEnvironment(
            settings.index_url,
            is_certain=bool(settings.server.public_url),
            files_url=context.files_from_page,
            brand=context.index.server.brand,
            serves_public=context.index.upstream is not None,
            is_static=context.process.site is not None,
            counts_downloads=context.downloads is not None,
            index_name=context.index.definition.path,
            takes_uploads=takes_uploads,
        )
        self.security_headers: HeaderList = (
            (b"content-security-policy", self.environment.policy.encode()),
            # else forms would be sent without an origin, as if from a page of another site
            (b"referrer-policy", b"same-origin"),
        )

    def viewer(self, caller: Caller, name: NormalizedName | None = None) -> Viewer:
        """
        Return who looks at a page, which may be the page of the project `name`.

        The viewer has no other indexes, and the number of waiting requests that is in memory.
        """
        index = self.context.index
        is_read_only = index.settings.server.read_only
        viewer = Viewer(
            may_sign_in=index.settings.access.cookie_login or index.authenticator.iap is not None,
            may_own_tokens=caller.can_own_tokens,
            may_ask=self.context.process.site is None and not is_read_only,
        )
        if caller.is_anonymous:
            return viewer
        may_approve = caller.may_anywhere(Action.APPROVE)
        waiting_requests = 0
        if may_approve and index.upstream is not None:
            # only the pages of approvers need this module
            from wheelyard.api.package_request_operations import count_waiting  # noqa: PLC0415

            waiting_requests = count_waiting(index, caller)
        may_manage = name is not None and caller.may(Action.MANAGE, name)
        return replace(
            viewer,
            name=caller.name or short_name(caller.principal),
            may_upload=index.takes_uploads and caller.may_anywhere(Action.UPLOAD),
            may_manage=may_manage and not is_read_only,
            may_administer=caller.administers_server,
            may_approve=may_approve and not caller.administers_server,
            waiting_requests=waiting_requests,
        )

    def may_decide(self, caller: Caller, name: NormalizedName) -> bool:
        """Return whether somebody may approve a public package on a page of this index."""
        index = self.context.index
        # people decide in main, where they may have other rights
        if not index.definition.is_main or index.settings.server.read_only:
            return False
        return not caller.is_anonymous and caller.may(Action.APPROVE, name)

    def index_viewer(self, request: IndexRequest, name: NormalizedName | None = None) -> Viewer:
        """
        Return who looks at a page of this index, with the other indexes that they may read.

        With `name`, the page is about the project of that name. The other indexes are noted in the
        request.
        """
        viewer = self.viewer(request.caller, name)
        if self.context.process.site is None and not self.context.known_indexes.names:
            return viewer
        # no server with one index needs this module
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
        Return the viewer of a page of a project, with what each index has of that project.

        The result is `viewer` itself if that names no indexes, for a static site, and for the view
        of a day. What a page of a private project shows of other indexes is noted in the request.

        `version` is the version of the release that the page shows, or an empty text, and
        `is_release` says whether the page is about that release alone. `is_public` is for a public
        project: no upstream index is asked because of another index.
        """
        is_of_site = self.context.process.site is not None
        is_of_day = self.context.index.definition.day is not None
        if not viewer.indexes or is_of_site or is_of_day:
            return viewer
        from wheelyard.http.other_indexes import places_of, public_places_of  # noqa: PLC0415

        if is_public:
            places = public_places_of(request, viewer.indexes, name, version)
            return replace(viewer, places=places)
        places, request.made_from_elsewhere = places_of(
            request, viewer.indexes, name, version, is_release=is_release
        )
        return replace(viewer, places=places)

    def managed_viewer(self, request: IndexRequest, name: NormalizedName) -> Viewer:
        """
        Return the viewer of a page for those who manage a project, which this index has.

        What the page shows of other indexes is noted in the request.
        """
        return self.with_places(request, self.index_viewer(request, name), name)

    def releases_elsewhere(
        self, request: IndexRequest, viewer: Viewer, name: NormalizedName
    ) -> tuple[ReleasesElsewhere, ...]:
        """
        Return which releases of a private project other indexes have, those that the page names.

        The result is empty if the viewer has no `places`: then the page names no other index.
        """
        if not viewer.places:
            return ()
        from wheelyard.http.other_indexes import releases_elsewhere  # noqa: PLC0415 - above

        return releases_elsewhere(request, name)

    def choosing_viewer(self, request: IndexRequest, name: NormalizedName | None = None) -> Viewer:
        """
        Return who looks at a page of this index on which a client can be chosen.

        The viewer has the client that was chosen before, the other indexes that they may read,
        which are noted in the request, whether they may promote the project `name` to one of these,
        and whether installing it needs a credential. Without `name`, the last is about all
        projects.

        The viewer may not promote the project if nobody can say now whether they may. Raises
        Unavailable if the grants cannot be read.
        """
        viewer = self.index_viewer(request, name)
        may_promote = False
        if name is not None:
            # the credential may have ended in this moment: the next request says so
            with suppress(Unauthenticated, Unavailable):
                first_target = next(self.promotion_targets(request, name), None)
                may_promote = first_target is not None
        needs_credential = not self.context.read_policy.is_public(name)
        return replace(
            viewer,
            client=_client_of(request),
            may_promote=may_promote,
            needs_credential=needs_credential,
        )

    def promotion_targets(self, request: Request, name: NormalizedName) -> Iterator[Index]:
        """
        Yield the other indexes with packages that the caller may upload a project to.

        There are none for an anonymous caller, on a read-only server, and if this index has no
        packages of its own. Raises Unavailable if nobody can say now which indexes there are, or
        who the caller is there. Raises Unauthenticated if the credential does not hold any more.
        """
        index = self.context.index
        caller_in = CallerElsewhere(request, index)
        takes_changes = index.definition.has_packages and not index.settings.server.read_only
        if request.caller.is_anonymous or not takes_changes:
            return
        definitions = index.server.definitions.load().with_main
        for index_name, definition in sorted(definitions.items()):
            if index_name != index.name and definition.has_packages:
                target = index.named(index_name)
                if caller_in(target).may(Action.UPLOAD, name):
                    yield target

    @property
    def until_rights_change(self) -> float:
        """Until when a page may be repeated, as rights elsewhere may change: a monotonic time."""
        if not self.context.known_indexes.names:
            return inf
        # as long as a credential counts after it was verified
        return self.context.index.server.runtime.monotonic() + RIGHTS_SECONDS

    def path(self, *segments: str, query: bytes = b"") -> str:
        """Return the URL path of a page, and its query unless that may have a secret."""
        return build_path(self.context.index.settings.server, segments, query)

    def require_lookup(self, request: Request) -> NormalizedName:
        """
        Return the name of the project in a URL.

        Raises NotFound for a text that is no name, and Unauthenticated, Forbidden or NotFound
        unless the caller may ask for the project.
        """
        name = parse_project_name(request.path_params["name"])
        self.context.read_policy.require_lookup(request.caller, name)
        return name

    def require_reader(self, request: Request) -> NormalizedName:
        """
        Return the name of the project in a URL.

        Raises NotFound for a text that is no name, and Unauthenticated, Forbidden or NotFound
        unless the caller may read the project.
        """
        name = parse_project_name(request.path_params["name"])
        self.context.read_policy.require_project_read(request.caller, name)
        return name

    def require_manager(self, request: Request) -> NormalizedName:
        """
        Return the name of the project in a URL.

        Raises Unauthenticated if the caller is anonymous, and Forbidden if another caller may not
        manage the project. Raises NotFound for a text that is no name, or a project that the caller
        may not read.
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

        `key` has everything that the page depends on besides `version`, such as its `Viewer`.
        `render` may raise TemporaryPage, whose page is sent, and kept by no cache. `listing` is the
        project that the page is about. `shows` is what the page was made from besides the listing,
        and besides the parts of other indexes that the request notes, or None if each request needs
        a page of its own. `until` is a monotonic time, after which an identical request may get
        another page.

        Raises Invalid (412) if If-Match has another ETag, and what else `render` raises. Raises
        Unavailable if the grants decide which caches may keep the page, and cannot be read.
        """
        is_upstream = listing is not None and listing.origin.is_upstream
        name = None if listing is None else listing.name
        headers = self.headers(name, request)
        client = _client_of(request)
        if is_upstream:  # no shared cache may keep the page: the name may become private any time
            headers = (
                self.security_headers
                + responses.page_cache_headers(0, "private")
                + (responses.FROM_UPSTREAM,)
            )
        elif client:  # the page has the choice of this browser
            headers = self.security_headers + responses.page_cache_headers(0, "private")
        made_from = None
        if shows is not None and request.made_from_elsewhere is not None:
            made_from = shows + request.made_from_elsewhere
        try:
            return responses.page_response(
                self.context,
                request,
                MediaType.HTML,
                # the pages for programs are in the same cache, and must have other keys
                ("web", client, key),
                version,
                render,
                repeats=(made_from, min(until, self.until_rights_change)),
                listing=listing,
                headers=headers,
            )
        except TemporaryPage as temporary:
            source_headers = (responses.FROM_UPSTREAM,) if is_upstream else ()
            response = self.own_page(request, 200, temporary.body, *source_headers)
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
        Return the response with a template's page for one viewer, which no cache may keep.

        `root` is the way to the home page.
        """
        page = self.environment.render(template, viewer, root, **values)
        return self.own_page(request, status, page)

    def own_page(self, request: Request, status: int, body: bytes, *headers: Header) -> Response:
        """Return a page for this caller alone, such as one with a form: no cache may keep it."""
        # compressed, too: no length tells a secret (BREACH), as other sites' pages send no cookie
        return self._new_page(request, status, body, *self.security_headers, NO_STORE, *headers)

    def uncached_page(self, request: Request, body: bytes, *headers: Header) -> Response:
        """Return a page that is made for each request, with the headers that are given."""
        return self._new_page(request, 200, body, *headers)

    def _new_page(self, request: Request, status: int, body: bytes, *headers: Header) -> Response:
        """Return a page with some headers, compressed if the client takes that."""
        content_type = MediaType.HTML.value.content_type
        compressed_body = compressed(body) if accepts_gzip(request.joined_headers) else None
        if compressed_body is None:
            return make_response(status, content_type, body, *headers)
        return make_response(status, content_type, compressed_body, GZIP, *headers)

    def similar(self, request: Request) -> Sequence[ProjectFacts]:
        """
        Return the projects that the caller may read and may have meant, if a project is missing.

        There are none for any other page. The store is not read, as it may have failed.
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
        # the rights in other indexes are not looked up in a store that may have failed
        if facts.status >= SERVER_ERROR or _is_about_server(request):
            viewer = self.viewer(request.caller)
        else:
            viewer = self.index_viewer(request)
        is_of_project = request.segments[:1] == ("project",)
        page = self.environment.render(
            "error.html",
            viewer,
            root,
            error=facts,
            is_missing_project=is_of_project and facts.status == NOT_FOUND,
        )
        return page, self.security_headers

    def headers(self, name: NormalizedName | None, request: IndexRequest | None) -> HeaderList:
        """
        Return the headers of a page about the project `name`, or about all projects.

        `request` has the caller whose name the page shows, and is None if the page shows no caller,
        as a feed. Raises Unavailable if the grants decide which caches may keep the page, and
        cannot be read.
        """
        context = self.context
        # behind Identity-Aware Proxy, a page is only for users that the proxy has authenticated
        is_behind_iap = context.index.authenticator.iap is not None
        shows_nobody = request is None or request.caller.is_anonymous
        scope: CacheScope = "private"
        if shows_nobody and not is_behind_iap:
            scope = context.read_policy.cache_scope(name)
        if scope == "public" and request is not None and _names_granted_index(request):
            scope = "revalidated"
        return self.scoped_headers(scope)

    def scoped_headers(self, scope: CacheScope) -> HeaderList:
        """Return the headers of a page that the caches of a scope may keep."""
        settings = self.context.index.settings
        headers = responses.page_cache_headers(settings.http.public_max_age, scope)
        if scope != "private" and settings.access.cookie_login:
            other_headers = [header for header in headers if header != responses.VARY]
            headers = (responses.VARY_BY_COOKIE, *other_headers)
        return self.security_headers + headers


def _client_of(request: Request) -> str:
    """Return the client that was chosen in the browser of a request, or an empty text."""
    return chosen_client(request.joined_headers.get(b"cookie", b""))


def _is_about_server(request: Request) -> bool:
    """Return whether a request is for a page about the whole server."""
    segments = request.segments
    return len(segments) > 1 and segments[0] == "-" and segments[1] in SERVER_PAGES


def _names_granted_index(request: IndexRequest) -> bool:
    """Return whether a page names an index that a grant may have opened, until the grant ends."""
    readable_indexes = request.readable_indexes or ()
    return any(readable.index.read_policy.depends_on_grants for readable in readable_indexes)
