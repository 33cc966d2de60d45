"""The first page for administrators: figures about the server, and what the other pages are for."""

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
    """The path, below `-/admin/`, of the page about it."""
    figure: str
    words: str
    """What the figure counts, in a few words."""
    picture: Markup = Markup()
    asks: bool = False
    """Whether an administrator should look at it."""


class OverviewPage:
    """Handles the first page for administrators."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: IndexRequest) -> Response:
        """
        Handle GET `/-/admin/`: figures, and what the other pages are for.

        A figure that cannot be read is replaced by the reason, and is no error.
        """
        # for the right alone: the page has no fields
        self._pages.query(request)
        overview = [(entry.path, entry.title, entry.summary) for entry in SECTIONS if entry.path]
        figures = _Figures(request.context.index, self._pages.api(request))
        values = {"overview": overview, "tiles": list(figures.tiles())}
        return self._pages.show(request, "", "overview.html", values)


class _Figures(Struct, frozen=True):
    """Reads the figures of the page for one caller, whose right each operation checks."""

    index: Index
    api: LocalApi

    def tiles(self) -> Iterator[tuple[str, Tile]]:
        """
        Yield the tiles with their titles.

        If the operation of a tile fails, the tile has the reason in place of the figure.
        """
        tile_makers: dict[str, Callable[[], Tile | None]] = {
            "Package requests": self._requests_tile,
            "Health": self._health_tile,
            "Storage": self._storage_tile,
            "Projects": self._projects_tile,
            "Downloads": self._downloads_tile,
            "API tokens": self._tokens_tile,
            "Retention": self._retention_tile,
        }
        for title, make_tile in tile_makers.items():
            # a store that answers for one figure may not answer for the next
            try:
                tile = make_tile()
            except WheelyardError as fault:
                tile = Tile("health/", "unknown", fault.message, asks=True)
            if tile is not None:
                yield title, tile

    def _requests_tile(self) -> Tile | None:
        """Return the number of package requests that wait, or None without an upstream index."""
        if self.index.upstream is None:
            return None
        number = len(self.api.call(package_request_operations.list_requests).requests)
        words = "wait for a decision"
        if number == 1:
            words = "waits for a decision"
        return Tile("requests/", f"{number:,}", words, asks=number > 0)

    def _health_tile(self) -> Tile:
        """Return the number of warnings and of parts that do not work as they should."""
        health = self.api.call(health_operations.show_health)
        faulty_parts = [part for part in health.parts if part.state in ("warning", "failed")]
        number = len(faulty_parts) + len(health.warnings)
        words = "things to look at"
        if number == 1:
            words = "thing to look at"
        return Tile("health/", f"{number:,}", words, asks=number > 0)

    def _storage_tile(self) -> Tile:
        """Return the stored bytes, with their share of the quota if there is one."""
        usage = self.api.call(usage_operations.show_usage)
        size = readable_size(usage.stored_bytes)
        unread_indexes = list[str]()
        for index_usage in (usage, *usage.indexes):
            if index_usage.problem is not None:
                unread_indexes.append(index_usage.index)
        if unread_indexes:
            words = f"without {' and '.join(unread_indexes)}, which cannot be read"
            return Tile("storage/", size, words, asks=True)
        if usage.share is None:
            words = f"in {usage.stored_files:,} files"
            return Tile("storage/", size, words)
        words = f"{usage.share:.0%} of the quota of main"
        is_nearly_full = usage.share >= NEARLY_FULL
        return Tile("storage/", size, words, draw_share(usage.share), is_nearly_full)

    def _projects_tile(self) -> Tile:
        """Return the number of projects whose newest file is of the last days."""
        today = self.index.server.runtime.now().date()
        projects = list(self.index.search.table().private)
        projects_by_day = [0] * SHOWN_DAYS  # today is the last one
        for facts in projects:
            uploaded = datetime.fromtimestamp(facts.uploaded / 1000, UTC).date()
            # the clock of another server may be ahead
            days_ago = max((today - uploaded).days, 0)
            if days_ago < SHOWN_DAYS:
                projects_by_day[-1 - days_ago] += 1
        words = f"of {len(projects):,} in main got a file in the last {SHOWN_DAYS} days"
        picture = draw_small_area(projects_by_day, "Projects by the day of their newest file")
        return Tile("journal/", f"{sum(projects_by_day):,}", words, picture)

    def _downloads_tile(self) -> Tile | None:
        """Return the number of downloads in the last days, or None if they are not counted."""
        if self.index.downloads is None:
            return None
        downloads_by_day = count_all_downloads(self.index.server, self.api.caller)
        words = f"in the last {SHOWN_DAYS} days"
        label = f"Downloads from all indexes on each of the last {SHOWN_DAYS} days"
        picture = draw_small_area(downloads_by_day, label)
        figure = f"{sum(downloads_by_day):,}"
        return Tile("../projects/1/?sort=downloads", figure, words, picture)

    def _tokens_tile(self) -> Tile:
        """Return the number of API tokens that expire soon."""
        tokens_query = access_operations.TokensQuery(state="expiring")
        expiring = self.api.call(access_operations.list_tokens, tokens_query)
        number = len(expiring.tokens)
        words = "end within 14 days"
        if number == 1:
            words = "ends within 14 days"
        return Tile("tokens/?state=expiring", f"{number:,}", words, asks=number > 0)

    def _retention_tile(self) -> Tile | None:
        """Return the time of the next run of retention, or None without rules."""
        retention = self.index.server.retention
        if retention is None:
            return None
        settings = self.index.settings.server
        if settings.read_only or not settings.daily_retention:
            return Tile("retention/", "by hand", "no daily run on this server")
        # no module of retention is loaded while there is no rule
        from wheelyard.retention.daily import next_daily_run  # noqa: PLC0415 - above

        next_run = next_daily_run(retention)
        # a run that is due begins when a server next looks, at no known time
        if next_run is None or next_run <= self.index.server.runtime.now():
            return Tile("retention/", "now", "the next run is due")
        return Tile("retention/", f"{next_run:%Y-%m-%d %H:%M}", "UTC, the next run")
