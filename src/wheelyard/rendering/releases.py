"""A project's releases, the one that speaks for it, and what a search finds of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from packaging.version import Version

from wheelyard.model.metadata import CoreMetadata
from wheelyard.model.project import File, Project
from wheelyard.rendering.simple_pages import served_files


@dataclass(frozen=True, slots=True)
class Release:
    """A version and its files: wheels first, then by filename."""

    version: str
    files: tuple[File, ...]

    @property
    def is_yanked(self) -> bool:
        """Whether every file is yanked."""
        return all(file.yanked is not None for file in self.files)

    @property
    def yanked_reason(self) -> str:
        """The first reason given, or an empty string."""
        return next((file.yanked for file in self.files if file.yanked), "")

    @property
    def metadata_file(self) -> File:
        """The file whose core metadata describes the release."""
        return next((file for file in self.files if file.has_metadata), self.files[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectPage:
    """What a project's page is made of."""

    project: Project
    releases: Sequence[Release]
    """Newest first."""
    described: Release | None
    """The release that speaks for the project, if there is any."""
    core: CoreMetadata | None
    """Of that release."""


def releases_of(project: Project) -> tuple[Release, ...]:
    """Return the project's releases, newest first."""
    groups: dict[Version, list[File]] = {}
    for file in served_files(project):
        groups.setdefault(Version(file.version), []).append(file)
    return tuple(
        Release(str(version), tuple(sorted(files, key=lambda f: (not f.is_wheel, f.filename))))
        for version, files in sorted(groups.items(), reverse=True)
    )


def latest_release(releases: Iterable[Release]) -> Release | None:
    """Return the newest that is final and not yanked, else not yanked, else any."""
    ordered = list(releases)
    kept = [release for release in ordered if not release.is_yanked]
    final = (release for release in kept if not Version(release.version).is_prerelease)
    return next(final, None) or next(iter(kept or ordered), None)
