"""`wheelyard status`: set a project's status."""

from pathlib import Path

import click

from wheelyard.cli.common import existing_index, local_caller, store_options
from wheelyard.model.distribution import parse_name
from wheelyard.model.project import Status


@click.command("status")
@click.argument("project")
@click.argument("status", type=click.Choice([status.value for status in Status]))
@click.option("--reason", default="", help="Shown on the project's pages.")
@store_options
def command(project: str, status: str, reason: str, store: str | None, config: Path | None) -> None:
    """Set the STATUS of PROJECT: archived takes no uploads, quarantined serves no files."""
    index = existing_index(store, config)
    name = parse_name(project)
    index.lifecycle.set_status(local_caller(index), name, Status(status), reason)
    click.echo(f"{name}: {status}")
