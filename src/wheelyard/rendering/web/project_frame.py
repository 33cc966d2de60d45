"""What all pages of a project have in common: the way to them, the name, and the tabs."""

from typing import Final
from urllib.parse import quote

from msgspec import Struct
from packaging.utils import NormalizedName

DESCRIPTION: Final = ""
FILES: Final = "files"
RELEASES: Final = "releases"
DEPENDENCIES: Final = "dependencies"
HISTORY: Final = "history"
DOWNLOADS: Final = "downloads"
PROMOTE: Final = "promote"
"""Of a release alone. No tab leads there, as few may do that."""
COMPARE: Final = "compare"
"""No tab leads there: the list of releases does."""
MANAGE: Final = "manage"
ACCESS: Final = "access"

_TITLES: Final = {
    DESCRIPTION: "Description",
    FILES: "Files",
    RELEASES: "Releases",
    DEPENDENCIES: "Dependencies",
    HISTORY: "History",
    DOWNLOADS: "Downloads",
    MANAGE: "Manage",
    ACCESS: "Access",
}
"""The tabs in their order. The keys are the last segments of their paths."""
_OF_RELEASE: Final = frozenset({DESCRIPTION, FILES, DEPENDENCIES})
"""The tabs that each release has, too."""
_OF_MANAGERS: Final = frozenset({MANAGE, ACCESS})


class Tab(Struct, frozen=True):
    """A page of a project, as the others link to it."""

    title: str
    path: str
    """The URL path of the page, relative to the home page."""
    is_open: bool
    """Whether it is this page."""


class ProjectFrame(Struct, frozen=True, kw_only=True):
    """
    What is around the content of a page of a project.

    Nothing in it may depend on what changes later, unless the content of the page changes with it:
    a static site does not write older pages of a history again.
    """

    name: NormalizedName
    tab: str
    """One of the constants above."""
    version: str = ""
    """Of the release that the page is about, if it is about one."""
    is_release: bool = False
    """Whether it is a page of that release, and not of the project."""
    may_manage: bool = False
    counts_downloads: bool = False
    """Whether the downloads of this project are counted."""
    other_index: str | None = None
    """The name of the index that the project is from, if that is another one."""
    is_public: bool = False
    """Whether it is a project of an upstream index."""

    @property
    def path(self) -> str:
        """The URL path of the page of the project, relative to the home page."""
        return f"project/{self.name}/"

    @property
    def root(self) -> str:
        """The URL of the home page, relative to this page."""
        return "../" * (2 + self.is_release + bool(self.tab))

    @property
    def above(self) -> tuple[tuple[str, str], ...]:
        """The pages of this project above this one: what they are about, and their paths."""
        above = [(str(self.name), self.path)]
        if self.is_release:
            above.append((self.version, f"{self.path}{version_path(self.version)}/"))
        if not self.tab:
            # the page without a tab is itself the last of these
            above.pop()
        return tuple(above)

    @property
    def tabs(self) -> list[Tab]:
        """The tabs that the viewer may open."""
        tabs: list[Tab] = []
        for tab, title in _TITLES.items():
            if tab in _OF_MANAGERS and not self.may_manage:
                continue
            if tab == DOWNLOADS and not self.counts_downloads:
                continue
            tabs.append(Tab(title, self._path_of(tab), tab == self.tab))
        return tabs

    def _path_of(self, tab: str) -> str:
        """Return the URL path of a tab, which stays at the release if this is a page of one."""
        path = self.path
        version = version_path(self.version)
        if self.is_release and tab in _OF_RELEASE:
            path += f"{version}/"
        if tab:
            path += f"{tab}/"
        if self.is_release and tab == MANAGE:
            # the project has one such page, on which the release is chosen already
            path += f"?version={version}"
        return path


def version_path(version: str) -> str:
    """Return a version as the segment of a URL path."""
    # a path may have the `!` of an epoch (RFC 3986); some servers take a `+` for a space
    return quote(version, safe="!")
