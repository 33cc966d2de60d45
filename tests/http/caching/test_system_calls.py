"""System calls of a request on the fast path, in server processes that strace looks at."""

import re
import signal
import subprocess
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.clients.harness import system_program
from tests.distributions import make_wheel
from tests.http.packages import publish
from tests.http.servers import RunningServer, running_server
from tests.http_server import count_listeners, workers_of
from tests.waiting import until

CONNECTIONS = 16
"""The kernel shares them between the workers."""
TIMES = 5
"""How many requests each connection sends while strace looks."""
CALLS = {"recvfrom TCP": 1, "newfstatat": 2, "writev TCP": 1}
"""
What a request does: it is received, the definitions of indexes and its document are looked at, the
response is sent.
"""
WAITS = {
    *("epoll_wait", "epoll_pwait", "futex", "sched_yield"),
    *("write eventfd", "read eventfd", "sendto", "recvfrom", "getpid"),
}
"""
How Granian's two threads and the event loop wait for each other and wake each other: as often as
the machine lets them sleep. asyncio is woken by a byte in a pair of sockets; Python 3.11 asks for
its process id whenever it looks for the running loop.
"""
CALL = re.compile(r"^\d+ +(\w+)\((?:\d+<(?:anon_inode:\[)?(TCP|eventfd))?", re.MULTILINE)
SHARED_LOCK = re.compile(
    r"^(?!.*/lead>).*"
    r"(?:\bflock\(|\bsem\w*op\(|F_(?:OFD_)?SETLK|\bfutex\(\w+, FUTEX_(?!\w*_PRIVATE)).*$",
    re.MULTILINE,
)
"""
A call that locks what another process can lock, too: a futex is one unless it is private.

The lock of the worker that leads is another matter: the others wait for it in a thread of its own.
"""


@pytest.mark.integration
@pytest.mark.parametrize("workers", [1, 2])
def test_page_in_memory_costs_four_system_calls(tmp_path: Path, workers: int) -> None:
    """A page in memory costs four system calls, waits aside, and no lock that workers share."""
    strace, log = system_program("strace"), tmp_path / "calls"
    options = () if workers == 1 else ("--workers", str(workers))
    with ExitStack() as stack:
        server = stack.enter_context(running_server(tmp_path / "server", *options))
        publish(server, make_wheel("demo"))
        pids = _pids(server, workers)
        connections = [
            stack.enter_context(closing(HTTPConnection(server.address))) for _ in range(CONNECTIONS)
        ]
        _ask(connections, server.token)
        with _traced(strace, pids, log):
            for _ in range(TIMES):
                _ask(connections, server.token)
        maps = {pid: Path(f"/proc/{pid}/maps").read_text().splitlines() for pid in pids}
    calls = log.read_text()

    found = Counter(" ".join(each).strip() for each in CALL.findall(calls))
    # what a worker does every second is less than one call for each request
    each = {name: round(count / CONNECTIONS / TIMES) for name, count in found.items()}
    assert {name: count for name, count in each.items() if count and name not in WAITS} == CALLS
    assert len({line.split()[0] for line in calls.splitlines() if "writev" in line}) >= workers
    locks = SHARED_LOCK.findall(calls)
    assert [line for line in locks if "/lead>" not in line] == []  # a thread waits for that one
    shared = [(pid, line) for pid, lines in maps.items() for line in lines if "rw-s" in line]
    # the loop's own, and the metrics of this process
    own = [line for pid, line in shared if "io_uring" in line or f"_{pid}.db" in line]
    assert own == [line for _, line in shared]


def _ask(connections: Sequence[HTTPConnection], token: str) -> None:
    login = b64encode(f"__token__:{token}".encode()).decode()
    for connection in connections:
        connection.request("GET", "/simple/demo/", headers={"Authorization": f"Basic {login}"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200


def _pids(server: RunningServer, workers: int) -> list[int]:
    """Wait until all workers listen; return their process ids."""
    until(lambda: count_listeners(server.port) == workers)
    return [server.pid] if workers == 1 else workers_of(server.pid)


@contextmanager
def _traced(strace: str, pids: Sequence[int], log: Path) -> Iterator[None]:
    """Write all system calls of processes into a file until the block ends."""
    chosen = [part for pid in pids for part in ("-p", str(pid))]
    process = subprocess.Popen(
        [strace, "-f", "-yy", "-o", str(log), *chosen], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    with process.stderr as said:
        for _ in pids:
            if "attached" not in (line := said.readline()):
                process.wait()
                pytest.skip(f"tracing is forbidden here: {line}")
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()
