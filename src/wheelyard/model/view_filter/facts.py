"""What is known of one file, as a filter asks for it."""

from datetime import datetime
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

LOOKED_UP_LATER: Final = "looked up later"
"""Stands for a licence that is looked up as soon as somebody wants the file. It is no SPDX id."""


class FileFacts(Struct, frozen=True, kw_only=True):
    """The facts about one file. A fact that is None is not known, and shows the file nowhere."""

    name: NormalizedName
    version: str
    """The release's version, which may be none by PEP 440 if it is from an upstream index."""
    uploaded_at: datetime | None
    """In UTC."""
    licence: str | None = None
    """An SPDX expression, or another value of `licence_of`, or `LOOKED_UP_LATER`."""
    severity: float = 0.0
    """The highest CVSS score of the advisories about the version; 0 without one."""
    is_approved: bool = False
    is_attested: bool = False
    """Whether a provenance or attestations are listed for the file."""
    is_yanked: bool = False
