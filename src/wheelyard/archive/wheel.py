"""
A wheel: the files of its `.dist-info`, and every file against RECORD.

Follows the binary distribution format, the entry points specification as its strictest reader does,
and PEP 639 for the place of licence files. Installers copy RECORD and do not compare, so a wheel is
held to it here, once. They turn entry points into files.
"""

import base64
import csv
import hashlib
import io
import re
from collections.abc import Container, Iterable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from packaging.utils import canonicalize_name

from wheelyard.archive.archive_errors import (
    invalid_archive,
    invalid_file,
    invalid_metadata,
    missing_metadata,
    record_mismatch,
    unsafe_archive,
)
from wheelyard.archive.leniency import METADATA_RULE, RECORD_RULE, VERSION_RULE
from wheelyard.archive.limits import ArchiveLimits, ReadContext
from wheelyard.archive.member_names import check_portable_name, find_case_collision
from wheelyard.archive.zip_members import ZipArchive, ZipMember, open_zip
from wheelyard.errors import quoted
from wheelyard.model.distribution_filename import TAG_LIMIT, Wheel, is_stem_of
from wheelyard.model.metadata import LICENSE_VERSION, CoreMetadata, Headers, parse_headers

_DIST_INFO = ".dist-info"
_WHEEL_VERSION = re.compile(r"(?P<major>[0-9]{1,4})(?:\.[0-9]{1,4})+")
_KNOWN_WHEEL_VERSION = "1.0"

_ALGORITHMS = frozenset({"sha256", "sha384", "sha512"})
_SIGNATURES = ("", ".jws", ".p7s")
"""Suffixes of RECORD itself and its signatures, which cannot have a hash in it."""
_COMMAS = 4
"""In a line of RECORD, on average at most: two, and some in names."""

_SCRIPTS = frozenset({"console_scripts", "gui_scripts"})
_SCRIPT_NAME = re.compile(r"[\w.-]+")
_DOTTED = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_REFERENCE = re.compile(rf"{_DOTTED}\s*:\s*{_DOTTED}\s*(?:\[[\w\s,.=-]*\])?")
"""The object reference of a command: a module, a function in it, and extras."""


@dataclass(frozen=True, slots=True)
class OpenWheel:
    """A wheel whose structure, WHEEL and METADATA can be read."""

    archive: ZipArchive
    folder: str
    """The one `.dist-info` folder, without a slash."""
    metadata: bytes
    warnings: tuple[str, ...]

    def check(self, core: CoreMetadata) -> None:
        """Refuse a wheel that not every client installs alike; `core` is what METADATA says."""
        reading = self.archive.reading
        with reading.leniency.waiving(METADATA_RULE):
            self._check_license_files(core)
        path = f"{self.folder}/entry_points.txt"
        if path in self.archive.members:
            _check_entry_points(_read(self.archive, path, reading.limits.entry_points), path)
        with reading.leniency.waiving(RECORD_RULE):
            _check_record(self.archive, f"{self.folder}/RECORD")
            return
        for member in self.archive.members.values():  # a damaged one is no matter of RECORD's
            self.archive.check(member)

    def _check_license_files(self, core: CoreMetadata) -> None:
        if core.format < LICENSE_VERSION:
            return
        for path in core.license_files:
            name = f"{self.folder}/licenses/{path}"
            if name not in self.archive.members:
                raise invalid_metadata("a License-File of METADATA is not in the wheel", name)


def open_wheel(reading: ReadContext, wheel: Wheel) -> OpenWheel:
    """Return a wheel whose files have still to be checked."""
    archive = open_zip(reading, partial(check_portable_name, project=wheel.project))
    folder = _dist_info(reading, archive, wheel)
    headers = parse_headers(_read(archive, f"{folder}/WHEEL", reading.limits.wheel_file))
    warnings = (*_check_wheel_file(headers, wheel), *_check_case(archive))
    metadata = _read(archive, f"{folder}/METADATA", reading.limits.metadata)
    return OpenWheel(archive, folder, metadata, warnings)


