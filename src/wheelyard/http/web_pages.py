"""What the handlers of all pages for people share: templates, viewers, headers, cached pages."""

from collections.abc import Callable, Hashable
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.errors import WheelyardError
from wheelyard.http.caching.cache_headers import page_cache_headers
from wheelyard.http.caching.page_cache import Render
from wheelyard.http.context import ServerContext
from wheelyard.http.page_responses import load_page, page_response
from wheelyard.http.protocol.error_responses import REASON_PHRASES, error_response_for
from wheelyard.http.protocol.messages import (
    NO_STORE,
    Header,
    HeaderList,
    Request,
    Response,
    make_response,
)
from wheelyard.http.protocol.negotiation import MediaType
from wheelyard.model.access import Action
from wheelyard.rendering.web.environment import POLICY, PageEnvironment
from wheelyard.rendering.web.error_page import error_page
from wheelyard.rendering.web.viewer import ANYONE, Viewer
from wheelyard.storage.base import ObjectVersion

SECURITY_HEADERS: HeaderList = (
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
)


SAME_ORIGIN: Final[Header] = (b"referrer-policy", b"same-origin")


class WebPages:
    """Makes viewers, headers and responses of pages; made at the first request for a page."""

    def __init__(self, context: ServerContext) -> None:
        self.context = context
        settings = context.index.settings
        is_certain = bool(settings.server.public_url)
        self.environment = PageEnvironment(settings.index_url, is_certain=is_certain)

    def viewer(self, request: Request, name: NormalizedName | None = None) -> Viewer:
        """Return who looks at a page, which may be the page of the project `name`."""
        caller, settings = request.caller, self.context.index.settings
        if caller.is_anonymous:
            return ANYONE
        takes_changes = not settings.server.read_only
        return Viewer(
            name=caller.name or caller.principal.partition(":")[2],
            may_upload=takes_changes and caller.may_anywhere(Action.UPLOAD),
            may_manage=takes_changes and name is not None and caller.may(Action.MANAGE, name),
        )

    async def respond(
        self,
        request: Request,
        key: Hashable,
        version: ObjectVersion,
        render: Render,
        *,
        name: NormalizedName | None = None,
        is_current: Callable[[], bool] | None = None,
    ) -> Response:
        """
        Return the response with a page; if it is not in the cache, render it in a thread.

        Args:
            request: The request for the page.
            key: Everything besides `version` that the page depends on, such as the kind of page,
                what it is about, and its `Viewer`.
            version: The version of the document that the page shows.
            render: Returns the bytes of the page.
            name: The project that the page is about; None for a page of all projects.
            is_current: Whether the same caller may get this page again, without this handler.
        """
        page = await load_page(self.context, ("web", key), version, render, self.headers(name))
        return page_response(request, page, MediaType.HTML, is_current)

    def own_page(self, status: int, body: bytes, *headers: Header) -> Response:
        """
        Return a response with a page for this caller alone, such as one with a form.

        No cache may keep it. Its forms are sent with the origin of the page, which `csrf.py` needs.
        """
        every = ((b"content-security-policy", POLICY.encode()), SAME_ORIGIN, NO_STORE, *headers)
        return make_response(status, MediaType.HTML.value.content_type, body, *every)

    def error_page(self, error: WheelyardError, root: str) -> Response:
        """Return the HTML error response for `error`, with the status of the JSON response."""
        plain = error_response_for(error)
        title = REASON_PHRASES[plain.status]
        body = error_page(self.environment, ANYONE, root, title=title, message=error.message)
        of_body = (b"content-", b"x-content-")
        headers = [header for header in plain.headers if not header[0].startswith(of_body)]
        content_type = MediaType.HTML.value.content_type
        return make_response(plain.status, content_type, body, *headers, *SECURITY_HEADERS)

    def headers(self, name: NormalizedName | None) -> tuple[Header, ...]:
        """Return the headers of a page about the project `name`, or about all projects."""
        context = self.context
        # behind Identity-Aware Proxy, a page is only for users that the proxy has authenticated
        is_behind_iap = context.index.authenticator.iap is not None
        is_public = context.read_policy.is_public(name) and not is_behind_iap
        max_age = context.index.settings.http.public_max_age
        return (*SECURITY_HEADERS, *page_cache_headers(max_age, is_public=is_public))
