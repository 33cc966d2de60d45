"""`wheelyard config`: print the effective settings, and check them."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import click
from msgspec.json import encode

from wheelyard.catalog import keys
from wheelyard.cli.command import CliGroup
from wheelyard.cli.options import (
    STORE,
    command_settings,
    loaded_settings,
    print_warnings,
    tls_files,
)
from wheelyard.cli.output import warn
from wheelyard.errors import WheelyardError
from wheelyard.http.observability.instrumentation import require_telemetry
from wheelyard.model.access import describe_scope
from wheelyard.model.decoding import escaped
from wheelyard.model.grants import describe_grant
from wheelyard.settings.load import LoadedSettings
from wheelyard.settings.sections import MEMORY_LOCATION, Settings, all_settings
from wheelyard.storage.location import is_bucket
from wheelyard.wiring.index import Index, index_without_store, open_index
from wheelyard.wiring.stores import bucket_errors, has_store, require_places

OTHER_CODES: Final = frozenset({"storage_credentials", "storage_unavailable", "overloaded"})
"""Codes of errors that do not show whether a permission is missing."""


@click.group("config", cls=CliGroup)
def config_command() -> None:
    """
    Check the settings, and print those in force.

    Documentation: docs/settings.md
    """


@config_command.subcommand("check", *STORE)
def check() -> None:
    """
    Check the settings and every file that they name, and print those in force.

    Exit 1 if a setting is wrong, if a file of passwords or tokens is missing, if no store can be
    made in a folder, or if a bucket refuses an operation that the index needs. These operations are
    tried, and leave the bucket unchanged. Each upstream index is asked for its root, to see whether
    it is one. If it is not, that is a warning, and so is a token that expires within 14 days.

    Examples:
        wheelyard config check
        wheelyard config check --config /etc/wheelyard/wheelyard.toml

    Documentation: docs/settings.md
    """
    settings = command_settings()
    index = index_without_store(settings)
    authenticator = index.authenticator
    loaded = loaded_settings()
    summary = _summary(settings, loaded.config_source)
    for line in (*summary, *_changed_settings(loaded)):
        click.echo(escaped(line))
    print_warnings(settings, authenticator)
    require_telemetry(settings)
    if index.upstream is not None:
        for sentence in index.upstream.policy.load():
            warn(sentence)
    if not settings.server.read_only:
        require_places(settings)
    _check_buckets(settings)
    _check_upstreams(settings, index)
    _warn_of_expiring_tokens(settings)


def _warn_of_expiring_tokens(settings: Settings) -> None:
    """Print a warning for each token that expires soon; make no store, and raise no error."""
    if not has_store(settings):
        return
    try:
        tokens = open_index(settings, create=False).tokens.expiring()
    except WheelyardError as fault:
        click.echo(escaped(f"tokens: not looked at. {fault.message}"))
        return
    for each in tokens:
        expiry = f"{each.expires_at:%Y-%m-%d %H:%M} UTC"
        how = f"'wheelyard token rotate {each.id}' replaces it"
        warn(f"the token {each.id} ({each.name}) expires {expiry}; {how}")


def _check_buckets(settings: Settings) -> None:
    """Try the operations of an index on its buckets; raise the last error, warn of the others."""
    # a missing permission may affect several operations
    every = {fault.message: fault for fault in bucket_errors(settings)}.values()
    errors = [fault for fault in every if fault.code not in OTHER_CODES]
    for fault in every:
        if fault.code in OTHER_CODES:
            click.echo(escaped(f"rights on the bucket: not tried. {fault.message}"))
    for fault in errors[:-1]:
        warn(fault.message)
    if errors:
        raise errors[-1]


def _summary(settings: Settings, config_source: str) -> Iterator[str]:
    """Yield what the settings of tables and defaults come to, in words."""
    access, server = settings.access, settings.server
    yield f"settings: {config_source or 'no file; the defaults'}, and the environment"
    yield f"address: {server.host}, port {server.port}; people reach it at {settings.index_url}"
    for file in tls_files(settings):
        yield f"TLS: by this server, until {file.value.expires:%Y-%m-%d %H:%M} UTC"
    location, tokens = settings.store.location, access.credentials_store
    is_folder = not is_bucket(location) and location != MEMORY_LOCATION
    is_new = is_folder and not Path(location, keys.FORMAT).is_file()
    elsewhere = f"; tokens in {tokens}" if tokens else ""
    yield f"store: {location}{elsewhere}{'; there is none yet' if is_new else ''}"
    closed = "whoever has a credential" if access.private else "anybody"
    yield f"reading: {'whom a grant or a token names' if settings.grant else closed}"
    grants = settings.grants
    for grant in grants.all:
        yield f"grant {grant.id}: {describe_grant(grant)}"
    for name, members in grants.groups.items():
        yield f"group {name}: {', '.join(sorted(members)) or 'nobody'}"
    for publisher in settings.publishers if settings.publisher else ():
        can = describe_scope(publisher.scope)
        yield f"publisher {publisher.id}: {publisher.issuer.names[0]} may {can}"
    for index in settings.upstream.indexes if settings.upstream.enabled else ():
        yield f"upstream {index.label}: {index.url}"


def _changed_settings(loaded: LoadedSettings) -> Iterator[str]:
    """Yield a line for each setting that is not the default, with its value and source."""
    for path, setting in all_settings().items():
        value = setting.value_in(loaded.settings)
        if value != setting.default and path in loaded.sources and not setting.is_table:
            shown = "(not shown)" if setting.is_secret else encode(value).decode()
            yield f"{setting.name} = {shown}, from {loaded.sources[path]}"


def _check_upstreams(settings: Settings, index: Index) -> None:
    """
    Print what is at the root of each upstream index; warn if nothing shows that it is one.

    `index` is that of the settings, and may be over an empty store.
    """
    upstream = index.upstream
    if upstream is None or settings.upstream.offline:
        return
    # without an upstream index, nothing of it is loaded
    from wheelyard.upstream.faults import not_proven

    until = "Until then no new name can be uploaded" if settings.upstream.check_upload else ""
    for client in upstream.clients.in_order:
        server, why = client.server, upstream.pages.proof.ask(client)
        if not why:
            click.echo(f"upstream {server.label}: its root is a list of projects")
        elif _has_pages_of(server.id, settings):
            seen = "but pages of its projects were seen"
            click.echo(f"upstream {server.label}: {escaped(why)}; {seen}")
        else:
            warn(f"{not_proven(server, why)}. {until}".removesuffix(". "))
    upstream.close()


def _has_pages_of(upstream_id: str, settings: Settings) -> bool:
    """Return whether the store has pages of an upstream index; False if it cannot be said."""
    with suppress(WheelyardError):
        upstream = open_index(settings, create=False).upstream if has_store(settings) else None
        return upstream is not None and upstream.pages.proof.is_stored(upstream_id)
    return False
