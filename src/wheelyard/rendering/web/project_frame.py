"""The frame of all pages of a project: the links to the pages above, the name, and the tabs."""

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
"""The page of a release for its promotion. No tab leads to it, as few people may promote."""
COMPARE: Final = "compare"
"""The page that compares releases. No tab leads to it: the list of releases does."""
MANAGE: Final = "manage"
ACCESS: Final = "access"

_TAB_TITLES: Final = {
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
_TABS_OF_RELEASE: Final = frozenset({DESCRIPTION, FILES, DEPENDENCIES})
"""The tabs that each release has, besides those of the project."""
_TABS_OF_MANAGERS: Final = frozenset({MANAGE, ACCESS})


class Tab(Struct, frozen=True):
    """The link to a page of a project on its other pages."""

    title: str
    path: str
    """The URL path of the page, relative to the home page."""
    is_open: bool
    """Whether the tab is that of this page."""


class ProjectFrame(Struct, frozen=True, kw_only=True):
    """
    The parts of a page of a project that are around its content.

    Nothing in the frame may depend on facts that change without the content of the page: a static
    site does not write older pages of a history again.
    """

    name: NormalizedName
    tab: str
    """One of the constants above."""
    version: str = ""
    """The version of the release that the page is about, or an empty text without a release."""
    is_release: bool = False
    """Whether the page is one of that release, and not one of the project."""
    may_manage: bool = False
    counts_downloads: bool = False
    """Whether the downloads of this project are counted."""
    other_index: str | None = None
    """The name of the index that the project is from, or None if that is this index."""
    is_public: bool = False
    """Whether the project is from an upstream index."""

    @property
    def path(self) -> str:
        """The URL path of the page of the project, relative to the home page."""
        return f"project/{self.name}/"

    @property
    def root(self) -> str:
        """The URL of the home page, relative to this page."""
        # project/, NAME/, and perhaps VERSION/ and TAB/
        folders = 2 + self.is_release + bool(self.tab)
        return "../" * folders

    @property
    def above(self) -> tuple[tuple[str, str], ...]:
        """The titles and paths of the pages of this project above this page."""
        pages = [(str(self.name), self.path)]
        if self.is_release:
            pages.append((self.version, f"{self.path}{version_path(self.version)}/"))
        if not self.tab:
            # the last page of the list is this page
            pages.pop()
        return tuple(pages)

    @property
    def tabs(self) -> list[Tab]:
        """The tabs that the viewer may open."""
        tabs: list[Tab] = []
        for tab, title in _TAB_TITLES.items():
            if tab in _TABS_OF_MANAGERS and not self.may_manage:
                continue
            if tab == DOWNLOADS and not self.counts_downloads:
                continue
            tabs.append(Tab(title, self._tab_path(tab), tab == self.tab))
        return tabs

    def _tab_path(self, tab: str) -> str:
        """Return the URL path of a tab. From a page of a release, it leads to the same release."""
        path = self.path
        version = version_path(self.version)
        if self.is_release and tab in _TABS_OF_RELEASE:
            path += f"{version}/"
        if tab:
            path += f"{tab}/"
        if self.is_release and tab == MANAGE:
            # the project has one page to manage it, on which the query chooses the release
            path += f"?version={version}"
        return path


def version_path(version: str) -> str:
    """Return a version as the segment of a URL path."""
    # a path may have the `!` of an epoch (RFC 3986); some servers take a `+` for a space
    return quote(version, safe="!")
