"""The person who looks at a page, and what that person may see of other indexes."""

from msgspec import Struct

from wheelyard.rendering.web.index_marks import IndexMark


class ProjectPlace(Struct, frozen=True, kw_only=True):
    """What one index has of the project of a page, and of the release that the page is about."""

    index: IndexMark
    is_here: bool
    """Whether the page is a page of this index."""
    path: str = ""
    """
    The URL path of the project's page in this index, relative to the home page of main.

    Empty if this index does not have the project.
    """
    has_release: bool = False
    """Whether this index has the release that the page is about."""
    is_yanked: bool = False
    """Whether all files of the release are yanked in this index."""
    since: str = ""
    """When the first file of the release came into this index, in UTC, as `upload-time`."""
    newest: str = ""
    """The release that describes the project in this index, if the release itself is not there."""


class ReleasesElsewhere(Struct, frozen=True, kw_only=True):
    """Which releases of a project another index has, if the viewer may read that index."""

    index: str
    versions: frozenset[str]
    """The versions without zeros at their ends, as 1.0 and 1.0.0 are one version."""
    takes_promotions: bool
    """Whether the rules of the index name indexes to promote from, as those of `prod` do."""


class Viewer(Struct, frozen=True, kw_only=True):
    """
    The facts about the person who looks at a page that change the page. The cache key has them all.

    The defaults are for an anonymous person on a site without sign-in, such as an export.
    """

    name: str = ""
    """The name to show in the header, or an empty text for an anonymous person."""
    may_sign_in: bool = False
    may_upload: bool = False
    """Whether the viewer may upload to any project, and this server takes uploads."""
    may_own_tokens: bool = False
    """Whether the viewer can own API tokens: a person or a service account, and no token."""
    needs_credential: bool = False
    """Whether installing the project of this page, or any project, needs a credential."""
    may_manage: bool = False
    """Whether the viewer may manage the project of this page, and this server takes changes."""
    may_administer: bool = False
    may_approve: bool = False
    """Whether the viewer may decide about public packages, and is no administrator."""
    waiting_requests: int = 0
    """How many requests for public packages wait for the viewer, or 0 if that is not known."""
    may_decide: bool = False
    """Whether the viewer may make and change decisions about the public project of this page."""
    may_promote: bool = False
    """Whether there is another index to which the viewer can perhaps promote releases."""
    may_ask: bool = False
    """Whether this server takes requests for hidden public packages from people who sign in."""
    client: str = ""
    """The client that the viewer has chosen on a page with commands, of `INSTALL_CHOICES`."""
    indexes: tuple[IndexMark, ...] = ()
    """
    The indexes that the viewer may read, main first, if there are several.

    On a static site, the index of the page alone, unless that is main: its folder may stand alone.
    """
    hidden_indexes: frozenset[str] = frozenset()
    """The names of all other indexes, which no page tells the viewer."""
    places: tuple[ProjectPlace, ...] = ()
    """What each of `indexes` has of the project of this page. Empty if the page shows no places."""


ANYONE = Viewer()
"""The viewer of the pages of a static site."""
