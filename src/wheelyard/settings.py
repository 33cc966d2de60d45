"""
Settings: the only reader of the environment and of `wheelyard.toml`.

What a command line says beats the environment, which beats the file, which beats the defaults.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

from msgspec import Meta, Struct, ValidationError, convert
from msgspec.structs import fields, replace

from wheelyard.errors import Invalid, quoted
from wheelyard.model.access import Pattern, parse_pattern
from wheelyard.model.distribution import parse_name
from wheelyard.model.text import escaped
from wheelyard.storage.cloud.location import BucketLocation, parse_location

DEFAULT_FILE: Final = Path("wheelyard.toml")
DEFAULT_STORE: Final = "./wheelyard-data"
ENVIRONMENT_PREFIX: Final = "WHEELYARD_"
MIB: Final = 1024**2

Port = Annotated[int, Meta(ge=0, le=65535)]
Workers = Annotated[int, Meta(ge=1, le=64)]
Positive = Annotated[int, Meta(ge=1)]
Days = Annotated[int, Meta(ge=1, le=36_500)]
Natural = Annotated[int, Meta(ge=0)]
Freshness = Annotated[int, Meta(ge=1, le=60)]
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
    """Who may read."""

    private: bool = False
    """Whether reading needs a token."""
    private_names: tuple[str, ...] = ()
    """Patterns of names that answer 403, and not 404, to whoever may not read them."""
    metrics_token: str = ""
    """What opens `/metrics` where others than this machine reach the listener; empty for none."""

    def __repr__(self) -> str:  # of the token not a letter: a representation ends in logs
        return f"AccessSettings(private={self.private}, private_names={self.private_names})"


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


FIXED_PATHS: Final = frozenset(
    {"simple", "pypi", "legacy", "files", "project", "api", "raw", "packages"}
    | {"health", "ready", "metrics"}
)
"""First segments of paths that mean something already, so no root can be called like them."""

_Values = dict[str, dict[str, Any]]

_FOLDER_OR_BUCKET: Final = "a folder, gs://BUCKET/PREFIX, or memory:"
_KINDS: Final = {
    "array": "a list",
    "bool": "true or false",
    "int": "a number",
    "object": "a table",
    "str": "text",
}
_RANGES: Final = {"<=": "up to", ">=": "from"}
_EXPECTED: Final = re.compile(
    r"(?:Expected `(\w+)`(?: ([<>]=) (\d+))?|Invalid enum value).* - at `\$\.(\w+)(?:\.(\w+).*)?`",
    re.DOTALL,
)
_UNKNOWN: Final = re.compile(
    r"Object contains unknown field `(.*?)`(?: - at `\$\.(\w+)`)?", re.DOTALL
)
_TOKEN: Final = re.compile(r"[\x21-\x7e]*")
_PUBLIC_URL: Final = re.compile(r"https?://[^\x00-\x20\x7f/?#]+(/[^\x00-\x20\x7f?#]*)?")

_VARIABLES: Final = {
    "STORE": ("store", "location"),
    "FILES": ("store", "files"),
    "DOWNLOADS": ("store", "downloads"),
    "HOST": ("server", "host"),
    "PORT": ("server", "port"),
    "WORKERS": ("server", "workers"),
    "PUBLIC_URL": ("server", "public_url"),
    "PATH_PREFIX": ("server", "path_prefix"),
    "PRIVATE": ("access", "private"),
    "METRICS_TOKEN": ("access", "metrics_token"),
}
"""`WHEELYARD_<key>` and the setting that it is."""


def read_settings(
    *, file: Path | None, overrides: Mapping[str, Mapping[str, Any]], environ: Mapping[str, str]
) -> Settings:
    """
    Return the settings in force.

    Args:
        file: What `--config` names; None takes `$WHEELYARD_CONFIG`, else `./wheelyard.toml`.
        overrides: By section and key, from the command line; None stands for "not given".
        environ: The environment.

    Raises:
        Invalid: The file is missing or no TOML, a key is unknown, or a value makes no sense.
    """
    values = _from_file(file, environ)
    for key, (section, name) in _VARIABLES.items():
        # an empty variable is how a shell or a compose file says "not set"
        if text := environ.get(ENVIRONMENT_PREFIX + key):
            values.setdefault(section, {})[name] = text
    if environ.get("PORT") and not environ.get(ENVIRONMENT_PREFIX + "PORT"):
        values.setdefault("server", {})["port"] = environ["PORT"]
    for section, given in overrides.items():
        chosen = {name: value for name, value in given.items() if value is not None}
        values.setdefault(section, {}).update(chosen)
    try:
        settings = convert(values, Settings, strict=False)
    except ValidationError as error:
        raise _bad_setting(_in_words(str(error))) from error
    return _checked(settings)


def process_environment() -> Mapping[str, str]:
    """Return the environment of this process."""
    return os.environ


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Return the `WHEELYARD_*` variables that are no settings, which are typing errors mostly."""
    known = {ENVIRONMENT_PREFIX + key for key in (*_VARIABLES, "CONFIG")}
    return sorted(key for key in environ if key.startswith(ENVIRONMENT_PREFIX) and key not in known)


