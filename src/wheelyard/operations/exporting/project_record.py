"""
What an export knows of the pages of one project in a site: an object of the site.

It only saves work. It is written after the pages, and tells what they were made from. The first
page of a project that an export writes is always the same one, and that is always written. So if
that page still has the version in the record, no other export has begun to write the pages since,
and everything in the record is true.
"""

from typing import Final

from msgspec import DecodeError, Struct, ValidationError
from msgspec.json import Decoder, encode
from packaging.utils import NormalizedName

from wheelyard.operations.exporting.manifest import EXPORT_PREFIX
from wheelyard.storage.base import Key, ObjectVersion, Store, Stored, WebType

RECORDS_PREFIX: Final = f"{EXPORT_PREFIX}projects/"


class PageRecord(Struct, frozen=True, array_like=True):
    """A page in a site."""

    made_from: str
    """As in `SitePage`."""
    versions: tuple[ObjectVersion, ...]
    """The versions of all its forms, in the order of `PagePaths`."""


class ProjectRecord(Struct, frozen=True, omit_defaults=True):
    """The pages of a project in a site."""

    made_with: str
    """The options and the version that the pages were made with; see `made_with`."""
    pages: dict[str, PageRecord]
    """By path; the first one is the page that is always written first."""
    obsolete: dict[Key, ObjectVersion] = {}
    """Pages that no page links to any more; they may be deleted already."""
    requires: dict[str, tuple[str, ...]] = {}
    """The names that each release requires, by the digest of its core metadata."""
    last_commit: tuple[int, str] = (0, "")
    """Number and id of the last commit whose event the history shows."""
    history: str = ""
    """A part of `made_from` of older pages of the history; another one for another journal."""


_DECODER: Final = Decoder(ProjectRecord)


def load_record(site: Store, name: NormalizedName) -> ProjectRecord | None:
    """Return the record of a project; None if it is missing or malformed."""
    stored = site.get(_key(name))
    if not isinstance(stored, Stored):
        return None
    try:
        return _DECODER.decode(stored.body)
    except (DecodeError, ValidationError, UnicodeDecodeError):
        return None


def save_record(site: Store, name: NormalizedName, record: ProjectRecord, kind: WebType) -> None:
    """
    Write the record of a project, over any other.

    If that of a later export is replaced, the next export notices by the version of the first page.
    """
    site.put(_key(name), encode(record), None, kind)


def _key(name: NormalizedName) -> Key:
    return Key(f"{RECORDS_PREFIX}{name}.json")
