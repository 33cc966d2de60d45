"""The marks by which pages tell several indexes apart, and what each has of a project."""

from collections.abc import Iterable, Sequence
from typing import Final
from zlib import crc32

from msgspec import Struct

from wheelyard.model.index_name import MAIN

HUES: Final = 7
"""The colours of the style sheet for indexes, but for that of main, which is 0."""


class IndexMark(Struct, frozen=True):
    """An index that a viewer may read, one of several."""

    name: str
    hue: int
    """The number of its colour."""


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


def index_marks(names: Iterable[str]) -> tuple[IndexMark, ...]:
    """
    Return the marks of indexes, first main.

    A colour follows from the name, unless another one of them has it. There are more than enough
    for most, and the name stands beside each.
    """
    taken = set[int]()
    marks = list[IndexMark]()
    for name in sorted(names, key=lambda name: (name != MAIN, name)):
        hue = 0 if name == MAIN else _hue(name, taken)
        taken.add(hue)
        marks.append(IndexMark(name, hue))
    return tuple(marks)


def mark_of(name: str, marks: Sequence[IndexMark]) -> IndexMark | None:
    """Return the mark of an index among `marks`, or None."""
    return next((mark for mark in marks if mark.name == name), None)


def _hue(name: str, taken: set[int]) -> int:
    """Return the first colour from that of a name on that is not taken, or that of the name."""
    first = crc32(name.encode())
    hues = [1 + (first + step) % HUES for step in range(HUES)]
    return next((hue for hue in hues if hue not in taken), hues[0])
