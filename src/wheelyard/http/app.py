"""
The ASGI application of one server process: it traces a request, and finds the index it is for.

Each index has an application of its own (`index_app.py`), which is built when a request first needs
it, and anew when a definition has changed. For each request, this module looks which definitions
are current: on a local store by a system call that all requests of one turn share, on a remote
store by reads, as often as any document is read.
"""

from asyncio import get_running_loop
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import TYPE_CHECKING, Final

from wheelyard.concurrency.caches import LruCache
from wheelyard.errors import WheelyardError
from wheelyard.http.context import IndexContext
from wheelyard.http.context_building import build_context, context_of_index
from wheelyard.http.fast_path import FAULT, AsgiApp, Fault
from wheelyard.http.index_app import IndexApp
from wheelyard.http.instrumentation import Instrumentation, require_telemetry
from wheelyard.http.messages import UNMATCHED_ROUTE, AsgiScope, Receive, Send
from wheelyard.http.requests import BodyTimeouts
from wheelyard.http.routes import build_routes
from wheelyard.http.routing import RouteTable
from wheelyard.http.upload_handler import UploadHandler
from wheelyard.model import index_name
from wheelyard.operations.check_store import Reason, always_writable
from wheelyard.operations.index_definitions import KnownIndexes, served_definition
from wheelyard.wiring.index import Index

if TYPE_CHECKING:
    from wheelyard.http.opentelemetry import Telemetry

DATED_BYTES: Final = index_name.DATED.encode()
MAX_BUILT: Final = 64
"""The most applications that a process has ready, besides that of main."""


