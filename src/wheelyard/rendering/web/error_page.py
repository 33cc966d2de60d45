"""The page of an error: what has happened, and what to do next."""

from wheelyard.rendering.error_facts import ErrorFacts
from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.viewer import Viewer


def error_page(environment: PageEnvironment, viewer: Viewer, root: str, facts: ErrorFacts) -> bytes:
    """Return the bytes of the page of an error; `root` is the URL of the home page."""
    return environment.render("error.html", viewer, root, error=facts)
