"""
What is kept of every request: how long it took, its line in the access log, and its trace.

A request that is answered from memory costs one entry in a table; whatever else there is to do is
done only where a setting asks for it.
"""

from asyncio import Event, get_running_loop, sleep, timeout
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from threading import Lock, Thread
from typing import TYPE_CHECKING, Final

from wheelyard.errors import Invalid
from wheelyard.http.access_log import write
from wheelyard.http.circumstances import CURRENT, Circumstances, Watched, address_of, trace_of
from wheelyard.http.exchange import Reply, Scope
from wheelyard.http.figures import EVERY, Figures, Shelf, together
from wheelyard.index import Index
from wheelyard.settings.sections import Settings
from wheelyard.storage.timings import Timings

if TYPE_CHECKING:
    from wheelyard.http.telemetry import Telemetry

LAST_WORDS: Final = 5.0
"""Seconds that a collector has for what is sent at the end."""
DETAIL: Final = "project_detail"

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


class Observer:
    """
    Watches the requests of one process.

    Args:
        index: What is served, and with which settings.
        shelf: Where other workers of this server keep what they have counted, if there are any.
        telemetry: Where traces go, if anywhere.
    """

    def __init__(
        self, index: Index, shelf: Shelf | None = None, telemetry: "Telemetry | None" = None
    ) -> None:
        self._index = index
        self._shelf = shelf
        self._showing = Lock()
        self.timings = Timings()
        """By route, method and status."""
        self.under_way = 0
        """Requests that are being answered, and could not be answered at once."""
        self.now = index.ambient.monotonic
        self._proxies = index.settings.server.trusted_proxies
        self._is_logging = index.settings.log.access
        self._telemetry = telemetry

    @classmethod
    def of(cls, index: Index, shelf: Shelf | None = None) -> "Observer":
        """
        Return what watches the requests for an index, as its settings ask for it.

        Raises:
            Invalid: They ask for OpenTelemetry, and it is not installed (code `bad_setting`).
        """
        endpoint = index.settings.telemetry.otlp_endpoint
        if not endpoint:
            return cls(index, shelf)
        require_telemetry(index.settings)
        # an extra, which takes a third of a second to import
        from wheelyard.http.telemetry import open_telemetry  # noqa: PLC0415

        telemetry = open_telemetry(endpoint, index.ambient.now)
        index.watch.follower = telemetry.stored
        return cls(index, shelf, telemetry)

    def at_once(self, scope: Scope, answer: Reply, who: str, began: float) -> None:
        """Keep a page that was in memory."""
        seconds = self.now() - began
        self.timings.add((DETAIL, "GET", str(answer.status)), seconds)
        if not (self._telemetry or self._is_logging):
            return
        here = self._circumstances(scope, seconds)
        if self._telemetry is not None:
            self._telemetry.end(here.span, DETAIL, scope["method"], answer.status, seconds)
        if self._is_logging:
            CURRENT.set(here)
            watched = Watched(scope, began, route=DETAIL, who=who)
            watched.answered(answer)
            write(watched, here.address, seconds)

    def begin(self, scope: Scope, began: float) -> Watched:
        """Begin to watch a request that takes some time."""
        self.under_way += 1
        here = self._circumstances(scope)
        CURRENT.set(here)
        return Watched(scope, began, here.span)

    def _circumstances(self, scope: Scope, ago: float = 0.0) -> Circumstances:
        trace = trace_of(dict(scope["headers"]))
        span = None if self._telemetry is None else self._telemetry.begin(scope, trace, ago)
        return Circumstances(address_of(scope, self._proxies), trace, span)

    def end(self, watched: Watched) -> None:
        """Keep what became of a request."""
        self.under_way -= 1
        seconds = self.now() - watched.began
        method = watched.scope["method"]
        method = method if method in _METHODS else "other"
        self.timings.add((watched.route, method, str(watched.status)), seconds)
        if self._telemetry is not None:
            self._telemetry.end(watched.span, watched.route, method, watched.status, seconds)
        here = CURRENT.get()
        if self._is_logging and here is not None:
            write(watched, here.address, seconds)

    @property
    def figures(self) -> Figures:
        """What this process has counted."""
        return Figures(
            requests=tuple(self.timings.so_far()),
            verbs=tuple(self._index.watch.timings.so_far()),
            operations=tuple(sorted(self._index.tally.counts().items())),
            under_way=self.under_way,
            process=self._process(),
        )

    def _process(self) -> Mapping[str, float]:
        """Return what this worker takes, for the others; alone, it is looked at when asked."""
        if self._shelf is None:
            return {}
        from wheelyard.http.exposition import process_figures  # noqa: PLC0415 - as in `metrics`

        return process_figures()

    def figures_of_all(self) -> Figures:
        """Return what all workers of this server have counted, those that are gone included."""
        if self._shelf is None:
            return together([self.figures])
        # what was shown once has to count for ever, so it is put there first
        return together([self._show(self._shelf), *self._shelf.of_others()])

    def _show(self, shelf: Shelf) -> Figures:
        """Show the other workers what this one has counted; older figures never replace newer."""
        with self._showing:
            mine = self.figures
            shelf.put(mine)
        return mine

    async def share(self) -> None:
        """Show the other workers what this one has counted, again and again, if there are any."""
        while self._shelf is not None:
            self._show(self._shelf)
            await sleep(EVERY)

    async def close(self) -> None:
        """Show and send what has not been sent yet; whatever takes that does not wait for long."""
        if self._shelf is not None:
            self._show(self._shelf)
        telemetry, sent, loop = self._telemetry, Event(), get_running_loop()
        if telemetry is None:
            return

        def send() -> None:
            telemetry.close()
            with suppress(RuntimeError):  # nobody waits any more
                loop.call_soon_threadsafe(sent.set)

        Thread(target=send, daemon=True).start()
        with suppress(TimeoutError):
            async with timeout(LAST_WORDS):
                await sent.wait()


def require_telemetry(settings: Settings) -> None:
    """
    Return if what the settings ask for is installed.

    Raises:
        Invalid: They ask for OpenTelemetry, and it is not (code `bad_setting`).
    """
    if not settings.telemetry.otlp_endpoint:
        return
    try:
        is_there = find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:  # a package above it
        is_there = False
    if not is_there:
        raise Invalid(
            "[telemetry] otlp_endpoint needs OpenTelemetry, which is not installed. Install "
            "'wheelyard[otel]', or in a clone requirements/otel.txt.",
            code="bad_setting",
        )
