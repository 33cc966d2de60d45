"""The first page for administrators: figures that ask for a look, and what the pages are for."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from markupsafe import Markup
from msgspec import Struct

from wheelyard.api import (
    access_operations,
    health_operations,
    package_request_operations,
    usage_operations,
)
from wheelyard.api.download_operations import count_all_downloads
from wheelyard.api.local_api import LocalApi
from wheelyard.errors import WheelyardError
from wheelyard.http.context import IndexRequest
from wheelyard.http.handlers.admin.admin_pages import AdminPages
from wheelyard.http.messages import Response
from wheelyard.model.decoding import readable_size
from wheelyard.model.downloads import SHOWN_DAYS
from wheelyard.model.quotas import NEARLY_FULL
from wheelyard.rendering.web.admin.navigation import SECTIONS
from wheelyard.rendering.web.figures import draw_share, draw_small_area
from wheelyard.wiring.index import Index


class Tile(Struct, frozen=True):
    """One figure of the page."""

    path: str
    """Of the page that has more, from `-/admin/` on."""
    figure: str
    words: str
    """What the figure is, in a few words."""
    picture: Markup = Markup()
    asks: bool = False
    """Whether somebody should look at it."""


class OverviewPage:
    """The first page for administrators."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: IndexRequest) -> Response:
        """
        Handle GET `/-/admin/`: figures, and what the pages are for.

        A figure that cannot be had says why, and is no error.
        """
        # for the right alone: the page has no fields
        self._pages.query(request)
        overview = [(entry.path, entry.title, entry.summary) for entry in SECTIONS if entry.path]
        figures = _Figures(request.context.index, self._pages.api(request))
        values = {"overview": overview, "tiles": list(figures.tiles())}
        return self._pages.show(request, "", "overview.html", values)


class _Figures(Struct, frozen=True):
    """What the page says of an index, for one caller, whose right each operation checks."""

    index: Index
    api: LocalApi

    def tiles(self) -> Iterator[tuple[str, Tile]]:
        """
        Yield the tiles with their titles.

        One whose operation fails says why: the others are worth showing.
        """
        make_tile: dict[str, Callable[[], Tile | None]] = {
            "Package requests": self._requests,
            "Health": self._health,
            "Storage": self._storage,
            "Projects": self._projects,
            "Downloads": self._downloads,
            "API tokens": self._tokens,
            "Retention": self._retention,
        }
        for title, make in make_tile.items():
            # a store that answers for one figure may not answer for the next
            try:
                tile = make()
            except WheelyardError as fault:
                tile = Tile("health/", "unknown", fault.message, asks=True)
            if tile is not None:
                yield title, tile

    def _requests(self) -> Tile | None:
        if self.index.upstream is None:
            return None
        waiting = len(self.api.call(package_request_operations.list_requests).requests)
        words = "wait for a decision"
        if waiting == 1:
            words = "waits for a decision"
        return Tile("requests/", f"{waiting:,}", words, asks=waiting > 0)

    def _health(self) -> Tile:
        health = self.api.call(health_operations.show_health)
        bad = [part for part in health.parts if part.state in ("warning", "failed")]
        number = len(bad) + len(health.warnings)
        words = "things to look at"
        if number == 1:
            words = "thing to look at"
        return Tile("health/", f"{number:,}", words, asks=number > 0)

    def _storage(self) -> Tile:
        usage = self.api.call(usage_operations.show_usage)
        size = readable_size(usage.stored_bytes)
        damaged = [index.index for index in (usage, *usage.indexes) if index.problem is not None]
        if damaged:
            words = f"without {' and '.join(damaged)}, which cannot be read"
            return Tile("storage/", size, words, asks=True)
        if usage.share is None:
            words = f"in {usage.stored_files:,} files"
            return Tile("storage/", size, words)
        words = f"{usage.share:.0%} of the quota of main"
        is_nearly_full = usage.share >= NEARLY_FULL
        return Tile("storage/", size, words, draw_share(usage.share), is_nearly_full)

    def _projects(self) -> Tile:
        today = self.index.server.runtime.now().date()
        projects = list(self.index.search.table().private)
        days = [0] * SHOWN_DAYS
        for facts in projects:
            uploaded = datetime.fromtimestamp(facts.uploaded / 1000, UTC).date()
            # the clock of another server may be ahead
            age = max((today - uploaded).days, 0)
            if age < SHOWN_DAYS:
                days[-1 - age] += 1
        words = f"of {len(projects):,} in main got a file in the last {SHOWN_DAYS} days"
        picture = draw_small_area(days, "Projects by the day of their newest file")
        return Tile("journal/", f"{sum(days):,}", words, picture)

    def _downloads(self) -> Tile | None:
        if self.index.downloads is None:
            return None
        days = count_all_downloads(self.index.server, self.api.caller)
        words = f"in the last {SHOWN_DAYS} days"
        label = f"Downloads from all indexes on each of the last {SHOWN_DAYS} days"
        picture = draw_small_area(days, label)
        return Tile("../projects/1/?sort=downloads", f"{sum(days):,}", words, picture)

    def _tokens(self) -> Tile:
        question = access_operations.TokensQuery(state="expiring")
        ending = self.api.call(access_operations.list_tokens, question)
        number = len(ending.tokens)
        words = "end within 14 days"
        if number == 1:
            words = "ends within 14 days"
        return Tile("tokens/?state=expiring", f"{number:,}", words, asks=number > 0)

    def _retention(self) -> Tile | None:
        retention = self.index.server.retention
        if retention is None:
            return None
        settings = self.index.settings.server
        if settings.read_only or not settings.daily_retention:
            return Tile("retention/", "by hand", "no daily run on this server")
        # nothing of it is loaded while there is no rule
        from wheelyard.retention.daily import next_daily_run  # noqa: PLC0415 - above

        due = next_daily_run(retention)
        # no time is known for a run that begins once a server looks
        if due is None or due <= self.index.server.runtime.now():
            return Tile("retention/", "now", "the next run is due")
        return Tile("retention/", f"{due:%Y-%m-%d %H:%M}", "UTC, the next run")
