"""The packages that a lock file in `requirements/` names."""

import re
from pathlib import Path
from typing import Final, NamedTuple

from packaging.utils import NormalizedName, canonicalize_name

_PACKAGE: Final = re.compile(r"^([\w.-]+)(?:\[[^]]*\])?==([^\s;]+)(.*)", re.MULTILINE)
_DIGEST: Final = re.compile(r"sha256:(\w+)")


class LockedPackage(NamedTuple):
    """A package of a lock, whatever system it is for."""

    name: NormalizedName
    version: str
    digests: tuple[str, ...]
    """The SHA-256 of its files, sorted."""


def read_lock(lock: Path) -> list[LockedPackage]:
    """Return all packages of a lock. One may be in it with several versions."""
    text = lock.read_text(encoding="utf-8").replace("\\\n", "")
    return [
        LockedPackage(canonicalize_name(name), version, tuple(sorted(_DIGEST.findall(rest))))
        for name, version, rest in _PACKAGE.findall(text)
    ]
