"""What the log says of credentials that did not hold, and how much of it."""

import logging

import pytest

from tests.operations.world import Clock
from wheelyard.operations.refused import LINES, RefusedLog

HERE = "192.0.2.0/24"


@pytest.fixture(autouse=True)
def _everything(caplog: pytest.LogCaptureFixture) -> None:
    """Let the log have every line."""
    caplog.set_level(logging.INFO)


def test_a_flood_is_so_many_lines(caplog: pytest.LogCaptureFixture) -> None:
    """Sixty refusals a minute have a line each; the others are one number, a minute later."""
    clock = Clock()
    log = RefusedLog(clock.seconds)
    for _ in range(1000):
        log.note("htpasswd_user", HERE)
    assert len(caplog.records) == LINES

    clock.advance(seconds=60)
    log.note("token_expired", HERE, "token:0123456789")
    log.note("htpasswd_user", HERE, "htpasswd:a\u202eb")
    assert [each.getMessage() for each in caplog.records[LINES:]] == [
        "940 more credentials were refused, without a line each",
        "a credential was refused: token_expired for token:0123456789, from 192.0.2.0/24",
        "a credential was refused: htpasswd_user for htpasswd:a\\u202eb, from 192.0.2.0/24",
    ]


def test_keys_are_a_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """Service accounts' keys are a warning once a minute, with the number of the others."""
    clock = Clock()
    log = RefusedLog(clock.seconds)
    for _ in range(3):
        log.note_key(HERE)
    clock.advance(seconds=60)
    log.note_key(HERE)
    first, second = (each.getMessage() for each in caplog.records)
    assert first.endswith("from 192.0.2.0/24, and refused")
    assert second.endswith("and 2 more since the last such line")


def test_removed_signatures_are_a_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """Where Cloud Run has cut off signatures, the log says which option is to be off, not often."""
    clock = Clock()
    log = RefusedLog(clock.seconds)
    for _ in range(2):
        for _ in range(90):
            log.note("sig_removed_by_google", HERE)
        clock.advance(seconds=60)
    loud = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert len(loud) == 2
    assert "--no-invoker-iam-check" in loud[0].getMessage()
