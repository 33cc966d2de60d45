"""
The ASGI application: from a request to a route, a caller, a handler and a reply.

A page that is in memory takes the short way: path, credential, page, variant, send. It waits for
no thread, no template and no router; one look at the object's version is all that it costs.
"""

import logging
from asyncio import create_task
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from http import HTTPStatus
from importlib import invalidate_caches
from typing import TYPE_CHECKING, Any, Final

from packaging.utils import NormalizedName

from wheelyard.errors import IndexFault
from wheelyard.http.address import address_of
from wheelyard.http.api import answer_api
from wheelyard.http.auth import Authenticator
from wheelyard.http.desk import Desk, name_in
from wheelyard.http.errors import internal_error, not_taken, nothing_here, refusal, refuse
from wheelyard.http.exchange import (
    Receive,
    Reply,
    Request,
    Scope,
    Send,
    redirect,
    send_reply,
)
from wheelyard.http.figures import Shelf
from wheelyard.http.files import file_by_key, file_by_name
from wheelyard.http.fixed import answer_fixed
from wheelyard.http.guards import Guards
from wheelyard.http.heads import Head, head_of, joined
from wheelyard.http.hot import Hot
from wheelyard.http.incoming import USUAL, ClientGone, Incoming, Pace, SlowClient, drain
from wheelyard.http.legacy import legacy_json
from wheelyard.http.metrics import answer_metrics, is_open_to, require_metrics
from wheelyard.http.negotiation import Form
from wheelyard.http.observing import Observer, name_of
from wheelyard.http.oidc import Exchanges
from wheelyard.http.origins import cross_site, is_foreign
from wheelyard.http.paths import Path, parse_path, path_of
from wheelyard.http.read_only import refused_change
from wheelyard.http.routes import (
    AddSlash,
    Api,
    Exchange,
    FileByKey,
    FileByName,
    Fixed,
    LegacyJson,
    Metrics,
    Nothing,
    ProjectDetail,
    ProjectList,
    ProjectPage,
    Route,
    Search,
    Upload,
    is_change,
    methods_at,
    prefix_of,
    route_of,
)
from wheelyard.http.search import answer_search
from wheelyard.http.shown import shown
from wheelyard.http.simple import detail_subject, form_of, project_detail, project_list
from wheelyard.http.token_api import is_account
from wheelyard.http.upload import Uploader
from wheelyard.http.watched import Watched
from wheelyard.http.wiring import close, desk_of
from wheelyard.http.xml_rpc import answer_call, is_xml_rpc
from wheelyard.index import Index
from wheelyard.model.access import Action
from wheelyard.model.distribution import parse_name
from wheelyard.operations.trial import Reason, written
from wheelyard.storage.faults import storage_faults

if TYPE_CHECKING:
    from wheelyard.http.pages import People

_HANDLERS: Final[dict[type[Any], Callable[[Request, Any, Desk], Awaitable[Reply]]]] = {
    ProjectDetail: project_detail,
    FileByKey: file_by_key,
    FileByName: file_by_name,
    LegacyJson: legacy_json,
    Api: answer_api,
    Search: answer_search,
}

ASSERTION: Final = b"x-goog-iap-jwt-assertion"
"""The header in which a proxy vouches for a person."""

logger = logging.getLogger("wheelyard")


def create_app(index: Index, shelf: Shelf | None = None, unwritable: Reason = written) -> "App":
    """
    Return the ASGI application that serves `index`, for any ASGI server.

    Args:
        index: What it serves.
        shelf: Where the workers of a server keep what they have counted, if it has several.
        unwritable: Tells why the store has taken no write since the start.
    """
    return App(index, shelf=shelf, unwritable=unwritable)


