"""What a page depends on besides its documents: who looks at it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """
    The person who looks at a page, as far as the page shows it; a part of each page's cache key.

    The defaults are those of an anonymous person on a site that knows no sign-in, as an export is.
    """

    name: str = ""
    """The name to show in the header; empty for an anonymous person."""
    may_sign_in: bool = False
    """Whether the page offers to sign in."""
    may_upload: bool = False
    """Whether the viewer may upload to any project, and this server takes uploads."""
    may_manage: bool = False
    """Whether the viewer may manage the project of this page, and this server takes changes."""


ANYONE = Viewer()
"""The viewer of the pages of a static site."""
