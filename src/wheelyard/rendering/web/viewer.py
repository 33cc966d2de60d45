"""The person who looks at a page, and what that person may see of other indexes."""

from msgspec import Struct

from wheelyard.rendering.web.index_marks import IndexMark


class ProjectPlace(Struct, frozen=True, kw_only=True):
    """What an index has of a project, and of the release that a page is about."""

    index: IndexMark
    is_here: bool
    """Whether it is the index of the page."""
    path: str = ""
    """The URL path of its page, relative to the home page of main, or empty if it has none."""
    has_release: bool = False
    is_yanked: bool = False
    """Whether all files of the release are yanked there."""
    since: str = ""
    """When the first of them was published there, or promoted, in UTC, as `upload-time`."""
    newest: str = ""
    """The release that describes the project there, if the one of the page is not there."""


class ReleasesElsewhere(Struct, frozen=True, kw_only=True):
    """Which releases of a project another index has, which the viewer may read."""

    index: str
    versions: frozenset[str]
    """Without zeros at their ends: 1.0 and 1.0.0 are one version."""
    takes_promotions: bool
    """Whether its rules say from where it takes releases, as those of `prod` do."""


class Viewer(Struct, frozen=True, kw_only=True):
    """
    The person who looks at a page, as far as the page shows it, which is in its cache key.

    The defaults are those of an anonymous person on a site that knows no sign-in, as an export is.
    """

    name: str = ""
    """The name to show in the header, or an empty text for an anonymous person."""
    may_sign_in: bool = False
    may_upload: bool = False
    """Whether the viewer may upload to any project, and this server takes uploads."""
    may_own_tokens: bool = False
    """Whether the viewer is somebody who may have made tokens, and no token."""
    needs_credential: bool = False
    """Whether nobody installs the project of this page, or any other one, without a credential."""
    may_manage: bool = False
    """Whether the viewer may manage the project of this page, and this server takes changes."""
    may_administer: bool = False
    may_approve: bool = False
    """Whether the viewer may decide about public packages, and is no administrator."""
    waiting_requests: int = 0
    """How many requests for public packages wait for the viewer, or 0 if that is not known."""
    may_decide: bool = False
    """Whether the viewer may approve the project of this page, if it is public, and change that."""
    may_promote: bool = False
    """Whether there is another index that the viewer may perhaps promote releases to."""
    may_ask: bool = False
    """Whether this server takes requests for hidden public packages, of whoever signs in."""
    client: str = ""
    """The client that was chosen on a page with commands, one of `INSTALL_CHOICES`, or empty."""
    indexes: tuple[IndexMark, ...] = ()
    """
    The indexes that the viewer may read, main first, if there are several.

    On a static site it is the one of the page, if that is not main, as its folder may stand alone.
    """
    hidden_indexes: frozenset[str] = frozenset()
    """The names of all others, which no page says to the viewer."""
    places: tuple[ProjectPlace, ...] = ()
    """What these `indexes` have of the project of this page, or nothing if that is not shown."""


ANYONE = Viewer()
"""The viewer of the pages of a static site."""
