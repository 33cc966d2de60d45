"""What webhooks are told, and when, by a sender that only notes the messages."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.distributions import make_wheel
from tests.fake_store import ALWAYS, FakeStore, Fault, FaultKind
from tests.operations.two_indexes import DEMO, TwoIndexes
from tests.webhooks.harness import DeliveringServer, WebhookHarness, harness_of
from tests.webhooks.receivers import Receiver
from wheelyard.catalog import keys
from wheelyard.model.stored_webhooks import Webhook
from wheelyard.model.webhook_messages import Outgoing
from wheelyard.model.webhook_state import PAUSES, DeliveryAttempt
from wheelyard.webhooks.dispatcher import LIST_SECONDS
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


def test_a_failure_that_goes_on_is_logged_once(
    hooks: WebhookHarness, sender: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says why webhooks are told of nothing, once for as long as it is the same reason."""
    hooks.add()
    hooks.index.upload(make_wheel())
    hooks.index.index.changes.newest()
    away = Fault(FaultKind.NOT_DONE, "*", keys.project(DEMO), times=ALWAYS)
    store = FakeStore(hooks.index.store, away)
    server = DeliveringServer(hooks.index.opened(seed=50, store=store))
    hooks.servers.append(server)

    for _ in range(3):
        server.deliver()

    assert sender.sent == []
    (message,) = [each for each in caplog.messages if "webhooks are told of nothing" in each]
    assert "webhooks are told of nothing for now: builds: " in message


def test_what_fails_for_a_day_is_given_up(hooks: WebhookHarness, sender: Sender) -> None:
    """A message that fails again and again becomes a dead letter, and is not tried any more."""
    hooks.add()
    hooks.index.upload(make_wheel())
    sender.error = "it answers with status 500"
    server = hooks.server()
    server.deliver()
    for pause in PAUSES:
        hooks.index.clock.advance(seconds=pause.total_seconds())
        server.deliver()
    hooks.index.clock.advance(days=1)
    server.deliver()

    assert sender.sent == ["demo 1.0 in main"] * (len(PAUSES) + 1)
    assert [letter.subject for letter in hooks.state().dead] == ["demo 1.0 in main"]


def test_changes_of_rights_are_told(hooks: WebhookHarness, sender: Sender) -> None:
    """A webhook that asks for changes of rights is told of each new index."""
    hooks.add(events=["access_changed"])
    TwoIndexes(hooks.index)

    hooks.deliver()

    changes = [subject.partition(",")[0] for subject in sender.sent]
    assert changes == ["index dev: made", "index prod: made"]


def test_a_first_webhook_is_found_by_a_server_that_runs(
    hooks: WebhookHarness, sender: Sender
) -> None:
    """A server that has looked in vain for webhooks tells the first one that is added later."""
    server = hooks.server()
    server.deliver()
    server.deliver()

    hooks.add()
    hooks.index.clock.advance(seconds=LIST_SECONDS)
    server.deliver()
    hooks.index.upload(make_wheel())
    server.deliver()

    assert sender.sent == ["demo 1.0 in main"]


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
