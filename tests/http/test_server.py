"""The web server, with an application of its own, and the process that starts workers."""

import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from starlette.types import Receive, Scope, Send

from tests.clients.harness import SOURCE, Sandbox
from tests.http_server import is_healthy, running_program, serving_app
from tests.plain_http import LOCALLY
from tests.ports import free_port
from tests.waiting import until

pytestmark = pytest.mark.integration

MANAGER = """
import gc, os, sys, threading
from wheelyard.cli.main import main
from wheelyard.wiring.index import Index

def note():
    clouds = {"google.auth", "google.cloud.storage", "obstore"} & set(sys.modules)
    threads = [each.name for each in threading.enumerate() if "_watcher" not in each.name]
    indexes = [each for each in gc.get_objects() if isinstance(each, Index)]
    with open("forks.txt", "a") as file:
        print(sorted(clouds), threads, indexes, file=file)

os.register_at_fork(before=note)
sys.argv[0] = "wheelyard"
main()
"""

LATE_WORKER = """
import os
import sys
from pathlib import Path
from wheelyard.http.server_process import RunFolder, WorkerProcess
from wheelyard.settings.sections import Settings

folder = RunFolder(Path(sys.argv[1]))
folder.lead = Path("removed") / "lead"
WorkerProcess(Settings(), None, folder, os.getppid()).load()
"""


async def faulty(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer, or fail at one path."""
    del receive
    if scope["path"] == "/fault":
        raise ValueError
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"here"})


def test_fault_is_answered_with_500() -> None:
    """A fault of the application is answered with 500, and the next request as ever."""
    with serving_app(faulty) as settings:
        base = f"http://127.0.0.1:{settings.port}"
        with httpx2.Client(base_url=base, timeout=60, **LOCALLY) as client:
            statuses = [client.get(path).status_code for path in ("/", "/fault", "/")]

    assert statuses == [200, 500, 200]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers are not forked")
def test_forking_process_has_no_index_and_no_threads(sandbox: Sandbox) -> None:
    """The process that forks workers has opened no index and started no thread of ours."""
    port, log = free_port(), sandbox.folder / "log.txt"
    options = ("serve", "--port", str(port), "--workers", "3")
    with running_program(
        sandbox,
        [sys.executable, "-c", MANAGER, *options],
        log,
        lambda: is_healthy(f"127.0.0.1:{port}"),
        SOURCE,
    ):
        until(lambda: len(forks_in(sandbox.folder)) == 3, log.read_text)

    assert set(forks_in(sandbox.folder)) == {"[] ['MainThread'] []"}


def forks_in(folder: Path) -> list[str]:
    """Return the lines of the program above, one for each fork."""
    return (folder / "forks.txt").read_text().splitlines()


@pytest.mark.parametrize(("folder", "last_words"), [("removed", b""), (".", b"FileNotFoundError:")])
def test_orphaned_worker_ends_in_silence(sandbox: Sandbox, folder: str, last_words: bytes) -> None:
    """Only if the manager was killed, and its folder is gone, a worker that starts says nothing."""
    done = subprocess.run(
        [sys.executable, "-c", LATE_WORKER, folder],
        check=False,
        cwd=sandbox.folder,
        capture_output=True,
        env=sandbox.environment() | SOURCE,
    )

    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr[done.stderr.rfind(b"\n", 0, -1) + 1 :].startswith(last_words)
    assert bool(done.stderr) == bool(last_words)
