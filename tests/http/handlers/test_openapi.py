"""docs/openapi.json has the patterns and lengths of the code for every text."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.clients.harness import REPOSITORY
from wheelyard.api.bodies import decode_query
from wheelyard.api.projects import After
from wheelyard.api.tokens import NewToken, TokenRotation
from wheelyard.authentication.api_tokens import NAME_LIMIT_CHARS
from wheelyard.errors import WheelyardError
from wheelyard.model.access import parse_pattern
from wheelyard.model.distribution_filename import (
    parse_known_filename,
    parse_name,
    parse_version,
    parse_version_set,
)
from wheelyard.model.project import Status
from wheelyard.model.text import require_one_line
from wheelyard.model.token import is_token_id
from wheelyard.operations.lifecycle import REASON_LIMIT

DOCUMENT: Final[dict[str, Any]] = json.loads((REPOSITORY / "docs" / "openapi.json").read_text())
SCHEMAS: Final[dict[str, Any]] = DOCUMENT["components"]["schemas"]
NEW_TOKEN = SCHEMAS["NewToken"]["properties"]
MADE_TOKEN = SCHEMAS["MadeToken"]["allOf"][1]["properties"]["token"]


def token_name(text: str) -> None:
    """Take a token's name, as `ApiTokens.create` does."""
    assert require_one_line(text, "The name of a token", NAME_LIMIT_CHARS).strip()


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
    "token-name": (NEW_TOKEN["name"], token_name),
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
def test_any_text(kind: str, text: str) -> None:
    """The document and the code take the same texts."""
    schema, parse = PARSERS[kind]
    assert described(schema, text) == is_taken(parse, text)


@pytest.mark.parametrize("kind", PARSERS)
@settings(max_examples=25)
@given(data=st.data())
def test_described_text(kind: str, data: st.DataObject) -> None:
    """What the document describes, the code takes."""
    schema, parse = PARSERS[kind]
    pattern = _to_the_end(schema["pattern"])
    text = data.draw(st.from_regex(pattern).filter(lambda text: described(schema, text)))
    assert is_taken(parse, text)


@given(text=TEXTS | st.sampled_from(["demo-1.0.tar.gz", "a-1-py3-none-any.whl", "x-1.0.zip"]))
def test_filenames(text: str) -> None:
    """No filename that the code takes is missing from the document; the code knows more rules."""
    assert described(SCHEMAS["Filename"], text) or not is_taken(parse_known_filename, text)
    odd = [each for each in map(chr, range(300)) if described(SCHEMAS["Filename"], each)]
    assert odd == [each for each in map(chr, range(33, 127)) if each not in "/\\%:"]


def test_numbers_and_words() -> None:
    """Limits of numbers and lists, and the words that may be chosen from, are the code's."""
    journal = DOCUMENT["paths"]["/api/v1/projects/{name}/journal"]["get"]
    history = DOCUMENT["paths"]["/api/v1/access/history"]["get"]
    assert journal["parameters"][-1]["schema"] == history["parameters"][0]["schema"]
    (after,) = (each["schema"] for each in journal["parameters"] if each["name"] == "after")
    for number in (after["minimum"], after["maximum"]):
        assert decode_query(b"after=%d" % number, After) == After(number)
    for number in (after["minimum"] - 1, after["maximum"] + 1):
        assert not is_taken(lambda text: decode_query(text.encode(), After), f"after={number}")

    hints = NewToken.__annotations__
    assert f"ge={NEW_TOKEN['days']['minimum']}, le={NEW_TOKEN['days']['maximum']}" in str(
        hints["days"]
    )
    hours = SCHEMAS["TokenRotation"]["properties"]["hours"]
    assert f"ge={hours['minimum']}, le={hours['maximum']}" in str(
        TokenRotation.__annotations__["hours"]
    )
    for field in ("projects", "can"):
        limits = f"min_length={NEW_TOKEN[field]['minItems']}, max_length=100"
        assert limits in str(hints[field])
        assert NEW_TOKEN[field]["maxItems"] == 100
    for owner in (SCHEMAS["StatusChange"], SCHEMAS["Project"]["properties"]["project-status"]):
        assert owner["properties"]["status"]["enum"] == list(Status)


def test_every_pattern_is_compared() -> None:
    """A pattern that is added to the document is added here too."""
    known = {id(schema) for schema, _ in PARSERS.values()}
    known |= {id(SCHEMAS[name]) for name in ("Filename", "Sha256")}
    tokens = {MADE_TOKEN["pattern"], f"^(?:{SCHEMAS['Sha256']['pattern'][1:-1]})?$"}
    others = [each for each in _schemas(DOCUMENT) if "pattern" in each and id(each) not in known]
    assert {each["pattern"] for each in others} == tokens


def _to_the_end(pattern: str) -> str:
    return pattern.removesuffix("$") + r"\Z"


def _schemas(node: object) -> Iterator[dict[str, Any]]:
    """Yield every object of the document that is the schema of a text."""
    if isinstance(node, dict):
        if node.get("type") == "string":
            yield node
        for each in node.values():
            yield from _schemas(each)
    elif isinstance(node, list):
        for each in node:
            yield from _schemas(each)
