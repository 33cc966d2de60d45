"""
The user's settings: the only reader of the environment and of the settings file.

The file is `~/.config/wheelyard/keyring.toml`. Nothing is read from the current folder, which may
belong to someone else. A file with any error is rejected as a whole.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from wheelyard_keyring.hosts import AllowedHost, RequestedHost, parse_host

FILE: Final = Path(".config", "wheelyard", "keyring.toml")
"""Below the home directory."""
VARIABLE: Final = "WHEELYARD_KEYRING_HOSTS"
"""Its hosts replace those of the file."""
MODES: Final = ("auto", "id_token", "access_token")
TOKEN: Final = re.compile(r"wyd_[0-9A-Za-z]{48}")
METADATA_SERVER: Final = "metadata.google.internal"


class BadSettingError(Exception):
    """An invalid setting; its message is a sentence for the user."""


@dataclass(frozen=True)
class Settings:
    """
    The settings of a user.

    Args:
        hosts: The allow list.
        command: A program and its arguments that prints a token; empty for none.
        mode: Which tokens of Google to use: `auto`, `id_token` or `access_token`.
        audience: Of ID tokens; empty for the URL of the requested host.
        token: WHEELYARD_TOKEN; empty if it is unset or malformed.
        has_bad_token: Whether WHEELYARD_TOKEN is malformed.
        metadata_server: Host, or host and port.
        search_path: The folders with programs, as in PATH.
        credentials_file: The absolute path of application default credentials; may not exist.
    """

    hosts: frozenset[AllowedHost] = frozenset()
    command: tuple[str, ...] = ()
    mode: str = "auto"
    audience: str = ""
    token: str = field(default="", repr=False)
    has_bad_token: bool = False
    metadata_server: str = METADATA_SERVER
    search_path: str = ""
    credentials_file: Path | None = None

    def lists(self, host: RequestedHost) -> bool:
        """Return whether name and port of a requested host are on the allow list."""
        return any(allowed.covers(host) for allowed in self.hosts)


def real_settings() -> Settings:
    """Return the settings of the user who runs this process; raises as `load_settings`."""
    home = os.path.expanduser("~")  # noqa: PTH111 - a Path raises where there is no home
    return load_settings(os.environ, Path(home))


def load_settings(environ: Mapping[str, str], home: Path) -> Settings:
    """
    Return the settings from an environment and from the file in a home directory.

    Args:
        environ: The environment.
        home: The home directory; if it is not an absolute path, no file is read.

    Raises:
        BadSettingError: The file cannot be read or is invalid, or a host is invalid.
    """
    file = home / FILE
    values = _read(file) if home.is_absolute() else {}
    unknown = sorted(values.keys() - {"hosts", "command", "mode", "audience"})
    if unknown:
        raise BadSettingError(f"{file} has a key that is not known: {unknown[0]!r}.")
    hosts = _texts(values, "hosts", file)
    where = str(file)
    if VARIABLE in environ:
        where = VARIABLE
        hosts = [part for part in environ[where].split(",") if part.strip()]
    mode = _text(values, "mode", file) or "auto"
    if mode not in MODES:
        raise BadSettingError(f"In {file}, mode has to be one of {', '.join(MODES)}.")
    token = environ.get("WHEELYARD_TOKEN", "")
    is_token = TOKEN.fullmatch(token) is not None
    return Settings(
        hosts=frozenset(_listed(hosts, where)),
        command=tuple(_texts(values, "command", file)),
        mode=mode,
        audience=_text(values, "audience", file),
        token=token if is_token else "",
        has_bad_token=bool(token) and not is_token,
        metadata_server=environ.get("GCE_METADATA_HOST") or METADATA_SERVER,
        search_path=environ.get("PATH", os.defpath),
        credentials_file=_credentials_file(environ, home),
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettingError(f"{file} cannot be read.") from error
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415 - most who import us have no such file
    else:
        import tomli as tomllib  # noqa: PLC0415 - ditto
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadSettingError(f"{file} is not TOML: {error}") from error


def _text(values: dict[str, Any], key: str, file: Path) -> str:
    value = values.get(key, "")
    if not isinstance(value, str):
        raise BadSettingError(f"In {file}, {key} has to be a string.")
    return value


def _texts(values: dict[str, Any], key: str, file: Path) -> list[str]:
    value = values.get(key, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise BadSettingError(f"In {file}, {key} has to be a list of strings.")
    return value


def _listed(hosts: Iterable[str], where: str) -> list[AllowedHost]:
    listed = []
    for text in hosts:
        host = parse_host(text.strip())
        if host is None:
            raise BadSettingError(
                f"In {where}, {text.strip()!r} is not a host. Write host or host:port, without "
                "https://, a path or a star, and letters outside of ASCII in the xn-- form."
            )
        listed.append(host)
    return listed


def _credentials_file(environ: Mapping[str, str], home: Path) -> Path | None:
    """
    Return the path of application default credentials, as Google's libraries find it.

    It need not exist. Return None for a relative path.
    """
    folder = environ.get("CLOUDSDK_CONFIG")
    if not folder and os.name == "nt":
        folder = str(Path(environ.get("APPDATA", ""), "gcloud"))
    usual = Path(folder or home / ".config" / "gcloud", "application_default_credentials.json")
    file = Path(environ.get("GOOGLE_APPLICATION_CREDENTIALS") or usual)
    return file if file.is_absolute() else None  # a relative path depends on the current folder
