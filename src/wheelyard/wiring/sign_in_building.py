"""Builds the sign-in with providers. This module is not imported without `[[sign_in]]`."""

from collections.abc import Callable

from wheelyard.authentication.authenticator import Authenticator
from wheelyard.authentication.sign_in.attempts import Attempts
from wheelyard.authentication.sign_in.confirmed_people import ConfirmedPeople
from wheelyard.authentication.sign_in.openid import OpenIdProvider
from wheelyard.authentication.sign_in.provider import Provider, ProviderConfig
from wheelyard.authentication.sign_in.sign_in import Renewals, SignIn, in_thread
from wheelyard.catalog.opening import Catalog
from wheelyard.catalog.sealing import Sealer
from wheelyard.concurrency.runtime import Runtime
from wheelyard.http_client.json_client import JsonClient
from wheelyard.operations.publishing_cleanup import PublishingCleanup
from wheelyard.settings.sections import Settings
from wheelyard.settings.sign_in_section import GITHUB, SignInSettings

HOUR_SECONDS = 3600
MINUTE_SECONDS = 60


def build_sign_in(
    settings: Settings,
    catalog: Catalog,
    authenticator: Authenticator,
    cleanup: PublishingCleanup,
    runtime: Runtime,
    start: Callable[[Callable[[], None]], None] = in_thread,
) -> SignIn:
    """
    Return the sign-in with the providers of the settings, without a connection to them.

    `start` runs a function in a new thread.
    """
    providers = build_providers(settings, runtime)
    sealers = dict[str, Sealer]()
    for name, provider in providers.items():
        config = provider.config
        # Refresh tokens are sealed with the client secret, so the store alone is of no use. The
        # purpose names the provider, so another provider of the same name cannot open them.
        purpose = f"refresh token\0{config.issuer}\0{config.client_id}"
        sealers[name] = Sealer(config.secret.encode(), purpose, runtime.random)
    people = ConfirmedPeople(
        records=catalog.people,
        names=catalog.person_names,
        retries=catalog.retries,
        sealers=sealers,
    )
    attempts = Attempts(catalog.session_records.require_key, catalog.used_id_tokens, runtime)
    return SignIn(
        providers=providers,
        attempts=attempts,
        people=people,
        renewals=Renewals(people, providers, runtime, start),
        rate_limit=authenticator.rate_limit,
        rejection_log=authenticator.rejection_log,
        cleanup=cleanup,
        runtime=runtime,
    )


def build_providers(settings: Settings, runtime: Runtime) -> dict[str, Provider]:
    """Return the providers by name, in the order of the settings."""
    # by `allow_private`: a provider in public must not lead a client to private addresses
    clients = dict[bool, JsonClient]()
    providers = dict[str, Provider]()
    for table in settings.sign_in_providers:
        allow_private = table.allow_private
        if allow_private not in clients:
            clients[allow_private] = JsonClient(runtime, allow_private=allow_private)
        config = provider_config(table, settings.base_url)
        providers[table.name] = _build_provider(table.kind, config, clients[allow_private], runtime)
    return providers


def _build_provider(
    kind: str, config: ProviderConfig, client: JsonClient, runtime: Runtime
) -> Provider:
    """Return a provider of a kind. No request is sent to it before somebody signs in."""
    if kind == GITHUB:
        # this module is not loaded without a table of that kind
        from wheelyard.authentication.sign_in.github import GitHubProvider  # noqa: PLC0415 - above

        return GitHubProvider(config, client)
    return OpenIdProvider(config, client, runtime)


def provider_config(table: SignInSettings, base_url: str) -> ProviderConfig:
    """
    Return the configuration of a provider from its table in the settings.

    `base_url` is the URL of the index, to which the provider sends people back.
    """
    required_claims = dict[str, tuple[str, ...]]()
    for claim, values in table.require.items():
        if isinstance(values, str):
            required_claims[claim] = (values,)
        else:
            required_claims[claim] = values
    return ProviderConfig(
        name=table.name,
        title=table.title or table.name.title(),
        issuer=table.issuer,
        client_id=table.client_id,
        secret=table.secret,
        redirect_uri=f"{base_url}/-/sign-in/{table.name}/callback",
        scopes=table.scopes,
        name_claim=table.name_claim,
        groups_claim=table.groups_claim,
        require=required_claims,
        parameters=table.parameters,
        session_seconds=table.session_hours * HOUR_SECONDS,
        renew_seconds=table.renew_minutes * MINUTE_SECONDS,
    )
