"""Findings of the doctor, and the machine that is examined."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from msgspec import Struct

from wheelyard.concurrency.runtime import Runtime
from wheelyard.http_client.urls import Url

_TOKEN: Final = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9_-]{16,}")
"""A part of a path that may be a secret, as some services have it in their index URLs."""


class CheckOutcome(StrEnum):
    """What a check has found."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"


class Finding(Struct, frozen=True):
    """The result of one check."""

    check: str
    outcome: CheckOutcome
    text: str
    """What was found; it may quote foreign text, and has no secret."""
    advice: str = ""
    """What to do next; empty if nothing is wrong."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the programs of a user see: the environment and two folders; and the clocks."""

    environ: Mapping[str, str] = field(repr=False)
    home: Path
    folder: Path
    """The working directory."""
    runtime: Runtime
    etc: Path = Path("/etc")
    """The folder of the system's settings."""

    def variable(self, *names: str) -> tuple[str, str]:
        """Return name and value of the first variable that is set, else two empty texts."""
        return next(((name, text) for name in names if (text := self.environ.get(name))), ("", ""))

    def config_folder(self) -> Path:
        """Return the folder of a user's settings (XDG)."""
        return Path(self.environ.get("XDG_CONFIG_HOME") or self.home / ".config")

    def system_folders(self) -> list[Path]:
        """Return the folders of the settings of all users (XDG), first one first."""
        text = self.environ.get("XDG_CONFIG_DIRS") or str(self.etc / "xdg")
        return [Path(each) for each in text.split(":") if each]


def exists(path: Path) -> bool:
    """Return whether a path is there, as far as this user may know."""
    with suppress(OSError):
        return path.exists()
    return False


def shown(url: Url) -> str:
    """Return a URL for messages, without what may be secret: user, password, query, long words."""
    words = url.path.split("/")
    path = "/".join("***" if _TOKEN.fullmatch(each) else each for each in words)
    return replace(url, path=path).redacted


def ok(check: str, text: str) -> Finding:
    """Return a finding without a fault."""
    return Finding(check, CheckOutcome.OK, text)


def warning(check: str, text: str, advice: str) -> Finding:
    """Return a finding that need not be a fault."""
    return Finding(check, CheckOutcome.WARNING, text, advice)


def failed(check: str, text: str, advice: str) -> Finding:
    """Return a finding that stops an install or a publish."""
    return Finding(check, CheckOutcome.FAILED, text, advice)
