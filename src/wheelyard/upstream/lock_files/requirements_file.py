"""
Reader of requirements files with `--hash`, as `uv pip compile --generate-hashes` writes them.

It follows pip: lines that continue after a backslash, comments, `-r` and `-c` with paths relative
to the file. Markers are not evaluated, because every machine installs from the same index. Nothing
is fetched, and no path of a requirement is opened.
"""

import re
import shlex
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from msgspec import Struct
from packaging.requirements import InvalidRequirement, Requirement

from wheelyard.errors import Invalid, quoted
from wheelyard.http_client.urls import redact_url
from wheelyard.model.distribution_filename import SDIST_SUFFIXES, parse_known_filename
from wheelyard.upstream.lock_files.lock_text import read_lock_text
from wheelyard.upstream.lock_files.locked_package import (
    ForeignPackage,
    Listed,
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
_PIN: Final = re.compile(r"===?\s*([^,*\s]+)")
_ARCHIVES: Final = (".whl", *SDIST_SUFFIXES)
_INCLUDES: Final = {"-r": False, "--requirement": False, "-c": True, "--constraint": True}
"""The options that name another file, and whether it has constraints."""
_EDITABLE: Final = frozenset({"-e", "--editable"})
_WITH_VALUE: Final = frozenset(
    {
        *("-i", "--index-url", "--pypi-url", "--extra-index-url", "-f", "--find-links"),
        *("--no-binary", "--only-binary", "--trusted-host", "--use-feature"),
        *("--all-releases", "--only-final", "--uploaded-prior-to"),
    }
)
_FLAGS: Final = frozenset(
    {"--no-index", "--prefer-binary", "--require-hashes", "--pre", "--use-wheel", "--no-use-wheel"}
)
"""Options of pip for a whole file; which files are listed does not depend on them."""
_OF_BUILDS: Final = ("-C", "--config-setting", "--global-option", "--install-option")
"""Options of pip for one requirement, besides `--hash`."""


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
        place = Place(str(file.path), number)
        if line.startswith("-"):
            yield from _read_options(place, line, file)
        else:
            yield _read_requirement(place, line, is_required=not file.is_constraints)


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


def _read_options(place: Place, line: str, within: _Include) -> Iterator[LockEntry | _Include]:
    """Yield what the options of a line name: other files, and editable projects."""
    try:
        words = iter(shlex.split(line))
    except ValueError as error:
        # without the line, as a URL in it may have a password
        raise place.fault("a quotation mark in this line does not end") from error
    for word in words:
        name, attached = _split_option(word)
        if name in _FLAGS:
            continue
        if name not in _INCLUDES and name not in _EDITABLE and name not in _WITH_VALUE:
            raise place.fault(f"{quoted(name)} is not an option of a requirements file")
        value = next(words, None) if attached is None else attached
        if not value:
            raise place.fault(f"{name} lacks its value")
        if name in _EDITABLE:
            yield ForeignPackage(place, "a folder or a repository")
        elif name in _INCLUDES:
            yield _include(place, value, within, is_constraints=_INCLUDES[name])


def _split_option(word: str) -> tuple[str, str | None]:
    """Return the name of an option, and its value if it is in the same word."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        return name, value if equals else None
    return word[:2], word[2:] or None


def _include(place: Place, value: str, within: _Include, *, is_constraints: bool) -> _Include:
    if "://" in value:
        raise place.fault("it names a file on another server. Download that file, and name it here")
    path = within.path.parent / value
    return _Include(path, is_constraints or within.is_constraints, place)


def _read_requirement(place: Place, line: str, *, is_required: bool) -> LockEntry:
    text, digests = _split_hashes(place, line)
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


def _split_hashes(place: Place, line: str) -> tuple[str, list[str]]:
    """Return a requirement without its options, and the digests in them."""
    words = line.split()
    count = next((at for at, word in enumerate(words) if word.startswith("-")), len(words))
    digests, options = list[str](), iter(words[count:])
    for option in options:
        name, equals, value = option.partition("=")
        if name == "--hash":
            digests.append(value if equals else next(options, ""))
        elif option.startswith("-") and not option.startswith(_OF_BUILDS):
            raise place.fault(f"{quoted(name)} is not an option of a requirement")
    return " ".join(words[:count]), digests


def _of_url(
    place: Place, name: str, url: str, digests: list[str], *, is_required: bool
) -> LockEntry:
    """Return what a requirement by URL is: a file of an index, perhaps, or something else."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise place.fault(f"{quoted(redact_url(url))} is not a URL") from error
    if parts.scheme not in ("http", "https"):
        is_file = parts.scheme == "file" or len(parts.scheme) == 1  # a drive of Windows
        return ForeignPackage(place, "a file of a machine" if is_file else "a repository")
    fragment = dict(parse_qsl(parts.fragment))
    filename, version = filename_of(url), ""
    try:
        distribution = parse_known_filename(filename)
    except Invalid:
        filename = ""
        name = name or fragment.get("egg", "")
    else:
        name, version = name or distribution.project, str(distribution.version)
    if not name:
        return ForeignPackage(place, "a URL without the name of a project")
    of_url = ("sha256:" + fragment["sha256"],) if "sha256" in fragment else ()
    listed: list[Listed] = [(digest, filename) for digest in chain(digests, of_url)]
    return locked_package(place, name, version, listed, is_required=is_required)
