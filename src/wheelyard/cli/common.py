"""What the commands share: the options that find a store, and who is sitting at the keyboard."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from packaging.utils import NormalizedName

from wheelyard.cli.warnings import note, warn, warn_of_writers
from wheelyard.index import Index, open_index
from wheelyard.model.access import EVERY_PROJECT, Action, Caller, Scope
from wheelyard.model.distribution import parse_name, parse_version
from wheelyard.model.project import Project
from wheelyard.model.text import escaped
from wheelyard.operations.lifecycle import Lifecycle, Selection
from wheelyard.settings.reading import (
    WHOLE,
    Reading,
    ignored,
    process_environment,
    read_settings,
)
from wheelyard.settings.sections import MEMORY, Settings

LOGIN_LIMIT: Final = 100
"""Characters of a login name in a journal."""
FLAGS: Final = f"{__name__}.flags"
"""Where click keeps what `--set` says: the settings are read by all commands in one way."""

F = TypeVar("F", bound=Callable[..., object])
ReleaseVerb = Callable[[Caller, NormalizedName, Selection, str], Project]


def store_options(command: F) -> F:
    """Add `--store`, `--config` and `--set` to a command."""
    return store_options_with("$WHEELYARD_STORE, else ./wheelyard-data")(command)


def store_options_with(default: str) -> Callable[[F], F]:
    """Return what adds them to a command whose store is elsewhere unless somebody says where."""
    with_config = click.option(
        "--config",
        type=click.Path(path_type=Path),
        help="Settings file.  [default: $WHEELYARD_CONFIG, else ./wheelyard.toml if there]",
    )
    with_store = click.option(
        "--store",
        metavar="PLACE",
        help=f"A folder, or gs://BUCKET/PREFIX.  [default: {default}]",
    )
    with_flags = click.option(
        "--set",
        "flags",
        multiple=True,
        metavar="SECTION.KEY=VALUE",
        expose_value=False,
        callback=_keep_flags,
        help="Any setting, as store.freshness=5; may be given again.",
    )
    return lambda command: with_store(with_config(with_flags(command)))


def _keep_flags(context: click.Context, _: click.Parameter, flags: tuple[str, ...]) -> None:
    context.meta[FLAGS] = flags


def release_arguments(command: F) -> F:
    """Add PROJECT, VERSION, `--file` and `--reason` to a command, and what finds a store."""
    decorate = (
        click.argument("project"),
        click.argument("version"),
        click.option("--file", "filename", metavar="NAME", help="Only this file of the release."),
        click.option("--reason", default="", help="Why; it is kept in the journal."),
        store_options,
    )
    for each in reversed(decorate):
        command = each(command)
    return command


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseArguments:
    """What `release_arguments` adds to a command, as typed."""

    project: str
    version: str
    filename: str | None
    reason: str
    store: str | None
    config: Path | None

    def change(self, verb: Callable[[Lifecycle], ReleaseVerb], done: str) -> None:
        """Do to the release what `verb` picks, and say so."""
        index = existing_index(self.store, self.config)
        name, version = parse_name(self.project), parse_version(self.version)
        selection = Selection(version, self.filename)
        verb(index.lifecycle)(local_caller(index), name, selection, self.reason)
        click.echo(f"{name} {version}: {done}")


def settings_from(
    store: str | None,
    config: Path | None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
) -> Settings:
    """
    Return the settings in force for this command line.

    Args:
        store: What `--store` says.
        config: What `--config` says.
        overrides: What other options say, by section and key; None stands for "not given".
        defaults: What this command has other than the usual defaults.

    Raises:
        Invalid: Something in the file, the environment or the options makes no sense.
    """
    for sentence in ignored(process_environment()):
        warn(sentence)
    reading = reading_from(store, config, overrides, defaults)
    if reading.home not in ("", WHOLE):
        warn_of_writers(Path(reading.home))
    return reading.settings


def reading_from(
    store: str | None,
    config: Path | None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
) -> Reading:
    """Return the same as `settings_from`, with who decided what; warn of nothing."""
    context = click.get_current_context(silent=True)
    return read_settings(
        file=config,
        overrides={"store": {"location": store}, **(overrides or {})},
        environ=process_environment(),
        defaults=defaults or {},
        flags=context.meta.get(FLAGS, ()) if context else (),
    )


def existing_index(store: str | None, config: Path | None) -> Index:
    """
    Return the index of a store that is there already.

    Raises:
        Invalid: There is no store at that place.
    """
    settings = settings_from(store, config)
    return open_index(settings, create=False)


def open_or_make_index(settings: Settings) -> Index:
    """Return the index of a store, which is made if it is not there; say so if it is made."""
    location = settings.store.location
    index = open_index(settings)
    if index.is_new and location != MEMORY:
        note(f"made a new store at {location}")
    return index


def local_caller(index: Index) -> Caller:
    """
    Return whoever runs this command: with the store in hand, they may do everything.

    On a bucket they are called by the e-mail of their credentials, if these tell it.
    """
    everything = Scope(Action.ADMIN.with_implied, (EVERY_PROJECT,))
    email = index.traits.identity()
    return Caller(escaped(email) if email else f"local:{_login_name()}", (everything,))


def _login_name() -> str:
    try:
        return escaped(getuser())[:LOGIN_LIMIT]  # the environment may say anything
    except (KeyError, OSError):
        return "unknown"  # a container may run as a user that nobody has named


def is_terminal() -> bool:
    """Return whether a person may be watching standard error."""
    return sys.stderr.isatty()
