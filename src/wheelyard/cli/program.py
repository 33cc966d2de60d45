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

PROGRAM_NAME: Final = "wheelyard"
URL_VARIABLE: Final = "WHEELYARD_URL"
INDEX_VARIABLE: Final = "WHEELYARD_INDEX"
STORE_VARIABLE: Final = "WHEELYARD_STORE"
LOCAL_OPTIONS: Final = ("store", "config")
"""Options that mean nothing for a server, which has its own settings."""
PLACE_OPTIONS: Final = ("server", "store", "config")
"""The options that say where an index is, in the order in which a command has them."""
UV_RUN_VARIABLE: Final = "UV_RUN_RECURSION_DEPTH"
"""A variable that `uv run` sets."""


def program_words(argv_0: str, prefix: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """
    Return the words that start this program again.

    `argv_0` is the name of the program as Python got it, and `prefix` the folder of the program's
    environment. If none of the known ways started the program, its name alone is returned.
    """
    environment_parts = Path(prefix).parts
    # asked first, as uvx and pipx put a folder in front of PATH that they delete later
    if "archive-v0" in environment_parts:
        return "uvx", PROGRAM_NAME
    if "pipx" in environment_parts and ".cache" in environment_parts:
        return "pipx", "run", PROGRAM_NAME
    if UV_RUN_VARIABLE in environment:
        return "uv", "run", PROGRAM_NAME
    program = Path(argv_0)
    if program.name == "__main__.py":
        return _name_or_path(Path(sys.executable), environment), "-m", PROGRAM_NAME
    if program.name != PROGRAM_NAME:
        return (PROGRAM_NAME,)
    return (_name_or_path(program, environment),)


def _name_or_path(program: Path, environment: Mapping[str, str]) -> str:
    """Return the name of a program if PATH leads to it, or else its path."""
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
    given_server: str | None = given_option("server")
    environment = process_environment()
    if given_server is not None or not is_about_packages():
        return given_server
    has_local_option = any(given_option(name) for name in LOCAL_OPTIONS)
    if has_local_option or environment.get(STORE_VARIABLE):
        return None
    return environment.get(URL_VARIABLE) or None


def chosen_index() -> str:
    """Return the name of `--index`, or for a command about packages the default, else main."""
    given_name: str | None = given_option("index")
    if given_name or not is_about_packages():
        return read_index_name(given_name or "")
    return default_index()


def is_about_packages() -> bool:
    """Return whether this command is about the packages of one index."""
    return has_option("index")


def default_index() -> str:
    """Return the index of a command about packages without `--index`: of a variable, or main."""
    return read_index_name(process_environment().get(INDEX_VARIABLE, ""))


def this_terminal() -> Terminal:
    """
    Return the terminal of this command line, which writes other commands for the same place.

    Outside of a command the terminal knows the program alone.
    """
    program = program_words(sys.argv[0], sys.prefix, process_environment())
    if click.get_current_context(silent=True) is None:
        return Terminal(program=program)
    place_words = list[str]()
    for name in PLACE_OPTIONS:
        value = given_option(name)
        if name == "server":
            # with the server of the variable, which not every command takes
            value = chosen_server()
        if value:
            place_words += [f"--{name}", str(value)]
    return Terminal(
        index=chosen_index(),
        default_index=default_index(),
        program=program,
        place=tuple(place_words),
        has_server=chosen_server() is not None,
        asks_nobody=_asks_nobody(),
    )


def _asks_nobody() -> bool:
    """Return whether the command that a message names has to run without asking anybody."""
    if given_option("yes"):
        return True
    # a dry run is no agreement, so the command in the message has to ask
    is_trial = bool(click.get_current_context().params.get("dry_run"))
    return not is_trial and not is_interactive()


def command_line(*words: str, is_question: bool = False) -> str:
    """
    Return a command about the same index, in quotes, for a message.

    `is_question` is true for a command that asks a person, unless it has `--yes`.
    """
    terminal = this_terminal()
    all_words = list(words)
    if is_question and terminal.asks_nobody:
        all_words.append("--yes")
    if is_about_packages() and terminal.index != terminal.default_index:
        all_words += ["--index", terminal.index]
    return f"'{terminal.line(all_words)}'"


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
