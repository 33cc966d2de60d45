"""
Patterns of project names with `*` and `?` anywhere, for the settings of upstream indexes.

The patterns of grants are another, smaller form: see `model/access.py`.
"""

import re
from collections.abc import Iterable
from fnmatch import translate
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.errors import Invalid, quoted
from wheelyard.model.distribution_filename import NAME_LIMIT

_SEPARATORS: Final = re.compile(r"[-_.]+")
_STARS: Final = re.compile(r"\*+")
_FORM: Final = re.compile(r"(?!-)[a-z0-9*?-]+(?<!-)")


class NamePatterns(Struct, frozen=True):
    """Some patterns; a name matches if one of them does."""

    texts: tuple[str, ...]
    """The patterns, normalised as names are."""
    _expression: re.Pattern[str]

    def match(self, name: NormalizedName) -> bool:
        """Return whether a pattern matches the whole name."""
        return self._expression.fullmatch(name) is not None


class NameFilter(Struct, frozen=True):
    """Which names an upstream index is asked for."""

    allow: NamePatterns | None = None
    """None for all."""
    deny: NamePatterns = NamePatterns((), re.compile(r"(?!)"))
    """Names that it is not asked for, whatever `allow` has."""

    def accepts(self, name: NormalizedName) -> bool:
        """Return whether the index is asked for a name."""
        return not self.deny.match(name) and (self.allow is None or self.allow.match(name))


def parse_name_patterns(texts: Iterable[str]) -> NamePatterns:
    """Return the patterns that are written so; raise Invalid for the first that is malformed."""
    found = tuple(dict.fromkeys(map(normalise_pattern, texts)))
    every = "|".join(f"(?:{translate(each)})" for each in found)
    return NamePatterns(found, re.compile(every or r"(?!)"))


def normalise_pattern(text: str) -> str:
    """
    Return a pattern in the form of normalised names: `Acme_*` is `acme-*`.

    Raise Invalid (code `bad_setting`) for text that can match no name.
    """
    pattern = _STARS.sub("*", _SEPARATORS.sub("-", text).lower())
    if len(text) > NAME_LIMIT or not _FORM.fullmatch(pattern):
        raise Invalid(
            f"{quoted(text)} is no pattern of names. Write a name, such as acme-core, or one with "
            "* or ? in it, such as acme-*.",
            code="bad_setting",
        )
    return pattern
