"""
Which indexes the clients of a machine use: their settings files and variables, and which one wins.

pip: global files, the user's, the environment's `pip.conf`, `$PIP_CONFIG_FILE`, variables `PIP_*`.
uv: variables `UV_*`, then the files of the project, the user and the system.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from configparser import Error as ConfigError
from configparser import RawConfigParser
from contextlib import suppress
from dataclasses import dataclass, field
from os import devnull
from pathlib import Path
from shutil import which
from typing import Any, Final, TypeVar

from msgspec import Struct, convert, toml

from wheelyard.http_client.credential_stores import TOKEN_USER
from wheelyard.http_client.urls import BadUrl, Url, UserPassword, parse_url

T = TypeVar("T")

PIP_SECTIONS: Final = ("global", "install")
"""The sections that `pip install` reads. The later one wins, whatever files they are in."""
EXTRA: Final = "pip, extra"
"""pip as a client that asks an index beside its own one."""
UV_VARIABLES: Final = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
"""Variables with indexes for uv, in its order. The last two have the default one."""
NAMED: Final = re.compile(r"([A-Za-z0-9._-]+)=(.*)")
"""An index of a variable, with a name before its URL."""


class UvIndex(Struct, frozen=True):
    """An index of a settings file of uv."""

    url: str = ""
    name: str = ""
    default: bool = False


class UvSettings(Struct, frozen=True, rename="kebab"):
    """A settings file of uv."""

    index: list[UvIndex] = []
    index_url: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the programs of a user see: the environment and folders."""

    environ: Mapping[str, str] = field(repr=False)
    home: Path
    folder: Path
    """The working directory."""
    etc: Path = Path("/etc")
    """The folder of the system's settings."""

    @property
    def config(self) -> Path:
        """The folder of the user's settings."""
        return Path(self.environ.get("XDG_CONFIG_HOME") or self.home / ".config")


class ClientIndex:
    """An index that a client asks, and the file or variable that has it."""

    def __init__(
        self, client: str, text: str, source: str, user: str = "", password: str = ""
    ) -> None:
        self.client, self.source = client, source
        self.is_folder = text.strip().lower().startswith("file:")
        self.url: Url | None = None
        """None if the setting is no URL of http or https."""
        with suppress(BadUrl):
            self.url = parse_url(text.strip())
        login = self.url.login if self.url else None
        self.login = UserPassword(user or TOKEN_USER, password) if password else login
        """The credential that the settings have for it."""


class ConfiguredClients:
    """Reads the settings of the clients of a machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self._environ = machine, machine.environ
        self.problems: list[str] = []
        """Clauses about files that cannot be read."""
        self.pip = dict(self._pip_values())
        """pip's values and their sources, by key."""
        self.installs = [*self._pip_indexes(), *self._uv_indexes()]
        """The indexes that pip and uv ask, in the order in which each asks."""

    def authorities(self) -> tuple[str, str]:
        """Return the file of authorities of a setting, and its source, or two empty texts."""
        names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
        set_here = ((self._environ[name], f"${name}") for name in names if self._environ.get(name))
        return self.pip.get("cert") or next(set_here, ("", ""))

    def _pip_values(self) -> Iterator[tuple[str, tuple[str, str]]]:
        files = [(path, self._read(path, _ini)) for path in self._pip_files()]
        # later values replace earlier ones: files, then variables
        for section in PIP_SECTIONS:
            for path, sections in files:
                for key, text in sections.get(section, {}).items():
                    yield key.replace("_", "-").removeprefix("--"), (text, str(path))
        for name, text in self._environ.items():
            if name.startswith("PIP_") and text:
                yield name[4:].lower().replace("_", "-"), (text, f"${name}")

    def _pip_files(self) -> Iterator[Path]:
        machine, named = self.machine, self._environ.get("PIP_CONFIG_FILE", "")
        if named == devnull:
            return
        yield from (machine.etc / "xdg" / "pip" / "pip.conf", machine.etc / "pip.conf")
        if not named:
            yield from (machine.home / ".pip" / "pip.conf", machine.config / "pip" / "pip.conf")
        prefix = self._environ.get("VIRTUAL_ENV") or self._environ.get("CONDA_PREFIX")
        if program := which("pip", path=self._environ.get("PATH", "")):
            yield (Path(prefix) if prefix else Path(program).parent.parent) / "pip.conf"
        if named:
            yield machine.folder / named

    def _pip_indexes(self) -> Iterator[ClientIndex]:
        for key, client in (("index-url", "pip"), ("extra-index-url", EXTRA)):
            text, source = self.pip.get(key, ("", ""))
            yield from (ClientIndex(client, url, source) for url in text.split())

    def _uv_indexes(self) -> Iterator[ClientIndex]:
        """Yield the indexes of variables, then those of files, and the default one last."""
        entries = list[tuple[UvIndex, str]]()
        for variable in UV_VARIABLES:
            for text in self._environ.get(variable, "").split():
                name, url = match.groups() if (match := NAMED.fullmatch(text)) else ("", text)
                is_default = variable in UV_VARIABLES[2:]
                entries.append((UvIndex(url, name, is_default), f"${variable}"))
        for path, settings in self._uv_files():
            default = [UvIndex(settings.index_url, default=True)] if settings.index_url else []
            entries += ((entry, str(path)) for entry in (*settings.index, *default))
        # of several default ones, uv takes the first
        last = [entry for entry in entries if entry[0].default][:1]
        for entry, source in (*(entry for entry in entries if not entry[0].default), *last):
            variable = f"UV_INDEX_{re.sub('[^A-Z0-9]', '_', entry.name.upper())}"
            user, password = (
                self._environ.get(f"{variable}_{part}", "") for part in ("USERNAME", "PASSWORD")
            )
            yield ClientIndex("uv", entry.url, source, user, password)

    def _uv_files(self) -> Iterator[tuple[Path, UvSettings]]:
        """Yield the settings of the project, of the user, and of the system."""
        machine = self.machine
        # the nearest folder that has one counts, and no other
        for folder in (machine.folder, *machine.folder.parents):
            own, project = folder / "uv.toml", folder / "pyproject.toml"
            if own.exists():
                yield own, self._read(own, _uv)
                break
            if settings := self._read(project, _uv_of_project):
                yield project, settings
                break
        for folder in (machine.config, machine.etc / "xdg", machine.etc):
            path = folder / "uv" / "uv.toml"
            yield path, self._read(path, _uv)

    def _read(self, path: Path, parse: Callable[[str], T]) -> T:
        """
        Return the content of a file, or that of an empty one.

        A file that is there and cannot be read is noted among the problems.
        """
        try:
            return parse(path.read_text(encoding="utf-8-sig"))
        except (FileNotFoundError, NotADirectoryError):
            pass
        except (OSError, ValueError, ConfigError, RecursionError) as error:
            # the message of a parser may quote a secret
            why = getattr(error, "strerror", None)
            self.problems.append(f"{path} cannot be read: {why}" if why else f"{path} is malformed")
        return parse("")


def _ini(text: str) -> dict[str, dict[str, str]]:
    parser = RawConfigParser()
    parser.read_string(text)
    return {name: dict(section) for name, section in parser.items()}


def _uv(text: str) -> UvSettings:
    return toml.decode(text, type=UvSettings)


def _uv_of_project(text: str) -> UvSettings | None:
    tools = convert(toml.decode(text).get("tool", {}), dict[str, Any])
    return convert(tools.get("uv"), UvSettings | None)
