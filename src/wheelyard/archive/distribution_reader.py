"""Validation of a distribution file, and extraction of its metadata."""

import re
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.archive import archive_rules
from wheelyard.archive.archive_rules import ArchiveRule, Leniency
from wheelyard.archive.sdist import open_sdist, read_sdist
from wheelyard.archive.wheel import open_wheel
from wheelyard.errors import Invalid
from wheelyard.model.distribution_filename import (
    Distribution,
    Wheel,
    ambiguous_filename,
    is_name_of,
    is_version_of,
)
from wheelyard.model.metadata import (
    CoreMetadata,
    metadata_warnings,
    parse_any,
    parse_leniently,
    parse_metadata,
    raw_field,
)

_NOT_ALPHANUMERIC: Final = re.compile(r"[^a-z0-9]+")


class DistributionContents(Struct, frozen=True):
    """The metadata of a valid distribution file, warnings about the file, and its waived rules."""

    metadata: bytes | None
    """The exact bytes of METADATA or PKG-INFO, or None if an sdist may lack PKG-INFO, and does."""
    core: CoreMetadata
    """The parsed metadata. Of malformed metadata, the fields that can be read."""
    warnings: tuple[str, ...]
    """Sentences about what is valid but not recommended."""
    waived_rules: tuple[str, ...] = ()
    """The codes of the waived rules that the file breaks, sorted."""
    variant: bytes = b""
    """The `variant.json` of a wheel with a label, in canonical form, or nothing."""


def read_distribution(
    path: Path,
    distribution: Distribution,
    *,
    limits: archive_rules.ArchiveLimits,
    deadline: archive_rules.Deadline,
    is_lenient: bool = False,
) -> DistributionContents:
    """
    Validate the distribution file at `path`, and return its metadata and the warnings about it.

    Nothing is extracted, executed or followed, and memory is bounded whatever the headers say. The
    file must not change any more. If `is_lenient`, the file may break each `ArchiveRule`, and the
    result has the rules that it breaks.

    Raises Invalid if the file is not the distribution that its name promises, if clients would read
    it in different ways, or if it exceeds a limit. The code is one of `invalid_archive`,
    `unsafe_archive`, `archive_bomb`, `missing_metadata`, `invalid_metadata`, `invalid_name`,
    `invalid_version`, `record_mismatch`, `name_mismatch`, `version_mismatch` and `invalid_variant`.
    Raises Unavailable (code `too_busy`) if this machine is too busy to read it in time, and OSError
    if the file cannot be read.
    """
    leniency = Leniency(is_lenient=is_lenient)
    with path.open("rb") as file:
        context = archive_rules.ReadContext(file.fileno(), limits, deadline, leniency)
        contents = _read_contents(context, distribution)
    warnings = contents.warnings + metadata_warnings(contents.core)
    waived = tuple(sorted(rule.value for rule in leniency.waived))
    return replace(contents, warnings=warnings, waived_rules=waived)


def decide_reading(
    path: Path,
    readings: tuple[Distribution, ...],
    *,
    limits: archive_rules.ArchiveLimits,
    deadline: archive_rules.Deadline,
    is_lenient: bool = False,
) -> Distribution:
    """
    Return the reading of a filename, one of several, that PKG-INFO of the sdist at `path` names.

    Only the name of the project is compared. If `is_lenient`, punctuation in it counts for nothing.
    Raises Invalid if PKG-INFO has no name (code `ambiguous_filename`), if the name is that of no
    reading (code `name_mismatch`), or if the file is no sdist (code `invalid_archive`,
    `unsafe_archive` or `archive_bomb`). Raises Unavailable (code `too_busy`) if this machine is too
    busy to read the file in time, and OSError if the file cannot be read.
    """
    filename = readings[0].filename
    leniency = Leniency(is_lenient=is_lenient)
    with path.open("rb") as file:
        context = archive_rules.ReadContext(file.fileno(), limits, deadline, leniency)
        sdist = open_sdist(context, filename)
    name = ""
    if sdist.metadata is not None:
        name = raw_field(sdist.metadata, "name")
    if not name:
        raise ambiguous_filename(filename, readings)
    for reading in readings:
        if is_name_of(name, reading):
            return reading

    # after the exact names: of readings that differ in punctuation alone, the exact one is meant
    if is_lenient:
        for reading in readings:
            if _has_letters_of(name, reading):
                return reading
    projects = " or ".join(reading.project for reading in readings)
    reason = f"its Name is not that of a project that the filename may be of, {projects}"
    advice = "Build it again with a current build tool, and with a version by PEP 440."
    raise archive_rules.other_project("name_mismatch", reason, name, advice=advice)


def _read_contents(
    context: archive_rules.ReadContext, distribution: Distribution
) -> DistributionContents:
    """Validate a file, and return its contents, without the warnings about its metadata."""
    if isinstance(distribution, Wheel):
        # metadata first: it names the licence files, and a wrong name costs no reading of members
        wheel = open_wheel(context, distribution)
        core = _parse_core(wheel.metadata, distribution, context.leniency)
        variant = wheel.read_variant(distribution.label)
        wheel.check(core)
        return DistributionContents(wheel.metadata, core, wheel.warnings, variant=variant)
    sdist = read_sdist(context, distribution)
    if sdist.metadata is None:
        # a lenient import takes an sdist without metadata, of which only the filename is known
        core = parse_any(None, distribution.project, distribution.version)
        return DistributionContents(None, core, sdist.warnings)
    core = _parse_core(sdist.metadata, distribution, context.leniency)
    sdist.check(core, context.leniency)
    return DistributionContents(sdist.metadata, core, sdist.warnings)


def _parse_core(raw: bytes, distribution: Distribution, leniency: Leniency) -> CoreMetadata:
    """
    Return the parsed metadata, of malformed metadata the valid fields if that is waived.

    Raises Invalid if the metadata is malformed, or if its name or version is not that of the
    filename, unless `leniency` waives that rule.
    """
    try:
        core = parse_metadata(raw)
    except Invalid as error:
        leniency.waive_or_raise(ArchiveRule.METADATA, error)
        # name and version are compared all the same, as both may be readable
        name = raw_field(raw, "name")
        version = raw_field(raw, "version")
        core = parse_leniently(raw, distribution.project, distribution.version)
    else:
        name = core.name
        version = core.version
    _check_name_and_version(name, version, distribution, leniency)
    return core


def _check_name_and_version(
    name: str, version: str, distribution: Distribution, leniency: Leniency
) -> None:
    """
    Raise Invalid unless the name and the version of the metadata are those of the filename.

    An empty name or version is not compared. `leniency` may waive any other version, but of names
    only those that differ in punctuation.
    """
    if name and not is_name_of(name, distribution):
        error = _name_mismatch(name)
        # also for a lenient import: other letters are the name of another project
        if not _has_letters_of(name, distribution):
            raise error
        leniency.waive_or_raise(ArchiveRule.NAME, error)
    if version and not is_version_of(version, distribution):
        reason = "its Version is not that of the filename"
        error = archive_rules.other_project("version_mismatch", reason, version)
        leniency.waive_or_raise(ArchiveRule.VERSION, error)


def _name_mismatch(name: str) -> Invalid:
    return archive_rules.other_project(
        "name_mismatch", "its Name is not that of the filename", name
    )


def _has_letters_of(name: str, distribution: Distribution) -> bool:
    """Return whether a name differs from that of a distribution in punctuation alone."""
    letters = _NOT_ALPHANUMERIC.sub("", name.lower())
    return letters == _NOT_ALPHANUMERIC.sub("", distribution.project)
