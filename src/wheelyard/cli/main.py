"""
The `wheelyard` command: subcommands, error messages, exit statuses and Ctrl-C.

Exit status: 0 success, 1 failure, 2 wrong usage, 130 Ctrl-C.
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
"""The exit status after Ctrl-C, as in shells."""

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
"""The subcommands and their descriptions; a module is imported only when its command runs."""
COMMAND_LOCATIONS: Final = {
    "import": ("import_", "command"),
    **{name: ("changes", name) for name in ("yank", "unyank", "delete", "status")},
}
"""Module and name of each command that is not `command` in the module of its own name."""


class Commands(click.Group):
    """Click group that imports subcommands on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all subcommands, in the order of `--help`."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the subcommand `cmd_name`; None if there is none."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMAND_LOCATIONS.get(cmd_name, (cmd_name, "command"))
        command = getattr(import_module(f"wheelyard.cli.{module}"), name)
        assert isinstance(command, click.Command)  # noqa: S101 - each module has one
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the subcommands and their descriptions for `--help`, without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="wheelyard", message="%(prog)s %(version)s")
def cli() -> None:
    """Run a private Python package index that lives in your own bucket or folder."""


def main() -> None:
    """Run the command line of this process, and exit."""
    take_over_output()
    # errors are printed by `_run`; only `serve` and `run` have a log
    logging.getLogger("wheelyard").addHandler(logging.NullHandler())
    sys.exit(_run())


def _run() -> int:
    """Run the command line, print the error if it fails, and return the exit status."""
    try:
        status = cli.main(prog_name="wheelyard", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except WheelyardError as fault:
        return _print_error(fault.message)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _print_error("interrupted", INTERRUPTED_STATUS)
    except OSError as error:
        what = "The output" if error.filename is None else escaped(str(error.filename))
        return _print_error(f"{what} cannot be used: {error.strerror or error}.")
    return status if isinstance(status, int) else 0


def _print_error(why: str, status: int = 1) -> int:
    click.echo(f"wheelyard: {why}", err=True)
    return status
