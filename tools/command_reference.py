"""
The commands of docs/commands.md, made from their help texts: `nox -s commands` writes them.

Each part has the text of `--help`, and a link to the page that it names.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from wheelyard.cli.main import cli
from wheelyard.errors import DOCUMENTATION

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "commands.md"
BEGIN: Final = (
    "<!-- commands: made by `nox -s commands` from the help texts in src/wheelyard/cli -->"
)
PAGE_LINE: Final = re.compile(r"\n *Documentation:\n *" + re.escape(DOCUMENTATION) + r"/(\S+)\n*\Z")
"""The last line of a help text, which becomes a link."""
WIDTH: Final = 80


def commands() -> Iterator[click.Context]:
    """Yield the context of each command and subcommand, in the order of `--help`."""
    yield from _below(click.Context(cli, info_name="wheelyard", **cli.context_settings))


def help_text(context: click.Context) -> str:
    """Return what `--help` prints in a terminal of 80 columns."""
    context.terminal_width = WIDTH
    return context.get_help()


def reference() -> str:
    """Return the part of the page that is made from the help texts."""
    return "\n".join(_section(context) for context in commands())


def with_reference(page: str) -> str:
    """Return a page whose text after the mark is the reference of today."""
    return f"{page.partition(BEGIN)[0]}{BEGIN}\n\n{reference()}"


def _below(context: click.Context) -> Iterator[click.Context]:
    yield context
    command = context.command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            if found := command.get_command(context, name):
                yield from _below(click.Context(found, parent=context, info_name=name))


def _section(context: click.Context) -> str:
    text = help_text(context)
    page = PAGE_LINE.search(text)
    link = "" if page is None else f"More: [{page[1]}]({page[1]})\n"
    return f"## {context.command_path}\n\n```text\n{PAGE_LINE.sub('', text)}\n```\n\n{link}"


def main() -> None:
    """Write the reference into docs/commands.md."""
    PAGE.write_text(with_reference(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
