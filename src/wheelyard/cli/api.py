"""The index that a command works with: that of a store, or with `--server` that of a server."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeAlias, TypeVar

import click

from wheelyard.api.local import LocalApi
from wheelyard.api.remote import RemoteApi
from wheelyard.api_client.connection import open_connection
from wheelyard.cli.command import given_option, kept_option
from wheelyard.cli.options import STORE, existing_index, local_caller
from wheelyard.cli.output import warn
from wheelyard.errors import Unavailable
from wheelyard.model.access_rules import AnyAccessEvent
from wheelyard.model.decisions import Decision
from wheelyard.model.principals import with_name
from wheelyard.settings.load import process_environment
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import system_runtime

E = TypeVar("E", AnyAccessEvent, Decision)
Api: TypeAlias = LocalApi | RemoteApi
LOCAL_OPTIONS: Final = ("store", "config")
"""Options that mean nothing for a server, which has its own settings."""
INDEX: Final = (
    kept_option(
        "--server",
        metavar="URL",
        help="The root URL of a server, instead of a store; its credential is $WHEELYARD_TOKEN, "
        "or of the keyring or ~/.netrc.",
    ),
    *STORE,
)
"""The index of a server or of a store, for `open_api`."""


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


def history_lines(
    api: Api, events: Sequence[E], describe: Callable[[E], str]
) -> Iterator[tuple[str, ...]]:
    """Yield the columns of each event: when it was, by whom, and what it was."""
    names = token_names(api, {event.by for event in events})
    for event in events:
        by = with_name(event.by, names.get(event.by, ""))
        yield f"{event.at:%Y-%m-%d %H:%M:%S} UTC", by, describe(event)


def token_names(api: Api, principals: Iterable[str]) -> dict[str, str]:
    """Return the names of the API tokens among principals; warn if they cannot be read."""
    try:
        return {each: api.name_of(each) for each in principals}
    except Unavailable as fault:
        warn(f"the names of tokens cannot be read: {fault.message}")
        return {}
