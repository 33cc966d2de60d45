"""
A proxy in front of an emulator: what is asked passes by, unless a test has planned a fault.

It hands on path, query, headers and body as they came, so that signatures hold.
"""

from http.client import HTTPConnection
from threading import Event, Lock

from tests.fake_gcs.faults import FaultPlan
from tests.fake_gcs.faulty import FaultyAnswer
from tests.fake_gcs.listener import Listener
from tests.fake_gcs.log import Record, RequestLog
from tests.fake_gcs.objects import body_of
from tests.fake_gcs.wire import Reply, Request, Slice
from tests.services.dialect import PRICES, Dialect
from tests.waiting import TIMEOUT_SECONDS

HOP_BY_HOP = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding"})
"""Headers that concern one connection, or that the proxy writes itself."""


CONDITIONS = frozenset({"if-match", "if-none-match"})


class FaultProxy:
    """
    A port of 127.0.0.1 that leads to an emulator.

    Attributes:
        faults: What is to go wrong.
        log: What was asked.
        listener: The port: it can stop and start again, die and revive.
    """

    def __init__(self, dialect: Dialect, address: str) -> None:
        self.faults = FaultPlan()
        self.log = RequestLog()
        self.closing = Event()
        self.listener = Listener(self._answer, self.closing)
        self._dialect = dialect
        self._address = address
        self._faulty = FaultyAnswer(self.closing.wait)
        self._conditional = Lock()

    def _answer(self, request: Request) -> Reply:
        asked, status = self._dialect.asked(request), 0
        try:
            fault = self.faults.take(asked.kind, asked.name)
            reply = self._faulty.answer(fault, request, self._pass_on, self._dialect.refusal)
            status = reply.status
        finally:
            record = Record(
                kind=asked.kind,
                price=PRICES[asked.kind],
                bucket=asked.bucket,
                name=asked.name,
                status=status,
                method=request.method,
                target=request.target,
                authorization=request.header("authorization") is not None,
            )
            self.log.add(record)
        return reply

    def _pass_on(self, request: Request) -> Reply:
        if not CONDITIONS & {name.lower() for name, _ in request.headers}:
            return self._send(request)
        with self._conditional:  # moto looks and writes in two steps, which a service does in one
            return self._send(request)

    def _send(self, request: Request) -> Reply:
        connection = HTTPConnection(self._address, timeout=TIMEOUT_SECONDS)
        body = request.body.read_all()
        try:
            connection.putrequest(
                request.method, request.target, skip_host=True, skip_accept_encoding=True
            )
            for name, value in request.headers:
                if name.lower() != "connection":
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            content: bytes | Slice = answer.read()
        finally:
            connection.close()
        is_bare = request.method == "HEAD"
        if is_bare:  # its length is that of a body that is not sent
            content = Slice(body_of(b""), 0, int(answer.headers.get("Content-Length", "0")))
        headers = [each for each in answer.getheaders() if each[0].lower() not in HOP_BY_HOP]
        return Reply(answer.status, headers, content, bare=is_bare)
