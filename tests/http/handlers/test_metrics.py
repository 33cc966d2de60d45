"""`/metrics`: what it tells, and to whom."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.distributions import make_wheel
from tests.http.in_process import InProcessResponse, InProcessServer, in_process
from tests.http.packages import publish
from tests.http.raw_client import RawResponse, basic, raw_answer
from tests.http.servers import running_server, token_of
from tests.operations.in_memory_index import IndexHarness
from tests.waiting import until
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.http.instrumentation import Instrumentation
from wheelyard.model.index_file import read_tables
from wheelyard.operations.applied_files import AppliedFiles
from wheelyard.operations.applying import SourcedTables
from wheelyard.settings.sections import AccessSettings, ServerSettings, Settings, StoreSettings
from wheelyard.storage.forwarding import Operation
from wheelyard.wiring.build import open_index

TOKEN = "open-sesame"
ELSEWHERE = ServerSettings(host="192.0.2.1")
"""Not a loopback address; only what the settings say counts."""
ASKED = "GET /metrics"
GET = f"{ASKED} HTTP/1.1"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessServer]:
    """An application on a public address, with a token for its metrics."""
    settings = Settings(server=ELSEWHERE, access=AccessSettings(metrics_token=TOKEN))
    with in_process(tmp_path_factory.mktemp("guarded"), settings) as app:
        yield app


def bearer(token: str) -> str:
    """Write an Authorization header."""
    return f"Authorization: Bearer {token}"


def figures_of(reply: RawResponse) -> dict[str, float]:
    """Return every figure by its name and labels."""
    lines = [line for line in reply.body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def error_of(reply: InProcessResponse) -> str:
    """Return the word for programs of a refusal."""
    return reply.body.decode().partition('"error":"')[2].partition('"')[0]


def test_operations_are_counted(tmp_path: Path) -> None:
    """Prometheus reads how often the store was asked what, and in which class that is billed."""
    with in_process(tmp_path, near=False) as server:
        operation_counter = server.index.server.traits.operation_counter
        assert "operation=" not in server.get("/metrics").text
        for count, operation in enumerate(
            (Operation("insert", "A"), Operation("get", "B"), Operation("delete", "free"))
        ):
            for _ in range(count + 1):
                operation_counter.add(operation)
        answer = server.get("/metrics")

    assert answer.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.header("cache-control") == "no-store"
    lines = answer.text.splitlines()
    about = [line for line in lines if " wheelyard_storage_operations_total " in line]
    assert about[0].startswith("# HELP ")
    assert about[1] == "# TYPE wheelyard_storage_operations_total counter"
    assert [line for line in lines if line.startswith("wheelyard_storage_operations_total{")] == [
        'wheelyard_storage_operations_total{class="A",operation="insert"} 1.0',
        'wheelyard_storage_operations_total{class="B",operation="get"} 2.0',
        'wheelyard_storage_operations_total{class="free",operation="delete"} 3.0',
    ]


def test_differences_from_applied_files_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Prometheus reads how much differs from the files of a server, and its log says what does."""
    harness = IndexHarness(tmp_path)
    server = harness.index.server
    team = SourcedTables("team.toml", read_tables({"groups": {"team": ["htpasswd:ana"]}}, ()))
    files = AppliedFiles(server.applying, [team], server.retries)
    server.applied_files = files
    metrics = Instrumentation(harness.index)
    until(lambda: b"wheelyard_apply_differences 1.0\n" in metrics.render_metrics())

    files.put_into_force()
    harness.clock.advance(minutes=1)
    until(lambda: b"wheelyard_apply_differences 0.0\n" in metrics.render_metrics())

    logged = [message for message in caplog.messages if message.startswith("file ")]
    assert logged[0] == (
        "file team.toml: It was never applied. 1 difference to what is in force: group team."
    )
    assert logged[1].startswith("file team.toml: It was applied last")


@pytest.mark.integration
def test_requests_are_timed(tmp_path: Path) -> None:
    """Prometheus reads how many requests and store calls took how long, and what expires soon."""
    with running_server(tmp_path) as server:
        index = open_index(Settings(store=StoreSettings(location=str(server.store))))
        index.tokens.create(TokenRequest(name="x", lifetime=timedelta(days=1)), by="local:alice")
        publish(server, make_wheel())
        publish(server, make_wheel())
        for _ in range(3):
            assert server.get("/simple/demo/").status_code == 200
        assert server.ask("HEAD", "/simple/nothing/").status_code == 404
        assert server.ask("BREW", "/tea/").status_code == 405
        figures = figures_of(raw_answer(server, GET))
        expiring = "wheelyard_expiring_tokens"
        until(
            lambda: figures_of(raw_answer(server, GET)).get(expiring) == 1
        )  # counted in the background

    name = "wheelyard_http_request_duration_seconds"
    detail = 'method="GET",route="project_detail",status="200"'
    assert figures[f"{name}_count{{{detail}}}"] == 3
    assert figures[f'{name}_bucket{{le="+Inf",{detail}}}'] == 3
    assert figures[f"{name}_sum{{{detail}}}"] > 0
    assert figures[f'{name}_count{{method="POST",route="upload",status="200"}}'] == 2
    assert figures[f'{name}_count{{method="HEAD",route="project_detail",status="404"}}'] == 1
    assert figures[f'{name}_count{{method="other",route="project_detail",status="405"}}'] == 1
    assert figures["wheelyard_http_requests_in_progress"] == 1
    assert figures["process_resident_memory_bytes"] > 0
    buckets = [
        figures[figure] for figure in figures if f"{name}_bucket" in figure and detail in figure
    ]
    assert buckets == sorted(buckets)

    name = "wheelyard_store_duration_seconds_count"
    assert figures[f'{name}{{outcome="ok",verb="put_file"}}'] >= 1
    assert figures[f'{name}{{outcome="ok",verb="put"}}'] >= 2
    assert figures[f'{name}{{outcome="absent",verb="get"}}'] >= 1
    assert not [each for each in figures if 'outcome="error"' in each]


