"""`wheelyard config` and `health`: the settings and the state of an index."""

from collections.abc import Iterator
from contextlib import suppress
from errno import EADDRINUSE
from pathlib import Path
from typing import Final

import click
from click import Option
from msgspec.json import encode
from msgspec.structs import replace

from wheelyard.api.health_operations import show_health, show_settings
from wheelyard.catalog import keys
from wheelyard.cli import command_context, program, shared_options
from wheelyard.cli.command import CliGroup, cli_command
from wheelyard.cli.output import print_result, warn
from wheelyard.errors import UNREADABLE_CODES, Invalid, Unavailable, WheelyardError
from wheelyard.http.instrumentation import require_telemetry
from wheelyard.model.decoding import escaped
from wheelyard.model.stored_indexes import INDEX_KIND
from wheelyard.settings import sections
from wheelyard.settings.load import LoadedSettings, settings_without_effect
from wheelyard.storage.location import is_bucket
from wheelyard.wiring import stores, warnings
from wheelyard.wiring.attestation_building import build_verifier, require_attestations
from wheelyard.wiring.build import index_without_store, open_index
from wheelyard.wiring.index import Index

UNTRIED_CODES: Final = frozenset({"storage_credentials", "storage_unavailable", "overloaded"})
"""Codes of errors that do not show whether a permission is missing."""


@click.group("config", cls=CliGroup, page="settings.md")
def config_command() -> None:
    """Check the settings, and print those in force."""


@config_command.subcommand(
    "check",
    shared_options.STORE,
    examples=(
        "wheelyard config check",
        "wheelyard config check --config /etc/wheelyard/wheelyard.toml",
    ),
    page="settings.md",
)
def check() -> None:
    """
    Check the settings and every file that they name, and print those in force.

    Exit 1 wherever 'wheelyard serve' would stop: if a setting is wrong, a file of passwords or
    tokens is missing, the address cannot be listened on, the store cannot be opened or made, or a
    bucket does not answer, or refuses an operation that the index needs. These operations are
    tried, and leave the bucket unchanged. Each upstream index is asked for its root, to see whether
    it is one, and perhaps for a page, to see which hosts its files are on. If it is none, that is a
    warning, and so is a provider of [[sign_in]] that is not as the settings say, or a token that
    expires within 14 days.
    """
    loaded = command_context.loaded_settings(passes_over_index=True)
    command_context.warn_of_settings_file(loaded)
    settings = loaded.settings
    index = index_without_store(settings)
    authenticator = index.authenticator

    # made before the first line is printed: if a file cannot be read, only that error is printed
    lines = list(_settings_summary(settings, loaded.config_source))
    lines += _changed_setting_lines(loaded)
    for line in lines:
        click.echo(escaped(line))
    for sentence in settings_without_effect(loaded.sources):
        warn(sentence)
    program.warn_of(warnings.settings_warnings(settings, authenticator))
    require_telemetry(settings)
    require_attestations(settings)
    sections.require_sign_in_secrets(settings)
    _check_address(settings.server)
    if index.upstream is not None:
        for sentence in index.upstream.policy.load():
            warn(sentence)
    if not settings.server.read_only:
        stores.require_places(settings)
    _check_buckets(settings)
    _check_upstreams(settings, index)
    _check_providers(settings)
    _check_store(loaded, index)

    # last, as it raises for tables that describe the index, which would stop a server
    command_context.loaded_settings()


@config_command.subcommand(
    "show",
    Option(["--all", "wants_all"], is_flag=True, help="Print the defaults, too."),
    shared_options.JSON,
    shared_options.INDEX,
    examples=(
        "wheelyard config show",
        "wheelyard config show --all",
        "wheelyard config show --server https://packages.acme.dev",
    ),
    page="settings.md",
)
def show(*, wants_all: bool) -> None:
    """
    Print the settings in force that are no defaults, and the file, variable or option of each.

    Secrets are not shown. With --server they are those of a server.
    """
    listed = command_context.open_api().call(show_settings).settings
    settings = [setting for setting in listed if wants_all or not setting.is_default]
    lines = ((setting.name, setting.value, setting.source or "default") for setting in settings)
    print_result({"settings": settings}, lines)


