"""The page of what each project stores."""

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
"""The words of an order of projects, and the function that returns what they are sorted by."""
ORDERS: Final[Mapping[str, Order]] = MappingProxyType(
    {
        "size": ("Largest first", lambda project: (-project.bytes, project.name)),
        "files": ("Most files first", lambda project: (-project.files, project.name)),
        "name": ("Name", lambda project: project.name),
    }
)


class StoragePage:
    """The page of what each project stores."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: IndexRequest) -> Response:
        """
        Handle GET: how much is stored, in the order that was chosen.

        It is of main, unless the query names another index. An order that there is not is that by
        size. Raises Unauthenticated or Forbidden unless the caller is an administrator. Raises
        NotFound if the query names an index that does not exist, or has no packages, and NoSuchPage
        if its list has no page of the number in the query. Raises Invalid for a malformed query,
        and Unavailable if the store does not answer.
        """
        query = self._pages.query(request)
        usage = self._pages.api(request).call(usage_operations.show_usage)
        all_indexes = (usage, *usage.indexes)
        name = read_index_name(query.text("index"))
        index_usage = next((index for index in all_indexes if index.index == name), None)
        if index_usage is None:
            # this raises NotFound unless there is such an index
            request.context.index.server.definitions.get(name)
            raise NotFound(f"The index {name} has no packages of its own, so it stores nothing.")
        sort = query.text("sort")
        if sort not in ORDERS:
            sort = "size"
        _, sort_key = ORDERS[sort]
        rows, numbers = paged(sorted(index_usage.projects, key=sort_key), query, ROWS_ON_A_PAGE)

        # an index may store nothing yet, and nothing is a share of that
        total = max(index_usage.bytes, 1)
        values = {
            "usage": index_usage,
            "bars": {row.name: draw_share(row.bytes / total) for row in rows},
            "all_indexes": all_indexes,
            "stored": usage,
            "rows": rows,
            "numbers": numbers,
            "sort": sort,
            "orders": {name: words for name, (words, _) in ORDERS.items()},
            "links": query_of({"index": name, "sort": sort}),
        }
        return self._pages.show(request, SECTION, "storage.html", values)
