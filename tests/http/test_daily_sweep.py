"""A server removes leftovers by itself."""

import os
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.clients.harness import REPOSITORY, new_sandbox
from tests.clients.servers import free_port, stop
from tests.http.servers import is_up
from tests.operations.distributions import make_wheel
from tests.operations.in_memory_index import ALICE
from tests.plain_http import LOCALLY
from tests.waiting import until
from wheelyard.catalog import keys
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.wiring.build import open_index

pytestmark = pytest.mark.integration

AT_ONCE = """
from wheelyard.operations import sweep
sweep.FIRST_LOOK_SECONDS = (0.0, 0.0)
from wheelyard.cli.main import main
main()
"""
"""The command, whose first sweep waits for nothing."""
READ_ONLY = {"WHEELYARD_SERVER_READ_ONLY": "true"}
KEPT, LOST = make_wheel(), make_wheel(version="9.0")


@pytest.mark.parametrize("variables", [{}, {"WHEELYARD_SERVER_WORKERS": "2"}, READ_ONLY])
def test_serve(tmp_path: Path, variables: dict[str, str]) -> None:
    """`wheelyard serve` removes what is two days old and listed nowhere, and logs how much."""
    store, log = tmp_path / "store", tmp_path / "log.txt"
    index = open_index(Settings(store=StoreSettings(location=str(store))))
    index.uploads.accept(KEPT.arrival(tmp_path), ALICE)
    left = store / "files" / "demo" / LOST.sha256 / LOST.filename
    left.parent.mkdir()
    left.write_bytes(LOST.body)
    old = left.stat().st_mtime - 2 * 86_400
    os.utime(left, (old, old))
    is_read_only = variables == READ_ONLY
    sandbox, port = new_sandbox(tmp_path), free_port()
    arguments = ["serve", "--store", str(store), "--port", str(port)]
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", AT_ONCE, *arguments],
            cwd=sandbox.folder,
            env=sandbox.environment() | {"PYTHONPATH": str(REPOSITORY / "src")} | variables,
            stdout=errors,
            stderr=errors,
        )
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", **LOCALLY) as client:
            until(lambda: is_up(client), log.read_text, process)
        if not is_read_only:
            until(lambda: "swept 1 leftover of" in log.read_text(), log.read_text, process)
    finally:
        stop(process)

    assert left.exists() == is_read_only
    assert (store / keys.lease("sweep")).exists() != is_read_only
    assert index.check.run().problems == []
    assert "Traceback" not in log.read_text()
