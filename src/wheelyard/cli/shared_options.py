"""Options that several commands share, and their values for the rest of a command."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click import Argument, Option

from wheelyard.storage.location import BUCKET_FORMS

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

NAME: Final = Argument(["name"])
PROJECT: Final = Argument(["project"])
NOTE: Final = Option(["--note"], default="", help="Why; the history shows it.")
REASON: Final = Option(["--reason"], default="", help="Why; it is kept in the journal.")
HISTORY: Final = Option(["--history"], is_flag=True, help="The changes: who, when, what and why.")
SEARCH: Final = Option(["--search"], default="", metavar="TEXT", help="A part of the name.")
PROJECT_PATTERNS: Final = Option(
    ["--project", "projects"],
    multiple=True,
    metavar="PATTERN",
    help="acme-core, or acme-*; may be given again.  [default: every project]",
)
NAMES_NO_INDEX: Final = "it names no index"
"""The words of a list about a right of an earlier version, which names no index."""
LENIENT: Final = Option(
    ["--lenient"], is_flag=True, help="Take old files that fail only today's rules."
)


def given_option(name: str) -> Any:  # noqa: ANN401 - of any type
    """Return the value that `keep_option` has kept, or None if the option was not given."""
    return click.get_current_context().meta.get(_meta_key(name))


def has_option(name: str) -> bool:
    """Return whether this command has an option that `keep_option` keeps."""
    return _meta_key(name) in click.get_current_context().meta


def given_options(names: Iterable[str]) -> dict[str, object]:
    """
    Return the values of these options by their keys in `meta`, but for those of other commands.

    Another process that runs a part of the command adds the values to the `meta` of a context of
    its own, so that `given_option` returns the same values there.
    """
    meta = click.get_current_context().meta
    keys = [_meta_key(name) for name in names]
    return {key: meta[key] for key in keys if key in meta}


def keep_option(context: click.Context, option: click.Parameter, value: object) -> None:
    """Keep the value of an option for `given_option`, when click calls this back."""
    # click calls this for an option that was not given, too, so that `has_option` finds its key
    context.meta[_meta_key(str(option.name))] = value


def _meta_key(name: str) -> str:
    """Return the key under which the `meta` of click's contexts has the value of an option."""
    # with the name of this module, as other libraries share the dictionary
    return f"{__name__}.{name}"


def keep_index_name(context: click.Context, option: click.Parameter, value: str | None) -> None:
    """
    Keep the name of an index for `given_option`, when click calls this back.

    Raises BadParameter for an empty name.
    """
    keep_option(context, option, require_index_name(context, option, value))


def require_index_name(
    _context: click.Context, _option: click.Parameter, value: str | None
) -> str | None:
    """Return the name of an index, or raise BadParameter for an empty name."""
    # in a script, --index "$INDEX" with an unset variable must not mean main
    if value is not None and not value.strip():
        raise click.BadParameter("It is empty. Name an index, such as main.")
    return value


def join_index_names(
    context: click.Context, option: click.Parameter, values: tuple[str, ...]
) -> str:
    """Return the indexes of a right with commas between them, or nothing if none is named."""
    for value in values:
        require_index_name(context, option, value)
    return ",".join(values)


def kept_option(*names: str, **attributes: Any) -> Option:  # noqa: ANN401 - click's
    """Return an option that the function of a command does not receive: `given_option` has it."""
    return Option(names, expose_value=False, callback=keep_option, **attributes)


def complete_path(
    context: click.Context, option: click.Parameter, incomplete: str
) -> "list[CompletionItem]":
    """Let the shell complete paths for a value that may also be something else."""
    del context, option
    from click.shell_completion import CompletionItem  # only needed by a shell

    return [CompletionItem(incomplete, type="file")]


def store_options(default: str) -> tuple[Option, ...]:
    """Return the options of a store, `--store` and `--config`, with its default in words."""
    store = kept_option(
        "--store",
        metavar="PLACE",
        shell_complete=complete_path,
        help=f"A folder, {BUCKET_FORMS}.  [default: {default}]",
    )
    return (store, CONFIG)


def yes_option(*names: str) -> Option:
    """Return the option by which a command asks nobody, for `given_option("yes")`."""
    text = "Do not ask; needed where there is no terminal."
    return kept_option("--yes", *names, is_flag=True, help=text)


JSON: Final = kept_option("--json", is_flag=True, help="For programs.")
QUIET: Final = kept_option(
    "-q", "--quiet", is_flag=True, help="No progress and no results: only what went wrong."
)
OUTPUT: Final = (QUIET, JSON)
"""Options that `print_result`, `print_line` and `show_progress` obey."""
CONFIG: Final = kept_option(
    "--config",
    type=click.Path(path_type=Path),
    help="Settings file.  [default: $WHEELYARD_CONFIG, else ./wheelyard.toml if there]",
)
STORE: Final = store_options("$WHEELYARD_STORE, else ./wheelyard-data")
"""The options of a store and of its settings, for `command_settings`."""
INDEX: Final = (
    kept_option(
        "--server",
        metavar="URL",
        help="The root URL of a server, instead of a store; its credential is $WHEELYARD_TOKEN, "
        "or of the keyring or ~/.netrc.",
    ),
    *STORE,
)
"""The options of a server or of a store, for `open_api`."""
INDEX_NAME: Final = Option(
    ["--index"],
    expose_value=False,
    callback=keep_index_name,
    metavar="NAME",
    help="One of the indexes of the store or server.  [default: $WHEELYARD_INDEX, else main]",
)
PACKAGES: Final = (INDEX_NAME, *INDEX)
"""The options of `INDEX`, and `--index`, for commands about the packages of an index."""


RIGHT_INDEXES: Final = Option(
    ["--index"],
    callback=join_index_names,
    multiple=True,
    metavar="NAME",
    help="The indexes that it is about: dev,prod, or '*' for all; else main.",
)
