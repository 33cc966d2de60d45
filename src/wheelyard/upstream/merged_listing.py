"""
What several upstream indexes have of one project, as one listing.

The first index that lists a filename decides about it: whether it is shown, and with which bytes. A
file that an index has listed with another digest is not taken from one behind it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from wheelyard.model.distribution_filename import strip_trailing_zeros
from wheelyard.model.public_packages import Decision, FileReason
from wheelyard.rendering.listing import HiddenFiles, Listing, Origin, hidden_files
from wheelyard.upstream.indexes import UpstreamListing
from wheelyard.upstream.page import UpstreamFile, UpstreamPage, places_of_files


class MergedOrigin(Origin, frozen=True, kw_only=True):
    """The origin of a project of several upstream indexes."""

    hidden_by_page: Sequence[HiddenFiles]
    parts: tuple[UpstreamListing, ...]

    def hidden(self) -> Sequence[HiddenFiles]:
        """Return what is not shown, the newest version first, files with one reason together."""
        return self.hidden_by_page

    def decisions(self) -> Sequence[Decision]:
        """
        Return the decisions in force about the project, which are the same for all of them.

        It may read the store. Raises Unavailable if that does not say.
        """
        return self.parts[0].origin.decisions()


class MergedListing(Listing, frozen=True, kw_only=True):
    """What clients may see of the pages of several upstream indexes, the first of which counts."""

    files: tuple[UpstreamFile, ...]
    parts: tuple[UpstreamListing, ...]
    """What each of them has, in the order of the layers."""
    variants: tuple[UpstreamFile, ...] = ()
    """The documents about wheels with a label that each of them has."""
    places: Mapping[str, UpstreamListing]
    """Which of them decides about a file, by filename, also if it is hidden."""
    hidden: Mapping[str, FileReason]
    """Why files are not shown, by filename."""
    origin: MergedOrigin

    @property
    def changes_at(self) -> datetime | None:
        """When time alone may show other files, or None if it never does."""
        times = (part.changes_at for part in self.parts)
        return min((time for time in times if time is not None), default=None)

    def part_of(self, filename: str) -> UpstreamListing:
        """Return what has a file that is listed."""
        return self.places[filename]


def merged_listing(parts: tuple[UpstreamListing, ...]) -> UpstreamListing | MergedListing:
    """Return what clients may see of a project that some upstream indexes have, at least one."""
    first, *others = parts
    if not others and not first.origin.gone_before:
        return first
    places = _places(parts)
    files = [file for part in parts for file in part.files if places.get(file.filename) is part]
    hidden = {
        filename: reason
        for part in parts
        for filename, reason in part.hidden.items()
        if places.get(filename) is part
    }
    by_version = (
        (places[filename].origin.page.by_filename[filename].version, reason)
        for filename, reason in hidden.items()
    )
    origins = [part.origin for part in parts]
    origin = MergedOrigin(
        label=" and ".join(origin.label for origin in origins),
        is_upstream=True,
        is_stale=any(origin.is_stale for origin in origins),
        age=max(origin.age for origin in origins),
        confirmed_at=min(origin.page.fetched_at for origin in origins),
        generation=" ".join(origin.generation for origin in origins),
        hidden_by_page=hidden_files(by_version),
        parts=parts,
    )
    return MergedListing(
        name=first.name,
        status=first.status,
        reason=first.reason,
        files=tuple(sorted(files, key=lambda file: file.filename)),
        empty_versions=_empty_versions(parts, files),
        version=" ".join(map(_version, parts)),
        parts=parts,
        variants=tuple(document for part in parts for document in part.variants),
        places=places,
        hidden=hidden,
        origin=origin,
    )


def _places(parts: Sequence[UpstreamListing]) -> dict[str, UpstreamListing]:
    """Return which of the parts decides about a file, by filename."""
    pages = list[UpstreamPage]()
    owners = list[UpstreamListing]()
    for part in parts:
        of_part = (*part.origin.gone_before, part.origin.page)
        pages += of_part
        owners += [part] * len(of_part)
    return {filename: owners[number] for filename, number in places_of_files(pages).items()}


def _version(part: UpstreamListing) -> str:
    """Return another text whenever a part, or what was before it, is another one."""
    return " ".join((part.version, *(page.version for page in part.origin.gone_before)))


def _empty_versions(
    parts: Sequence[UpstreamListing], files: Sequence[UpstreamFile]
) -> tuple[str, ...]:
    """Return the versions that pages list, and of which none has a file that is shown."""
    with_files = {strip_trailing_zeros(file.version) for file in files}
    empty = [version for part in parts for version in part.empty_versions]
    listed = {strip_trailing_zeros(version): version for version in reversed(empty)}
    return tuple(version for key, version in reversed(listed.items()) if key not in with_files)
