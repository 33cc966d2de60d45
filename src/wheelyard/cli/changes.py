"""`wheelyard yank`, `unyank`, `delete` and `status`: change a release or a project."""

from collections.abc import Callable
from typing import Final

import click
from packaging.utils import NormalizedName

from wheelyard.cli.help_text import examples
from wheelyard.cli.options import existing_index, local_caller, store_options
from wheelyard.model.access import Caller
from wheelyard.model.distribution_filename import parse_name, parse_version
from wheelyard.model.project import Project, Status
from wheelyard.operations.lifecycle import Lifecycle, Selection

Change = Callable[[Lifecycle, Caller, NormalizedName, Selection, str], Project]

PAGE: Final = "projects.md"


def _command(change: Change, what: str, done: str, *lines: str) -> click.Command:
    @examples(PAGE, *lines)
    @click.command(help=what)
    @click.argument("project")
    @click.argument("version")
    @click.option("--file", "filename", metavar="NAME", help="Only this file of the release.")
    @click.option("--reason", default="", help="Why; it is kept in the journal.")
    @store_options
    def command(project: str, version: str, filename: str | None, reason: str) -> None:
        index = existing_index()
        name, parsed = parse_name(project), parse_version(version)
        caller, selection = local_caller(index), Selection(parsed, filename)
        change(index.lifecycle, caller, name, selection, reason)
        click.echo(f"{name} {parsed}: {done}")

    return command


yank = _command(
    Lifecycle.yank,
    "Mark VERSION of PROJECT, or one file of it, as not to be chosen any more.",
    "yanked",
    "wheelyard yank acme-core 1.0 --reason 'loses data on 3.14'",
    "wheelyard yank acme-core 1.0 --file acme_core-1.0-py3-none-any.whl",
)
unyank = _command(
    Lifecycle.unyank,
    "Take the mark of `yank` back.",
    "no longer yanked",
    "wheelyard unyank acme-core 1.0",
    "wheelyard unyank acme-core 1.0 --file acme_core-1.0-py3-none-any.whl",
)
delete = _command(
    Lifecycle.delete,
    "Remove VERSION of PROJECT, or one file of it, for good: no filename ever comes back.",
    "deleted",
    "wheelyard delete acme-core 1.0 --reason 'contains a secret'",
    "wheelyard delete acme-core 1.0 --file acme_core-1.0-py3-none-any.whl",
)


@examples(
    PAGE,
    "wheelyard status acme-core archived",
    "wheelyard status acme-core deprecated --reason 'use acme-kernel'",
)
@click.command("status")
@click.argument("project")
@click.argument("status", type=click.Choice([status.value for status in Status]))
@click.option("--reason", default="", help="Shown on the project's pages.")
@store_options
def status(project: str, status: str, reason: str) -> None:
    """Set the STATUS of PROJECT: archived takes no uploads, quarantined serves no files."""
    index = existing_index()
    name = parse_name(project)
    index.lifecycle.set_status(local_caller(index), name, Status(status), reason)
    click.echo(f"{name}: {status}")
