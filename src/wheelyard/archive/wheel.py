"""
Validation of a wheel: its `.dist-info` folder, RECORD, WHEEL, METADATA and entry points.

Follows the binary distribution format, the entry points specification as its strictest reader does,
and PEP 639 for licence files. RECORD lists all files with hash and size. Installers copy it without
comparing it, so every file is compared with it here. Installers make a file of each entry point, so
those are validated, too.
"""

import base64
import csv
import hashlib
import io
import re
from functools import partial
from itertools import product

from msgspec import Struct
from packaging.utils import canonicalize_name

from wheelyard.archive import archive_rules
from wheelyard.archive.archive_rules import ArchiveRule, invalid_metadata, record_mismatch
from wheelyard.archive.zip_members import ZipArchive, ZipMember, open_zip
from wheelyard.errors import Invalid, quoted
from wheelyard.model.distribution_filename import TAG_LIMIT, Wheel, is_stem_of
from wheelyard.model.metadata import LICENSE_VERSION, CoreMetadata, Headers, parse_headers

_DIST_INFO = ".dist-info"
VARIANT_FILE = "variant.json"
_WHEEL_VERSION = re.compile(r"(?P<major>[0-9]{1,4})(?:\.[0-9]{1,4})+")
_KNOWN_WHEEL_VERSION = "1.0"

_TAG_PARTS = 3
"""A tag has a Python, an ABI and a platform."""

_SCRIPT_GROUPS = frozenset({"console_scripts", "gui_scripts"})
_SCRIPT_NAME = re.compile(r"[\w.-]+")
_DOTTED_NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_OBJECT_REFERENCE = re.compile(rf"{_DOTTED_NAME}\s*:\s*{_DOTTED_NAME}\s*(?:\[[\w\s,.=-]*\])?")
"""The object reference of a command: a module, a function, and optional extras."""

_HASH_ALGORITHMS = frozenset({"sha256", "sha384", "sha512"})
_SIGNATURE_SUFFIXES = (".jws", ".p7s")
"""Suffixes of the signatures of RECORD, which PEP 815 has deprecated."""
_COMMAS_PER_LINE = 4
"""The highest average in RECORD: two for the columns, and some in names."""


class OpenWheel(Struct, frozen=True):
    """A wheel whose structure and file WHEEL are valid, with its METADATA, not yet parsed."""

    archive: ZipArchive
    folder: str
    """The `.dist-info` folder, without a slash at the end."""
    metadata: bytes
    warnings: tuple[str, ...]

    def read_variant(self, label: str) -> bytes:
        """
        Return the `variant.json` of the wheel in canonical form, or nothing without a label.

        Raises Invalid if the file is missing or malformed (code `invalid_variant`), too large (code
        `archive_bomb`), or damaged (code `invalid_archive`).
        """
        if not label:
            return b""
        # few wheels have a label
        from wheelyard.model.wheel_variants import (  # noqa: PLC0415
            WHEEL_LIMIT,
            encode_variant,
            missing_variant,
            parse_variant,
        )

        path = f"{self.folder}/{VARIANT_FILE}"
        if path not in self.archive.members:
            raise missing_variant(label)
        raw = self.archive.read_path(path, WHEEL_LIMIT)
        return encode_variant(parse_variant(raw, label))

    def check(self, core: CoreMetadata) -> None:
        """
        Raise Invalid unless the wheel's licence files, entry points and RECORD are valid.

        Each member is read. `core` is the parsed METADATA, which names the licence files. An error
        that the leniency of the archive waives is not raised, and the leniency notes the rule. The
        code is
        `invalid_metadata` for licence files and entry points, `unsafe_archive` for the name of a
        command that is a path, `record_mismatch` or `missing_metadata` for RECORD, `archive_bomb`
        for a file over its limit, and `invalid_archive` for a damaged member.
        """
        context = self.archive.context
        try:
            self._check_license_files(core)
        except Invalid as error:
            context.leniency.waive_or_raise(ArchiveRule.METADATA, error)
        path = f"{self.folder}/entry_points.txt"
        if path in self.archive.members:
            _check_entry_points(self.archive.read_path(path, context.limits.entry_points), path)
        try:
            _check_record(self.archive, f"{self.folder}/RECORD")
        except Invalid as error:
            context.leniency.waive_or_raise(ArchiveRule.RECORD, error)
            # the waived rule is about RECORD: damaged members are refused, and not all were read
            for member in self.archive.members.values():
                self.archive.verify(member)

    def _check_license_files(self, core: CoreMetadata) -> None:
        """Raise Invalid unless the wheel has the licence files that its METADATA names."""
        if core.format < LICENSE_VERSION:
            return
        for path in core.license_files:
            name = f"{self.folder}/licenses/{path}"
            if name not in self.archive.members:
                raise invalid_metadata("a License-File of METADATA is not in the wheel", name)


