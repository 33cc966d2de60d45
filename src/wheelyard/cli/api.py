"""The index that a command works with: that of a store, or with `--server` that of a server."""

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias, TypeVar

import click

from wheelyard.api.local import LocalApi
from wheelyard.api.remote import RemoteApi
from wheelyard.api_client.connection import open_connection
from wheelyard.cli.options import existing_index, local_caller, store_options
from wheelyard.cli.output import given_option, keep_option, warn
from wheelyard.errors import Unavailable
from wheelyard.settings.load import process_environment
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import system_runtime

F = TypeVar("F", bound=Callable[..., object])
Api: TypeAlias = LocalApi | RemoteApi
LOCAL_OPTIONS: Final = ("store", "config")
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


def open_api(open_local: Callable[[], Index] = existing_index) -> Api:
    """Return the index of `--server`, else that of a store, as `open_local` opens it."""
    server = given_option("server")
    if server is None:
        index = open_local()
        return LocalApi(index=index, caller=local_caller(index))
    for name in LOCAL_OPTIONS:
        if given_option(name):
            message = f"--server and --{name} exclude each other: a server has its own settings."
            raise click.UsageError(message)
    connection = open_connection(str(server), process_environment(), system_runtime())
    click.get_current_context().call_on_close(connection.close)
    return RemoteApi(connection)


def token_names(api: Api, principals: Iterable[str]) -> dict[str, str]:
    """Return the names of the API tokens among principals; warn if they cannot be read."""
    try:
        return {each: api.name_of(each) for each in principals}
    except Unavailable as fault:
        warn(f"the names of tokens cannot be read: {fault.message}")
        return {}
