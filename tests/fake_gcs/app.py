"""From a request to its answer: what it asks, which fault it meets, what comes of it, the log."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from tests.fake_gcs.calls import Call, not_known, parse
from tests.fake_gcs.errors import ApiError, Style
from tests.fake_gcs.faults import FaultPlan, StatusAfter, StatusBefore
from tests.fake_gcs.faulty import FaultyAnswer
from tests.fake_gcs.in_process import FakeGcsState
from tests.fake_gcs.json_api import JsonApi
from tests.fake_gcs.log import PRICES, Record, RequestLog
from tests.fake_gcs.signed import XmlApi
from tests.fake_gcs.uploads import Uploads
from tests.fake_gcs.wire import DisconnectedError, Pause, Reply, Request

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
        self._faulty = FaultyAnswer(pause)
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
        return self._faulty.answer(
            self._faults.take(call.kind, call.name),
            request,
            partial(self._carry_out, call),
            lambda fault: _status(fault, call.style),
        )

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
    error = ApiError(fault.status, "As planned by the test.", fault.reason, headers)
    return _refusal(error, style)


def _refusal(error: ApiError, style: Style, *, bare: bool = False) -> Reply:
    content_type, body = error.written(style)
    headers = [("Content-Type", content_type), *error.headers] if body else list(error.headers)
    return Reply(error.status, headers, body, bare=bare)