@cli_command(
    "health",
    shared_options.JSON,
    shared_options.INDEX,
    examples=("wheelyard health --server https://packages.acme.dev", "wheelyard health --json"),
    page="operating.md",
)
def health_command() -> int:
    """
    Print how a server is: its store, upstream indexes, files of credentials, queues, warnings.

    With a store it is what a command can see of it. The exit status is 1 if something has failed.
    """
    health = command_context.open_api().call(show_health)
    print_result(health, ((part.state, part.name, part.text) for part in health.parts))
    # the JSON has the warnings already
    if not shared_options.given_option("json"):
        program.warn_of(health.warnings)
    return int(any(part.state == "failed" for part in health.parts))


def _check_store(loaded: LoadedSettings, index: Index) -> None:
    """
    Print the indexes and who may read main, and warn of settings and tokens that need a look.

    `index` is the index of the settings, over an empty store. Raises Invalid or Unavailable if no
    server can open the store, or start with the indexes of the store.
    """
    if not stores.makes_store_at_start(loaded.settings):
        index = open_index(loaded.settings, create=False)
        index.server.sources = loaded.sources
    try:
        _warn_of_expiring_tokens(index)
        click.echo(f"reading main: {_readers_of_main(index)}")
        for listed in index.server.index_administration.show():
            click.echo(escaped(f"index {listed.name}: {INDEX_KIND.describe_keys(listed.keys)}"))
        index.server.definitions.require_start()
        cautions = list(warnings.index_warnings(index))
        cautions += warnings.password_warnings(index)
        program.warn_of(cautions)
    except Unavailable as fault:
        if fault.code not in UNREADABLE_CODES:
            raise
        warn(program.error_text(fault))


def _readers_of_main(index: Index) -> str:
    """Return who may read main, in words."""
    access = index.settings.access
    if index.read_policy.is_public():
        return "anybody"
    if access.htpasswd_file and access.htpasswd_may:
        return "whom a grant or a token names, and every name of the htpasswd file"
    return "whom a grant or a token names"


def _check_address(server: sections.ServerSettings) -> None:
    """
    Print a line if a program listens on the address already, perhaps the server of these settings.

    Raises Invalid if a server cannot listen on the address for any other reason.
    """
    # imported only here, as nothing else of this command needs the server
    from wheelyard.http.web_server import resolve_bind_address

    try:
        resolve_bind_address(server)
    except Invalid as fault:
        cause = fault.__cause__
        is_in_use = isinstance(cause, OSError) and cause.errno == EADDRINUSE
        if not is_in_use:
            raise
        click.echo(f"port {server.port}: in use now, perhaps by the server of these settings")


def _warn_of_expiring_tokens(index: Index) -> None:
    """Warn of each token that expires soon, with the command that replaces the token."""
    for token in index.tokens.expiring():
        expiry = f"{token.expires_at:%Y-%m-%d %H:%M} UTC"
        remedy = f"{program.command_line('token', 'rotate', token.id)} replaces it"
        warn(f"the token {token.id} ({token.name}) expires {expiry}; {remedy}")


def _check_buckets(settings: sections.Settings) -> None:
    """
    Try the operations of an index on its buckets, and warn of all errors but the last.

    Raises the last error, if there is one.
    """
    # a missing permission may affect several operations, and is told once
    faults = {fault.message: fault for fault in stores.bucket_errors(settings)}.values()
    permission_errors = [fault for fault in faults if fault.code not in UNTRIED_CODES]
    for fault in faults:
        if fault.code in UNTRIED_CODES:
            click.echo(escaped(f"rights on the bucket: not tried. {fault.message}"))
    for fault in permission_errors[:-1]:
        warn(fault.message)
    if permission_errors:
        raise permission_errors[-1]


