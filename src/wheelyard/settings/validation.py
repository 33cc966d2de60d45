"""Validation of settings that are valid by themselves: what contradicts, or opens an index."""

import re
from collections.abc import Iterator
from itertools import chain
from os.path import realpath
from typing import Final
from urllib.parse import urlsplit

from msgspec.structs import replace

from wheelyard.model.access import ANONYMOUS, EVERY_PROJECT
from wheelyard.model.grants import Grant
from wheelyard.settings.sections import MEMORY_LOCATION, ServerSettings, Settings, StoreSettings
from wheelyard.settings.upstream_validation import upstream_errors
from wheelyard.settings.value_checks import bad_setting, quote_safely
from wheelyard.storage.location import BUCKET_FORMS, BucketLocation, is_bucket, parse_location

_PORT: Final = re.compile(r":[0-9]*\Z")


def validate(settings: Settings) -> Settings:
    """
    Return settings that fit together, with `path_prefix` normalised.

    Raise Invalid (code `bad_setting`) for all that contradict each other. Each value is one of its
    type already.
    """
    checks = (_location_errors, _contradictions, upstream_errors)
    if problems := [*chain.from_iterable(check(settings) for check in checks)]:
        raise bad_setting(". ".join(problems))
    if settings.groups:
        _ = settings.grants  # raises for an invalid one
    if settings.publisher:
        _ = settings.publishers  # raises for an invalid one
    server = settings.server
    prefix = server.path_prefix.strip("/")
    return replace(settings, server=replace(server, path_prefix=f"/{prefix}" if prefix else ""))


def is_public(settings: Settings) -> bool:
    """Return whether all projects can be read without a credential."""
    return bool(_grant_to_everybody(settings)) or not (settings.access.private or settings.grant)


def _grant_to_everybody(settings: Settings) -> Grant | None:
    """Return the first grant that lets anonymous clients read all projects, or None."""
    everybodys = (each for each in settings.grants.all if ANONYMOUS in each.principals)
    return next((each for each in everybodys if EVERY_PROJECT in each.scope.projects), None)


def _location_errors(settings: Settings) -> Iterator[str]:
    store, tokens = settings.store, settings.access.credentials_store
    if store.downloads == "public" and is_bucket(store.location):
        yield from _public_download_errors(store, tokens)
    for name in ("files", "downloads"):
        is_changed = getattr(store, name) != getattr(StoreSettings(), name)
        if is_changed and not is_bucket(store.location):
            yield (
                f"store.{name}: it is for a bucket, and store.location names none. Leave it out, "
                f"or give {BUCKET_FORMS} as the location"
            )
    if tokens and store.location == MEMORY_LOCATION:
        yield "access.credentials_store: a store in memory keeps its tokens there. Leave it out"
    if tokens and _canonical(tokens) == _canonical(store.location):
        why = "it is store.location. Leave it out, or name another"
        yield f"access.credentials_store: {why}"
    if settings.server.workers > 1 and store.location == MEMORY_LOCATION:
        yield "server.workers: a store in memory cannot be shared. Use one worker"


def _public_download_errors(store: StoreSettings, tokens: str) -> Iterator[str]:
    private = parse_location(store.location).root
    public = parse_location(store.files or store.location).root
    if public == private:
        yield (
            f"store.downloads: everybody may read a whole public bucket, and {private} holds "
            "credentials and the journal as well. Name another one in store.files"
        )
    if is_bucket(tokens) and parse_location(tokens).root == public:
        why = f"everybody may read {public}, as store.downloads says"
        yield f"access.credentials_store: {why}. Keep the tokens in another one"


def _canonical(path: str) -> BucketLocation | str:
    return parse_location(path) if is_bucket(path) else realpath(path)