def _read(archive: ZipArchive, path: str, limit: int) -> bytes:
    member = archive.members.get(path)
    if member is None:
        raise missing_metadata(f"it has no file {path.rpartition('/')[2]}", path)
    return archive.read(member, limit)


def _dist_info(reading: ReadContext, archive: ZipArchive, wheel: Wheel) -> str:
    tops = {name.partition("/")[0] for name in archive.members if "/" in name}
    found = sorted(top for top in tops if top.lower().endswith(_DIST_INFO))
    if len(found) > 1:
        raise invalid_archive("it has two .dist-info folders", found[1])
    lacking = "it has no .dist-info folder of the name and version of the file"
    stem = found[0][: -len(_DIST_INFO)] if found else ""
    # installers ask for no more than the name at its beginning
    if not canonicalize_name(stem).startswith(f"{wheel.project}-"):
        raise missing_metadata(lacking)
    with reading.leniency.waiving(VERSION_RULE):
        if not is_stem_of(stem, wheel):
            code = "version_mismatch" if reading.leniency.is_lenient else "missing_metadata"
            raise invalid_file(code, lacking)
    return found[0]


def _check_wheel_file(headers: Headers, wheel: Wheel) -> list[str]:
    version = headers.only("wheel-version") or ""
    match = _WHEEL_VERSION.fullmatch(version)
    if match is None or match["major"] != "1":
        raise invalid_metadata(f"its Wheel-Version is not 1.x but {quoted(version)}", "WHEEL")
    warnings = []
    if version != _KNOWN_WHEEL_VERSION:
        warnings.append(f"Wheel-Version {version} is newer than this index knows.")
    if _tags(headers.every("tag")) != set(wheel.tags):
        warnings.append("The tags in WHEEL differ from those in the filename.")
    return warnings


def _tags(values: tuple[str, ...]) -> set[str]:
    """Return the single tags of `Tag` fields, which may be compressed as in a filename."""
    found: set[str] = set()
    for value in values:
        parts = [part.split(".") for part in value.lower().split("-")]
        pythons, abis, platforms = parts if len(parts) == len(("py", "abi", "os")) else ([], [], [])
        if len(found) + len(pythons) * len(abis) * len(platforms) > TAG_LIMIT:
            break
        found.update(f"{p}-{a}-{o}" for p in pythons for a in abis for o in platforms)
    return found


def _check_case(archive: ZipArchive) -> list[str]:
    name = find_case_collision(archive.members)
    if name is None:
        return []
    return [f"Two files differ only in upper and lower case: {quoted(name)}."]


def _check_entry_points(raw: bytes, path: str) -> None:
    """
    Accept a table of entry points whose commands are plain file names of plain functions.

    `configparser` is not used: a line of blanks costs it quadratic time.
    """
    try:
        lines = raw.decode().splitlines()
    except UnicodeDecodeError as error:
        raise invalid_metadata("the entry points are not UTF-8 text", path) from error
    groups = _groups(lines, path)
    for group in _SCRIPTS & groups.keys():
        for name, value in groups[group].items():
            _check_command(name, "\n".join(value))


def _groups(lines: list[str], path: str) -> dict[str, dict[str, list[str]]]:
    """Return the lines of each value, by group and name; a deeper line continues the one above."""
    groups: dict[str, dict[str, list[str]]] = {}
    entries: dict[str, list[str]] = {}
    indent = 0
    for line in lines:
        text, depth = line.strip(), len(line) - len(line.lstrip())
        if not text or text[0] in "#;":
            continue
        if entries and depth > indent:
            entries[next(reversed(entries))].append(text)
            continue
        indent = depth
        if text.startswith("["):
            entries = groups[_group(text, groups, path)] = {}
        elif "=" in text and groups:
            _add(text, entries)
        else:
            raise invalid_metadata("a line of the entry points is not 'name = object'", path)
    return groups