def open_wheel(context: archive_rules.ReadContext, wheel: Wheel) -> OpenWheel:
    """
    Return a wheel with its METADATA, which is not parsed, and warnings.

    Raises Invalid if the file is no ZIP file that all programs read alike (code `invalid_archive`,
    `unsafe_archive` or `archive_bomb`), if WHEEL is wrong (code `invalid_metadata`), or if a file
    or the right `.dist-info` folder is missing (code `missing_metadata`). If the leniency of
    `context` waives that the folder has another version, the leniency notes the rule.
    """
    archive = open_zip(context, partial(archive_rules.check_portable_name, project=wheel.project))
    folder = _find_dist_info(context, archive, wheel)
    headers = parse_headers(archive.read_path(f"{folder}/WHEEL", context.limits.wheel_file))
    warnings = _check_wheel_file(headers, wheel)
    collision = archive_rules.find_case_collision(archive.members)
    if collision is not None:
        warnings.append(f"Two files differ only in upper and lower case: {quoted(collision)}.")
    if f"{folder}/{VARIANT_FILE}" in archive.members and not wheel.label:
        warnings.append(
            "It has a variant.json, and no label in its name: clients take it for any machine."
        )
    warnings.extend(archive_rules.unportable_warnings(archive.members))
    for suffix in _SIGNATURE_SUFFIXES:
        if f"{folder}/RECORD{suffix}" in archive.members:
            warnings.append(
                f"RECORD{suffix} is deprecated by PEP 815, as no installer reads it; leave it out."
            )
    metadata = archive.read_path(f"{folder}/METADATA", context.limits.metadata)
    return OpenWheel(archive, folder, metadata, tuple(warnings))


def _find_dist_info(context: archive_rules.ReadContext, archive: ZipArchive, wheel: Wheel) -> str:
    """
    Return the name of the `.dist-info` folder of a wheel.

    Raises Invalid unless there is one such folder, of the project and version of the filename.
    """
    found_folders = set()
    for name in archive.members:
        folder, slash, _ = name.partition("/")
        if slash and folder.lower().endswith(_DIST_INFO):
            found_folders.add(folder)
    folders = sorted(found_folders)
    if len(folders) > 1:
        raise archive_rules.invalid_archive("it has two .dist-info folders", folders[1])
    reason = "it has no .dist-info folder of the name and version of the file"
    stem = folders[0][: -len(_DIST_INFO)] if folders else ""
    # installers only compare the name at the beginning
    if not canonicalize_name(stem).startswith(f"{wheel.project}-"):
        raise archive_rules.other_project("missing_metadata", reason)
    if not is_stem_of(stem, wheel):
        code = "version_mismatch" if context.leniency.is_lenient else "missing_metadata"
        context.leniency.waive_or_raise(
            ArchiveRule.VERSION, archive_rules.other_project(code, reason)
        )
    return folders[0]


def _check_wheel_file(headers: Headers, wheel: Wheel) -> list[str]:
    """Return warnings about the file WHEEL, or raise Invalid if installers refuse the wheel."""
    version = headers.only("wheel-version") or ""
    match = _WHEEL_VERSION.fullmatch(version)
    if match is None or match["major"] != "1":
        raise invalid_metadata(f"its Wheel-Version is not 1.x but {quoted(version)}", "WHEEL")
    warnings = []
    if version != _KNOWN_WHEEL_VERSION:
        warnings.append(f"Wheel-Version {version} is newer than this index knows.")
    if _expand_tags(headers.every("tag")) != set(wheel.tags):
        warnings.append("The tags in WHEEL differ from those in the filename.")
    return warnings


def _expand_tags(values: tuple[str, ...]) -> set[str]:
    """Return the tags in `Tag` fields, with sets expanded, or none if they are over `TAG_LIMIT`."""
    tags: set[str] = set()
    for value in values:
        fields = value.lower().split("-")
        # anything else is no tag of a wheel
        if len(fields) != _TAG_PARTS:
            continue
        pythons, abis, platforms = (field.split(".") for field in fields)
        # counted before the tags are made: a compressed set of a few bytes may stand for millions
        count = len(pythons) * len(abis) * len(platforms)
        if len(tags) + count > TAG_LIMIT:
            return set()
        tags.update("-".join(tag) for tag in product(pythons, abis, platforms))
    return tags


def _check_entry_points(raw: bytes, path: str) -> None:
    """
    Raise Invalid unless the lines are well-formed, and commands have valid names and references.

    A command's name is a plain file name. Its reference is `module:function`. `configparser` is not
    used, as it takes quadratic time for a line of blanks.
    """
    try:
        lines = raw.decode().splitlines()
    except UnicodeDecodeError as error:
        raise invalid_metadata("the entry points are not UTF-8 text", path) from error
    groups = _parse_entry_points(lines, path)
    for group in _SCRIPT_GROUPS & groups.keys():
        for name, lines_of_reference in groups[group].items():
            _check_command(name, "\n".join(lines_of_reference))


