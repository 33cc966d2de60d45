"""
dumb-pypi's package list, and the files that it stands for.

A list of filenames, one on a line, or of JSON objects, one on a line: `packages.json` of the site,
or what was fed to it. Of an object only `filename` has to be there; `hash` (`ALGORITHM=HEX`),
`upload_timestamp` (seconds), `uploaded_by` and `yanked_reason` are taken over (one that is empty is
no yank there). `requires_python` and `core_metadata` are not: the file itself says them. A line
that dumb-pypi would skip is a fault here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from wheelyard.errors import quoted
from wheelyard.sources.ahead import map_ahead
from wheelyard.sources.candidate import Candidate, PassedOver
from wheelyard.sources.digests import parse_hash
from wheelyard.sources.facts import at_seconds, author
from wheelyard.sources.faults import bad_source
from wheelyard.sources.web.urls import shown

THREADS: Final = 8
"""Files that are looked for at a time."""
LINE_LIMIT: Final = 1024**2
"""Bytes of one line."""


class Line(Struct):
    """What a line says."""

    filename: str
    hash: str | None = None
    upload_timestamp: float | str | None = None
    uploaded_by: str | None = None
    yanked_reason: str | None = None


class Shelf(Protocol):
    """Where the files are: it finds one by its name."""

    def fetch(self, filename: str) -> Candidate | None:
        """Return a file as the shelf knows it, None if it has none of that name."""
        ...

    def __str__(self) -> str:
        """Return what a person calls it."""
        ...


@dataclass(frozen=True, slots=True)
class DumbPypiSource:
    """
    The packages that a list names.

    Args:
        name: What a report calls the list.
        pieces: Opens the list.
        shelf: Where the files are.
    """

    name: str
    pieces: Callable[[], Iterator[bytes]]
    shelf: Shelf

    def offers(self) -> Iterator[Candidate | PassedOver]:
        """Yield what there is."""
        lines = enumerate(lines_of(self.pieces(), self.name), 1)
        said = (each for each in lines if each[1].strip())
        yield from map_ahead(self._offer, said, THREADS)

    def _offer(self, numbered: tuple[int, bytes]) -> Candidate | PassedOver:
        number, line = numbered
        place = f"{self.name}, line {number}"
        try:
            said = _parsed(line)
            hashes = parse_hash(said.hash or "")
        except ValueError as error:
            return PassedOver(place, _reason(error), is_fault=True)
        found = self.shelf.fetch(said.filename)
        if found is None:
            why = f"{quoted(said.filename)} is not at {self.shelf}"
            return PassedOver(place, why, is_fault=True)
        return replace(
            found,
            hashes={**found.hashes, **hashes},
            uploaded_at=at_seconds(said.upload_timestamp) or found.uploaded_at,
            uploaded_by=author(said.uploaded_by),
            yanked=said.yanked_reason or None,
        )


def lines_of(pieces: Iterator[bytes], name: str) -> Iterator[bytes]:
    """
    Yield lines without their ends, whatever the pieces that they come in.

    Raises:
        Invalid: One of them is too long for a list of packages (code `bad_source`).
    """
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
        if len(rest) > LINE_LIMIT:
            raise bad_source(f"{name} is no list of packages: it has lines of a megabyte.")
    yield rest


def _parsed(line: bytes) -> Line:
    if line.lstrip().startswith(b"{"):
        try:
            said = msgspec.json.decode(line, type=Line)
        except RecursionError as error:
            raise ValueError("its JSON is nested too deeply") from error
    else:
        said = Line(line.decode().strip())
    name = said.filename
    if not name or "/" in name or "\\" in name or ".." in name or not name.isprintable():
        raise ValueError(f"{quoted(shown(name))} is no filename")
    return said


def _reason(error: ValueError) -> str:
    if isinstance(error, msgspec.MsgspecError | UnicodeDecodeError):
        return "it is neither a filename nor a JSON object with one"
    return str(error)
