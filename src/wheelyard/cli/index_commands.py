"""`wheelyard index`: the indexes of one store."""

from collections.abc import Sequence
from typing import Any, Final

import click
from click import Argument, Option

from wheelyard.api.index_operations import INDEXES
from wheelyard.catalog.removed import REMOVED_KEYS
from wheelyard.cli import shared_options
from wheelyard.cli.command import CliGroup
from wheelyard.cli.command_context import existing_index, local_caller
from wheelyard.cli.program import command_line
from wheelyard.cli.table_commands import TableCommands, texts_in
from wheelyard.errors import Invalid
from wheelyard.model.decoding import escaped
from wheelyard.model.index_name import MAIN
from wheelyard.model.stored_indexes import IndexKeys

EVEN_IF_OPEN: Final = Option(
    ["--even-if-open"],
    is_flag=True,
    help="Let anybody read by this index what needs a right in its own index.",
)
COMMANDS: Final = TableCommands(INDEXES, "not served")


@click.group("index", cls=CliGroup, page="indexes.md")
def index_command() -> None:
    """
    List, add, change and remove indexes of the store, such as dev and prod, and change main.

    Servers know a change within 15 seconds, without a restart.
    """


@index_command.subcommand(
    "list",
    shared_options.JSON,
    shared_options.INDEX,
    examples=("wheelyard index list", "wheelyard index list --server https://packages.acme.dev"),
    page="indexes.md",
)
def list_indexes() -> None:
    """Print all indexes, first main, who made each, and the file that it is from."""
    COMMANDS.print_list()


@index_command.subcommand(
    "history",
    shared_options.JSON,
    shared_options.INDEX,
    examples=("wheelyard index history", "wheelyard index history --json"),
    page="indexes.md",
)
def index_history() -> None:
    """Print the changes of the indexes, oldest first."""
    COMMANDS.print_history()


@index_command.subcommand(
    "add",
    shared_options.NAME,
    Argument(["texts"], nargs=-1, metavar="[KEY=VALUE...]"),
    shared_options.NOTE,
    EVEN_IF_OPEN,
    shared_options.INDEX,
    examples=(
        "wheelyard index add dev",
        "wheelyard index add prod layers=prod,upstream --note TEAM-12",
        "wheelyard index add ml layers=main,pytorch,pypi 'merge=torch*'",
    ),
    page="indexes.md",
)
def add_index(name: str, texts: tuple[str, ...], note: str, *, even_if_open: bool) -> None:
    """
    Make the index NAME, with URLs below /NAME/.

    Its keys are those of an [[index]] table. Without layers it has its own packages alone. A list
    has commas between its elements. Whoever is to read it needs a right, unless it has read=anyone.
    """
    keys = _keys_of_words(texts)
    if "name" in keys:
        raise click.UsageError("The name of an index is NAME. Leave name= out.")
    COMMANDS.add({"name": name, **keys}, note, even_if_open=even_if_open)
    token = command_line("token", "create", "NAME", "--index", name)
    click.echo(escaped(f"{token} makes a token for it"))


@index_command.subcommand(
    "change",
    shared_options.NAME,
    Argument(["texts"], nargs=-1, required=True, metavar="KEY=VALUE..."),
    shared_options.NOTE,
    EVEN_IF_OPEN,
    shared_options.INDEX,
    examples=(
        "wheelyard index change prod layers=prod",
        "wheelyard index change main read=granted promote_only=true",
        "wheelyard index change prod merge= --note 'one owner for each name'",
    ),
    page="indexes.md",
)
def change_index(name: str, texts: tuple[str, ...], note: str, *, even_if_open: bool) -> None:
    """
    Give other values to keys of the index NAME.

    A key without a value is left out from then on. Main has the same keys, but layers and merge.
    """
    changes: dict[str, Any] = {}
    current_texts = list[str]()
    for text in texts:
        changes[text.partition("=")[0]] = None
        # keys of earlier versions take no value any more: they can only be left out
        if text.removesuffix("=") not in REMOVED_KEYS:
            current_texts.append(text)
    changes.update(_keys_of_words(current_texts))
    COMMANDS.change(name, changes, note, even_if_open=even_if_open)


@index_command.subcommand(
    "remove",
    Argument(["names"], nargs=-1, required=True, metavar="NAME..."),
    shared_options.NOTE,
    shared_options.INDEX,
    examples=(
        "wheelyard index remove team",
        "wheelyard index remove team dev --note 'moved to prod'",
    ),
    page="indexes.md",
)
def remove_indexes(names: tuple[str, ...], note: str) -> None:
    """
    Remove indexes that have no packages.

    They are removed in this order, until one is refused.
    """
    COMMANDS.remove(names, note)


@index_command.subcommand(
    "rename",
    Argument(["before"]),
    Argument(["name"]),
    shared_options.NOTE,
    shared_options.STORE,
    examples=(
        "wheelyard index rename main team --store /srv/packages",
        "wheelyard index rename main team --store gs://acme-packages --note TEAM-12",
    ),
    page="indexes.md",
)
def rename_index(before: str, name: str, note: str) -> None:
    """
    Call the index BEFORE of the store NAME, with its packages, journals and rights.

    It is only for an index that an earlier version has made as main, which is the name of the index
    at the root now. Stop all servers of the store before. If the command dies, repeat it. Tables of
    the settings that name the index are changed by hand.
    """
    if before != MAIN:
        raise click.UsageError(
            "An index keeps its name, as installers have it in their URLs. Only one that an "
            "earlier version has made as main is renamed."
        )
    # imported only for this command
    from wheelyard.operations.index_rename import IndexRename

    index = existing_index()
    rename = IndexRename(index.server.index_administration, index.stores.documents)
    COMMANDS.print_row(rename.rename(name, local_caller(index).principal, note))


def _keys_of_words(words: Sequence[str]) -> IndexKeys:
    """
    Return the keys of KEY=VALUE words that have a value.

    Raises UsageError if a word has no `=` or an unknown key.
    """
    from wheelyard.model.index_texts import index_of_texts

    texts = texts_in(words)
    try:
        return index_of_texts(texts)
    except Invalid as fault:
        raise click.UsageError(fault.message) from fault
