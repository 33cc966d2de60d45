"""The page of what each project stores, and of what is kept of public packages."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, TypeVar

from wheelyard.api import public_package_operations, server_operations
from wheelyard.api.public_package_operations import KeptQuery
from wheelyard.errors import NotFound
from wheelyard.http.forms import FormFields
from wheelyard.http.handlers.admin.pages import AdminPages, paged, query_of
from wheelyard.http.messages import Request, Response

SECTION: Final = "storage/"
ROWS_ON_A_PAGE: Final = 100
PUBLIC: Final = "public"
"""The value of the field `of` for what is kept of public packages."""
T = TypeVar("T")
Order = tuple[str, Callable[[Any], Any]]
"""The words of an order, and what is sorted by."""
ORDERS: Final[Mapping[str, Order]] = MappingProxyType(
    {
        "size": ("Largest first", lambda project: (-project.bytes, project.name)),
        "files": ("Most files first", lambda project: (-project.files, project.name)),
        "name": ("Name", lambda project: project.name),
    }
)
PUBLIC_ORDERS: Final[Mapping[str, Order]] = MappingProxyType(
    {
        "size": ("Largest first", lambda package: (-package.bytes, package.project)),
        "used": ("Longest unused first", lambda package: package.last_used),
        "files": ("Most files first", lambda package: (-package.files, package.project)),
        "name": ("Name", lambda package: package.project),
    }
)


class StoragePage:
    """The page of what each project stores, and of what is kept of public packages."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: Request) -> Response:
        """
        Handle GET: how much is stored, in the order that was chosen.

        Raises NotFound if the query names an index that does not exist, or has no packages.
        """
        query, api = self._pages.query(request), self._pages.api(request)
        has_public = self._pages.index.upstream is not None
        values: dict[str, object] = {"has_public": has_public}
        if has_public and query.text("of") == PUBLIC:
            kept = api.call(public_package_operations.list_kept, KeptQuery())
            values |= {"usage": kept, "of": PUBLIC, **_part(query, kept.packages, PUBLIC_ORDERS)}
        else:
            usage = api.call(server_operations.show_usage)
            all_indexes = (usage, *usage.indexes)
            name = query.text("index")
            shown = next((index for index in all_indexes if index.index == name), None)
            if shown is None:
                self._pages.index.indexes.definition(name)  # raises unless there is such an index
                raise NotFound(
                    f"The index {name} has no packages of its own, so it stores nothing."
                )
            values |= {
                "usage": shown,
                "of": "",
                "all_indexes": all_indexes,
                "stored": usage,
                **_part(query, shown.projects, ORDERS),
            }
        return self._pages.show(request, SECTION, "storage.html", values)


def _part(query: FormFields, rows: Sequence[T], orders: Mapping[str, Order]) -> dict[str, object]:
    """Return the rows of the page that a query asks for, in its order, and the links to others."""
    sort = query.text("sort")
    sort = sort if sort in orders else "size"
    shown, numbers = paged(sorted(rows, key=orders[sort][1]), query, ROWS_ON_A_PAGE)
    return {
        "rows": shown,
        "numbers": numbers,
        "sort": sort,
        "orders": {name: words for name, (words, _) in orders.items()},
        "links": query_of({"of": query.text("of"), "index": query.text("index"), "sort": sort}),
    }
