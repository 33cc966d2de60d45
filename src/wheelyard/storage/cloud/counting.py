"""Which operation a request to the bucket is, by Cloud Storage's price list."""

import re
from typing import Final

import requests

from wheelyard.storage.tally import Operation, Tally

INSERT: Final = Operation("insert", "A")
COPY: Final = Operation("copy", "A")
LIST: Final = Operation("list", "A")
GET: Final = Operation("get", "B")
READ: Final = Operation("read", "B")
DELETE: Final = Operation("delete", "free")
PIECE: Final = Operation("piece", "free")
"""Of a large upload, whose beginning was the operation."""

_COPIES: Final = re.compile(r"/storage/v1/b/[^/]+/o/[^/]+/rewriteTo/")
_OBJECTS: Final = re.compile(r"/storage/v1/b/[^/]+/o$")


class Counter:
    """
    A hook of a `requests` session that counts what was answered, tries that failed included.

    Args:
        tally: Where it is counted.
    """

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def __call__(self, response: requests.Response, **_: object) -> None:
        """Count the request of one answer."""
        operation = operation_of(response.request.method or "", response.request.path_url)
        if operation is not None:
            self._tally.add(operation)


def operation_of(method: str, path_and_query: str) -> Operation | None:
    """Return the operation of a request to the JSON API; None where it is not about objects."""
    path, _, query = path_and_query.partition("?")
    if path.startswith(("/upload/", "/resumable/upload/")):
        return PIECE if method == "PUT" and "upload_id=" in query else INSERT
    if path.startswith("/download/"):
        return READ
    if "/o" not in path:
        return None
    if method == "DELETE":
        return DELETE
    if _COPIES.search(path):
        return COPY
    return LIST if _OBJECTS.search(path) else GET
