"""Handler of `/-/pictures/`: pictures of other servers that descriptions show."""

from asyncio import wrap_future
from functools import partial
from math import ceil
from typing import Final

from wheelyard.authentication.verifiers.verifier import LoginRateLimit
from wheelyard.concurrency.threads import DaemonThreads
from wheelyard.errors import RATE_LIMITED, NotFound, Unavailable
from wheelyard.http.context import ServerContext
from wheelyard.http.messages import Header, Request, Response, make_response
from wheelyard.http.representation import is_not_modified
from wheelyard.http.work_limits import ConcurrencyLimit, SingleFlight
from wheelyard.pictures.proxy import VIA, PictureProxy, ShownPicture

FETCHES: Final = 8
"""Pictures that a process fetches at a time, half of them for one client."""
WAIT_SECONDS: Final = 20.0
"""How long a request waits for its turn."""
FETCHES_PER_MINUTE: Final = 300
"""Pictures that are not in memory, and that one client may ask for."""
HEADERS: Final[tuple[Header, ...]] = (
    # styles and pictures inside an SVG are its own: nothing is loaded, and nothing runs
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox",
    ),
    (b"content-disposition", b"attachment"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""Who opens a picture by its URL downloads it, and pages of other sites cannot show it."""


class Pictures:
    """Answers with pictures of other servers, which are fetched one at a time for each URL."""

    def __init__(self, context: ServerContext, proxy: PictureProxy) -> None:
        self._proxy = proxy
        self._threads = DaemonThreads(FETCHES, "pictures")
        self._limit = ConcurrencyLimit(FETCHES, "pictures", wait_timeout=WAIT_SECONDS)
        self._rate = LoginRateLimit(FETCHES_PER_MINUTE, context.index.runtime.monotonic)
        self._in_flight = SingleFlight()

    def answer(self, request: Request) -> Response:
        """
        Handle GET `/-/pictures/<signature>/<address>`.

        Raises NotFound unless a page of this index has the path, and if another index asks, as it
        may be this one itself, or if the picture cannot be had: then browsers show its alternative
        text. Raises Unavailable if the client asks for too many pictures.
        """
        params = request.path_params
        url = self._proxy.paths.url_of(params["signature"], params["address"])
        if url is None or VIA.encode() in request.joined_headers.get(b"via", b""):
            raise NotFound("There is no picture at this path. Load the page that shows it again.")
        shown = self._proxy.peek(url)
        if shown is None:
            shown = request.wait("picture", self._fetched, url, request.client_key)
        picture = shown.picture
        if picture.fault:
            advice = "Try again in two minutes, or follow the link of the picture on its page."
            raise NotFound(f"This picture is not shown: {picture.fault}. {advice}")
        headers = (
            (b"cache-control", b"private, max-age=%d" % shown.seconds),
            (b"etag", b'"%b"' % picture.etag),
            *HEADERS,
        )
        if is_not_modified(request.joined_headers.get(b"if-none-match"), picture.etag):
            return Response(304, headers)
        return make_response(200, picture.media_type.encode(), picture.body, *headers)

    async def _fetched(self, url: str, client: str) -> ShownPicture:
        """
        Return what is shown for a URL, once all who want it have waited together.

        Raises Unavailable if the client has asked for too much.
        """
        wait = self._rate.count_attempt(f"pictures-{client}")
        if wait:
            message = "Too many pictures were asked for that are not kept here."
            raise Unavailable(message, code=RATE_LIMITED, retry_after=ceil(wait))
        return await self._in_flight.run(url, self._fetch, url, client)

    async def _fetch(self, url: str, client: str) -> ShownPicture:
        async with self._limit.acquire(client):
            return await wrap_future(self._threads.start(partial(self._proxy.fetch, url)))
