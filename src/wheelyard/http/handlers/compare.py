"""The page on which two releases of a project are compared."""

from collections.abc import Sequence

from wheelyard.errors import NotFound, quoted
from wheelyard.http import resolver
from wheelyard.http.context import IndexRequest
from wheelyard.http.messages import NO_STORE, Response, redirect
from wheelyard.http.resolver import OpenListing
from wheelyard.http.web_pages import ReleaseMetadata
from wheelyard.model.distribution_filename import listed_version
from wheelyard.rendering.listing import ShownFile
from wheelyard.rendering.project_facts import ReleaseOf, find_release, latest_release, releases_of
from wheelyard.rendering.web.compare_page import ComparedRelease, compare_page
from wheelyard.rendering.web.project_frame import COMPARE
from wheelyard.rendering.web.public_package import public_package
from wheelyard.rendering.web.release_page import ReleaseHead

OLD = "old"
NEW = "new"
"""The fields of the query, each with a version."""

ShownRelease = ReleaseOf[ShownFile]


def answer(request: IndexRequest) -> Response:
    """
    Handle GET `/project/<name>/compare/?old=&new=`: two releases, the latest two by default.

    With `new` alone, the other release is the one before it, and with `old` alone the latest. A
    project with one release gets a page that compares nothing. Another spelling of the name is
    redirected.

    Raises Unauthenticated or Forbidden if the caller may not ask for the project, and NotFound if
    there is none that the caller may read. Raises NotFound, too, if there is no such release, or
    none at all. Raises Forbidden if the policy refuses a file that describes one of them. Raises
    Unavailable if the store does not answer or has lost metadata, or no upstream index answers.
    Raises Waiting if one has to be asked.
    """
    name = request.web.require_lookup(request)
    if name != request.path_params["name"]:
        path = request.web.path("project", name, COMPARE, query=request.query_string)
        return redirect(301, path)
    listing = resolver.find(request.context, name, request)
    releases = releases_of(listing)
    latest = latest_release(releases)
    if latest is None:
        raise NotFound(f"{name} has no releases that could be compared.")
    old = _chosen(request, listing, OLD)
    new = _chosen(request, listing, NEW)
    older, newer = _pair(releases, latest, old, new)
    compared = None
    if older is not None:
        compared = (_read(request, listing, older), _read(request, listing, newer))

    # a page tells how to manage a project only where it is
    own_name = name if listing.origin.is_own else None
    viewer = request.web.index_viewer(request, own_name)
    viewer = request.web.with_places(
        request, viewer, name, newer.version, is_public=listing.origin.is_upstream
    )
    head = ReleaseHead(
        project=listing,
        release=newer,
        latest=latest,
        is_release=False,
        public=public_package(listing.origin),
        other_index=listing.origin.other_index,
    )
    page = compare_page(request.web.environment, viewer, head, releases, compared)

    # there are too many pairs of releases for a cache
    return request.web.uncached_page(request, page, *request.web.security_headers, NO_STORE)


def _chosen(request: IndexRequest, listing: OpenListing, field: str) -> ShownRelease | None:
    """
    Return the release that a field of the query names, or None without the field.

    It is found as in the URL of its page. Raises NotFound if there is no such release.
    """
    text = (request.query_field(field) or "").strip()
    if not text:
        return None
    release = find_release(listing, text)
    if release is None:
        message = f"{listing.name} has no release {quoted(text)}. Look at the list of its releases."
        raise NotFound(message)
    return release


def _pair(
    releases: Sequence[ShownRelease],
    latest: ShownRelease,
    old: ShownRelease | None,
    new: ShownRelease | None,
) -> tuple[ShownRelease | None, ShownRelease]:
    """
    Return the releases to compare, of which the viewer has chosen both, one or none.

    The older one is None if the project has one release alone.
    """
    if old is not None and new is not None:
        return old, new
    newer = new or latest
    if old is not None and old.version != newer.version:
        return old, newer
    older = _before(releases, newer)
    later = _after(releases, newer)
    # the first release of all has none before it, so it is compared with the next one
    if older is None and later is not None:
        return newer, later
    return older, newer


def _before(releases: Sequence[ShownRelease], newer: ShownRelease) -> ShownRelease | None:
    """
    Return the release before another one, or None if there is none.

    `releases` are the newest first. Before a final release it is the final one before that, if
    there is one: most people install no pre-releases.
    """
    version = listed_version(newer.version)
    earlier = [release for release in releases if listed_version(release.version) < version]
    if not version.is_prerelease:
        for release in earlier:
            if not listed_version(release.version).is_prerelease:
                return release
    return next(iter(earlier), None)


def _after(releases: Sequence[ShownRelease], older: ShownRelease) -> ShownRelease | None:
    """Return the release after another one, or None if there is none."""
    version = listed_version(older.version)
    later = [release for release in releases if listed_version(release.version) > version]
    return min(later, key=lambda release: listed_version(release.version), default=None)


def _read(request: IndexRequest, listing: OpenListing, release: ShownRelease) -> ComparedRelease:
    """
    Return a release with its core metadata.

    Raises Forbidden if the policy refuses the file that has it. Raises Unavailable if the store
    does not answer, or has lost it. Raises Waiting if an upstream index has to be asked.
    """
    metadata = ReleaseMetadata(request, listing, release.metadata_file)
    return ComparedRelease(release, metadata.core, is_known=not metadata.is_missing)
