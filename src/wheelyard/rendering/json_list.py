"""JSON of objects with a long list, which is encoded in pieces."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Final

from msgspec.json import Encoder

PIECE: Final = 500
"""Items that are encoded at a time, in a millisecond: no other thread of Python runs meanwhile."""


def json_with_list(document: Mapping[str, object], name: str, items: Iterable[object]) -> bytes:
    """Return the JSON of a document, which is not empty, with a list as its last member."""
    encoder, rest = Encoder(), iter(items)
    parts = [encoder.encode(document)[:-1], b',"%b":[' % name.encode()]
    while piece := list(islice(rest, PIECE)):
        parts += encoder.encode(piece)[1:-1], b","
    if parts[-1] == b",":
        parts.pop()
    return b"".join((*parts, b"]}"))
