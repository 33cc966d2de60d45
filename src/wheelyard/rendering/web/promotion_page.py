"""The page on which one promotes a release to another index."""

from collections.abc import Sequence

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.rendering.web.account_pages import FormState
from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.project_frame import PROMOTE, ProjectFrame
from wheelyard.rendering.web.viewer import Viewer


class PromotionTarget(Struct, frozen=True, kw_only=True):
    """An index that the viewer may promote a release to, and what it would get."""

    name: str
    new: tuple[str, ...] = ()
    """The names of the files that it lacks."""
    present: int = 0
    """How many files it has."""
    attested: tuple[str, ...] = ()
    """The names of those of them that would get their attestations."""
    warnings: tuple[str, ...] = ()
    """What the release would lack there."""
    error: str = ""
    """Why the viewer cannot promote the release there now."""


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
