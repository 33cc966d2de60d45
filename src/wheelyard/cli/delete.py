"""`wheelyard delete`: remove a release for good."""

from typing import Any

import click

from wheelyard.cli.common import ReleaseArguments, release_arguments


@click.command("delete")
@release_arguments
def command(**arguments: Any) -> None:  # noqa: ANN401 - click's; typed in the next line
    """Remove VERSION of PROJECT, or one file of it, for good: no filename ever comes back."""
    ReleaseArguments(**arguments).change(lambda lifecycle: lifecycle.delete, "deleted")
