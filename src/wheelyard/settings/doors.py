"""Settings about who may do what, and about credentials, that make no sense stop the start."""

import re
from os.path import realpath
from typing import Final

from wheelyard.errors import Invalid
from wheelyard.model.access import EVERY_PROJECT, parse_pattern
from wheelyard.model.grants import Grant
from wheelyard.model.identity import EVERYBODY
from wheelyard.settings.sections import AccessSettings, Settings
from wheelyard.settings.urls import has_credentials, has_host, veiled
from wheelyard.settings.words import bad_setting
from wheelyard.storage.cloud.location import BucketLocation, is_bucket, parse_location

MOST_AUDIENCES: Final = 5
"""Names that statements may be made for: each is tried in turn."""

TOKEN: Final = re.compile(r"[\x21-\x7e]*")
"""ASCII without spaces."""
_AUDIENCE: Final = re.compile(r"[\x21-\x7e]{1,500}")
_DOMAIN: Final = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_PORT: Final = re.compile(r":[0-9]*\Z")


def check_doors(settings: Settings) -> None:
    """
    Return if the ways in that the settings open make sense, by themselves and together.

    Raises:
        Invalid: One does not (code `bad_setting`).
    """
    _check_access(settings)
    _check_hosts(settings)
    check_credentials_store(settings)
    _check_google(settings)
    _check_audiences(settings)
    _check_tables(settings)


def _check_access(settings: Settings) -> None:
    access = settings.access
    for pattern in access.private_names:
        _check_pattern(pattern)
    if not TOKEN.fullmatch(access.metrics_token):
        raise bad_setting("[access] metrics_token: expected ASCII without spaces, and has others")
    for name in ("htpasswd_file", "static_tokens_file"):
        if "\0" in getattr(access, name):
            raise bad_setting(f"[access] {name}: expected the path of a file, without NUL")
    is_wide = access.anonymous_uploads and not settings.server.is_loopback
    if is_wide and not access.anonymous_uploads_anywhere:
        raise bad_setting(
            f"[access] anonymous_uploads: whoever reaches {veiled(settings.server.host)} could "
            "publish anything here. Listen on 127.0.0.1; or, if that is meant, set "
            "anonymous_uploads_anywhere, or give --i-know"
        )


def _check_pattern(pattern: str) -> None:
    try:
        parse_pattern(pattern)
    except Invalid as fault:
        raise bad_setting(f"[access] private_names: {fault.message.rstrip('.')}") from fault


def _check_hosts(settings: Settings) -> None:
    hosts = settings.access.trusted_hosts
    for host in hosts:
        if not _HOST.fullmatch(host) or not has_host(f"//{host}"):
            raise bad_setting(
                f"[access] trusted_hosts: {veiled(host)} is no host. Write packages.example.com, "
                "or packages.example.com:8443 where only that port is meant"
            )
    is_plain = settings.server.public_url.lower().startswith("http://")
    if settings.access.require_https and is_plain and settings.server.trusted_proxies:
        raise bad_setting(
            "[access] require_https: [server] public_url begins with http://, so everybody is sent "
            "to where no credential is taken. Write https://, or leave require_https out"
        )
    public = settings.server.public_url.partition("://")[2].partition("/")[0].lower()
    names = {public, _PORT.sub("", public)}
    if hosts and public and names.isdisjoint(host.lower() for host in hosts):
        raise bad_setting(
            f"[access] trusted_hosts: {veiled(public)} is not among them, and [server] public_url "
            "sends everybody there"
        )


def check_credentials_store(settings: Settings) -> None:
    """
    Return if the tokens have a place that is one, and another one than the packages.

    Raises:
        Invalid: They have not (code `bad_setting`).
    """
    apart, kept = settings.access.credentials_store, settings.store.location
    if not apart:
        return
    place = "[access] credentials_store"
    if "\0" in apart or apart == "memory:" or ("://" in apart and not is_bucket(apart)):
        raise bad_setting(
            f"{place}: expected a folder, or gs://BUCKET/PREFIX, and found {veiled(apart)}"
        )
    if kept == "memory:":
        raise bad_setting(f"{place}: a store in memory keeps its tokens there. Leave it out")
    if not is_bucket(apart):
        if not is_bucket(kept) and realpath(apart) == realpath(kept):
            raise bad_setting(f"{place}: it is the [store] location. Leave it out, or name another")
        return
    found = bucket_of(place, apart)
    if is_bucket(kept) and parse_location(kept) == found:
        raise bad_setting(f"{place}: it is the [store] location. Leave it out, or name another")
    files = settings.store.files
    if settings.store.downloads == "public" and parse_location(files).bucket == found.bucket:
        raise bad_setting(
            f'{place}: [store] downloads = "public" opens the whole bucket {found.bucket} to '
            "everybody. Keep the tokens in another one"
        )


