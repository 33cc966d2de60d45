"""The access log: lines of repeated requests, and lines that nobody reads."""

import json
import logging
import os
import re
import sys
from collections import Counter
from io import BytesIO, TextIOWrapper
from itertools import product
from pathlib import Path
from threading import Event, Thread
from typing import Literal

import pytest

from tests.distributions import make_wheel
from tests.fake_time import Clock
from tests.http.in_process import in_process
from tests.http.servers import token_of
from tests.waiting import TIMEOUT_SECONDS, until
from wheelyard.errors import RATE_LIMITED, NotFound, Unavailable, WheelyardError
from wheelyard.http.logs import (
    ACCESS_LOGGER,
    MAX_WAITING_LINES,
    STORE_ERRORS_PER_MINUTE,
    BackgroundHandler,
    JsonFormatter,
    StoreErrorLog,
    TextFormatter,
    access_logger,
    configure_logging,
)
from wheelyard.settings.sections import LogSettings

FORMATTERS = {"text": TextFormatter(), "json": JsonFormatter()}


@pytest.mark.parametrize("form", ["text", "json"])
def test_repeated_request_has_the_same_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, form: Literal["text", "json"]
) -> None:
    """Requests that are answered from memory have the same lines as the first ones."""
    asked = [*product(("/simple/demo/", "/simple/"), ("pip", 'a "tool"'), (None, "*"))] * 3
    with in_process(tmp_path) as app, caplog.at_level(logging.INFO, ACCESS_LOGGER):
        app.publish(make_wheel("demo"))
        answers = [
            app.get(path, ("user-agent", agent), *([("if-none-match", etag)] if etag else []))
            for path, agent, etag in asked
        ]

    records = [record for record in caplog.records if record.name == ACCESS_LOGGER]
    for record in records:
        record.created = record.msecs = 0.0
    assert sum(answer.was_quick for answer in answers) == 20
    assert sorted(Counter(map(FORMATTERS[form].format, records)).values()) == [3] * 8


def test_requests_are_logged_only_if_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Requests are not logged unless the settings ask for it, and then all but probes are."""
    with in_process(tmp_path) as app:
        app.get("/simple/")
        assert not caplog.records
        with caplog.at_level(logging.INFO, ACCESS_LOGGER):
            for path in ("/simple/", "/health", "/nothing/at/all/"):
                app.get(path)

    entries = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    assert [entry["route"] for entry in entries] == ["project_list", "nothing"]
    assert [entry["httpRequest"]["status"] for entry in entries] == [200, 404]


def test_a_change_has_the_address_of_its_client(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a log as text, the line of a client's change, and no other, ends with its address."""
    monkeypatch.setattr(caplog.handler, "formatter", FORMATTERS["text"])
    with in_process(tmp_path) as app, caplog.at_level(logging.INFO):
        app.publish(make_wheel("demo"))
        app.change("demo", "yank", version="1.0", reason="broken")

    (changed,) = [line for line in caplog.text.splitlines() if line.endswith(", from 127.0.0.1")]
    assert " yanked by token:" in changed
    assert '"POST /api/v1/projects/demo/yank" 200 ' in caplog.text


def test_a_change_in_a_log_in_json_has_its_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In a log in JSON, a change by a request has the address of its client, and no other line."""
    monkeypatch.setattr(caplog.handler, "formatter", FORMATTERS["json"])
    with in_process(tmp_path) as app, caplog.at_level(logging.INFO, "wheelyard"):
        app.publish(make_wheel("demo"))
        app.change("demo", "yank", version="1.0")
        app.get("/simple/", ("authorization", "Bearer wrong"))

    lines = caplog.text.splitlines()
    (changed,) = [line for line in lines if '"address":"127.0.0.1"' in line]
    assert "yanked" in changed
    assert any("a credential was refused" in line for line in lines)


@pytest.mark.parametrize("spelling", ["wyd_", "%77yd_"])
def test_a_token_in_a_path_is_not_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spelling: str
) -> None:
    """A token that somebody has put into a path is not logged; the rest of the path is."""
    with in_process(tmp_path) as app, caplog.at_level(logging.INFO, ACCESS_LOGGER):
        secret = token_of(app.index, can="read").removeprefix("wyd_")
        app.get(f"/simple/{spelling}{secret}/%64emo/")

    (line,) = map(FORMATTERS["json"].format, caplog.records)
    assert secret not in line
    assert "/simple/" in line
    assert "/demo/" in line


def test_errors_of_the_store_are_logged_a_few_times_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Errors of the store are logged a few times a minute, and the next line counts the others."""
    clock = Clock()
    log = StoreErrorLog(clock.runtime(), is_local=True)
    for _ in range(STORE_ERRORS_PER_MINUTE + 3):
        log.log(Unavailable("The store is gone.", code="damaged_document"))
    lines = caplog.messages
    assert lines == ["a request was refused, damaged_document: The store is gone."] * (
        STORE_ERRORS_PER_MINUTE
    )

    clock.advance(minutes=1)
    log.log(Unavailable("The store is gone."))
    assert caplog.messages[-1].endswith(" (3 more were refused since the last such line)")


