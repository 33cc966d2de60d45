"""The access log, when nobody reads it."""

import os
import sys

import pytest

from wheelyard.http.observability.access_log import MAX_WAITING_LINES, AccessLog
from wheelyard.http.observability.request_record import RequestRecord
from wheelyard.settings.sections import LogSettings
from wheelyard.wiring.stores import system_runtime

SCOPE = {"raw_path": b"/simple/", "method": "GET", "http_version": "1.1"}


def test_nobody_reads(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A log that nobody reads holds up no request, and the end of no server."""
    record = RequestRecord(SCOPE, 0.0, "127.0.0.1", b"pip/" + b"9" * 100, None)
    reading, writing = os.pipe()
    with open(writing, "w") as stream:  # noqa: PTH123 - a descriptor
        monkeypatch.setattr(sys, "stderr", stream)
        log = AccessLog(LogSettings(access=True), system_runtime().now)
        for _ in range(MAX_WAITING_LINES):
            log.add(record, 0.1)
        log.close()  # more than a pipe takes
        for _ in range(MAX_WAITING_LINES + 2):
            log.add(record, 0.1)
        log.close()
        os.close(reading)
        log.close()

    assert "lines of the access log were dropped" in caplog.text
