"""Which files and folders every user of this machine may change, whoever it is meant for."""

import os
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISVTX, S_IWOTH
from typing import Final

from wheelyard.model.text import escaped

MOST_LINKS: Final = 40
"""Links that lead to one another, as Linux counts them."""


def ways_to_change(path: Path) -> Iterator[str]:
    """
    Yield how every user of this machine can change what is at a path, in a clause each.

    Only the mode for others counts: owner and group are the operator's choice. In a folder with a
    sticky bit (`/tmp`, and where Kubernetes mounts a secret) only the owner of a file, the owner of
    the folder and root can replace the file. What is not there, or cannot be looked at, is skipped.

    Args:
        path: A file or a folder. Each folder on the way to it counts, also the way of links.
    """
    if _mode(path) & S_IWOTH:
        yield "every user of this machine may write to it; take that away with 'chmod o-w'"
    found = map(os.path.realpath, _folders_to(path.absolute(), MOST_LINKS))
    for folder in dict.fromkeys(found):
        if _mode(Path(folder)) & (S_IWOTH | S_ISVTX) == S_IWOTH:
            yield (
                "every user of this machine may replace it, because they may write to the folder "
                f"{escaped(folder)}; take that away with 'chmod o-w'"
            )


def _mode(path: Path) -> int:
    """Return the mode of what is at a path, 0 where nothing can be looked at."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _folders_to(path: Path, links: int) -> Iterator[Path]:
    """Yield every folder in which a name is looked up on the way to a path."""
    yield from path.parents
    for place in (path, *path.parents):
        target = _target(place) if links else None
        if target is not None:
            yield from _folders_to(place.parent / target, links - 1)


def _target(place: Path) -> Path | None:
    """Return where a link leads; None for what is no link, or cannot be looked at."""
    try:
        return place.readlink()
    except OSError:
        return None
