"""
Everything of the JSON API but uploads.

Where the service's documentation leaves the order open: the bucket is looked for first, then the
permission, then the object, then the preconditions. An object that is not there is 403 to who may
not list, for else they could find out what there is.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.fake_gcs.calls import Call, conditions, number
from tests.fake_gcs.errors import ApiError, invalid
from tests.fake_gcs.in_process import FakeGcsState
from tests.fake_gcs.media import media_reply
from tests.fake_gcs.objects import Bucket, Resource, StoredObject, UploadRequest
from tests.fake_gcs.strict import check_resource
from tests.fake_gcs.wire import Reply, Request

Handler = Callable[[Call, Request], Reply]

LIST = "storage.objects.list"
PLACE = frozenset({"name", "bucket"})
"""Of what a copy's request says, that which the path says as well."""
JSON = ("Content-Type", "application/json; charset=UTF-8")

PARAMETERS = frozenset(
    {"alt", "fields", "maxResults", "pageToken", "prefix", "prettyPrint", "projection"}
    | {"startOffset"}
)
"""The supported parameters of a listing."""
MOST = 1000

_GROUP = re.compile(r"(\w+)(?:\(([\w,]+)\))?")
_FIELDS = re.compile(rf"{_GROUP.pattern}(?:,{_GROUP.pattern})*")


class JsonApi:
    """Reads, lists, copies and deletes objects."""

    def __init__(self, state: FakeGcsState) -> None:
        self._state = state
        self._require = state.permissions.require
        self.handlers: dict[str, Handler] = {
            "get": self.get,
            "media": self.media,
            "list": self.list,
            "delete": self.delete,
            "rewrite": self.rewrite,
        }

    def get(self, call: Call, request: Request) -> Reply:
        """Answer with the metadata of an object."""
        found = self._read(call, request)
        return json_reply(found.resource(request.root), request)

    def media(self, call: Call, request: Request) -> Reply:
        """Answer with the bytes of an object."""
        return media_reply(request, self._read(call, request))

    def list(self, call: Call, request: Request) -> Reply:
        """Answer with a page of names."""
        bucket = self._state.find_bucket(call.bucket)
        self._require(LIST, "bucket")
        return json_reply(page(bucket, request), request)

    def delete(self, call: Call, request: Request) -> Reply:
        """Delete an object."""
        bucket = self._state.find_bucket(call.bucket)
        self._require("storage.objects.delete")
        self._find(bucket, call.name, None)
        bucket.delete(call.name, number(request, "generation"), conditions(request))
        return Reply(204)

    def rewrite(self, call: Call, request: Request) -> Reply:
        """
        Copy an object, in one go unless the target bucket has a `rewrite_piece`.

        What the request says of the copy is all that is said of it; where it says nothing, the copy
        is as the source is.
        """
        source_bucket = self._state.find_bucket(call.bucket)
        target_bucket = self._state.find_bucket(call.to_bucket)
        self._require("storage.objects.get")
        self._require("storage.objects.create")
        source = self._find(source_bucket, call.name, number(request, "sourceGeneration"))
        conditions(request, "Source").check(source)
        own = {**source.fields, "metadata": source.metadata}
        asked = {key: value for key, value in read_json(request).items() if key not in PLACE}
        check_resource(asked)
        if (unfinished := _unfinished(source, target_bucket, request)) is not None:
            return unfinished
        resource = asked or own
        made = target_bucket.insert(
            call.to_name, UploadRequest(source.body, resource), conditions(request), self._require
        )
        size = str(made.body.size)
        answer: Resource = {
            "kind": "storage#rewriteResponse",
            "totalBytesRewritten": size,
            "objectSize": size,
            "done": True,
            "resource": made.resource(request.root),
        }
        return json_reply(answer, request)

    def _read(self, call: Call, request: Request) -> StoredObject:
        bucket = self._state.find_bucket(call.bucket)
        self._require("storage.objects.get")
        found = self._find(bucket, call.name, number(request, "generation"))
        conditions(request).check(found, reading=True)
        return found

    def _find(self, bucket: Bucket, name: str, generation: int | None) -> StoredObject:
        try:
            return bucket.find(name, generation)
        except ApiError:
            self._require(LIST)
            raise


def _unfinished(source: StoredObject, target: Bucket, request: Request) -> Reply | None:
    """Return the answer to a rewrite that has to go on, None to one that is done now."""
    token = f"{source.bucket}/{source.name}/{source.generation}/"
    begun = request.parameter("rewriteToken") or f"{token}0"
    if not begun.startswith(token):
        raise invalid("The rewrite token is of another copy.")
    size, done = source.body.size, int(begun.removeprefix(token)) + target.rewrite_piece
    if not target.rewrite_piece or done >= size:
        return None
    answer: Resource = {
        "kind": "storage#rewriteResponse",
        "totalBytesRewritten": str(done),
        "objectSize": str(size),
        "done": False,
        "rewriteToken": f"{token}{done}",
    }
    return json_reply(answer, request)


def json_reply(resource: Resource, request: Request) -> Reply:
    """Return an answer in JSON, with the fields that were asked for."""
    body = json.dumps(selected(resource, request.parameter("fields"))).encode()
    return Reply(200, [JSON, ("Cache-Control", "no-cache, no-store, max-age=0")], body)


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
    if len(found) > most:
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


def read_json(request: Request) -> Resource:
    """Return the document that a request brings, an empty one if it brings none."""
    return parse_json(request.body.read_all())


def parse_json(body: bytes) -> Resource:
    """Return a document."""
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        raise ApiError(400, "Parse Error", "parseError") from None
    if not isinstance(found, dict):
        raise invalid("A JSON object is expected.")
    return found
