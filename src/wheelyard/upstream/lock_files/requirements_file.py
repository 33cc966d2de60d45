"""
Reader of requirements files with `--hash`, as `uv pip compile --generate-hashes` writes them.

It follows pip: lines that continue after a backslash, comments, `-r` and `-c` with paths relative
to the file. Markers are not evaluated, because every machine installs from the same index. Nothing
is fetched, and no path of a requirement is opened.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from optparse import OptionParser, Values
from pathlib import Path
from typing import Final, NoReturn

from msgspec import Struct
from packaging.requirements import InvalidRequirement, Requirement

from wheelyard.errors import Invalid, quoted
from wheelyard.model.distribution_filename import SDIST_SUFFIXES, parse_known_filename
from wheelyard.model.text import escaped
from wheelyard.upstream.lock_files.lock_text import read_lock_text
from wheelyard.upstream.lock_files.locked_package import (
    ForeignPackage,
    LockEntry,
    Place,
    filename_of,
    locked_package,
)

MAX_FILES: Final = 1000
"""The most files that `-r` and `-c` may name together."""
MAX_REQUIREMENT: Final = 4096
"""The most characters of a requirement without its marker and options."""
_COMMENT: Final = re.compile(r"(^|\s)#.*$")
_MARKER: Final = re.compile(r";.*", re.DOTALL)
_MARKER_AFTER_URL: Final = re.compile(r"(\s;|;\s).*", re.DOTALL)
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_DIGEST_IN_URL: Final = re.compile(r"#(?:.*&)?sha256=([^&]*)")
_PIN: Final = re.compile(r"===?\s*([^,*\s]+)")
_ARCHIVES: Final = (".whl", *SDIST_SUFFIXES)
_OPTION: Final = re.compile(r"(?:^|\s)-")


class _OptionParser(OptionParser):
    """Reads the options of a line as pip does; it does not exit."""

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
    """The line that names it; None for the file that the operator named."""
    text: str | None = None
    """Its text, if that was read."""


def read_requirements(path: Path, text: str) -> Iterator[LockEntry]:
    """
    Yield the packages of a requirements file and of all files that it names; read each file once.

    Raise Invalid for a line that pip would refuse, too.
    """
    pending, seen = [_Include(path, text=text)], set[tuple[Path, bool]]()
    while pending:
        include = pending.pop()
        identity = (include.path.resolve(), include.is_constraints)
        if identity in seen:
            continue
        seen.add(identity)
        if len(seen) > MAX_FILES:
            raise Place(str(path), 1).fault(f"it names more than {MAX_FILES} other files")
        for found in _read_file(include):
            if isinstance(found, _Include):
                pending.append(found)
            else:
                yield found


def _read_file(file: _Include) -> Iterator[LockEntry | _Include]:
    text = file.text
    if text is None:
        text = read_lock_text(file.path, file.place)
    for number, line in _logical_lines(text):
        place, option = Place(str(file.path), number), _OPTION.search(line)
        end = option.start() if option else len(line)
        options = _read_options(place, line[end:])
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
        return _of_url(place, "", text, digests, is_required=is_required)
    if text.lower().endswith(_ARCHIVES) and "@" not in text:
        return ForeignPackage(place, "a file of a machine")
    try:
        requirement = Requirement(text)
    except (InvalidRequirement, ValueError) as error:
        if "/" in text or "\\" in text or text.startswith("."):
            return ForeignPackage(place, "a file or a folder of a machine")
        raise place.fault(f"{quoted(text)} is not a requirement") from error
    if requirement.url is not None:
        return _of_url(place, requirement.name, requirement.url, digests, is_required=is_required)
    pin = _PIN.fullmatch(str(requirement.specifier))
    listed = [(digest, "") for digest in digests]
    version = pin[1] if pin else ""
    return locked_package(place, requirement.name, version, listed, is_required=is_required)


def _of_url(
    place: Place, name: str, url: str, digests: Sequence[str], *, is_required: bool
) -> LockEntry:
    """Return what a requirement by URL is: a file of an index, perhaps, or something else."""
    scheme, filename = url.partition(":")[0].lower(), filename_of(url)
    if scheme not in ("http", "https"):
        is_file = scheme == "file" or len(scheme) == 1  # a drive of Windows
        return ForeignPackage(place, "a file of a machine" if is_file else "a repository")
    try:
        distribution = parse_known_filename(filename)
    except Invalid:
        return ForeignPackage(place, "a file that no index has")
    of_url = [f"sha256:{digest}" for digest in _DIGEST_IN_URL.findall(url)]
    listed = [(digest, filename) for digest in (*digests, *of_url)]
    project, version = name or distribution.project, str(distribution.version)
    return locked_package(place, project, version, listed, is_required=is_required)