def _group(text: str, groups: Container[str], path: str) -> str:
    group = text[1:-1].strip()
    if not text.endswith("]") or not group or group in groups:
        raise invalid_metadata("a group of entry points is malformed or given twice", path)
    return group


def _add(text: str, entries: dict[str, list[str]]) -> None:
    name, _, value = (part.strip() for part in text.partition("="))
    if not name or name in entries:
        raise invalid_metadata("an entry point has no name, or its name is given twice", name)
    entries[name] = [value]


def _check_command(name: str, value: str) -> None:
    if any(mark in name for mark in "/\\:") or not name.strip("."):
        raise unsafe_archive("the name of a command is a path", name)
    if not _SCRIPT_NAME.fullmatch(name):
        raise invalid_metadata("the name of a command has other than letters, digits, '._-'", name)
    # an installer writes this into the code of the command
    if not _REFERENCE.fullmatch(value):
        raise invalid_metadata("a command does not lead to 'module:function'", name)


def _check_record(archive: ZipArchive, path: str) -> None:
    limits, members = archive.reading.limits, archive.members
    record = _parse_record(_read(archive, path, limits.record), path, limits)
    files = {name for name in members if not name.endswith("/")} - _unhashed(path)
    for name in sorted(files - record.keys()):
        raise record_mismatch("RECORD does not list a file of the wheel", name)
    for name in sorted(record.keys() - files):
        raise record_mismatch("RECORD lists a file that the wheel does not have", name)
    for member in members.values():
        if member.name in record:
            _check_hash(archive, member, record[member.name])
        else:
            archive.check(member)


class _Listed(NamedTuple):
    """What a line of RECORD says of a file, as written."""

    hashed: str
    """`sha256=...`."""
    size: str
    """In bytes; may be left out."""


_Record = dict[str, _Listed]
"""From the path of a file to what is said of it."""


def _parse_record(raw: bytes, path: str, limits: ArchiveLimits) -> _Record:
    """Return what RECORD lists, but for itself, its signatures and folders."""
    if max(raw.count(b"\n"), raw.count(b",") // _COMMAS) >= limits.record_lines:
        raise record_mismatch(f"RECORD has more than {limits.record_lines} lines", path)
    if b"\0" in raw:
        raise record_mismatch("RECORD contains a NUL character", path)
    try:
        lines = io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8", newline="")
        return _collected(csv.reader(lines), path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise record_mismatch("RECORD is not a table in UTF-8") from error


def _collected(rows: Iterable[list[str]], path: str) -> _Record:
    record: _Record = {}
    unhashed = _unhashed(path)
    for row in rows:
        if not row:
            continue
        name = row[0].replace("\\", "/")
        listed = _Listed(*(*row[1:3], "", "")[:2])
        if name in unhashed or name.endswith("/"):
            continue
        if record.setdefault(name, listed) != listed:
            raise record_mismatch("RECORD lists a file twice", name)
    return record


def _unhashed(path: str) -> set[str]:
    return {path + suffix for suffix in _SIGNATURES}


def _check_hash(archive: ZipArchive, member: ZipMember, listed: _Listed) -> None:
    """Read a member to its end and refuse it unless it has the hash and the size of RECORD."""
    algorithm, _, expected = listed.hashed.partition("=")
    if algorithm not in _ALGORITHMS:
        raise record_mismatch("RECORD has no hash of SHA-256 or better for a file", member.name)
    digest = hashlib.new(algorithm)
    for piece in archive.pieces(member):
        digest.update(piece)
    if listed.size not in {"", str(member.size)}:
        raise record_mismatch("a file does not have the size that RECORD lists", member.name)
    encoded = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=")
    if encoded != expected.encode():
        raise record_mismatch("a file does not have the hash that RECORD lists", member.name)
