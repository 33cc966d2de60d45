"""What the commands share: the options that find a store, and who is sitting at the keyboard."""

import sys
from collections.abc import Callable, Mapping
from getpass import getuser
from pathlib import Path
from typing import Any, TypeVar

import click

from wheelyard.errors import Invalid
from wheelyard.index import Index, open_index
from wheelyard.model.access import EVERY_PROJECT, Action, Caller, Scope
from wheelyard.settings import Settings, process_environment, read_settings, unknown_variables

F = TypeVar("F", bound=Callable[..., object])


def store_options(command: F) -> F:
    """Add `--store` and `--config` to a command."""
    with_config = click.option(
        "--config",
        type=click.Path(path_type=Path),
        help="Settings file.  [default: $WHEELYARD_CONFIG, else ./wheelyard.toml if there]",
    )
    with_store = click.option(
        "--store",
        metavar="FOLDER",
        help="Where everything is kept.  [default: $WHEELYARD_STORE, else ./wheelyard-data]",
    )
    return with_store(with_config(command))


def settings_from(
    store: str | None,
    config: Path | None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> Settings:
    """
    Return the settings in force for this command line.

    Raises:
        Invalid: Something in the file, the environment or the options makes no sense.
    """
    environ = process_environment()
    for name in unknown_variables(environ):
        click.echo(f"wheelyard: warning: {name} is no setting and is ignored", err=True)
    given = {"store": {"location": store}, **(overrides or {})}
    return read_settings(file=config, overrides=given, environ=environ)


def existing_index(store: str | None, config: Path | None) -> Index:
    """
    Return the index of a store that is there already.

    Raises:
        Invalid: There is no store at that place.
    """
    settings = settings_from(store, config)
    location = settings.store.location
    if "://" not in location and not Path(location).is_dir():
        raise Invalid(
            f"There is no store at {location}. Name one with --store, or make one with "
            "'wheelyard serve' or 'wheelyard upload'.",
            code="bad_setting",
        )
    return open_index(settings)


def local_caller() -> Caller:
    """Return whoever runs this command: with the store in hand, they may do everything."""
    everything = Scope(Action.ADMIN.with_implied, (EVERY_PROJECT,))
    return Caller(f"local:{_login_name()}", (everything,))


def _login_name() -> str:
    try:
        return getuser()
    except (KeyError, OSError):
        return "unknown"  # a container may run as a user that nobody has named


def is_terminal() -> bool:
    """Return whether a person may be watching standard error."""
    return sys.stderr.isatty()
