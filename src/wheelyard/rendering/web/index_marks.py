"""The marks by which pages tell several indexes apart."""

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


def index_marks(names: Iterable[str]) -> tuple[IndexMark, ...]:
    """
    Return the marks of indexes, first main.

    A colour follows from the name, unless another one of them has it. There are more than enough
    for most, and the name stands beside each.
    """
    taken = set[int]()
    marks: list[IndexMark] = []
    # by name, so that colours do not follow the order in which the indexes come
    for name in sorted(names, key=lambda name: (name != MAIN, name)):
        hue = 0
        if name != MAIN:
            hue = _hue(name, taken)
        taken.add(hue)
        marks.append(IndexMark(name, hue))
    return tuple(marks)


def mark_of(name: str, marks: Sequence[IndexMark]) -> IndexMark | None:
    """Return the mark of an index among `marks`, or None."""
    return next((mark for mark in marks if mark.name == name), None)


def _hue(name: str, taken: set[int]) -> int:
    """Return the first colour from that of a name on that is not taken, or that of the name."""
    # a digest, as `hash` differs from one process to another, and a colour must not
    first = crc32(name.encode())
    for step in range(HUES):
        hue = 1 + (first + step) % HUES
        if hue not in taken:
            return hue
    return 1 + first % HUES
