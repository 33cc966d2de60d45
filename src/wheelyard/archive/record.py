"""
RECORD: the list of a wheel's files with their hashes.

Installers copy it and do not compare, so a wheel is held to it here, once. Follows the binary
distribution format: SHA-256 or better, URL-safe base64 without padding.
"""

import base64
import csv
import hashlib
import io
from collections.abc import Iterable
from typing import NamedTuple

from wheelyard.archive.deadline import Deadline
from wheelyard.archive.faults import record_mismatch
from wheelyard.archive.limits import ArchiveLimits
from wheelyard.archive.zip_members import member_pieces
from wheelyard.archive.zip_structure import Member, ZipFile

_ALGORITHMS = frozenset({"sha256", "sha384", "sha512"})
_SIGNATURES = ("", ".jws", ".p7s")
"""Suffixes of RECORD itself and its signatures, which cannot have a hash in it."""

_COMMAS = 4
"""In a line, on average at most: two, and some in names."""


class Listed(NamedTuple):
    """What a line of RECORD says of a file, as written."""

    hashed: str
    """`sha256=...`."""
    size: str
    """In bytes; may be left out."""


Record = dict[str, Listed]
"""From the path of a file to what is said of it."""


def parse_record(raw: bytes, path: str, limits: ArchiveLimits) -> Record:
    """
    Return what RECORD lists, but for itself, its signatures and folders.

    Args:
        raw: The bytes of RECORD.
        path: The path of RECORD in the wheel.
        limits: Of its lines.

    Raises:
        Invalid: It is not a CSV table of paths and hashes (code `record_mismatch`).
    """
    if max(raw.count(b"\n"), raw.count(b",") // _COMMAS) >= limits.record_lines:
        raise record_mismatch(f"RECORD has more than {limits.record_lines} lines", path)
    if b"\0" in raw:
        raise record_mismatch("RECORD contains a NUL character", path)
    try:
        lines = io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8", newline="")
        return _collected(csv.reader(lines), path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise record_mismatch("RECORD is not a table in UTF-8") from error


def check_listed(record: Record, members: Iterable[str], path: str) -> None:
    """
    Accept a wheel whose RECORD lists exactly its files.

    Args:
        record: From `parse_record`.
        members: The names of all members.
        path: The path of RECORD in the wheel.

    Raises:
        Invalid: A file is not listed, or a listed one is missing (code `record_mismatch`).
    """
    files = {name for name in members if not name.endswith("/")} - _unhashed(path)
    for name in sorted(files - record.keys()):
        raise record_mismatch("RECORD does not list a file of the wheel", name)
    for name in sorted(record.keys() - files):
        raise record_mismatch("RECORD lists a file that the wheel does not have", name)


def check_hash(archive: ZipFile, member: Member, listed: Listed | None, deadline: Deadline) -> None:
    """
    Read a member to its end and accept it if it has the hash and the size that RECORD lists.

    Args:
        archive: Whose structure has been accepted.
        member: One of its members.
        listed: Its hash and size in RECORD; None for the few that have none.
        deadline: Asked for every piece.

    Raises:
        Invalid: The hash or the size differs (code `record_mismatch`), or the member is not what
            its header says (code `invalid_archive`).
    """
    if listed is None:
        for _ in member_pieces(archive, member, deadline):
            pass
        return
    algorithm, _, expected = listed.hashed.partition("=")
    if algorithm not in _ALGORITHMS:
        raise record_mismatch("RECORD has no hash of SHA-256 or better for a file", member.name)
    digest = hashlib.new(algorithm)
    for piece in member_pieces(archive, member, deadline):
        digest.update(piece)
    if listed.size not in {"", str(member.size)}:
        raise record_mismatch("a file does not have the size that RECORD lists", member.name)
    encoded = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=")
    if encoded != expected.encode():
        raise record_mismatch("a file does not have the hash that RECORD lists", member.name)


def _collected(rows: Iterable[list[str]], path: str) -> Record:
    record: Record = {}
    unhashed = _unhashed(path)
    for row in rows:
        if not row:
            continue
        name = row[0].replace("\\", "/")
        listed = Listed(*(*row[1:3], "", "")[:2])
        if name in unhashed or name.endswith("/"):
            continue
        if record.setdefault(name, listed) != listed:
            raise record_mismatch("RECORD lists a file twice", name)
    return record


def _unhashed(path: str) -> set[str]:
    return {path + suffix for suffix in _SIGNATURES}
