"""How much a request passes, and how often it waits for the store, as `tools/walks.py` counts."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[1]
BOUNDS = {
    "upload to a folder": (58, 14),
    "upload to a bucket": (61, 10),
    "cold page on a folder": (40, 3),
    "cold page on a bucket": (44, 2),
    "cold web page on a folder": (66, 8),
    "cold web page on a bucket": (68, 6),
    "cold web page of a manager on a folder": (68, 11),
    "cold web page of a manager on a bucket": (71, 9),
    "cold form on a folder": (42, 5),
    "cold form on a bucket": (45, 3),
    "remembered page on a folder": (14, 1),
    "remembered page on a bucket": (12, 0),
}
"""The most modules of a request, and the most calls of the store in a row."""


@pytest.fixture(scope="module")
def walks() -> dict[str, dict[str, Any]]:
    """What was counted, in a process that knows nothing of other tests."""
    command = (sys.executable, "-m", "tools.walks", "--json")
    run = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    counted: dict[str, dict[str, Any]] = json.loads(run.stdout)
    return counted


@pytest.mark.parametrize("name", BOUNDS)
def test_no_request_takes_a_longer_way(walks: dict[str, dict[str, Any]], name: str) -> None:
    """Uploads, pages and forms stay as short as they are."""
    modules, calls_in_a_row = BOUNDS[name]
    walk = walks[name]

    assert len(walk["modules"]) <= modules, " ".join(walk["modules"])
    assert walk["in_a_row"] <= calls_in_a_row, " ".join(walk["verbs"])
