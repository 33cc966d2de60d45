"""
The keys of an index as texts, as a form or a command has them, and back.

In a list of indexes, two quotes are main, as in earlier versions. The entries of the key `versions`
are on lines, or have semicolons between them: `numpy = <2; acme-* = >=1.4`.
"""

from collections.abc import Mapping
from typing import Final

from msgspec.inspect import type_info
from msgspec.structs import fields

from wheelyard.errors import quoted
from wheelyard.model.field_texts import text_of_value, value_of_text, wrong_text
from wheelyard.model.index_definition import IndexFields
from wheelyard.model.rule_keys import RULE_KEYS
from wheelyard.model.stored_indexes import (
    FILTER,
    LISTS_OF_INDEXES,
    IndexKeys,
    with_main_named,
)

VERSIONS: Final = "versions"
QUOTED_EMPTY: Final = '""'
"""The text that stands for main in a list of indexes of an earlier version."""
INDEX_KEYS: Final = {
    field.encode_name: type_info(field.type)
    for field in sorted(fields(IndexFields), key=lambda field: field.name in RULE_KEYS)
}
"""The type of each key of an `[[index]]` table, with the keys of rules at the end."""


def index_of_texts(texts: Mapping[str, str]) -> IndexKeys:
    """
    Return the keys of an index from a text for each key. The values are not checked further.

    A key with an empty text is left out. A text that is no number or boolean stays a text, for
    later checks to refuse. Raises Invalid (code `invalid_field`), with the key, if the key is
    unknown, if a list of indexes has a comma without a name beside it, or if `versions` has a line
    without a name and `=`, or a name twice.
    """
    keys: IndexKeys = {}
    for key, text in texts.items():
        if key not in INDEX_KEYS:
            names = ", ".join(INDEX_KEYS)
            if key == FILTER:
                names = f"{names}. Keys of rules have replaced filters"
            raise wrong_text(key, f"{quoted(key)} is no key of an index. The keys are {names}.")
        if not text.strip():
            continue
        if key in LISTS_OF_INDEXES:
            keys[key] = _index_names(key, text)
        elif key == VERSIONS:
            # a specifier has no semicolon
            lines = text.replace(";", "\n").strip()
            keys[key] = value_of_text(INDEX_KEYS[key], key, lines)
        else:
            keys[key] = value_of_text(INDEX_KEYS[key], key, text.strip())
    return with_main_named(keys)


def _index_names(key: str, text: str) -> list[str]:
    """Return the names in a list of indexes. `QUOTED_EMPTY` is an empty name, which is main."""
    names = list[str]()
    for part in text.strip().replace("\n", ",").split(","):
        name = part.strip()
        if not name:
            fact = "There is a comma without a name beside it"
            raise wrong_text(key, f"{fact}. The index at the root is main.")
        if name == QUOTED_EMPTY:
            name = ""
        names.append(name)
    return names


def texts_of_index(keys: IndexKeys) -> dict[str, str]:
    """Return the keys of an index as texts, which `index_of_texts` reads."""
    values = with_main_named(keys)
    texts = {key: text_of_value(value) for key, value in values.items()}
    for key in LISTS_OF_INDEXES:
        if key in values:
            texts[key] = ", ".join(values[key])
    if VERSIONS in texts:
        texts[VERSIONS] = texts[VERSIONS].replace("\n", "; ")
    return texts