def test_metrics_are_public_on_loopback(private_app: InProcessServer) -> None:
    """On a loopback address, metrics are public."""
    assert private_app.raw(ASKED, bearer("wrong")).status == 200
    assert private_app.raw("HEAD /metrics").status == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For: 192.0.2.1", "Via: 1.1 proxy"])
def test_proxy_does_not_open_the_metrics(private_app: InProcessServer, header: str) -> None:
    """A proxy on this machine does not open the metrics to its clients."""
    answer = private_app.raw(ASKED, header)
    assert (answer.status, error_of(answer)) == (401, "unauthenticated")


def test_no_client_is_local_behind_a_proxy(tmp_path: Path) -> None:
    """With a configured proxy, no client counts as local."""
    settings = Settings(
        server=ServerSettings(trusted_proxies=1), access=AccessSettings(metrics_token=TOKEN)
    )
    with in_process(tmp_path, settings) as app:
        assert app.raw(ASKED).status == 401
        assert app.raw(ASKED, bearer(TOKEN)).status == 200


@pytest.mark.parametrize("header", [bearer(TOKEN), basic("prometheus", TOKEN), basic(TOKEN, "")])
def test_metrics_token_opens_the_metrics_alone(guarded: InProcessServer, header: str) -> None:
    """The token of the metrics opens them, however it is sent, and opens nothing else."""
    answer = guarded.raw(ASKED, header)
    assert (answer.status, b"# HELP" in answer.body) == (200, True)
    assert guarded.raw("GET /simple/", header).status == 401


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("X: y", "The metrics are not public."),
        ("Authorization: Bearer", "Missing or invalid credential."),
        ("Authorization: Basic colon", "Missing or invalid credential."),
        (bearer(f"{TOKEN}x"), "Missing or invalid credential."),
    ],
    ids=["none", "empty", "malformed", "wrong"],
)
def test_metrics_need_a_token_on_a_public_address(
    guarded: InProcessServer, header: str, words: str
) -> None:
    """On a public address, metrics need a token, as the refusal says."""
    answer = guarded.raw(ASKED, header)
    assert (answer.status, error_of(answer)) == (401, "unauthenticated")
    assert words in answer.body.decode()
    assert TOKEN.encode() not in answer.body


def test_token_of_the_index_does_not_open_the_metrics(guarded: InProcessServer) -> None:
    """A token of the index is no token of the metrics, and the refusal says so."""
    answer = guarded.raw(ASKED, bearer(token_of(guarded.index, can="read")))
    assert (answer.status, error_of(answer)) == (403, "forbidden")
    assert b"This token may not read the metrics." in answer.body


@pytest.mark.parametrize("header", ["X: y", bearer("")], ids=["none", "empty"])
def test_no_token_opens_nothing(tmp_path: Path, header: str) -> None:
    """Without a token for the metrics in the settings, neither none nor an empty one opens them."""
    with in_process(tmp_path, Settings(server=ELSEWHERE)) as app:
        assert app.raw(ASKED, header).status == 401


@pytest.mark.integration
def test_start_imports_nothing_slow() -> None:
    """The start imports no library of a cloud or collector, and nothing that is off by default."""
    program = "import sys, wheelyard.http.app; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    loaded = run.stdout.decode().split()
    absent = {
        "opentelemetry",
        "docutils",
        "google.cloud.storage",
        "jwt",
        "obstore",
        "requests",
    }
    names = ["archive.wheel", "authentication.sign_in", "http.handlers.providers", "upstream"]
    names += ["wiring.sign_in", "wiring.upstream"]
    absent |= {f"wheelyard.{name}" for name in names}
    assert absent.isdisjoint(loaded)


def test_only_the_exact_path_is_the_metrics(stocked_app: InProcessServer) -> None:
    """Only GET of the exact path is the metrics; a project may be named `metrics`."""
    stocked_app.publish(make_wheel("metrics"))
    assert "metrics-1.0-py3-none-any.whl" in stocked_app.get("/metrics/").text
    answer = stocked_app.raw("POST /metrics")
    assert (answer.status, answer.header("allow")) == (405, "GET, HEAD, OPTIONS")
