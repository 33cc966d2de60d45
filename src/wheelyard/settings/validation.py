"""Validation of loaded settings: the first error is raised, with a message of one line."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain
from os.path import realpath
from typing import Final
from urllib.parse import urlsplit

from msgspec.structs import replace

from wheelyard.errors import Invalid
from wheelyard.model.access import ANONYMOUS, EVERY_PROJECT, parse_pattern
from wheelyard.model.brand import is_colour
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.grants import Grant
from wheelyard.settings.sections import (
    MEMORY_LOCATION,
    ServerSettings,
    Settings,
    StoreSettings,
    all_settings,
)
from wheelyard.settings.upstream_validation import UPSTREAM_RULES, upstream_errors
from wheelyard.settings.value_checks import (
    bad_setting,
    is_host,
    is_location,
    is_url,
    parse_bucket,
    quote_safely,
)
from wheelyard.storage.location import (
    BUCKET_FORMS,
    GOOGLE,
    BucketLocation,
    is_bucket,
    parse_location,
)

RESERVED_ROOTS: Final = frozenset(
    {"simple", "pypi", "legacy", "files", "project", "api", "raw", "packages"}
    | {"health", "ready", "metrics"}
)
"""First path segments of the routes, which no `[server] roots` may have."""
MAX_NUMBER_BITS: Final = 63
"""Bits of a number; larger ones may have more digits than Python can print."""
MAX_AUDIENCES: Final = 5
"""Audiences of ID tokens; each is tried in turn."""

_PRINTABLE: Final = re.compile(r"[\x21-\x7e]*")
_AUDIENCE: Final = re.compile(r"(?!.*://[^/?#]*@)[\x21-\x7e]{1,500}")
_DOMAIN: Final = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_PORT: Final = re.compile(r":[0-9]*\Z")
_TITLE: Final = re.compile(r"(?=.*\S)[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,60}")
_SEGMENT: Final = re.compile(r"(?!\.{1,2}\Z)[^\s\x00-\x1f\x7f%?#\\]+")
"""A path segment that needs no quoting in a URL."""


def validate(settings: Settings) -> Settings:
    """Return valid settings, with `path_prefix` normalised; raise Invalid (code `bad_setting`)."""
    checks = (_invalid_values, _location_errors, _contradictions, upstream_errors)
    for why in chain.from_iterable(check(settings) for check in checks):
        raise bad_setting(why)
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


def _invalid_values(settings: Settings) -> Iterator[str]:
    for setting in all_settings().values():
        value = setting.value_in(settings)
        if isinstance(value, int) and value.bit_length() > MAX_NUMBER_BITS:
            yield f"{setting}: expected a smaller number"
        rule = _FILE_RULE if setting.is_file else _RULES.get(setting.name)
        if value == setting.default or rule is None:
            continue
        holds, remedy = rule
        for each in value if setting.is_list else (value,):
            if not holds(each):
                found = "its value" if setting.is_secret else quote_safely(each)
                yield f"{setting}: {found} is none. Write {remedy}"


def _is_name(text: str) -> bool:
    with suppress(Invalid):
        return parse_name(text) == text and text not in RESERVED_ROOTS
    return False


def _is_pattern(text: str) -> bool:
    with suppress(Invalid):
        return bool(parse_pattern(text))
    return False


def _is_path(text: str) -> bool:
    return not text.strip("/") or all(map(_SEGMENT.fullmatch, text.strip("/").split("/")))


def _is_whole_bucket(text: str) -> bool:
    found = parse_bucket(text)
    return found is not None and not found.prefix and found.scheme == GOOGLE


def _matching(form: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: form.fullmatch(text) is not None


_FILE_RULE: Final = (lambda text: "\0" not in text, "the path of a file, without NUL")
_AUDIENCE_RULE: Final = (
    _matching(_AUDIENCE),
    "1 to 500 ASCII characters without spaces, such as https://packages.example.com",
)
_RULES: Final[dict[str, tuple[Callable[[str], bool], str]]] = {
    "server.host": (
        lambda text: bool(text) and not {"/", "@"} & set(text),
        "an address to listen on, such as 127.0.0.1",
    ),
    "server.roots": (_is_name, "a-z, 0-9 and -, such as acme, and no path of the index"),
    "server.path_prefix": (_is_path, "what a proxy puts before every path, such as /packages"),
    "server.public_url": (
        is_url,
        "a URL such as https://packages.example.com, without a name and a password in it",
    ),
    "store.location": (is_location, f"a folder, {BUCKET_FORMS}, or memory:, without ~"),
    "store.files": (lambda text: parse_bucket(text) is not None, BUCKET_FORMS),
    "access.private_names": (_is_pattern, "acme-core, or the beginning of names, as acme-*"),
    "access.metrics_token": (_matching(_PRINTABLE), "ASCII without spaces"),
    "access.trusted_hosts": (
        is_host,
        "packages.example.com, or packages.example.com:8443 where only that port is meant",
    ),
    "access.credentials_store": (
        lambda text: text != MEMORY_LOCATION and is_location(text),
        f"a folder, {BUCKET_FORMS}",
    ),
    "google.id_token.audience": _AUDIENCE_RULE,
    "google.id_token.allowed_domains": (_matching(_DOMAIN), "a domain such as acme.dev"),
    "google.access_token.resource": (_is_whole_bucket, "a bucket as a whole, gs://BUCKET"),
    "iap.audience": _AUDIENCE_RULE,
    "trusted_publishing.audience": _AUDIENCE_RULE,
    "web.name": (_matching(_TITLE), "1 to 60 characters on one line"),
    "web.accent": (is_colour, "a colour as # and six digits from 0 to f, such as #1b62b5"),
    "log.project": (_matching(_PRINTABLE), "the id of a Google Cloud project"),
    "telemetry.otlp_endpoint": (
        lambda text: is_url(text) and not text.rstrip("/").endswith(("/v1/traces", "/v1/metrics")),
        "the URL of a collector, without /v1/traces or /v1/metrics, such as http://127.0.0.1:4318",
    ),
    **UPSTREAM_RULES,
}
"""By setting: its check, and the text of the error message after "Write"."""


def _location_errors(settings: Settings) -> Iterator[str]:
    store, tokens = settings.store, settings.access.credentials_store
    if store.downloads == "public" and is_bucket(store.location):
        yield from _public_download_errors(store, tokens)
    for name in ("files", "downloads"):
        is_changed = getattr(store, name) != getattr(StoreSettings(), name)
        if is_changed and not is_bucket(store.location):
            yield (
                f"[store] {name} is for a bucket, and [store] location names none. Leave it out, "
                f"or give {BUCKET_FORMS} as the location"
            )
    if tokens and store.location == MEMORY_LOCATION:
        yield "[access] credentials_store: a store in memory keeps its tokens there. Leave it out"
    if tokens and _canonical(tokens) == _canonical(store.location):
        why = "it is the [store] location. Leave it out, or name another"
        yield f"[access] credentials_store: {why}"
    if settings.server.workers > 1 and store.location == MEMORY_LOCATION:
        yield "[server] workers: a store in memory cannot be shared. Use one worker"


def _public_download_errors(store: StoreSettings, tokens: str) -> Iterator[str]:
    private = parse_location(store.location).root
    public = parse_location(store.files or store.location).root
    if public == private:
        yield (
            '[store] downloads = "public" needs [store] files in a bucket of its own: '
            f"everybody may read a whole bucket, and {private} holds credentials and the journal "
            "as well"
        )
    if is_bucket(tokens) and parse_location(tokens).root == public:
        why = f'[store] downloads = "public" opens the bucket {public} to everybody'
        yield f"[access] credentials_store: {why}. Keep the tokens in another one"


def _canonical(path: str) -> BucketLocation | str:
    return parse_location(path) if is_bucket(path) else realpath(path)


def _contradictions(settings: Settings) -> Iterator[str]:
    server, access, google = settings.server, settings.access, settings.google.id_token
    url, prefix = server.public_url, server.path_prefix.strip("/")
    host = url.partition("://")[2].partition("/")[0].lower()
    if prefix and url and not urlsplit(url).path.rstrip("/").endswith(f"/{prefix}"):
        why = f"expected it to end with the path_prefix, {quote_safely(prefix)}"
        yield f"[server] public_url: {why}"
    yield from _tls_errors(server)
    if access.cookie_login:
        yield from _cookie_errors(settings)
    if access.require_https and url.lower().startswith("http://") and server.trusted_proxies:
        yield (
            "[access] require_https: [server] public_url begins with http://, so everybody is sent "
            "to where no credential is taken. Write https://, or leave require_https out"
        )
    trusted = {each.lower() for each in access.trusted_hosts}
    if trusted and host and trusted.isdisjoint({host, _PORT.sub("", host)}):
        yield (
            f"[access] trusted_hosts: {quote_safely(host)} is not among them, and "
            "[server] public_url sends everybody there"
        )
    is_anonymous = access.anonymous_uploads and not access.anonymous_uploads_anywhere
    if is_anonymous and not server.is_loopback:
        yield (
            f"[access] anonymous_uploads: whoever reaches {quote_safely(server.host)} could "
            "publish anything here. Listen on 127.0.0.1; or, if that is meant, set "
            "anonymous_uploads_anywhere, or give --i-know"
        )
    if google.allowed_domains and not google.audience:
        yield (
            "[google.id_token] allowed_domains: ID tokens are off. Say in audience what they call "
            "this index, or leave both out"
        )
    grant = _grant_to_everybody(settings)
    if access.private and grant:
        why = f"{grant} lets everybody read every project. Leave one of the two out"
        yield f"[access] private: {why}"
    yield from _publishing_errors(settings)


def _tls_errors(server: ServerSettings) -> Iterator[str]:
    if bool(server.certificate) != bool(server.key):
        missing = "key" if server.certificate else "certificate"
        yield f"[server] {missing}: TLS needs a certificate and its key. Set both, or neither"
    is_plain = server.public_url.lower().startswith("http://") and not server.trusted_proxies
    if server.certificate and is_plain:
        yield (
            "[server] public_url: it begins with http://, and with a certificate the server "
            "answers https:// only. Write https://, or leave certificate and key out"
        )


def _cookie_errors(settings: Settings) -> Iterator[str]:
    server, resource = settings.server, settings.google.access_token.resource
    credentials = settings.access.credentials_store or settings.store.location
    buckets = {parse_location(each).root for each in (credentials, resource) if is_bucket(each)}
    if is_bucket(credentials) and is_bucket(resource) and len(buckets) == 1:
        yield (
            "[access] cookie_login: whoever may read the bucket of [google.access_token] resource "
            "could read the key of all sessions there, and sign in as anybody. Set [access] "
            "credentials_store to a place of its own"
        )
    if server.read_only:
        yield (
            "[access] cookie_login: who signs in and out is written to the store, and [server] "
            "read_only forbids that. Leave one of the two out"
        )
    is_direct = server.is_loopback and not server.trusted_proxies
    if not (server.public_url or server.certificate or is_direct):
        yield (
            "[access] cookie_login: a cookie is made for https or for plain http, so the server "
            "has to know what browsers use. Set [server] public_url, such as "
            "https://packages.example.com"
        )


def _publishing_errors(settings: Settings) -> Iterator[str]:
    audiences = settings.trusted_publishing.audience
    if len(audiences) > MAX_AUDIENCES:
        yield f"[trusted_publishing] audience: expected {MAX_AUDIENCES} at most"
    shared = {*settings.google.id_token.audience, *settings.iap.audience} & set(audiences)
    if shared:
        yield (
            f"[trusted_publishing] audience: {quote_safely(min(shared))} is the audience of "
            "[google.id_token] or [iap] as well, so that a job's ID token could pass for a "
            "user's. Use different ones"
        )
    if settings.publisher and not audiences:
        yield (
            "there is a [[publisher]], and publishing is off. Set [trusted_publishing] audience to "
            "that of the jobs' ID tokens, such as the host of this index"
        )
