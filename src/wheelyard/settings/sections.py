"""
What an operator can decide: every section of `wheelyard.toml`, with its defaults and its names.

What stands below a setting is what docs/settings.md says of it: `nox -s settings` puts it there.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from ipaddress import ip_address
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args, get_origin

from msgspec import Meta, Struct
from msgspec.structs import fields

from wheelyard.model.access import Pattern, parse_pattern
from wheelyard.model.grants import Grants, parse_grant

if TYPE_CHECKING:
    from wheelyard.model.publisher import Publisher

DEFAULT_STORE: Final = "./wheelyard-data"
MEMORY_LOCATION: Final = "memory:"
"""The place of a store that ends with the process."""
MIB: Final = 1024**2

SettingPath = tuple[str, ...]
"""The sections that a setting is in, and its key."""

VARIABLE_PREFIX: Final = "WHEELYARD_"
ARRAY_TABLES: Final = frozenset({"grant", "publisher"})
"""What stands in the file as `[[name]]`, any number of times."""
PLATFORM_VARIABLES: Final[Mapping[SettingPath, str]] = MappingProxyType(
    {("server", "port"): "PORT", ("log", "project"): "GOOGLE_CLOUD_PROJECT"}
)
"""Variables that platforms set; our own beats them."""
COMMAND_LINE_OPTIONS: Final[Mapping[SettingPath, str]] = MappingProxyType(
    {
        ("server", "host"): "--host",
        ("server", "port"): "--port",
        ("server", "workers"): "--workers",
        ("store", "location"): "--store",
        ("access", "private"): "--private",
        ("access", "htpasswd_file"): "-P",
        ("access", "anonymous_uploads"): "-a",
        ("access", "anonymous_uploads_anywhere"): "--i-know",
    }
)
"""Settings that have an option of their own, besides `--set`."""

_BY_KEY: Final[Mapping[str, str]] = {
    "server": "host port workers public_url path_prefix trusted_proxies",
    "store": "files downloads",
    "access": "private private_names trusted_hosts htpasswd_file static_tokens_file metrics_token "
    "static_token credentials_store require_https",
}
_SHORT: Final[Mapping[SettingPath, str]] = MappingProxyType(
    {
        ("store", "location"): "STORE",
        ("trusted_publishing", "audience"): "PUBLISHING_AUDIENCE",
        ("google", "id_token", "audience"): "ID_TOKEN_AUDIENCE",
        ("google", "id_token", "allowed_domains"): "ALLOWED_DOMAINS",
        ("google", "access_token", "resource"): "ACCESS_TOKEN_RESOURCE",
        **{(name, key): key.upper() for name, keys in _BY_KEY.items() for key in keys.split()},
    }
)
"""Settings whose variable does not name the section."""

Port = Annotated[int, Meta(ge=0, le=65535)]
Workers = Annotated[int, Meta(ge=1, le=64)]
Positive = Annotated[int, Meta(ge=1)]
Days = Annotated[int, Meta(ge=1, le=36_500)]
Natural = Annotated[int, Meta(ge=0)]
Seconds = Annotated[int, Meta(ge=0, title="seconds")]
Mebibytes = Annotated[int, Meta(ge=1, title="MiB")]
Freshness = Annotated[int, Meta(ge=1, le=60, title="seconds")]
CacheSeconds = Annotated[int, Meta(ge=0, le=300, title="seconds")]
TokenSeconds = Annotated[int, Meta(ge=900, le=21_600, title="seconds")]
SignedMinutes = Annotated[int, Meta(ge=2, le=10_080, title="minutes")]

Url = Annotated[str, Meta(title="URL")]
Folder = Annotated[str, Meta(title="`gs://BUCKET/PREFIX`")]
Bucket = Annotated[str, Meta(title="`gs://BUCKET`")]
FileName = Annotated[str, Meta(title="file")]
Ascii = Annotated[str, Meta(title="ASCII without spaces")]
Roots = Annotated[tuple[str, ...], Meta(title="list of names")]
Patterns = Annotated[tuple[str, ...], Meta(title="list of patterns")]
Hosts = Annotated[tuple[str, ...], Meta(title="list of hosts")]
Domains = Annotated[tuple[str, ...], Meta(title="list of domains")]
FewAudiences = Annotated[tuple[str, ...], Meta(title="list, 5 at most")]


class ServerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and how the server listens, and what it calls itself."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 8080
    """Port to listen on; 0 takes a free one."""
    workers: Workers = 1
    """Processes."""
    roots: Roots = ()
    """More index roots: `acme` makes `/acme/` and `/acme/NAME/` answer."""
    path_prefix: str = ""
    """What a proxy puts before every path, such as `/packages`."""
    public_url: Url = ""
    """How people reach the index; ends with `path_prefix`."""
    trusted_proxies: Natural = 0
    """
    Proxies before the server that add to `X-Forwarded-For` and say `X-Forwarded-Proto`; 0: no
    header of that kind is believed.
    """
    read_only: bool = False
    """Whether every upload and change is refused (403), and nothing is written."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the listener."""
        return is_loopback(self.host)


class StoreSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where everything is kept."""

    location: str = DEFAULT_STORE
    """A folder, `gs://BUCKET/PREFIX`, or `memory:` for one that ends with the process."""
    files: Folder = ""
    """Where the distributions are, if they have a bucket of their own."""
    downloads: Literal["auto", "redirect", "proxy", "public"] = "auto"
    """
    How a bucket's files reach a client, see [below](#reference); `auto` redirects where something
    can sign a URL.
    """
    signed_url_minutes: SignedMinutes = 30
    """How long a signed URL holds."""
    freshness: Freshness = 1
    """How long a document of a bucket is believed without asking again."""
    stale_if_error: Seconds = 0
    """How old a document may be that is shown while the bucket does not answer."""


class AccessSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may read, and by what they are known."""

    private: bool = False
    """Whether reading needs a credential; any `[[grant]]` closes it too."""
    private_names: Patterns = ()
    """Names that answer 403 and not 404 to who may not read them."""
    metrics_token: Ascii = ""
    """
    Opens `/metrics` where `host` is not a loopback address, or a proxy is in between; empty:
    nothing does. Never by `--set`.
    """

    htpasswd_file: FileName = ""
    """Names and passwords, as pypiserver and nginx have them."""
    static_tokens_file: FileName = ""
    """Tokens of any text, in `[[token]]` tables; see [tokens.md](tokens.md)."""
    static_token: str = ""
    """One such token, which may read and upload everything; from the environment only."""
    htpasswd_may_manage: bool = False
    """
    Whether those names may also yank and delete, where there is no `[[grant]]` at all;
    `wheelyard run` then sets it.
    """
    anonymous_uploads: bool = False
    """Whether anybody who can connect may publish; the option is `-a` without `update`."""
    anonymous_uploads_anywhere: bool = False
    """Whether that is meant where `host` is not a loopback address, too."""
    failed_login_per_minute: Positive = 30
    """
    Wrong passwords that one network may send, and for one name ten times as many; see
    [access.md](access.md#rate-limits).
    """
    require_https: bool = False
    """
    Whether a credential that came over plain HTTP is refused (403), see
    [below](#hosts-and-https).
    """
    trusted_hosts: Hosts = ()
    """The only values of `Host` that are answered, others get 421; empty: any."""
    credentials_store: str = ""
    """
    A folder or `gs://BUCKET/PREFIX` for the tokens; empty: they are with the packages, see
    [below](#token-storage).
    """

    def __repr__(self) -> str:  # of the tokens not a letter: a representation ends in logs
        return f"AccessSettings(private={self.private}, private_names={self.private_names})"


class IdTokenSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Google's ID tokens as credentials."""

    audience: tuple[str, ...] = ()
    """What Google's ID tokens call this index, such as its URL; empty switches them off."""
    allowed_domains: Domains = ()
    """Domains of Google Workspace whose people are known here; empty: any Google account."""


class AccessTokenSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Google's access tokens as credentials."""

    resource: Bucket = ""
    """The bucket whose IAM policy says who may do what; empty switches access tokens off."""
    cache_seconds: CacheSeconds = 300
    """How long Google's answer is believed."""


class GoogleSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Google's identity as the way in."""

    allow_private: bool = False
    """Whether Google may have private addresses, as with Private Service Connect."""
    id_token: IdTokenSettings = IdTokenSettings()
    access_token: AccessTokenSettings = AccessTokenSettings()


class IapSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Google's Identity-Aware Proxy before the pages for people."""

    audience: tuple[str, ...] = ()
    """What the assertions of Identity-Aware Proxy call this service; empty switches them off."""


class PublishingSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Publishing from CI without a stored secret."""

    audience: FewAudiences = ()
    """What the statements of CI jobs call this index; clients are told the first."""
    token_seconds: TokenSeconds = 900
    """How long a token lives that a job was given."""


class TokenSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of API tokens."""

    max_days: Days = 365
    """The longest life of a token."""


class UploadSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be uploaded."""

    max_file_size: Mebibytes = 1024
    """The largest file."""
    zip_sdists: bool = False
    """Whether `.zip` sdists are taken, which PEP 625 has retired."""


class HttpSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How pages are kept and cached."""

    page_cache: Mebibytes = 16
    """Memory for rendered pages, in each process."""
    public_max_age: Seconds = 0
    """How long a CDN may keep a page that anyone may read."""
    concurrent_uploads: Positive = 64
    """Uploads at a time, in each process; others wait."""


class LogSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the log looks like, and what is in it."""

    format: Literal["text", "json"] = "text"
    """Lines for people, or JSON as Cloud Logging reads it; on standard error."""
    access: bool = False
    """Whether every request gets a line."""
    project: Ascii = ""
    """The Google Cloud project that traces belong to."""


class TelemetrySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where traces and measurements are sent."""

    otlp_endpoint: Url = ""
    """
    An OpenTelemetry collector that takes OTLP over HTTP, such as `http://127.0.0.1:4318`; needs
    `wheelyard[otel]`; empty sends nothing.
    """


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that an operator can decide."""

    server: ServerSettings = ServerSettings()
    store: StoreSettings = StoreSettings()
    access: AccessSettings = AccessSettings()
    tokens: TokenSettings = TokenSettings()
    uploads: UploadSettings = UploadSettings()
    http: HttpSettings = HttpSettings()
    google: GoogleSettings = GoogleSettings()
    iap: IapSettings = IapSettings()
    trusted_publishing: PublishingSettings = PublishingSettings()
    log: LogSettings = LogSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    grant: tuple[dict[str, Any], ...] = ()
    """`[[grant]]` tables, as written."""
    publisher: tuple[dict[str, Any], ...] = ()
    """`[[publisher]]` tables, as written."""

    @property
    def index_url(self) -> str:
        """The URL that people give to their installer."""
        return f"{self.base_url}/simple/"

    @property
    def base_url(self) -> str:
        """The URL of the server itself, without a slash at the end."""
        if self.server.public_url:
            return self.server.public_url.rstrip("/")
        host = "127.0.0.1" if _is_unspecified(self.server.host) else self.server.host
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.server.port}{self.server.path_prefix}"

    @property
    def token_lifetime_limit(self) -> timedelta:
        """How long a token may live at most."""
        return timedelta(days=self.tokens.max_days)

    @property
    def private_patterns(self) -> tuple[Pattern, ...]:
        """`[access] private_names`, parsed."""
        return tuple(parse_pattern(each) for each in self.access.private_names)

    @property
    def grants(self) -> Grants:
        """The `[[grant]]` tables, parsed."""
        return Grants(tuple(parse_grant(number, each) for number, each in enumerate(self.grant, 1)))

    @property
    def publishers(self) -> "tuple[Publisher, ...]":
        """The `[[publisher]]` tables, parsed."""
        # few have one, and the rules of five providers take a while to import
        from wheelyard.model.publisher import parse_publishers  # noqa: PLC0415

        return parse_publishers(self.publisher)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting."""

    path: SettingPath
    kind: Any
    """Its type, without its limits."""
    meta: Meta
    """Its limits, and the `title` of what it holds."""
    default: object

    @property
    def key(self) -> str:
        """Its name within its section."""
        return self.path[-1]

    @property
    def is_table(self) -> bool:
        """Whether it stands in the file as `[[name]]`."""
        return self.path[0] in ARRAY_TABLES

    @property
    def is_list(self) -> bool:
        """Whether it is a list of texts."""
        return bool(self.kind == tuple[str, ...])

    @property
    def is_secret(self) -> bool:
        """Whether nobody may see it."""
        return self.key.endswith("_token")

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that it is read from, the usual one first; none for a table."""
        long = "_".join(self.path).upper()
        names = () if self.is_table else (_SHORT.get(self.path, long), long)
        return tuple(dict.fromkeys(f"{VARIABLE_PREFIX}{name}" for name in names))

    @property
    def variable(self) -> str:
        """The usual variable; nothing for a table."""
        return next(iter(self.variables), "")

    def value_in(self, settings: Settings) -> Any:  # noqa: ANN401 - of its `kind`
        """Return what it is in some settings."""
        value: Any = settings
        for name in self.path:
            value = getattr(value, name)
        return value

    def __str__(self) -> str:  # as the file has it
        if self.is_table:
            return f"[[{self.key}]]"
        return f"[{'.'.join(self.path[:-1])}] {self.key}"


@cache
def all_settings() -> Mapping[SettingPath, Setting]:
    """Return all settings, in the order of their sections, the tables last."""
    return MappingProxyType({each.path: each for each in _within(Settings, ())})


def names_in(section: SettingPath) -> list[str]:
    """Return what stands directly in a section: settings and sections; `()` is the whole file."""
    depth = len(section)
    below = (path for path in all_settings() if path[:depth] == section)
    return list(dict.fromkeys(path[depth] for path in below if path[depth:]))


def is_section(hint: object) -> bool:
    """Return whether a type is that of a section."""
    return isinstance(hint, type) and issubclass(hint, Struct)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, as only this machine reaches it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _within(section: type[Struct], above: SettingPath) -> Iterator[Setting]:
    for each in fields(section):
        path = (*above, each.name)
        if is_section(each.type):
            yield from _within(each.type, path)
        else:
            kind, meta = each.type, Meta()
            if get_origin(kind) is Annotated:
                kind, meta = get_args(kind)
            yield Setting(path, kind, meta, each.default)


def _is_unspecified(host: str) -> bool:
    # such as 0.0.0.0, which stands for every address of this machine and is in no URL
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False
