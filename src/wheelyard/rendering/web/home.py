"""The home page: the list of projects."""

from collections.abc import Sequence

from packaging.utils import NormalizedName

from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.viewer import Viewer


def home_page(
    environment: PageEnvironment, viewer: Viewer, names: Sequence[NormalizedName]
) -> bytes:
    """Return the bytes of the HTML page with the list of projects."""
    return environment.render("home.html", viewer, "./", names=names)
