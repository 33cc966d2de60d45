"""
A proxy that refuses what Cloud Storage refuses, before an emulator that lets it pass.

Whatever the rules of `strict.py` say nothing about goes on to the emulator as it came. Of a
resumable upload the proxy counts the bytes as they pass, because a digest may come with the last of
them, and a description with the first request.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from threading import Event
from urllib.parse import parse_qs, urlsplit

from tests.bucket.bodies import body_of
from tests.bucket.calls import Call, conditions, parse
from tests.bucket.errors import ApiError
from tests.bucket.json_api import parse_json
from tests.bucket.listener import Listener
from tests.bucket.objects import check_name
from tests.bucket.strict import check_hashes, check_request, check_resource, described
from tests.bucket.uploads import Session, split, store_chunk
from tests.bucket.wire import DisconnectedError, Reply, Request

PATIENCE = 60
"""Seconds that the emulator may take to answer."""
OF_ONE_CONNECTION = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding"})


@dataclass
class StrictProxy:
    """
    The proxy, but for its socket.

    Attributes:
        upstream: Host and port of the emulator.
    """

    upstream: str = ""
    _sessions: dict[str, Session] = field(default_factory=dict)

    def answer(self, request: Request) -> Reply:
        """
        Return a refusal, or the emulator's answer.

        Raises:
            DisconnectedError: The emulator does not answer, or the client is gone.
        """
        call = parse(request)
        body = request.body.read_all()
        try:
            check_request(call, request)
            self._check_body(call, request, body)
        except ApiError as error:
            content_type, text = error.written(call.style)
            return Reply(error.status, [("Content-Type", content_type)], text)
        reply = self._passed_on(request, body)
        if call.kind == "resumable-start" and reply.status < 300:
            self._begin(call, request, body, reply)
        return reply

    def _check_body(self, call: Call, request: Request, body: bytes) -> None:
        request.body.unread(body)
        if call.kind == "insert" and request.parameter("uploadType") == "multipart":
            part = split(request)
            resource = described(part.resource, part.content_type)
            self._check_name(request, resource.get("name"))
            check_hashes(body_of(bytes(part.content)), resource, request)
        elif call.kind == "insert":
            self._check_name(request, None)
            resource = described({}, request.header("content-type"))
            check_hashes(body_of(body), resource, request)
        elif call.kind == "resumable-start":
            resource = described(parse_json(body), request.header("x-upload-content-type"))
            self._check_name(request, resource.get("name"))
        elif call.kind == "rewrite":
            check_name(call.to_name)
            check_resource(parse_json(body))
        elif call.kind == "resumable-chunk":
            self._check_chunk(request)

    def _check_name(self, request: Request, name: object) -> None:
        check_name(str(request.parameter("name") or name or ""))

    def _check_chunk(self, request: Request) -> None:
        session = self._sessions.get(request.parameter("upload_id") or "")
        if session is None:
            return  # the emulator says that it knows none of that name
        with session.lock:
            total = store_chunk(session, request)
            if total is not None and session.writer.size >= total:
                check_hashes(session.writer.finish(), session.resource, request)

    def _begin(self, call: Call, request: Request, body: bytes, reply: Reply) -> None:
        """Remember an upload that the emulator has just begun."""
        location = dict(reply.headers).get("Location", "")
        resource = described(parse_json(body), request.header("x-upload-content-type"))
        announced = request.header("x-upload-content-length")
        size = int(announced) if announced else None
        for key in parse_qs(urlsplit(location).query).get("upload_id", []):
            name = str(request.parameter("name") or resource.get("name") or "")
            asked = conditions(request)
            self._sessions[key] = Session(call.bucket, name, resource, asked, size)

    def _passed_on(self, request: Request, body: bytes) -> Reply:
        host = self.upstream
        connection = HTTPConnection(host, timeout=PATIENCE)
        try:
            connection.putrequest(
                request.method, request.target, skip_host=True, skip_accept_encoding=True
            )
            for name, value in request.headers:
                if name.lower() not in {*OF_ONE_CONNECTION, "expect"}:
                    connection.putheader(name, value)
            if body or request.header("content-length") or request.method != "GET":
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            headers = [
                each for each in answer.getheaders() if each[0].lower() not in OF_ONE_CONNECTION
            ]
            content = answer.read()
        except OSError as error:
            raise DisconnectedError from error
        finally:
            connection.close()
        return Reply(answer.status, headers, content, bare=request.method == "HEAD")


@contextmanager
def running_strict_proxy() -> Iterator[tuple[StrictProxy, str]]:
    """Yield a proxy that is to be told where its emulator is, and its own host and port."""
    closing, proxy = Event(), StrictProxy()
    listener = Listener(proxy.answer, closing)
    listener.start()
    try:
        yield proxy, f"127.0.0.1:{listener.port}"
    finally:
        with suppress(OSError):
            listener.stop()
