"""The settings, store, server and index that a command line names, and the caller of a command."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import click

from wheelyard.api.local_api import LocalApi
from wheelyard.cli import program
from wheelyard.cli.output import print_message
from wheelyard.cli.shared_options import given_option
from wheelyard.errors import Invalid, WheelyardError
from wheelyard.model import access
from wheelyard.model.decoding import escaped
from wheelyard.model.index_name import MAIN, read_index_name
from wheelyard.settings import load
from wheelyard.settings.sections import MEMORY_LOCATION, Settings
from wheelyard.wiring.build import index_without_store, open_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import has_all_folders, system_runtime
from wheelyard.wiring.warnings import upstream_warnings, write_warnings

if TYPE_CHECKING:
    from wheelyard.api.remote_api import RemoteApi
    from wheelyard.upstream.indexes import UpstreamIndex


LOGIN_NAME_LIMIT: Final = 100
"""Characters of an operating system user's name in a journal."""
Tables = Mapping[str, Mapping[str, Any]]
"""Settings by section and key, where None stands for an option that was not given."""

Api: TypeAlias = "LocalApi | RemoteApi"


def command_settings() -> Settings:
    """
    Return the effective settings of this command line, and warn if others may change the file.

    Raises Invalid if a value is wrong, or the settings file cannot be used.
    """
    loaded = loaded_settings()
    warn_of_settings_file(loaded)
    return loaded.settings


def warn_of_settings_file(loaded: load.LoadedSettings) -> None:
    """Warn if others on this machine can change the settings file."""
    # no warning without a file, or if a variable has the text of the settings
    if loaded.config_source not in ("", load.TEXT_VARIABLE):
        program.warn_of(write_warnings(Path(loaded.config_source)))


def loaded_settings(
    overrides: Tables | None = None,
    defaults: Tables | None = None,
    *,
    passes_over_index: bool = False,
) -> load.LoadedSettings:
    """
    Return the effective settings of this command line, and where each comes from.

    `overrides` has the values of options other than those of `STORE`, `defaults` those defaults of
    this command that differ from the usual defaults. Unless `passes_over_index`, a file must not
    have tables that describe the index. Raises Invalid if a value is wrong, or the settings file
    cannot be used.
    """
    options: dict[str, Mapping[str, Any]] = {"store": {"location": given_option("store")}}
    if overrides is not None:
        options.update(overrides)
    return load.load_settings(
        file=given_option("config"),
        overrides=options,
        environ=load.process_environment(),
        defaults=defaults or {},
        passes_over_index=passes_over_index,
    )


def existing_index(name: str | None = None) -> Index:
    """
    Return the index `name` in the store of this command line, for None the one of `--index`.

    A warning is printed if others may change the settings file. The index is closed at the end of
    the command, and serials are given to its commits. Raises Invalid if a setting is wrong or the
    store does not exist, NotFound if there is no such index, and Unavailable if the store does not
    answer.
    """
    loaded = loaded_settings()
    warn_of_settings_file(loaded)
    # a missing store is not made, as a misspelled --store would look like an empty index
    index = open_index(loaded.settings, create=False)
    index.server.sources = loaded.sources
    return index_for_command(index, name)


def ensure_index(settings: Settings, name: str | None = None, *, is_server: bool = False) -> Index:
    """
    Return the index `name`, for None the one of `--index`. A store that is missing is made.

    `is_server` is true in a process that serves the index, and false in a command. The index is
    closed at the end of the command, and serials are given to its commits.

    Raises Invalid if a setting is wrong, NotFound if there is no such index, and Unavailable if the
    store does not answer.
    """
    location = settings.store.location
    if not has_all_folders(settings):
        # raises Invalid for a wrong setting before a folder is made
        index_without_store(settings)
    index = open_index(settings, is_server=is_server)
    if index.server.is_new and location != MEMORY_LOCATION:
        print_message(logging.INFO, f"made a new store at {location}")
    return index_for_command(index, name)


def index_for_command(index: Index, name: str | None = None) -> Index:
    """
    Return the index `name`, for None the one of `--index`, of the store of `index`.

    `index` is any index of that store. Its connections are closed at the end of the command, and
    serials are then given to the commits of the returned index. Raises NotFound if there is no such
    index, and Unavailable if the store does not answer.
    """
    context = click.get_current_context()
    if index.upstream is not None:
        context.call_on_close(index.upstream.close)
    chosen = index.named(_index_name_or_option(name))
    context.call_on_close(partial(_give_serials, chosen))
    return chosen


