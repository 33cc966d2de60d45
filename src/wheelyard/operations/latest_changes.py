"""What has changed last in an index, for the feed of all projects."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.concurrency.prefetch import prefetch_map
from wheelyard.errors import Unavailable
from wheelyard.model.project import Project
from wheelyard.rendering.feeds import FeedEntry, latest_entries

CHANGED_PROJECTS: Final = 40
"""How many projects the feed looks at: those with the newest commits."""


def read_latest(
    load: Callable[[NormalizedName], Project | None],
    names: Iterable[NormalizedName],
    *,
    is_local: bool,
) -> Iterator[FeedEntry]:
    """Yield the newest releases and changes of the projects that `load` can read."""

    def read(name: NormalizedName) -> Project | None:
        try:
            return load(name)
        except Unavailable:
            return None

    # handing work to threads takes longer than reading a file
    for project in map(read, names) if is_local else prefetch_map(read, names):
        if project is not None:
            yield from latest_entries(project)
