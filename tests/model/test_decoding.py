"""From a table to a value, or to the field that is wrong."""

from typing import Any

import pytest
from msgspec import Struct

from wheelyard.model.decoding import FieldFault, InvalidField, decode_table


class Shelf(Struct, forbid_unknown_fields=True):
    """A nested struct."""

    floor: int
    books: tuple[str, ...] = ()


class House(Struct, forbid_unknown_fields=True):
    """A struct with a nested struct."""

    shelf: Shelf
    name: str = ""


def test_a_value() -> None:
    """A text counts as a number only where that is allowed."""
    table = {"shelf": {"floor": "2"}}

    assert decode_table(table, House, strict=False) == House(Shelf(2))
    with pytest.raises(InvalidField):
        decode_table(table, House)


@pytest.mark.parametrize(
    ("table", "why", "path"),
    [
        ({}, FieldFault.MISSING, "shelf"),
        ({"shelf": {}}, FieldFault.MISSING, "shelf.floor"),
        ({"shelf": 5}, FieldFault.WRONG, "shelf"),
        ({"shelf": {"floor": None}}, FieldFault.WRONG, "shelf.floor"),
        ({"shelf": {"floor": 1, "books": [1]}}, FieldFault.WRONG, "shelf.books"),
        ({"shelf": {"floor": 1}, "name": 1}, FieldFault.WRONG, "name"),
        ({"shelf": {"floor": 1, "a` - at `$.b": 1}}, FieldFault.UNKNOWN, "shelf.a` - at `$.b"),
        ({"shelf": {"floor": 1}, "": 1}, FieldFault.UNKNOWN, ""),
    ],
)
def test_what_is_wrong(table: dict[str, Any], why: FieldFault, path: str) -> None:
    """Whatever is wrong with a table, the field is named, and what is wrong with it."""
    with pytest.raises(InvalidField) as caught:
        decode_table(table, House)

    assert (caught.value.why, ".".join(caught.value.path)) == (why, path)
