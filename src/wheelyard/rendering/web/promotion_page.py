"""The page on which people promote a release to another index."""

from collections.abc import Sequence

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.rendering.web.account_pages import FormState
from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.project_frame import PROMOTE, ProjectFrame
from wheelyard.rendering.web.viewer import Viewer


class PromotionTarget(Struct, frozen=True, kw_only=True):
    """An index that the viewer may promote a release to, and what a promotion would add to it."""

    name: str
    new: tuple[str, ...] = ()
    """The filenames of the release that the index lacks."""
    present: int = 0
    """How many files of the release the index has."""
    attested: tuple[str, ...] = ()
    """The filenames that the index has, and that would get their attestations."""
    warnings: tuple[str, ...] = ()
    """What the release would lack in the index."""
    error: str = ""
    """Why the viewer cannot promote the release to the index now, or an empty text."""


def promotion_page(
    environment: PageEnvironment,
    viewer: Viewer,
    release: tuple[NormalizedName, str],
    targets: Sequence[PromotionTarget],
    form: FormState,
) -> bytes:
    """Return the bytes of the page. `release` is the name of a project, and a version of it."""
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
