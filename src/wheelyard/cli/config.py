"""`wheelyard config`: what the settings say, and whether they make sense."""

from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import click
from msgspec.json import encode
from msgspec.structs import replace

from wheelyard.authentication.authenticator import Authenticator
from wheelyard.authentication.verifiers.static_tokens import ENVIRONMENT_TOKEN
from wheelyard.catalog.conflict_retry import remote_conflict_retries
from wheelyard.catalog.format import read_format
from wheelyard.catalog.keys import probes
from wheelyard.cli.output import warn
from wheelyard.cli.store_options import (
    command_settings,
    load_command_settings,
    store_options,
    warn_about_settings,
)
from wheelyard.errors import Invalid, WheelyardError
from wheelyard.http.observability.instrumentation import require_telemetry
from wheelyard.model.grants import describe_grant
from wheelyard.model.text import escaped
from wheelyard.operations.store_probe import failures_of, read_steps, write_steps
from wheelyard.settings.load import LoadedSettings
from wheelyard.settings.sections import Settings, all_settings
from wheelyard.settings.warnings import unmatched_grants
from wheelyard.storage.base import Store
from wheelyard.storage.gcs.location import is_bucket
from wheelyard.wiring.index import authenticator_of_settings
from wheelyard.wiring.stores import store_in, system_runtime

NOT_PERMISSION_CODES: Final = frozenset(
    {"storage_credentials", "storage_unavailable", "overloaded"}
)
"""Codes of faults that say nothing of what a bucket permits."""


@click.group("config")
def command() -> None:
    """Check the settings, and say what is in force."""


@command.command("check")
@store_options
def check() -> None:
    """
    Read the settings and every file that they name; exit 1 if something makes no sense.

    Exit 1 as well if a file of passwords or tokens is not there, or if a bucket refuses what the
    index needs: that is tried, and changes nothing. The rest is said all the same.
    """
    settings = command_settings()
    absent = _absent(settings)
    present = replace(settings, access=replace(settings.access, **dict.fromkeys(absent, "")))
    authenticator = authenticator_of_settings(present)
    reading = load_command_settings()
    for line in (*_lines(present, authenticator, reading.config_source), *_origins(reading)):
        click.echo(escaped(line))
    warn_about_settings(settings, authenticator)
    for sentence in unmatched_grants(settings, _names(present, authenticator, absent)):
        warn(sentence)
    if absent:
        files = " and ".join(f"[access] {name}: {escaped(file)}" for name, file in absent.items())
        raise Invalid(
            f"{files} cannot be found, so that no name in it was compared with the grants, and no "
            "server would start here. Put it there, or check the settings where it is.",
            code="bad_setting",
        )
    require_telemetry(settings)
    _check_buckets(settings)


def _check_buckets(settings: Settings) -> None:
    """Try what an index does with its buckets; raise the last refusal, and warn of the others."""
    # one right may be missing for several things
    every = {fault.message: fault for fault in _faults_of_buckets(settings)}.values()
    refused = [fault for fault in every if fault.code not in NOT_PERMISSION_CODES]
    for fault in every:
        if fault.code in NOT_PERMISSION_CODES:
            click.echo(escaped(f"rights on the bucket: not tried. {fault.message}"))
    for fault in refused[:-1]:
        warn(fault.message)
    if refused:
        raise refused[-1]


def _faults_of_buckets(settings: Settings) -> Iterator[WheelyardError]:
    runtime = system_runtime()
    (key,) = probes([""], runtime.new_id())
    try:
        for store in _buckets(settings):
            writes = (
                ()
                if settings.server.read_only
                else write_steps(store, key, remote_conflict_retries(runtime))
            )
            yield from failures_of((*read_steps(store, key), *writes))
    except WheelyardError as fault:
        yield fault


def _buckets(settings: Settings) -> Iterator[Store]:
    """Yield a store in each bucket that is named, by the settings or by the store itself."""
    location, files = settings.store.location, settings.store.files
    if is_bucket(location):
        store = store_in(location)
        yield store
        with suppress(WheelyardError):  # whoever may not read it has been told so
            found = read_format(store)
            files = found.files if found else files
    for each in (files, settings.access.credentials_store):
        if is_bucket(each):
            yield store_in(each)


