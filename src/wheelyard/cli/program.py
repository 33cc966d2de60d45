"""How this command was started, so that a command which a message names can be pasted."""

import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import click

from wheelyard.cli.output import warn
from wheelyard.cli.shared_options import given_option, has_option
from wheelyard.cli.standard_streams import is_interactive
from wheelyard.errors import WheelyardError
from wheelyard.model.index_name import read_index_name
from wheelyard.model.public_packages import FileReason
from wheelyard.remedies import Caution
from wheelyard.rendering.advice import Terminal
from wheelyard.settings.load import process_environment

NAME: Final = "wheelyard"
URL_VARIABLE: Final = "WHEELYARD_URL"
INDEX_VARIABLE: Final = "WHEELYARD_INDEX"
STORE_VARIABLE: Final = "WHEELYARD_STORE"
LOCAL_OPTIONS: Final = ("store", "config")
"""Options that mean nothing for a server, which has its own settings."""
PLACE_OPTIONS: Final = ("server", "store", "config")
"""The options that say where an index is, in the order in which a command has them."""
UV_RUN: Final = "UV_RUN_RECURSION_DEPTH"
"""A variable that `uv run` sets."""


def program_words(argv_0: str, prefix: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """
    Return the words that start this program again.

    `argv_0` is its name as Python got it, and `prefix` the folder of its environment. Only the name
    of the program is returned if it was started in a way that is not known.
    """
    folders = Path(prefix).parts
    # uvx and pipx put a folder that they delete in front of PATH, so these come first
    if "archive-v0" in folders:
        return "uvx", NAME
    if "pipx" in folders and ".cache" in folders:
        return "pipx", "run", NAME
    if UV_RUN in environment:
        return "uv", "run", NAME
    program = Path(argv_0)
    if program.name == "__main__.py":
        return _as_typed(Path(sys.executable), environment), "-m", NAME
    if program.name != NAME:
        return (NAME,)
    return (_as_typed(program, environment),)


def _as_typed(program: Path, environment: Mapping[str, str]) -> str:
    """Return the name of a program that PATH has, or else its path."""
    on_path = shutil.which(program.name, path=environment.get("PATH", ""))
    # PATH may have another program of this name
    if on_path is not None and Path(on_path).absolute() == program.absolute():
        return program.name
    return str(program)


def chosen_server() -> str | None:
    """
    Return the URL of `--server`, or None for a store.

    A command about packages takes `$WHEELYARD_URL` unless an option or `$WHEELYARD_STORE` names a
    store.
    """
    server: str | None = given_option("server")
    environment = process_environment()
    names_store = any(map(given_option, LOCAL_OPTIONS)) or environment.get(STORE_VARIABLE)
    if server is not None or names_store or not is_about_packages():
        return server
    return environment.get(URL_VARIABLE) or None


def chosen_index() -> str:
    """Return the name of `--index`, or about packages of `$WHEELYARD_INDEX`, else main."""
    named: str | None = given_option("index")
    if named or not is_about_packages():
        return read_index_name(named or "")
    return default_index()


def is_about_packages() -> bool:
    """Return whether this command is about the packages of one index."""
    return has_option("index")


def default_index() -> str:
    """Return the index of a command about packages that names none: `$WHEELYARD_INDEX`, or main."""
    return read_index_name(process_environment().get(INDEX_VARIABLE, ""))


def this_terminal() -> Terminal:
    """
    Return how this command line would name another command, with its options of a place.

    Outside of a command it knows the program alone.
    """
    program = program_words(sys.argv[0], sys.prefix, process_environment())
    if click.get_current_context(silent=True) is None:
        return Terminal(program=program)
    place = list[str]()
    for name in PLACE_OPTIONS:
        value = given_option(name)
        if name == "server":
            # said, as not every command takes the server of the variable
            value = chosen_server()
        if value:
            place += [f"--{name}", str(value)]
    return Terminal(
        index=chosen_index(),
        default_index=default_index(),
        program=program,
        place=tuple(place),
        has_server=chosen_server() is not None,
        asks_nobody=_asks_nobody(),
    )


def _asks_nobody() -> bool:
    """Return whether the command that a message names has to run without asking anybody."""
    if given_option("yes"):
        return True
    # who tries something has not agreed to it, so the command of the message is to ask
    is_trial = bool(click.get_current_context().params.get("dry_run"))
    return not is_trial and not is_interactive()


def command_line(*words: str, is_question: bool = False) -> str:
    """
    Return a command about the same index, in quotes, for a message.

    `is_question`: it asks a person, unless it is told not to.
    """
    terminal = this_terminal()
    line = list(words)
    if is_question and terminal.asks_nobody:
        line.append("--yes")
    if is_about_packages() and terminal.index != terminal.default_index:
        line += ["--index", terminal.index]
    return f"'{terminal.line(line)}'"


def caution_text(caution: Caution) -> str:
    """Return a warning with the command that helps."""
    return this_terminal().message(caution.message, caution.advice)


def warn_of(cautions: Iterable[Caution]) -> None:
    """Print or log warnings for the operator, each with the command that helps."""
    for caution in cautions:
        warn(caution_text(caution))


def error_text(error: WheelyardError) -> str:
    """Return the message of an error with the command that helps."""
    return this_terminal().message(error.message, error.advice)


def reason_text(reason: FileReason) -> str:
    """Return why a file is not shown, with the command that helps."""
    return this_terminal().message(reason.text, reason.advice)
