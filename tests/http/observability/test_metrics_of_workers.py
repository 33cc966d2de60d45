"""Several processes behind one address: what one has taken, all of them show at once."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
from prometheus_client import Metric, ProcessCollector

from tests.distributions import make_wheel
from tests.http.packages import post, publish
from tests.http.servers import RunningServer, running_server
from tests.http_server import count_listeners, workers_of
from tests.plain_http import LOCALLY
from tests.waiting import until
from wheelyard.http import instrumentation

pytestmark = pytest.mark.integration

V1_JSON = "application/vnd.pypi.simple.v1+json"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A private server of three processes."""
    with running_server(
        tmp_path_factory.mktemp("workers"), "--private", "--workers", "3"
    ) as server:
        yield server


def asked_anew(server: RunningServer, path: str, token: str) -> list[httpx2.Response]:
    """Ask over several new connections, which different processes take."""
    headers = {"Accept": V1_JSON, "Authorization": f"Bearer {token}"}
    return [
        httpx2.get(f"{server.url}{path}", headers=headers, timeout=30, **LOCALLY) for _ in range(6)
    ]


def test_upload_is_seen_by_every_process(server: RunningServer) -> None:
    """Whatever one process has taken is seen by every process at once: a file, a yank, its end."""
    package = make_wheel("changing")
    publish(server, package)
    for answer in asked_anew(server, f"/packages/{package.filename}", server.token):
        assert answer.content == package.body
    for answer in asked_anew(server, "/simple/", server.token):
        assert "changing" in {each["name"] for each in answer.json()["projects"]}
    server.change("changing", "yank", version="1.0")
    for answer in asked_anew(server, "/simple/changing/", server.token):
        assert answer.json()["files"][0]["yanked"] is True
    server.change("changing", "delete", version="1.0")
    for answer in asked_anew(server, "/packages/changing-1.0-py3-none-any.whl", server.token):
        assert answer.status_code == 404
    for _ in range(6):
        assert post(server, make_wheel("changing")).status_code == 400


def test_metrics_are_of_all_processes(server: RunningServer) -> None:
    """Whichever process is asked, its metrics tell within seconds what all of them have done."""

    def counted() -> set[float]:
        name = "wheelyard_http_request_duration_seconds_count"
        row = f'{name}{{method="GET",route="legacy_json",status="404"}} '
        found = asked_anew(server, "/metrics", server.token)
        return {float(each.text.partition(row)[2].partition("\n")[0] or 0) for each in found}

    before = max(counted())
    for _ in range(5):
        for answer in asked_anew(server, "/pypi/nothing-here/json", server.token):
            assert answer.status_code == 404
    until(lambda: counted() == {before + 30})


def test_memory_and_time_are_of_all_processes(server: RunningServer) -> None:
    """Whichever process is asked, memory and time are those of all, and nothing has restarted."""
    found = list[httpx2.Response]()

    def shown(name: str) -> list[float]:
        rows = [re.search(rf"^{name} (.*)$", each.text, re.MULTILINE) for each in found]
        return [float(row[1]) for row in rows if row]

    def is_one_start() -> bool:  # the process that was begun first may answer last
        found[:] = asked_anew(server, "/metrics", server.token)
        return len(set(shown("process_start_time_seconds"))) == 1

    until(is_one_start)
    assert shown("process_cpu_seconds_total") == sorted(shown("process_cpu_seconds_total"))
    assert len(shown("process_open_fds")) == len(found)
    of_manager = len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
    assert min(shown("process_open_fds")) > of_manager


def test_worker_that_exits_meanwhile_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that exits while the processor times are read counts once, not twice."""
    use_time = (
        "while sum(__import__('os').times()[:2]) < 0.3: pass\nprint(flush=True)\nopen(0).read()"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", use_time], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert worker.stdout is not None
    worker.stdout.readline()

    class ExitsWhenRead(ProcessCollector):
        def collect(self) -> list[Metric]:
            metrics = list(super().collect())
            if self._pid() == worker.pid:
                worker.communicate()
            return metrics

    monkeypatch.setattr(instrumentation, "ProcessCollector", ExitsWhenRead)
    processes = instrumentation.ProcessesCollector([os.getpid(), worker.pid])
    seconds = {metric.name: metric.samples[0].value for metric in processes.collect()}
    assert seconds["process_cpu_seconds"] < sum(os.times()[:4]) + 0.1


@pytest.mark.slow
def test_failing_worker_takes_no_other_down(tmp_path: Path) -> None:
    """A worker process that cannot begin again says why, and takes no other one down."""
    passwords = tmp_path / "htpasswd"
    passwords.write_text("")
    config = f'[log]\nformat = "json"\n[access]\nhtpasswd_file = "{passwords}"\n'
    with running_server(tmp_path, "--workers", "2", config=config) as server:
        until(lambda: count_listeners(server.port) == 2)
        passwords.unlink()
        os.kill(workers_of(server.pid)[0], signal.SIGKILL)
        until(lambda: "a worker cannot start" in server.log)
        for _ in range(3):
            assert server.get("/health").status_code == 200
        passwords.write_text("")

        whole = server.log.rpartition("\n")[0]  # without a line that is being written
        lines = [line for line in whole.splitlines() if line.startswith("{")]
        logged = [json.loads(line) for line in lines]
        assert any(each["severity"] == "CRITICAL" for each in logged)


@pytest.mark.slow
def test_metrics_outlive_a_killed_worker(tmp_path: Path) -> None:
    """What was shown once counts for ever, also processor time; that a process died is logged."""
    with running_server(tmp_path, "--workers", "2", config='[log]\nformat = "json"\n') as server:
        requests = 'wheelyard_http_request_duration_seconds_count{method="GET",route="nothing"'
        processor_time = "process_cpu_seconds_total "

        def shown(row: str) -> float:
            text = httpx2.get(f"{server.url}/metrics", timeout=30, **LOCALLY).text
            return sum(
                float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(row)
            )

        for _ in range(20):
            httpx2.get(f"{server.url}/nothing/at/all/", timeout=30, **LOCALLY)
        before, seconds = shown(requests), [shown(processor_time)]

        def has_two_workers() -> bool:
            with suppress(httpx2.TransportError):  # the one that is killed got the request
                seconds.append(shown(processor_time))
            # one that has only begun may not be stopped yet
            serving = len(workers_of(server.pid)) == count_listeners(server.port) == 2
            return serving and "Unexpected exit" in server.log

        until(lambda: count_listeners(server.port) == 2)
        os.kill(workers_of(server.pid)[0], signal.SIGKILL)
        until(has_two_workers)
        assert shown(requests) >= before
        assert seconds == sorted(seconds)

        lines = [line for line in server.log.splitlines() if "Unexpected exit" in line]
        assert json.loads(lines[0])["severity"] == "ERROR"
