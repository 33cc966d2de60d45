"""What webhooks are told, and when, by a sender that only notes the messages."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.distributions import make_wheel
from tests.operations.two_indexes import TwoIndexes
from tests.webhooks.harness import WebhookHarness, harness_of
from tests.webhooks.receivers import Receiver
from wheelyard.model.stored_webhooks import Webhook
from wheelyard.model.webhook_messages import Outgoing
from wheelyard.model.webhook_state import PAUSES, DeliveryAttempt
from wheelyard.webhooks.sender import SendResult, WebhookSender


@dataclass
class Sender:
    """Notes what messages are about, instead of sending them."""

    hooks: WebhookHarness
    error: str = ""
    """Why each message fails, or an empty text if it is delivered."""
    sent: list[str] = field(default_factory=list[str])
    """The subjects of all messages, in order."""

    def send(self, _: Webhook, outgoing: Outgoing, may_send: Callable[[], bool]) -> SendResult:
        """Note a message."""
        assert may_send()
        self.sent.append(outgoing.subject)
        now = self.hooks.index.clock.now
        attempt = DeliveryAttempt(
            id=outgoing.id,
            event=outgoing.event,
            subject=outgoing.subject,
            at=now,
            error=self.error,
        )
        return SendResult(attempt)


@pytest.fixture
def hooks(tmp_path: Path) -> Iterator[WebhookHarness]:
    """An index whose webhooks lead nowhere."""
    with harness_of(tmp_path, Receiver(port=9)) as harness:
        yield harness


@pytest.fixture
def sender(hooks: WebhookHarness, monkeypatch: pytest.MonkeyPatch) -> Sender:
    """The sender of all servers."""
    sender = Sender(hooks)
    monkeypatch.setattr(WebhookSender, "send", lambda _, *arguments: sender.send(*arguments))
    return sender


def test_a_release_is_told_once(hooks: WebhookHarness, sender: Sender) -> None:
    """A webhook that asks for no imports is told of an upload, once."""
    hooks.add()
    hooks.index.upload(make_wheel())

    hooks.deliver()
    hooks.deliver()

    assert sender.sent == ["demo 1.0 in main"]


def test_a_new_index_is_told_from_its_beginning(hooks: WebhookHarness, sender: Sender) -> None:
    """A webhook of all indexes is told of what happens in one that was made later."""
    hooks.add(indexes=["*"])
    hooks.index.clock.advance(seconds=1)
    TwoIndexes(hooks.index).upload(make_wheel())

    hooks.deliver()

    assert sender.sent == ["demo 1.0 in dev"]


def test_what_has_failed_is_sent_again_after_a_pause(hooks: WebhookHarness, sender: Sender) -> None:
    """A server that has looked already sends a failed message again as soon as it is due."""
    hooks.add()
    hooks.index.upload(make_wheel())
    sender.error = "it answers with status 500"
    server = hooks.server()
    server.deliver()
    sender.error = ""
    tries = list[int]()
    for seconds in (PAUSES[0].total_seconds() - 1, 1, 1):
        hooks.index.clock.advance(seconds=seconds)
        server.deliver()
        tries.append(len(sender.sent))

    assert tries == [1, 2, 2]


def test_a_webhook_that_another_server_has_added_is_told(
    hooks: WebhookHarness, sender: Sender
) -> None:
    """A server that has told only of another index so far tells a new webhook of main."""
    hooks.index.upload(make_wheel())
    TwoIndexes(hooks.index)
    hooks.add("elsewhere", indexes=["dev"])
    server = hooks.server()
    server.deliver()
    hooks.add()
    hooks.index.upload(make_wheel(version="2.0"))

    server.deliver()

    assert sender.sent == ["demo 2.0 in main"]
