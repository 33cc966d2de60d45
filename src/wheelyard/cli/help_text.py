"""What each command's `--help` has beside its options: examples and a page; paths to complete."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

C = TypeVar("C", bound=click.Command)


def examples(page: str, *lines: str) -> Callable[[C], C]:
    """
    Add `lines` that a user may type, and a `page` below `docs/`, to the help of a command.

    A group has no lines: its commands have them.
    """
    # click keeps the lines of a paragraph that begins with \b
    shown = "\n  ".join(("\b\nExamples:", *lines)) + "\n\n" if lines else ""

    def add(command: C) -> C:
        command.epilog = f"{shown}Documentation: docs/{page}"
        return command

    return add


def complete_path(
    context: click.Context, option: click.Parameter, incomplete: str
) -> "list[CompletionItem]":
    """Let the shell complete a value that may be a path, and may be something else."""
    del context, option
    from click.shell_completion import CompletionItem  # only needed by a shell

    return [CompletionItem(incomplete, type="file")]
