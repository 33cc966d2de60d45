"""
The ASGI application: from a request to a route, a caller and a reply.

A page in memory takes the short way, without a thread or the router.
"""

import logging
from asyncio import create_task
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus

from packaging.utils import NormalizedName

from wheelyard.errors import IndexFault
from wheelyard.http.audience import require_reading
from wheelyard.http.auth import Authenticator
from wheelyard.http.circumstances import Watched, address_of, shown
from wheelyard.http.desk import desk_of
from wheelyard.http.errors import (
    internal_error,
    not_taken,
    read_only,
    refusal,
    refuse,
)
from wheelyard.http.exchange import Headers, Receive, Reply, Request, Scope, Send, send_reply
from wheelyard.http.figures import Shelf
from wheelyard.http.guards import Guards, cross_site, is_foreign
from wheelyard.http.incoming import (
    USUAL,
    ClientGone,
    Incoming,
    Pace,
    SlowClient,
    drain,
    head_of,
    joined,
)
from wheelyard.http.observing import DETAIL, Observer
from wheelyard.http.pages import People
from wheelyard.http.pagestore import Hot, detail_subject
from wheelyard.http.routes import ASSERTION, routes_of
from wheelyard.http.routing import NOWHERE, Route, path_of, segments_of
from wheelyard.http.upload import Uploader
from wheelyard.index import Index
from wheelyard.model.access import Action
from wheelyard.model.distribution import parse_name
from wheelyard.operations.trial import Reason, written

logger = logging.getLogger("wheelyard")


