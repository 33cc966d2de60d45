"""Reading several lock files: `pylock.toml` (PEP 751) and requirements with hashes."""

import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from packaging.pylock import (
    Package,
    PackageArchive,
    PackageSdist,
    PackageWheel,
    Pylock,
    PylockValidationError,
    is_valid_pylock_path,
)
from packaging.utils import NormalizedName

from wheelyard.errors import Invalid
from wheelyard.model.distribution_filename import Sha256
from wheelyard.model.text import escaped
from wheelyard.upstream.lock_files.lock_text import read_lock_text
from wheelyard.upstream.lock_files.locked_package import (
    ForeignPackage,
    Listed,
    LockedFile,
    LockedPackage,
    LockEntry,
    Place,
    filename_of,
    locked_package,
)
from wheelyard.upstream.lock_files.requirements_file import read_requirements

_PYLOCK_LINE: Final = re.compile(r"^[ \t]*\[\[packages\]\]", re.MULTILINE)
_TOOL_LINE: Final = re.compile(r"^[ \t]*\[\[package\]\]", re.MULTILINE)
"""A line that the lock files of tools have, and neither `pylock.toml` nor requirements."""
_EXPORTS: Final = {
    "poetry": "poetry export --output requirements.txt (of the plugin poetry-plugin-export)",
    "pdm": "pdm export --format pylock --output pylock.toml",
    "uv": "uv export --format pylock.toml --output-file pylock.toml",
}
"""The command of each tool that writes what is read here."""
_AT_LINE: Final = re.compile(r"at line (\d+)")


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
    if is_valid_pylock_path(path) or _PYLOCK_LINE.search(text):
        return _read_pylock(str(path), text)
    if path.suffix == ".lock" or _TOOL_LINE.search(text):
        raise _lock_of_a_tool(path, text)
    return read_requirements(path, text)


def _lock_of_a_tool(path: Path, text: str) -> Invalid:
    """Return the error for a tool's own lock file, with the command that exports what is read."""
    maker = f"{path.name} {text.partition(chr(10))[0]}".lower()
    tools = [tool for tool in _EXPORTS if tool in maker][:1] or list(_EXPORTS)
    commands = ", or ".join(f"'{command}'" for command in map(_EXPORTS.get, tools))
    return Place(str(path), 1).fault(
        f"prefetch reads pylock.toml and requirements with hashes; {commands} writes one"
    )


def _read_pylock(file: str, text: str) -> Iterator[LockEntry]:
    try:
        packages = Pylock.from_dict(_parsed_toml(file, text)).packages
    except PylockValidationError as error:
        raise Place(file, error.context or 1).fault(escaped(error.message)) from error
    for number, package in enumerate(packages):
        yield from _entries_of(Place(file, f"packages[{number}]"), package)


def _parsed_toml(file: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise Place(file, 1).fault("its tables are nested too deeply") from error
    except ValueError as error:  # also for a number with thousands of digits
        found = _AT_LINE.search(str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        raise Place(file, line).fault("this is not TOML. Lock again") from error


def _entries_of(place: Place, package: Package) -> Iterator[LockEntry]:
    """Yield the package, unless it is the project itself, which is in a folder."""
    archive = package.archive
    if package.vcs is not None:
        yield ForeignPackage(place, "a repository")
    elif archive is not None and not archive.url:
        yield ForeignPackage(place, "a file of a machine")
    elif package.directory is None:
        files = (archive, package.sdist, *(package.wheels or ()))
        listed = [_listed(file) for file in files if file is not None]
        yield locked_package(place, package.name, str(package.version or ""), listed)


def _listed(file: PackageArchive | PackageSdist | PackageWheel) -> Listed:
    """Return the SHA-256 of a file, or if it has none, another digest, which is an error."""
    algorithm = "sha256" if "sha256" in file.hashes else next(iter(file.hashes))
    filename = filename_of(file.url or "") if isinstance(file, PackageArchive) else file.filename
    return f"{algorithm}:{file.hashes[algorithm]}", filename
