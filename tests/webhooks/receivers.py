"""Receivers of webhooks on this machine, which verify what they get."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from threading import Event, Lock
from typing import Any

from msgspec.json import decode
from standardwebhooks import Webhook as Verifier

from tests.http_server import serving
from tests.in_process_network import NetworkOrPorts


@dataclass(frozen=True)
class Received:
    """A message that a receiver got."""

    id: str
    body: bytes
    headers: Mapping[str, str]
    secret: str

    @property
    def json(self) -> dict[str, Any]:
        """The body."""
        return decode(self.body, type=dict[str, Any])

    @property
    def type(self) -> str:
        """What it is about."""
        return str(self.json["type"])

    @property
    def is_signed(self) -> bool:
        """Whether the library of Standard Webhooks makes the same signature."""
        stamp = datetime.fromtimestamp(int(self.headers["webhook-timestamp"]), UTC)
        signature = Verifier(self.secret).sign(self.id, stamp, self.body.decode())
        return self.headers["webhook-signature"] == signature


@dataclass
class Receiver:
    """A server that takes messages. `answer` says with which status, or hangs."""

    port: int = 0
    secret: str = ""
    answer: Callable[[Received], int] = lambda _: 200
    taken: list[Received] = field(default_factory=list[Received])
    """What was answered with a status of success, in order."""
    asked: list[Received] = field(default_factory=list[Received])
    """What came at all."""
    text: bytes = b"thanks"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Further headers of the answer."""
    changed: Event = field(default_factory=Event)
    is_over: Event = field(default_factory=Event)
    """Set at the end, so that an answer that hangs is given up."""
    lock: Lock = field(default_factory=Lock)

    @property
    def url(self) -> str:
        """Where messages go."""
        return f"http://127.0.0.1:{self.port}/hooks/T0PS3CRET"

    @property
    def types(self) -> list[str]:
        """What the messages that were taken are about, each once."""
        return [received.type for received in self.once()]

    def once(self) -> list[Received]:
        """Return what was taken, without repetitions."""
        with self.lock:
            return without_repetitions(self.taken)


def without_repetitions(received: Iterable[Received]) -> list[Received]:
    """Return messages as they came first."""
    by_id = dict[str, Received]()
    for message in received:
        by_id.setdefault(message.id, message)
    return list(by_id.values())


@contextmanager
def running_receiver(network: NetworkOrPorts = None) -> Iterator[Receiver]:
    """Run a receiver, on a port of this machine or in a network."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # the head and the body in one packet, else each answer takes 40 ms

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sent = {name.lower(): value for name, value in self.headers.items()}
            received = Received(sent.get("webhook-id", ""), body, sent, receiver.secret)
            with receiver.lock:
                receiver.asked.append(received)
            status = receiver.answer(received)
            if 200 <= status < 300:
                with receiver.lock:
                    receiver.taken.append(received)
            receiver.changed.set()
            self.send_response(status)
            self.send_header("Content-Length", str(len(receiver.text)))
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):  # nobody reads so much
                self.wfile.write(receiver.text)

    with serving(Handler, network) as url:
        receiver.port = int(url.rpartition(":")[2])
        try:
            yield receiver
        finally:
            receiver.is_over.set()
