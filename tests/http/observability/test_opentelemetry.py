"""Traces and durations, as a collector of OpenTelemetry gets them."""

import gzip
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.distributions import make_wheel
from tests.http.packages import publish
from tests.http.raw_client import raw_answer
from tests.http.servers import running_server
from tests.http_server import serving
from tests.waiting import until
from wheelyard.http.opentelemetry import Telemetry
from wheelyard.http.routing import RouteTable

pytestmark = pytest.mark.integration

ID, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SERVER = Span.SPAN_KIND_SERVER


@dataclass
class Collector:
    """A collector on a port of its own, and what it was sent."""

    url: str = ""
    bodies: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def spans(self) -> list[Span]:
        """Every span so far."""
        return [
            span
            for path, body in self.bodies
            if path == "/v1/traces"
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def measured(self) -> set[str]:
        """The names of everything that was measured."""
        return {
            metric.name
            for path, body in self.bodies
            if path == "/v1/metrics"
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        """Takes whatever is sent."""

        def do_POST(self) -> None:
            """Keep a body."""
            body = self.rfile.read(int(self.headers["Content-Length"]))
            is_packed = self.headers.get("Content-Encoding") == "gzip"
            collector.bodies.append((self.path, gzip.decompress(body) if is_packed else body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with serving(Handler) as collector.url:
        yield collector


def attributes(span: Span) -> dict[str, str | int]:
    """Return the attributes of a span."""
    return {
        attribute.key: attribute.value.string_value or attribute.value.int_value
        for attribute in span.attributes
    }


@pytest.fixture(scope="module")
def collector_and_token(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Collector, str]]:
    """What a collector was told of some requests, and the token in them; the rest is told last."""
    with collecting() as collector:
        config = f'[telemetry]\notlp_endpoint = "{collector.url}/"\n'
        with running_server(tmp_path_factory.mktemp("telling"), config=config) as server:
            publish(server, make_wheel())
            server.get("/simple/demo/", traceparent=f"00-{ID}-{SPAN}-01")
            server.get("/simple/demo/", traceparent=f"00-{ID}-{SPAN}-01")
            server.get("/simple/", traceparent=f"00-{ID}-{SPAN}-00")
            server.get("/simple/?a-secret-word=1", server.token)
            server.get(f"/simple/{server.token}/")
            server.get(f"/simple/%77yd_{server.token[4:]}/")
            assert server.get(f"/{'a' * 20_000}").status_code == 414
            assert (
                raw_answer(server, "GET /simple/?%ff HTTP/1.1", "User-Agent: \xff\\x").status == 200
            )
        yield collector, server.token


def test_request_is_a_span_of_its_client(collector_and_token: tuple[Collector, str]) -> None:
    """A request is a span of its client's trace."""
    spans = collector_and_token[0].spans
    pages = [span for span in spans if span.trace_id.hex() == ID and span.kind == SERVER]
    assert [page.name for page in pages] == ["GET project_detail"] * 2
    for page in pages:
        assert page.parent_span_id.hex() == SPAN
        assert page.start_time_unix_nano <= page.end_time_unix_nano
        page_attributes = attributes(page)
        assert page_attributes["http.response.status_code"] == 200
        assert (page_attributes["http.route"], page_attributes["url.path"]) == (
            "project_detail",
            "/simple/demo/",
        )
    assert "http.server.request.duration" in collector_and_token[0].measured


def test_no_secret_is_sent(collector_and_token: tuple[Collector, str]) -> None:
    """Neither a credential nor a query is in anything that a collector gets, nor a long path."""
    collector, token = collector_and_token
    assert max(len(str(attributes(span).get("url.path"))) for span in collector.spans) == 512
    for _, body in collector.bodies:
        assert token[14:].encode() not in body
        assert b"a-secret-word" not in body


@pytest.mark.slow
def test_server_ends_although_its_collector_hangs(tmp_path: Path) -> None:
    """A server ends although its collector takes a connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        config = f'[telemetry]\notlp_endpoint = "{endpoint}"\n'
        with running_server(tmp_path, config=config) as server:
            assert server.get("/simple/").status_code == 200
            os.kill(server.pid, signal.SIGTERM)
            until(lambda: not _is_running(server.pid))


def test_local_collector_needs_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes to a collector on this machine goes past a proxy that the environment names."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with collecting() as collector:
        telemetry = Telemetry(collector.url, _no_application, RouteTable(()))
        telemetry.tracers.get_tracer("a test").start_span("a request").end()
        telemetry.close()

        assert [span.name for span in collector.spans] == ["a request"]


async def _no_application(*_: object) -> None:
    raise AssertionError


def _is_running(pid: int) -> bool:
    """Return whether a process has not ended; one that did is gone, or waits to be asked for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
