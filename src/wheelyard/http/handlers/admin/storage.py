"""The page of the stored bytes and files of each project."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from wheelyard.api import usage_operations
from wheelyard.errors import NotFound
from wheelyard.http.context import IndexRequest
from wheelyard.http.handlers.admin.admin_pages import AdminPages, paged, query_of
from wheelyard.http.messages import Response
from wheelyard.model.index_name import read_index_name
from wheelyard.rendering.web.figures import draw_share

SECTION: Final = "storage/"
ROWS_ON_A_PAGE: Final = 100
Order = tuple[str, Callable[[usage_operations.ProjectUsage], Any]]
"""The label of an order of projects, and the function that returns the key to sort by."""
ORDERS: Final[Mapping[str, Order]] = MappingProxyType(
    {
        "size": ("Largest first", lambda project: (-project.bytes, project.name)),
        "files": ("Most files first", lambda project: (-project.files, project.name)),
        "name": ("Name", lambda project: project.name),
    }
)


class StoragePage:
    """Handles the page of the stored bytes and files of each project."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: IndexRequest) -> Response:
        """
        Handle GET: the projects of an index with their stored bytes and files.

        The query may name the index, else it is main, and the order; an unknown order counts as
        that by size. Raises Unauthenticated or Forbidden unless the caller is an administrator.
        Raises NotFound if the query names an index that does not exist, or has no packages, and
        NoSuchPage if the list has no page of the number in the query. Raises Invalid for a
        malformed query, and Unavailable if the store does not answer.
        """
        query = self._pages.query(request)
        usage = self._pages.api(request).call(usage_operations.show_usage)
        all_usages = (usage, *usage.indexes)
        usages_by_name = {row.index: row for row in all_usages}
        name = read_index_name(query.text("index"))
        index_usage = usages_by_name.get(name)
        if index_usage is None:
            # raises NotFound if there is no such index
            request.context.index.server.definitions.get(name)
            raise NotFound(f"The index {name} has no packages of its own, so it stores nothing.")
        sort = query.text("sort")
        if sort not in ORDERS:
            sort = "size"
        _, sort_key = ORDERS[sort]
        sorted_projects = sorted(index_usage.projects, key=sort_key)
        rows, numbers = paged(sorted_projects, query, ROWS_ON_A_PAGE)

        # at least 1, as an index may store nothing yet
        total_bytes = max(index_usage.bytes, 1)
        values = {
            "usage": index_usage,
            "bars": {row.name: draw_share(row.bytes / total_bytes) for row in rows},
            "all_indexes": all_usages,
            "stored": usage,
            "rows": rows,
            "numbers": numbers,
            "sort": sort,
            "orders": {order: label for order, (label, _) in ORDERS.items()},
            "links": query_of({"index": name, "sort": sort}),
        }
        return self._pages.show(request, SECTION, "storage.html", values)
