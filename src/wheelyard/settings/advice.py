"""What an operator should know of settings that are in force: sentences, none of which stops."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from wheelyard.model.access import EVERY_PROJECT
from wheelyard.model.identity import AUTHENTICATED, EVERYBODY
from wheelyard.settings.doors import is_open, takes_credentials
from wheelyard.settings.idle import idle_kinds
from wheelyard.settings.sections import ServerSettings, Settings
from wheelyard.settings.unused import unused
from wheelyard.settings.urls import is_loopback
from wheelyard.storage.cloud.location import is_bucket, parse_location


def advice_on(settings: Settings) -> list[str]:
    """Return the warnings that settings deserve, in one sentence each."""
    parts = (
        _of_the_listener,
        _of_hosts,
        _of_grants,
        idle_kinds,
        _of_places,
        _of_publishing,
        unused,
    )
    return [sentence for part in parts for sentence in part(settings)]


def _of_the_listener(settings: Settings) -> Iterator[str]:
    server, access = settings.server, settings.access
    is_public = not server.is_loopback or _has_a_way_in(server)
    if is_public and is_open(settings):
        yield (
            "anyone who can reach this address may read every package; close reading with "
            "--private, or with a [[grant]]"
        )
    if is_public and access.anonymous_uploads:
        yield "anyone who can reach this address may publish under any name"
    is_plain = not server.public_url.startswith("https://") and not access.require_https
    is_told = not server.is_loopback or server.public_url
    if is_public and is_told and is_plain:
        yield (
            "credentials may come over plain HTTP, where others can read them; put a proxy that "
            "ends TLS before the server, and set [access] require_https"
        )


def _of_hosts(settings: Settings) -> Iterator[str]:
    server, access = settings.server, settings.access
    if access.require_https and not server.trusted_proxies:
        yield (
            "[access] require_https: no proxy is trusted to say that a request came over HTTPS, so "
            "credentials are taken from this machine only; set [server] trusted_proxies"
        )
    elif server.public_url.startswith("https://") and not server.trusted_proxies:
        # the server itself speaks no TLS
        yield (
            "[server] public_url begins with https://, so a proxy stands before the server, and "
            "none is trusted to say who asks: everybody shares one limit of failed logins, and one "
            "of tokens for jobs; set [server] trusted_proxies"
        )


def _of_grants(settings: Settings) -> Iterator[str]:
    grants, google = settings.grants.every, settings.google.id_token
    everybody = [each for each in grants if AUTHENTICATED in each.who]
    if everybody and google.audience and not google.allowed_domains:
        yield (
            f"{everybody[0]} is for {AUTHENTICATED}, which is every Google account there is; name "
            "yours in [google.id_token] allowed_domains"
        )
    narrow = [
        each
        for each in grants
        if EVERYBODY not in each.who and EVERY_PROJECT not in each.scope.projects
    ]
    if narrow and not settings.access.private_names:
        yield (
            f"{narrow[0]} is for some projects only, and [access] private_names is empty: who may "
            "not read a name is told 404, and uv then looks for it on the next index"
        )


def _of_places(settings: Settings) -> Iterator[str]:
    store, apart = settings.store, settings.access.credentials_store
    resource = settings.google.access_token.resource
    if resource and is_open(settings):
        yield (
            "[google.access_token] resource says who may do what, and reading is open to everybody "
            "all the same; close it with --private"
        )
    if store.downloads == "public" and not is_open(settings):
        yield (
            "reading needs a credential, but whoever knows the URL of a file gets it from the "
            "public bucket"
        )
    if not is_bucket(store.location):
        return
    packages = {parse_location(each).bucket for each in (store.location, store.files) if each}
    if settings.grants.every and not apart:
        yield (
            f"tokens lie in the bucket of the packages, {store.location}: whoever may write there "
            "past the index can make one; give them a place in [access] credentials_store"
        )
    if is_bucket(apart) and parse_location(apart).bucket in packages:
        yield (
            "[access] credentials_store is in a bucket of the packages, so who may write to that "
            "bucket can make a token, unless an IAM condition on the names of objects forbids it"
        )
    if resource and parse_location(resource).bucket in packages:
        yield (
            f"[google.access_token] resource {resource} holds the packages, so that access tokens "
            "are good for reading only; name an empty bucket"
        )


def _of_publishing(settings: Settings) -> Iterator[str]:
    if settings.trusted_publishing.audience and not settings.publisher:
        yield "[trusted_publishing] has an audience, and there is no [[publisher]], so it is off"


def _has_a_way_in(server: ServerSettings) -> bool:
    """Return whether others reach a listener that only this machine reaches by itself."""
    if server.trusted_proxies:
        return True
    name = urlsplit(server.public_url).hostname or ""
    return bool(name) and not is_loopback(name)


def other_credentials(settings: Settings) -> bool:
    """Return whether somebody can get in without a token of the index."""
    is_google = settings.google.id_token.audience or settings.google.access_token.resource
    return bool(is_google or settings.iap.audience) or takes_credentials(settings.access)