def _index_name_or_option(name: str | None) -> str:
    """Return the name of an index in its normal form, or for None the index of the command line."""
    if name is None:
        return program.chosen_index()
    return read_index_name(name)


def _give_serials(index: Index) -> None:
    """Give serials to the commits of this command, as perhaps no server runs that gives them."""
    if index.projects.commits.has_committed:
        # an error changes no commit, and the next command or server gives the serials
        with suppress(WheelyardError):
            index.changes.newest()


def warn_without_upstream(index: Index) -> None:
    """
    Warn if the settings of this command name no upstream index, but the store has pages of one.

    Raises Unavailable if the store does not answer.
    """
    program.warn_of(upstream_warnings(index))


def require_upstream(index: Index) -> "UpstreamIndex":
    """
    Return the upstream indexes of an index.

    Raises Invalid (code `bad_setting`) if the settings name none.
    """
    if index.upstream is None:
        raise Invalid(
            "There is no upstream index. Give the --config of the server, or set [upstream] url, "
            "as by WHEELYARD_UPSTREAM_URL: 'serve --upstream' is about that server alone.",
            code="bad_setting",
        )
    return index.upstream


def is_store_given() -> bool:
    """
    Return whether this command line, a variable or a settings file names the store.

    Raises Invalid if a setting is wrong.
    """
    return ("store", "location") in loaded_settings().sources


def local_caller(index: Index) -> access.Caller:
    """
    Return the caller that stands for the user of this command, who may do everything.

    On a bucket the principal is the e-mail of the Google credentials, if they have one. Else the
    principal is `local:` and the login name.
    """
    # a user who can read and write the store itself needs no right of the index
    everything = access.everywhere(access.Action.ADMIN.with_implied)
    email = index.server.traits.account_email()
    principal = escaped(email) if email else f"local:{_login_name()}"
    return access.Caller(principal, (everything,))


def _login_name() -> str:
    """Return the name of the operating system user, or `unknown` for a user without a name."""
    # such users are those of containers
    with suppress(KeyError, OSError):
        # escaped, as the name comes from the environment
        return escaped(getuser())[:LOGIN_NAME_LIMIT]
    return "unknown"


def open_api(index_name: str | None = None) -> Api:
    """
    Return the index `index_name`, for None that of `--index`, at a server or in the store.

    The server is the one that this command line chooses; without one, the store is opened.

    The index is closed at the end of the command, and no request is sent to a server yet. Raises
    UsageError if options of a server and of a store are given, Invalid if a setting, the URL, the
    name of the index or the credential is wrong or the store does not exist, NotFound if the store
    has no such index, and Unavailable if the store does not answer.
    """
    return remote_api(index_name) or local_api(existing_index(index_name))


def local_api(index: Index) -> LocalApi:
    """Return an index as the user of this command may use it."""
    return LocalApi(index=index, caller=local_caller(index), caller_elsewhere=local_caller)


def remote_api(index_name: str | None = None) -> "RemoteApi | None":
    """
    Return the index `index_name` of the chosen server, or None if none is chosen.

    If `index_name` is None, this is the index of `--index`.

    The connection is closed at the end of the command, and no request is sent. A keyring may be
    asked for the credential. Raises UsageError if an option of a store is given, too. Raises
    Invalid if the URL, the name of the index or the credential is malformed, the keyring does not
    answer, or the credential would leave this machine unencrypted.
    """
    server = program.chosen_server()
    if server is None:
        return None

    # refused, as these options have no effect on a server, which has its own store and settings
    for name in program.LOCAL_OPTIONS:
        if given_option(name):
            message = f"--server and --{name} exclude each other: a server has its own settings."
            raise click.UsageError(message)

    # imported only if needed, as the HTTP client takes a while to import
    from wheelyard.api.remote_api import RemoteApi
    from wheelyard.api_client import open_connection

    chosen_name = _index_name_or_option(index_name)
    environment = load.process_environment()

    # operations about the whole server are at the root alone, whichever index is chosen
    root = open_connection(str(server), environment, system_runtime(), MAIN)
    click.get_current_context().call_on_close(root.close)
    if chosen_name == MAIN:
        return RemoteApi(root)
    connection = open_connection(str(server), environment, system_runtime(), chosen_name)
    click.get_current_context().call_on_close(connection.close)
    return RemoteApi(connection, root)
