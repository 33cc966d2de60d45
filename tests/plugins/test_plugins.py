"""Runs of pytest with our plugins: a worker that crashes, and the two parts of a whole run."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.harness import REPOSITORY, Sandbox

pytestmark = pytest.mark.integration

CRASH = """
import os

def test_before():
    pass

def test_crash():
    os._exit(1)
"""
TWO = """
import pytest

def test_fast():
    {fast}

@pytest.mark.integration
def test_other():
    {other}
"""
HIDDEN_MARKER = """
import pytest

pytestmark = getattr(pytest.mark, 'slow')

def test_it():
    pass
"""
NO_MARKER = """
TEXT = '''
pytestmark = pytest.mark.slow
'''

def test_it():
    pass
"""
SLOW = """
from threading import Event

from tests.once import made_once

def test_first_of_many(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.once.CACHE", tmp_path)
    made_once("slow", [], lambda folder: Event().wait(1.5))

def test_hangs():
    Event().wait(60)
"""
PLUGINS = "pytest_plugins = ['tests.plugins.' + n for n in ('isolation', 'results', 'scheduling')]"
ALONE = {"PYTHONPATH": str(REPOSITORY), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""The environment of a run without the plugins of others, which take time to import."""
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(sandbox: Sandbox) -> Run:
    """Run pytest in a folder; return its exit status and the last line that it prints."""
    settings = sandbox.folder / "pytest.ini"
    settings.write_text("[pytest]\nmarkers = integration\n")
    (sandbox.folder / "conftest.py").write_text(PLUGINS)

    def run(*options: str | Path) -> tuple[int, str]:
        command = (sys.executable, "-m", "pytest", *options)
        done = sandbox.attempt(*command, **ALONE, PYTEST_PLUGINS="xdist.plugin")
        return done.returncode, done.stdout.strip().rpartition("\n")[2]

    return run


@pytest.mark.parametrize(("workers", "others"), [(1, "z"), (2, "a")])
def test_crashed_worker_fails_one_test(
    sandbox: Sandbox, run: Run, workers: int, others: str
) -> None:
    """A worker that crashes fails one test; all others run, before and after it."""
    (sandbox.folder / "test_m.py").write_text(CRASH)
    for number in range(3):
        (sandbox.folder / f"test_{others}{number}.py").write_text("def test_one():\n    pass\n")

    status, summary = run("-n", str(workers))

    assert status == 1
    assert " 1 failed, 4 passed in " in summary


@pytest.mark.parametrize(
    ("workers", "fast", "other", "statuses", "counted"),
    [
        ("1", "assert False", "pass", (1, 0), "1 failed, 1 passed"),
        ("0", "pytest.skip()", "assert False", (0, 1), "1 failed, 1 skipped"),
    ],
)
def test_each_test_runs_in_one_of_two_parts(
    sandbox: Sandbox,
    run: Run,
    *,
    workers: str,
    fast: str,
    other: str,
    statuses: tuple[int, int],
    counted: str,
) -> None:
    """Each test runs in one of the two parts, and the summary of the second one counts all."""
    (sandbox.folder / "test_m.py").write_text(TWO.format(fast=fast, other=other))
    results = f"--results={sandbox.home}/results.json"

    first, _ = run("-n", workers, "--fast", results)
    second, summary = run("-n", workers, "--rest", results)

    assert (first, second) == statuses
    assert f" {counted} in " in summary


@pytest.mark.parametrize(("option", "text"), [("--fast", HIDDEN_MARKER), ("--rest", NO_MARKER)])
def test_a_marker_that_the_text_does_not_tell(
    sandbox: Sandbox, run: Run, option: str, text: str
) -> None:
    """A test that neither part would run, as the text of its file misleads, stops the run."""
    (sandbox.folder / "test_m.py").write_text(text)

    status, _ = run("-n", "0", option)

    assert status == pytest.ExitCode.USAGE_ERROR


def test_fast_test_that_starts_a_process(sandbox: Sandbox, run: Run) -> None:
    """A fast test that starts a process fails, unless that is Python's look at the processor."""
    (sandbox.folder / "test_m.py").write_text(
        "import os, platform\n"
        "def test_processor():\n    platform.processor()\n"
        "def test_process():\n    os.system('true')\n"
    )

    status, summary = run("-n", "0", "--fast")

    assert status == 1
    assert " 1 failed, 1 passed in " in summary


@pytest.mark.slow
def test_the_limit_of_a_test_is_not_for_what_is_made_once(sandbox: Sandbox) -> None:
    """A test that is the first to need something may wait for it; one that hangs ends its run."""
    (sandbox.folder / "test_m.py").write_text(SLOW)
    (sandbox.folder / "conftest.py").write_text("pytest_plugins = ['tests.plugins.limit']")
    limit = ("faulthandler_timeout=1", "faulthandler_exit_on_timeout=true")
    options = ("-v", *(part for each in limit for part in ("-o", each)))

    done = sandbox.attempt(sys.executable, "-m", "pytest", *options, **ALONE)

    assert done.returncode == 1
    assert "test_first_of_many PASSED" in done.stdout
    assert "in test_hangs" in done.stderr
