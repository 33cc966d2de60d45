"""
What a distribution file holds, whatever its kind.

Eggs, and installers for Windows, are what was built before there were wheels. An egg is a ZIP file,
and read as one. What an installer holds cannot be told without running it, so it is taken as bytes,
if it begins as one does and is not large; no index looks into it, and no current client asks for
it.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wheelyard.archive.archive_errors import (
    archive_bomb,
    invalid_archive,
    invalid_file,
    missing_metadata,
)
from wheelyard.archive.leniency import (
    METADATA_RULE,
    MISSING_METADATA_RULE,
    NAME_RULE,
    VERSION_RULE,
    Leniency,
)
from wheelyard.archive.limits import ArchiveLimits, Deadline, ReadContext
from wheelyard.archive.member_names import check_relative_name
from wheelyard.archive.sdist import read_sdist
from wheelyard.archive.wheel import open_wheel
from wheelyard.archive.zip_members import open_zip
from wheelyard.model.distribution_filename import (
    Distribution,
    ObsoleteDistribution,
    Sdist,
    Wheel,
    is_name_of,
    is_version_of,
)
from wheelyard.model.lenient_metadata import minimal_metadata, parse_leniently, raw_field
from wheelyard.model.metadata import CoreMetadata, metadata_warnings, parse_metadata

_ODD: Final = re.compile(r"[^a-z0-9]+")
_PKG_INFO: Final = "EGG-INFO/PKG-INFO"
_BEGINNINGS: Final = {
    "bdist_wininst": b"MZ",
    "bdist_msi": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
}


@dataclass(frozen=True, slots=True)
class DistributionContents:
    """What an accepted distribution file holds."""

    metadata: bytes | None
    """The exact bytes of METADATA or PKG-INFO; None where it has none, and that was excused."""
    core: CoreMetadata
    """What they say; of metadata that breaks a rule, what can be read of it."""
    warnings: tuple[str, ...]
    """Sentences about what is allowed, but not good."""
    excused: tuple[str, ...] = ()
    """The codes of the rules that the file fails, sorted."""


def read_distribution(
    path: Path,
    distribution: Distribution,
    *,
    limits: ArchiveLimits,
    deadline: Deadline,
    is_lenient: bool = False,
) -> DistributionContents:
    """
    Return what the file at `path` holds, after reading all of it once.

    Nothing is extracted, executed or followed, and memory stays bounded whatever the file claims.
    Nobody may write to the file any more. Lenient is to take an old file that fails only rules of
    `EXCUSABLE`.

    Raises:
        Invalid: The file is not the distribution that its name promises, or not one that every
            client reads in the same way. The code is one of `invalid_archive`, `unsafe_archive`,
            `archive_bomb`, `missing_metadata`, `invalid_metadata`, `invalid_name`,
            `invalid_version`, `record_mismatch`, `name_mismatch` and `version_mismatch`.
    """
    leniency = Leniency(is_lenient=is_lenient)
    with path.open("rb") as file:
        reading = ReadContext(file.fileno(), limits, deadline, leniency)
        metadata, core, warnings = _read(reading, distribution)
    return DistributionContents(
        metadata, core, warnings + metadata_warnings(core), leniency.excused
    )


def _read(
    reading: ReadContext, distribution: Distribution
) -> tuple[bytes | None, CoreMetadata, tuple[str, ...]]:
    """Return the metadata of a file, what it says, and warnings."""
    if isinstance(distribution, Wheel):
        wheel = open_wheel(reading, distribution)
        core = _read_core(wheel.metadata, distribution, reading.leniency)
        wheel.check(core)
        return wheel.metadata, core, wheel.warnings
    if isinstance(distribution, Sdist):
        metadata = read_sdist(reading, distribution)
    else:
        metadata = _read_retired(reading, distribution)
    if metadata is None:
        return None, minimal_metadata(distribution.project, distribution.version), ()
    return metadata, _read_core(metadata, distribution, reading.leniency), ()


def _read_core(raw: bytes, distribution: Distribution, leniency: Leniency) -> CoreMetadata:
    """Return what METADATA or PKG-INFO says; if it breaks an excused rule, what can be read."""
    with leniency.waiving(METADATA_RULE):
        core = parse_metadata(raw)
        _check_agreement(core.name, core.version, distribution, leniency)
        return core
    name, version = raw_field(raw, "name"), raw_field(raw, "version")
    _check_agreement(name, version, distribution, leniency)
    return parse_leniently(raw, distribution.project, distribution.version)


def _check_agreement(
    name: str, version: str, distribution: Distribution, leniency: Leniency
) -> None:
    if name and not is_name_of(name, distribution):
        fault = invalid_file("name_mismatch", "its Name is not that of the filename", name)
        letters, own = (_ODD.sub("", each) for each in (name.lower(), distribution.project))
        if letters != own:
            raise fault
        with leniency.waiving(NAME_RULE):
            raise fault
    with leniency.waiving(VERSION_RULE):
        if version and not is_version_of(version, distribution):
            reason = "its Version is not that of the filename"
            raise invalid_file("version_mismatch", reason, version)


def _read_retired(reading: ReadContext, retired: ObsoleteDistribution) -> bytes | None:
    """Return the bytes of an egg's PKG-INFO, None where there are none."""
    beginning = _BEGINNINGS.get(retired.packagetype)
    if beginning is None:
        return _read_egg(reading)
    largest = reading.limits.opaque
    if os.fstat(reading.descriptor).st_size > largest:
        raise archive_bomb(f"nobody can look into it, and it is larger than {largest} bytes")
    if os.pread(reading.descriptor, len(beginning), 0) != beginning:
        raise invalid_archive("it is not of the kind that its name says")
    return None


def _read_egg(reading: ReadContext) -> bytes | None:
    archive = open_zip(reading, check_relative_name)
    found = None
    for member in archive.members.values():
        if member.name == _PKG_INFO:
            found = archive.read(member, reading.limits.metadata)
        else:
            archive.check(member)
    with reading.leniency.waiving(MISSING_METADATA_RULE):
        if found is None:
            raise missing_metadata("it has no PKG-INFO", _PKG_INFO)
    return found
