"""The marks of indexes, a name and a colour, by which pages tell several indexes apart."""

from collections.abc import Iterable, Sequence
from typing import Final
from zlib import crc32

from msgspec import Struct

from wheelyard.model.index_name import MAIN

HUES: Final = 7
"""How many colours the style sheet has for indexes, from 1 on. The colour of main is 0."""


class IndexMark(Struct, frozen=True):
    """The mark of an index that a viewer may read, which is one of several."""

    name: str
    hue: int
    """The number of the index's colour in the style sheet."""


def index_marks(names: Iterable[str]) -> tuple[IndexMark, ...]:
    """
    Return the marks of indexes, main first.

    The colour of an index follows from its name, unless another of these indexes has that colour.
    If there are more indexes than colours, some have one colour; the name stands beside each mark.
    """
    taken_hues = set[int]()
    marks: list[IndexMark] = []
    # by name, so that colours do not follow the order in which the indexes come
    for name in sorted(names, key=_main_first):
        hue = 0
        if name != MAIN:
            hue = _choose_hue(name, taken_hues)
        taken_hues.add(hue)
        marks.append(IndexMark(name, hue))
    return tuple(marks)


def mark_of(name: str, marks: Sequence[IndexMark]) -> IndexMark | None:
    """Return the mark of the index `name`, or None if it is not among `marks`."""
    for mark in marks:
        if mark.name == name:
            return mark
    return None


def _main_first(name: str) -> tuple[bool, str]:
    """Return a sort key that has main before all other names of indexes."""
    return name != MAIN, name


def _choose_hue(name: str, taken_hues: set[int]) -> int:
    """
    Return the colour that follows from a name, or the next free one if that colour is taken.

    If all colours are taken, return the colour that follows from the name.
    """
    # a digest, as `hash` differs from one process to another, and a colour must not
    name_digest = crc32(name.encode())
    for step in range(HUES):
        hue = 1 + (name_digest + step) % HUES
        if hue not in taken_hues:
            return hue
    return 1 + name_digest % HUES
