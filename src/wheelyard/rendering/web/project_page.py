"""The page of a project: its latest release, all releases, and who uses it."""

from collections.abc import Iterable, Sequence
from typing import Final

from markupsafe import Markup
from msgspec import Struct

from wheelyard.model.decoding import counted
from wheelyard.rendering.listing import ShownFile, ShownProject
from wheelyard.rendering.project_facts import ProjectFacts, ReleaseOf
from wheelyard.rendering.simple_pages import listed_version
from wheelyard.rendering.web.environment import PageEnvironment, Viewer
from wheelyard.rendering.web.file_list import NOT_KNOWN, file_list, yank_mark
from wheelyard.rendering.web.release_page import (
    PublicPackage,
    ReleaseContent,
    file_values,
    release_date,
    version_path,
)

RELEASES_SHOWN: Final = 20
"""How many releases the history shows at first; the others are folded."""
USERS_SHOWN: Final = 50
"""How many names of projects that use this one are shown."""


class ProjectContent(Struct, frozen=True, kw_only=True):
    """What the page of a project shows, for whoever looks at it."""

    project: ShownProject[ShownFile]
    releases: Sequence[ReleaseOf[ShownFile]]
    """Newest first."""
    latest: ReleaseContent | None
    """The release that describes the project; None without releases."""
    used_by: Sequence[ProjectFacts] = ()
    """The projects that require this one and that may be shown."""
    uploaders: Sequence[str] = ()
    """The principals that may upload, for viewers who may know them."""
    has_deleted_files: bool = False
    public: PublicPackage | None = None
    """What else is shown of a project of an upstream index; None for a private one."""


def project_page(environment: PageEnvironment, viewer: Viewer, content: ProjectContent) -> bytes:
    """Return the bytes of the page of a project."""
    project, latest = content.project, content.latest
    if latest is None:
        return environment.render(
            "empty_project.html",
            viewer,
            "../../",
            project=project,
            has_deleted_files=content.has_deleted_files,
            public=content.public,
        )
    base = f"{version_path(latest.release.version)}/"
    files = file_list(latest.release)
    return environment.render(
        "release.html",
        viewer,
        "../../",
        is_project=True,
        public=content.public,
        **latest.values,
        **file_values(environment, project.name, files, base, ""),
        releases=content.releases,
        is_all_yanked=all(each.is_yanked for each in content.releases),
        recent_rows=release_rows(content.releases[:RELEASES_SHOWN]),
        older=len(content.releases[RELEASES_SHOWN:]),
        older_rows=release_rows(content.releases[RELEASES_SHOWN:]),
        used_by=content.used_by[:USERS_SHOWN],
        users=len(content.used_by),
        uploaders=content.uploaders,
    )


def release_rows(releases: Iterable[ReleaseOf[ShownFile]]) -> Markup:
    """Return the rows of a table of releases, built in Python as there may be thousands."""
    return Markup("".join(map(_release_row, releases)))  # noqa: S704 - they are escaped


def _release_row(release: ReleaseOf[ShownFile]) -> str:
    version, date = release.version, release_date(release)
    name = f'<span class="id"><a href="{version_path(version)}/">{version}</a></span>'
    time = f'<time datetime="{date}">{date[:10]}</time>' if date else NOT_KNOWN
    is_prerelease = listed_version(version).is_prerelease
    marks = ' <span class="mark">pre-release</span>' if is_prerelease else ""
    if release.is_yanked:
        marks += f" {yank_mark(release.yanked_reason)}"
    return (
        f"<tr><td>{name}{marks}</td><td>{time}</td>"
        f"<td>{counted(len(release.files), 'file')}</td></tr>\n"
    )
