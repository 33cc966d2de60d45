"""
The operations on webhooks: their tables, their secrets, and their deliveries.

Each raises Unavailable if the store does not answer, or a document that it needs is damaged.
"""

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from typing import Annotated, Final

from msgspec import Meta, Struct, field

from wheelyard.api import table_operations
from wheelyard.api.operation import ApiOperation, Call, Note, RequiredRight
from wheelyard.model.stored_tables import TableKeys
from wheelyard.model.stored_webhooks import WEBHOOK_KIND, ListedWebhook, WebhookCommit
from wheelyard.model.webhook_state import MOST_DEAD, DeadLetter, DeliveryAttempt

KeysOfWebhook = Annotated[TableKeys, Meta(title="WebhookKeys")]

_RIGHT_TO_SEE: Final = "see or change webhooks"
_RIGHT_TO_CHANGE: Final = "change webhooks"
_post_operation = partial(ApiOperation, "POST", is_repeatable=False)


class WebhookAnswer(Struct, frozen=True):
    """All webhooks."""

    tables: tuple[ListedWebhook, ...] = field(name="webhooks")
    revision: int
    """The number of the last commit of the webhooks in the store, or 0 if there is none."""


class WebhookHistory(table_operations.TableHistory[WebhookCommit], frozen=True):
    """Changes of the webhooks, oldest first."""


class NewWebhook(table_operations.NewTable, frozen=True, forbid_unknown_fields=True):
    """A webhook to add, and why."""

    keys: KeysOfWebhook = field(name="webhook")
    """The keys of a `[[webhook]]` table."""


class WebhookEdit(table_operations.TableEdit, frozen=True, forbid_unknown_fields=True):
    """A change of a webhook, and why."""

    keys: KeysOfWebhook = field(name="webhook")


class WebhookRemoval(table_operations.TableRemoval, frozen=True, forbid_unknown_fields=True):
    """The webhook to remove, and why."""


class NamedWebhook(Struct, frozen=True, forbid_unknown_fields=True):
    """A webhook, by its name."""

    name: str


class NewWebhookSecret(Struct, frozen=True, forbid_unknown_fields=True):
    """The webhook that gets another secret, and why."""

    name: str
    note: Note = ""


class LettersToSend(Struct, frozen=True, forbid_unknown_fields=True):
    """Messages of a webhook that were given up, to send again."""

    name: str
    ids: Annotated[tuple[str, ...], Meta(min_length=1, max_length=MOST_DEAD)] | None = None
    """The ids of the messages to send, or None for all messages that were given up."""


class WaitingMessages(Struct, frozen=True, kw_only=True):
    """A journal whose next message has failed, or was not tried yet, with all that follow it."""

    journal: str
    """`INDEX/PROJECT`, or the name of a journal that is no project's."""
    event: str
    """The event that the next message is about, or an empty text before the first try."""
    subject: str
    """What the next message is about, in words, or an empty text before the first try."""
    attempts: int
    """How often the next message was tried."""
    due: datetime
    """When the next message is tried again, in UTC."""
    error: str
    """Why the last try of the message has failed, or an empty text before the first try."""


class GivenUpMessage(Struct, frozen=True, kw_only=True):
    """A message that was given up."""

    id: str
    journal: str
    """`INDEX/PROJECT`, or the name of a journal that is no project's."""
    event: str
    subject: str
    """What the message is about, in words."""
    at: datetime
    """When the message was given up, in UTC."""
    error: str
    """Why the last try of the message has failed."""


class WebhookDeliveries(Struct, frozen=True, kw_only=True):
    """What is known of the deliveries of a webhook."""

    name: str
    attempts: tuple[DeliveryAttempt, ...]
    """The last tries to deliver messages, the newest first."""
    waiting: tuple[WaitingMessages, ...]
    """The journals whose messages wait, and are tried again without a request."""
    dead: tuple[GivenUpMessage, ...]
    """The messages that were given up, the oldest first."""
    again: tuple[GivenUpMessage, ...]
    """The messages that were given up, and that somebody wants to be sent again."""
    dropped: int
    """How many messages that were given up are not kept, as there were too many."""
    note: str
    """Which messages were passed over, and why, in a sentence, or an empty text for none."""


class MessagesToSend(Struct, frozen=True):
    """The messages that a server sends again."""

    name: str
    ids: tuple[str, ...]


