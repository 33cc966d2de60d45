"""A server removes leftovers by itself."""

import os
import sys
from pathlib import Path

import pytest

from tests.clients.harness import SOURCE, new_sandbox
from tests.distributions import make_wheel
from tests.http_server import launch_server
from tests.operations.in_memory_index import ALICE
from tests.waiting import until
from wheelyard.catalog import keys
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.wiring.build import open_index

pytestmark = pytest.mark.integration

AT_ONCE = """
from wheelyard.operations import daily_sweep
daily_sweep.FIRST_LOOK_SECONDS = (0.0, 0.0)
from wheelyard.cli.main import main
main()
"""
"""The command, whose first sweep waits for nothing."""
READ_ONLY = {"WHEELYARD_SERVER_READ_ONLY": "true"}
KEPT, LOST = make_wheel(), make_wheel(version="9.0")


@pytest.mark.parametrize("variables", [{}, {"WHEELYARD_SERVER_WORKERS": "2"}, READ_ONLY])
def test_server_sweeps_old_leftovers(tmp_path: Path, variables: dict[str, str]) -> None:
    """`wheelyard serve` removes what is two days old and listed nowhere, and logs how much."""
    store, log, sandbox = tmp_path / "store", tmp_path / "log.txt", new_sandbox(tmp_path)
    index = open_index(Settings(store=StoreSettings(location=str(store))))
    index.uploads.accept(KEPT.arrival(tmp_path), ALICE)
    left = store / "files" / "demo" / LOST.sha256 / LOST.filename
    left.parent.mkdir()
    left.write_bytes(LOST.body)
    old = left.stat().st_mtime - 2 * 86_400
    os.utime(left, (old, old))
    is_read_only = variables == READ_ONLY
    server = launch_server(
        *("--store", str(store)),
        folder=sandbox.folder,
        environment=sandbox.environment() | SOURCE | variables,
        log=log,
        program=(sys.executable, "-c", AT_ONCE),
    )
    try:
        server.wait_until_healthy()
        if not is_read_only:
            until(lambda: "swept 1 leftover of" in log.read_text(), log.read_text, server.process)
    finally:
        server.end()

    assert left.exists() == is_read_only
    assert (store / keys.lease("sweep")).exists() != is_read_only
    assert index.server.check.run().problems == []
    assert "Traceback" not in log.read_text()
