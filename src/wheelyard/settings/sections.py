"""
All settings: the sections of `wheelyard.toml`, with types, defaults, variables and options.

A new setting is a field of a section. The string below it is its description in the page
`settings.md`, which `nox -s settings` writes.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import cache
from ipaddress import ip_address
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, get_origin
from urllib.parse import quote, urlsplit

from msgspec import NODEFAULT, Meta, Struct, convert
from msgspec.structs import fields

from wheelyard.model.access import Pattern, parse_pattern
from wheelyard.model.brand import DEFAULT_NAME
from wheelyard.model.rule_keys import RULE_KEYS
from wheelyard.model.stored_webhooks import WebhookVariables
from wheelyard.settings import value_checks as kinds
from wheelyard.settings.sign_in_section import SignInSettings
from wheelyard.settings.upstream_section import UpstreamSettings
from wheelyard.settings.webhook_section import WebhookSettings

DEFAULT_STORE: Final = "./wheelyard-data"
MEMORY_LOCATION: Final = "memory:"
"""The location of a store in memory, which ends with the process."""
MIB: Final = 1024**2

SettingPath = tuple[str, ...]
"""The names of the sections that contain a setting, and its key."""

VARIABLE_PREFIX: Final = "WHEELYARD_"
ARRAY_TABLES: Final = frozenset({"sign_in", "upstream.index"})
"""Arrays of tables, `[[name]]` in TOML, with a dot in a section."""
OF_ENVIRONMENT: Final = frozenset({("webhook_variables",)})
"""Paths of `Settings` that are no settings: the environment alone has them."""
PLATFORM_VARIABLES: Final[Mapping[SettingPath, str]] = MappingProxyType(
    {("server", "port"): "PORT", ("log", "project"): "GOOGLE_CLOUD_PROJECT"}
)
"""Variables that platforms set, unless the `WHEELYARD_` variable of a setting is set, too."""


class ServerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `[server]`: address, workers, URLs, proxies and read-only mode of the server."""

    host: kinds.ListenAddress = "127.0.0.1"
    """Address to listen on."""
    port: kinds.Port = 8080
    """Port to listen on. 0 takes a free one."""
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    """Number of processes that serve requests."""
    roots: tuple[kinds.Root, ...] = ()
    """More index roots: `acme` makes `/acme/` and `/acme/NAME/` answer."""
    path_prefix: kinds.PathPrefix = ""
    """The beginning of every path that a proxy forwards, such as `/packages`. Empty: no prefix."""
    public_url: kinds.Url = ""
    """The URL of the index for clients, with `path_prefix`. Empty: made of `host` and `port`."""
    trusted_proxies: kinds.Count = 0
    """Number of proxies that set `X-Forwarded-For` and `X-Forwarded-Proto`. 0: both are ignored."""
    certificate: kinds.FileName = ""
    """Certificate and chain in PEM, to [speak TLS](tls.md) without a proxy. Needs `key`."""
    key: kinds.FileName = ""
    """The private key of `certificate`, in PEM, without a password."""
    read_only: bool = False
    """Whether every upload and change is refused (403), and nothing is written."""
    daily_retention: bool = False
    """Whether one of the servers of the store deletes by [retention rules](retention.md) daily."""

    @property
    def is_loopback(self) -> bool:
        """Whether `host` is a loopback address, so that only this machine can connect directly."""
        return is_loopback(self.host)

    @property
    def public_path(self) -> str:
        """
        The path below which clients reach the index, percent-encoded, without a slash at the end.

        It is the path of `public_url`, which the proxy may take away. Without a `public_url` it is
        `path_prefix`.
        """
        path = urlsplit(self.public_url).path if self.public_url else self.path_prefix
        # a path that begins with two slashes would name another host
        clean_path = "".join(f"/{segment}" for segment in path.split("/") if segment)
        # % is not quoted again: the operator has quoted the path of public_url
        return quote(clean_path, safe="/%:@!$&'()*+,=")


class StoreSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `[store]`: location of the store, downloads from a bucket, caching of documents."""

    location: kinds.Location = DEFAULT_STORE
    """
    Where the store is: a folder, a [bucket](bucket.md), or `memory:` for a store that ends with the
    process.
    """
    files: kinds.Bucket = ""
    """Location of the distributions, if they have their own bucket. Empty: in `location`."""
    downloads: Literal["auto", "redirect", "proxy", "public"] = "auto"
    """How bucket files are sent, see [below](#reference); `auto` redirects if it can sign URLs."""
    signed_url_minutes: Annotated[int, Meta(ge=2, le=10_080, title="minutes")] = 30
    """How long a signed URL is valid."""
    freshness: Annotated[int, Meta(ge=1, le=60, title="seconds")] = 1
    """How long a document of a bucket is cached without revalidation."""
    stale_if_error: kinds.Seconds = 0
    """Maximum age of a cached document that is served while the bucket does not answer."""


class AccessSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `[access]`: reading, passwords, tokens, anonymous uploads, hosts and HTTPS."""

    private: bool = False
    """Whether reading needs a credential in every index, whatever `read` and grants say."""
    private_names: tuple[kinds.Name, ...] = ()
    """Project names for which clients without access get 403 instead of 404."""
    metrics_token: kinds.Ascii = ""
    """Token for `/metrics`, if others can reach the server. Empty: no access."""

    htpasswd_file: kinds.FileName = ""
    """File of user names and passwords, in the format of pypiserver and nginx."""
    static_tokens_file: kinds.FileName = ""
    """File of static tokens, in `[[token]]` tables. See [tokens.md](tokens.md)."""
    static_token: str = ""
    """One static token, which may read and upload everything. From the environment only."""
    htpasswd_may: tuple[kinds.GrantableAction, ...] = ("read", "upload")
    """What the users in `htpasswd_file` may do in main without a grant."""
    anonymous_uploads: bool = False
    """Whether uploads need no credential. The option is `-a` without `update`."""
    anonymous_uploads_anywhere: bool = False
    """Whether `anonymous_uploads` is allowed if `host` is not a loopback address."""
    failed_login_per_minute: kinds.Positive = 30
    """Failed logins per client network, see [here](access.md#rate-limits)."""
    require_https: bool = False
    """Whether credentials over plain HTTP are rejected (403), see [below](#hosts-and-https)."""
    trusted_hosts: tuple[kinds.Host, ...] = ()
    """Allowed values of `Host`, others get 421. Empty: any."""
    credentials_store: kinds.Apart = ""
    """Store for the tokens; empty: the store of the packages, see [below](#token-storage)."""
    cookie_login: bool = False
    """Whether people can [sign in in a browser](sign-in.md), to a session of at most 12 hours."""

    def __repr__(self) -> str:  # without secrets, because it may be logged
        return f"AccessSettings(private={self.private}, private_names={self.private_names})"


class IdTokenSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `[google.id_token]`: Google's ID tokens as credentials."""

    audience: tuple[kinds.Audience, ...] = ()
    """Audience of Google's ID tokens for this index, such as its URL. Empty disables them."""
    allowed_domains: tuple[kinds.Domain, ...] = ()
    """Domains of Google Workspace whose users are accepted. Empty: any Google account."""


class AccessTokenSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `[google.access_token]`: Google's access tokens as credentials."""

    resource: kinds.WholeBucket = ""
    """The bucket whose IAM policy decides what a caller may do. Empty disables access tokens."""
    indexes: tuple[kinds.RightIndex, ...] = ("main",)
    """The indexes in which rights by Google's access tokens count. `["*"]` for all."""
    cache_seconds: Annotated[int, Meta(ge=0, le=300, title="seconds")] = 300
    """How long Google's answer is cached."""


class GoogleSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `[google]`: authentication with Google."""

    allow_private: bool = False
    """Whether Google may have private addresses, as with Private Service Connect."""
    id_token: IdTokenSettings = IdTokenSettings()
    access_token: AccessTokenSettings = AccessTokenSettings()


class IapSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `[iap]`: Google's Identity-Aware Proxy before the web UI."""

    audience: tuple[kinds.Audience, ...] = ()
    """Audience of Identity-Aware Proxy's assertions for this service. Empty disables them."""


class PublishingSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `[trusted_publishing]`: tokens for CI jobs, to upload or read without a secret."""

    audience: kinds.JobAudiences = ()
    """Audience of the ID tokens of CI jobs for this index. Clients request the first."""
    private_issuers: tuple[kinds.Issuer, ...] = ()
    """Issuers of [publishers](trusted-publishing.md) that may have a private address."""
    token_seconds: Annotated[int, Meta(ge=900, le=21_600, title="seconds")] = 900
    """How long the token of a CI job is valid."""


class TokenSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `[tokens]`: limits of API tokens."""

    max_days: Annotated[int, Meta(ge=1, le=36_500)] = 365
    """Maximum lifetime of a token."""
    confirmed_days: Annotated[int, Meta(ge=1, le=36_500)] = 30
    """How long tokens work after a provider has last confirmed their owner."""


class UploadSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `[uploads]`: limits of uploads."""

    max_file_size: kinds.Mebibytes = 1024
    """Size of the largest file that can be uploaded."""
    zip_sdists: bool = False
    """Whether `.zip` sdists are accepted, which PEP 625 has made obsolete."""
    wheel_variants: bool = False
    """Whether [wheels with a label](wheel-variants.md) are accepted (PEP 825, a draft)."""


class AttestationSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `[attestations]`: signatures that come with uploads (PEP 740)."""

    accept: bool = False
    """
    Whether attestations are [verified and kept](attestations.md). Needs `wheelyard[attestations]`.
    """
    trusted_root: kinds.FileName = ""
    """The `trusted_root.json` of a private Sigstore. Empty: the public Sigstore is trusted."""
    require: tuple[kinds.Name, ...] = ()
    """Names and patterns of projects whose files are refused without attestations."""


class DownloadSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `[downloads]`: counts of downloads."""

    count: bool = True
    """Whether [downloads](downloads.md) of private files are counted, and shown."""


class HttpSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `[http]`: caching of pages, and concurrent uploads."""

    page_cache: kinds.Mebibytes = 20
    """Memory for rendered pages, in each process."""
    public_max_age: kinds.Seconds = 0
    """How long a CDN may cache a page that needs no credential."""
    concurrent_uploads: kinds.Positive = 64
    """Number of uploads at a time, in each process. Further uploads wait."""


class WebSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `[web]`: how the pages for people present the index."""

    name: kinds.Title = DEFAULT_NAME
    """Name of the index, in the header and the title of each page."""
    logo: kinds.FileName = ""
    """Picture beside the name: SVG without scripts, PNG, JPEG, WebP, GIF or ICO, up to 256 KiB."""
    accent: kinds.Colour = ""
    """Colour of links and buttons, such as `#1b62b5`; made darker or lighter to be readable."""
    contact: str = ""
    """Whom error pages say to ask: an e-mail address, a URL or a text."""


class LogSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `[log]`: format and contents of the log."""

    format: Literal["text", "json"] = "text"
    """Form of the log on standard error: plain text, or JSON for Cloud Logging."""
    access: bool = False
    """Whether every request is logged."""
    project: kinds.Ascii = ""
    """The Google Cloud project that traces belong to."""


class TelemetrySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `[telemetry]`: where traces and metrics are sent."""

    otlp_endpoint: kinds.Collector = ""
    """URL of an OpenTelemetry collector (OTLP over HTTP). Needs `wheelyard[otel]`. Empty: none."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The values of all settings, by section."""

    server: ServerSettings = ServerSettings()
    store: StoreSettings = StoreSettings()
    access: AccessSettings = AccessSettings()
    tokens: TokenSettings = TokenSettings()
    uploads: UploadSettings = UploadSettings()
    attestations: AttestationSettings = AttestationSettings()
    downloads: DownloadSettings = DownloadSettings()
    http: HttpSettings = HttpSettings()
    google: GoogleSettings = GoogleSettings()
    iap: IapSettings = IapSettings()
    trusted_publishing: PublishingSettings = PublishingSettings()
    web: WebSettings = WebSettings()
    log: LogSettings = LogSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    upstream: UpstreamSettings = UpstreamSettings()
    webhooks: WebhookSettings = WebhookSettings()
    sign_in: tuple[dict[str, Any], ...] = ()
    """`[[sign_in]]` tables, as written, with the secrets of the environment."""
    webhook_variables: WebhookVariables = WebhookVariables()
    """Secrets and URLs of webhooks, which no file and no option has."""

    def __repr__(self) -> str:
        # without secrets, because it may be logged
        return f"Settings(server={self.server!r}, store={self.store!r})"

    @property
    def index_url(self) -> str:
        """The index URL for installers, which ends with `/simple/`."""
        return f"{self.base_url}/simple/"

    @property
    def base_url(self) -> str:
        """
        The URL of the server, without a slash at the end.

        It is `public_url`. Without one it is made of `host`, `port` and `path_prefix`, with https
        if there is a certificate.
        """
        if self.server.public_url:
            return self.server.public_url.rstrip("/")
        host = self.server.host
        # ValueError: the host is a name
        with suppress(ValueError):
            # 0.0.0.0 means all addresses of this machine, and is invalid in a URL
            if ip_address(host).is_unspecified:
                host = "127.0.0.1"
        # a URL has brackets around an IPv6 address (RFC 3986)
        if ":" in host:
            host = f"[{host}]"
        scheme = "https" if self.server.certificate else "http"
        return f"{scheme}://{host}:{self.server.port}{self.server.path_prefix}"

    @property
    def token_lifetime_limit(self) -> timedelta:
        """`tokens.max_days` as a time span."""
        return timedelta(days=self.tokens.max_days)

    @property
    def private_patterns(self) -> tuple[Pattern, ...]:
        """The patterns of `access.private_names`, parsed."""
        return tuple(parse_pattern(text) for text in self.access.private_names)

    @property
    def upstream_private(self) -> tuple[str, ...]:
        """Patterns of names never asked for upstream, of `upstream.private` and `access`."""
        return (*self.upstream.private, *self.access.private_names)

    @property
    def sign_in_providers(self) -> tuple[SignInSettings, ...]:
        """The `[[sign_in]]` tables, parsed."""
        if not self.sign_in:
            return ()
        return convert(self.sign_in, tuple[SignInSettings, ...])


def require_sign_in_secrets(settings: Settings) -> None:
    """
    Raise Invalid (code `bad_setting`) if a provider of `[[sign_in]]` has no secret.

    Only a server checks the secrets, so that other commands work in a shell without them.
    """
    providers = settings.sign_in_providers
    missing = [provider.secret_variable for provider in providers if not provider.secret]
    if missing:
        raise kinds.bad_setting(
            f"sign_in: the secret of the client is missing. Set {' and '.join(missing)} to what "
            "the provider has given you"
        )


class Setting(Struct, frozen=True):
    """The path, type and default of one setting, whose value is in `Settings`."""

    path: SettingPath
    hint: Any
    """The type of its values, with their limits."""
    default: object

    @property
    def name(self) -> str:
        """The path, with dots."""
        return ".".join(self.path)

    @property
    def is_table(self) -> bool:
        """Whether the setting is an array of tables, `[[name]]`."""
        return self.name in ARRAY_TABLES

    @property
    def is_list(self) -> bool:
        """Whether the setting is a list of texts."""
        kind, _ = kinds.unpack(self.hint)
        return get_origin(kind) is tuple and not self.is_table

    @property
    def is_file(self) -> bool:
        """Whether the setting is the name of a file."""
        return bool(self.hint == kinds.FileName)

    @property
    def is_secret(self) -> bool:
        """Whether the setting is a secret, which must not be shown."""
        return self.path[-1].endswith(("_token", "password"))

    @property
    def variable(self) -> str:
        """The name of its `WHEELYARD_` variable, or an empty text if its values are tables."""
        kind, _ = kinds.unpack(self.hint)
        if self.is_table or get_origin(kind) is dict:
            return ""
        # nearly everybody sets store.location, so its variable has a short name
        path = ("store",) if self.path == ("store", "location") else self.path
        return VARIABLE_PREFIX + "_".join(path).upper()

    def value_in(self, settings: Settings) -> Any:  # noqa: ANN401 - of the type `hint`
        """Return the value that this setting has in `settings`."""
        value: Any = settings
        for name in self.path:
            value = getattr(value, name)
        return value


@cache
def all_settings() -> Mapping[SettingPath, Setting]:
    """Return every setting by its path, in the order of `Settings`, arrays of tables last."""
    return MappingProxyType({setting.path: setting for setting in _settings_in(Settings, ())})


def names_in(section: SettingPath) -> list[str]:
    """
    Return the names of settings and sections directly in a section, where `()` is the top.

    The list is empty if no section has this path.
    """
    depth = len(section)
    # a dictionary, as many settings are in one section
    names = dict[str, None]()
    for path in all_settings():
        if path[:depth] == section and len(path) > depth:
            names[path[depth]] = None
    return list(names)


def is_section(hint: object) -> bool:
    """Return whether a type is a section (a `Struct`)."""
    return isinstance(hint, type) and issubclass(hint, Struct)


def is_loopback(host: str) -> bool:
    """Return whether a host is `localhost` or a loopback address."""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


def _settings_in(section: type[Struct], section_path: SettingPath) -> Iterator[Setting]:
    """Yield the settings in a section and in the sections below it."""
    # the keys of rules come last, as several tables have them
    for field in sorted(fields(section), key=lambda field: field.name in RULE_KEYS):
        path = (*section_path, field.name)
        if path in OF_ENVIRONMENT:
            continue
        if is_section(field.type):
            yield from _settings_in(field.type, path)
        else:
            default = field.default
            if field.default_factory is not NODEFAULT:
                default = field.default_factory()
            yield Setting(path, field.type, default)
