"""A server stopped in the middle of uploads: answered uploads are stored, and it exits with 0."""

import os
import signal
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from tests.distributions import Distribution, make_wheel
from tests.durability.serving import Crowd, first_token, get, post, server, start, wheelyard
from tests.waiting import until

ROUNDS = 3
CLIENTS = 6
EACH_WAY = pytest.mark.parametrize("options", [[], ["--workers", "2"]], ids=["alone", "workers"])
"""One process, or a manager and its workers, which get the signal from it."""


@pytest.mark.slow
@EACH_WAY
def test_no_answered_upload_is_lost(tmp_path: Path, options: list[str]) -> None:
    """After SIGTERM a server ends with 0, and every answered upload is listed."""
    store, log = tmp_path / "store", tmp_path / "log"
    distributions = (
        make_wheel("demo", f"{number}.0", content=bytes(50_000)) for number in count(1)
    )
    answered = list[Distribution]()
    for round_ in range(ROUNDS):
        running = start(store, log, *options)
        crowd = Crowd(running.port, first_token(log), distributions)
        with crowd.publishing(CLIENTS):
            enough = partial(crowd.has_answered, 2 + 3 * round_)
            until(enough, log.read_text)
            running.end()
        answered += crowd.answered

    assert len(answered) > ROUNDS
    with server(store, log) as last:
        page = get(last.port, "/simple/demo/")[1].decode()
        assert [each.filename for each in answered if each.sha256 not in page] == []
    assert wheelyard("check", "--store", str(store)).returncode == 0


@EACH_WAY
def test_an_upload_that_is_under_way(tmp_path: Path, options: list[str]) -> None:
    """An upload that has begun before SIGTERM is taken to its end, and answered."""
    store, log = tmp_path / "store", tmp_path / "log"
    running = start(store, log, *options)
    token, distribution = first_token(log), make_wheel("demo", "1.0", content=bytes(1_000_000))

    def stop() -> None:
        # what was sent may still wait to be accepted, and is then no upload that has begun; that
        # one has shows as soon as more has arrived than is gathered first
        until(lambda: any(store.joinpath(".spool").iterdir()), log.read_text)
        os.kill(running.pid, signal.SIGTERM)
        # from then on it accepts no connection
        until(lambda: get(running.port, "/health")[0] == 0, log.read_text)

    assert post(running.port, token, distribution, stop) == 200
    assert running.join() == 0
    with server(store, log) as last:
        assert distribution.sha256 in get(last.port, "/simple/demo/")[1].decode()


@pytest.mark.slow
def test_a_manager_that_is_killed(tmp_path: Path) -> None:
    """A server of several processes that is killed leaves none that would hold its port."""
    store, log = tmp_path / "store", tmp_path / "log"
    running = start(store, log, "--workers", "2")
    try:
        os.kill(running.pid, signal.SIGKILL)
        running.join()
        until(lambda: log.read_text().count("was killed") >= 2, log.read_text)
        until(lambda: get(running.port, "/health")[0] == 0, log.read_text)
    finally:
        with suppress(ProcessLookupError):
            running.kill()
