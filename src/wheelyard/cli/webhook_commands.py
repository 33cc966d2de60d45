"""`wheelyard webhook`: the webhooks of a store, and the deliveries to them."""

import sys
from collections.abc import Iterator
from typing import Final

import click
from click import Argument, Option

from wheelyard.api import webhook_operations
from wheelyard.cli import shared_options
from wheelyard.cli.command import CliGroup
from wheelyard.cli.command_context import open_api
from wheelyard.cli.output import print_result, warn
from wheelyard.cli.program import warn_of
from wheelyard.cli.standard_streams import show_once
from wheelyard.cli.table_commands import TableCommands, texts_in
from wheelyard.errors import Invalid, NotFound, quoted
from wheelyard.model.decoding import escaped
from wheelyard.model.field_texts import value_of_text
from wheelyard.model.stored_tables import TableKeys
from wheelyard.model.stored_webhooks import WEBHOOK_KIND, ListedWebhook, variable_of
from wheelyard.model.webhook_state import DeliveryAttempt
from wheelyard.remedies import Advice, Remedy

PAGE: Final = "webhooks.md"
TEXTS: Final = Argument(["texts"], nargs=-1, required=True, metavar="KEY=VALUE...")
SHOWN_ONCE: Final = "It is not shown again. Give it to the receiver, which checks signatures by it."
COLUMNS: Final = ("Time", "Status", "Event", "About", "Seconds", "Result", "Answer")
COMMANDS: Final = TableCommands(webhook_operations.WEBHOOKS, "nothing is sent")


@click.group("webhook", cls=CliGroup, page=PAGE)
def webhook_command() -> None:
    """
    List, add, change and remove webhooks, and show what was sent to them.

    A webhook is a URL that is told what happens to projects. It is kept in the store, and begins
    with what happens from then on. A server that runs on the store sends to it.
    """


@webhook_command.subcommand(
    "list",
    shared_options.JSON,
    shared_options.INDEX,
    examples=(
        "wheelyard webhook list",
        "wheelyard webhook list --server https://packages.acme.dev",
    ),
    page=PAGE,
)
def list_webhooks() -> None:
    """Print all webhooks, who added each, and why nothing can be sent to some."""
    COMMANDS.print_list()


@webhook_command.subcommand(
    "show",
    shared_options.NAME,
    shared_options.JSON,
    shared_options.INDEX,
    examples=("wheelyard webhook show builds", "wheelyard webhook show builds --json"),
    page=PAGE,
)
def show_webhook(name: str) -> None:
    """Print the keys of the webhook NAME, and where its URL and its secret are."""
    row = COMMANDS.find(name)
    if row is None:
        raise NotFound(f"There is no webhook {quoted(name)}.", advice=WEBHOOK_KIND.list_them)
    assert isinstance(row, ListedWebhook)  # noqa: S101 - the list is one of webhooks
    print_result(row, _webhook_lines(row))
    if row.problem:
        warn(row.problem)
    warn_of(row.cautions)


def _webhook_lines(row: ListedWebhook) -> Iterator[tuple[str, ...]]:
    """Yield the lines about a webhook: its keys, and where its URL and its secret are from."""
    for key in WEBHOOK_KIND.keys:
        if key not in row.keys:
            continue
        value = row.keys[key]
        if isinstance(value, list):
            yield key, ", ".join(map(str, value))
        else:
            yield key, str(value)
    if row.url_from:
        yield "url from", row.url_from
    yield "secret from", row.secret_from or "nowhere"


@webhook_command.subcommand(
    "history",
    shared_options.JSON,
    shared_options.INDEX,
    examples=("wheelyard webhook history", "wheelyard webhook history --json"),
    page=PAGE,
)
def webhook_history() -> None:
    """Print the changes of the webhooks, oldest first."""
    COMMANDS.print_history()


