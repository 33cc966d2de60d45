"""How a site is to look; what is not said stays as it was at the last export."""

import os
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from importlib.metadata import version
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.errors import Invalid
from wheelyard.rendering.simple import FILES_FROM_DETAIL

BAD_DESTINATION: Final = "bad_destination"
"""The code of an Invalid that says that a site cannot be written as it is."""
FORM: Final = 2
"""
Goes up when the pages of a document change though the version of wheelyard does not.

An export writes every page of a site again that was made with another number.
"""


class Placing(StrEnum):
    """How a distribution gets to where a page's link leads."""

    COPY = "copy"
    LINK = "link"
    """One file with two names; the site and the store are folders of one file system."""
    LEAVE = "leave"
    """It is served already, by something else."""


class Options(Struct, frozen=True, kw_only=True):
    """How a site looks; kept in its manifest."""

    base_url: str = ""
    """What it is served as, without a slash at the end; empty if nobody has said."""
    files: Placing = Placing.COPY
    files_url: str = ""
    """Where files are that are left where they are: `<files_url>/<project>/<sha256>/<filename>`."""
    is_gzipped: bool = False
    """Whether pages are there compressed, too."""
    store: str = ""
    """Which store it is of, as `identity_of` says; empty if nobody has said."""

    @property
    def files_from_page(self) -> str:
        """Where the files are, seen from a project's page."""
        return self.files_url if self.files is Placing.LEAVE else FILES_FROM_DETAIL

    @property
    def files_from_root(self) -> str:
        """Where they are, absolute or from the root of the host."""
        return self.files_url if self.files is Placing.LEAVE else f"{self.base_url}/files"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked of an export; None for what nobody has said."""

    base_url: str | None = None
    files: Placing | None = None
    files_url: str = ""
    """Of files that are left."""
    is_gzipped: bool | None = None
    store: str = ""
    """Which store it is to be of."""

    def over(self, before: Options) -> Options:
        """
        Return how the site is to look that looked so before.

        Raises:
            Invalid: It is of another store (code `bad_destination`).
        """
        if self.store and before.store and self.store != before.store:
            raise Invalid(
                "This site was made from another store. Choose another place; or, if it is the "
                "same store and has moved, remove wheelyard-export/manifest.json from the site, "
                "and export again.",
                code=BAD_DESTINATION,
            )
        options = replace(before, store=self.store or before.store)
        if self.base_url is not None:
            options = replace(options, base_url=self.base_url)
        if self.files is not None:
            options = replace(options, files=self.files, files_url=self.files_url)
        if self.is_gzipped is not None:
            options = replace(options, is_gzipped=self.is_gzipped)
        return options


def identity_of(place: str) -> str:
    """Return what tells a store from others: a digest of its place, which is nobody's business."""
    return sha256(os.fsencode(place)).hexdigest()[:32]


def made_by() -> str:
    """Return what makes pages: another one makes other pages of the same documents."""
    return f"wheelyard {version('wheelyard')}, form {FORM}"