def _parse_entry_points(lines: list[str], path: str) -> dict[str, dict[str, list[str]]]:
    """Return each value as a list of its lines, by group and name, or raise Invalid."""
    groups: dict[str, dict[str, list[str]]] = {}
    entries: dict[str, list[str]] = {}
    lines_of_entry: list[str] = []
    entry_indent = 0
    for line in lines:
        stripped_line = line.strip()
        indent = len(line) - len(line.lstrip())
        if not stripped_line or stripped_line[0] in "#;":
            continue
        # a line that is indented more than its entry continues the value, as in `configparser`
        if entries and indent > entry_indent:
            lines_of_entry.append(stripped_line)
            continue
        entry_indent = indent
        if stripped_line.startswith("["):
            group = stripped_line[1:-1].strip()
            if not stripped_line.endswith("]") or not group or group in groups:
                raise invalid_metadata("a group of entry points is malformed or given twice", path)
            entries = {}
            groups[group] = entries
            continue
        name, equals, value = (field.strip() for field in stripped_line.partition("="))
        if not equals or not groups:
            raise invalid_metadata("a line of the entry points is not 'name = object'", path)
        if not name or name in entries:
            raise invalid_metadata("an entry point has no name, or its name is given twice", name)
        lines_of_entry = [value]
        entries[name] = lines_of_entry
    return groups


def _check_command(name: str, reference: str) -> None:
    """Raise Invalid unless an installer can safely make a program of an entry point."""
    # an installer makes a file of this name beside the other programs
    has_separator = any(separator in name for separator in "/\\:")
    if has_separator or not name.strip("."):
        raise archive_rules.unsafe_archive("the name of a command is a path", name)
    if not _SCRIPT_NAME.fullmatch(name):
        raise invalid_metadata("the name of a command has other than letters, digits, '._-'", name)
    # an installer writes the reference into the code of the command
    if not _OBJECT_REFERENCE.fullmatch(reference):
        raise invalid_metadata("a command does not lead to 'module:function'", name)


def _check_record(archive: ZipArchive, path: str) -> None:
    """
    Raise Invalid unless RECORD, at `path`, lists exactly the wheel's files, with their hashes.

    Sizes are compared if RECORD has them. Each member is read.
    """
    members = archive.members
    record = _read_record(archive, path)
    files = {name for name in members if not name.endswith("/")}
    files -= _paths_without_hash(path)
    for name in sorted(files - record.keys()):
        raise record_mismatch("RECORD does not list a file of the wheel", name)
    for name in sorted(record.keys() - files):
        raise record_mismatch("RECORD lists a file that the wheel does not have", name)
    for member in members.values():
        if member.name in record:
            _check_hash_and_size(archive, member, *record[member.name])
        else:
            archive.verify(member)


def _read_record(archive: ZipArchive, path: str) -> dict[str, tuple[str, str]]:
    """
    Return the hash and the size that RECORD lists for each path, of which both may be empty.

    RECORD itself, its signatures, and folders are left out. Raises Invalid if RECORD is missing,
    too large, or no table that all programs read alike.
    """
    limits = archive.context.limits
    paths_without_hash = _paths_without_hash(path)
    raw = archive.read_path(path, limits.record)

    # checked before the lines are parsed, as a table of commas alone would take much memory
    lines = raw.count(b"\n")
    lines_of_commas = raw.count(b",") // _COMMAS_PER_LINE
    if max(lines, lines_of_commas) >= limits.record_lines:
        raise record_mismatch(f"RECORD has more than {limits.record_lines} lines", path)
    if b"\0" in raw:
        raise record_mismatch("RECORD contains a NUL character", path)
    record: dict[str, tuple[str, str]] = {}
    table = io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8", newline="")
    try:
        for row in csv.reader(table):
            if not row:
                continue
            # a row may lack the columns of hash and size, or have more than three
            name = row[0].replace("\\", "/")
            listed_hash = row[1] if len(row) > 1 else ""
            listed_size = row[2] if len(row) > 2 else ""  # noqa: PLR2004 - the third column
            if name in paths_without_hash or name.endswith("/"):
                continue
            # two equal lines say the same to all programs
            facts = (listed_hash, listed_size)
            if record.setdefault(name, facts) != facts:
                raise record_mismatch("RECORD lists a file twice", name)
    except (UnicodeDecodeError, csv.Error) as error:
        raise record_mismatch("RECORD is not a table in UTF-8") from error
    return record


def _paths_without_hash(path: str) -> set[str]:
    """Return the paths of RECORD and its signatures, which RECORD cannot list with a hash."""
    return {path, *(path + suffix for suffix in _SIGNATURE_SUFFIXES)}


def _check_hash_and_size(
    archive: ZipArchive, member: ZipMember, listed_hash: str, listed_size: str
) -> None:
    """Raise Invalid unless a member has the hash that RECORD lists, and the size, if listed."""
    algorithm, _, expected_digest = listed_hash.partition("=")
    if algorithm not in _HASH_ALGORITHMS:
        raise record_mismatch("RECORD has no hash of SHA-256 or better for a file", member.name)
    digest = hashlib.new(algorithm)
    for chunk in archive.chunks(member):
        digest.update(chunk)
    if listed_size not in {"", str(member.size)}:
        raise record_mismatch("a file does not have the size that RECORD lists", member.name)
    encoded = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=")
    if encoded != expected_digest.encode():
        raise record_mismatch("a file does not have the hash that RECORD lists", member.name)
