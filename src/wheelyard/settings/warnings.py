"""Warnings about settings that are valid, and open the index or its secrets to others."""

from collections.abc import Iterator
from itertools import chain
from urllib.parse import urlsplit

from packaging.utils import NormalizedName

from wheelyard.model.access import ALL_AUTHENTICATED
from wheelyard.model.grants import Grant
from wheelyard.model.name_patterns import parse_name_patterns
from wheelyard.settings.sections import Settings, is_loopback
from wheelyard.settings.validation import is_public
from wheelyard.storage.location import is_bucket, parse_location


def warnings_for(settings: Settings) -> list[str]:
    """Return a sentence for each warning that follows from the settings alone."""
    grants = (_everybody(settings, grant) for grant in settings.grants.all)
    return [*chain(_listener(settings), *grants, _locations(settings), _upstream(settings))]


def stored_grant_warnings(settings: Settings, grant: Grant) -> Iterator[str]:
    """Yield a warning for each way in which others may do more than a grant of the store says."""
    if is_public(settings):
        yield (
            "anybody may read every project all the same, because the settings say so; close "
            "reading with access.private, or with a [[grant]] in the settings"
        )
    elif settings.access.htpasswd_file and not settings.grant:
        yield (
            "every name in access.htpasswd_file may upload to every project, until there is a "
            "[[grant]] in the settings; those of the store change no default"
        )
    yield from _everybody(settings, grant)


def accepts_other_credentials(settings: Settings) -> bool:
    """Return whether passwords, static tokens or Google's credentials are accepted."""
    access, google = settings.access, settings.google
    of_google = google.id_token.audience or google.access_token.resource or settings.iap.audience
    files = access.htpasswd_file or access.static_tokens_file
    return bool(files or access.static_token or of_google)


def _listener(settings: Settings) -> Iterator[str]:
    server, access = settings.server, settings.access
    # a proxy or a tunnel makes the server reachable
    name = urlsplit(server.public_url).hostname or "localhost"
    has_proxy = server.trusted_proxies > 0 or not is_loopback(name)
    if server.is_loopback and not has_proxy:
        return
    if is_public(settings):
        why = "close reading with --private, or with a [[grant]]"
        yield f"anyone who can reach this address may read every package; {why}"
    if access.anonymous_uploads:
        yield "anyone who can reach this address may publish under any name"
    is_plain = not server.public_url.startswith("https://") and not access.require_https
    is_exposed = not server.is_loopback or server.public_url
    if is_exposed and is_plain and not server.certificate:
        yield (
            "credentials may come over plain HTTP, where others can read them; put a proxy that "
            "ends TLS before the server, and set access.require_https; or set server.certificate "
            "and server.key"
        )


def _everybody(settings: Settings, grant: Grant) -> Iterator[str]:
    google = settings.google.id_token
    is_open = ALL_AUTHENTICATED in grant.principals and google.audience
    if is_open and not google.allowed_domains:
        why = "name yours in google.id_token.allowed_domains"
        yield f"{grant} is for {ALL_AUTHENTICATED}, which is every Google account there is; {why}"


def _locations(settings: Settings) -> Iterator[str]:
    store, credentials = settings.store, settings.access.credentials_store
    if settings.google.access_token.resource and is_public(settings):
        yield (
            "google.access_token.resource says who may do what, and reading is open to everybody "
            "all the same; close it with --private"
        )
    if store.downloads == "public" and not is_public(settings):
        why = "whoever knows the URL of a file gets it from the public bucket"
        yield f"reading needs a credential, but {why}"
    if not is_bucket(store.location):
        return
    kept = f"the bucket of the packages, {store.location}: whoever may"
    advice = "give them a place in access.credentials_store"
    if settings.grants.all and not credentials:
        yield f"tokens lie in {kept} write there past the index can make one; {advice}"
    if settings.access.cookie_login and not credentials:
        why = f"read there past the index can sign in as anybody; {advice}"
        yield f"the keys of sessions lie in {kept} {why}"
    packages = {parse_location(each).root for each in (store.location, store.files) if each}
    if is_bucket(credentials) and parse_location(credentials).root in packages:
        yield (
            "access.credentials_store is in a bucket of the packages, so who may write to that "
            "bucket can make a token, unless an IAM condition on the names of objects forbids it"
        )


def _upstream(settings: Settings) -> Iterator[str]:
    if not settings.upstream.enabled:
        return
    for index in settings.upstream.indexes:
        if index.password and index.url.lower().startswith("http://"):
            why = "is sent over plain HTTP, where others can read it; write https://"
            yield f"the password for the upstream index {index.label} {why}"
    patterns = parse_name_patterns(settings.upstream_private)
    for text in patterns.texts:  # whether the prefix of private names is itself looked up
        name = text.removesuffix("-*")
        if name != text and not set(name) & set("*?") and not patterns.match(NormalizedName(name)):
            yield (
                f"{text} in upstream.private does not match {name}, which is looked up at the "
                f"upstream index; if it is yours, too, add {name}"
            )
    if "*" in settings.upstream.shadow:
        why = "so every public name can be taken over by an upload; name the projects instead"
        yield f"upstream.shadow has *, {why}"