class App:
    """
    The application; one for each process.

    Args:
        index: What it serves.
        pace: How fast the body of a request must come.
        shelf: As for `create_app`.
        unwritable: As there.
    """

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
        self._auth = Authenticator.of(index)
        self._guards = Guards.of(settings)
        self._roots = frozenset(settings.server.roots)
        self._proxies = settings.server.trusted_proxies
        self._desk = desk_of(index, unwritable)
        self._uploader = Uploader.of(self._desk)
        self._exchanges = Exchanges.of(self._desk)
        self._observer = Observer.of(index, shelf)
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
        close(self._desk)
        await self._observer.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        observer = self._observer
        began = observer.now()
        at_once = self._at_once(scope)
        if at_once is not None:
            answer, who = at_once
            await send_reply(answer, "GET", send, self._desk.streamers)
            observer.at_once(scope, answer, who, began)
            return
        watched = observer.begin(scope, began)
        try:
            await self._serve_watched(scope, Incoming(receive, scope, self._pace), send, watched)
        finally:
            observer.end(watched)

    async def _serve_watched(
        self, scope: Scope, incoming: Incoming, send: Send, watched: Watched
    ) -> None:
        """Answer a request that takes the long way."""
        is_alone = False
        try:
            answer = await self._answer(scope, incoming, watched)
        except ClientGone:  # perhaps it is still there, and has only sent a broken chunk
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
        await send_reply(answer, scope["method"], send, self._desk.streamers, gone)
        if not incoming.has_ended:
            await drain(incoming, self._uploader.body_limit)

    def _at_once(self, scope: Scope) -> tuple[Reply, str] | None:
        """Return the page and who asks for it, if that needs no waiting and no thought."""
        if scope["method"] != "GET" or scope["query_string"]:
            return None
        head = head_of(scope["headers"])
        if head is None:
            return None
        address = address_of(scope, self._proxies)
        mark = self._auth.mark(head.authorization, address)
        name = self._hot.name(mark, scope["raw_path"])
        if name is None or self._kept_out(scope):
            return None
        try:
            caller = self._auth.fresh(head.authorization, address, mark)
            if caller is None or not caller.may(Action.READ, name):
                return None
            answer = self._in_memory(name, head)
        except IndexFault:
            return None
        return None if answer is None else (answer, caller.principal)

    def _in_memory(self, name: NormalizedName, head: Head) -> Reply | None:
        snapshot = self._index.projects.fresh(name)
        form, encoding = self._hot.negotiated(head)
        if snapshot is None or form is None:
            return None
        page = self._desk.pages.get(detail_subject(name, form), snapshot.version)
        return None if page is None else page.reply(form, encoding, head.if_none_match)

    def _kept_out(self, scope: Scope) -> Reply | None:
        """Return the refusal of a request that a setting keeps out, else None."""
        guards = self._guards
        return None if guards is None else guards.refused(scope, joined(scope["headers"]))

    async def _answer(self, scope: Scope, incoming: Incoming, watched: Watched) -> Reply:
        """Return the reply to a request that takes the long way."""
        route: Route = Nothing()
        try:
            refused = incoming.refused() or self._kept_out(scope) or incoming.malformed()
            if refused is not None:
                return refused
            server = self._index.settings.server
            raw_path = scope["raw_path"]
            path = parse_path(raw_path, prefix_of(raw_path, server.path_prefix))
            method = scope["method"]
            route = route_of(path, method, self._roots)
            watched.route = name_of(route)
            methods = () if method in route.allowed else methods_at(path, self._roots)
            if methods:
                return not_taken(method, methods)
            if is_change(route, method) and is_foreign(incoming.headers, self._index.settings):
                return cross_site()
            request = Request(
                method=method,
                segments=path.segments,
                ends_with_slash=path.ends_with_slash,
                query=scope["query_string"],
                headers=incoming.headers,
                caller=self._auth.anonymous,
                address=address_of(scope, server.trusted_proxies),
                receive=incoming,
                has_body=incoming.has_body,
            )
            answer = await self._answer_anybody(request, route)
            if answer is not None:
                return answer
            request = await self._identified(request, route)
            watched.who = request.caller.principal
            if not isinstance(route, Upload):
                # before a name is looked at: a stranger learns nothing, not even what is a name
                self._desk.require_reading(request.caller)
            answer = await self._dispatch(request, route)
        except IndexFault as fault:
            shown = isinstance(route, ProjectPage) and _is_browser(incoming)
            return self._refusal(fault, to_people=shown)
        if answer.status == HTTPStatus.OK and isinstance(route, ProjectDetail):
            self._remember(scope, route, request.headers.get(b"authorization"))
        return answer

    async def _answer_anybody(self, request: Request, route: Route) -> Reply | None:
        """Return the reply where it does not matter who asks, else None."""
        refused = refused_change(request, route, self._index.settings.server)
        if refused is not None:
            return refused
        if isinstance(route, Exchange):
            return await self._exchanges.answer(request, route)
        if isinstance(route, Fixed):
            return await answer_fixed(request, route, self._desk)
        if isinstance(route, Metrics) and is_open_to(request, self._index.settings):
            return await answer_metrics(self._desk, self._observer)
        return None

    async def _identified(self, request: Request, route: Route) -> Request:
        """Return the request with its caller, who is asked for before anything else is."""
        login = self._index.doors.iap
        if login is not None and _is_for_people(request, route):
            assertion = request.headers.get(ASSERTION, b"").decode("latin-1")
            caller = await self._desk.person(login, assertion)
            return replace(request, caller=caller)
        header, address = request.headers.get(b"authorization"), request.address
        known = self._auth.fresh(header, address, self._auth.mark(header, address))
        if known is None and header is not None:
            credential = self._auth.credential(header, address)
            known = await self._desk.caller(credential, header, address)
        return replace(request, caller=known or self._auth.anonymous)

    async def _dispatch(self, request: Request, route: Route) -> Reply:
        match route:
            case ProjectList():
                return await self._list(request, route)
            case ProjectPage():
                return await self._people.project(request, route)
            case Metrics():
                require_metrics(request)
                return await answer_metrics(self._desk, self._observer)
            case Upload():
                if is_xml_rpc(request):
                    answer = answer_call(request, self._desk)
                else:
                    answer = self._uploader.answer(request, route)
                return await answer
            case AddSlash() | Nothing():
                return self._elsewhere(request, route)
            case _:
                return await _HANDLERS[type(route)](request, route, self._desk)

    async def _list(self, request: Request, route: ProjectList) -> Reply:
        """Answer an index root; `/` itself is a page for people unless a program asks."""
        if route.is_home and form_of(request) in (None, Form.HTML):
            return await self._people.home(request)
        return await project_list(request, self._desk)

    def _elsewhere(self, request: Request, route: Route) -> Reply:
        if isinstance(route, AddSlash):
            self._require_target(request)
            prefix = self._index.settings.server.path_prefix
            return redirect(301, path_of(prefix, request.segments, request.query))
        return nothing_here()

    def _require_target(self, request: Request) -> None:
        """Refuse who may not read the project that a path without its slash is about."""
        slashed = Path(request.segments, ends_with_slash=True)
        target = route_of(slashed, request.method, self._roots)
        if isinstance(target, ProjectDetail | ProjectPage):
            self._desk.require_read(request.caller, name_in(target.name))

    def _remember(self, scope: Scope, route: ProjectDetail, header: bytes | None) -> None:
        """Let whoever has asked take the short way from now on, if the path is as ours are."""
        raw_path, name = scope["raw_path"], parse_name(route.name)
        prefix = self._index.settings.server.path_prefix
        if raw_path == path_of(prefix, (*route.root, name), b"").encode():
            mark = self._auth.mark(header, address_of(scope, self._proxies))
            self._hot.remember(mark, raw_path, name)

    def _refusal(self, fault: IndexFault, *, to_people: bool) -> Reply:
        self._desk.troubles.note(fault)
        if to_people:
            with suppress(IndexFault):  # the page is a courtesy, and needs templates
                return self._people.refusal(fault)
        return refusal(fault)

    @cached_property
    def _people(self) -> "People":
        """
        The pages for people; where they cannot be had, the next request tries again.

        Raises:
            Unavailable: Their code or their templates could not be read.
        """
        # templates take longer to import than the first page of the Simple API may take
        with storage_faults("the templates of the pages"):
            try:
                from wheelyard.http.pages import People  # noqa: PLC0415

                return People.of(self._desk)
            except ImportError as error:  # what could not be listed seemed not to be there
                invalidate_caches()
                raise OSError(str(error)) from error


def _is_for_people(request: Request, route: Route) -> bool:
    """Return whether a request is from a person whom a proxy has let through, if there is one."""
    is_home = isinstance(route, ProjectList) and route.is_home
    if is_account(route) or isinstance(route, Search):
        headers = request.headers  # who sends a credential of their own is known by that
        return ASSERTION in headers and b"authorization" not in headers
    return isinstance(route, ProjectPage) or (is_home and form_of(request) in (None, Form.HTML))


def _is_browser(incoming: Incoming) -> bool:
    return b"text/html" in incoming.headers.get(b"accept", b"")
