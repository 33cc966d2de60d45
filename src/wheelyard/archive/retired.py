"""
Eggs, and installers for Windows: what was built before there were wheels.

An egg is a ZIP file, and read as one. What an installer holds cannot be told without running it, so
it is taken as bytes, if it begins as one does and is not large; no index looks into it, and no
current client asks for it.
"""

import os
from typing import Final

from wheelyard.archive.deadline import Deadline
from wheelyard.archive.excuses import NO_METADATA, Leniency
from wheelyard.archive.faults import archive_bomb, invalid_archive, missing_metadata
from wheelyard.archive.limits import ArchiveLimits
from wheelyard.archive.names import check_relative_name
from wheelyard.archive.zip_members import member_pieces, read_member
from wheelyard.archive.zip_structure import read_structure
from wheelyard.model.distribution import Retired

_PKG_INFO: Final = "EGG-INFO/PKG-INFO"
_BEGINNINGS: Final = {
    "bdist_wininst": b"MZ",
    "bdist_msi": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
}


def read_retired(
    descriptor: int, retired: Retired, limits: ArchiveLimits, deadline: Deadline, leniency: Leniency
) -> bytes | None:
    """
    Return the bytes of an egg's PKG-INFO, None where there are none.

    Args:
        descriptor: Of the file, open for reading.
        retired: What its filename promises.
        limits: Of what is read.
        deadline: Asked between pieces of work.
        leniency: What may be otherwise than it should be.

    Raises:
        Invalid: The file is not what its filename says, or is unsafe.
    """
    beginning = _BEGINNINGS.get(retired.packagetype)
    if beginning is None:
        return _read_egg(descriptor, limits, deadline, leniency)
    if os.fstat(descriptor).st_size > limits.opaque:
        raise archive_bomb(f"nobody can look into it, and it is larger than {limits.opaque} bytes")
    if os.pread(descriptor, len(beginning), 0) != beginning:
        raise invalid_archive("it is not of the kind that its name says")
    return None


def _read_egg(
    descriptor: int, limits: ArchiveLimits, deadline: Deadline, leniency: Leniency
) -> bytes | None:
    archive = read_structure(descriptor, check_relative_name, limits, deadline)
    found = None
    for member in archive.members.values():
        if member.name == _PKG_INFO:
            found = read_member(archive, member, limits.metadata, deadline)
            continue
        for _ in member_pieces(archive, member, deadline):
            pass
    with leniency.excusing(NO_METADATA):
        if found is None:
            raise missing_metadata("it has no PKG-INFO", _PKG_INFO)
    return found
