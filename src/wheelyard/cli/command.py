"""Commands and groups of them, with examples and a page of the documentation in their help."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import click

from wheelyard.errors import DOCUMENTATION

Parameters: TypeAlias = click.Parameter | Sequence[click.Parameter]
"""An argument or an option of a command, or several that go together, such as those of a store."""


class CliCommand(click.Command):
    """
    Command whose help shows examples, and a page of the documentation, below the options.

    The docstring of the command's function is the text of the help.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - click's
        examples: Sequence[str] = (),
        page: str,
        **attributes: Any,  # noqa: ANN401 - click's
    ) -> None:
        # click would fill the lines of a paragraph, unless it begins with \b
        paragraphs = []
        if examples:
            lines = "".join(f"\n  {example}" for example in examples)
            paragraphs.append(f"\b\nExamples:{lines}")
        paragraphs.append(f"\b\nDocumentation:\n{DOCUMENTATION}/{page}")
        attributes["epilog"] = "\n\n".join(paragraphs)
        # for each command itself: click keeps the option as the first use of the command has it
        attributes["context_settings"] = {"help_option_names": ["-h", "--help"]}
        super().__init__(*args, **attributes)


class CliGroup(CliCommand, click.Group):
    """Group of commands that are a `CliCommand` each."""

    command_class: type[click.Command] | None = CliCommand

    def subcommand(
        self, name: str, *parameters: Parameters, examples: Sequence[str] = (), page: str
    ) -> Callable[[Callable[..., object]], click.Command]:
        """Return a decorator that adds a command of this name."""
        return self.command(name, params=_flatten(parameters), examples=examples, page=page)


def cli_command(
    name: str, *parameters: Parameters, examples: Sequence[str] = (), page: str
) -> Callable[[Callable[..., object]], CliCommand]:
    """Return a decorator that makes a command of this name."""
    return click.command(
        name, cls=CliCommand, params=_flatten(parameters), examples=examples, page=page
    )


def _flatten(parameters: Sequence[Parameters]) -> list[click.Parameter]:
    """Return the parameters of a command one by one, in the order in which its help has them."""
    flat = list[click.Parameter]()
    for parameter in parameters:
        if isinstance(parameter, click.Parameter):
            flat.append(parameter)
        else:
            flat.extend(parameter)
    return flat
