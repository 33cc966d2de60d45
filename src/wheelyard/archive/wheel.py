"""
A wheel: the files of its `.dist-info`, and every file against RECORD.

Follows the binary distribution format, and PEP 639 for the place of licence files.
"""

import re
from dataclasses import dataclass
from functools import partial

from wheelyard.archive.core import read_core
from wheelyard.archive.deadline import Deadline
from wheelyard.archive.entry_points import check_entry_points
from wheelyard.archive.excuses import METADATA, RECORD, VERSION, Leniency
from wheelyard.archive.faults import (
    invalid_archive,
    invalid_metadata,
    missing_metadata,
    refusal,
)
from wheelyard.archive.limits import ArchiveLimits
from wheelyard.archive.names import (
    check_portable_name,
    is_named_for,
    is_of_project,
    same_when_folded,
)
from wheelyard.archive.record import check_hash, check_listed, parse_record
from wheelyard.archive.zip_members import read_member
from wheelyard.archive.zip_structure import ZipFile, read_structure
from wheelyard.errors import quoted
from wheelyard.model.distribution import TAG_LIMIT, Wheel
from wheelyard.model.headers import parse_headers
from wheelyard.model.metadata import CoreMetadata

_DIST_INFO = ".dist-info"
_WHEEL_VERSION = re.compile(r"(?P<major>[0-9]{1,4})(?:\.[0-9]{1,4})+")
_KNOWN_WHEEL_VERSION = "1.0"
_LICENSE_FILES_SINCE = (2, 4)
"""The Metadata-Version from which the files of License-File have a place of their own."""


@dataclass(frozen=True, slots=True)
class _OpenWheel:
    archive: ZipFile
    folder: str
    """The one `.dist-info` folder, without a slash."""
    limits: ArchiveLimits
    deadline: Deadline
    leniency: Leniency

    def read(self, name: str, limit: int) -> bytes:
        member = self.archive.members.get(f"{self.folder}/{name}")
        if member is None:
            raise missing_metadata(f"it has no file {name}", f"{self.folder}/{name}")
        return read_member(self.archive, member, limit, self.deadline)


def read_wheel(
    descriptor: int, wheel: Wheel, limits: ArchiveLimits, deadline: Deadline, leniency: Leniency
) -> tuple[bytes, CoreMetadata, tuple[str, ...]]:
    """
    Return the bytes of a wheel's METADATA, what they say, and warnings.

    Args:
        descriptor: Of the file, open for reading.
        wheel: What its filename promises.
        limits: Of what is read.
        deadline: Asked between pieces of work.
        leniency: What may be otherwise than it should be.

    Raises:
        Invalid: The file is not a wheel that every client installs in the same way.
    """
    rule = partial(check_portable_name, project=wheel.project)
    archive = read_structure(descriptor, rule, limits, deadline)
    folder = _dist_info(archive, wheel, leniency)
    opened = _OpenWheel(archive, folder, limits, deadline, leniency)
    warnings = [*_check_wheel_file(opened, wheel), *_check_case(archive)]
    raw = opened.read("METADATA", limits.metadata)
    core = read_core(raw, wheel, leniency)
    with leniency.excusing(METADATA):
        _check_license_files(opened, core)
    _check_entry_points(opened)
    _check_record(opened)
    return raw, core, tuple(warnings)


def _dist_info(archive: ZipFile, wheel: Wheel, leniency: Leniency) -> str:
    tops = {name.partition("/")[0] for name in archive.members if "/" in name}
    found = sorted(top for top in tops if top.lower().endswith(_DIST_INFO))
    if len(found) > 1:
        raise invalid_archive("it has two .dist-info folders", found[1])
    lacking = "it has no .dist-info folder of the name and version of the file"
    if not found or not is_of_project(found[0][: -len(_DIST_INFO)], wheel):
        raise missing_metadata(lacking)
    with leniency.excusing(VERSION):
        if not is_named_for(found[0][: -len(_DIST_INFO)], wheel):
            code = "version_mismatch" if leniency.is_lenient else "missing_metadata"
            raise refusal(code, lacking)
    return found[0]


def _check_wheel_file(opened: _OpenWheel, wheel: Wheel) -> list[str]:
    headers = parse_headers(opened.read("WHEEL", opened.limits.wheel_file))
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


def _check_case(archive: ZipFile) -> list[str]:
    name = same_when_folded(archive.members)
    if name is None:
        return []
    return [f"Two files differ only in upper and lower case: {quoted(name)}."]


def _check_license_files(opened: _OpenWheel, core: CoreMetadata) -> None:
    major, _, minor = core.metadata_version.partition(".")
    if (int(major), int(minor)) < _LICENSE_FILES_SINCE:
        return
    for path in core.license_files:
        name = f"{opened.folder}/licenses/{path}"
        if name not in opened.archive.members:
            raise invalid_metadata("a License-File of METADATA is not in the wheel", name)


def _check_entry_points(opened: _OpenWheel) -> None:
    path = f"{opened.folder}/entry_points.txt"
    if path in opened.archive.members:
        raw = opened.read("entry_points.txt", opened.limits.entry_points)
        check_entry_points(raw, path)


def _check_record(opened: _OpenWheel) -> None:
    with opened.leniency.excusing(RECORD):
        _check_against_record(opened)
        return
    for member in opened.archive.members.values():  # a damaged archive is no matter of RECORD's
        check_hash(opened.archive, member, None, opened.deadline)


def _check_against_record(opened: _OpenWheel) -> None:
    path = f"{opened.folder}/RECORD"
    record = parse_record(opened.read("RECORD", opened.limits.record), path, opened.limits)
    check_listed(record, opened.archive.members, path)
    for member in opened.archive.members.values():
        check_hash(opened.archive, member, record.get(member.name), opened.deadline)
