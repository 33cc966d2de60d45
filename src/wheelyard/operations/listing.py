"""
Whether a file may be listed in a project, and the commit that lists some.

The rules depend on the project, so they are asked twice: once before anything is stored, and once
inside the commit, where races are decided.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from packaging.utils import canonicalize_version

from wheelyard.archive.reader import Contents
from wheelyard.errors import Conflict, Forbidden, IndexFault, Invalid, quoted
from wheelyard.model.distribution import Distribution, Sdist, parse_listed
from wheelyard.model.project import SUMMARY_LIMIT, AnyEvent, File, Project, Uploaded
from wheelyard.operations.spooling import Arrival


@dataclass(frozen=True, slots=True)
class Checked:
    """A file that may be listed, or is listed already."""

    arrival: Arrival
    file: File
    """As it is listed, or will be."""
    contents: Contents | None
    """What is in it; None if the very bytes are listed and kept."""
    is_held: bool = False
    """Whether it is listed already."""


@dataclass(frozen=True, slots=True)
class Listing:
    """
    The intent to list files in one project: each is listed, or was, or is refused.

    Args:
        base: The project that the files were checked against.
        checked: The files, no two of which differ in their spelling alone.
        at: The time of the events, UTC.
        by: Who lists them.
        is_lenient: As for `listed`.
    """

    base: Project
    checked: Sequence[Checked]
    at: datetime
    by: str
    is_lenient: bool = False

    def __call__(self, project: Project) -> tuple[AnyEvent, ...]:
        """Return the events that list what may be listed in `project`."""
        return tuple(
            Uploaded(at=self.at, by=self.by, file=each.file, summary=_summary(each))
            for each in self.checked
            if self._decided(project, each) is None
        )

    def outcomes(self, project: Project) -> list[File | IndexFault]:
        """Return what becomes of each file in `project`: it is listed as this, or refused."""
        return [self._decided(project, each) or each.file for each in self.checked]

    def _decided(self, project: Project, each: Checked) -> File | IndexFault | None:
        """Return the file where it is listed already, None where it may be."""
        if project is self.base:  # of this very revision it was asked a moment ago
            return each.file if each.is_held else None
        try:
            return listed(project, each.arrival, is_lenient=self.is_lenient)
        except IndexFault as refusal:
            return refusal


def _summary(checked: Checked) -> str:
    return ((checked.contents and checked.contents.core.summary) or "")[:SUMMARY_LIMIT]


def refuse_closed(project: Project) -> None:
    """Raise Forbidden if the project takes no files."""
    if not project.status.takes_uploads:
        message = f"Project {quoted(project.name)} is {project.status}."
        raise Forbidden(
            f"{message} To upload to it again, run 'wheelyard status {project.name} active'.",
            short=message,
        )


def listed(project: Project, arrival: Arrival, *, is_lenient: bool = False) -> File | None:
    """
    Return the file if exactly these bytes are listed already, None if they may be.

    Args:
        project: As it is now.
        arrival: The file.
        is_lenient: Whether sdists of one version and different formats may stand side by side.

    Raises:
        Invalid: The filename, or another spelling of it, is taken or was deleted.
        Forbidden: The project takes no files.
        Conflict: Other bytes are listed under the filename.
    """
    refuse_closed(project)
    distribution = arrival.distribution
    held = project.by_filename.get(distribution.filename)
    if held is not None and held.sha256 == arrival.sha256:
        return held
    if held is not None:
        raise taken(distribution.filename)
    if any(parse_listed(each).identity == distribution.identity for each in project.gone):
        raise Invalid(
            "This filename was used by a file that has been deleted. Use a new version.",
            code="file_exists",
            short="This filename was used by a file that has been deleted. Use a new version.",
        )
    _refuse_respelled(project, distribution, is_lenient=is_lenient)
    return None


def taken(filename: str) -> Conflict:
    """Return the refusal of a file whose name other bytes have."""
    message = f"File already exists ({quoted(filename)}, with different content)."
    message = f"{message} Use a new version."
    return Conflict(message, code="file_exists", short=message)


def _refuse_respelled(project: Project, distribution: Distribution, *, is_lenient: bool) -> None:
    release = canonicalize_version(distribution.version)
    for file in project.by_release.get(release, ()):
        other = parse_listed(file.filename)
        if other.identity != distribution.identity:
            continue
        if is_lenient and _format(other) != _format(distribution):
            continue
        message = f"Clashes with {quoted(file.filename)}, which differs only in spelling."
        raise Invalid(f"{message} Use a new version.", code="file_exists", short=message)


def _format(distribution: Distribution) -> str:
    return distribution.suffix if isinstance(distribution, Sdist) else ""
