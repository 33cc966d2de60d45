"""The access log: lines of repeated requests, and lines that nobody reads."""

import os
import sys
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Literal

import pytest

from tests.http.in_process import in_process
from tests.operations.distributions import make_wheel
from wheelyard.http.observability.access_log import MAX_WAITING_LINES, AccessLog
from wheelyard.http.observability.request_record import RequestRecord
from wheelyard.settings.sections import LogSettings, Settings
from wheelyard.wiring.stores import system_runtime

SCOPE = {
    "raw_path": b"/simple/",
    "method": "GET",
    "http_version": "1.1",
    "client": ("127.0.0.1", 50_000),
    "headers": [],
}


@pytest.mark.parametrize("form", ["text", "json"])
def test_repeated_requests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: Literal["text", "json"]
) -> None:
    """Requests that are answered from memory have the same lines as the first ones."""
    asked = [*product(("/simple/demo/", "/simple/"), ("pip", 'a "tool"'), (None, "*"))] * 3
    settings = Settings(log=LogSettings(access=True, format=form))
    with in_process(tmp_path, settings) as app:
        app.publish(make_wheel("demo"))
        answers = [
            app.get(path, ("user-agent", agent), *([("if-none-match", etag)] if etag else []))
            for path, agent, etag in asked
        ]

    lines = capsys.readouterr().err.splitlines()
    assert sum(each.was_quick for each in answers) == 20
    assert sorted(Counter(lines).values()) == [3] * 8


def test_nobody_reads(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A log that nobody reads holds up no request, and the end of no server."""
    record = RequestRecord(SCOPE, 0.0, "127.0.0.1", b"pip/" + b"9" * 100, None)
    reading, writing = os.pipe()
    with open(writing, "w") as stream:  # noqa: PTH123 - a descriptor
        monkeypatch.setattr(sys, "stderr", stream)
        log = AccessLog(LogSettings(access=True), system_runtime())
        for _ in range(MAX_WAITING_LINES):
            log.add(record, 0.1)
        log.close()  # more than a pipe takes
        for _ in range(MAX_WAITING_LINES + 2):
            log.add(record, 0.1)
        log.close()
        os.close(reading)
        log.close()

    assert "lines of the access log were dropped" in caplog.text
