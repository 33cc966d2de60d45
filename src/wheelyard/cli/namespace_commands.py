"""`wheelyard namespace`: who alone may publish new projects of which names."""

import sys
from typing import Final

import click
from click import Argument, Option

from wheelyard.api.namespace_operations import NAMESPACES
from wheelyard.cli import shared_options
from wheelyard.cli.command import CliGroup
from wheelyard.cli.table_commands import TableCommands
from wheelyard.errors import Conflict
from wheelyard.model.decoding import escaped
from wheelyard.operations.namespaces import HIDES_PUBLIC_NAMES

NAME: Final = Argument(["name"])
OWNERS: Final = Option(
    ["--owner", "owners"],
    multiple=True,
    required=True,
    metavar="PRINCIPAL",
    help="Somebody such as user:ana@acme.dev, group:platform or publisher:gh-core. Repeatable.",
)
EVEN_IF_PUBLIC: Final = Option(
    ["--even-if-public"],
    is_flag=True,
    help="Go on, without a question, if public packages in use are not served any more.",
)
COMMANDS: Final = TableCommands(NAMESPACES, "not in force")


@click.group("namespace", cls=CliGroup, page="namespaces.md")
def namespace_command() -> None:
    """
    List, grant, change and revoke namespaces.

    The namespace acme is the project acme and all acme-*. Its names are private in all indexes of
    the store, and only its owners publish new projects in it. Every server on the store obeys a
    change within 15 seconds.
    """


@namespace_command.subcommand(
    "list",
    shared_options.JSON,
    shared_options.INDEX,
    examples=(
        "wheelyard namespace list",
        "wheelyard namespace list --server https://packages.acme.dev",
    ),
    page="namespaces.md",
)
def list_namespaces() -> None:
    """Print all namespaces, their owners, and who granted each."""
    COMMANDS.print_list()


@namespace_command.subcommand(
    "history",
    shared_options.JSON,
    shared_options.INDEX,
    examples=("wheelyard namespace history", "wheelyard namespace history --json"),
    page="namespaces.md",
)
def namespace_history() -> None:
    """Print the changes of the namespaces, oldest first."""
    COMMANDS.print_history()


@namespace_command.subcommand(
    "grant",
    NAME,
    OWNERS,
    EVEN_IF_PUBLIC,
    shared_options.NOTE,
    shared_options.INDEX,
    examples=(
        "wheelyard namespace grant acme --owner group:platform",
        "wheelyard namespace grant acme --owner user:EMAIL --owner publisher:gh",
    ),
    page="namespaces.md",
)
def grant_namespace(name: str, owners: tuple[str, ...], note: str, *, even_if_public: bool) -> None:
    """
    Have only the owners publish new projects named NAME, or NAME-*.

    Public packages of these names are not served any more. If some are in use, the command names
    them and asks, or fails where nobody can answer.
    """
    keys = {"name": name, "owners": list(owners)}
    try:
        COMMANDS.add(keys, note, even_if_public=even_if_public)
    except Conflict as conflict:
        if conflict.code != HIDES_PUBLIC_NAMES or not sys.stdin.isatty():
            raise
        # without the advice, which names an option: the answer to the question replaces it
        click.echo(escaped(conflict.fact), err=True)
        click.confirm("Grant it all the same?", abort=True, err=True)
        COMMANDS.add(keys, note, even_if_public=True)


@namespace_command.subcommand(
    "change",
    NAME,
    OWNERS,
    shared_options.NOTE,
    shared_options.INDEX,
    examples=(
        "wheelyard namespace change acme --owner group:platform",
        "wheelyard namespace change acme --owner group:tools --note T-12",
    ),
    page="namespaces.md",
)
def change_namespace(name: str, owners: tuple[str, ...], note: str) -> None:
    """Give the namespace NAME these owners, in place of those that it has."""
    COMMANDS.change(name, {"owners": list(owners)}, note)


@namespace_command.subcommand(
    "revoke",
    Argument(["names"], nargs=-1, required=True, metavar="NAME..."),
    shared_options.NOTE,
    shared_options.INDEX,
    examples=(
        "wheelyard namespace revoke acme-tests",
        "wheelyard namespace revoke acme-a acme-b --note 'no such team any more'",
    ),
    page="namespaces.md",
)
def revoke_namespaces(names: tuple[str, ...], note: str) -> None:
    """
    Revoke namespaces.

    Whoever may upload there publishes new projects then. Public packages of these names are served
    again, unless the name has been published or reserved here, or is private by the settings.
    """
    COMMANDS.remove(names, note)
