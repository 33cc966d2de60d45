"""
The settings of installers and publishers: which files and variables have them, and which one wins.

pip: global files, the user's, the environment's `pip.conf`, `$PIP_CONFIG_FILE`, variables `PIP_*`.
uv: system, user, project, variables `UV_*`; or `$UV_CONFIG_FILE` alone.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from configparser import Error as ConfigError
from configparser import RawConfigParser
from dataclasses import dataclass, field
from os import devnull
from pathlib import Path
from shutil import which
from typing import Any, Final
from urllib.parse import quote

from msgspec import Struct

from wheelyard.doctor.findings import Machine, exists
from wheelyard.http_client.urls import Url, parse_url

PIP_SECTIONS: Final = ("global", "install")
"""The sections that `pip install` reads; the later one wins, whatever files they are in."""
UV_VARIABLES: Final = {
    "default-index": ("UV_INDEX_URL", "UV_DEFAULT_INDEX"),
    "index": ("UV_EXTRA_INDEX_URL", "UV_INDEX"),
    "publish-url": ("UV_PUBLISH_URL",),
    "system-certs": ("UV_NATIVE_TLS", "UV_SYSTEM_CERTS"),
}
"""Variables of uv by key; the later one wins."""
NO_LETTERS: Final = re.compile(r"[^A-Z0-9]")


@dataclass(frozen=True, slots=True)
class Value:
    """The text of a setting, and the file or variable that has it."""

    text: str = field(repr=False)
    source: str

    @property
    def url(self) -> Url | None:
        """The text as a URL; None if it is none."""
        try:
            return parse_url(self.text.strip())
        except ValueError:
            return None


class FoundSettings(Struct, frozen=True):
    """The settings of one client."""

    client: str
    values: dict[str, list[Value]] = {}
    """Values by key, the one that wins last."""
    files: list[str] = []
    """The files that were read, in that order."""
    problems: list[str] = []
    """Clauses about files that cannot be read."""

    def winner(self, *keys: str) -> Value | None:
        """Return the value that is used, of the first of the keys that has one."""
        return next((self.values[key][-1] for key in keys if key in self.values), None)

    def text(self, key: str) -> str:
        """Return the text of the value that is used, or an empty string."""
        found = self.winner(key)
        return "" if found is None else found.text

    def add(self, key: str, text: object, source: str) -> None:
        """Add a value, which wins over earlier ones of its key, unless it is empty or no text."""
        if isinstance(text, str) and text.strip():
            self.values.setdefault(key, []).append(Value(text.strip(), source))

    def tables(self, path: Path) -> dict[str, Any]:
        """Return the tables of a TOML file; empty if it is missing or malformed."""
        try:
            return tomllib.loads(self._read(path))
        except (ValueError, RecursionError):  # its message may quote a secret
            self.problems.append(f"{path} is no valid TOML")
            return {}

    def sections(self, path: Path) -> RawConfigParser:
        """Return the sections of an INI file; none if it is missing or malformed."""
        parser = RawConfigParser()
        try:
            parser.read_string(self._read(path))
        except ConfigError:
            self.problems.append(f"{path} is malformed")
            return RawConfigParser()
        return parser

    def _read(self, path: Path) -> str:
        """Return the text of a file; note one that cannot be read, which is as good as empty."""
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8"
            self.problems.append(f"{path} cannot be read: {why}")
            return ""
        self.files.append(str(path))
        return text


def pip_settings(machine: Machine) -> FoundSettings:
    """Return what `pip install` reads."""
    found, environ = FoundSettings("pip"), machine.environ
    parsers = [(path, found.sections(path)) for path in _pip_files(machine)]
    for section in PIP_SECTIONS:
        for path, parser in parsers:
            for key, text in parser.items(section) if parser.has_section(section) else ():
                found.add(key.lower().replace("_", "-").removeprefix("--"), text, str(path))
    for name in sorted(environ):
        if name.startswith("PIP_") and name != "PIP_CONFIG_FILE":
            found.add(name[4:].lower().replace("_", "-"), environ[name], f"${name}")
    return found


def _pip_files(machine: Machine) -> Iterator[Path]:
    named = machine.environ.get("PIP_CONFIG_FILE", "")
    if named == devnull:
        return
    yield from (folder / "pip" / "pip.conf" for folder in machine.system_folders())
    yield machine.etc / "pip.conf"
    if not (named and exists(machine.folder / named)):
        yield machine.home / ".pip" / "pip.conf"
        yield machine.config_folder() / "pip" / "pip.conf"
    _, prefix = machine.variable("VIRTUAL_ENV", "CONDA_PREFIX")
    program = which("pip", path=machine.environ.get("PATH", ""))
    if prefix or program:
        yield (Path(prefix) if prefix else Path(program or "").parent.parent) / "pip.conf"
    if named:
        yield machine.folder / named


def uv_settings(machine: Machine) -> FoundSettings:
    """Return what uv reads: its indexes, and where it publishes."""
    found = FoundSettings("uv")
    for path in _uv_files(machine):
        tables = found.tables(path)
        if path.name == "pyproject.toml":
            tables = _table(_table(tables, "tool"), "uv")
        _add_uv_tables(found, tables, str(path), machine)
    for key, names in UV_VARIABLES.items():
        for name in names:
            for text in reversed(machine.environ.get(name, "").split()):
                # an index may have a name before its URL
                before, scheme, rest = text.partition("://")
                index, _, start = before.rpartition("=")
                url = f"{start}{scheme}{rest}"
                found.add(key, *_with_login(url, f"${name}", index, machine))
    return found


def _add_uv_tables(
    found: FoundSettings, tables: dict[str, Any], source: str, machine: Machine
) -> None:
    for table in (tables, _table(tables, "pip")):
        found.add("default-index", table.get("index-url"), source)
        found.add("publish-url", table.get("publish-url"), source)
        if True in (table.get("system-certs"), table.get("native-tls")):
            found.add("system-certs", "true", source)
    # the first of a file is asked first, so that it is the last that is added
    for index in reversed(_list(tables, "index")):
        key = "default-index" if index.get("default") is True else "index"
        url, name = str(index.get("url", "")), str(index.get("name", ""))
        found.add(key, *_with_login(url, source, name, machine))
        found.add("publish-url", index.get("publish-url"), source)


def _with_login(url: str, source: str, index: str, machine: Machine) -> tuple[str, str]:
    """Return URL and source of an index, with the user and the password of its own variables."""
    prefix = f"UV_INDEX_{NO_LETTERS.sub('_', index.upper())}"
    user = machine.environ.get(f"{prefix}_USERNAME", "")
    name, password = machine.variable(f"{prefix}_PASSWORD")
    scheme, separator, rest = url.partition("://")
    if not (index and password and separator):
        return url, source
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return f"{scheme}://{login}@{rest}", f"{source}, ${name}"


def _uv_files(machine: Machine) -> Iterator[Path]:
    if named := machine.environ.get("UV_CONFIG_FILE"):
        yield machine.folder / named
        return
    if machine.environ.get("UV_NO_CONFIG"):
        return
    yield machine.etc / "uv" / "uv.toml"
    yield from (folder / "uv" / "uv.toml" for folder in reversed(machine.system_folders()))
    yield machine.config_folder() / "uv" / "uv.toml"
    for folder in (machine.folder, *machine.folder.parents):
        if exists(folder / "uv.toml"):
            yield folder / "uv.toml"
            return
        if _has_uv_table(folder / "pyproject.toml"):
            yield folder / "pyproject.toml"
            return


def _has_uv_table(path: Path) -> bool:
    return "uv" in _table(FoundSettings("uv").tables(path), "tool")


def _table(tables: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = tables.get(name)
    return found if isinstance(found, dict) else {}


def _list(tables: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = tables.get(name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