@pytest.mark.parametrize(
    ("error", "is_local", "is_logged"),
    [
        (NotFound("There is no such project."), True, False),
        (Unavailable("Too many requests.", code=RATE_LIMITED), True, False),
        (Unavailable("No answer.", code="storage_unavailable"), False, False),
        (Unavailable("No answer.", code="storage_unavailable"), True, True),
        (Unavailable("It is damaged.", code="damaged_document"), False, True),
    ],
    ids=["mistake", "limit", "outage of a bucket", "outage of a folder", "damage"],
)
def test_only_errors_of_the_store_are_logged(
    caplog: pytest.LogCaptureFixture, error: WheelyardError, *, is_local: bool, is_logged: bool
) -> None:
    """A refusal is logged if the store is at fault, unless the store of a bucket logs it itself."""
    StoreErrorLog(Clock().runtime(), is_local=is_local).log(error)

    lines = [f"a request was refused, {error.code}: {error.message}"] if is_logged else []
    assert caplog.messages == lines


def test_the_end_of_a_server_waits_for_the_last_lines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No request waits for its line of the log, and the end of a server does, for all of them."""
    gate, written = Event(), list[str]()

    class SlowHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert gate.wait(TIMEOUT_SECONDS)
            written.append(record.getMessage())

    class Flushed(BackgroundHandler):
        def flush(self) -> None:
            gate.set()
            super().flush()

    handler = Flushed(SlowHandler())
    monkeypatch.setattr(access_logger, "handlers", [handler])
    with in_process(tmp_path) as app, caplog.at_level(logging.INFO, ACCESS_LOGGER):
        for _ in range(3):
            assert app.get("/simple/").status == 200
        assert written == []

    assert len(written) == 3
    assert not handler.is_waiting


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ("text", rb"[^\n]* INFO wheelyard\.audit: gr\\xfcn\n"),
        ("json", rb'\{[^\n]*"message":"gr\xc3\xbcn"[^\n]*\}\n'),
    ],
)
@pytest.mark.parametrize("has_access", [False, True], ids=["without requests", "with requests"])
def test_the_log_is_as_the_settings_say(
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    form: Literal["text", "json"],
    line: bytes,
    *,
    has_access: bool,
) -> None:
    """The log is in the format of the settings, JSON in UTF-8, with requests if they say so."""
    written = BytesIO()
    stream = TextIOWrapper(written, encoding="ascii", errors="backslashreplace")
    for name in ("wheelyard", ACCESS_LOGGER):
        caplog.set_level(logging.WARNING, name)  # which is put back at the end
    with monkeypatch.context() as context:
        context.setattr(sys, "stderr", stream)
        context.setattr(logging.root, "handlers", [])
        context.setattr(access_logger, "handlers", [])
        context.setattr(access_logger, "propagate", access_logger.propagate)

        configure_logging(LogSettings(format=form, access=has_access))

        logging.getLogger("wheelyard.audit").info("gr\u00fcn")
        (handler,) = access_logger.handlers
        if access_logger.isEnabledFor(logging.INFO):
            handler.handle(logging.makeLogRecord({"msg": "a request"}))
        handler.flush()

    stream.flush()
    audit, *requests = written.getvalue().splitlines(keepends=True)
    assert re.fullmatch(line, audit)
    assert [b"a request" in request for request in requests] == [True] * has_access


@pytest.mark.slow
def test_unread_log_holds_up_no_request(caplog: pytest.LogCaptureFixture) -> None:
    """A log that nobody reads holds up no request, and the end of no server."""
    record = logging.makeLogRecord({"msg": "9" * 100})
    reading, writing = os.pipe()
    with open(reading) as pipe, open(writing, "w") as stream:  # noqa: PTH123 - descriptors
        handler = BackgroundHandler(logging.StreamHandler(stream))
        for _ in range(2 * MAX_WAITING_LINES):  # more than a pipe takes
            handler.handle(record)
        handler.flush()
        assert handler.is_waiting
        Thread(target=pipe.read, daemon=True).start()
        until(lambda: not handler.is_waiting)
        assert "lines of the access log were dropped" in caplog.text

        caplog.clear()
        handler.handle(record)
        until(lambda: not handler.is_waiting)
        assert caplog.text == ""  # what was dropped is told once
