"""Content for the pages of the project demo."""

from datetime import timedelta

from markupsafe import Markup
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.rendering.examples import NOON, file
from wheelyard.model.metadata import CoreMetadata, parse_metadata
from wheelyard.model.project import File
from wheelyard.rendering.listing import ShownFile, ShownProject
from wheelyard.rendering.project_facts import ProjectFacts, latest_release, releases_of
from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.file_list import ALL_FILES, FileFilter, file_list
from wheelyard.rendering.web.project_frame import DESCRIPTION
from wheelyard.rendering.web.project_overview import ProjectContent, empty_page, project_page
from wheelyard.rendering.web.public_package import OriginNotes
from wheelyard.rendering.web.release_page import (
    ReleaseContent,
    ReleaseHead,
    dependencies_page,
    files_page,
    release_page,
)
from wheelyard.rendering.web.viewer import ANYONE, Viewer

ENVIRONMENT = PageEnvironment("http://index.example/simple/")
PLAIN = "Metadata-Version: 2.5\nName: demo\nVersion: 1.0\n"


def core(*lines: str, description: str = "") -> CoreMetadata:
    """Return core metadata with these lines."""
    text = PLAIN + "".join(f"{line}\n" for line in lines)
    return parse_metadata(f"{text}\n{description}".encode())


def release_head(
    project: ShownProject[ShownFile], version: str = "", **more: object
) -> ReleaseHead:
    """Return what the pages about a release have in common, of the latest one without a version."""
    releases = releases_of(project)
    latest = latest_release(releases)
    assert latest is not None
    release = next((each for each in releases if each.version == version), latest)
    head = ReleaseHead(project=project, release=release, latest=latest, is_release=bool(version))
    return replace(head, **more)


def release_content(
    head: ReleaseHead, metadata: CoreMetadata | None = None, *known: str
) -> ReleaseContent:
    """Return what the page of a release shows."""
    metadata = metadata or core()
    return ReleaseContent(
        head=head,
        core=metadata,
        description=Markup("<pre>{}</pre>").format(metadata.description or ""),
        linked_names=dict.fromkeys(map(NormalizedName, known), False),
    )


def shown_project(
    project: ShownProject[ShownFile],
    metadata: CoreMetadata | None = None,
    viewer: Viewer = ANYONE,
    public: OriginNotes | None = None,
    environment: PageEnvironment = ENVIRONMENT,
    **more: object,
) -> str:
    """Return the HTML of the page of a project."""
    releases = releases_of(project)
    if not releases:
        return empty_page(
            environment, viewer, project, DESCRIPTION, public, has_deleted_files=False
        ).decode()
    content = release_content(release_head(project, public=public), metadata)
    shown = ProjectContent(project=project, releases=releases, latest=content, **more)  # type: ignore[arg-type]
    return project_page(environment, viewer, shown).decode()


def shown_release(
    project: ShownProject[ShownFile],
    version: str,
    metadata: CoreMetadata | None = None,
    *known: str,
    viewer: Viewer = ANYONE,
    environment: PageEnvironment = ENVIRONMENT,
) -> str:
    """Return the HTML of the page of a release."""
    content = release_content(release_head(project, version), metadata, *known)
    return release_page(environment, viewer, content).decode()


def shown_files(head: ReleaseHead, selected: FileFilter = ALL_FILES, number: int = 1) -> str:
    """Return the HTML of a page of the files of a release."""
    files = file_list(head.release, selected, number)
    assert files is not None
    return files_page(ENVIRONMENT, ANYONE, head, files).decode()


def shown_dependencies(content: ReleaseContent, *users: ProjectFacts) -> str:
    """Return the HTML of the page of what a release needs."""
    return dependencies_page(ENVIRONMENT, ANYONE, content, users).decode()


def many_files(count: int) -> list[File]:
    """Return the files of a release with wheels for many interpreters and platforms."""
    pythons = [f"cp{major}{minor}" for major, minor in zip([3] * 10, range(6, 16), strict=True)]
    platforms = ["win_amd64", "win32", "macosx_11_0_arm64", "musllinux_1_2_x86_64"]
    platforms += [f"manylinux_2_{minor}_x86_64" for minor in range(5, 5 + count // 10)]
    made = []
    for number in range(count):
        python = pythons[number % len(pythons)]
        tags = f"{python}-{python}-{platforms[number // len(pythons)]}"
        made.append(
            replace(
                file(),
                filename=f"demo-1.0-{tags}.whl",
                sha256=f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}" * 4,
                size=1000 + number * 7919,
                uploaded_at=NOON + timedelta(seconds=number),
            )
        )
    return sorted(made, key=lambda each: each.filename)
