"""`wheelyard yank`: mark a release as not to be chosen any more."""

from typing import Any

import click

from wheelyard.cli.common import ReleaseArguments, release_arguments


@click.command("yank")
@release_arguments
def command(**arguments: Any) -> None:  # noqa: ANN401 - click's; typed in the next line
    """Mark VERSION of PROJECT, or one file of it, as not to be chosen any more."""
    ReleaseArguments(**arguments).change(lambda lifecycle: lifecycle.yank, "yanked")
