"""Reads lock files, `pylock.toml` (PEP 751), into the files that an index has to have."""

import codecs
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from packaging.pylock import (
    Package,
    PackageSdist,
    PackageWheel,
    Pylock,
    PylockValidationError,
    is_valid_pylock_path,
)
from packaging.utils import NormalizedName

from wheelyard.errors import Invalid, quoted
from wheelyard.model.decoding import escaped
from wheelyard.model.distribution_filename import (
    SDIST_SUFFIX,
    Sdist,
    Sha256,
    parse_known_filename,
    parse_name,
    parse_version,
)

BAD_LOCK_FILE: Final = "bad_lock_file"
"""The error code for a lock file that cannot be read."""
STANDARD_INPUT: Final = Path("-")
"""Stands for the lock file that comes from standard input."""
MAX_BYTES: Final = 32 * 1024**2
"""The most bytes of one lock file. The lock files of large applications have a tenth of that."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_AT_A_URL: Final = "a file at a URL of its own"
_PYLOCK_LINE: Final = re.compile(r"^[ \t]*\[\[packages\]\]|\A[^\[]*^lock-version\b", re.MULTILINE)
"""A line that every `pylock.toml` has."""
_TOOL_LINE: Final = re.compile(r"^[ \t]*\[\[package\]\]|\A\s*\{", re.MULTILINE)
"""A line that lock files of tools have, in TOML or JSON, and a `pylock.toml` does not have."""
_EXPORTS: Final = {
    "uv": "uv export --format pylock.toml --output-file pylock.toml",
    "pdm": "pdm export --format pylock --output pylock.toml",
    "poetry": (
        "poetry export --format pylock.toml --output pylock.toml (of the plugin "
        "poetry-plugin-export)"
    ),
    "pipfile": "pipenv pylock --generate",
    "pip": "pip lock -r requirements.txt",
}
"""The command of each tool that writes a `pylock.toml`, by what its own lock file is called."""
_AT_LINE: Final = re.compile(r"at line (\d+)")
"""The line of the fault in a message of `tomllib`."""


class Place(Struct, frozen=True):
    """A line of a file, or a package in it."""

    file: str
    position: int | str
    """The number of the line, from 1, or a key such as `packages[0]`."""

    def __str__(self) -> str:
        """Return the place for a message, such as `pylock.toml:12`."""
        if self.file == str(STANDARD_INPUT):
            return f"standard input:{self.position}"
        return f"{escaped(self.file)}:{self.position}"

    def fault(self, why: str) -> Invalid:
        """
        Return the error (code `bad_lock_file`) for this place.

        `why` is a sentence, without its full stop.
        """
        return Invalid(f"{self}: {why}.", code=BAD_LOCK_FILE)


class LockedFile(Struct, frozen=True):
    """A file that a lock file lists, and that an index has."""

    project: NormalizedName
    version: str
    """The normalised version."""
    sha256: Sha256


class ForeignPackage(Struct, frozen=True):
    """A package of a lock file that clients do not take from an index."""

    place: Place
    origin: str
    """Where the package is from, for a message, such as `a repository`."""


LockEntry = LockedFile | ForeignPackage


def read_lock_text(path: Path) -> str:
    """
    Return the text of a lock file, in which a newline alone ends each line.

    The path `STANDARD_INPUT` stands for standard input. Raises Invalid (code `bad_lock_file`) if
    the file cannot be read, is too large, or is neither UTF-8 nor UTF-16 with a byte order mark.
    """
    is_piped = path == STANDARD_INPUT
    source = 0 if is_piped else path
    try:
        # the descriptor of standard input is not ours to close
        with open(source, "rb", closefd=not is_piped) as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        message = f"{escaped(str(path))} cannot be read: {reason}."
        raise Invalid(message, code=BAD_LOCK_FILE) from error
    if len(raw) > MAX_BYTES:
        raise Place(str(path), 1).fault(f"the file has more than {MAX_BYTES} bytes")

    # PowerShell's `>` writes UTF-16, and some editors of Windows a mark before UTF-8
    is_utf_16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    codec = "utf-16" if is_utf_16 else "utf-8-sig"
    try:
        text = raw.decode(codec)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise Place(str(path), line).fault("this is not text in UTF-8") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


class LockedFiles(Struct, frozen=True):
    """What several lock files list together."""

    projects: dict[NormalizedName, tuple[LockedFile, ...]]
    """The files of each project, sorted, each digest once."""
    foreign: tuple[ForeignPackage, ...] = ()


def read_lock_files(paths: Iterable[Path]) -> LockedFiles:
    """
    Return what several lock files list together.

    Raises Invalid (code `bad_lock_file`), which names the file, if a file cannot be read, is no
    `pylock.toml`, is malformed, has a digest that is not a SHA-256, or lists no package of an
    index: the command that should have written the file may have failed.
    """
    files = dict[NormalizedName, dict[Sha256, LockedFile]]()
    foreign = dict[ForeignPackage, None]()
    for path in paths:
        entries = tuple(_entries(path))
        has_locked_file = any(isinstance(entry, LockedFile) for entry in entries)
        if not has_locked_file:
            why = "it lists no package of an index. The command that wrote it may have failed"
            raise Place(str(path), 1).fault(f"{why}; else leave this file out")
        for entry in entries:
            if isinstance(entry, ForeignPackage):
                foreign[entry] = None
            else:
                files.setdefault(entry.project, {}).setdefault(entry.sha256, entry)
    projects = dict[NormalizedName, tuple[LockedFile, ...]]()
    for name, files_by_digest in sorted(files.items()):
        ordered_files = sorted(files_by_digest.values(), key=attrgetter("version", "sha256"))
        projects[name] = tuple(ordered_files)
    return LockedFiles(projects, tuple(foreign))


def _entries(path: Path) -> Iterator[LockEntry]:
    """Yield what one lock file lists, or raise Invalid if it is no `pylock.toml`."""
    text = read_lock_text(path)
    if is_valid_pylock_path(path) or _PYLOCK_LINE.search(text):
        return _read_pylock(str(path), text)
    raise _not_a_pylock(path, text)


def _not_a_pylock(path: Path, text: str) -> Invalid:
    """Return the error for a file of another kind, with the commands that write a `pylock.toml`."""
    kind = "not a pylock.toml"
    tools = list(_EXPORTS)
    if path.suffix == ".lock" or _TOOL_LINE.search(text):
        kind = "a tool's own lock file"
        # most lock files are named after their tool, or say it in their first line
        first_line, _, _ = text.partition("\n")
        name_and_line = f"{path.name} {first_line}".lower()
        for tool in _EXPORTS:
            if tool in name_and_line:
                tools = [tool]
                break
    commands = " or ".join(f"'{_EXPORTS[tool]}'" for tool in tools)
    return Place(str(path), 1).fault(f"this is {kind}. Give a pylock.toml: {commands} writes one")


def _read_pylock(file: str, text: str) -> Iterator[LockEntry]:
    """Yield what a `pylock.toml` lists, or raise Invalid if it is malformed."""
    lock = _parsed_toml(file, text)
    sdist_names = _rename_sdists(lock)
    try:
        packages = Pylock.from_dict(lock).packages
    except PylockValidationError as error:
        raise Place(file, error.context or 1).fault(escaped(error.message)) from error
    for number, package in enumerate(packages):
        place = Place(file, f"packages[{number}]")
        yield from _entries_of(place, package, sdist_names.get(number))


def _rename_sdists(lock: dict[str, Any]) -> dict[int, str]:
    """
    Give the sdists of a lock file the names of today, and return the names that they had.

    The result is by the number of the package. packaging divides a filename at its last hyphen, and
    refuses a lock file with an older name.
    """
    earlier_names = dict[int, str]()
    packages = lock.get("packages")
    # what is malformed is left as it is: packaging says why
    if not isinstance(packages, list):
        return earlier_names
    for number, package in enumerate(packages):
        if not isinstance(package, dict):
            continue
        sdist = package.get("sdist")
        if not isinstance(sdist, dict) or not isinstance(package.get("name"), str):
            continue
        with suppress(Invalid):
            filename = _filename_of(sdist)
            project = parse_name(package["name"])
            distribution = parse_known_filename(filename, project)
            if isinstance(distribution, Sdist):
                earlier_names[number] = filename
                sdist["name"] = f"{project}-{distribution.version}{SDIST_SUFFIX}"
    return earlier_names


def _filename_of(sdist: dict[str, Any]) -> str:
    """Return the filename of an sdist in a lock file, or an empty text if it is malformed."""
    texts = {key: sdist.get(key) for key in ("name", "path", "url")}
    for text in texts.values():
        if text is not None and not isinstance(text, str):
            return ""
    try:
        return PackageSdist(**texts, hashes={}).filename
    except (PylockValidationError, ValueError):  # ValueError: a malformed URL
        return ""


def _parsed_toml(file: str, text: str) -> dict[str, Any]:
    """Return the tables of a file in TOML, or raise Invalid with the line that is malformed."""
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise Place(file, 1).fault("its tables are nested too deeply") from error
    except ValueError as error:  # also for a number with thousands of digits
        match = _AT_LINE.search(str(error))
        line = int(match[1]) if match else text.count("\n") + 1
        raise Place(file, line).fault("this is not TOML. Lock again") from error


def _entries_of(place: Place, package: Package, sdist_name: str | None) -> Iterator[LockEntry]:
    """
    Yield the files of a package, or that it is foreign.

    Nothing is yielded for the project itself, which is in a folder. `sdist_name` is the filename of
    the package's sdist, or None if `package` has it.
    """
    if package.vcs is not None:
        yield ForeignPackage(place, "a repository")
    elif package.archive is not None:
        origin = _AT_A_URL if package.archive.url else "a file of a machine"
        yield ForeignPackage(place, origin)
    elif package.directory is None:
        for wheel in package.wheels or ():
            yield _locked_file(place, package, wheel, wheel.filename)
        sdist = package.sdist
        if sdist is not None:
            yield _locked_file(place, package, sdist, sdist_name or sdist.filename)


def _locked_file(
    place: Place, package: Package, file: PackageSdist | PackageWheel, filename: str
) -> LockedFile:
    """
    Return a file of a package.

    Raises Invalid if the name of the project or a digest is wrong, or the version is not known.
    """
    try:
        project = parse_name(package.name)
    except Invalid as error:
        raise place.fault(f"{quoted(package.name)} is not the name of a project") from error
    try:
        if package.version is None:
            version = parse_known_filename(filename, project).version
        else:
            version = parse_version(str(package.version))
    except Invalid as error:
        raise place.fault(f"the version of {quoted(filename)} is not known. Lock again") from error
    return LockedFile(project, str(version), _digest_of(place, project, file.hashes))


def _digest_of(place: Place, project: NormalizedName, hashes: Mapping[str, str]) -> Sha256:
    """
    Return the SHA-256 of a file.

    Raises Invalid if the file has none, or it is malformed.
    """
    if "sha256" not in hashes:
        first_algorithm = next(iter(hashes))
        raise place.fault(
            f"{project} has a digest by {quoted(first_algorithm)}, and files are found by "
            "sha256 only. Lock again with an index that gives sha256"
        )
    digest = hashes["sha256"].lower()
    if not _SHA256.fullmatch(digest):
        raise place.fault(f"{quoted(hashes['sha256'])} of {project} is not a sha256 of 64 digits")
    return Sha256(digest)
