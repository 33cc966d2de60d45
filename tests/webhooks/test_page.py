"""docs/webhooks.md says what the code does."""

import re
import tomllib
from datetime import timedelta

from msgspec.json import decode

from tests.clients.harness import REPOSITORY
from wheelyard.model.stored_tables import NEVER_CHANGED
from wheelyard.model.stored_webhooks import (
    KEPT,
    OF_SERVER,
    WebhookEvent,
    WebhookFields,
    parse_webhook,
)
from wheelyard.model.webhook_messages import MessageFile, ProjectMessage
from wheelyard.model.webhook_state import MOST_DEAD, MOST_WAITING, PAUSES
from wheelyard.webhooks.dispatcher import LOOK_SECONDS
from wheelyard.webhooks.sender import TRY_SECONDS

PAGE = (REPOSITORY / "docs" / "webhooks.md").read_text()


def test_every_event_has_a_row() -> None:
    """The page about webhooks has each event once, and last those that have to be named."""
    rows = re.findall(r"^\| (`.*?`) \|", PAGE, re.MULTILINE)
    events = re.findall("`(.*?)`", " ".join(rows))

    assert sorted(events) == sorted(WebhookEvent)
    assert set(events[-2:]) == OF_SERVER


def test_the_table_of_keys_is_one_that_can_be_applied() -> None:
    """The example on the page about webhooks has each key, and is a valid webhook."""
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (keys,) = tomllib.loads(block)["webhook"]

    webhook = parse_webhook(keys, NEVER_CHANGED)

    assert keys.keys() == set(WebhookFields.__struct_fields__)
    assert (webhook.name, keys["secret"]) == ("builds", KEPT)


def test_the_body_has_each_field() -> None:
    """The example of a message has each field, in order."""
    (body,) = re.findall(r"```http\n.*?\n\n(.*?)```", PAGE, re.DOTALL)
    message = decode(body, type=dict[str, object])

    assert tuple(message) == ProjectMessage.__struct_fields__
    assert decode(body, type=ProjectMessage).version == 1
    (file,) = decode(body, type=ProjectMessage).files
    assert f'"size": {file.size}' in body
    assert all(f'"{name}"' in body for name in MessageFile.__struct_fields__)


def test_the_times_are_those_of_deliveries() -> None:
    """The page about webhooks has the pause after each failed try, and the limits."""
    units = {"s": 1, "min": 60, "h": 3600}
    (listed,) = re.findall(r"sent again after (.*?), or later", PAGE, re.DOTALL)
    pauses = re.findall(r"(\d+) (s|min|h)", listed)

    assert tuple(timedelta(seconds=int(n) * units[unit]) for n, unit in pauses) == PAUSES
    assert f"2xx within {TRY_SECONDS:.0f} seconds" in PAGE
    assert f"every {LOOK_SECONDS:.0f} seconds" in PAGE
    assert f"While {MOST_WAITING} projects wait" in PAGE
    assert f"The newest {MOST_DEAD:,} are kept" in PAGE