def _contradictions(settings: Settings) -> Iterator[str]:
    server, access, google = settings.server, settings.access, settings.google.id_token
    url, prefix = server.public_url, server.path_prefix.strip("/")
    host = url.partition("://")[2].partition("/")[0].lower()
    if prefix and url and not urlsplit(url).path.rstrip("/").endswith(f"/{prefix}"):
        why = f"expected it to end with the path_prefix, {quote_safely(prefix)}"
        yield f"server.public_url: {why}"
    yield from _tls_errors(server)
    if access.cookie_login:
        yield from _cookie_errors(settings)
    if access.require_https and url.lower().startswith("http://") and server.trusted_proxies:
        yield (
            "access.require_https: server.public_url begins with http://, so everybody is sent "
            "to where no credential is taken. Write https://, or leave require_https out"
        )
    trusted = {each.lower() for each in access.trusted_hosts}
    if trusted and host and trusted.isdisjoint({host, _PORT.sub("", host)}):
        yield (
            f"access.trusted_hosts: {quote_safely(host)} is not among them, and "
            "server.public_url sends everybody there"
        )
    is_anonymous = access.anonymous_uploads and not access.anonymous_uploads_anywhere
    if is_anonymous and not server.is_loopback:
        yield (
            f"access.anonymous_uploads: whoever reaches {quote_safely(server.host)} could "
            "publish anything here. Listen on 127.0.0.1; or, if that is meant, set "
            "anonymous_uploads_anywhere, or give --i-know"
        )
    if google.allowed_domains and not google.audience:
        yield (
            "google.id_token.allowed_domains: ID tokens are off. Say in audience what they call "
            "this index, or leave both out"
        )
    grant = _grant_to_everybody(settings)
    if access.private and grant:
        why = f"{grant} lets everybody read every project. Leave one of the two out"
        yield f"access.private: {why}"
    yield from _publishing_errors(settings)


def _tls_errors(server: ServerSettings) -> Iterator[str]:
    if bool(server.certificate) != bool(server.key):
        missing = "key" if server.certificate else "certificate"
        yield f"server.{missing}: TLS needs a certificate and its key. Set both, or neither"
    is_plain = server.public_url.lower().startswith("http://") and not server.trusted_proxies
    if server.certificate and is_plain:
        yield (
            "server.public_url: it begins with http://, and with a certificate the server "
            "answers https:// only. Write https://, or leave certificate and key out"
        )


def _cookie_errors(settings: Settings) -> Iterator[str]:
    server, resource = settings.server, settings.google.access_token.resource
    credentials = settings.access.credentials_store or settings.store.location
    buckets = {parse_location(each).root for each in (credentials, resource) if is_bucket(each)}
    if is_bucket(credentials) and is_bucket(resource) and len(buckets) == 1:
        yield (
            "access.cookie_login: whoever may read the bucket of google.access_token.resource "
            "could read the key of all sessions there, and sign in as anybody. Set "
            "access.credentials_store to a place of its own"
        )
    if server.read_only:
        yield (
            "access.cookie_login: who signs in and out is written to the store, and "
            "server.read_only forbids that. Leave one of the two out"
        )
    is_direct = server.is_loopback and not server.trusted_proxies
    if not (server.public_url or server.certificate or is_direct):
        yield (
            "access.cookie_login: a cookie is made for https or for plain http, so the server "
            "has to know what browsers use. Set server.public_url, such as "
            "https://packages.example.com"
        )


def _publishing_errors(settings: Settings) -> Iterator[str]:
    audiences = settings.trusted_publishing.audience
    shared = {*settings.google.id_token.audience, *settings.iap.audience} & set(audiences)
    if shared:
        yield (
            f"trusted_publishing.audience: {quote_safely(min(shared))} is the audience of "
            "google.id_token or iap as well, so that a job's ID token could pass for a "
            "user's. Use different ones"
        )
    if settings.publisher and not audiences:
        yield (
            "trusted_publishing.audience: there is a [[publisher]], and publishing is off. Set it "
            "to that of the jobs' ID tokens, such as the host of this index"
        )
