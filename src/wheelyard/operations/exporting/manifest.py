"""
What a site shows already: each project, the document that its pages were made from, and theirs.

It is a note to save work, and nobody who installs reads it. Whatever it says has happened; what it
does not say may have happened, too. A project's line moves on to a later revision, and back to an
earlier one only if that is what the store has now: it was restored from a backup.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from msgspec import DecodeError, Struct, ValidationError
from msgspec.json import Decoder, encode
from msgspec.structs import replace

from wheelyard.operations.exporting.options import Options, made_by
from wheelyard.rendering.releases import Found
from wheelyard.storage.base import ABSENT, Key, ObjectVersion, Store, Stored

HOME: Final = "wheelyard-export/"
"""Where a site has what an export has to know of it."""
PLACE: Final = Key(f"{HOME}manifest.json")


class Line(Struct, frozen=True, array_like=True):
    """What is known of a project's pages."""

    revision: int
    document: str
    """The version that the store gave to the document."""
    found: Found
    """What the search index says of it."""
    pages: tuple[ObjectVersion, ...]
    """The versions that the site gave to its pages, in the order of `Pages.paths_of`."""


class Manifest(Struct, frozen=True):
    """What a site shows."""

    options: Options
    """How every page was made."""
    made_by: str = ""
    """What made them."""
    projects: dict[str, Line] = {}
    lists: dict[Key, ObjectVersion] = {}
    """The versions of the pages that list every project, and of the search index."""

    def merged(
        self, lines: Mapping[str, Line], is_latest: Callable[[str, Line], bool]
    ) -> "Manifest":
        """
        Return it with more lines; of two for one project the later revision counts.

        Args:
            lines: Of other pages.
            is_latest: Whether a line with an earlier revision is of the document there is now.
        """
        later = {
            name: line
            for name, line in lines.items()
            if name not in self.projects
            or line.revision >= self.projects[name].revision
            or is_latest(name, line)
        }
        projects = {**self.projects, **later}
        return replace(self, projects={name: projects[name] for name in sorted(projects)})

    def without(self, lines: Mapping[str, Line]) -> "Manifest":
        """Return it without these lines, but with others of the same projects."""
        kept = {name: line for name, line in self.projects.items() if lines.get(name) != line}
        return replace(self, projects=kept)

    def is_current(self, name: str, document: str) -> bool:
        """Return whether a project's pages were made from this version of its document."""
        line = self.projects.get(name)
        return line is not None and line.document == document

    def under(self, options: Options) -> "Manifest":
        """Return what of it holds for pages that look so: all, or nothing."""
        if (self.options, self.made_by) == (options, made_by()):
            return self
        return Manifest(options, made_by())


@dataclass(frozen=True, slots=True)
class Noted:
    """The manifest as it was read from a site."""

    manifest: Manifest | None
    """None where there is none that makes sense."""
    version: ObjectVersion


def noted(site: Store) -> Noted:
    """Return what a site says of itself."""
    stored = site.get(PLACE)
    if not isinstance(stored, Stored):
        return Noted(None, ABSENT)
    try:
        return Noted(Decoder(Manifest).decode(stored.body), stored.version)
    except (DecodeError, ValidationError, UnicodeDecodeError):
        return Noted(None, stored.version)


def encoded(manifest: Manifest) -> bytes:
    """Return a manifest as it is stored: the same bytes for the same content."""
    return encode(manifest)
