"""
The `wheelyard` command: subcommands, error messages, exit statuses and Ctrl-C.

Exit status: 0 success, 1 failure, 2 wrong usage, 3 what `upstream approve -r` has left blocked,
130 Ctrl-C.
"""

import gc
import logging
import os
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Final

import click

from wheelyard.cli.command import CliGroup
from wheelyard.cli.standard_streams import take_over_output
from wheelyard.errors import WheelyardError
from wheelyard.model.decoding import escaped

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

INTERRUPTED_STATUS: Final = 130
"""The exit status after Ctrl-C, as in shells."""

COMMAND_GROUPS: Final = {
    "Serve": {
        "serve": "run the index",
        "run": "the same, with the command line and folders of pypiserver",
    },
    "Publish and import": {
        "upload": "publish files straight into a store, no server needed",
        "import": "take over what another index, a folder or a bucket has",
        "print-settings": "print what uv, pip, Poetry and others need in their files",
    },
    "Manage": {
        "list": "list the projects, or the files of one",
        "why": "say what clients get of a project, and why not the rest",
        "verify": "say who has signed a file, and whether that holds",
        "downloads": "print how often a project was downloaded",
        "journal": "print who did what, when, and with which credential",
        "usage": "print how much each project stores",
        "yank": "mark a release, or one file, as not to be chosen any more",
        "unyank": "take that mark back",
        "pin": "keep a release from rules of retention",
        "unpin": "take that back",
        "promote": "list a release in another index, such as prod, too",
        "delete": "remove a release, or one file",
        "restore": "bring a deleted release, or one file, back",
        "status": "set a project's status",
        "names": "list, reserve and release private names",
    },
    "Public packages": {"upstream": "approve and block packages of other indexes"},
    "Access": {
        "token": "create, list, rotate and revoke API tokens",
        "access": "grant and revoke rights, and explain who may do what",
        "people": "list people, and show what one may do",
        "publisher": "list, add, change and remove trusted publishers of CI jobs",
        "namespace": "say who alone may publish new projects of names such as acme-*",
        "webhook": "tell URLs what happens, and show what came of it",
        "password": "make a line of an htpasswd file",
        "login": "get a token of your own, and store it for pip, uv and others",
        "logout": "revoke that token, and remove it",
    },
    "Store and checks": {
        "check": "verify every byte and link, and mend what can be mended",
        "retention": "delete old releases by the rules of retention",
        "index": "list, add, change and remove indexes such as dev and prod",
        "apply": "put into the store what a file says of the index",
        "show": "print what describes the index, as such a file",
        "copy": "copy a store to another place, to back it up or to move it",
        "export": "write a static site that needs no server",
        "config": "check the settings, and say what is in force",
        "health": "say how a server is, and what asks for a look",
        "doctor": "say why an install does not work here",
    },
}
"""The subcommands and their descriptions, as `--help` groups them."""
COMMANDS: Final = {name: text for group in COMMAND_GROUPS.values() for name, text in group.items()}
"""The subcommands and their descriptions, in the order of `--help`."""
COMMAND_MODULES: Final = {
    "access": "access_commands",
    "apply": "apply_commands",
    "check": "store_commands",
    "config": "settings_commands",
    "copy": "store_commands",
    "delete": "release_commands",
    "doctor": "client_commands",
    "downloads": "project_commands",
    "export": "store_commands",
    "health": "settings_commands",
    "import": "import_command",
    "index": "index_commands",
    "journal": "journal_command",
    "list": "project_commands",
    "login": "login_commands",
    "logout": "login_commands",
    "names": "project_commands",
    "namespace": "namespace_commands",
    "password": "password_commands",
    "people": "people_commands",
    "pin": "release_commands",
    "print-settings": "client_commands",
    "promote": "promotion_commands",
    "publisher": "publisher_commands",
    "restore": "release_commands",
    "retention": "retention_commands",
    "run": "serve",
    "serve": "serve",
    "show": "apply_commands",
    "status": "project_commands",
    "token": "token_commands",
    "unpin": "release_commands",
    "unyank": "release_commands",
    "upload": "upload_command",
    "upstream": "upstream_commands",
    "usage": "store_commands",
    "verify": "verify_command",
    "webhook": "webhook_commands",
    "why": "why_command",
    "yank": "release_commands",
}
"""
The module of each subcommand, which is imported only when the command runs.

The function of `print-settings` is `print_settings_command`.
"""
REMOVED_OPTIONS: Final = {
    "--set": "Write the setting into wheelyard.toml, or set its variable, such as "
    "WHEELYARD_SERVER_READ_ONLY=true."
}
"""Options that earlier versions had, and what to do instead."""


