"""Lock files in TOML: `pylock.toml`, `uv.lock`, `poetry.lock` and `pdm.lock`."""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeVar

from msgspec import Struct, ValidationError, convert
from packaging.utils import NormalizedName, canonicalize_name

from wheelyard.upstream.lock_files.locked_package import (
    ForeignPackage,
    Listed,
    LockEntry,
    Place,
    filename_of,
    locked_package,
)

S = TypeVar("S", bound=Struct)

_AT_LINE: Final = re.compile(r"at line (\d+)")
_FOREIGN: Final = {"git": "a repository", "path": "a file of a machine"}
"""Where uv takes packages from that no index has."""


@dataclass(frozen=True)
class TomlLock:
    """A parsed lock file, and the line of each of its packages."""

    file: str
    text: str

    @cached_property
    def table(self) -> dict[str, Any]:
        """The whole file; raises Invalid if it is not TOML."""
        try:
            return tomllib.loads(self.text)
        except RecursionError as error:
            raise Place(self.file, 1).fault("its tables are nested too deeply") from error
        except ValueError as error:  # also for a number with thousands of digits
            found = _AT_LINE.search(str(error))
            line = int(found[1]) if found else self.text.count("\n") + 1
            raise Place(self.file, line).fault("this is not TOML. Lock again") from error

    def packages(self, key: str, kind: type[S]) -> Iterator[tuple[Place, S]]:
        """Yield each table of an array of tables, and its line; raise Invalid for a wrong one."""
        tables = self.table.get(key, [])
        if not isinstance(tables, list):
            raise Place(self.file, 1).fault(f"{key} is not an array of tables. Lock again")
        header = re.compile(rf"^[ \t]*\[\[[ \t]*{key}[ \t]*\]\]", re.MULTILINE)
        starts = [match.start() for match in header.finditer(self.text)]
        line, at = 1, 0
        for number, table in enumerate(tables):
            if len(starts) == len(tables):  # else a text of several lines has one of them
                line += self.text.count("\n", at, starts[number])
                at = starts[number]
            place = Place(self.file, line)
            try:
                yield place, convert(table, kind)
            except ValidationError as error:
                raise place.fault(f"this package is not as lock files have it: {error}") from error


class _PylockFile(Struct):
    name: str = ""
    url: str = ""
    path: str = ""
    hashes: dict[str, str] = {}

    @property
    def listed(self) -> Iterator[Listed]:
        """The sha256 of the file, or if it has none, another digest, which is an error."""
        ordered = sorted(self.hashes.items(), key=lambda each: each[0].lower() != "sha256")
        for algorithm, digest in ordered[:1]:
            yield f"{algorithm}:{digest}", self.name or filename_of(self.url or self.path)


class _PylockPackage(Struct):
    name: str
    version: str = ""
    sdist: _PylockFile | None = None
    wheels: list[_PylockFile] = []
    archive: _PylockFile | None = None
    vcs: dict[str, Any] | None = None
    directory: dict[str, Any] | None = None


def read_pylock(lock: TomlLock) -> Iterator[LockEntry]:
    """Yield the packages of a `pylock.toml` (PEP 751)."""
    for place, package in lock.packages("packages", _PylockPackage):
        archive = package.archive
        if package.vcs is not None:
            yield ForeignPackage(place, "a repository")
        elif archive is not None and not archive.url:
            yield ForeignPackage(place, "a file of a machine")
        elif package.directory is None:
            files = (archive, package.sdist, *package.wheels)
            listed = [each for file in files if file is not None for each in file.listed]
            yield locked_package(place, package.name, package.version, listed)


class _UvFile(Struct):
    url: str = ""
    path: str = ""
    filename: str = ""
    hash: str = ""


class _UvPackage(Struct):
    name: str
    source: dict[str, Any]
    version: str = ""
    sdist: _UvFile | None = None
    wheels: list[_UvFile] = []


def read_uv_lock(lock: TomlLock) -> Iterator[LockEntry]:
    """Yield the packages of a `uv.lock`, without the project itself and its workspace."""
    for place, package in lock.packages("package", _UvPackage):
        if origin := next((what for key, what in _FOREIGN.items() if key in package.source), None):
            yield ForeignPackage(place, origin)
        elif not package.source.keys().isdisjoint(("registry", "url")):
            files = (package.sdist, *package.wheels)
            listed = [
                (file.hash, file.filename or filename_of(file.url or file.path))
                for file in files
                if file is not None and file.hash
            ]
            yield locked_package(place, package.name, package.version, listed)


class _NamedFile(Struct):
    file: str = ""
    url: str = ""
    hash: str = ""


class _NamedPackage(Struct):
    """A package as Poetry or PDM writes it."""

    name: str
    version: str = ""
    files: list[_NamedFile] = []
    source: dict[str, Any] = {}
    git: str | None = None
    path: str | None = None


def read_poetry_lock(lock: TomlLock) -> Iterator[LockEntry]:
    """Yield the packages of a `poetry.lock` or `pdm.lock`, of the new and the old layout."""
    metadata = lock.table.get("metadata")
    old = metadata.get("files") if isinstance(metadata, dict) else None
    old_files = _old_files(lock, old) if isinstance(old, dict) else {}
    for place, package in lock.packages("package", _NamedPackage):
        kind = package.source.get("type")
        if kind == "git" or package.git is not None:
            yield ForeignPackage(place, "a repository")
        elif kind == "file" or (package.path is not None and package.path.endswith(".whl")):
            yield ForeignPackage(place, "a file of a machine")
        elif kind != "directory" and package.path is None:
            files = package.files or old_files.get(canonicalize_name(package.name), [])
            listed = [(each.hash, each.file or filename_of(each.url)) for each in files]
            yield locked_package(place, package.name, package.version, listed)


def _old_files(
    lock: TomlLock, tables: Mapping[str, object]
) -> dict[NormalizedName, list[_NamedFile]]:
    """Return the files by the name of their package; PDM wrote `name version` there."""
    found = dict[NormalizedName, list[_NamedFile]]()
    for key, files in tables.items():
        try:
            name = canonicalize_name(key.partition(" ")[0])
            found.setdefault(name, []).extend(convert(files, list[_NamedFile]))
        except ValidationError as error:
            raise _place_of(lock, key).fault(f"these files are wrong: {error}") from error
    return found


def _place_of(lock: TomlLock, key: str) -> Place:
    """Return the line on which a key has its value."""
    match = re.search(rf"^[\"']?{re.escape(key)}[\"']?[ \t]*=", lock.text, re.MULTILINE)
    return Place(lock.file, lock.text.count("\n", 0, match.start()) + 1 if match else 1)


ReadLock = Callable[[TomlLock], Iterator[LockEntry]]


def reader_for(lock: TomlLock) -> ReadLock:
    """Return the reader for a lock file, by its content; raise Invalid for an unknown kind."""
    version, table = lock.table.get("lock-version"), lock.table
    if version is not None:
        if not (isinstance(version, str) and version.partition(".")[0] == "1"):
            raise _place_of(lock, "lock-version").fault("its lock-version is not 1, of PEP 751")
        return read_pylock
    metadata = table.get("metadata")
    if isinstance(metadata, dict) and not metadata.keys().isdisjoint(
        ("lock-version", "lock_version")
    ):
        return read_poetry_lock
    if table.get("version") == 1 and isinstance(table.get("package"), list):
        return read_uv_lock
    raise Place(lock.file, 1).fault(
        "this is no lock file of a known kind: pylock.toml, uv.lock, poetry.lock or pdm.lock"
    )
