"""Messages that public packages wait for a decision."""

import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.notifications.receivers import Webhook, running_webhook
from tests.operations.in_memory_index import IndexHarness
from wheelyard.errors import Invalid
from wheelyard.model.package_requests import Ask, PackageRequest
from wheelyard.notifications.notifier import EVERY, LOOK, Notifier
from wheelyard.settings.notification_section import NotificationSettings
from wheelyard.settings.sections import ServerSettings, Settings
from wheelyard.settings.validation import validate

pytestmark = pytest.mark.integration

LOCAL = ("127.0.0.0/8",)
URL = "https://packages.acme.dev"


@pytest.fixture
def harness(tmp_path: Path) -> IndexHarness:
    """An index in memory, with a clock that stands still."""
    return IndexHarness(tmp_path)


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    """A chat."""
    with running_webhook() as running:
        yield running


def notifier(harness: IndexHarness, seed: int = 1, **more: Any) -> Notifier:  # noqa: ANN401
    """Return the notifier of a server over the store, with these settings."""
    settings = Settings(
        server=ServerSettings(public_url=URL), notifications=NotificationSettings(**more)
    )
    return Notifier(harness.opened(seed=seed, settings=validate(settings)))


def by_chat(webhook: Webhook) -> dict[str, Any]:
    """Return the settings that send to a chat."""
    return {"webhook": webhook.url, "allow_private_networks": LOCAL}


def want(harness: IndexHarness, name: str, reason: str = "") -> None:
    """Want a package, perhaps for a reason."""
    now = harness.clock.now
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
    harness.index.server.package_requests.change(lambda stored: stored.with_noted((request,), now))


def test_one_message_an_hour(harness: IndexHarness, webhook: Webhook) -> None:
    """What waits is told of once, all of it in one message, and the next an hour later."""
    server = notifier(harness, **by_chat(webhook))
    assert server.notify_if_due() == LOOK
    want(harness, "numpy", "for TICKET-1")
    want(harness, "pandas")
    assert server.notify_if_due() == EVERY
    assert webhook.texts[0].splitlines() == [
        "2 public packages wait for a decision:",
        '- numpy 2.0, wanted by ana, by password. "for TICKET-1" numpy 2.0 appeared yesterday.',
        "- pandas 2.0, wanted by ana, by password. pandas 2.0 appeared yesterday.",
        f"Approve or block them: {URL}/-/admin/requests/",
    ]
    want(harness, "pandas")
    assert server.notify_if_due() == LOOK
    want(harness, "scipy")
    harness.clock.advance(minutes=20)
    assert server.notify_if_due() == timedelta(minutes=40)
    harness.clock.advance(minutes=40)
    assert server.notify_if_due() == EVERY
    assert len(webhook.texts) == 2
    assert "2 of earlier messages wait, too." in webhook.texts[1]


def test_one_of_several_servers_sends(harness: IndexHarness, webhook: Webhook) -> None:
    """Of several servers on one store, one tells."""
    servers = [notifier(harness, seed, **by_chat(webhook)) for seed in range(2, 5)]
    want(harness, "numpy")
    for _ in range(3):
        for server in servers:
            server.notify_if_due()
        harness.clock.advance(hours=1)
    assert len(webhook.texts) == 1


def test_a_server_that_dies_before_it_sends(harness: IndexHarness, webhook: Webhook) -> None:
    """If a server dies in between, another one tells ten minutes later."""
    want(harness, "numpy")
    died = notifier(harness, 2, **by_chat(webhook))
    assert died._lease.take(EVERY) == timedelta()  # noqa: SLF001 - where it was killed
    other = notifier(harness, 3, **by_chat(webhook))
    wait = other.notify_if_due()
    assert (wait, webhook.texts) == (timedelta(minutes=10), [])
    harness.clock.advance(seconds=wait.total_seconds())
    other.notify_if_due()
    assert len(webhook.texts) == 1


def test_nobody_is_mentioned_and_nothing_is_hidden(harness: IndexHarness, webhook: Webhook) -> None:
    """A reason pings nobody in a chat, and is no link to elsewhere."""
    server = notifier(harness, **by_chat(webhook))
    want(harness, "numpy", "<!channel> @all [here](https://evil.example) &")
    server.notify_if_due()
    text = webhook.texts[0]
    assert "&lt;!channel&gt; @\u200ball [here] (https://evil.example) &amp;" in text


def test_a_message_names_ten(harness: IndexHarness, webhook: Webhook) -> None:
    """A message names ten of the packages that wait, and says how many more there are."""
    server = notifier(harness, **by_chat(webhook))
    for number in range(12):
        want(harness, f"n{number:02}")
    assert server.notify_if_due() == EVERY
    lines = webhook.texts[0].splitlines()
    assert lines[0] == "12 public packages wait for a decision:"
    assert sum(line.startswith("- n") for line in lines) == 10
    assert "- and 2 more" in lines


@pytest.mark.parametrize("status", [302, 404, 503])
def test_failures_are_logged_once_and_tried_again(
    harness: IndexHarness, webhook: Webhook, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """A chat that refuses is asked again after an hour, is in the log once, without its URL."""
    caplog.set_level(logging.WARNING)
    webhook.status = status
    server = notifier(harness, **by_chat(webhook))
    want(harness, "numpy")
    for _ in range(3):
        assert server.notify_if_due() == EVERY
        harness.clock.advance(seconds=EVERY.total_seconds())
    assert webhook.asked == 3
    assert caplog.text.count(f"webhook: it answers with status {status}") == 1
    assert "T0PS3CRET" not in caplog.text
    message = harness.index.server.package_requests.get().message
    assert message is not None
    assert message.error == f"webhook: it answers with status {status}"
    webhook.status = 200
    assert server.notify_if_due() == EVERY
    assert len(webhook.texts) == 1
    assert harness.index.server.package_requests.get().message.error == ""  # type: ignore[union-attr]


def test_private_addresses_have_to_be_named(
    harness: IndexHarness, webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    """A webhook with a private address that the settings do not name is never asked."""
    settings = {**by_chat(webhook), "allow_private_networks": ("10.0.0.0/8",)}
    server = notifier(harness, **settings)
    want(harness, "numpy")
    assert server.notify_if_due() == EVERY
    assert webhook.asked == 0
    assert "Name it in notifications.allow_private_networks" in caplog.text


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"webhook": "hooks.example/T0PS3CRET"}, "it is no URL"),
        ({"webhook": "http://hooks.example/T0PS3CRET"}, "is a secret"),
    ],
)
def test_wrong_settings(wrong: dict[str, Any], words: str) -> None:
    """Settings that make no sense stop the start, and their message has no secret."""
    settings = replace(Settings(), notifications=NotificationSettings(**wrong))
    with pytest.raises(Invalid, match=words) as refused:
        validate(settings)
    assert "T0PS3CRET" not in refused.value.message
    assert "T0PS3CRET" not in repr(settings)
