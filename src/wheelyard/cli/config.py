"""`wheelyard config`: what the settings say, and whether they make sense."""

from collections.abc import Iterator
from pathlib import Path

import click

from wheelyard.cli.common import settings_from, store_options
from wheelyard.cli.warnings import warn_of
from wheelyard.index import doors_of_settings
from wheelyard.model.grants import described
from wheelyard.model.text import escaped
from wheelyard.operations.doors import Doors
from wheelyard.settings.reading import process_environment, settings_file
from wheelyard.settings.sections import Settings
from wheelyard.trust.static_tokens import BARE_NAME


@click.group("config")
def command() -> None:
    """Check the settings, and say what is in force."""


@command.command("check")
@store_options
def check(store: str | None, config: Path | None) -> None:
    """Read the settings and every file that they name; exit 1 if something makes no sense."""
    settings = settings_from(store, config)
    doors = doors_of_settings(settings)
    file = settings_file(config, process_environment())
    for line in _lines(settings, doors, file):
        click.echo(escaped(line))
    warn_of(settings, doors)


def _lines(settings: Settings, doors: Doors, file: Path | None) -> Iterator[str]:
    """Yield what is in force."""
    access, server = settings.access, settings.server
    yield f"settings: {file or 'no file; the defaults'}, and the environment"
    yield f"address: {server.host}, port {server.port}; people reach it at {settings.index_url}"
    tokens = access.credentials_store
    yield f"store: {settings.store.location}" + (f"; tokens in {tokens}" if tokens else "")
    yield f"reading: {_readers(settings)}"
    yield f"credentials: {'; '.join(_credentials(settings, doors))}"
    for grant in settings.grants.every:
        yield f"grant {grant.number}: {described(grant)}"
    for publisher in settings.publishers if settings.publisher else ():
        provider = publisher.issuer.names[0]
        yield f"publisher {publisher.id}: {provider} may upload to {', '.join(publisher.projects)}"
    if access.anonymous_uploads:
        yield "uploads: by anybody"


def _readers(settings: Settings) -> str:
    if settings.grant:
        return "whom a grant or a token names"
    return "whoever has a credential" if settings.access.private else "anybody"


def _credentials(settings: Settings, doors: Doors) -> Iterator[str]:
    """Yield each kind of credential that opens the index."""
    access, google = settings.access, settings.google
    yield "API tokens"
    names = [identity.principal for identity in doors.static_tokens.identities]
    if access.static_tokens_file:
        count = len([name for name in names if name != f"static:{BARE_NAME}"])
        yield f"static tokens, {count} in {access.static_tokens_file}"
    if access.static_token:
        yield "a static token from the environment"
    if doors.passwords is not None:
        yield f"passwords in {access.htpasswd_file}"
    if google.id_token.audience:
        yield f"Google ID tokens for {', '.join(google.id_token.audience)}{_of_domains(settings)}"
    if google.access_token.resource:
        yield f"Google access tokens, as {google.access_token.resource} says"
    if settings.iap.audience:
        yield "Identity-Aware Proxy, for pages"
    if doors.publishing is not None:
        yield f"trusted publishing for {', '.join(settings.trusted_publishing.audience)}"


def _of_domains(settings: Settings) -> str:
    domains = settings.google.id_token.allowed_domains
    return f" of people at {', '.join(domains)}" if domains else ""
