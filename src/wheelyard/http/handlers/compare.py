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

    With `new` alone, the other release is the one before `new`; with `old` alone, it is the latest.
    A project with one release gets a page that compares nothing. Another spelling of the name is
    redirected.

    Raises Unauthenticated or Forbidden if the caller may not ask for the project, and NotFound if
    there is no such project that the caller may read. Raises NotFound, too, if there is no such
    release, or no release at all. Raises Forbidden if the policy refuses a file that describes one
    of the releases. Raises Unavailable if the store or an upstream index does not answer, or the
    store has lost metadata. Raises Waiting if an upstream index has to be asked.
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
    old_release = _chosen_release(request, listing, OLD)
    new_release = _chosen_release(request, listing, NEW)
    older, newer = _pair_to_compare(releases, latest, old_release, new_release)
    compared: tuple[ComparedRelease, ComparedRelease] | None = None
    if older is not None:
        compared_older = _read_metadata(request, listing, older)
        compared_newer = _read_metadata(request, listing, newer)
        compared = (compared_older, compared_newer)

    # only an own project can be managed here, so only its page has a link for that
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


def _chosen_release(request: IndexRequest, listing: OpenListing, field: str) -> ShownRelease | None:
    """
    Return the release that a field of the query names, or None without the field.

    The version may have any spelling, as in the URL of the release. Raises NotFound if there is no
    such release.
    """
    text = (request.query_field(field) or "").strip()
    if not text:
        return None
    release = find_release(listing, text)
    if release is None:
        message = f"{listing.name} has no release {quoted(text)}. Look at the list of its releases."
        raise NotFound(message)
    return release


def _pair_to_compare(
    releases: Sequence[ShownRelease],
    latest: ShownRelease,
    old_release: ShownRelease | None,
    new_release: ShownRelease | None,
) -> tuple[ShownRelease | None, ShownRelease]:
    """
    Return the older and the newer release to compare, of which the viewer may have chosen some.

    `old_release` and `new_release` are the chosen releases, or None. The older release is None if
    the project has only one release.
    """
    if old_release is not None and new_release is not None:
        return old_release, new_release
    newer = new_release or latest
    if old_release is not None and old_release.version != newer.version:
        return old_release, newer
    older = _release_before(releases, newer)
    following = _release_after(releases, newer)
    # the first release of a project is compared with the next one
    if older is None and following is not None:
        return newer, following
    return older, newer


def _release_before(releases: Sequence[ShownRelease], newer: ShownRelease) -> ShownRelease | None:
    """
    Return the release before another one, or None if `newer` is the first one.

    `releases` are in order, the newest first. Before a final release this is the final release
    before it, if there is one, as most people install no pre-releases.
    """
    version = listed_version(newer.version)
    earlier = [release for release in releases if listed_version(release.version) < version]
    if not earlier:
        return None
    if not version.is_prerelease:
        for release in earlier:
            if not listed_version(release.version).is_prerelease:
                return release
    return earlier[0]


def _release_after(releases: Sequence[ShownRelease], older: ShownRelease) -> ShownRelease | None:
    """Return the release after another one, or None if `older` is the last one."""
    version = listed_version(older.version)
    later = [release for release in releases if listed_version(release.version) > version]
    return min(later, key=lambda release: listed_version(release.version), default=None)


def _read_metadata(
    request: IndexRequest, listing: OpenListing, release: ShownRelease
) -> ComparedRelease:
    """
    Return a release with its core metadata.

    Raises Forbidden if the policy refuses the file that has the metadata. Raises Unavailable if the
    store does not answer, or has lost the metadata. Raises Waiting if an upstream index has to be
    asked.
    """
    metadata = ReleaseMetadata(request, listing, release.metadata_file)
    return ComparedRelease(release, metadata.core, is_known=not metadata.is_missing)