class Commands(CliGroup):
    """Click group that imports subcommands on demand."""

    def invoke(self, ctx: click.Context) -> object:
        """
        Run a subcommand, and return the value that its function returns.

        After a WheelyardError, which is printed, the value is the exit status 1. Other errors are
        raised.
        """
        try:
            return super().invoke(ctx)
        except WheelyardError as fault:
            # imported only for an error
            from wheelyard.cli.program import error_text

            # here and not in `_run`, where the context is gone: the advice repeats options of it
            return _print_error(error_text(fault))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all subcommands, in the order of `--help`."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the subcommand `cmd_name`, whose module is imported, or None if there is none."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = _import_without_collections(f"wheelyard.cli.{COMMAND_MODULES[cmd_name]}")
        command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        assert isinstance(command, click.Command)  # noqa: S101 - each module has one
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the subcommands and their descriptions for `--help`, without importing them."""
        del ctx
        # of the same width in all sections, as click aligns the columns of each section alone
        width = max(len(name) for name in COMMANDS)
        for title, group in COMMAND_GROUPS.items():
            rows = [(name.ljust(width), description) for name, description in group.items()]
            with formatter.section(title):
                formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Return the subcommands that begin with `incomplete`, without importing them."""
        from click.shell_completion import CompletionItem  # only needed by a shell

        completions = []
        for name, description in COMMANDS.items():
            if name.startswith(incomplete):
                completions.append(CompletionItem(name, help=description))
        # the method of a command, as that of a group would import each subcommand
        return completions + click.Command.shell_complete(self, ctx, incomplete)


def _import_without_collections(module: str) -> ModuleType:
    """
    Import a module, and keep what was imported out of all garbage collections.

    Collections during the import would take a twentieth of a server's start. Later ones would look
    through objects that stay until the end, and hold up requests.
    """
    gc.disable()
    try:
        return import_module(module)
    finally:
        # moves all objects to where no later collection looks
        gc.freeze()
        gc.enable()


@click.group(cls=Commands, page="commands.md")
@click.version_option(package_name="wheelyard", message="%(prog)s %(version)s")
def cli() -> None:
    """Run a private Python package index that lives in your own bucket or folder."""


def main() -> None:
    """Run the command line of this process, and exit."""
    # before anything is printed
    take_over_output()
    # commands print their errors: only `serve` and `run` have a log
    logging.getLogger("wheelyard").addHandler(logging.NullHandler())
    if logging.lastResort is not None:  # prints the warnings of libraries where there is no log
        logging.lastResort.setFormatter(logging.Formatter("wheelyard: warning: %(message)s"))
    status = _run()
    if status == INTERRUPTED_STATUS:
        # Python would wait for threads that wait for a store, which survives an exit at any time
        os._exit(status)
    sys.exit(status)


def _run() -> int:
    """Run the command line, print the error if it fails, and return the exit status."""
    try:
        status = cli.main(prog_name="wheelyard", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.ClickException as error:
        if isinstance(error, click.NoSuchOption) and error.option_name in REMOVED_OPTIONS:
            return _print_error(
                f"{error.option_name} was removed. {REMOVED_OPTIONS[error.option_name]}",
                error.exit_code,
            )
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _print_error("interrupted", INTERRUPTED_STATUS)
    except OSError as error:
        if error.filename is not None:
            subject = escaped(str(error.filename))
        elif isinstance(error, FileNotFoundError):
            # `os.getcwd` raises it for a folder that was deleted
            subject = "The working folder"
        else:
            # a full disk, or a pipe that was closed for another reason
            subject = "The output"
        return _print_error(f"{subject} cannot be used: {error.strerror or error}.")

    # a command that returns nothing has succeeded
    if isinstance(status, int):
        return status
    return 0


def _print_error(reason: str, status: int = 1) -> int:
    click.echo(f"wheelyard: {reason}", err=True)
    return status