class App:
    """
    The ASGI application of one server process.

    The constructor raises Invalid (code `bad_setting`) if OpenTelemetry is configured, but not
    installed. With an upstream index, it raises Invalid if something that the policy needs is
    wrong, and Unavailable if that cannot be read.
    """

    def __init__(
        self,
        index: Index,
        body_timeouts: BodyTimeouts | None = None,
        write_failure: Reason = always_writable,
    ) -> None:
        context = build_context(index, write_failure)
        self._context = context
        self._instrumentation = Instrumentation(index)
        self._body_timeouts = body_timeouts or BodyTimeouts()
        uploads = UploadHandler(index.server)
        self._routes = build_routes(context.process, uploads, self._instrumentation)
        self._main_app = self._index_app(context)
        self._main_definitions: KnownIndexes = context.known_indexes
        """The definitions that the application of main was made for, or equal ones."""
        self._apps = LruCache[str, IndexApp](MAX_BUILT)
        """The applications of other indexes and of days, by their paths."""
        self._definitions_of_turn: KnownIndexes | None = None
        """The definitions that were read in this turn of the event loop, or None."""
        self._prefix = index.settings.server.path_prefix.encode()
        self._traced_app: AsgiApp = self._route
        """Answers a request, with a trace if OpenTelemetry is configured."""
        self._telemetry: Telemetry | None = None
        endpoint = index.settings.telemetry.otlp_endpoint
        if endpoint:
            require_telemetry(index.settings)
            # an optional dependency, which takes a third of a second to import
            from wheelyard.http import opentelemetry  # noqa: PLC0415

            self._telemetry = opentelemetry.Telemetry(endpoint, self._traced_app, self)
            self._traced_app = self._telemetry

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Handle one ASGI scope: a request, the lifespan, or a WebSocket, which is closed."""
        if scope["type"] == "http":
            await self._traced_app(scope, receive, send)
        elif scope["type"] == "lifespan":
            async with self.running():
                while (await receive())["type"] == "lifespan.startup":
                    await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await send({"type": "websocket.close", "code": 1000})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Close everything that requests have opened at the end of an `async with` block."""
        try:
            yield
        finally:
            # first the upstream indexes, as the threads of the pools may wait for them
            if self._context.upstream is not None:
                self._context.upstream.upstream.close()
            self._context.process.close()
            for index in self._context.index.server.indexes.built():
                if index.downloads is not None:
                    index.downloads.close()
            self._instrumentation.close()
            if self._telemetry is not None:
                self._telemetry.close()

    @property
    def routes(self) -> RouteTable:
        """The routes of main."""
        return self._main_app.routes

    def name_of(self, raw_path: bytes, method: str) -> str:
        """Return the name of the route that answers a method of a raw path, or UNMATCHED_ROUTE."""
        app = self._apps.get(self._index_path(raw_path)) or self._main_app
        try:
            return app.name_of(raw_path, method)
        except WheelyardError:
            return UNMATCHED_ROUTE

    async def _route(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer a request by the application of the index that its path names."""
        index_path = self._index_path(scope["raw_path"])
        # an earlier request of this turn of the event loop may have found that main is current
        is_main_current = self._definitions_of_turn is self._main_definitions
        if not index_path and is_main_current:
            app = self._main_app
        else:
            app = await self._current_app(index_path, scope)
        await app.answer_request(scope, receive, send)

    def _index_path(self, raw_path: bytes) -> str:
        """
        Return the part of a raw path that may be the path of an index, or an empty text for main.

        That is the first segment, with the second segment for the view of a day.
        """
        if not raw_path.startswith(self._prefix):
            return ""
        path = raw_path[len(self._prefix) + 1 :]
        first_segment, _, path_below = path.partition(b"/")
        name = first_segment.decode("latin-1")
        # without a look at the definitions: this runs for each request, before any other check
        if name in index_name.RESERVED_INDEX_NAMES or not index_name.NAME_FORM.fullmatch(name):
            return ""
        if path_below.startswith(DATED_BYTES):
            second_segment, _, _ = path_below.partition(b"/")
            view = second_segment.decode("latin-1")
            if index_name.is_dated_view(view):
                return f"{name}/{view}"
        return name

    async def _current_app(self, index_path: str, scope: AsgiScope) -> IndexApp:
        """
        Return the application of the index at a path, or that of main if no index is there.

        If nobody can say which index that is, or the index does not work, the application of main
        answers with the error, which is put into the scope.
        """
        definitions = self._context.index.server.definitions
        pools = self._context.process.pools
        try:
            in_force = self._peek()
            if in_force is None:  # the definitions have to be read from a bucket
                in_force = await pools.run_in(pools.reads, definitions.load)
            if not index_path:
                return self._current_main_app(in_force)
            # the name is empty for a day of main
            name, day = _name_and_day(index_path)
            if name and name not in in_force.names:
                return self._current_main_app(in_force)
            app = self._apps.get(index_path)
            # of all definitions, as an index shows what the definitions of its layers say, too
            if app is None or app.context.known_indexes is not in_force:
                app = self._new_app(in_force, name or index_name.MAIN, day)
                self._apps.put(index_path, app, 1)
        except Exception as error:  # noqa: BLE001 - it is answered and logged as any other
            scope[FAULT] = Fault(error, is_of_main=not index_path)
            return self._main_app
        return app

    def _current_main_app(self, in_force: KnownIndexes) -> IndexApp:
        """Return the application of main. Raises Unavailable if its definition is wrong."""
        # identity first: definitions that were read anew are mostly equal, and slow to compare
        if in_force is not self._main_definitions:
            served_definition(in_force, index_name.MAIN)
            if in_force != self._main_app.context.known_indexes:
                self._main_app = self._new_app(in_force, index_name.MAIN)
                # so that nothing keeps the earlier context, which has pages in memory
                self._context = self._main_app.context
            self._main_definitions = in_force
        return self._main_app

    def _new_app(self, in_force: KnownIndexes, name: str, day: date | None = None) -> IndexApp:
        """Return a new application of an index, or of its state at the end of a day."""
        index = self._context.index.server.indexes.by(in_force, name)
        if day:
            index = index.as_of(day)
        return self._index_app(context_of_index(self._context, index, in_force))

    def _peek(self) -> KnownIndexes | None:
        """
        Return all definitions, or None if a remote store has to be read first.

        On a local store this makes a system call, which all requests of one turn of the event loop
        share: they came before the call. Raises Unavailable if the store does not answer.
        """
        # only the event loop calls this, so it needs no lock
        if self._definitions_of_turn is None:
            self._definitions_of_turn = self._context.index.server.definitions.peek()
            get_running_loop().call_soon(self._end_turn)
        return self._definitions_of_turn

    def _end_turn(self) -> None:
        """Forget the definitions, which the next turn of the event loop looks at anew."""
        self._definitions_of_turn = None

    def _index_app(self, context: IndexContext) -> IndexApp:
        """Return the application of the index of a context."""
        routes = self._routes.of(context.index.definition)
        return IndexApp(context, routes, self._body_timeouts, self._instrumentation)


def _name_and_day(index_path: str) -> tuple[str, date | None]:
    """
    Return the name and the day in the path of an index or of the view of a day.

    The name is empty for a day of main. The day is None without a view. Raises NotFound if there is
    no such day.
    """
    name, _, last_segment = index_path.rpartition("/")
    if index_name.is_dated_view(last_segment):
        return name, index_name.day_of_view(last_segment)
    return index_path, None
