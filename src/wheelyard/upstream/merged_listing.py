"""
What several upstream indexes have of one project, as one listing.

The first index that lists a filename decides about it: whether it is shown, and with which bytes. A
file that an index has listed with another digest is not taken from an index behind it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import attrgetter

from wheelyard.model.distribution_filename import strip_trailing_zeros
from wheelyard.model.public_packages import Decision, FileReason
from wheelyard.rendering.listing import HiddenFiles, Listing, Origin, hidden_files
from wheelyard.upstream.indexes import UpstreamListing
from wheelyard.upstream.page import UpstreamFile, UpstreamPage, deciding_pages


class MergedOrigin(Origin, frozen=True, kw_only=True):
    """The origin of a project of several upstream indexes."""

    hidden_by_pages: Sequence[HiddenFiles]
    listings: tuple[UpstreamListing, ...]

    def hidden(self) -> Sequence[HiddenFiles]:
        """Return what is not shown, the newest version first, files with one reason together."""
        return self.hidden_by_pages

    def decisions(self) -> Sequence[Decision]:
        """
        Return the decisions in force about the project, which are the same for all indexes.

        The store may be read. Raises Unavailable if the store does not say.
        """
        return self.listings[0].origin.decisions()


class MergedListing(Listing, frozen=True, kw_only=True):
    """What clients may see of the pages of several upstream indexes, the first of which counts."""

    files: tuple[UpstreamFile, ...]
    listings: tuple[UpstreamListing, ...]
    """The listing of each index that has a page, in the order of the layers."""
    variants: tuple[UpstreamFile, ...] = ()
    """The documents about wheels with a label that the indexes have."""
    deciding_listings: Mapping[str, UpstreamListing]
    """The listing that decides about a file, by filename, also about a file that is hidden."""
    hidden: Mapping[str, FileReason]
    """Why files are not shown, by filename."""
    origin: MergedOrigin

    @property
    def changes_at(self) -> datetime | None:
        """When time alone may show other files, or None if it never does."""
        times = list[datetime]()
        for listing in self.listings:
            if listing.changes_at is not None:
                times.append(listing.changes_at)
        return min(times, default=None)

    def listing_of(self, filename: str) -> UpstreamListing:
        """
        Return the listing of the page that decides about a file.

        Raises KeyError for a file about which no page decides.
        """
        return self.deciding_listings[filename]


def merged_listing(listings: tuple[UpstreamListing, ...]) -> UpstreamListing | MergedListing:
    """
    Return what clients may see of a project that some upstream indexes have, at least one.

    It is the only listing itself, unless an index before it has had files that it has no more.
    """
    first = listings[0]

    # files that an index before this one has had are not taken from another index
    if len(listings) == 1 and not first.origin.gone_before:
        return first
    deciding_listings = _deciding_listings(listings)
    files = list[UpstreamFile]()
    hidden = dict[str, FileReason]()
    hidden_versions = list[tuple[str, FileReason]]()
    variants = list[UpstreamFile]()
    for listing in listings:
        # of a file that several indexes have, only what the deciding one says counts
        for file in listing.files:
            if deciding_listings.get(file.filename) is listing:
                files.append(file)
        for filename, reason in listing.hidden.items():
            if deciding_listings.get(filename) is listing:
                hidden[filename] = reason
                hidden_file = listing.origin.page.by_filename[filename]
                hidden_versions.append((hidden_file.version, reason))
        variants += listing.variants
    origin = _merged_origin(listings, hidden_files(hidden_versions))
    ordered_files = sorted(files, key=attrgetter("filename"))
    return MergedListing(
        name=first.name,
        status=first.status,
        reason=first.reason,
        files=tuple(ordered_files),
        empty_versions=_empty_versions(listings, files),
        version=" ".join(map(_version, listings)),
        listings=listings,
        variants=tuple(variants),
        deciding_listings=deciding_listings,
        hidden=hidden,
        origin=origin,
    )


def _deciding_listings(listings: Sequence[UpstreamListing]) -> dict[str, UpstreamListing]:
    """Return the listing that decides about each file, by filename."""
    pages = list[UpstreamPage]()
    listing_of_page = list[UpstreamListing]()
    for listing in listings:
        # gone pages belong to the next listing, and have no files that they decide about
        for page in listing.origin.gone_before:
            pages.append(page)
            listing_of_page.append(listing)
        pages.append(listing.origin.page)
        listing_of_page.append(listing)
    deciding_page = deciding_pages(pages)
    return {filename: listing_of_page[number] for filename, number in deciding_page.items()}


def _merged_origin(
    listings: tuple[UpstreamListing, ...], hidden_by_pages: Sequence[HiddenFiles]
) -> MergedOrigin:
    """Return the origin of a project of several upstream indexes."""
    origins = [listing.origin for listing in listings]
    return MergedOrigin(
        label=" and ".join(origin.label for origin in origins),
        is_upstream=True,
        is_stale=any(origin.is_stale for origin in origins),
        # the whole is as old as its oldest page
        age=max(origin.age for origin in origins),
        confirmed_at=min(origin.page.fetched_at for origin in origins),
        generation=" ".join(origin.generation for origin in origins),
        hidden_by_pages=hidden_by_pages,
        listings=listings,
    )


def _version(listing: UpstreamListing) -> str:
    """Return a text that changes with a listing, and with the gone pages before it."""
    versions = [listing.version]
    versions += [page.version for page in listing.origin.gone_before]
    return " ".join(versions)


def _empty_versions(
    listings: Sequence[UpstreamListing], files: Sequence[UpstreamFile]
) -> tuple[str, ...]:
    """Return the versions that pages list, and of which no page has a file that is shown."""
    keys_with_files = {strip_trailing_zeros(file.version) for file in files}
    empty_versions = list[str]()
    for listing in listings:
        empty_versions += listing.empty_versions
    # from behind, so that the first of two spellings stays, at the place of the last one
    by_key = {strip_trailing_zeros(version): version for version in reversed(empty_versions)}
    merged_versions = list[str]()
    for key, version in reversed(by_key.items()):
        if key not in keys_with_files:
            merged_versions.append(version)
    return tuple(merged_versions)
