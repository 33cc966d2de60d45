"""`wheelyard unyank`: take the mark back."""

from typing import Any

import click

from wheelyard.cli.common import ReleaseArguments, release_arguments


@click.command("unyank")
@release_arguments
def command(**arguments: Any) -> None:  # noqa: ANN401 - click's; typed in the next line
    """Take the mark of `yank` back."""
    ReleaseArguments(**arguments).change(lambda lifecycle: lifecycle.unyank, "no longer yanked")
