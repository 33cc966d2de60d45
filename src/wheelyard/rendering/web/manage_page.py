"""The pages for those who manage a project: changes of releases and of the status, and rights."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.model.project import (
    File,
    Project,
    Status,
)
from wheelyard.rendering.project_facts import all_releases
from wheelyard.rendering.web.account_pages import FormState
from wheelyard.rendering.web.environment import PageEnvironment, Viewer
from wheelyard.rendering.web.history_page import Change

ROOT: Final = "../../../"
"""The home page, relative to `/project/<name>/manage/` and `/project/<name>/access/`."""
SHOWN_RELEASES: Final = 20
"""Releases that the page lists at once; the others are in a part that can be opened."""
STATUS: Final = "status"
VERBS: Final = MappingProxyType({"yank": "Yank", "unyank": "Unyank", "delete": "Delete"})
"""The changes of the files of a release, and what their buttons say."""
STATUS_MEANINGS: Final[Mapping[Status, str]] = MappingProxyType(
    {
        Status.ACTIVE: "As usual: it is served, and takes uploads.",
        Status.DEPRECATED: "As active, with a notice that it should not be used any more.",
        Status.ARCHIVED: "It is served, and takes no uploads.",
        Status.QUARANTINED: "No file is listed or served under any URL, and it takes no uploads.",
    }
)


class ChoosableFile(Struct, frozen=True):
    """A file of a release in a form, with a box to tick."""

    filename: str
    file: File | None
    """What the index knows of it; None if the project could not be read."""
    is_ticked: bool = True


class FileChange(Struct, frozen=True):
    """The change of some files of a release, before it is made."""

    name: NormalizedName
    action: str
    """One of `VERBS`."""
    version: str
    files: tuple[ChoosableFile, ...]

    @property
    def verb(self) -> str:
        """What the button says."""
        return VERBS[self.action]


def manage_page(
    environment: PageEnvironment,
    viewer: Viewer,
    project: Project,
    form: FormState,
    done: Sequence[Change] | None = None,
) -> bytes:
    """
    Return the page on which one chooses what to change.

    `done` is what was just changed; it is empty if everything was so already.
    """
    releases = all_releases(project)
    return environment.render(
        "manage.html",
        viewer,
        ROOT,
        project=project,
        newest=releases[:SHOWN_RELEASES],
        others=releases[SHOWN_RELEASES:],
        meaning=STATUS_MEANINGS[project.status],
        form=form,
        done=done,
    )