class App:
    """The ASGI application that serves an index; one for each process."""

    def __init__(
        self,
        index: Index,
        pace: Pace = USUAL,
        shelf: Shelf | None = None,
        unwritable: Reason = written,
    ) -> None:
        settings = index.settings
        self._index = index
        self._pace = pace
        self._guards = Guards.of(settings)
        self._proxies = settings.server.trusted_proxies
        self._desk = desk_of(index, unwritable)
        self._auth = Authenticator(self._desk)
        self._observer = Observer(index, shelf)
        self._uploader = Uploader(self._desk)
        self._people = People(self._desk)
        self.routes = routes_of(self._desk, self._uploader, self._people, self._observer)
        self._hot = Hot()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection's event, as ASGI 3 has it."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _live(self, receive: Receive, send: Send) -> None:
        sharing = create_task(self._observer.share())
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        sharing.cancel()
        self._desk.threads.close()
        await self._observer.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        observer = self._observer
        began = observer.now()
        head, mark, at_once = head_of(scope["headers"]), None, None
        if head is not None:
            mark = self._auth.mark(head.get(b"authorization"), address_of(scope, self._proxies))
            at_once = self._at_once(scope, head, mark)
        if at_once is not None:
            answer, who = at_once
            await send_reply(answer, "GET", send, self._desk.threads.streamers)
            observer.at_once(scope, answer, who, began)
            return
        watched = observer.begin(scope, began)
        watched.mark = mark
        try:
            await self._serve_watched(scope, Incoming(receive, scope, self._pace), send, watched)
        finally:
            observer.end(watched)

    async def _serve_watched(
        self, scope: Scope, incoming: Incoming, send: Send, watched: Watched
    ) -> None:
        is_alone = False
        try:
            answer = await self._answer(scope, incoming, watched)
        except ClientGone:  # or it has sent a broken chunk
            is_alone = True
            message = "The body ended before all of it had come. Send it again."
            answer = refuse(400, "incomplete_body", message, "The body is incomplete.")
        except (SlowClient, TimeoutError):
            message = "The body comes too slowly. Send it again over a faster connection."
            answer = refuse(408, "request_timeout", message, "Too slow.")
        except Exception:
            logger.exception("a request failed: %s %s", scope["method"], shown(scope["raw_path"]))
            answer = internal_error()
        watched.answered(answer, is_alone=is_alone)
        gone = incoming.gone if incoming.has_ended else None
        await send_reply(answer, scope["method"], send, self._desk.threads.streamers, gone)
        if not incoming.has_ended:
            await drain(incoming, self._uploader.body_limit)

    def _at_once(self, scope: Scope, head: Headers, mark: bytes) -> tuple[Reply, str] | None:
        """Return a page that is in memory, and who asks for it."""
        if scope["method"] != "GET" or scope["query_string"]:
            return None
        name = self._hot.paths.get(mark + scope["raw_path"])
        if name is None or self._kept_out(scope):
            return None
        caller = self._auth.recent(mark)
        if caller is None or not caller.may(Action.READ, name):
            return None
        try:
            answer = self._in_memory(name, head)
        except IndexFault:
            return None
        return None if answer is None else (answer, caller.principal)

    def _in_memory(self, name: NormalizedName, head: Headers) -> Reply | None:
        snapshot = self._index.projects.peek(name)
        form = self._hot.form_for(head.get(b"accept", b""))
        if snapshot is None or form is None:
            return None
        page = self._desk.pages.get(detail_subject(name, form), snapshot.version)
        if page is None:
            return None
        encoding = self._hot.encoding_for(head.get(b"accept-encoding", b""))
        return page.reply(form, encoding, head.get(b"if-none-match"))

    def _kept_out(self, scope: Scope) -> Reply | None:
        if self._guards is None:
            return None
        return self._guards.refused(scope, joined(scope["headers"]))

    async def _answer(self, scope: Scope, incoming: Incoming, watched: Watched) -> Reply:
        route = NOWHERE
        try:
            refused = incoming.refused() or self._kept_out(scope) or incoming.malformed()
            if refused is not None:
                return refused
            method = scope["method"]
            path = self.routes.path(scope["raw_path"])
            route, params = self.routes.find(path, method)
            watched.route = route.name
            if method not in route.methods and route is not NOWHERE:
                return not_taken(method, self.routes.methods(path))
            request = Request(
                method=method,
                segments=segments_of(path),
                params=params,
                query=scope["query_string"],
                headers=incoming.headers,
                caller=self._auth.anonymous,
                address=address_of(scope, self._proxies),
                receive=incoming,
                has_body=incoming.has_body,
            )
            answer = await self._routed(request, route, watched)
        except IndexFault as fault:
            return self._refusal(fault, to_people=route.is_page and _is_browser(incoming))
        if answer.status == HTTPStatus.OK and route.name == DETAIL:
            self._remember(scope, request, watched)
        return answer

    async def _routed(self, request: Request, route: Route, watched: Watched) -> Reply:
        settings = self._index.settings
        is_open = route.is_open(request)
        if route.changes(request):
            if not is_open and is_foreign(request.headers, settings):
                return cross_site()
            if settings.server.read_only:
                return read_only()
        if not is_open:
            request = await self._identified(request, route, watched)
            watched.who = request.caller.principal
            if route.needs_reader:
                # before a name is looked at: a stranger learns nothing
                require_reading(request.caller)
        return await route.handler(request)

    async def _identified(self, request: Request, route: Route, watched: Watched) -> Request:
        login = self._index.doors.iap
        if login is not None and route.by_proxy(request):
            assertion = request.headers.get(ASSERTION, b"").decode("latin-1")
            return replace(request, caller=await self._auth.person(login, assertion))
        header, address = request.headers.get(b"authorization"), request.address
        if watched.mark is None:
            watched.mark = self._auth.mark(header, address)
        return replace(request, caller=await self._auth.caller(header, address, watched.mark))

    def _remember(self, scope: Scope, request: Request, watched: Watched) -> None:
        """Let this caller take the short way, if the path is as we link to it."""
        raw_path, name = scope["raw_path"], parse_name(request.params["name"])
        prefix = self._index.settings.server.path_prefix
        is_ours = raw_path == path_of(prefix, (*request.segments[:-1], name), b"").encode()
        if is_ours and watched.mark is not None:
            self._hot.remember(watched.mark, raw_path, name)

    def _refusal(self, fault: IndexFault, *, to_people: bool) -> Reply:
        self._desk.troubles.note(fault)
        if to_people:
            with suppress(IndexFault):  # which a page needs templates for
                return self._people.refusal(fault)
        return refusal(fault)


def _is_browser(incoming: Incoming) -> bool:
    return b"text/html" in incoming.headers.get(b"accept", b"")
