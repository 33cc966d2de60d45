"""`wheelyard delete`: remove a release for good."""

from pathlib import Path

import click

from wheelyard.cli.common import existing_index, local_caller, store_options
from wheelyard.model.distribution import parse_name, parse_version
from wheelyard.operations.lifecycle import Selection


@click.command("delete")
@click.argument("project")
@click.argument("version")
@click.option("--file", "filename", metavar="NAME", help="Only this file of the release.")
@click.option("--reason", default="", help="Shown to whoever asks for it.")
@store_options
def command(
    project: str,
    version: str,
    filename: str | None,
    reason: str,
    store: str | None,
    config: Path | None,
) -> None:
    """Remove VERSION of PROJECT, or one file of it, for good: no filename ever comes back."""
    index = existing_index(store, config)
    name, selection = parse_name(project), Selection(parse_version(version), filename)
    index.lifecycle.delete(local_caller(), name, selection, reason)
    click.echo(f"{name} {version}: deleted")
