"""Reading several lock files of any kind, and what they list together."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.model.distribution_filename import Sha256
from wheelyard.upstream.lock_files.lock_text import read_lock_text
from wheelyard.upstream.lock_files.locked_package import (
    ForeignPackage,
    LockedFile,
    LockedPackage,
    LockEntry,
)
from wheelyard.upstream.lock_files.requirements_file import read_requirements
from wheelyard.upstream.lock_files.toml_lock import TomlLock, reader_for

_TOML_NAME: Final = re.compile(r"(uv|poetry|pdm)\.lock|pylock(\.[^.]+)?\.toml")
_TOML_LINE: Final = re.compile(r"^[ \t]*(\[\[packages?\]\]|lock-version *=)", re.MULTILINE)
"""A line that lock files in TOML have, and no requirements file."""


class LockedFiles(Struct, frozen=True):
    """What some lock files list together."""

    projects: dict[NormalizedName, tuple[LockedFile, ...]]
    """The files of each project, each digest once; sorted."""
    without_digest: tuple[LockedPackage, ...] = ()
    """One line for each project for which no digest is listed."""
    foreign: tuple[ForeignPackage, ...] = ()


def read_lock_files(paths: Iterable[Path]) -> LockedFiles:
    """Return what these lock files list; raise Invalid, with file and line, for a wrong one."""
    files = dict[NormalizedName, dict[Sha256, LockedFile]]()
    without, foreign = dict[NormalizedName, LockedPackage](), dict[ForeignPackage, None]()
    for path in paths:
        for entry in _entries(path):
            if isinstance(entry, ForeignPackage):
                foreign[entry] = None
                continue
            known = files.setdefault(entry.project, {})
            for file in entry.files:
                if file.sha256 not in known or not known[file.sha256].filename:
                    known[file.sha256] = file
            if entry.is_required and not entry.files:
                without.setdefault(entry.project, entry)
    listed = {
        name: tuple(sorted(known.values(), key=lambda each: (each.filename, each.sha256)))
        for name, known in sorted(files.items())
        if known
    }
    unlisted = (each for name, each in without.items() if name not in listed)
    return LockedFiles(listed, tuple(unlisted), tuple(foreign))


def _entries(path: Path) -> Iterator[LockEntry]:
    text = read_lock_text(path)
    if _TOML_NAME.fullmatch(path.name) or _TOML_LINE.search(text):
        lock = TomlLock(str(path), text)
        return reader_for(lock)(lock)
    return read_requirements(path, text)
