"""Reads an uploaded wheel or sdist that may be hostile, and says what is in it or what is wrong."""

from dataclasses import dataclass
from pathlib import Path

from wheelyard.archive.deadline import Deadline
from wheelyard.archive.faults import refusal
from wheelyard.archive.limits import ArchiveLimits
from wheelyard.archive.sdist import read_sdist
from wheelyard.archive.wheel import read_wheel
from wheelyard.model.distribution import Distribution, Wheel, parse_name, parse_version
from wheelyard.model.metadata import CoreMetadata, metadata_warnings, parse_metadata


@dataclass(frozen=True, slots=True)
class Contents:
    """What an accepted distribution file holds."""

    metadata: bytes
    """The exact bytes of METADATA or PKG-INFO."""
    core: CoreMetadata
    warnings: tuple[str, ...]
    """Sentences about what is allowed, but not good."""


def inspect(
    path: Path, distribution: Distribution, *, limits: ArchiveLimits, deadline: Deadline
) -> Contents:
    """
    Return what the file at `path` holds, after reading all of it once.

    Nothing is extracted, executed or followed, and memory stays bounded whatever the file claims.

    Args:
        path: Of the file, which nobody writes to any more.
        distribution: What its filename promises.
        limits: Of what is read.
        deadline: Of the whole inspection.

    Raises:
        Invalid: The file is not the distribution that its name promises, or not one that every
            client reads in the same way. The code is one of `invalid_archive`, `unsafe_archive`,
            `archive_bomb`, `missing_metadata`, `invalid_metadata`, `invalid_name`,
            `invalid_version`, `record_mismatch`, `name_mismatch` and `version_mismatch`.
    """
    warnings: tuple[str, ...] = ()
    with path.open("rb") as file:
        if isinstance(distribution, Wheel):
            metadata, core, warnings = read_wheel(file.fileno(), distribution, limits, deadline)
        else:
            metadata = read_sdist(file.fileno(), distribution, limits, deadline)
            core = parse_metadata(metadata)
    _check_agreement(core, distribution)
    return Contents(metadata, core, warnings + metadata_warnings(core))


def _check_agreement(core: CoreMetadata, distribution: Distribution) -> None:
    if parse_name(core.name) != distribution.project:
        raise refusal("name_mismatch", "its Name is not that of the filename", core.name)
    if parse_version(core.version) != distribution.version:
        raise refusal("version_mismatch", "its Version is not that of the filename", core.version)
