"""The files in which the workers of a server share their metrics."""

import os
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.mmap_dict import MmapedDict

from wheelyard.http.instrumentation import FOLDER_VARIABLE, render_metrics

ENDED_PID = (1 << 22) + 1
"""The PID of no process: it is above the largest one that Linux gives."""


def test_gauges_of_ended_workers_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a worker measures now counts as long as it runs, and no longer."""
    for pid in (os.getpid(), ENDED_PID):
        values = MmapedDict(str(tmp_path / f"gauge_livesum_{pid}.db"))
        values.write_value('["busy", "busy", {}, "About it."]', 1, 0)
        values.close()
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))

    metrics = render_metrics(CollectorRegistry())

    assert b"busy 1.0" in metrics
    assert [path.name for path in tmp_path.iterdir()] == [f"gauge_livesum_{os.getpid()}.db"]
