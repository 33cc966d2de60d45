"""Content for the pages of the project demo."""

from datetime import timedelta

from markupsafe import Markup
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.rendering.examples import NOON, file
from wheelyard.model.metadata import CoreMetadata, parse_metadata
from wheelyard.model.project import File, Project
from wheelyard.rendering.project_facts import Release, latest_release, releases_of
from wheelyard.rendering.web.environment import ANYONE, PageEnvironment, Viewer
from wheelyard.rendering.web.project_pages import ProjectContent, project_page
from wheelyard.rendering.web.release_page import ReleaseContent, release_page

ENVIRONMENT = PageEnvironment("http://index.example/simple/")
PLAIN = "Metadata-Version: 2.4\nName: demo\nVersion: 1.0\n"


def core(*lines: str, description: str = "") -> CoreMetadata:
    """Return core metadata with these lines."""
    text = PLAIN + "".join(f"{line}\n" for line in lines)
    return parse_metadata(f"{text}\n{description}".encode())


def release_content(
    project: Project, release: Release, metadata: CoreMetadata, *known: str
) -> ReleaseContent:
    """Return what the page of a release shows."""
    latest = latest_release(releases_of(project))
    assert latest is not None
    return ReleaseContent(
        project=project,
        release=release,
        latest=latest.version,
        core=metadata,
        description=Markup("<pre>{}</pre>").format(metadata.description or ""),
        linked_names=frozenset(map(NormalizedName, known)),
    )


def shown_project(
    project: Project, metadata: CoreMetadata | None = None, viewer: Viewer = ANYONE, **more: object
) -> str:
    """Return the HTML of the page of a project."""
    releases = releases_of(project)
    latest = latest_release(releases)
    shown = latest and release_content(project, latest, metadata or core())
    content = ProjectContent(project=project, releases=releases, latest=shown, **more)  # type: ignore[arg-type]
    return project_page(ENVIRONMENT, viewer, content).decode()


def shown_release(
    project: Project,
    version: str,
    metadata: CoreMetadata | None = None,
    *known: str,
    viewer: Viewer = ANYONE,
) -> str:
    """Return the HTML of the page of a release."""
    release = next(each for each in releases_of(project) if each.version == version)
    content = release_content(project, release, metadata or core(), *known)
    return release_page(ENVIRONMENT, viewer, content).decode()


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
