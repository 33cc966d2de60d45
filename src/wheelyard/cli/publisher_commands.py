"""`wheelyard publisher`: trusted publishers."""

from collections.abc import Sequence
from typing import Final

import click
from click import Argument

from wheelyard.api.publisher_operations import PUBLISHERS, PublisherAnswer
from wheelyard.cli import shared_options
from wheelyard.cli.command import CliGroup
from wheelyard.cli.command_context import open_api
from wheelyard.cli.output import warn
from wheelyard.cli.table_commands import TableCommands, texts_in
from wheelyard.errors import Invalid
from wheelyard.model.stored_publishers import PublisherKeys

ID: Final = Argument(["publisher_id"], metavar="ID")
PROVIDER_KEY: Final = "provider"
MATCH_PREFIX: Final = "match."
COMMANDS: Final = TableCommands(PUBLISHERS, "not in force")


@click.group("publisher", cls=CliGroup, page="trusted-publishing.md")
def publisher_command() -> None:
    """
    List, add, change and remove trusted publishers.

    They are kept in the store, and need no restart: every server on the store obeys a change within
    15 seconds.
    """


@publisher_command.subcommand(
    "list",
    shared_options.JSON,
    shared_options.INDEX,
    examples=(
        "wheelyard publisher list",
        "wheelyard publisher list --server https://packages.acme.dev",
    ),
    page="trusted-publishing.md",
)
def list_publishers() -> None:
    """Print all publishers, who added each, and the file that it is from."""
    listed: PublisherAnswer = COMMANDS.print_list()
    if not listed.is_enabled:
        _warn_of_no_audience()


@publisher_command.subcommand(
    "history",
    shared_options.JSON,
    shared_options.INDEX,
    examples=("wheelyard publisher history", "wheelyard publisher history --json"),
    page="trusted-publishing.md",
)
def publisher_history() -> None:
    """Print the changes of the publishers, oldest first."""
    COMMANDS.print_history()


@publisher_command.subcommand(
    "add",
    ID,
    Argument(["provider"]),
    Argument(["texts"], nargs=-1, required=True, metavar="KEY=VALUE..."),
    shared_options.NOTE,
    shared_options.INDEX,
    examples=(
        "wheelyard publisher add pay google projects=pay email=EMAIL sub=NUMBER",
        "wheelyard publisher add k8s oidc projects=x issuer=URL match.sub=SUB",
    ),
    page="trusted-publishing.md",
)
def add_publisher(publisher_id: str, provider: str, texts: tuple[str, ...], note: str) -> None:
    """
    Give tokens to jobs that fit all of KEY=VALUE, as the publisher ID.

    PROVIDER is github, gitlab, google, buildkite or oidc. The keys are those of a [[publisher]]
    table, such as projects, which need not exist yet. A list has commas between its elements. A
    claim of oidc is match.CLAIM=VALUE.
    """
    texts_by_key = _texts_of_words(texts)
    for key in ("id", PROVIDER_KEY):
        if key in texts_by_key:
            raise click.UsageError(f"ID and PROVIDER come first. Leave {key}= out.")
    COMMANDS.add(_parse_keys(provider, {**texts_by_key, "id": publisher_id}), note)
    if not open_api().call(PUBLISHERS.list).is_enabled:
        _warn_of_no_audience()


@publisher_command.subcommand(
    "change",
    ID,
    Argument(["texts"], nargs=-1, required=True, metavar="KEY=VALUE..."),
    shared_options.NOTE,
    shared_options.INDEX,
    examples=(
        "wheelyard publisher change gh-mylib environment=production",
        "wheelyard publisher change gh-mylib projects=mylib,extras --note T-12",
        "wheelyard publisher change gh-mylib ref=",
    ),
    page="trusted-publishing.md",
)
def change_publisher(publisher_id: str, texts: tuple[str, ...], note: str) -> None:
    """
    Give other values to keys of the publisher ID.

    A key without a value is left out from then on. A claim of match takes the place of all.
    """
    publisher = COMMANDS.find(publisher_id)
    texts_by_key = _texts_of_words(texts)
    changes: PublisherKeys = dict.fromkeys(texts_by_key)
    # sent as it is: the operation refuses another provider
    if PROVIDER_KEY in texts_by_key:
        changes[PROVIDER_KEY] = texts_by_key.pop(PROVIDER_KEY)
    # the operation raises the error for an unknown publisher
    if publisher is not None:
        keys = _parse_keys(str(publisher.keys[PROVIDER_KEY]), texts_by_key)
        for key in texts_by_key:
            if key in keys:
                changes[key] = keys[key]
    COMMANDS.change(publisher_id, changes, note)


@publisher_command.subcommand(
    "remove",
    Argument(["ids"], nargs=-1, required=True, metavar="ID..."),
    shared_options.NOTE,
    shared_options.INDEX,
    examples=(
        "wheelyard publisher remove gh-mylib",
        "wheelyard publisher remove gh-mylib gh-tests --note 'moved to another forge'",
    ),
    page="trusted-publishing.md",
)
def remove_publishers(ids: tuple[str, ...], note: str) -> None:
    """
    Remove publishers, each by its id.

    Tokens that jobs have got for them open nothing within 15 seconds.
    """
    COMMANDS.remove(ids, note)


def _texts_of_words(words: Sequence[str]) -> dict[str, str]:
    """Return the texts of KEY=VALUE words by key, with claims as the lines of the key `match`."""
    texts = texts_in(words)
    claim_keys = [key for key in texts if key.startswith(MATCH_PREFIX)]
    lines = list[str]()
    for key in claim_keys:
        claim = key.removeprefix(MATCH_PREFIX)
        lines.append(f"{claim} = {texts.pop(key)}")
    if lines:
        texts["match"] = "\n".join(lines)
    return texts


def _parse_keys(provider: str, texts: dict[str, str]) -> PublisherKeys:
    """Return the keys of a publisher, or raise UsageError if a text is wrong."""
    # imported only here, as the providers take a while to import
    from wheelyard.model.publisher_texts import keys_of_texts

    try:
        return keys_of_texts(provider, texts)
    except Invalid as fault:
        raise click.UsageError(fault.message) from fault


def _warn_of_no_audience() -> None:
    warn(
        "no job gets a token: set trusted_publishing.audience, such as the host of this index, and "
        "restart the servers"
    )
