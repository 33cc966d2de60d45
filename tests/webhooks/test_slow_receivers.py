"""Receivers that hang, drip or send without an end: they hold up nobody else."""

from collections.abc import Callable
from pathlib import Path
from socketserver import BaseRequestHandler

import pytest

from tests.distributions import make_wheel
from tests.instances.bucket_cluster import BucketCluster
from tests.services.service import BucketView
from tests.waiting import TIMEOUT_SECONDS
from tests.webhooks.harness import running_webhooks
from tests.webhooks.receivers import running_receiver
from tests.webhooks.serving import SocketReceiver, add_webhooks, drip, flood, hang, running_socket
from wheelyard.webhooks import sender

pytestmark = pytest.mark.integration

Answer = Callable[[SocketReceiver, BaseRequestHandler], None]


@pytest.mark.slow
def test_a_slow_receiver_delays_no_other_and_no_upload(
    bucket_and_cluster: tuple[BucketView, BucketCluster], tmp_path: Path
) -> None:
    """While one receiver hangs, uploads are answered, and others are told of them."""
    bucket, cluster = bucket_and_cluster
    token = cluster.make_token()
    with running_socket(hang) as slow, running_receiver() as quick:
        secrets = add_webhooks(
            bucket, tmp_path, {"a-slow": {"url": slow.url}, "quick": {"url": quick.url}}
        )
        quick.secret = secrets["quick"]
        with cluster.serving(token) as instance:
            assert instance.post(make_wheel()) == 200
            assert slow.is_asked.wait(TIMEOUT_SECONDS)
            assert quick.changed.wait(TIMEOUT_SECONDS)
            quick.changed.clear()
            # the slow one was asked, and is not done
            assert not slow.has_ended.is_set()
            assert instance.post(make_wheel("other")) == 200
            assert quick.changed.wait(TIMEOUT_SECONDS)
    assert [message.json["project"] for message in quick.once()] == ["demo", "other"]
    assert all(message.is_signed for message in quick.taken)


@pytest.mark.parametrize("answer", [hang, drip])
def test_a_try_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Answer) -> None:
    """A receiver that hangs, or answers byte by byte, is given up after the time of a try."""
    monkeypatch.setattr(sender, "TRY_SECONDS", 0.2)
    with running_socket(answer) as slow, running_webhooks(tmp_path) as hooks:
        hooks.webhooks.add({"name": "builds", "url": slow.url}, "local:alice")
        hooks.index.upload(make_wheel())
        if answer is drip:
            # what has come byte by byte is late by the clock alone, which stands still
            slow.answer = lambda receiver, handler: _drip_late(receiver, handler, hooks.index.clock)

        hooks.deliver()

        [attempt] = hooks.state().attempts
        assert (attempt.status, attempt.error) == (0, "it does not answer in time")
        assert hooks.state().waiting["main/demo"].attempts == 1


def _drip_late(receiver: SocketReceiver, handler: BaseRequestHandler, clock: object) -> None:
    """Answer byte by byte, while the time goes on by the clock of a test."""
    handler.request.sendall(b"HTTP/1.1 200 OK\r\n")
    while not receiver.is_over.wait(0.01):
        clock.advance(seconds=0.1)  # type: ignore[attr-defined]
        handler.request.sendall(b"X")


def test_an_answer_without_an_end_is_not_read(tmp_path: Path) -> None:
    """Of an answer of 10 GB, the beginning is read, and the message counts as taken."""
    with running_socket(flood) as slow, running_webhooks(tmp_path) as hooks:
        hooks.webhooks.add({"name": "builds", "url": slow.url}, "local:alice")
        hooks.index.upload(make_wheel())

        hooks.deliver()

        [attempt] = hooks.state().attempts
        assert (attempt.status, attempt.error, attempt.answer) == (200, "", "x" * 200)
        # the connection is closed, so nobody sends the rest
        assert slow.has_ended.wait(TIMEOUT_SECONDS)
