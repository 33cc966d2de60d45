"""Every setting by its names: what the file, the environment and the command line call it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, Final, get_args, get_origin

from msgspec import Meta, Struct
from msgspec.structs import fields

from wheelyard.settings.sections import Settings

PREFIX: Final = "WHEELYARD_"
WHOLE: Final = f"{PREFIX}TOML"
"""The variable that holds the text of a whole settings file."""
TABLES: Final = frozenset({"grant", "publisher"})
"""What stands in the file as `[[name]]`, any number of times."""

Place = tuple[str, ...]
"""The sections that a setting is in, and its key."""

PLATFORM: Final[Mapping[Place, str]] = MappingProxyType(
    {("server", "port"): "PORT", ("log", "project"): "GOOGLE_CLOUD_PROJECT"}
)
"""Variables that platforms set; our own beats them."""
OPTIONS: Final[Mapping[Place, str]] = MappingProxyType(
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

_SHORT: Final[Mapping[Place, str]] = MappingProxyType(
    {
        ("store", "location"): "STORE",
        ("trusted_publishing", "audience"): "PUBLISHING_AUDIENCE",
        ("google", "id_token", "audience"): "ID_TOKEN_AUDIENCE",
        ("google", "id_token", "allowed_domains"): "ALLOWED_DOMAINS",
        ("google", "access_token", "resource"): "ACCESS_TOKEN_RESOURCE",
        **{("store", key): key.upper() for key in ("files", "downloads")},
        **{("server", key): key.upper() for key in ("host", "port", "workers", "public_url")},
        **{("server", key): key.upper() for key in ("path_prefix", "trusted_proxies")},
        **{("access", key): key.upper() for key in ("private", "private_names", "trusted_hosts")},
        **{("access", key): key.upper() for key in ("htpasswd_file", "static_tokens_file")},
        **{("access", key): key.upper() for key in ("metrics_token", "static_token")},
        **{("access", key): key.upper() for key in ("credentials_store", "require_https")},
    }
)
"""Settings whose variable does not name the section."""
_SECRET: Final = "_token"  # noqa: S105 - how the names of settings end that are secrets


@dataclass(frozen=True, slots=True)
class Setting:
    """
    One setting.

    Args:
        place: Its sections and its key.
        hint: Its type, with its limits.
        default: What it is where nobody says anything.
    """

    place: Place
    hint: Any
    default: object

    @property
    def key(self) -> str:
        """Its name within its section."""
        return self.place[-1]

    @property
    def kind(self) -> Any:  # noqa: ANN401 - a type, or a form of one
        """Its type, without its limits."""
        return get_args(self.hint)[0] if get_origin(self.hint) is Annotated else self.hint

    @property
    def meta(self) -> Meta:
        """Its limits, and the `title` of what it holds."""
        return next((each for each in get_args(self.hint) if isinstance(each, Meta)), Meta())

    @property
    def is_table(self) -> bool:
        """Whether it stands in the file as `[[name]]`."""
        return self.place[0] in TABLES

    @property
    def is_list(self) -> bool:
        """Whether it is a list of texts."""
        return bool(self.kind == tuple[str, ...])

    @property
    def is_secret(self) -> bool:
        """Whether nobody may see it."""
        return self.key.endswith(_SECRET)

    @property
    def variable(self) -> str:
        """The environment variable that it is read from; nothing for a table."""
        return "" if self.is_table else PREFIX + _SHORT.get(self.place, _long(self.place))

    @property
    def variables(self) -> tuple[str, ...]:
        """All names of that variable: those that leave the section out have the long one, too."""
        if self.is_table:
            return ()
        return tuple(dict.fromkeys((self.variable, PREFIX + _long(self.place))))

    def value_in(self, settings: Settings) -> object:
        """Return what it is in some settings."""
        value: object = settings
        for name in self.place:
            value = getattr(value, name)
        return value

    def __str__(self) -> str:  # as the file has it
        if self.is_table:
            return f"[[{self.key}]]"
        return f"[{'.'.join(self.place[:-1])}] {self.key}"


@cache
def every_setting() -> Mapping[Place, Setting]:
    """Return all settings, in the order of their sections, the tables last."""
    return MappingProxyType({each.place: each for each in _within(Settings, ())})


def names_in(section: Place) -> list[str]:
    """Return what stands directly in a section: settings and sections; `()` is the whole file."""
    depth = len(section)
    below = (place for place in every_setting() if place[:depth] == section)
    return list(dict.fromkeys(place[depth] for place in below if place[depth:]))


def is_section(hint: object) -> bool:
    """Return whether a type is that of a section."""
    return isinstance(hint, type) and issubclass(hint, Struct)


def meant_by(name: str) -> str:
    """Return which variable somebody may have meant by one that is no setting, or nothing."""
    if name in {PREFIX + table.upper() for table in TABLES}:
        return WHOLE
    known = [setting.variable for setting in every_setting().values() if setting.variable]
    rests = [each.removeprefix(PREFIX) for each in (*known, f"{PREFIX}CONFIG", WHOLE)]
    found = nearest(name.removeprefix(PREFIX), rests, 0.7)
    return f"{PREFIX}{found}" if found else ""


def nearest(name: str, known: Sequence[str], likeness: float = 0.6) -> str:
    """Return which name of some is meant by one that is none of them, or nothing."""
    # only for whoever has mistyped something
    from difflib import get_close_matches  # noqa: PLC0415

    return next(iter(get_close_matches(name, known, 1, likeness)), "")


def _long(place: Place) -> str:
    return "_".join(place).upper()


def _within(section: type[Struct], above: Place) -> Iterator[Setting]:
    for each in fields(section):
        place = (*above, each.name)
        if is_section(each.type):
            yield from _within(each.type, place)
        else:
            yield Setting(place, each.type, each.default)
