"""The releases of a project, and the latest of them, which describes the project."""

from collections.abc import Iterable
from dataclasses import dataclass

from packaging.version import Version

from wheelyard.model.project import File, Project
from wheelyard.rendering.simple_pages import listed_version, served_files


@dataclass(frozen=True, slots=True)
class Release:
    """A version of a project and its files, sorted: wheels first, then by filename."""

    version: str
    files: tuple[File, ...]

    @property
    def is_yanked(self) -> bool:
        """Whether every file of the release is yanked."""
        return all(file.yanked is not None for file in self.files)

    @property
    def yanked_reason(self) -> str:
        """The first reason among the yanked files, or an empty string if none has a reason."""
        return next((file.yanked for file in self.files if file.yanked), "")

    @property
    def metadata_file(self) -> File:
        """The first file with core metadata, which describes the release; else the first file."""
        return next((file for file in self.files if file.has_metadata), self.files[0])


def releases_of(project: Project) -> tuple[Release, ...]:
    """Return the project's releases, newest first; none if it is quarantined."""
    groups: dict[Version, list[File]] = {}
    for file in served_files(project):
        groups.setdefault(listed_version(file.version), []).append(file)
    return tuple(
        Release(str(version), _wheels_first(groups[version]))
        for version in sorted(groups, reverse=True)
    )


def _wheels_first(files: list[File]) -> tuple[File, ...]:
    # they are sorted by filename, as those of a project are
    return tuple(sorted(files, key=lambda file: not file.is_wheel) if len(files) > 1 else files)


def latest_release(releases: Iterable[Release]) -> Release | None:
    """
    Return the release that describes a project; `releases` are sorted newest first.

    It is the newest final release, else the newest pre-release, both without yanked ones; else the
    newest yanked one. None if there are no releases.
    """
    newest = newest_prerelease = None
    for release in releases:
        newest = newest or release
        if not release.is_yanked:
            if not listed_version(release.version).is_prerelease:
                return release
            newest_prerelease = newest_prerelease or release
    return newest_prerelease or newest
