"""
The `wheelyard` command: finds the subcommand, runs it, and turns a fault into one line.

Exit status: 0 done, 1 refused or failed, 2 wrong usage.
"""

import logging
import sys
from importlib import import_module
from typing import Final

import click

from wheelyard.cli.output import take_over_output
from wheelyard.errors import WheelyardError
from wheelyard.model.text import escaped

INTERRUPTED_STATUS: Final = 130
"""What a shell says of a program that was ended by Ctrl-C."""

COMMANDS: Final = {
    "serve": "run the index",
    "run": "the same with pypiserver's command line, and its folders of packages",
    "upload": "publish files straight into a store, no server needed",
    "import": "take over what another index, a folder or a bucket has",
    "list": "list the projects, or the files of one",
    "yank": "mark a release, or one file, as not to be chosen any more",
    "unyank": "take that mark back",
    "delete": "remove a release, or one file, for good",
    "status": "set a project's status",
    "export": "write a static site that needs no server",
    "token": "create, list and revoke API tokens",
    "access": "explain who may do what, and why",
    "config": "check the settings, and say what is in force",
    "check": "verify every byte and link, and mend what can be mended",
}
"""What each does; its module is imported only when it runs."""
COMMAND_LOCATIONS: Final = {
    "import": ("import_", "command"),
    **{name: ("changes", name) for name in ("yank", "unyank", "delete", "status")},
}
"""Where a command is that is not the `command` of the module of its own name."""


class Commands(click.Group):
    """The subcommands, found by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands' names."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMAND_LOCATIONS.get(cmd_name, (cmd_name, "command"))
        command = getattr(import_module(f"wheelyard.cli.{module}"), name)
        assert isinstance(command, click.Command)  # noqa: S101 - what each of our modules has
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="wheelyard", message="%(prog)s %(version)s")
def cli() -> None:
    """Run a private Python package index that lives in your own bucket or folder."""


def main() -> None:
    """Run the command line of this process."""
    take_over_output()
    # what goes wrong is said once, as the command's own line; `serve` sends its log elsewhere
    logging.getLogger("wheelyard").addHandler(logging.NullHandler())
    sys.exit(_status())


def _status() -> int:
    """Run the command, and return the status that this process ends with."""
    try:
        status = cli.main(prog_name="wheelyard", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except WheelyardError as fault:
        return _failed(fault.message)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _failed("interrupted", INTERRUPTED_STATUS)
    except OSError as error:
        what = "The output" if error.filename is None else escaped(str(error.filename))
        return _failed(f"{what} cannot be used: {error.strerror or error}.")
    return status if isinstance(status, int) else 0


def _failed(why: str, status: int = 1) -> int:
    click.echo(f"wheelyard: {why}", err=True)
    return status
