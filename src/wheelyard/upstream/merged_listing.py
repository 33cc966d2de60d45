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
    listings: tuple[UpstreamListing, ...]

    def hidden(self) -> Sequence[HiddenFiles]:
        """Return what is not shown, the newest version first, files with one reason together."""
        return self.hidden_by_page

    def decisions(self) -> Sequence[Decision]:
        """
        Return the decisions in force about the project, which are the same for all of them.

        It may read the store. Raises Unavailable if that does not say.
        """
        return self.listings[0].origin.decisions()


class MergedListing(Listing, frozen=True, kw_only=True):
    """What clients may see of the pages of several upstream indexes, the first of which counts."""

    files: tuple[UpstreamFile, ...]
    listings: tuple[UpstreamListing, ...]
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
        times = [listing.changes_at for listing in self.listings]
        return min(filter(None, times), default=None)

    def listing_of(self, filename: str) -> UpstreamListing:
        """
        Return the listing of the page that decides about a file.

        Raises KeyError for a file about which none decides.
        """
        return self.places[filename]


def merged_listing(listings: tuple[UpstreamListing, ...]) -> UpstreamListing | MergedListing:
    """
    Return what clients may see of a project that some upstream indexes have, at least one.

    It is the only listing itself, unless an index before it has had files that it has no more.
    """
    first = listings[0]

    # of one page, unless an index before it has had files: these are not taken from another index
    if len(listings) == 1 and not first.origin.gone_before:
        return first
    places = _places(listings)
    files = list[UpstreamFile]()
    hidden = dict[str, FileReason]()
    hidden_versions = list[tuple[str, FileReason]]()
    variants = list[UpstreamFile]()
    for listing in listings:
        # of a file that several indexes have, only what the first of them says counts
        files += [file for file in listing.files if places.get(file.filename) is listing]
        for filename, reason in listing.hidden.items():
            if places.get(filename) is listing:
                hidden[filename] = reason
                file = listing.origin.page.by_filename[filename]
                hidden_versions.append((file.version, reason))
        variants += listing.variants
    origins = [listing.origin for listing in listings]
    origin = MergedOrigin(
        label=" and ".join(origin.label for origin in origins),
        is_upstream=True,
        is_stale=any(origin.is_stale for origin in origins),
        # the whole is as old as its oldest page
        age=max(origin.age for origin in origins),
        confirmed_at=min(origin.page.fetched_at for origin in origins),
        generation=" ".join(origin.generation for origin in origins),
        hidden_by_page=hidden_files(hidden_versions),
        listings=listings,
    )
    return MergedListing(
        name=first.name,
        status=first.status,
        reason=first.reason,
        files=tuple(sorted(files, key=lambda file: file.filename)),
        empty_versions=_empty_versions(listings, files),
        version=" ".join(map(_version, listings)),
        listings=listings,
        variants=tuple(variants),
        places=places,
        hidden=hidden,
        origin=origin,
    )


def _places(listings: Sequence[UpstreamListing]) -> dict[str, UpstreamListing]:
    """Return which of the listings decides about a file, by filename."""
    pages = list[UpstreamPage]()
    listing_of_page = list[UpstreamListing]()
    for listing in listings:
        # pages that are gone come with the next listing, and have no files that they decide about
        for page in listing.origin.gone_before:
            pages.append(page)
            listing_of_page.append(listing)
        pages.append(listing.origin.page)
        listing_of_page.append(listing)
    places = places_of_files(pages)
    return {filename: listing_of_page[number] for filename, number in places.items()}


def _version(listing: UpstreamListing) -> str:
    """Return another text whenever a listing, or a page that is gone before it, is another one."""
    versions = [listing.version]
    versions += [page.version for page in listing.origin.gone_before]
    return " ".join(versions)


def _empty_versions(
    listings: Sequence[UpstreamListing], files: Sequence[UpstreamFile]
) -> tuple[str, ...]:
    """Return the versions that pages list, and of which none has a file that is shown."""
    keys_with_files = {strip_trailing_zeros(file.version) for file in files}
    empty = list[str]()
    for listing in listings:
        empty += listing.empty_versions
    # from behind, so that of two spellings the first one stays, and turned around again
    by_key = {strip_trailing_zeros(version): version for version in reversed(empty)}
    return tuple(version for key, version in reversed(by_key.items()) if key not in keys_with_files)