def make_secret(call: Call, body: NewWebhookSecret) -> ListedWebhook:
    """
    Make another secret for a webhook, which is told this once.

    The old one signs nothing from then on. Raises NotFound if there is no such webhook, and
    Conflict (code `secret_in_variable`) if a variable has the secret, or none is needed.
    """
    return call.index.server.webhooks.make_secret(body.name, call.by, body.note)


def list_deliveries(call: Call, body: NamedWebhook) -> WebhookDeliveries:
    """
    Show the last deliveries of a webhook, what waits, and what was given up.

    The keys of the webhook may be wrong. Raises NotFound if there is no such webhook.
    """
    webhooks = call.index.server.webhooks

    # read as stored, as the keys may be wrong
    table = webhooks.require_stored(body.name, webhooks.read_stored())
    state = webhooks.states.read_stored(body.name, table.created)
    waiting = list[WaitingMessages]()
    for name, journal in sorted(state.waiting.items()):
        messages = WaitingMessages(
            journal=name,
            event=journal.event,
            subject=journal.subject,
            attempts=journal.attempts,
            due=journal.due,
            error=journal.error,
        )
        waiting.append(messages)
    return WebhookDeliveries(
        name=body.name,
        attempts=state.attempts,
        waiting=tuple(waiting),
        dead=_describe_letters(state.dead),
        again=_describe_letters(state.again),
        dropped=state.dropped,
        note=state.note,
    )


def send_again(call: Call, body: LettersToSend) -> MessagesToSend:
    """
    Have messages that were given up sent again, which a server does that runs on the store.

    Raises NotFound, and changes nothing, if there is no such webhook, or one of the ids is of no
    such message.
    """
    ids = call.index.server.webhooks.send_again(body.name, body.ids, call.by)
    return MessagesToSend(body.name, ids)


def send_test(call: Call, body: NamedWebhook) -> DeliveryAttempt:
    """
    Send a message of a test to a webhook now, and show what came of it.

    The message is noted among the deliveries and in the log. If it does not arrive, that is no
    error. Raises NotFound if there is no such webhook. Raises Invalid if its keys are wrong, or
    (code `no_delivery`) if the webhook has no URL, or no secret.
    """
    server = call.index.server
    webhook = server.webhooks.find(body.name)
    # raises without a URL or a secret, before anything is sent or noted
    server.webhooks.endpoints.find(webhook)
    attempt = server.webhook_sender.test(webhook, call.by)
    server.webhooks.note_test(webhook, attempt, call.by)
    return attempt


def _describe_letters(letters: Iterable[DeadLetter]) -> tuple[GivenUpMessage, ...]:
    """Return dead letters in the form of the answer."""
    messages = list[GivenUpMessage]()
    for letter in letters:
        message = GivenUpMessage(
            id=letter.id,
            journal=letter.place.journal,
            event=letter.event,
            subject=letter.subject,
            at=letter.at,
            error=letter.error,
        )
        messages.append(message)
    return tuple(messages)


WEBHOOKS: Final = table_operations.TableOperations(
    WEBHOOK_KIND,
    table_operations.TableJson(
        answer=WebhookAnswer,
        listed=ListedWebhook,
        history=WebhookHistory,
        new=NewWebhook,
        edit=WebhookEdit,
        removal=WebhookRemoval,
        removed=None,
    ),
    table_operations.TableTexts(
        list="List the webhooks.",
        history="Show the changes of webhooks that follow a number.",
        add="Add a webhook, whose secret is told this once.",
        change="Give other values to keys of a webhook.",
        remove="Remove a webhook, its secret, and what waits for it.",
        right_to_see=_RIGHT_TO_SEE,
        right_to_change=_RIGHT_TO_CHANGE,
    ),
    lambda call: call.index.server.webhooks,
)
WEBHOOK_ROWS: Final = (
    # a secret is shown once, so that the request is never repeated
    _post_operation(
        "webhooks/new-secret", make_secret, RequiredRight.OWN_ADMIN, _RIGHT_TO_CHANGE, status=201
    ),
    ApiOperation("GET", "webhooks/deliveries", list_deliveries, RequiredRight.ADMIN, _RIGHT_TO_SEE),
    _post_operation("webhooks/send-again", send_again, RequiredRight.ADMIN, _RIGHT_TO_SEE),
    _post_operation("webhooks/test", send_test, RequiredRight.ADMIN, _RIGHT_TO_SEE, is_long=True),
)
"""The operations on webhooks that tables of other kinds do not have."""
