"""Warnings about settings that are valid but probably unintended."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import Final
from urllib.parse import urlsplit

from packaging.utils import NormalizedName

from wheelyard.errors import quoted
from wheelyard.model.access import ALL_AUTHENTICATED, ANONYMOUS, EVERY_PROJECT
from wheelyard.model.grants import Grant, Grants
from wheelyard.model.name_patterns import parse_name_patterns
from wheelyard.settings.sections import ServerSettings, Settings, all_settings, is_loopback
from wheelyard.settings.upstream_validation import private_name_patterns
from wheelyard.settings.validation import is_public
from wheelyard.storage.location import is_bucket, parse_location

SERVICE_ACCOUNT_SUFFIX: Final = ".gserviceaccount.com"
"""Suffix of the e-mail addresses of service accounts, and of no user's."""
NO_AUDIENCE: Final = "[google.id_token] audience is not set, so nobody is known by an e-mail"


def warnings_for(settings: Settings) -> list[str]:
    """Return a sentence for each warning that follows from the settings alone."""
    grants = settings.grants
    parts = (
        _listener(settings),
        _grants(settings, grants.all),
        _principals(settings, _named(grants)),
        *(part(settings) for part in (_locations, _publishing, _unused, _upstream)),
    )
    return list(chain.from_iterable(parts))


def unmatched_grants(settings: Settings, names: Mapping[str, Collection[str]]) -> Iterator[str]:
    """
    Yield a warning for each principal in a grant that no accepted credential can have.

    Such are names that are missing in the files of passwords and tokens, impossible names of Google
    accounts, and accounts of domains that are not allowed. Only for `wheelyard config check`: while
    a server runs, the name may be added to a file. `names` has the names in the files by the kind
    of principal (`htpasswd`, `static`); a missing kind is not compared.
    """
    yield from _unmatched(settings, _named(settings.grants), names)


def _unmatched(
    settings: Settings,
    named: Mapping[str, frozenset[str]],
    names: Mapping[str, Collection[str]],
) -> Iterator[str]:
    places = {"htpasswd": "[access] htpasswd_file", "static": "the static tokens"}

    def why(kind: str, name: str) -> str:
        if kind in names:
            return "" if name in names[kind] else f"there is no such name in {places[kind]}"
        return _why_no_account(kind, name) or _why_rejected(kind, name, settings)

    return _ineffective(named, why)


def stored_grant_warnings(
    settings: Settings, grant: Grant, names: Mapping[str, Collection[str]]
) -> Iterator[str]:
    """
    Yield a warning for each way in which a grant of the store may not do what is expected.

    See `unmatched_grants` for `names`.
    """
    if is_public(settings):
        yield (
            "anybody may read every project all the same, because the settings say so; close "
            "reading with [access] private, or with a [[grant]] in the settings"
        )
    elif settings.access.htpasswd_file and not settings.grant:
        yield (
            "every name in [access] htpasswd_file may upload to every project, until there is a "
            "[[grant]] in the settings; those of the store change no default"
        )
    yield from _grants(settings, (grant,))
    yield from _principals(settings, {str(grant): grant.who})
    yield from _unmatched(settings, {str(grant): grant.who}, names)


def accepts_other_credentials(settings: Settings) -> bool:
    """Return whether passwords, static tokens or Google's credentials are accepted."""
    access = settings.access
    has_secrets = access.htpasswd_file or access.static_tokens_file or access.static_token
    return bool(has_secrets) or _knows_google(settings)


def _listener(settings: Settings) -> Iterator[str]:
    server, access = settings.server, settings.access
    is_reachable = not server.is_loopback or _is_behind_proxy(server)
    if is_reachable and is_public(settings):
        yield (
            "anyone who can reach this address may read every package; close reading with "
            "--private, or with a [[grant]]"
        )
    if is_reachable and access.anonymous_uploads:
        yield "anyone who can reach this address may publish under any name"
    is_plain = not server.public_url.startswith("https://") and not access.require_https
    is_exposed = not server.is_loopback or server.public_url
    if server.certificate:
        return  # what follows is about a server that speaks no TLS itself
    if is_reachable and is_exposed and is_plain:
        yield (
            "credentials may come over plain HTTP, where others can read them; put a proxy that "
            "ends TLS before the server, and set [access] require_https; or set [server] "
            "certificate and key"
        )
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


def _is_behind_proxy(server: ServerSettings) -> bool:
    """Return whether `trusted_proxies` or `public_url` shows that a proxy or tunnel is used."""
    name = urlsplit(server.public_url).hostname or "localhost"
    return server.trusted_proxies > 0 or not is_loopback(name)