@webhook_command.subcommand(
    "add",
    shared_options.NAME,
    Argument(["texts"], nargs=-1, metavar="[KEY=VALUE]..."),
    shared_options.NOTE,
    shared_options.INDEX,
    examples=(
        "wheelyard webhook add builds url=https://ci.example/hook",
        "wheelyard webhook add builds url=URL events=released,yanked projects=acme-*",
        "wheelyard webhook add team-chat format=slack indexes=main,prod",
    ),
    page=PAGE,
)
def add_webhook(name: str, texts: tuple[str, ...], note: str) -> None:
    """
    Tell a URL what happens from now on, as the webhook NAME, and print its secret.

    The keys are those of a [[webhook]] table: url, events, indexes, projects, format and
    allow_private. A list has commas between its elements. The URL of a chat is a secret: it is the
    variable WHEELYARD_WEBHOOK_<NAME>_URL of the server, and no key.
    """
    # the store makes the secret: a secret of the command line would stay in the shell's history
    parsed_keys = _keys_of_words(texts)
    if "name" in parsed_keys:
        raise click.UsageError("NAME comes first. Leave name= out.")
    keys: TableKeys = {"name": name}
    for key, value in parsed_keys.items():
        if value is not None:
            keys[key] = value
    body = webhook_operations.NewWebhook(keys=keys, note=note)
    row: ListedWebhook = open_api().call(webhook_operations.WEBHOOKS.add, body)
    COMMANDS.print_row(row)
    _print_secret(row)


@webhook_command.subcommand(
    "change",
    shared_options.NAME,
    TEXTS,
    shared_options.NOTE,
    shared_options.INDEX,
    examples=(
        "wheelyard webhook change builds events=released,yanked",
        "wheelyard webhook change builds projects= --note T-12",
    ),
    page=PAGE,
)
def change_webhook(name: str, texts: tuple[str, ...], note: str) -> None:
    """
    Give other values to keys of the webhook NAME.

    A key without a value is left out from then on.
    """
    COMMANDS.change(name, _keys_of_words(texts), note)


@webhook_command.subcommand(
    "remove",
    Argument(["names"], nargs=-1, required=True, metavar="NAME..."),
    shared_options.NOTE,
    shared_options.INDEX,
    examples=(
        "wheelyard webhook remove builds",
        "wheelyard webhook remove builds team-chat --note 'no such job any more'",
    ),
    page=PAGE,
)
def remove_webhooks(names: tuple[str, ...], note: str) -> None:
    """Remove webhooks, their secrets, and what waits for them."""
    COMMANDS.remove(names, note)


@webhook_command.subcommand(
    "new-secret",
    shared_options.NAME,
    shared_options.NOTE,
    shared_options.INDEX,
    examples=(
        "wheelyard webhook new-secret builds",
        "wheelyard webhook new-secret builds --note 'was in a log'",
    ),
    page=PAGE,
)
def new_secret(name: str, note: str) -> None:
    """
    Make another secret for the webhook NAME, and print it.

    The old one signs nothing from then on.
    """
    body = webhook_operations.NewWebhookSecret(name=name, note=note)
    _print_secret(open_api().call(webhook_operations.make_secret, body))


@webhook_command.subcommand(
    "test",
    shared_options.NAME,
    shared_options.JSON,
    shared_options.INDEX,
    examples=("wheelyard webhook test builds", "wheelyard webhook test builds --json"),
    page=PAGE,
)
def send_test(name: str) -> None:
    """
    Send a message of a test to the webhook NAME now, and print what came of it.

    The exit status is 1 if the receiver did not take it.
    """
    attempt = open_api().call(webhook_operations.send_test, webhook_operations.NamedWebhook(name))
    print_result(attempt, [_delivery_columns(attempt)], COLUMNS)
    # a script that sets up a webhook has to notice that nothing arrives
    if not attempt.is_delivered:
        sys.exit(1)


@webhook_command.subcommand(
    "deliveries",
    shared_options.NAME,
    shared_options.JSON,
    shared_options.INDEX,
    examples=("wheelyard webhook deliveries builds", "wheelyard webhook deliveries builds --json"),
    page=PAGE,
)
def print_deliveries(name: str) -> None:
    """
    Print the last 50 deliveries to the webhook NAME, newest first, and what was not delivered.

    What waits is tried again by itself for a day. Then it is given up, with an id for `send-again`.
    """
    deliveries = open_api().call(
        webhook_operations.list_deliveries, webhook_operations.NamedWebhook(name)
    )
    print_result(deliveries, _delivery_lines(deliveries), COLUMNS)
    if deliveries.note:
        warn(deliveries.note)
    if deliveries.dropped:
        warn(f"{deliveries.dropped} messages that were given up are not kept: there were too many")


