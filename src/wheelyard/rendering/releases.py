"""The releases of a project, and the latest of them, which describes the project."""

from collections.abc import Iterable
from typing import Generic, TypeVar

from msgspec import Struct
from packaging.version import Version

from wheelyard.model.distribution_filename import parse_known_filename, strip_trailing_zeros
from wheelyard.model.project import File, Project
from wheelyard.rendering.shown import F_co, ShownFile, ShownProject
from wheelyard.rendering.simple_pages import listed_version, served_files

F = TypeVar("F", bound=ShownFile)


class ReleaseOf(Struct, Generic[F_co], frozen=True):
    """A version of a project and its files, sorted: wheels first, then by filename."""

    version: str
    files: tuple[F_co, ...]

    @property
    def is_yanked(self) -> bool:
        """Whether every file of the release is yanked."""
        return all(file.yanked is not None for file in self.files)

    @property
    def yanked_reason(self) -> str:
        """The first reason among the yanked files, or an empty string if none has a reason."""
        return next((file.yanked for file in self.files if file.yanked), "")

    @property
    def metadata_file(self) -> F_co:
        """The first file with core metadata, which describes the release; else the first file."""
        return next((file for file in self.files if file.has_metadata), self.files[0])


Release = ReleaseOf[File]
"""A release of a private project."""


def releases_of(project: ShownProject[F]) -> tuple[ReleaseOf[F], ...]:
    """Return the project's releases, newest first; none if it is quarantined."""
    return _releases(served_files(project))


def all_releases(project: Project) -> tuple[Release, ...]:
    """Return the releases of a project, newest first, also if it is quarantined."""
    return _releases(project.files)


def release_of(project: ShownProject[F], version: Version) -> ReleaseOf[F] | None:
    """Return the release with this version; None if there is none, or it is quarantined."""
    files, wanted = served_files(project), strip_trailing_zeros(str(version))
    texts = {file.version for file in files}  # far fewer than files
    texts = {text for text in texts if strip_trailing_zeros(text) == wanted}
    found = [file for file in files if file.version in texts]
    return ReleaseOf(str(listed_version(found[0].version)), _wheels_first(found)) if found else None


def versions_of(filenames: Iterable[str]) -> list[str]:
    """Return the versions of files, oldest first."""
    return [str(each) for each in sorted({parse_known_filename(f).version for f in filenames})]


def _releases(files: Iterable[F]) -> tuple[ReleaseOf[F], ...]:
    groups = dict[Version, list[F]]()
    for file in files:
        groups.setdefault(listed_version(file.version), []).append(file)
    newest = sorted(groups, reverse=True)
    return tuple(ReleaseOf(str(version), _wheels_first(groups[version])) for version in newest)


def _wheels_first(files: list[F]) -> tuple[F, ...]:
    # they are sorted by filename, as those of a project are
    return tuple(sorted(files, key=lambda file: not file.is_wheel) if len(files) > 1 else files)


def latest_release(releases: Iterable[ReleaseOf[F]]) -> ReleaseOf[F] | None:
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
