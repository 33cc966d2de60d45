"""
Uploads: whole in one request (media, multipart), or in chunks (resumable).

The preconditions of a resumable upload are judged when it finishes, so the loser of a race learns
it with the last chunk. Bytes that arrive twice are skipped. A finished session repeats its result,
the object or the error, to every later request.

The checks of the service are in `strict.py`. A chunk before the last has to be a multiple of 256
KiB, else it is refused here; the service may instead store the multiple and say so.
"""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from json import JSONDecoder
from threading import Lock

from tests.fake_gcs.calls import Call, conditions
from tests.fake_gcs.errors import ApiError, invalid
from tests.fake_gcs.in_process import FakeGcsState
from tests.fake_gcs.json_api import json_reply, parse_json, read_json
from tests.fake_gcs.objects import (
    Conditions,
    Resource,
    StoredObject,
    UploadRequest,
    body_of,
    check_name,
)
from tests.fake_gcs.strict import check_hashes, described, parse_content_range
from tests.fake_gcs.wire import Reply, Request

CREATE = "storage.objects.create"
HEAD = 64 << 10
PARTS = 2

_BOUNDARY = re.compile(r'boundary="?([^";]+)"?')


@dataclass(slots=True)
class Session:
    """A resumable upload under way."""

    bucket: str
    name: str
    resource: Resource
    conditions: Conditions
    size: int | None
    data: bytearray = field(default_factory=bytearray)
    lock: Lock = field(default_factory=Lock)
    outcome: StoredObject | ApiError | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a multipart body that describes the other, and where the other one is."""

    resource: Resource
    content: memoryview
    content_type: str


class Uploads:
    """Everything that stores bytes which come from outside."""

    def __init__(self, state: FakeGcsState) -> None:
        self._state = state
        self._sessions: dict[str, Session] = {}
        self.handlers: dict[str, Callable[[Call, Request], Reply]] = {
            "insert": self.insert,
            "resumable-start": self.start,
            "resumable-chunk": self.chunk,
            "resumable-status": self.chunk,
        }

    def expire(self) -> None:
        """Forget every session, as the service does after a week."""
        self._sessions.clear()

    def name_of(self, call: Call, request: Request) -> str:
        """Return the name of the object that an upload is for, which may be in its beginning."""
        if call.kind.startswith("resumable-") and call.kind != "resumable-start":
            session = self._sessions.get(request.parameter("upload_id") or "")
            return session.name if session else ""
        given = request.parameter("name")
        if call.name or given is not None:
            return call.name or given or ""
        start = request.body.read(HEAD)
        request.body.unread(start)
        return _name_in(start)

    def insert(self, call: Call, request: Request) -> Reply:
        """Store an object that comes in one request."""
        bucket = self._state.find_bucket(call.bucket)
        self._state.permissions.require(CREATE)
        part = split(request)
        body = body_of(bytes(part.content))
        resource = described(part.resource, part.content_type)
        name = str(request.parameter("name") or resource.get("name") or "")
        check_hashes(body, resource, request)
        guard = self._state.permissions.require
        stored = bucket.insert(name, UploadRequest(body, resource), conditions(request), guard)
        return json_reply(stored.resource(request.root), request)

    def start(self, call: Call, request: Request) -> Reply:
        """Begin a resumable upload."""
        self._state.find_bucket(call.bucket)
        self._state.permissions.require(CREATE)
        resource = described(read_json(request), request.header("x-upload-content-type"))
        name = str(request.parameter("name") or resource.get("name") or "")
        check_name(name)
        declared = request.header("x-upload-content-length")
        size = int(declared) if declared else None
        key = secrets.token_urlsafe(24)
        self._sessions[key] = Session(call.bucket, name, resource, conditions(request), size)
        target = f"{request.root}{request.target}&upload_id={key}"
        return Reply(200, [("Location", target), ("X-GUploader-UploadID", key)])

    def chunk(self, call: Call, request: Request) -> Reply:
        """Store a chunk, or report the progress of the upload."""
        del call
        session = self._session(request)
        with session.lock:
            if session.outcome is None:
                self._take(session, request)
            if isinstance(session.outcome, ApiError):
                raise session.outcome
            if session.outcome is not None:
                return json_reply(session.outcome.resource(request.root), request)
            size = len(session.data)
            return Reply(308, [("Range", f"bytes=0-{size - 1}")] if size else [])

    def _session(self, request: Request) -> Session:
        found = self._sessions.get(request.parameter("upload_id") or "")
        if found is None:
            raise ApiError(404, "No such upload session.", "notFound")
        return found

    def _take(self, session: Session, request: Request) -> None:
        total = store_chunk(session, request)
        if total is None or len(session.data) < total:
            return
        try:
            session.outcome = self._finish(session, total, request)
        except ApiError as error:
            # of a refusal that may be different the next time, the session outlives
            if error.status not in {401, 403, 429}:
                session.outcome = error
            raise

    def _finish(self, session: Session, total: int, request: Request) -> StoredObject:
        if len(session.data) != total or session.size not in (None, total):
            raise invalid("The upload has not as many bytes as were announced.")
        body = body_of(bytes(session.data))
        check_hashes(body, session.resource, request)
        return self._state.find_bucket(session.bucket).insert(
            session.name,
            UploadRequest(body, session.resource),
            session.conditions,
            self._state.permissions.require,
        )


def store_chunk(session: Session, request: Request) -> int | None:
    """Add what is new of a chunk, and return the size of the whole if it is known by now."""
    span = parse_content_range(request, session.size)
    if span.start is None:
        return span.total  # a status query, or the end of an unknown size
    if span.start > len(session.data):
        raise invalid("The chunk begins behind the bytes that have arrived.")
    new = request.body.read_all()
    session.data += new[len(session.data) - span.start :]
    return span.total


def _name_in(start: bytes) -> str:
    """Return the name in the first bytes of an upload, multipart or JSON; empty if unclear."""
    text = start.decode("utf-8", "replace")
    try:
        found, _ = JSONDecoder().raw_decode(text, max(text.find("{"), 0))
    except ValueError:
        return ""
    return str(found.get("name") or "") if isinstance(found, dict) else ""


def split(request: Request) -> Part:
    """Return the two parts of a multipart body, or raise 400."""
    whole = request.header("content-type") or ""
    match = _BOUNDARY.search(whole)
    if match is None or not whole.startswith("multipart/related"):
        raise invalid("Missing boundary in multipart body.")
    line = b"--" + match.group(1).encode("latin-1")
    body = request.body.read_all()
    head, middle = body.find(line), body.find(b"\r\n" + line, len(line))
    end = body.rfind(b"\r\n" + line + b"--")
    if head or middle < 0 or end <= middle or body.count(b"\r\n" + line) != PARTS:
        raise invalid("Malformed multipart body.")
    kind, description = _part(memoryview(body)[len(line) + 2 : middle])
    content_type, content = _part(memoryview(body)[middle + len(line) + 4 : end])
    if kind.partition(";")[0].strip() != "application/json" or not content_type:
        raise invalid("A part of a multipart body has no Content-Type, or a wrong one.")
    return Part(parse_json(bytes(description)), content, content_type)


def _part(text: memoryview) -> tuple[str, memoryview]:
    """Return the content type and the content of one part."""
    start = bytes(text[:HEAD])
    end = start.find(b"\r\n\r\n")
    if end < 0:
        raise invalid("Malformed multipart body.")
    for line in start[:end].decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "content-type":
            return value.strip(), text[end + 4 :]
    return "", text[end + 4 :]
