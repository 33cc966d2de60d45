"""A process is killed while it fetches a file of an upstream: nothing wrong is left."""

import sys
from itertools import count
from pathlib import Path
from signal import SIGKILL

import pytest

from tests.forking import FORKS, kill_at
from tests.upstream.scripted_source import BODY, FilesHarness, listed, page_of
from wheelyard.storage.base import Key


def fetch_and_die(folder: Path, steps: int) -> None:
    """Fetch a file into a store; end before this change of the store by SIGKILL."""
    harness = FilesHarness(folder)
    harness.source.send(BODY)
    sys.addaudithook(kill_at(steps, str(folder)))
    harness.files().bring(page_of(listed()), listed())


@pytest.mark.integration
def test_a_process_that_dies_at_any_step(tmp_path: Path) -> None:
    """After a kill at each step the file is whole or not there, and the next request gets it."""
    FORKS.set_forkserver_preload(["tests.upstream.test_file_kill"])
    for step in count(1):
        folder = tmp_path / str(step)
        process = FORKS.Process(target=fetch_and_die, args=(folder, step))
        process.start()
        process.join()
        harness = FilesHarness(folder)
        harness.source.send(BODY)
        stored = harness.stored()
        assert all(b"".join(harness.store.read(Key(key))) == BODY for key in stored)

        harness.files().bring(page_of(listed()), listed())

        (key,) = harness.stored()
        assert b"".join(harness.store.read(Key(key))) == BODY
        assert stored in ([], [key])
        if process.exitcode == 0:
            assert step > 5
            return
        assert process.exitcode == -SIGKILL
        # what is left of a file that was stored is removed by the next start
        harness.spool.remove_abandoned()
        assert harness.spooled() == []