def _grants(settings: Settings, grants: Iterable[Grant]) -> Iterator[str]:
    google = settings.google.id_token
    everybody = [each for each in grants if ALL_AUTHENTICATED in each.principals]
    if everybody and google.audience and not google.allowed_domains:
        yield (
            f"{everybody[0]} is for {ALL_AUTHENTICATED}, which is every Google account there is; "
            "name yours in [google.id_token] allowed_domains"
        )
    narrow = [
        each
        for each in grants
        if ANONYMOUS not in each.principals and EVERY_PROJECT not in each.scope.projects
    ]
    if narrow and not settings.access.private_names:
        yield (
            f"{narrow[0]} is for some projects only, and [access] private_names is empty: who may "
            "not read a name is told 404, and uv then looks for it on the next index"
        )


def _named(grants: Grants) -> dict[str, frozenset[str]]:
    """Return the names in each grant and each group, by what a message calls it."""
    groups = {f"group {name}": members for name, members in grants.groups.items()}
    return {**{str(each): each.who for each in grants.all}, **groups}


def _principals(settings: Settings, named: Mapping[str, frozenset[str]]) -> Iterator[str]:
    """
    Yield a warning for each principal in a grant or group whose kind makes it ineffective.

    Its type of credential is disabled, or (API tokens, trusted publishing) does not use grants.
    """
    access, audience = settings.access, settings.google.id_token.audience
    disabled = {
        "token": "a token may do what it was made for",
        "publisher": "its tokens may do what its [[publisher]] says, and no more",
    }
    if not audience:
        disabled["serviceAccount"] = NO_AUDIENCE
    if not audience and not settings.iap.audience:
        disabled["user"] = disabled["domain"] = NO_AUDIENCE
    if not access.htpasswd_file:
        disabled["htpasswd"] = "there is no [access] htpasswd_file"
    if not access.static_tokens_file and not access.static_token:
        disabled["static"] = "there is no static token"
    return _ineffective(named, lambda kind, _: disabled.get(kind, ""))


def _ineffective(
    named: Mapping[str, frozenset[str]], why: Callable[[str, str], str]
) -> Iterator[str]:
    for subject, principals in named.items():
        for principal in sorted(principals):
            kind, _, name = principal.partition(":")
            if reason := why(kind, name):
                yield f"{subject} names {quoted(principal)} to no effect: {reason}"


def _why_no_account(kind: str, name: str) -> str:
    """Return why no Google account of this kind can have this name, or an empty string."""
    if kind == "user" and name.endswith(SERVICE_ACCOUNT_SUFFIX):
        return f"it is a service account; write serviceAccount:{name}"
    if kind == "serviceAccount" and not name.partition("#")[0].endswith(SERVICE_ACCOUNT_SUFFIX):
        return f"the e-mail of a service account ends in {SERVICE_ACCOUNT_SUFFIX}"
    return ""


def _why_rejected(kind: str, name: str, settings: Settings) -> str:
    """Return why ID tokens of this user or domain are rejected, or an empty string."""
    allowed = {domain.lower() for domain in settings.google.id_token.allowed_domains}
    domain = name.rpartition("@")[2]
    # Identity-Aware Proxy does not use `allowed_domains`
    if kind not in ("user", "domain") or not allowed or domain in allowed or settings.iap.audience:
        return ""
    unless = ", unless that account belongs to one of them" if kind == "user" else ""
    return f"{domain} is not in [google.id_token] allowed_domains{unless}"


def _locations(settings: Settings) -> Iterator[str]:
    store, credentials = settings.store, settings.access.credentials_store
    resource = settings.google.access_token.resource
    if resource and is_public(settings):
        yield (
            "[google.access_token] resource says who may do what, and reading is open to everybody "
            "all the same; close it with --private"
        )
    if store.downloads == "public" and not is_public(settings):
        why = "whoever knows the URL of a file gets it from the public bucket"
        yield f"reading needs a credential, but {why}"
    if not is_bucket(store.location):
        return
    packages = {parse_location(each).root for each in (store.location, store.files) if each}
    if settings.grants.all and not credentials:
        yield (
            f"tokens lie in the bucket of the packages, {store.location}: whoever may write there "
            "past the index can make one; give them a place in [access] credentials_store"
        )
    if settings.access.cookie_login and not credentials:
        yield (
            f"the key of sessions lies in the bucket of the packages, {store.location}: whoever "
            "may read there past the index can sign in as anybody; give credentials a place in "
            "[access] credentials_store"
        )
    if is_bucket(credentials) and parse_location(credentials).root in packages:
        yield (
            "[access] credentials_store is in a bucket of the packages, so who may write to that "
            "bucket can make a token, unless an IAM condition on the names of objects forbids it"
        )
    if resource and parse_location(resource).root in packages:
        yield (
            f"[google.access_token] resource {resource} holds the packages, so that access tokens "
            "are good for reading only; name an empty bucket"
        )


