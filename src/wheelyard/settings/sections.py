"""What an operator can decide: every section of `wheelyard.toml`, with its defaults."""

from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from wheelyard.model.access import Pattern, parse_pattern
from wheelyard.model.grants import Grants, parse_grant

if TYPE_CHECKING:
    from wheelyard.model.publisher import Publisher

DEFAULT_STORE: Final = "./wheelyard-data"
MIB: Final = 1024**2

Port = Annotated[int, Meta(ge=0, le=65535)]
Workers = Annotated[int, Meta(ge=1, le=64)]
Positive = Annotated[int, Meta(ge=1)]
Days = Annotated[int, Meta(ge=1, le=36_500)]
Natural = Annotated[int, Meta(ge=0)]
Freshness = Annotated[int, Meta(ge=1, le=60)]
CacheSeconds = Annotated[int, Meta(ge=0, le=300)]
TokenSeconds = Annotated[int, Meta(ge=900, le=21_600)]
SignedMinutes = Annotated[int, Meta(ge=2, le=10_080)]


class ServerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and how the server listens, and what it calls itself."""

    host: str = "127.0.0.1"
    port: Port = 8080
    workers: Workers = 1
    """Processes."""
    roots: tuple[str, ...] = ()
    """More index roots: `acme` makes `/acme/` and `/acme/<name>/` answer as `/simple/` does."""
    path_prefix: str = ""
    """What a proxy puts before every path, such as `/packages`."""
    public_url: str = ""
    """How people reach the index, with the path prefix: `https://packages.example.com`."""
    trusted_proxies: Natural = 0
    """Proxies before the server, each of which adds an address to `X-Forwarded-For`."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the listener."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class StoreSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where everything is kept."""

    location: str = DEFAULT_STORE
    """A folder, `gs://BUCKET/PREFIX`, or `memory:` for one that ends with the process."""
    files: str = ""
    """`gs://BUCKET/PREFIX` for the distributions, where they have a bucket of their own."""
    downloads: Literal["auto", "redirect", "proxy", "public"] = "auto"
    """How a bucket's files reach a client; `auto` redirects where something can sign a URL."""
    signed_url_minutes: SignedMinutes = 30
    """How long a signed URL holds."""
    freshness: Freshness = 1
    """Seconds that a document of a bucket is believed without asking for it again."""
    stale_if_error: Natural = 0
    """Seconds that a document may be old where the bucket does not answer."""


class AccessSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may read, and by what they are known."""

    private: bool = False
    """Whether reading needs a token."""
    private_names: tuple[str, ...] = ()
    """Patterns of names that answer 403, and not 404, to whoever may not read them."""
    metrics_token: str = ""
    """What opens `/metrics` where others than this machine reach the listener; empty for none."""

    htpasswd_file: str = ""
    """Names and passwords, as pypiserver and nginx have them; empty for none."""
    static_tokens_file: str = ""
    """Tokens of any text, in `[[token]]` tables; empty for none."""
    static_token: str = ""
    """One such token, which may read and upload everything; never in a file of settings."""
    htpasswd_may_manage: bool = False
    """Whether names in that file may also yank and delete; where there is no grant at all."""
    anonymous_uploads: bool = False
    """Whether anybody who can connect may publish; for a closed network, or for trying it out."""
    anonymous_uploads_anywhere: bool = False
    """Whether that is meant where more than this machine can connect."""
    failed_login_per_minute: Positive = 30
    """Wrong passwords that an address, or a name, may send."""
    require_https: bool = False
    """Whether credentials are refused that came over plain HTTP."""
    trusted_hosts: tuple[str, ...] = ()
    """The only values of `Host` that are answered; empty for any."""
    credentials_store: str = ""
    """A folder or bucket for tokens and claims, where the store's own is not to have them."""

    def __repr__(self) -> str:  # of the tokens not a letter: a representation ends in logs
        return f"AccessSettings(private={self.private}, private_names={self.private_names})"


class IdTokenSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Google's ID tokens as credentials."""

    audience: tuple[str, ...] = ()
    """What tokens call this index, such as its URL; none switches them off."""
    keys_url: str = "https://www.googleapis.com/oauth2/v3/certs"
    """Where Google's public keys are."""
    allowed_domains: tuple[str, ...] = ()
    """Workspace domains of people who are known here; empty for any Google account."""


class AccessTokenSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Google's access tokens as credentials."""

    resource: str = ""
    """`gs://BUCKET` whose IAM policy says who may do what; empty switches them off."""
    storage_url: str = "https://storage.googleapis.com"
    """Who is asked about the bucket."""
    tokeninfo_url: str = "https://oauth2.googleapis.com/tokeninfo"
    """Who is asked about a token's scopes."""
    cache_seconds: CacheSeconds = 300
    """How long Google's answer is believed."""


class GoogleSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Google's identity as the way in."""

    allow_private: bool = False
    """Whether Google may have private addresses here, as with Private Service Connect."""
    id_token: IdTokenSettings = IdTokenSettings()
    access_token: AccessTokenSettings = AccessTokenSettings()


class IapSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Google's Identity-Aware Proxy before the pages for people."""

    keys_url: str = "https://www.gstatic.com/iap/verify/public_key-jwk"
    """Where the proxy's public keys are."""
    audience: tuple[str, ...] = ()
    """What its assertions call this service; none switches them off."""


class PublishingSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Publishing from CI without a stored secret."""

    audience: tuple[str, ...] = ()
    """What a job's statement calls this index; clients are told the first. Five at most."""
    token_seconds: TokenSeconds = 900
    """How long a minted token lives."""


class TokenSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of API tokens."""

    max_days: Days = 365


class UploadSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be uploaded."""

    max_file_size: Positive = 1024
    """MiB."""
    zip_sdists: bool = False
    """Whether `.zip` sdists are taken, which PEP 625 has retired."""


class HttpSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How pages are kept and cached."""

    page_cache: Positive = 16
    """MiB of memory for rendered pages, in each worker process."""
    public_max_age: Natural = 0
    """Seconds that a shared cache may keep a page which anyone may read."""
    concurrent_uploads: Positive = 64
    """Uploads under way at a time, in each worker process; others wait."""


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


def _is_unspecified(host: str) -> bool:
    """Return whether `host` stands for every address of this machine, which no URL can name."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False