def _absent(settings: Settings) -> dict[str, str]:
    """Return the files of credentials that are not there, by the setting that names them."""
    access = settings.access
    named = {
        "htpasswd_file": access.htpasswd_file,
        "static_tokens_file": access.static_tokens_file,
    }
    return {name: file for name, file in named.items() if file and not Path(file).exists()}


def _names(
    settings: Settings, authenticator: Authenticator, absent: Collection[str]
) -> dict[str, frozenset[str]]:
    """Return who is in the files that are there, by the kind of principal."""
    access, found = settings.access, dict[str, frozenset[str]]()
    if access.htpasswd_file:
        # only for whoever has such a file: what reads hashes takes a while to import
        from wheelyard.authentication.verifiers.htpasswd import parse_htpasswd

        text = Path(access.htpasswd_file).read_text(encoding="utf-8")
        found["htpasswd"] = frozenset(parse_htpasswd(text).value.hashes)
    is_told = access.static_tokens_file or access.static_token
    if is_told and "static_tokens_file" not in absent:
        every = authenticator.static_tokens.identities
        found["static"] = frozenset(each.principal.partition(":")[2] for each in every)
    return found


def _lines(settings: Settings, authenticator: Authenticator, config_source: str) -> Iterator[str]:
    """Yield what is in force."""
    access, server = settings.access, settings.server
    yield f"settings: {config_source or 'no file; the defaults'}, and the environment"
    yield f"address: {server.host}, port {server.port}; people reach it at {settings.index_url}"
    tokens = access.credentials_store
    yield f"store: {settings.store.location}" + (f"; tokens in {tokens}" if tokens else "")
    closed = "whoever has a credential" if access.private else "anybody"
    yield f"reading: {'whom a grant or a token names' if settings.grant else closed}"
    if server.read_only:
        yield "uploads and changes: by nobody, as [server] read_only says"
    yield f"credentials: {'; '.join(_credentials(settings, authenticator))}"
    for grant in settings.grants.all:
        yield f"grant {grant.number}: {describe_grant(grant)}"
    for publisher in settings.publishers if settings.publisher else ():
        provider = publisher.issuer.names[0]
        yield f"publisher {publisher.id}: {provider} may upload to {', '.join(publisher.projects)}"
    if access.anonymous_uploads:
        yield "uploads: by anybody"


def _origins(reading: LoadedSettings) -> Iterator[str]:
    """Yield each setting that is not what it is by default, with who decided it."""
    for place, setting in all_settings().items():
        value = setting.value_in(reading.settings)
        if value != setting.default and place in reading.sources:
            shown = encode(value).decode()
            if setting.is_secret:
                shown = "(not shown)"
            elif setting.is_table:
                shown = str(len(value) if isinstance(value, tuple) else 0)
            yield f"{setting} = {shown}, from {reading.sources[place]}"


def _credentials(settings: Settings, authenticator: Authenticator) -> Iterator[str]:
    """Yield each kind of credential that opens the index."""
    access, google = settings.access, settings.google
    yield "API tokens"
    if access.static_tokens_file:
        names = [identity.principal for identity in authenticator.static_tokens.identities]
        count = len(names) - names.count(f"static:{ENVIRONMENT_TOKEN}")
        yield f"static tokens, {count} in {access.static_tokens_file}"
    if access.static_token:
        yield "a static token from the environment"
    if authenticator.htpasswd is not None:
        yield f"passwords in {access.htpasswd_file}"
    if google.id_token.audience:
        domains = ", ".join(google.id_token.allowed_domains)
        web_ui = f" of people at {domains}" if domains else ""
        yield f"Google ID tokens for {', '.join(google.id_token.audience)}{web_ui}"
    if google.access_token.resource:
        yield f"Google access tokens, as {google.access_token.resource} says"
    if settings.iap.audience:
        yield "Identity-Aware Proxy, for pages"
    if authenticator.trusted_publishing is not None:
        yield f"trusted publishing for {', '.join(settings.trusted_publishing.audience)}"
