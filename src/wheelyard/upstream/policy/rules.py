"""The rules of an operator: which public packages, versions and files are shown."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct, field
from packaging.utils import NormalizedName

from wheelyard.model.distribution_filename import parse_version, strip_trailing_zeros
from wheelyard.model.licences import LicencePatterns, parse_licence_patterns
from wheelyard.model.name_patterns import NameFilter, NamePatterns, parse_name_patterns
from wheelyard.upstream.page import UpstreamFile

NOTHING: Final = parse_name_patterns(())
"""Patterns that no name matches."""
NO_LICENCES: Final = parse_licence_patterns(())


class Exceptions(Struct, frozen=True):
    """Names, and versions of names, that a rule does not apply to."""

    names: NamePatterns = NOTHING
    versions: tuple[tuple[NamePatterns, str], ...] = ()
    """Each version without trailing zeros."""

    def version_for(self, name: NormalizedName, version: str) -> str | None:
        """Return the version of an exception for a normalised one; `2.0` is one for `2.0+cpu`."""
        forms = {strip_trailing_zeros(each) for each in (version, version.partition("+")[0])}
        matches = (each for some, each in self.versions if each in forms and some.match(name))
        return next(matches, None)


def parse_exceptions(texts: Iterable[str]) -> Exceptions:
    """Return exceptions written as `name`, `acme-*` or `name==1.2.3`; raise Invalid for others."""
    names, versions = list[str](), list[tuple[NamePatterns, str]]()
    for text in texts:
        name, equals, version = text.partition("==")
        if equals:
            release = strip_trailing_zeros(str(parse_version(version.strip())))
            versions.append((parse_name_patterns((name.strip(),)), release))
        else:
            names.append(name)
    return Exceptions(parse_name_patterns(names), tuple(versions))


class PolicyRules(Struct, frozen=True, kw_only=True):
    """The rules of the settings; those that nobody has set hide nothing."""

    names: tuple[NameFilter, ...] = ()
    """Which names each upstream index is asked for."""
    cooldown: timedelta = timedelta()
    cooldown_exceptions: Exceptions = field(default_factory=Exceptions)
    uses_first_seen: bool = False
    """Whether a file without a time of upload counts from when it was first seen."""
    snapshot: datetime | None = None
    """Nothing that was uploaded after it is shown; UTC."""
    needs_approval: bool = False
    blocked_licences: LicencePatterns = NO_LICENCES

    def accept(self, name: NormalizedName) -> bool:
        """Return whether an upstream index is asked for a name."""
        return any(names.accepts(name) for names in self.names)

    def cooldown_begin(self, file: UpstreamFile) -> datetime | None:
        """Return from when the cooldown of a file counts; None if nobody knows."""
        if file.uploaded_at is None and self.uses_first_seen:
            return file.first_seen
        return file.uploaded_at
