"""
A page of a listing, and the part of a response that `fields` selects.

What a page leaves out is behind its token. A bucket may be told to send every other page empty,
with a token, as the service may.
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.fake_gcs.errors import invalid
from tests.fake_gcs.objects import Bucket, Resource
from tests.fake_gcs.wire import Request

PARAMETERS = frozenset(
    {"alt", "fields", "maxResults", "pageToken", "prefix", "prettyPrint", "projection"}
    | {"startOffset"}
)
"""The supported parameters of a listing."""
MOST = 1000

_GROUP = re.compile(r"(\w+)(?:\(([\w,]+)\))?")
_FIELDS = re.compile(rf"{_GROUP.pattern}(?:,{_GROUP.pattern})*")


@dataclass(frozen=True, slots=True)
class Cursor:
    """The start of a page of a listing: after the name `after`."""

    after: str = ""
    filled: bool = False

    def token(self) -> str:
        """Return the cursor as a token."""
        text = json.dumps([self.after, self.filled])
        return base64.urlsafe_b64encode(text.encode()).decode()


def page(bucket: Bucket, request: Request) -> Resource:
    """Return one page, or raise 400."""
    unknown = {name for name, _ in request.parameters} - PARAMETERS
    if unknown:
        raise invalid(f"The fake server knows no such parameters of a listing: {sorted(unknown)}.")
    token = request.parameter("pageToken")
    cursor = Cursor(*json.loads(base64.urlsafe_b64decode(token))) if token else Cursor()
    if bucket.endless == "empty":
        return {"kind": "storage#objects", "nextPageToken": cursor.token()}
    if bucket.endless:
        cursor = Cursor()
    if bucket.empty_pages and not cursor.filled:
        empty = Cursor(cursor.after, filled=True)
        return {"kind": "storage#objects", "nextPageToken": empty.token()}
    most = min(int(request.parameter("maxResults") or MOST), bucket.page_size)
    start = max(request.parameter("startOffset") or "", cursor.after)
    found = bucket.after(start, request.parameter("prefix") or "")
    found = [each for each in found if each.name != cursor.after]
    answer: Resource = {"kind": "storage#objects"}
    if found:
        answer["items"] = [each.resource(request.root) for each in found[:most]]
    if len(found) > most or bucket.endless:
        answer["nextPageToken"] = Cursor(found[most - 1].name).token()
    return answer


def selected(resource: Resource, fields: str | None) -> Resource:
    """Return the part of an answer that `fields` names, such as `items(name,size),kind`."""
    if fields is None:
        return resource
    if not _FIELDS.fullmatch(fields):
        raise invalid(f"Invalid field selection {fields}")
    part: Resource = {}
    for name, inside in _GROUP.findall(fields):
        if name in resource:
            wanted = inside.split(",") if inside else []
            part[name] = (
                [_cut(each, wanted) for each in resource[name]] if wanted else resource[name]
            )
    return part


def _cut(item: Mapping[str, Any], wanted: list[str]) -> Resource:
    return {name: item[name] for name in wanted if name in item}
