"""Commands whose docstring is their whole help, and the options that most of them have."""

import re
from collections.abc import Callable
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, Final

import click
from click import Option

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_EPILOG: Final = re.compile(r"\n\n(?=Examples:\n|Documentation: )")
_OPTION: Final = re.compile(r"^    (--[a-z0-9-]+): (.+(?:\n {8}.+)*)", re.MULTILINE)


class CliCommand(click.Command):
    """
    Command whose docstring is its help.

    After the text, it may have `Options:`, a line for each; then come `Examples:`, unless it is a
    group, and `Documentation: PAGE`. `--help` shows these two below the options.
    """

    def __init__(self, *args: Any, help: str, **attributes: Any) -> None:  # noqa: A002, ANN401 - click's
        before, epilog = _EPILOG.split(cleandoc(help), 1)
        text, _, options = before.partition("\n\nOptions:\n")
        # click keeps the lines of a paragraph that begins with \b
        epilog = epilog.replace("Examples:\n", "\b\nExamples:\n").replace("\n    ", "\n  ")
        super().__init__(*args, **attributes | {"help": text, "epilog": epilog})
        by_name = {name: option for option in self.params for name in option.opts}
        for name, what in _OPTION.findall(options):
            option = by_name[name]
            assert isinstance(option, Option)  # noqa: S101 - the name of an argument has no dashes
            option.help = what.replace("\n        ", " ")


class CliGroup(CliCommand, click.Group):
    """Group of such commands."""

    command_class: type[click.Command] | None = CliCommand

    def subcommand(
        self, name: str, *params: click.Parameter
    ) -> Callable[[Callable[..., object]], click.Command]:
        """Return a decorator that adds a command of this name."""
        return self.command(name, params=[*params])


def cli_command(
    name: str, *params: click.Parameter
) -> Callable[[Callable[..., object]], CliCommand]:
    """Return a decorator that makes a command of this name."""
    return click.command(name, cls=CliCommand, params=[*params])


def given_option(name: str) -> Any:  # noqa: ANN401 - of any type
    """Return the value that `keep_option` has kept, or None."""
    return click.get_current_context().meta.get(f"{__name__}.{name}")


def keep_option(context: click.Context, option: click.Parameter, value: object) -> None:
    """Keep the value of an option for `given_option`; a callback of click."""
    context.meta[f"{__name__}.{option.name}"] = value


def kept_option(*names: str, **attributes: Any) -> Option:  # noqa: ANN401 - click's
    """Return an option that the function of a command does not receive: `given_option` has it."""
    return Option(names, expose_value=False, callback=keep_option, **attributes)


def complete_path(
    context: click.Context, option: click.Parameter, incomplete: str
) -> "list[CompletionItem]":
    """Let the shell complete a value that may be a path, and may be something else."""
    del context, option
    from click.shell_completion import CompletionItem  # only needed by a shell

    return [CompletionItem(incomplete, type="file")]


JSON: Final = kept_option("--json", is_flag=True, help="For programs.")
QUIET: Final = kept_option(
    "-q", "--quiet", is_flag=True, help="No progress and no results: only what went wrong."
)
OUTPUT: Final = (QUIET, JSON)
"""What `print_result`, `print_line` and `progress_bar` obey."""
REASON: Final = Option(["--reason"], default="", help="Why; it is kept in the journal.")
YES_HELP: Final = "Do not ask; needed where there is no terminal."
