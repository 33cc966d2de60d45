"""Which folders are no local disk, so that locks and links may not be what they seem."""

from pathlib import Path
from typing import Final

MOUNTS: Final = Path("/proc/self/mounts")
"""Linux has it; elsewhere nothing is detected."""

REMOTE: Final = ("nfs", "cifs", "smb", "fuse.gcsfuse", "fuse.sshfs", "fuse.s3fs", "9p", "afs")


def remote_file_system(folder: Path, mounts: Path = MOUNTS) -> str | None:
    """
    Return the kind of network file system that `folder` lies on, or None.

    Args:
        folder: Any folder, there or not.
        mounts: A table of mounts in the form of `/proc/mounts`.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    best, kind = "", ""
    for line in lines:
        _, point, file_system, *_ = [*line.split(" "), "", ""]
        place = point.replace("\\040", " ")
        if place and folder.resolve().is_relative_to(place) and len(place) >= len(best):
            best, kind = place, file_system
    return kind if kind.startswith(REMOTE) else None
