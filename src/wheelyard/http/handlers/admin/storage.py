"""The page of what each project stores."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from wheelyard.api import server_operations
from wheelyard.api.server_operations import ProjectUsage
from wheelyard.http.handlers.admin.pages import AdminPages, page_number, query_of
from wheelyard.http.messages import Request, Response
from wheelyard.rendering.web.page_numbers import PageNumbers, page_count

SECTION: Final = "storage/"
ROWS_ON_A_PAGE: Final = 100
ORDERS: Final[Mapping[str, tuple[str, Callable[[ProjectUsage], object]]]] = MappingProxyType(
    {
        "size": ("Largest first", lambda project: (-project.bytes, project.name)),
        "files": ("Most files first", lambda project: (-project.files, project.name)),
        "name": ("Name", lambda project: project.name),
    }
)
"""The orders of the list: their words, and what is sorted by."""


class StoragePage:
    """The page of what each project stores."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: Request) -> Response:
        """Handle GET: how much the private projects store, in the order that was chosen."""
        query = self._pages.query(request)
        number, sort = page_number(query), query.text("sort")
        sort = sort if sort in ORDERS else "size"
        usage = self._pages.api(request).call(server_operations.show_usage)
        _, key = ORDERS[sort]
        start = (number - 1) * ROWS_ON_A_PAGE
        total = len(usage.projects)
        values = {
            "usage": usage,
            "rows": sorted(usage.projects, key=key)[start : start + ROWS_ON_A_PAGE],  # type: ignore[arg-type]
            "numbers": PageNumbers(total, number, page_count(total, ROWS_ON_A_PAGE)),
            "sort": sort,
            "orders": {name: words for name, (words, _) in ORDERS.items()},
            "links": query_of({"sort": sort}),
        }
        return self._pages.show(request, SECTION, "storage.html", values)
