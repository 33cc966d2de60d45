"""Requests for public packages: one message of all that wait, at most once an hour."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.fake_store import FaultKind
from tests.in_process_network import NetworkOrPorts
from tests.operations.in_memory_index import IndexHarness
from tests.webhooks.crashing import CrashStage
from tests.webhooks.harness import BY, WebhookHarness, running_webhooks
from wheelyard.model.package_requests import Ask, PackageRequest
from wheelyard.model.stored_webhooks import WebhookVariables
from wheelyard.model.webhook_state import PAUSES
from wheelyard.settings.sections import Settings
from wheelyard.settings.upstream_section import UpstreamSettings

EVENTS = ["package_requested"]


@pytest.fixture
def hooks(tmp_path: Path, network: NetworkOrPorts) -> Iterator[WebhookHarness]:
    """An index with an upstream index, and a webhook for those who approve."""
    with running_webhooks(tmp_path, network) as harness:
        upstream = UpstreamSettings(enabled=True, label="public")
        harness.settings = Settings(upstream=upstream)
        harness.add(events=EVENTS)
        harness.index.clock.advance(seconds=1)
        yield harness


def want(index: IndexHarness, name: str, reason: str = "") -> None:
    """Want a package, perhaps for a reason."""
    now = index.clock.now
    request = PackageRequest(
        project=NormalizedName(name),
        version="2.0",
        code="cooldown",
        reason=f"{name} 2.0 appeared yesterday. Use an older version.",
        who=("htpasswd:ana",),
        times=1,
        first=now,
        last=now,
        asks=(Ask("htpasswd:ana", now, reason),) if reason else (),
    )
    index.index.server.package_requests.change(lambda stored: stored.with_noted((request,), now))


def requested(hooks: WebhookHarness) -> list[list[str]]:
    """Return the projects of each message."""
    return [
        sorted(str(request["project"]) for request in message.json["requests"])
        for message in hooks.receiver.taken
    ]


def test_one_message_an_hour(hooks: WebhookHarness) -> None:
    """What waits is told in one message, and what is new then an hour later."""
    server = hooks.server()
    want(hooks.index, "numpy", "for TICKET-1")
    want(hooks.index, "pandas")
    server.deliver()
    assert requested(hooks) == [["numpy", "pandas"]]
    [message] = hooks.receiver.taken
    assert (message.type, message.is_signed) == ("package.requested", True)
    assert message.json["requests"][0]["reasons"] == ["for TICKET-1"]

    want(hooks.index, "pandas")
    want(hooks.index, "scipy")
    for _ in range(11):
        hooks.index.clock.advance(minutes=5)
        server.deliver()
    assert len(hooks.receiver.taken) == 1

    for _ in range(25):
        hooks.index.clock.advance(minutes=5)
        server.deliver()
    assert requested(hooks)[1:] == [["scipy"]]
    assert hooks.receiver.taken[1].json["waiting"] == 3
    assert len({received.id for received in hooks.receiver.asked}) == 2


def test_without_an_upstream_index_nothing_is_told(hooks: WebhookHarness) -> None:
    """Requests of before are told to nobody once the settings have no upstream index any more."""
    want(hooks.index, "numpy")
    hooks.settings = Settings()

    hooks.deliver()

    assert hooks.receiver.asked == []


def test_a_later_reason_is_told(hooks: WebhookHarness) -> None:
    """A request that was told of is told again when somebody says why they need it."""
    want(hooks.index, "numpy")
    hooks.deliver()
    hooks.index.clock.advance(hours=1)
    want(hooks.index, "numpy")
    hooks.deliver()
    assert len(hooks.receiver.taken) == 1

    want(hooks.index, "numpy", "for TICKET-2")
    hooks.deliver()
    assert requested(hooks) == [["numpy"], ["numpy"]]
    assert hooks.receiver.taken[1].json["requests"][0]["reasons"] == ["for TICKET-2"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [FaultKind.CRASH, FaultKind.CRASH_AFTER])
def test_what_was_made_survives_a_crash(hooks: WebhookHarness, kind: FaultKind) -> None:
    """Wherever a server dies, another one sends the same message, with the same id."""
    want(hooks.index, "numpy")
    stage = CrashStage.of(hooks)

    def check(_: object) -> None:
        assert requested(hooks)
        assert len({(message.id, message.body) for message in hooks.receiver.asked}) == 1

    assert stage.play(kind, check) > 5


def test_a_request_that_nobody_takes_is_tried_again(hooks: WebhookHarness) -> None:
    """A message that fails is tried again by another server as it was, then what is new is told."""
    hooks.receiver.answer = lambda _: 503
    want(hooks.index, "numpy")
    hooks.deliver()
    want(hooks.index, "pandas")
    hooks.index.clock.advance(hours=2)
    hooks.deliver()
    hooks.receiver.answer = lambda _: 200
    hooks.index.clock.advance(hours=2)
    hooks.deliver()

    *tried, _ = hooks.receiver.asked
    assert len({(message.id, message.body) for message in tried}) == 1
    assert requested(hooks) == [["numpy"], ["pandas"]]


def test_a_request_that_was_given_up_is_sent_again(hooks: WebhookHarness) -> None:
    """A message that failed for a day, and is asked for again, has the same id and body."""
    hooks.receiver.answer = lambda _: 503
    want(hooks.index, "numpy")
    server = hooks.server()
    server.deliver()
    for pause in PAUSES:
        hooks.index.clock.advance(seconds=pause.total_seconds())
        server.deliver()
    [letter] = hooks.state().dead
    hooks.receiver.answer = lambda _: 200

    hooks.webhooks.send_again("builds", [letter.id], BY)
    server.deliver()

    [message] = hooks.receiver.taken
    assert (message.id, message.body) == (
        hooks.receiver.asked[0].id,
        hooks.receiver.asked[0].body,
    )
    assert hooks.state().dead == ()


def test_what_waited_before_a_webhook_is_not_told(hooks: WebhookHarness) -> None:
    """A new webhook is told of requests that come after it was added, and counts the others."""
    hooks.webhooks.remove("builds", BY)
    want(hooks.index, "numpy")
    hooks.index.clock.advance(seconds=1)
    hooks.add(events=EVENTS)
    hooks.deliver()
    assert hooks.receiver.asked == []

    hooks.index.clock.advance(seconds=1)
    want(hooks.index, "pandas")
    hooks.deliver()

    assert requested(hooks) == [["pandas"]]
    assert hooks.receiver.taken[0].json["waiting"] == 2


def test_only_a_webhook_of_requests_is_told(hooks: WebhookHarness) -> None:
    """A webhook that is told of releases alone gets no message about requests."""
    hooks.webhooks.remove("builds", BY)
    hooks.add(events=["released"])
    hooks.index.clock.advance(seconds=1)
    want(hooks.index, "numpy")
    hooks.deliver()

    assert hooks.receiver.asked == []


def test_a_chat_gets_a_text_that_mentions_nobody(hooks: WebhookHarness) -> None:
    """The format `slack` is a text, in which no words of strangers ping anybody."""
    hooks.webhooks.remove("builds", BY)
    hooks.webhooks.add({"name": "chat", "events": EVENTS, "format": "slack"}, BY)
    hooks.settings = replace(
        hooks.settings, webhook_variables=WebhookVariables(urls={"CHAT": hooks.receiver.url})
    )
    hooks.index.clock.advance(seconds=1)
    want(hooks.index, "numpy", "<!channel> @all [here](https://evil.example) &")

    hooks.deliver()

    [message] = hooks.receiver.taken
    assert set(message.json) == {"text"}
    text = message.json["text"]
    assert "&lt;!channel&gt; @\u200ball [here] (https://evil.example) &amp;" in text
