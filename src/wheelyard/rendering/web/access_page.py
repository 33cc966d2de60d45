"""The page that says who may do what to a project, and why."""

from collections.abc import Sequence

from packaging.utils import NormalizedName

from wheelyard.model.access import Action
from wheelyard.model.access_entry import AccessEntry
from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.viewer import Viewer


def access_page(
    environment: PageEnvironment,
    viewer: Viewer,
    name: NormalizedName,
    entries: Sequence[AccessEntry],
    *,
    has_details: bool,
) -> bytes:
    """Return the page of a project; with `has_details`, it is for an administrator."""
    rows = [(each, _words(each.actions)) for each in entries]
    values = {"name": name, "rows": rows, "has_details": has_details}
    return environment.render("access.html", viewer, "../../../", **values)


def _words(actions: Action) -> str:
    return ", ".join(each.word for each in Action if each & actions) or "what Google says"
