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
PIP_EXTRA: Final = "pip, extra"
"""pip as a client that asks an index beside its own one."""
UV_VARIABLES: Final = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
"""Variables with indexes for uv, in its order. The last two have the default index."""
UV_DEFAULT_VARIABLES: Final = UV_VARIABLES[2:]
CERTIFICATE_VARIABLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""Variables with a file of authorities, in the order in which they count."""
NAMED_INDEX: Final = re.compile(r"([A-Za-z0-9._-]+)=(.*)")
"""Matches an index of a variable that has a name before its URL: `NAME=URL`."""


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
        self.client = client
        self.source = source
        self.is_folder = text.strip().lower().startswith("file:")
        self.url: Url | None = None
        """None if the setting is no URL of http or https."""
        with suppress(BadUrl):
            self.url = parse_url(text.strip())
        self.login: UserPassword | None = None
        """The credential that the settings have for the index, or None."""
        if password:
            self.login = UserPassword(user or TOKEN_USER, password)
        elif self.url is not None:
            self.login = self.url.login


class ConfiguredClients:
    """Reads the settings of the clients of a machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._environ = machine.environ
        self.problems: list[str] = []
        """Clauses about files that cannot be read, or are malformed."""
        self.pip = dict(self._pip_values())
        """pip's values and their sources, by key."""
        self.indexes = list(self._pip_indexes())
        """The indexes that pip and uv ask, in the order in which each asks."""
        self.indexes += self._uv_indexes()

    def authorities(self) -> tuple[str, str]:
        """Return the file of authorities of a setting, and its source, or two empty texts."""
        # pip's own setting comes before the variables, which other programs read, too
        certificates = self.pip.get("cert")
        if certificates:
            return certificates
        for name in CERTIFICATE_VARIABLES:
            if self._environ.get(name):
                return self._environ[name], f"${name}"
        return "", ""

    def _pip_values(self) -> Iterator[tuple[str, tuple[str, str]]]:
        """Yield pip's keys, each with its value and source. A later one replaces an earlier one."""
        sections_of_files = [(path, self._read(path, _parse_ini)) for path in self._pip_files()]
        # pip reads all sections of one name, of whatever file, before those of the next name
        for section_name in PIP_SECTIONS:
            for path, sections in sections_of_files:
                for key, text in sections.get(section_name, {}).items():
                    # pip takes `index_url` and `--index-url`, too
                    yield key.replace("_", "-").removeprefix("--"), (text, str(path))
        for name, text in self._environ.items():
            if name.startswith("PIP_") and text:
                key = name.removeprefix("PIP_").lower().replace("_", "-")
                yield key, (text, f"${name}")

    def _pip_files(self) -> Iterator[Path]:
        """Yield the settings files that pip may read here, from the weakest to the strongest."""
        machine = self.machine
        named_file = self._environ.get("PIP_CONFIG_FILE", "")
        # with this value pip reads no file at all
        if named_file == devnull:
            return
        yield machine.etc / "xdg" / "pip" / "pip.conf"
        yield machine.etc / "pip.conf"
        # a named file takes the place of the user's files
        if not named_file:
            yield machine.home / ".pip" / "pip.conf"
            yield machine.config / "pip" / "pip.conf"
        prefix = self._environ.get("VIRTUAL_ENV") or self._environ.get("CONDA_PREFIX")
        program = which("pip", path=self._environ.get("PATH", ""))
        if program:
            # without a variable, the environment in which this pip is
            environment = Path(prefix) if prefix else Path(program).parent.parent
            yield environment / "pip.conf"
        if named_file:
            yield machine.folder / named_file

    def _pip_indexes(self) -> Iterator[ClientIndex]:
        """Yield the index of pip, then its extra ones."""
        for key, client in (("index-url", "pip"), ("extra-index-url", PIP_EXTRA)):
            text, source = self.pip.get(key, ("", ""))
            for url in text.split():
                yield ClientIndex(client, url, source)

    def _uv_indexes(self) -> Iterator[ClientIndex]:
        """Yield the indexes of variables, then those of files, and the default one last."""
        entries = [*self._uv_variable_entries(), *self._uv_file_entries()]
        ordered_entries = [(index, source) for index, source in entries if not index.default]
        default_entries = [(index, source) for index, source in entries if index.default]

        # of several default ones, uv takes the first
        ordered_entries += default_entries[:1]
        for index, source in ordered_entries:
            # uv takes the credential of an index with a name from these variables
            variable = f"UV_INDEX_{re.sub('[^A-Z0-9]', '_', index.name.upper())}"
            user = self._environ.get(f"{variable}_USERNAME", "")
            password = self._environ.get(f"{variable}_PASSWORD", "")
            yield ClientIndex("uv", index.url, source, user, password)

    def _uv_variable_entries(self) -> Iterator[tuple[UvIndex, str]]:
        """Yield the indexes of variables, each with the variable as its source."""
        for variable in UV_VARIABLES:
            for text in self._environ.get(variable, "").split():
                name = ""
                url = text
                match = NAMED_INDEX.fullmatch(text)
                if match is not None:
                    name, url = match.groups()
                is_default = variable in UV_DEFAULT_VARIABLES
                yield UvIndex(url, name, is_default), f"${variable}"

    def _uv_file_entries(self) -> Iterator[tuple[UvIndex, str]]:
        """Yield the indexes of settings files, each with the file as its source."""
        for path, settings in self._uv_files():
            for index in settings.index:
                yield index, str(path)
            if settings.index_url:
                yield UvIndex(settings.index_url, default=True), str(path)

    def _uv_files(self) -> Iterator[tuple[Path, UvSettings]]:
        """Yield the settings files of the project, the user and the system, with their content."""
        machine = self.machine
        # the nearest folder that has settings counts, and no other
        for folder in (machine.folder, *machine.folder.parents):
            uv_file = folder / "uv.toml"
            project_file = folder / "pyproject.toml"
            # beside a uv.toml, uv ignores what pyproject.toml has for it
            if uv_file.exists():
                yield uv_file, self._read(uv_file, _parse_uv)
                break
            settings = self._read(project_file, _parse_project)
            if settings:
                yield project_file, settings
                break
        for folder in (machine.config, machine.etc / "xdg", machine.etc):
            path = folder / "uv" / "uv.toml"
            yield path, self._read(path, _parse_uv)

    def _read(self, path: Path, parse: Callable[[str], T]) -> T:
        """
        Return the parsed content of a file, or what `parse` returns for an empty file.

        A file that exists, and cannot be read or is malformed, is noted among the problems.
        """
        try:
            return parse(path.read_text(encoding="utf-8-sig"))
        except (FileNotFoundError, NotADirectoryError):
            pass
        except (OSError, ValueError, ConfigError, RecursionError) as error:
            # not the message of a parser, which may quote a secret
            why = getattr(error, "strerror", None)
            if why:
                self.problems.append(f"{path} cannot be read: {why}")
            else:
                self.problems.append(f"{path} is malformed")
        return parse("")


def _parse_ini(text: str) -> dict[str, dict[str, str]]:
    """Return the values of a settings file of pip, by section and key."""
    parser = RawConfigParser()
    parser.read_string(text)
    return {name: dict(section) for name, section in parser.items()}


def _parse_uv(text: str) -> UvSettings:
    """Return the settings in a `uv.toml`."""
    return toml.decode(text, type=UvSettings)


def _parse_project(text: str) -> UvSettings | None:
    """Return the settings of uv in a `pyproject.toml`, or None if it has none."""
    document = toml.decode(text)
    tools = convert(document.get("tool", {}), dict[str, Any])
    return convert(tools.get("uv"), UvSettings | None)
