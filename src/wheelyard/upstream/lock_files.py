"""Lock files: `pylock.toml` (PEP 751), and requirements with hashes."""

import codecs
import re
import shlex
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from operator import attrgetter
from optparse import OptionParser, Values
from pathlib import Path
from typing import Any, Final, NoReturn

from msgspec import Struct
from packaging.pylock import (
    Package,
    PackageSdist,
    PackageWheel,
    Pylock,
    PylockValidationError,
    is_valid_pylock_path,
)
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName

from wheelyard.errors import Invalid, quoted
from wheelyard.model.decoding import escaped
from wheelyard.model.distribution_filename import (
    SDIST_SUFFIX,
    SDIST_SUFFIXES,
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
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class Place(Struct, frozen=True):
    """A line of a file, or a package in it."""

    file: str
    at: int | str
    """The number of the line, from 1, or `packages[0]` in a `pylock.toml`."""

    def __str__(self) -> str:
        """Return `requirements.txt:12`."""
        file = "standard input" if self.file == str(STANDARD_INPUT) else escaped(self.file)
        return f"{file}:{self.at}"

    def fault(self, why: str) -> Invalid:
        """
        Return the error that this is wrong.

        `why` is a sentence, without its full stop.
        """
        return Invalid(f"{self}: {why}.", code=BAD_LOCK_FILE)


class LockedFile(Struct, frozen=True):
    """A file that a lock file lists."""

    project: NormalizedName
    version: str | None
    """The normalised version, or None if the lock file does not say."""
    sha256: Sha256
    filename: str = ""
    """Empty if the lock file does not say."""


class LockedPackage(Struct, frozen=True):
    """A package of a lock file that an index has."""

    place: Place
    project: NormalizedName
    files: tuple[LockedFile, ...]
    """Empty if the lock file has no digest for it."""
    is_required: bool = True
    """False in a file of constraints, which need no digests."""

    @property
    def without_digest(self) -> Invalid:
        """The error that the lock file has no digest for it."""
        why = f"{self.project} has no --hash=sha256:, so it is not known which files are meant"
        return self.place.fault(f"{why}. {_how_to_lock()}")

    @property
    def without_version(self) -> Invalid:
        """The error that the lock file has no version for it."""
        return self.place.fault(f"{self.project} has no version. {_how_to_lock()}")

    @property
    def has_versions(self) -> bool:
        """Whether the version of each file is known."""
        return all(file.version is not None for file in self.files)


class ForeignPackage(Struct, frozen=True):
    """A package of a lock file that clients do not take from an index."""

    place: Place
    origin: str
    """What it is instead, for a message: `a repository`."""


LockEntry = LockedPackage | ForeignPackage
Listed = tuple[str, str]
"""A digest with its algorithm, `sha256:<hex>`, and the filename or an empty text."""


def locked_package(
    place: Place, name: str, version: str, listed: Iterable[Listed], *, is_required: bool = True
) -> LockedPackage:
    """
    Return a package with the files `listed`.

    `version` may be empty, and one that is not of PEP 440 is dropped: then that in a filename
    counts. Raises Invalid if the name or a digest is wrong.
    """
    try:
        project = parse_name(name)
    except Invalid as error:
        raise place.fault(f"{quoted(name)} is not the name of a project") from error
    release = _parsed_version(version)
    files = dict.fromkeys(
        LockedFile(
            project,
            release or _version_in(filename, project),
            _parse_digest(place, project, digest),
            filename,
        )
        for digest, filename in listed
    )
    return LockedPackage(place, project, tuple(files), is_required)


def _parsed_version(text: str) -> str | None:
    try:
        return str(parse_version(text))
    except Invalid:
        return None


def _version_in(filename: str, project: NormalizedName) -> str | None:
    try:
        return str(parse_known_filename(filename, project).version)
    except Invalid:
        return None


def _parse_digest(place: Place, project: NormalizedName, digest: str) -> Sha256:
    algorithm, colon, value = digest.partition(":")
    if colon and algorithm.lower() != "sha256":
        raise place.fault(
            f"{project} has a digest by {quoted(algorithm)}, and files are found by sha256 only. "
            "Lock again with an index that gives sha256"
        )
    value = value.lower()
    if not _SHA256.fullmatch(value):
        raise place.fault(f"{quoted(digest)} of {project} is not 'sha256:' and 64 digits")
    return Sha256(value)


MAX_BYTES: Final = 32 * 1024**2
"""The most bytes of one lock file. Those of large applications have a tenth of it."""


def read_lock_text(path: Path, included_at: Place | None = None) -> str:
    """
    Return the text of a lock file, in which a newline alone ends each line.

    `included_at` is the line that names the file. Raises Invalid if it cannot be read, is too large
    or is not UTF-8.
    """
    is_piped = path == STANDARD_INPUT and included_at is None
    try:
        with open(0 if is_piped else path, "rb", closefd=not is_piped) as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        why = getattr(error, "strerror", None) or error
        message = f"{escaped(str(path))} cannot be read: {why}"
        if included_at is not None:
            raise included_at.fault(message) from error
        raise Invalid(f"{message}.", code=BAD_LOCK_FILE) from error
    if len(raw) > MAX_BYTES:
        raise Place(str(path), 1).fault(f"the file has more than {MAX_BYTES} bytes")
    # PowerShell's `>` writes UTF-16
    is_utf_16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = raw.decode("utf-16" if is_utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise Place(str(path), line).fault("this is not text in UTF-8") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


MAX_FILES: Final = 1000
"""The most files that `-r` and `-c` may name together."""
MAX_REQUIREMENT: Final = 4096
"""The most characters of a requirement without its marker and options."""
_COMMENT: Final = re.compile(r"(^|\s)#.*$")
_MARKER: Final = re.compile(r";.*", re.DOTALL)
_MARKER_AFTER_URL: Final = re.compile(r"(\s;|;\s).*", re.DOTALL)
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S")
_PIN: Final = re.compile(r"===?\s*([^,*\s]+)")
_AT_A_URL: Final = "a file at a URL of its own"
_ARCHIVES: Final = (".whl", *SDIST_SUFFIXES)
_OPTION: Final = re.compile(r"(?:^|\s)-")


class _OptionParser(OptionParser):
    """Reads the options of a line as pip does, and does not exit."""

    def error(self, msg: str) -> NoReturn:
        """Raise ValueError."""
        raise ValueError(msg)


_OPTIONS: Final = _OptionParser(add_help_option=False)
_OPTIONS.add_option("-r", "--requirement", action="append")
_OPTIONS.add_option("-c", "--constraint", action="append")
_OPTIONS.add_option("-e", "--editable", action="append")
_OPTIONS.add_option("--hash", action="append")
# which files are listed does not depend on the others
_OPTIONS.add_option("-i", "--index-url", "--pypi-url")
_OPTIONS.add_option("-f", "--find-links")
_OPTIONS.add_option("-C", "--config-setting", "--config-settings")
for _name in (
    *("--extra-index-url", "--no-binary", "--only-binary", "--trusted-host", "--use-feature"),
    *("--all-releases", "--only-final", "--uploaded-prior-to"),
    *("--global-option", "--install-option"),
):
    _OPTIONS.add_option(_name)
for _name in (
    *("--no-index", "--prefer-binary", "--require-hashes", "--pre"),
    *("--use-wheel", "--no-use-wheel"),
):
    _OPTIONS.add_option(_name, action="store_true")


class _Include(Struct, frozen=True):
    """A file of requirements or constraints that has to be read."""

    path: Path
    is_constraints: bool = False
    place: Place | None = None
    """The line that names it, or None for the file that the operator named."""
    text: str | None = None
    """Its text, or None if that was not read yet."""


def read_requirements(path: Path, text: str) -> Iterator[LockEntry]:
    """
    Yield the packages of a requirements file and of all files that it names.

    Each file is read once. Raises Invalid if a line is malformed, a digest is not a SHA-256, or a
    file that a line names cannot be read.
    """
    pending, seen = [_Include(path, text=text)], set[tuple[Path, bool]]()
    while pending:
        include = pending.pop()
        # files may name each other, by other paths to the same file
        identity = (include.path.resolve(), include.is_constraints)
        if identity in seen:
            continue
        seen.add(identity)
        if len(seen) > MAX_FILES:
            raise Place(str(path), 1).fault(f"it names more than {MAX_FILES} other files")
        for entry in _read_file(include):
            if isinstance(entry, _Include):
                pending.append(entry)
            else:
                yield entry


def _read_file(file: _Include) -> Iterator[LockEntry | _Include]:
    text = file.text
    if text is None:
        text = read_lock_text(file.path, file.place)
    for number, line in _logical_lines(text):
        place, option = Place(str(file.path), number), _OPTION.search(line)
        end = option.start() if option else len(line)
        options = _read_options(place, line[end:])
        # before the first option is a requirement, unless the line has options alone
        if end:
            digests = options.hash or ()
            is_required = not file.is_constraints
            yield _read_requirement(place, line[:end], digests, is_required=is_required)
        for path in options.requirement or ():
            yield _include(place, path, file, is_constraints=file.is_constraints)
        for path in options.constraint or ():
            yield _include(place, path, file, is_constraints=True)
        for _ in options.editable or ():
            yield ForeignPackage(place, "a folder or a repository")


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the joined lines without comments, and the number of the first line of each."""
    first, parts = 0, list[str]()
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        is_comment = line.lstrip().startswith("#")
        parts.append(f" {line}" if is_comment else line.removesuffix("\\"))
        # errors name the line where a requirement begins
        first = first or number
        if line.endswith("\\") and not is_comment and number < len(lines):
            continue
        joined = _COMMENT.sub("", "".join(parts)).strip()
        if joined:
            yield first, joined
        first, parts = 0, []


def _read_options(place: Place, text: str) -> Values:
    try:
        words = shlex.split(text)
    except ValueError as error:
        # without the line, as a URL in it may have a password
        raise place.fault("a quotation mark in this line does not end") from error
    try:
        options, _ = _OPTIONS.parse_args(words)
    except ValueError as error:
        raise place.fault(escaped(str(error))) from error
    return options


def _include(place: Place, value: str, within: _Include, *, is_constraints: bool) -> _Include:
    if "://" in value:
        raise place.fault("it names a file on another server. Download that file, and name it here")
    return _Include(within.path.parent / value, is_constraints, place)


def _read_requirement(
    place: Place, text: str, digests: Sequence[str], *, is_required: bool
) -> LockEntry:
    # markers are cut off, as packaging reads brackets in them by recursion
    text = (_MARKER_AFTER_URL if "://" in text else _MARKER).sub("", text, 1).strip()
    if len(text) > MAX_REQUIREMENT:
        raise place.fault(f"the requirement has more than {MAX_REQUIREMENT} characters")
    if _URL.match(text):
        return _of_url(place, text)
    if text.lower().endswith(_ARCHIVES) and "@" not in text:
        return ForeignPackage(place, "a file of a machine")
    try:
        requirement = Requirement(text)
    except (InvalidRequirement, ValueError) as error:
        if "/" in text or "\\" in text or text.startswith("."):
            return ForeignPackage(place, "a file or a folder of a machine")
        raise place.fault(f"{quoted(text)} is not a requirement. {_how_to_lock()}") from error
    if requirement.url is not None:
        return _of_url(place, requirement.url)
    pin = _PIN.fullmatch(str(requirement.specifier))
    listed = [(digest, "") for digest in digests]
    version = pin[1] if pin else ""
    return locked_package(place, requirement.name, version, listed, is_required=is_required)


def _of_url(place: Place, url: str) -> ForeignPackage:
    """Return what a requirement by URL is: clients fetch it there, whatever an index has."""
    scheme = url.partition(":")[0].lower()
    if scheme in ("http", "https"):
        return ForeignPackage(place, _AT_A_URL)
    is_file = scheme == "file" or len(scheme) == 1  # a drive of Windows
    return ForeignPackage(place, "a file of a machine" if is_file else "a repository")


_PYLOCK_LINE: Final = re.compile(r"^[ \t]*\[\[packages\]\]|\A[^\[]*^lock-version\b", re.MULTILINE)
_TOOL_LINE: Final = re.compile(r"^[ \t]*\[\[package\]\]|\A\s*\{", re.MULTILINE)
"""What lock files of tools have, in TOML or JSON, and neither `pylock.toml` nor requirements."""
_EXPORTS: Final = {
    "uv": "uv export --format pylock.toml --output-file pylock.toml",
    "pdm": "pdm export --format pylock --output pylock.toml",
    "poetry": "poetry export --output requirements.txt (of the plugin poetry-plugin-export)",
    "pipfile": "pipenv requirements --hash > requirements.txt",
    "pip": "pip lock -r requirements.in",
}
"""The command of each tool that writes what is read here, by what its own lock file is called."""
_AT_LINE: Final = re.compile(r"at line (\d+)")


class LockedFiles(Struct, frozen=True):
    """What some lock files list together."""

    projects: dict[NormalizedName, tuple[LockedFile, ...]]
    """The files of each project, each digest once; sorted."""
    without_digest: tuple[LockedPackage, ...] = ()
    """One line for each project for which no digest is listed."""
    without_version: tuple[LockedPackage, ...] = ()
    """The lines of files whose version is not known."""
    foreign: tuple[ForeignPackage, ...] = ()


def read_lock_files(paths: Iterable[Path]) -> LockedFiles:
    """
    Return what these lock files list together.

    Raises Invalid, which names the file, if one cannot be read, is malformed, has a digest that is
    not a SHA-256, is a tool's own lock file, or lists no package of an index: the command that
    should have written it may have failed.
    """
    files = dict[NormalizedName, dict[Sha256, LockedFile]]()
    without, foreign = dict[NormalizedName, LockedPackage](), dict[ForeignPackage, None]()
    without_version = list[LockedPackage]()
    for path in paths:
        entries = tuple(_entries(path))
        if not any(isinstance(entry, LockedPackage) for entry in entries):
            why = "it lists no package of an index. The command that wrote it may have failed"
            raise Place(str(path), 1).fault(f"{why}; else leave this file out")
        for entry in entries:
            if isinstance(entry, ForeignPackage):
                foreign[entry] = None
                continue
            if not entry.has_versions:
                without_version.append(entry)
            by_digest = files.setdefault(entry.project, {})
            for file in entry.files:
                if file.sha256 not in by_digest or not by_digest[file.sha256].filename:
                    by_digest[file.sha256] = file
            if entry.is_required and not entry.files:
                without.setdefault(entry.project, entry)
    listed = {
        name: tuple(sorted(by_digest.values(), key=attrgetter("filename", "sha256")))
        for name, by_digest in sorted(files.items())
        if by_digest
    }
    # another line, or another file, may have had the digests
    unlisted = (package for name, package in without.items() if name not in listed)
    return LockedFiles(listed, tuple(unlisted), tuple(without_version), tuple(foreign))


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
    tools = [tool for tool in _EXPORTS if tool in maker][:1]
    return Place(str(path), 1).fault(f"this is a tool's own lock file. {_how_to_lock(tools)}")


def _how_to_lock(tools: Sequence[str] = ()) -> str:
    """Return what is read, and the commands of these tools, or of all, that write it."""
    commands = " or ".join(f"'{_EXPORTS[tool]}'" for tool in tools or _EXPORTS)
    return f"Give a pylock.toml, or requirements with hashes: {commands} writes one"


def _read_pylock(file: str, text: str) -> Iterator[LockEntry]:
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
    Give the sdists of a lock file the names of today, and return those before, by package number.

    packaging divides a filename at its last hyphen, and refuses a lock file with an older name.
    """
    names = dict[int, str]()
    packages = lock.get("packages")
    # what is malformed is left as it is: packaging says why
    for number, package in enumerate(packages if isinstance(packages, list) else ()):
        sdist = package.get("sdist") if isinstance(package, dict) else None
        if not isinstance(sdist, dict) or not isinstance(package.get("name"), str):
            continue
        with suppress(Invalid):
            filename, project = _filename_of(sdist), parse_name(package["name"])
            distribution = parse_known_filename(filename, project)
            if isinstance(distribution, Sdist):
                names[number] = filename
                sdist["name"] = f"{project}-{distribution.version}{SDIST_SUFFIX}"
    return names


def _filename_of(sdist: dict[str, Any]) -> str:
    """Return the filename of an sdist in a lock file, or an empty text if it is malformed."""
    texts = {key: sdist.get(key) for key in ("name", "path", "url")}
    if not all(text is None or isinstance(text, str) for text in texts.values()):
        return ""
    try:
        return PackageSdist(**texts, hashes={}).filename
    except (PylockValidationError, ValueError):  # ValueError: a malformed URL
        return ""


def _parsed_toml(file: str, text: str) -> dict[str, Any]:
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
    Yield the package, unless it is the project itself, which is in a folder.

    `sdist_name` is the filename of its sdist, or None if `package` has it.
    """
    archive, sdist = package.archive, package.sdist
    if package.vcs is not None:
        yield ForeignPackage(place, "a repository")
    elif archive is not None:
        yield ForeignPackage(place, _AT_A_URL if archive.url else "a file of a machine")
    elif package.directory is None:
        listed = [(_digest_of(wheel), wheel.filename) for wheel in package.wheels or ()]
        if sdist is not None:
            listed.append((_digest_of(sdist), sdist_name or sdist.filename))
        yield locked_package(place, package.name, str(package.version or ""), listed)


def _digest_of(file: PackageSdist | PackageWheel) -> str:
    """Return the SHA-256 of a file, or if it has none, another digest, which is an error."""
    algorithm = "sha256" if "sha256" in file.hashes else next(iter(file.hashes))
    return f"{algorithm}:{file.hashes[algorithm]}"