def _settings_summary(settings: sections.Settings, config_source: str) -> Iterator[str]:
    """Yield lines about the address, certificate, trusted root, store and upstream indexes."""
    server = settings.server
    yield f"settings: {config_source or 'no file; the defaults'}, and the environment"
    yield f"address: {server.host}, port {server.port}; people reach it at {settings.index_url}"
    for file in warnings.tls_files(settings):
        yield f"TLS: by this server, until {file.value.expires:%Y-%m-%d %H:%M} UTC"
    verifier = build_verifier(settings)
    if verifier is not None:
        root = f"{verifier.title}, whose newest key is of {verifier.newest_key():%Y-%m-%d}"
        yield f"attestations: kept if they hold for {root}"
    location = settings.store.location
    store_line = f"store: {location}"
    if settings.access.credentials_store:
        store_line += f"; tokens in {settings.access.credentials_store}"
    is_folder = not is_bucket(location) and location != sections.MEMORY_LOCATION

    # of a bucket, which may not answer, this is asked later
    if is_folder and not Path(location, keys.FORMAT).is_file():
        store_line += "; there is none yet"
    yield store_line
    if settings.upstream.is_on:
        for index in settings.upstream.indexes:
            yield f"upstream {index.label}: {index.url}"


def _changed_setting_lines(loaded: LoadedSettings) -> Iterator[str]:
    """Yield a line for each setting that is not the default, with its value and source."""
    for path, setting in sections.all_settings().items():
        value = setting.value_in(loaded.settings)
        if value != setting.default and path in loaded.sources and not setting.is_table:
            text = "(not shown)" if setting.is_secret else encode(value).decode()
            yield f"{setting.name} = {text}, from {loaded.sources[path]}"


def _check_providers(settings: sections.Settings) -> None:
    """Ask each provider for its metadata, and warn if the settings do not fit to the metadata."""
    for config, why in warnings.ask_providers(settings):
        if why:
            warn(f"sign_in {config.name}: {config.issuer}: {why}")
        else:
            uri = f"it needs the redirect URI {config.redirect_uri}"
            click.echo(escaped(f"sign_in {config.name}: {config.issuer} is its issuer; {uri}"))


def _check_upstreams(settings: sections.Settings, index: Index) -> None:
    """
    Print what is at the root of each upstream index, and warn if it may be no index.

    `index` is the index of the settings, and may be over an empty store.
    """
    upstream = index.upstream
    if upstream is None or settings.upstream.offline:
        return

    # nothing of upstream/ is loaded without an upstream index
    from wheelyard.upstream.settings import unproven_warning

    for client in upstream.clients.in_order:
        label = client.server.label
        doubt = upstream.pages.proof.ask(client)
        if not doubt:
            click.echo(f"upstream {label}: its root is a list of projects")
        elif _has_pages_of(label, settings):
            # an index without a list of its projects
            click.echo(f"upstream {label}: {escaped(doubt)}; but pages of its projects were seen")
        else:
            warning = unproven_warning(client.server, doubt)
            message = warning.message
            if settings.upstream.check_upload:
                message += " Until then no new name can be uploaded."
            program.warn_of([replace(warning, message=message)])
    upstream.close()
    if settings.upstream.finds_file_hosts:
        _check_file_hosts(settings)


def _check_file_hosts(settings: sections.Settings) -> None:
    """Print the hosts of upstream files that a page has, or warn if they cannot be found."""
    from wheelyard.wiring.upstream import with_file_hosts

    found_settings, sentence = with_file_hosts(settings, stores.system_runtime(), is_optional=True)
    if found_settings.upstream.file_hosts is None:
        warn(sentence)
    else:
        click.echo(escaped(sentence))


def _has_pages_of(label: str, settings: sections.Settings) -> bool:
    """Return whether the store is known to have pages of an upstream index."""
    # after an error no page is known: another check tells what is wrong with the store
    with suppress(WheelyardError):
        if not stores.has_all_folders(settings):
            return False
        upstream = open_index(settings, create=False).upstream
        if upstream is not None:
            servers = {server.label: server for server in upstream.config.servers}
            return upstream.pages.proof.is_stored(servers[label].id)
    return False
