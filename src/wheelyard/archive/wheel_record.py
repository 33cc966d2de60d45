"""
RECORD of a wheel: its list of all files with hash and size, compared with the files.

Installers copy RECORD without comparing it, so the index compares it once, at upload.
"""

import base64
import csv
import hashlib
import io
from collections.abc import Iterable
from typing import NamedTuple

from wheelyard.archive.archive_errors import record_mismatch
from wheelyard.archive.limits import ArchiveLimits
from wheelyard.archive.zip_members import ZipArchive, ZipMember

_ALGORITHMS = frozenset({"sha256", "sha384", "sha512"})
_UNHASHED_SUFFIXES = ("", ".jws", ".p7s")
"""Suffixes of RECORD and its signatures, which cannot be listed with a hash."""
_COMMAS_PER_LINE = 4
"""The highest average in RECORD: two for the columns, and some in names."""


def check_record(archive: ZipArchive, path: str) -> None:
    """
    Raise Invalid unless RECORD, at `path`, lists exactly the wheel's files, with their hashes.

    Sizes are compared if RECORD has them. Each member is read.
    """
    limits, members = archive.context.limits, archive.members
    record = _parse_record(archive.read_path(path, limits.record), path, limits)
    files = {name for name in members if not name.endswith("/")} - _unhashed(path)
    for name in sorted(files - record.keys()):
        raise record_mismatch("RECORD does not list a file of the wheel", name)
    for name in sorted(record.keys() - files):
        raise record_mismatch("RECORD lists a file that the wheel does not have", name)
    for member in members.values():
        if member.name in record:
            _check_hash(archive, member, record[member.name])
        else:
            archive.verify(member)


class _RecordEntry(NamedTuple):
    """The hash and the size in a line of RECORD, as written."""

    hashed: str
    """`sha256=...`."""
    size: str
    """In bytes; may be empty."""


_Record = dict[str, _RecordEntry]
"""The entry of each file, by path."""


def _parse_record(raw: bytes, path: str, limits: ArchiveLimits) -> _Record:
    """Return the entries of RECORD by path, without RECORD, its signatures, and folders."""
    if max(raw.count(b"\n"), raw.count(b",") // _COMMAS_PER_LINE) >= limits.record_lines:
        raise record_mismatch(f"RECORD has more than {limits.record_lines} lines", path)
    if b"\0" in raw:
        raise record_mismatch("RECORD contains a NUL character", path)
    try:
        lines = io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8", newline="")
        return _collect_entries(csv.reader(lines), path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise record_mismatch("RECORD is not a table in UTF-8") from error


def _collect_entries(rows: Iterable[list[str]], path: str) -> _Record:
    record: _Record = {}
    unhashed = _unhashed(path)
    for row in rows:
        if not row:
            continue
        name = row[0].replace("\\", "/")
        entry = _RecordEntry(*(*row[1:3], "", "")[:2])
        if name in unhashed or name.endswith("/"):
            continue
        if record.setdefault(name, entry) != entry:
            raise record_mismatch("RECORD lists a file twice", name)
    return record


def _unhashed(path: str) -> set[str]:
    return {path + suffix for suffix in _UNHASHED_SUFFIXES}


def _check_hash(archive: ZipArchive, member: ZipMember, entry: _RecordEntry) -> None:
    """Raise Invalid unless a member has the hash of its RECORD entry, and the size, if any."""
    algorithm, _, expected = entry.hashed.partition("=")
    if algorithm not in _ALGORITHMS:
        raise record_mismatch("RECORD has no hash of SHA-256 or better for a file", member.name)
    digest = hashlib.new(algorithm)
    for chunk in archive.chunks(member):
        digest.update(chunk)
    if entry.size not in {"", str(member.size)}:
        raise record_mismatch("a file does not have the size that RECORD lists", member.name)
    encoded = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=")
    if encoded != expected.encode():
        raise record_mismatch("a file does not have the hash that RECORD lists", member.name)
