"""
The index that a command manages: that of a store, or with `--server` that of a server.

Both have the same methods, values and errors, so that a command is written once. With `--server` no
settings are read.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import click

from wheelyard.cli.local_index import LocalIndex
from wheelyard.cli.options import existing_index, local_caller, store_options
from wheelyard.cli.output import given_option, keep_option, warn
from wheelyard.errors import Unavailable
from wheelyard.settings.load import process_environment
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import system_runtime

if TYPE_CHECKING:  # it is imported for --server alone
    from wheelyard.api_client.remote_index import RemoteIndex

F = TypeVar("F", bound=Callable[..., object])
ManagedIndex: TypeAlias = "LocalIndex | RemoteIndex"
"""Both have the methods that commands call, and these return the same values."""
LOCAL_OPTIONS: Final = ("store", "config", "set")
"""Options that mean nothing for a server, which has its own settings."""


def managed_options(command: F) -> F:
    """Add `--server` and the options of `store_options` to a command."""
    with_server = click.option(
        "--server",
        metavar="URL",
        expose_value=False,
        callback=keep_option,
        help="The root URL of a server, instead of a store; its credential is $WHEELYARD_TOKEN, "
        "or of the keyring or ~/.netrc.",
    )
    return with_server(store_options(command))


def token_names(index: ManagedIndex, principals: Iterable[str]) -> dict[str, str]:
    """Return the names of the API tokens among principals; warn if they cannot be read."""
    try:
        return {each: index.name_of(each) for each in principals}
    except Unavailable as fault:
        warn(f"the names of tokens cannot be read: {fault.message}")
        return {}


def managed_index(open_local: Callable[[], Index] = existing_index) -> ManagedIndex:
    """Return the index of `--server`, else that of a store, as `open_local` opens it."""
    remote = remote_index()
    if remote is not None:
        return remote
    index = open_local()
    return LocalIndex(index, local_caller(index))


def remote_index() -> "RemoteIndex | None":
    """Return the index of `--server`, closed with the command; None if that is not given."""
    server = given_option("server")
    if server is None:
        return None
    for name in LOCAL_OPTIONS:
        if given_option(name):
            message = f"--server and --{name} exclude each other: a server has its own settings."
            raise click.UsageError(message)
    from wheelyard.api_client.connection import open_connection
    from wheelyard.api_client.remote_index import RemoteIndex

    connection = open_connection(str(server), process_environment(), system_runtime())
    remote = RemoteIndex(connection)
    click.get_current_context().call_on_close(remote.close)
    return remote
