"""
Pages of a listing, and `fields`, which leaves out of an answer what was not asked for.

A token is opaque, as the service's is: nobody may read a name from it, or make one up.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.bucket.errors import invalid
from tests.bucket.objects import Bucket, Resource, StoredObject
from tests.bucket.wire import Request

PARAMETERS = frozenset(
    {
        "alt",
        "delimiter",
        "endOffset",
        "fields",
        "includeTrailingDelimiter",
        "maxResults",
        "pageToken",
        "prefix",
        "prettyPrint",
        "projection",
        "startOffset",
        "versions",
    }
)
"""The parameters that a listing understands; there is but one version of anything."""
MOST = 1000

Selection = dict[str, Any]
"""Names of fields, each with the selection inside; an empty one selects everything."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page begins: behind `after`, which is a name or a common prefix."""

    after: str = ""
    filled: bool = False

    def token(self) -> str:
        """Return the cursor as a token."""
        text = json.dumps([self.after, self.filled])
        return base64.urlsafe_b64encode(text.encode()).decode()


def page(bucket: Bucket, request: Request) -> Resource:
    """
    Return one page.

    Raises:
        ApiError: 400.
    """
    unknown = {name for name, _ in request.parameters} - PARAMETERS
    if unknown:
        raise invalid(f"The stand-in knows no such parameters of a listing: {sorted(unknown)}.")
    cursor = _cursor(request.parameter("pageToken"))
    if bucket.empty_pages and not cursor.filled:
        empty = Cursor(cursor.after, filled=True)
        return {"kind": "storage#objects", "nextPageToken": empty.token()}
    return _filled(bucket, request, cursor)


def _filled(bucket: Bucket, request: Request, cursor: Cursor) -> Resource:
    most = min(_number(request.parameter("maxResults")), bucket.page_size)
    items: list[Resource] = []
    prefixes: list[str] = []
    last = cursor.after
    answer: Resource = {"kind": "storage#objects"}
    for name, found in _entries(bucket, request, cursor):
        if len(items) + len(prefixes) == most:
            answer["nextPageToken"] = Cursor(last).token()
            break
        if found is None:
            prefixes.append(name)
        else:
            items.append(found.resource(request.root))
        last = name
    if prefixes:
        answer["prefixes"] = prefixes
    if items:
        answer["items"] = items
    return answer


def _entries(
    bucket: Bucket, request: Request, cursor: Cursor
) -> Iterator[tuple[str, StoredObject | None]]:
    """Yield what the listing shows behind the cursor: objects, and prefixes without one."""
    prefix = request.parameter("prefix") or ""
    delimiter = request.parameter("delimiter") or ""
    start = max(request.parameter("startOffset") or "", cursor.after)
    end = request.parameter("endOffset")
    shown = cursor.after
    for each in bucket.after(start, prefix):
        if end and each.name >= end:
            return
        at = each.name.find(delimiter, len(prefix)) if delimiter else -1
        group = each.name[: at + len(delimiter)] if at >= 0 else ""
        if group and group != shown:
            shown = group
            yield group, None
        elif not group and each.name != cursor.after:
            yield each.name, each


def _cursor(token: str | None) -> Cursor:
    if not token:
        return Cursor()
    try:
        after, filled = json.loads(base64.urlsafe_b64decode(token))
    except ValueError:
        raise invalid("Invalid page token.") from None
    return Cursor(str(after), bool(filled))


def _number(text: str | None) -> int:
    if text is None:
        return MOST
    if not text.isdecimal() or text == "0":
        raise invalid(f"Invalid value for maxResults: {text}")
    return min(int(text), MOST)


def selected(resource: Resource, fields: str | None) -> Resource:
    """
    Return the part of an answer that `fields` names, all of it if that is None.

    Raises:
        ApiError: 400, it is not written as it should be.
    """
    if fields is None:
        return resource
    text = fields.replace(" ", "")
    selection, rest = _parse(text)
    if rest:
        raise invalid(f"Invalid field selection {fields}")
    part: Resource = _cut(resource, selection)
    return part


def _parse(text: str) -> tuple[Selection, str]:
    """Return the selection at the start of a text, and the rest."""
    found: Selection = {}
    while True:
        end = next((at for at, sign in enumerate(text) if sign in "/(),"), len(text))
        name, text = text[:end], text[end:]
        if not name:
            raise invalid("Invalid field selection")
        inside: Selection = {}
        if text.startswith("/"):
            inside, text = _parse_one(text[1:])
        elif text.startswith("("):
            inside, text = _parse(text[1:])
            if not text.startswith(")"):
                raise invalid("Invalid field selection")
            text = text[1:]
        found[name] = inside
        if not text.startswith(","):
            return found, text
        text = text[1:]


def _parse_one(text: str) -> tuple[Selection, str]:
    """Return what follows a slash: it binds closer than a comma."""
    end = next((at for at, sign in enumerate(text) if sign in "),"), len(text))
    if "(" in text[:end]:
        end = text.index(")") + 1
    selection, _ = _parse(text[:end])
    return selection, text[end:]


def _cut(value: Any, selection: Selection) -> Any:  # noqa: ANN401 - any part of a JSON document
    if not selection or "*" in selection:
        return value
    if isinstance(value, list):
        return [_cut(each, selection) for each in value]
    if not isinstance(value, dict):
        return value
    return {name: _cut(value[name], inside) for name, inside in selection.items() if name in value}