def _from_file(file: Path | None, environ: Mapping[str, str]) -> _Values:
    named = file or _named(environ.get(f"{ENVIRONMENT_PREFIX}CONFIG"))
    path = named or DEFAULT_FILE
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if named is None:
            return {}
        raise Invalid(
            f"There is no file {escaped(str(path))}. Give --config one that is there.",
            code="bad_setting",
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise Invalid(
            f"{escaped(str(path))} cannot be read: {why}. See docs/settings.md for its form.",
            code="bad_setting",
        ) from error
    for section, value in values.items():
        if not isinstance(value, dict):
            raise _bad_setting(f"{quoted(section)} stands in no section")
    return values


def _named(text: str | None) -> Path | None:
    return Path(text) if text else None


def _checked(settings: Settings) -> Settings:
    server = settings.server
    for root in server.roots:
        _check_root(root)
    prefix = server.path_prefix.strip("/")
    if any(part in ("", ".", "..") for part in prefix.split("/")) and prefix:
        raise _bad_setting(f"{quoted(server.path_prefix)} is no path prefix")
    _check_public_url(server.public_url, f"/{prefix}" if prefix else "")
    if not server.host:
        raise _bad_setting("[server] host: expected an address to listen on")
    _check_store(settings.store)
    for pattern in settings.access.private_names:
        parse_pattern(pattern)
    if not _TOKEN.fullmatch(settings.access.metrics_token):
        raise _bad_setting("[access] metrics_token: expected ASCII without spaces")
    return replace(settings, server=replace(server, path_prefix=f"/{prefix}" if prefix else ""))


def _check_root(root: str) -> None:
    if root in FIXED_PATHS:
        raise _bad_setting(f"[server] roots: {quoted(root)} is a path of the index already")
    if parse_name(root) != root:
        raise _bad_setting(f"[server] roots: {quoted(root)} is not written as {parse_name(root)}")


def _check_store(store: StoreSettings) -> None:
    if not store.location or "\0" in store.location:
        raise _bad_setting(f"[store] location: expected {_FOLDER_OR_BUCKET}")
    if not store.location.lower().startswith("gs:"):
        for name in ("files", "downloads"):
            if getattr(store, name) != getattr(StoreSettings(), name):
                raise _bad_setting(
                    f"[store] {name} is for a bucket, and [store] location names none. Leave it "
                    "out, or give gs://BUCKET/PREFIX as the location"
                )
        return
    kept = _bucket("location", store.location)
    files = _bucket("files", store.files) if store.files else kept
    if store.downloads == "public" and files.bucket == kept.bucket:
        raise _bad_setting(
            '[store] downloads = "public" needs [store] files in a bucket of its own: allUsers '
            f"covers a whole bucket, and {kept.bucket} holds credentials and the journal as well"
        )


def _bucket(name: str, text: str) -> BucketLocation:
    try:
        return parse_location(text)
    except Invalid as error:
        raise _bad_setting(f"[store] {name}: {error.message.rstrip('.')}") from error


def _check_public_url(url: str, prefix: str) -> None:
    if not url:
        return
    if not _PUBLIC_URL.fullmatch(url):
        raise _bad_setting(
            "[server] public_url: expected a URL that begins with https:// or http://, such as "
            "https://packages.example.com"
        )
    path = url.split("://", 1)[1].partition("/")[2].rstrip("/")
    if not f"/{path}".endswith(prefix):
        raise _bad_setting(
            f"[server] public_url: expected it to end with the path_prefix, {quoted(prefix)}"
        )


def _is_unspecified(host: str) -> bool:
    """Return whether `host` stands for every address of this machine, which no URL can name."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def _in_words(problem: str) -> str:
    """Return what msgspec says of a value, in the words of whoever wrote the value."""
    if found := _UNKNOWN.fullmatch(problem):
        name, section = found.groups()
        return (
            f"[{section}] has no setting {quoted(name)}"
            if section
            else f"there is no section {quoted(name)}"
        )
    if found := _EXPECTED.fullmatch(problem):
        kind, relation, bound, section, name = found.groups()
        place = f"[{section}] {name}" if name else f"[{section}]"
        limit = f" {_RANGES[relation]} {bound}" if relation else ""
        expected = _choice(section, name) or f"{_KINDS.get(kind, kind)}{limit}"
        return f"{place}: expected {expected}"
    return quoted(problem)


def _choice(section: str, name: str | None) -> str | None:
    """Return the words that a setting can be, where there are only some."""
    hint = get_type_hints(get_type_hints(Settings)[section]).get(name or "")
    if get_origin(hint) is not Literal:
        return None
    *words, last = get_args(hint)
    return f"{', '.join(words)} or {last}"


def _bad_setting(why: str) -> Invalid:
    known = ", ".join(f"[{each.name}]" for each in fields(Settings))
    return Invalid(
        f"A setting is wrong: {why}. The sections are {known}; see docs/settings.md.",
        code="bad_setting",
    )
