"""The page of an error."""

from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.viewer import Viewer


def error_page(
    environment: PageEnvironment, viewer: Viewer, root: str, *, title: str, message: str
) -> bytes:
    """Return the bytes of the page of an error; `root` is the URL of the home page, relative."""
    return environment.render("error.html", viewer, root, title=title, message=message)
