"""The page on which one promotes a release to another index, and what a release says of that."""

from collections.abc import Iterable, Sequence

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.model.access import describe_principal
from wheelyard.model.project import File
from wheelyard.rendering.listing import ShownFile
from wheelyard.rendering.simple_pages import timestamp
from wheelyard.rendering.web.account_pages import FormState
from wheelyard.rendering.web.environment import PageEnvironment, Viewer
from wheelyard.rendering.web.project_frame import PROMOTE, ProjectFrame


class PromotionTarget(Struct, frozen=True, kw_only=True):
    """An index that the viewer may promote a release to, and what it would get."""

    name: str
    new: tuple[str, ...] = ()
    """The names of the files that it lacks."""
    present: int = 0
    """How many files it has."""
    warnings: tuple[str, ...] = ()
    """What the release would lack there."""
    error: str = ""
    """Why the viewer cannot promote the release there now."""


class Arrival(Struct, frozen=True):
    """How files of a release came from another index."""

    source: str
    """The other index."""
    who: str
    """Who has promoted them, in words."""
    at: str
    """When, in UTC, as `upload-time`."""


def arrivals_of(files: Iterable[ShownFile]) -> list[Arrival]:
    """Return how files came from other indexes, the oldest first, each promotion once."""
    arrivals = {
        Arrival(
            file.source_index,
            describe_principal(file.promoted_by, file.promoted_by_name),
            timestamp(file.promoted_at),
        )
        for file in files
        if isinstance(file, File) and file.promoted_at is not None
    }
    return sorted(arrivals, key=lambda arrival: (arrival.at, arrival.source, arrival.who))


def departures_of(files: Iterable[ShownFile]) -> list[str]:
    """Return the indexes that any of these files is noted as promoted to."""
    names = {name for file in files if isinstance(file, File) for name in file.targets}
    return sorted(names)


def pin_of(files: Iterable[object]) -> str | None:
    """Return the reason, perhaps empty, why any of these files is pinned, or None."""
    pins = (file.pinned for file in files if isinstance(file, File))
    return next((pin for pin in pins if pin is not None), None)


def promotion_page(
    environment: PageEnvironment,
    viewer: Viewer,
    release: tuple[NormalizedName, str],
    targets: Sequence[PromotionTarget],
    form: FormState,
) -> bytes:
    """Return the bytes of the page of a release, given by the name of its project and version."""
    name, version = release
    frame = ProjectFrame(
        name=name,
        tab=PROMOTE,
        version=version,
        is_release=True,
        may_manage=viewer.may_manage,
        counts_downloads=environment.counts_downloads,
    )
    return environment.render(
        "promote.html", viewer, frame.root, frame=frame, targets=targets, form=form
    )