@webhook_command.subcommand(
    "send-again",
    shared_options.NAME,
    Argument(["ids"], nargs=-1, metavar="[ID]..."),
    Option(["--all", "is_all"], is_flag=True, help="All messages that were given up."),
    shared_options.INDEX,
    examples=(
        "wheelyard webhook send-again builds --all",
        "wheelyard webhook send-again builds msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
    ),
    page=PAGE,
)
def send_again(name: str, ids: tuple[str, ...], *, is_all: bool) -> None:
    """
    Have messages that were given up sent to the webhook NAME again.

    `deliveries` has their ids. A server that runs on the store sends them.
    """
    # refused without ids, which mean all messages: a script may have an empty list of ids
    if is_all == bool(ids):
        raise click.UsageError("Name the ids of messages, or give --all.")
    body = webhook_operations.LettersToSend(name=name, ids=ids or None)
    sent = open_api().call(webhook_operations.send_again, body)
    for letter_id in sent.ids:
        click.echo(escaped(f"{letter_id}: waits to be sent again"))


def _keys_of_words(words: tuple[str, ...]) -> TableKeys:
    """
    Return the keys of KEY=VALUE words, with None for a key without a value.

    Raises Invalid if a key is unknown or its value wrong, and UsageError if a word has no `=`.
    """
    keys: TableKeys = {}
    for key, text in texts_in(words).items():
        key_type = WEBHOOK_KIND.keys.get(key)
        if key_type is None:
            names = ", ".join(key for key in WEBHOOK_KIND.keys if key not in {"name", "secret"})
            raise Invalid(
                f"{quoted(key)} is no key of a webhook. It has {names}.",
                code="invalid_field",
                field=key,
            )
        keys[key] = None
        if text:
            keys[key] = value_of_text(key_type, key, text)
    return keys


def _print_secret(row: ListedWebhook) -> None:
    """
    Print the secret of a webhook, if one was made just now.

    Raises Unavailable if the secret cannot be printed.
    """
    if not row.secret:
        return
    secret_in_words = f"The secret of the webhook {row.name}"
    advice = Advice(Remedy.NEW_WEBHOOK_SECRET, row.name)
    # alone on standard output, so that a script can hand it on
    with show_once(secret_in_words, "Make another one.", advice):
        click.echo(row.secret)
    # no command prints the secret a second time, although the store keeps it to sign messages
    click.echo(SHOWN_ONCE, err=True)
    variable = variable_of(row.name, "SECRET")
    click.echo(f"It signs unless a server has {variable}, which it then takes.", err=True)


def _delivery_lines(deliveries: webhook_operations.WebhookDeliveries) -> Iterator[tuple[str, ...]]:
    """Yield a line for each delivery, and for each message that was not delivered."""
    yield from map(_delivery_columns, deliveries.attempts)
    for journal in deliveries.waiting:
        due = f"{journal.due:%Y-%m-%d %H:%M:%S} UTC"
        tries = f"tried {journal.attempts} times"
        yield (
            f"waits until {due}",
            tries,
            journal.event,
            journal.subject or journal.journal,
            journal.error,
        )
    for letter in deliveries.again:
        yield f"waits to be sent again: {letter.id}", letter.event, letter.subject or letter.journal
    for letter in deliveries.dead:
        given_up_at = f"{letter.at:%Y-%m-%d %H:%M:%S} UTC"
        yield (
            f"given up {given_up_at}: {letter.id}",
            letter.event,
            letter.subject or letter.journal,
            letter.error,
        )


def _delivery_columns(attempt: DeliveryAttempt) -> tuple[str, ...]:
    """Return the columns of a delivery."""
    return (
        f"{attempt.at:%Y-%m-%d %H:%M:%S} UTC",
        str(attempt.status or "none"),
        attempt.event,
        attempt.subject,
        f"{attempt.seconds:.2f}",
        attempt.error or "delivered",
        attempt.answer,
    )
