"""What has changed last in an index, for the feed of all projects."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.catalog.projects import Projects
from wheelyard.concurrency.prefetch import PREFETCH_THREADS, prefetch_map
from wheelyard.errors import Unavailable
from wheelyard.model.project import Project
from wheelyard.rendering.feeds import FeedEntry, latest_entries

CHANGED_PROJECTS: Final = 40
"""How many projects the feed looks at: those with the newest commits."""


def read_latest(
    projects: Projects, names: Iterable[NormalizedName], *, is_local: bool
) -> Iterator[FeedEntry]:
    """Yield the newest releases and changes of the projects that can be read."""

    def read(name: NormalizedName) -> Project | None:
        with suppress(Unavailable):
            return projects.load(name).value
        return None

    # handing work to threads takes longer than reading a file
    for project in prefetch_map(read, names, 1 if is_local else PREFETCH_THREADS):
        if project is not None:
            yield from latest_entries(project)
