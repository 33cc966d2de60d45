"""From a table to a value, or to the field that is wrong."""

from typing import Any

import pytest
from msgspec import Struct

from wheelyard.model.decoding import FieldFault, InvalidField, decode_table
from wheelyard.model.index_definition import IndexFields


class Section(Struct, forbid_unknown_fields=True):
    """A nested struct."""

    floor: int
    books: tuple[str, ...] = ()


class Document(Struct, forbid_unknown_fields=True):
    """A struct with a nested struct."""

    section: Section
    name: str = ""


def test_a_table_becomes_a_struct() -> None:
    """A table becomes a struct, and a text is no number."""
    assert decode_table({"section": {"floor": 2}}, Document) == Document(Section(2))
    with pytest.raises(InvalidField):
        decode_table({"section": {"floor": "2"}}, Document)


@pytest.mark.parametrize(
    ("table", "why", "path"),
    [
        ({}, "missing", "section"),
        ({"section": {}}, "missing", "section.floor"),
        ({"section": 5}, "wrong", "section"),
        ({"section": {"floor": None}}, "wrong", "section.floor"),
        ({"section": {"floor": 1, "books": [1]}}, "wrong", "section.books"),
        ({"section": {"floor": 1}, "name": 1}, "wrong", "name"),
        ({"section": {"floor": 1, "a` - at `$.b": 1}}, "unknown", "section.a` - at `$.b"),
        ({"section": {"floor": 1}, "": 1}, "unknown", ""),
    ],
)
def test_what_is_wrong(table: dict[str, Any], why: FieldFault, path: str) -> None:
    """Whatever is wrong with a table, the field is named, and what is wrong with it."""
    with pytest.raises(InvalidField) as caught:
        decode_table(table, Document)

    assert (caught.value.why, ".".join(caught.value.path)) == (why, path)


@pytest.mark.parametrize(
    ("table", "kind", "message"),
    [
        (
            {"name": "dev", "index_files": -1},
            IndexFields,
            "index_files: expected a number of files, from 0",
        ),
        (
            {"section": {"floor": 1, "books": "one"}},
            Document,
            "section.books: expected a list of texts",
        ),
        (
            {"name": "dev", "promote_only": "yes"},
            IndexFields,
            "promote_only: expected true or false",
        ),
    ],
    ids=["a number that may be missing", "a list", "yes or no"],
)
def test_the_expected_value_is_told(
    table: dict[str, Any], kind: type[Struct], message: str
) -> None:
    """The message about a wrong value says what is right, also if it may be left out."""
    with pytest.raises(InvalidField) as caught:
        decode_table(table, kind)

    assert caught.value.message == message
