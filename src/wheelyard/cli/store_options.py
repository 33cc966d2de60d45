"""
What the commands share: how a store is found, what is said, and who is sitting at the keyboard.

What a command has to say goes to standard error, one line each. A server has a log whose form the
settings decide: what it has to say before they are known is kept until then; if they turn out to be
wrong, it is said as by every other command.
"""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from getpass import getuser
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from wheelyard.authentication.authenticator import Authenticator
from wheelyard.authentication.verifiers.reloading_file import write_access_warnings
from wheelyard.catalog import keys
from wheelyard.model.access import EVERY_PROJECT, Action, Caller, Scope
from wheelyard.model.text import escaped
from wheelyard.settings.load import (
    TEXT_VARIABLE,
    LoadedSettings,
    ineffective_sources,
    load_settings,
    process_environment,
)
from wheelyard.settings.sections import MEMORY_LOCATION, Settings
from wheelyard.settings.warnings import warnings_for
from wheelyard.storage.gcs.location import is_bucket
from wheelyard.wiring.index import Index, open_index

SERVER_COMMANDS: Final = frozenset({"serve", "run"})
"""Commands that have a log."""
LOGIN_NAME_LIMIT: Final = 100
"""Characters of a login name in a journal."""

_KEPT, _IN_LOG = f"{__name__}.kept", f"{__name__}.in_log"
"""Where click keeps what a server has yet to say, and whether it says things in its log."""
_PREFIXES: Final = {logging.INFO: "wheelyard: ", logging.WARNING: "wheelyard: warning: "}

F = TypeVar("F", bound=Callable[..., object])
Tables = Mapping[str, Mapping[str, Any]]
"""Settings by section and key; of those that options give, None stands for "not given"."""


def store_options(command: F) -> F:
    """Add `--store`, `--config` and `--set` to a command."""
    return store_options_with("$WHEELYARD_STORE, else ./wheelyard-data")(command)


def store_options_with(default: str) -> Callable[[F], F]:
    """Return what adds them to a command whose store is elsewhere unless somebody says where."""
    with_config = click.option(
        "--config",
        type=click.Path(path_type=Path),
        expose_value=False,
        callback=_keep,
        help="Settings file.  [default: $WHEELYARD_CONFIG, else ./wheelyard.toml if there]",
    )
    with_store = click.option(
        "--store",
        metavar="PLACE",
        expose_value=False,
        callback=_keep,
        help=f"A folder, or gs://BUCKET/PREFIX.  [default: {default}]",
    )
    with_flags = click.option(
        "--set",
        multiple=True,
        metavar="SECTION.KEY=VALUE",
        expose_value=False,
        callback=_keep,
        help="Any setting, as store.freshness=5; may be given again.",
    )
    return lambda command: with_store(with_config(with_flags(command)))


def _keep(context: click.Context, option: click.Parameter, value: object) -> None:
    context.meta[f"{__name__}.{option.name}"] = value


def command_settings(overrides: Tables | None = None, defaults: Tables | None = None) -> Settings:
    """
    Return the settings in force for this command line, and warn of what counts for nothing.

    Args:
        overrides: What options other than those of `store_options` say.
        defaults: What this command has other than the usual defaults.

    Raises:
        Invalid: Something in the file, the environment or the options makes no sense.
    """
    for sentence in ineffective_sources(process_environment()):
        warn(sentence)
    reading = load_command_settings(overrides, defaults)
    if reading.config_source not in ("", TEXT_VARIABLE):
        warn_if_writable(Path(reading.config_source))
    return reading.settings


def load_command_settings(
    overrides: Tables | None = None, defaults: Tables | None = None
) -> LoadedSettings:
    """Return the same as `settings_from`, with who decided what; warn of nothing."""
    said = click.get_current_context().meta
    return load_settings(
        file=said[f"{__name__}.config"],
        overrides={"store": {"location": said[f"{__name__}.store"]}, **(overrides or {})},
        environ=process_environment(),
        defaults=defaults or {},
        flags=said[f"{__name__}.set"],
    )


def existing_index() -> Index:
    """Return the index of a store; raise Invalid if it is not there already."""
    return open_index(command_settings(), create=False)


def open_or_make_index(settings: Settings) -> Index:
    """Return the index of a store, which is made if it is not there; say so if it is made."""
    location = settings.store.location
    index = open_index(settings)
    if index.is_new and location != MEMORY_LOCATION:
        _say(logging.INFO, f"made a new store at {location}")
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
        return escaped(getuser())[:LOGIN_NAME_LIMIT]  # the environment may say anything
    except (KeyError, OSError):
        return "unknown"  # a container may run as a user that nobody has named


def warn(what: str) -> None:
    """Say what an operator should know, and go on."""
    _say(logging.WARNING, what)


def warn_about_settings(settings: Settings, authenticator: Authenticator) -> None:
    """Say what there is to know of settings, and of the places with credentials that they name."""
    for file in authenticator.files:
        for sentence in file.warnings:
            warn(sentence)
    store = settings.access.credentials_store or settings.store.location
    if store != MEMORY_LOCATION and not is_bucket(store):
        warn_if_writable(Path(store, keys.TOKENS))
    for sentence in warnings_for(settings):
        warn(sentence)


def warn_if_writable(path: Path) -> None:
    """Say how every user of this machine can change what decides on rights."""
    for way in write_access_warnings(path):
        warn(f"{path}: {way}.")


def flush_messages(*, in_log: bool) -> None:
    """Say what a server has kept, and everything else at once from now on."""
    meta = click.get_current_context().meta
    meta.setdefault(_IN_LOG, in_log)
    for level, what in meta.pop(_KEPT, ()):
        _say(level, what)


def _say(level: int, what: str) -> None:
    context = click.get_current_context()
    is_in_log = context.meta.get(
        _IN_LOG, None if context.command.name in SERVER_COMMANDS else False
    )
    if is_in_log is None:
        if _KEPT not in context.meta:
            context.meta[_KEPT] = []
            context.call_on_close(
                lambda: flush_messages(in_log=False)
            )  # a start that fails ends here
        context.meta[_KEPT].append((level, what))
    elif is_in_log:
        logging.getLogger("wheelyard").log(level, "%s", escaped(what))
    else:
        click.echo(f"{_PREFIXES[level]}{escaped(what)}", err=True)


def is_terminal() -> bool:
    """Return whether a person may be watching standard error."""
    return sys.stderr.isatty()


@contextmanager
def progress_bar(
    what: str,
    *columns: str,
    total: int | None = None,
    **fields: Any,  # noqa: ANN401 - rich's
) -> Iterator[Any]:
    """
    Yield what updates a bar, with the arguments of rich's; it is drawn where a person may watch.

    Args:
        what: Is going on.
        columns: Names of columns of `rich.progress`, or how a text is made of a task.
        total: What the end of the bar stands for.
        fields: Of the task, as columns name them.
    """
    if not is_terminal():
        yield lambda **_: None
        return
    from rich import progress
    from rich.console import Console

    made = [getattr(progress, each)() if each.endswith("Column") else each for each in columns]
    with progress.Progress(*made, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total, **fields)
        yield lambda **changes: bar.update(task, **changes)
