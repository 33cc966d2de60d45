"""docs/openapi.json is made from the table of operations, with the code's patterns of texts."""

import json
import re
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tools.openapi import PAGE, text
from wheelyard.authentication.api_tokens import NAME_LIMIT_CHARS as TOKEN_NAME_LIMIT
from wheelyard.errors import WheelyardError
from wheelyard.model.access import parse_pattern
from wheelyard.model.api_token import is_token_id
from wheelyard.model.decoding import require_one_line
from wheelyard.model.distribution_filename import (
    parse_known_filename,
    parse_name,
    parse_version,
    parse_version_set,
)
from wheelyard.model.grants import parse_group_name
from wheelyard.model.index_name import MAIN, parse_index_name
from wheelyard.operations.access_control import NOTE_LIMIT_CHARS
from wheelyard.operations.lifecycle import REASON_LIMIT

pytestmark = pytest.mark.slow

DOCUMENT: Final[dict[str, Any]] = json.loads(PAGE.read_text())
SCHEMAS: Final[dict[str, Any]] = DOCUMENT["components"]["schemas"]


def token_name(text: str) -> None:
    """Take a token's name, as `ApiTokens.create` does."""
    assert require_one_line(text, "The name of a token", TOKEN_NAME_LIMIT).strip()


def written_reason(text: str) -> None:
    """Take the reason of a request, as `request_package` does."""
    assert require_one_line(text, "The reason", REASON_LIMIT).strip()


def holds(is_so: bool) -> None:  # noqa: FBT001
    """Refuse what does not hold, as a parser does."""
    assert is_so


def starred(text: str) -> None:
    """Take the pattern of several names, as `parse_pattern` does; another one is a name."""
    assert parse_pattern(text).endswith("*")


PARSERS: dict[str, tuple[dict[str, Any], Callable[[str], object]]] = {
    "name": (SCHEMAS["Name"], parse_name),
    "normalised-name": (SCHEMAS["NormalizedName"], lambda text: holds(parse_name(text) == text)),
    "version": (SCHEMAS["Version"], parse_version),
    "versions": (SCHEMAS["VersionSet"], parse_version_set),
    "pattern": (SCHEMAS["Pattern"]["anyOf"][1], starred),
    "reason": (SCHEMAS["Reason"], lambda text: require_one_line(text, "The reason", REASON_LIMIT)),
    "token-id": (SCHEMAS["TokenId"], lambda text: holds(is_token_id(text))),
    "note": (SCHEMAS["Note"], lambda text: require_one_line(text, "A note", NOTE_LIMIT_CHARS)),
    "written-reason": (SCHEMAS["WrittenReason"], written_reason),
    "group": (SCHEMAS["GroupName"], parse_group_name),
    "index": (SCHEMAS["IndexName"], lambda text: text == MAIN or parse_index_name(text)),
    "token-name": (SCHEMAS["TokenName"], token_name),
}
ODD = "\u212a \u0130 \u017f \u0661 \u00e9 \u202e \u2028 \x85 \U0001f600 \x00 / \\ % :"
WORDS = "a Z 0 - _ . * + ! v rc RC alpha preview post rev r dev 1 1.0 abcde01234"
WORDS += " < > = == != ~= === <=1.0 ==1.* ,"
LONG = ("9" * 65, "9" * 64, "x" * 130, " ", "\n", "\xa0")
TEXT = st.sampled_from([*ODD.split(" "), *WORDS.split(), *LONG])
TEXTS = st.lists(TEXT, max_size=7).map("".join) | st.text(max_size=12)


def described(schema: dict[str, Any], text: str) -> bool:
    """Return whether a text is one of a schema's, as JSON Schema has it: `$` is the very end."""
    pattern = _to_the_end(schema["pattern"])
    lengths = range(schema.get("minLength", 0), schema.get("maxLength", len(text)) + 1)
    return len(text) in lengths and re.search(pattern, text) is not None


def is_taken(parse: Callable[[str], object], text: str) -> bool:
    """Return whether the code takes a text."""
    try:
        parse(text)
    except (WheelyardError, AssertionError):
        return False
    return True


@pytest.mark.parametrize("kind", PARSERS)
@given(text=TEXTS)
@example(text="\u212aube-*")
@example(text="\u212aube")
@example(text="*")
@example(text="a*b")
@example(text="1.0-1.dev")
@example(text="1.0\n")
@example(text="a" * 128)
@example(text="a" * 129)
def test_document_and_code_take_the_same_texts(kind: str, text: str) -> None:
    """The document and the code take the same texts."""
    schema, parse = PARSERS[kind]
    assert described(schema, text) == is_taken(parse, text)


@pytest.mark.parametrize("kind", PARSERS)
@settings(max_examples=10)  # drawing one takes long: the expression of a version is
@given(data=st.data())
def test_code_takes_what_the_document_describes(kind: str, data: st.DataObject) -> None:
    """What the document describes, the code takes."""
    schema, parse = PARSERS[kind]
    pattern = _to_the_end(schema["pattern"])
    text = data.draw(st.from_regex(pattern).filter(lambda text: described(schema, text)))
    assert is_taken(parse, text)


@given(text=TEXTS | st.sampled_from(["demo-1.0.tar.gz", "a-1-py3-none-any.whl", "x-1.0.zip"]))
def test_no_accepted_filename_is_missing_from_the_document(text: str) -> None:
    """No filename that the code takes is missing from the document; the code knows more rules."""
    assert described(SCHEMAS["Filename"], text) or not is_taken(parse_known_filename, text)
    odd = [each for each in map(chr, range(300)) if described(SCHEMAS["Filename"], each)]
    assert odd == [each for each in map(chr, range(33, 127)) if each not in "/\\%:"]


def test_the_document_is_current() -> None:
    """`python -m tools.openapi` would write what is there."""
    assert PAGE.read_text() == text()


def _to_the_end(pattern: str) -> str:
    return pattern.removesuffix("$") + r"\Z"
