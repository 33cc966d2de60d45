"""`wheelyard publisher`: trusted publishers."""

from collections.abc import Iterator, Sequence
from typing import Final

import click
from click import Argument, Option

from wheelyard.api import publisher_operations
from wheelyard.api.publisher_operations import (
    NewPublisher,
    PublisherEdit,
    PublisherRemoval,
)
from wheelyard.cli.options import INDEX, Api, history_lines, open_api, token_names
from wheelyard.cli.output import JSON, CliGroup, print_result, warn
from wheelyard.errors import Invalid, quoted
from wheelyard.model.decoding import escaped
from wheelyard.model.grants import with_name
from wheelyard.model.stored_publishers import (
    ListedPublisher,
    PublisherKeys,
    describe_event,
    describe_keys,
)

ID: Final = Argument(["publisher_id"], metavar="ID")
NOTE: Final = Option(["--note"], default="", help="Why; the history shows it.")
MATCH: Final = "match."


@click.group("publisher", cls=CliGroup)
def publisher_command() -> None:
    """
    List, add, change and remove trusted publishers.

    They are kept in the store, and need no restart: every server on the store obeys a change within
    15 seconds.

    Documentation: trusted-publishing.md
    """


@publisher_command.subcommand(
    "list",
    Option(["--history"], is_flag=True, help="The changes: who, when, what and why."),
    JSON,
    *INDEX,
)
def list_publishers(*, history: bool) -> None:
    """
    Print all trusted publishers, and who added each, or from which file.

    Examples:
        wheelyard publisher list
        wheelyard publisher list --history
        wheelyard publisher list --server https://packages.acme.dev

    Documentation: trusted-publishing.md
    """
    api = open_api()
    if history:
        commits = api.call(publisher_operations.publisher_history).commits
        changes = [event for commit in commits for event in commit.events]
        lines = history_lines(api, changes, map(describe_event, changes))
        print_result({"changes": changes}, lines)
        return
    listed = api.call(publisher_operations.list_publishers)
    print_result(listed, _lines(listed.publishers, api))
    if not listed.is_enabled:
        _warn_of_no_audience()


def _lines(publishers: Sequence[ListedPublisher], api: Api) -> Iterator[tuple[str, ...]]:
    names = token_names(api, {publisher.created_by for publisher in publishers})
    for publisher in publishers:
        by = with_name(publisher.created_by, names.get(publisher.created_by, ""))
        origin = f"{publisher.created:%Y-%m-%d} by {by}"
        if publisher.source:
            origin = f"{origin}, from {publisher.source}"
        problem = (f"not in force: {publisher.problem}",) if publisher.problem else ()
        yield publisher.id, describe_keys(publisher.publisher), origin, *problem


@publisher_command.subcommand(
    "add",
    ID,
    Argument(["provider"]),
    Argument(["texts"], nargs=-1, required=True, metavar="KEY=VALUE..."),
    NOTE,
    *INDEX,
)
def add_publisher(publisher_id: str, provider: str, texts: tuple[str, ...], note: str) -> None:
    """
    Give tokens to jobs that fit all of KEY=VALUE, as the publisher ID.

    PROVIDER is github, gitlab, google, buildkite or oidc. The keys are those of a [[publisher]]
    table, such as projects, which need not exist yet. A list has commas between its elements. A
    claim of oidc is match.CLAIM=VALUE.

    Examples:
        wheelyard publisher add pay google projects=pay email=EMAIL sub=NUMBER
        wheelyard publisher add k8s oidc projects=x issuer=URL match.sub=SUB

    Documentation: trusted-publishing.md
    """
    keys = _keys(provider, {**_texts(texts), "id": publisher_id})
    api = open_api()
    added = api.call(publisher_operations.add_publisher, NewPublisher(keys, note))
    _report(added)
    if not api.call(publisher_operations.list_publishers).is_enabled:
        _warn_of_no_audience()


@publisher_command.subcommand(
    "change",
    ID,
    Argument(["texts"], nargs=-1, required=True, metavar="KEY=VALUE..."),
    NOTE,
    *INDEX,
)
def change_publisher(publisher_id: str, texts: tuple[str, ...], note: str) -> None:
    """
    Give other values to keys of the publisher ID.

    A key without a value is left out from then on. A claim of match takes the place of all.

    Examples:
        wheelyard publisher change gh-mylib environment=production
        wheelyard publisher change gh-mylib projects=mylib,extras --note T-12
        wheelyard publisher change gh-mylib ref=

    Documentation: trusted-publishing.md
    """
    api = open_api()
    listed = api.call(publisher_operations.list_publishers).publishers
    before = next((one for one in listed if one.id == publisher_id), None)
    given = _texts(texts)
    # of an unknown one the operation says so
    keys = _keys(str(before.publisher["provider"]), given) if before else {}
    edit = PublisherEdit(publisher_id, {key: keys.get(key) for key in given}, note)
    _report(api.call(publisher_operations.change_publisher, edit))


@publisher_command.subcommand(
    "remove", Argument(["ids"], nargs=-1, required=True, metavar="ID..."), NOTE, *INDEX
)
def remove_publishers(ids: tuple[str, ...], note: str) -> None:
    """
    Remove publishers, each by its id.

    Tokens that jobs have got for them open nothing within 15 seconds.

    Examples:
        wheelyard publisher remove gh-mylib
        wheelyard publisher remove gh-mylib gh-tests --note 'moved to another forge'

    Documentation: trusted-publishing.md
    """
    api = open_api()
    for publisher_id in ids:
        removal = PublisherRemoval(publisher_id, note)
        api.call(publisher_operations.remove_publisher, removal)
        click.echo(escaped(f"{publisher_id}: removed"))


def _texts(words: Sequence[str]) -> dict[str, str]:
    """
    Return the texts of KEY=VALUE words by key, with the claims of `match` as its lines.

    Raises UsageError if a word has no `=`.
    """
    texts = dict[str, str]()
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise click.UsageError(f"{quoted(word)} is no KEY=VALUE.")
        if key.startswith(MATCH):
            line = f"{key.removeprefix(MATCH)} = {value}"
            texts["match"] = "\n".join(filter(None, (texts.get("match", ""), line)))
        else:
            texts[key] = value
    return texts


def _keys(provider: str, texts: dict[str, str]) -> PublisherKeys:
    # the providers take a while to import
    from wheelyard.model.publisher_texts import keys_of_texts

    try:
        return keys_of_texts(provider, texts)
    except Invalid as fault:
        raise click.UsageError(fault.message) from fault


def _report(publisher: ListedPublisher) -> None:
    click.echo(escaped(f"{publisher.id}: {describe_keys(publisher.publisher)}"))
    if publisher.problem:
        warn(publisher.problem)


def _warn_of_no_audience() -> None:
    warn(
        "no job gets a token: set trusted_publishing.audience, such as the host of this index, and "
        "restart the servers"
    )