def _publishing(settings: Settings) -> Iterator[str]:
    if settings.trusted_publishing.audience and not settings.publisher:
        yield "[trusted_publishing] has an audience, and there is no [[publisher]], so it is off"


def _unused(settings: Settings) -> Iterator[str]:
    known = {".".join(path): each for path, each in all_settings().items()}
    changed = {key: it for key, it in known.items() if it.value_in(settings) != it.default}
    for key, setting in changed.items():
        reasons = [why for is_so, why in _UNUSED.get(key, ()) if is_so(settings)]
        if _NEEDS.get(key, key) not in changed:
            reasons.insert(0, f"{known[_NEEDS[key]]} is not set")
        if reasons:
            yield f"{setting} counts for nothing: {reasons[0]}"


def _has_no_bucket(settings: Settings) -> bool:
    return not any(map(is_bucket, (settings.store.location, settings.access.credentials_store)))


def _is_closed(settings: Settings) -> bool:
    is_shared = any(ANONYMOUS in each.principals for each in settings.grants.all)
    return not (is_public(settings) or is_shared)


def _knows_google(settings: Settings) -> bool:
    google = settings.google
    return bool(google.id_token.audience or google.access_token.resource or settings.iap.audience)


_NEEDS: Final = {
    "upstream.url": "upstream.enabled",
    "upstream.index": "upstream.enabled",
    "access.htpasswd_may_manage": "access.htpasswd_file",
    "access.anonymous_uploads_anywhere": "access.anonymous_uploads",
    "google.access_token.cache_seconds": "google.access_token.resource",
    "trusted_publishing.token_seconds": "trusted_publishing.audience",
}
"""Settings that have an effect only if another setting is changed."""
_NO_BUCKET: Final = ((_has_no_bucket, "nothing is kept in a bucket"),)
_UNUSED: Final[dict[str, tuple[tuple[Callable[[Settings], bool], str], ...]]] = {
    "store.signed_url_minutes": (
        (lambda it: not is_bucket(it.store.location), "[store] location is no bucket"),
        (
            lambda it: it.store.downloads in ("proxy", "public"),
            "no URL is signed where [store] downloads is proxy or public",
        ),
    ),
    "store.freshness": _NO_BUCKET,
    "store.stale_if_error": _NO_BUCKET,
    "access.private_names": (
        (
            lambda it: is_public(it) and not it.upstream.enabled,
            "everybody may read every name",
        ),
    ),
    "access.htpasswd_may_manage": (
        (lambda it: bool(it.grant), "there is a [[grant]]; name the users there, as htpasswd:NAME"),
    ),
    "http.public_max_age": ((_is_closed, "there is no page that anyone may read"),),
    "upstream.allow": ((lambda it: it.upstream.mode == "open", '[upstream] mode is "open"'),),
    "upstream.max_cache_file_mb": (
        (lambda it: it.upstream.files != "cache", "[upstream] files says that none is kept"),
    ),
    "google.allow_private": (
        (lambda it: not _knows_google(it), "no credential of Google's is taken"),
    ),
}
"""By setting: conditions under which it has no effect, and the reason for the warning."""


def _upstream(settings: Settings) -> Iterator[str]:
    if not settings.upstream.enabled:
        return
    for index in settings.upstream.indexes:
        if index.password and index.url.lower().startswith("http://"):
            yield (
                f"the password for the upstream index {index.label} is sent over plain HTTP, where "
                "others can read it; write https://"
            )
    yield from _private_names(settings)
    if "*" in settings.upstream.shadow:
        yield (
            "shadow in [upstream] has *, so every public name can be taken over by an upload; name "
            "the projects instead"
        )


def _private_names(settings: Settings) -> Iterator[str]:
    """Yield a warning for each prefix of private names that is itself looked up upstream."""
    patterns = parse_name_patterns(private_name_patterns(settings))
    for text in patterns.texts:
        name = text.removesuffix("-*")
        if name != text and not set(name) & set("*?") and not patterns.match(NormalizedName(name)):
            yield (
                f"{text} in [upstream] private does not match {name}, which is looked up at the "
                f"upstream index; if it is yours, too, add {name}"
            )