def bucket_of(place: str, text: str) -> BucketLocation:
    """
    Return the place in a bucket that a setting names.

    Args:
        place: What a refusal calls the setting.
        text: What it says.

    Raises:
        Invalid: It is none, or has the marks of a question in it (code `bad_setting`).
    """
    try:
        found = parse_location(text)
    except Invalid:
        found = None
    if found is None or "?" in text or "#" in text:
        raise bad_setting(
            f"{place}: {veiled(text)} is no place in a bucket. Write gs://BUCKET or "
            "gs://BUCKET/PREFIX"
        )
    return found


def _check_google(settings: Settings) -> None:
    google = settings.google
    if google.access_token.resource:
        found = bucket_of("[google.access_token] resource", google.access_token.resource)
        if found.prefix:
            raise bad_setting(
                "[google.access_token] resource: expected a bucket as a whole, and found a folder "
                f"in one. Write gs://{found.bucket}"
            )
    for domain in google.id_token.allowed_domains:
        if not _DOMAIN.fullmatch(domain):
            raise bad_setting(
                f"[google.id_token] allowed_domains: {veiled(domain)} is no domain. "
                "Write it as acme.dev"
            )
    if google.id_token.allowed_domains and not google.id_token.audience:
        raise bad_setting(
            "[google.id_token] allowed_domains: ID tokens are off. Say in audience what they call "
            "this index, or leave both out"
        )


def _check_audiences(settings: Settings) -> None:
    publishing = settings.trusted_publishing.audience
    every = {
        "[google.id_token] audience": settings.google.id_token.audience,
        "[iap] audience": settings.iap.audience,
        "[trusted_publishing] audience": publishing,
    }
    for place, audiences in every.items():
        for audience in audiences:
            if not _AUDIENCE.fullmatch(audience) or has_credentials(audience):
                raise bad_setting(
                    f"{place}: {veiled(audience)} is none. Write 1 to 500 ASCII characters without "
                    "spaces, such as https://packages.example.com"
                )
    if len(publishing) > MOST_AUDIENCES:
        raise bad_setting(
            f"[trusted_publishing] audience: expected {MOST_AUDIENCES} at most, and found "
            f"{len(publishing)}"
        )
    for place, audiences in every.items():
        shared = set(audiences) & set(publishing)
        if audiences is not publishing and shared:
            raise bad_setting(
                f"[trusted_publishing] audience: {veiled(min(shared))} is in {place} as well, so "
                "that a job's statement could pass for a person's. Use different ones"
            )


def _check_tables(settings: Settings) -> None:
    """Read every grant and every publisher, so that a wrong one is told at once."""
    opening = _opening(settings)
    if settings.access.private and opening:
        raise bad_setting(
            f"[access] private: {opening} lets everybody read every project. Leave one of the two "
            "out"
        )
    if not settings.publisher:
        return
    _ = settings.publishers
    if not settings.trusted_publishing.audience:
        raise bad_setting(
            "there is a [[publisher]], and publishing is off. Say in [trusted_publishing] audience "
            "what a job's statement calls this index, such as its host"
        )


def is_open(settings: Settings) -> bool:
    """Return whether anybody may read everything: nothing says otherwise, or a grant says so."""
    return bool(_opening(settings)) or not (settings.access.private or settings.grant)


def _opening(settings: Settings) -> Grant | None:
    """Return the first grant by which everybody reads every project, None if there is none."""
    everybodys = (each for each in settings.grants.every if EVERYBODY in each.who)
    return next((each for each in everybodys if EVERY_PROJECT in each.scope.projects), None)


def takes_credentials(access: AccessSettings) -> bool:
    """Return whether there are secrets besides the index's own tokens."""
    return bool(access.htpasswd_file or access.static_tokens_file or access.static_token)
