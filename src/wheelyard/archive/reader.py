"""Reads a distribution file that may be hostile, and says what is in it or what is wrong."""

from dataclasses import dataclass
from pathlib import Path

from wheelyard.archive.core import read_core
from wheelyard.archive.deadline import Deadline
from wheelyard.archive.excuses import Leniency
from wheelyard.archive.limits import ArchiveLimits
from wheelyard.archive.retired import read_retired
from wheelyard.archive.sdist import read_sdist
from wheelyard.archive.wheel import read_wheel
from wheelyard.model.distribution import Distribution, Sdist, Wheel
from wheelyard.model.metadata import CoreMetadata, metadata_warnings
from wheelyard.model.old_metadata import absent


@dataclass(frozen=True, slots=True)
class Contents:
    """What an accepted distribution file holds."""

    metadata: bytes | None
    """The exact bytes of METADATA or PKG-INFO; None where it has none, and that was excused."""
    core: CoreMetadata
    """What they say; of metadata that breaks a rule, what can be read of it."""
    warnings: tuple[str, ...]
    """Sentences about what is allowed, but not good."""
    excused: tuple[str, ...] = ()
    """The codes of the rules that the file fails, sorted."""


def inspect(
    path: Path,
    distribution: Distribution,
    *,
    limits: ArchiveLimits,
    deadline: Deadline,
    is_lenient: bool = False,
) -> Contents:
    """
    Return what the file at `path` holds, after reading all of it once.

    Nothing is extracted, executed or followed, and memory stays bounded whatever the file claims.

    Args:
        path: Of the file, which nobody writes to any more.
        distribution: What its filename promises.
        limits: Of what is read.
        deadline: Of the whole inspection.
        is_lenient: Take an old file that fails only what `excuses.py` lists.

    Raises:
        Invalid: The file is not the distribution that its name promises, or not one that every
            client reads in the same way. The code is one of `invalid_archive`, `unsafe_archive`,
            `archive_bomb`, `missing_metadata`, `invalid_metadata`, `invalid_name`,
            `invalid_version`, `record_mismatch`, `name_mismatch` and `version_mismatch`.
    """
    leniency = Leniency(is_lenient=is_lenient)
    with path.open("rb") as file:
        metadata, core, warnings = _read(file.fileno(), distribution, limits, deadline, leniency)
    return Contents(metadata, core, warnings + metadata_warnings(core), leniency.excused)


def _read(
    descriptor: int,
    distribution: Distribution,
    limits: ArchiveLimits,
    deadline: Deadline,
    leniency: Leniency,
) -> tuple[bytes | None, CoreMetadata, tuple[str, ...]]:
    """Return the metadata of a file, what it says, and warnings."""
    if isinstance(distribution, Wheel):
        return read_wheel(descriptor, distribution, limits, deadline, leniency)
    if isinstance(distribution, Sdist):
        metadata = read_sdist(descriptor, distribution, limits, deadline, leniency)
    else:
        metadata = read_retired(descriptor, distribution, limits, deadline, leniency)
    if metadata is None:
        return None, absent(distribution.project, distribution.version), ()
    return metadata, read_core(metadata, distribution, leniency), ()
