"""`wheelyard unyank`: take the mark back."""

from pathlib import Path

import click

from wheelyard.cli.common import existing_index, local_caller, store_options
from wheelyard.model.distribution import parse_name, parse_version
from wheelyard.operations.lifecycle import Selection


@click.command("unyank")
@click.argument("project")
@click.argument("version")
@click.option("--file", "filename", metavar="NAME", help="Only this file of the release.")
@store_options
def command(
    project: str,
    version: str,
    filename: str | None,
    store: str | None,
    config: Path | None,
) -> None:
    """Take the mark of `yank` back."""
    index = existing_index(store, config)
    name, selection = parse_name(project), Selection(parse_version(version), filename)
    index.lifecycle.unyank(local_caller(), name, selection)
    click.echo(f"{name} {version}: no longer yanked")
