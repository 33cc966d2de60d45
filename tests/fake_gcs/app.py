"""From a request to its answer: what it asks, which fault it meets, what comes of it, the log."""

import base64
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from tests.fake_gcs.calls import Call, not_known, parse
from tests.fake_gcs.errors import ApiError, Style
from tests.fake_gcs.faults import (
    CutAt,
    DropAfter,
    DropBefore,
    Fault,
    FaultPlan,
    FlipByte,
    Hold,
    OtherRange,
    ResetAt,
    Slow,
    Stall,
    StatusAfter,
    StatusBefore,
    WrongHash,
)
from tests.fake_gcs.in_process import FakeGcsState
from tests.fake_gcs.json_api import JsonApi
from tests.fake_gcs.log import PRICES, Record, RequestLog
from tests.fake_gcs.signed import XmlApi
from tests.fake_gcs.uploads import Uploads
from tests.fake_gcs.wire import Delivery, DisconnectedError, Pause, RateLimit, Reply, Request

OPEN = frozenset({"signed", "public", "metadata", "token", "sign", "unknown"})
"""Kinds that need no access token, or look at it themselves."""


class App:
    """The fake server without its socket; `pause` sleeps, but ends when the server stops."""

    def __init__(
        self, state: FakeGcsState, faults: FaultPlan, log: RequestLog, pause: Pause
    ) -> None:
        self.uploads = Uploads(state)
        self._state = state
        self._faults = faults
        self._log = log
        self._pause = pause
        xml = XmlApi(state)
        self._handlers: dict[str, Callable[[Call, Request], Reply]] = {
            **JsonApi(state).handlers,
            **self.uploads.handlers,
            "signed": xml.signed,
            "public": xml.public,
            "metadata": state.identity.metadata,
            "token": state.identity.exchange,
            "sign": state.identity.sign_blob,
        }

    def answer(self, request: Request) -> Reply:
        """Return the answer to a request; DisconnectedError if it gets none."""
        call = parse(request)
        status = 0
        try:
            if call.kind in self.uploads.handlers:
                call = replace(call, name=self.uploads.name_of(call, request))
            reply = self._with_faults(call, request)
            status = reply.status
        finally:
            self._note(call, request, status)
        return reply

    def _with_faults(self, call: Call, request: Request) -> Reply:
        fault = self._faults.take(call.kind, call.name)
        if isinstance(fault, DropBefore):
            raise DisconnectedError
        if isinstance(fault, StatusBefore):
            request.body.drain()
            return _status(fault, call.style)
        if isinstance(fault, OtherRange):
            request = request.with_range(fault.asked)
        if isinstance(fault, Slow):
            request.body.pace = RateLimit(fault.rate, self._pause)
        self._wait(fault, "before")
        reply = self._carry_out(call, request)
        self._wait(fault, "after")
        if isinstance(fault, DropAfter):
            raise DisconnectedError
        if isinstance(fault, StatusAfter):
            return _status(fault, call.style)
        return self._spoil(fault, reply)

    def _wait(self, fault: Fault | None, when: str) -> None:
        if isinstance(fault, Stall) and fault.when == when:
            gone = self._pause(fault.seconds)
        elif isinstance(fault, Hold) and fault.when == when:
            gone = not fault.enter()
        else:
            gone = False
        if gone:
            raise DisconnectedError

    def _carry_out(self, call: Call, request: Request) -> Reply:
        handler = self._handlers.get(call.kind)
        try:
            if handler is None:
                raise not_known(request)
            if call.kind not in OPEN:
                self._state.authenticate(request)
            return handler(call, request)
        except ApiError as error:
            with suppress(DisconnectedError):
                request.body.drain()
            return _refusal(error, call.style, bare=request.method == "HEAD")

    def _spoil(self, fault: Fault | None, reply: Reply) -> Reply:
        match fault:
            case CutAt(position):
                return replace(reply, delivery=Delivery(stop_at=position))
            case ResetAt(position):
                return replace(reply, delivery=Delivery(stop_at=position, reset=True))
            case FlipByte(position):
                return replace(reply, delivery=Delivery(flip_at=position))
            case Slow(rate):
                return replace(reply, delivery=Delivery(pace=RateLimit(rate, self._pause)))
            case WrongHash():
                crc32c = base64.b64encode(b"\0\0\0\1").decode()
                md5 = base64.b64encode(bytes(16)).decode()
                return reply.with_header("X-Goog-Hash", f"crc32c={crc32c},md5={md5}")
        return reply

    def _note(self, call: Call, request: Request, status: int) -> None:
        self._log.add(
            Record(
                kind=call.kind,
                price=PRICES[call.kind],
                bucket=call.bucket,
                name=call.name,
                status=status,
                method=request.method,
                target=request.target,
                authorization=request.header("authorization") is not None,
            )
        )


def _status(fault: StatusBefore | StatusAfter, style: Style) -> Reply:
    headers = (("Retry-After", fault.retry_after),) if fault.retry_after else ()
    return _refusal(ApiError(fault.status, "As planned by the test.", headers=headers), style)


def _refusal(error: ApiError, style: Style, *, bare: bool = False) -> Reply:
    content_type, body = error.written(style)
    headers = [("Content-Type", content_type), *error.headers] if body else list(error.headers)
    return Reply(error.status, headers, body, bare=bare)
