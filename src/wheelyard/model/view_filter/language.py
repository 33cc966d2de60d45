"""
The language of filters: its grammar, and what its values may be.

The parser is lark's for LALR(1): it looks at each character a bounded number of times, and never
calls itself. Its tree is made into conditions while it parses.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import Final, cast

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedToken
from packaging.specifiers import InvalidSpecifier, Specifier

from wheelyard.errors import Invalid, quoted
from wheelyard.model.access import parse_name_patterns
from wheelyard.model.licences import parse_licence_patterns
from wheelyard.model.view_filter.conditions import (
    AgeCondition,
    Condition,
    FlagCondition,
    Group,
    LicenceCondition,
    NameCondition,
    SeverityCondition,
    TimeCondition,
    VersionCondition,
    ViewFilter,
    group,
)

MAX_CHARS: Final = 1000
MAX_CONDITIONS: Final = 100
MAX_DEPTH: Final = 20
"""Groups by `and` and `or` in one another."""
MAX_AGE_DAYS: Final = 36_500
MAX_SEVERITY: Final = 10

_GRAMMAR: Final = r"""
start: disjunction
disjunction: conjunction ("or" conjunction)*
conjunction: _term ("and" _term)*
_term: negation | "(" disjunction ")" | _condition
negation: "not" _term
_condition: flag | comparison | membership | exclusion
flag: NAME
comparison: NAME OPERATOR _value
membership: NAME IN texts
exclusion: NAME NOT IN texts
_value: TEXT | NUMBER | TRUTH
texts: "[" TEXT ("," TEXT)* ","? "]"
OPERATOR: "==" | "!=" | "<=" | ">=" | "<" | ">"
NOT: "not"
IN: "in"
TRUTH: "true" | "false"
NAME: /[A-Za-z_]+/
TEXT: /"[^"\n]*"/ | /'[^'\n]*'/
NUMBER: /[0-9]+(\.[0-9]{1,6})?/
%ignore /[ \t\r\n]+/
"""
_ORDER: Final = ("<", "<=", ">", ">=")
_OPERATORS: Final[Mapping[str, tuple[str, ...]]] = {
    "name": ("==", "!=", "in", "not in"),
    "version": ("==", "!=", *_ORDER, "in", "not in"),
    "age_days": _ORDER,
    "uploaded": _ORDER,
    "licence": ("==", "!=", "in", "not in"),
    "severity": ("==", "!=", *_ORDER),
    "prerelease": ("==", "!="),
    "approved": ("==", "!="),
    "attested": ("==", "!="),
    "yanked": ("==", "!="),
}
"""The fields, and the operators that each has."""
_FIELDS: Final = ", ".join(_OPERATORS)
FLAGS: Final = frozenset({"prerelease", "approved", "attested", "yanked"})
"""The fields that are true or false, which are a condition by themselves."""
_VALUES: Final = {
    "name": ("TEXT", 'a name or a pattern in quotes, such as "acme-*"'),
    "version": ("TEXT", 'a version in quotes, such as "2.0"'),
    "age_days": ("NUMBER", f"a number of days from 0 to {MAX_AGE_DAYS}, such as 7"),
    "uploaded": ("TEXT", 'a date or a time in quotes, such as "2026-01-01"'),
    "licence": ("TEXT", 'a licence of SPDX in quotes, such as "MIT" or "GPL-*", or "unknown"'),
    "severity": ("NUMBER", f"a number from 0 to {MAX_SEVERITY}, such as 7.5"),
} | dict.fromkeys(FLAGS, ("TRUTH", "true or false"))
"""The type of the value that each field is compared with, and that in words."""
_IN_WORDS: Final = {
    "NAME": f"a field ({_FIELDS})",
    "OPERATOR": "==, !=, <, <=, > or >=",
    "TEXT": "a text in quotes",
    "NUMBER": "a number",
    "TRUTH": "true or false",
    "LPAR": "'('",
    "RPAR": "')'",
    "LSQB": "'['",
    "RSQB": "']'",
    "COMMA": "a comma",
    "$END": "the end",
}
"""What the grammar names, in words. Other names are those of words of the language."""
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?"
)

_Node = Condition | Group


class _Wrong(Exception):
    """Something cannot stand where it stands."""

    def __init__(self, position: int | None, why: str) -> None:
        super().__init__(why)
        self.why = why
        self.position = position or 0


def parse_filter(text: str) -> ViewFilter:
    """
    Return the filter that a text says.

    Raises Invalid (code `invalid_filter`) if it is malformed, compares a field with a value of
    another type, or is longer, deeper or of more conditions than allowed. The message says where
    that is, and what may stand there.
    """
    if len(text) > MAX_CHARS:
        raise _invalid(f"it has {len(text)} characters, and may have {MAX_CHARS}")
    try:
        root = cast("_Node", _parser().parse(text))  # what the builder makes of the tree
    except (UnexpectedCharacters, UnexpectedToken) as error:
        is_end = isinstance(error, UnexpectedToken) and error.token.type == "$END"
        position = len(text) if is_end else cast("int", error.pos_in_stream)
        raise _invalid(_expected(error), text, position) from error
    except _Wrong as fault:
        raise _invalid(fault.why, text, fault.position) from fault
    depth = root.depth if isinstance(root, Group) else 0
    if depth > MAX_DEPTH:
        raise _invalid(f"it has {depth} groups in one another, and may have {MAX_DEPTH}")
    count = sum(1 for _ in root.conditions)
    if count > MAX_CONDITIONS:
        raise _invalid(f"it has {count} conditions, and may have {MAX_CONDITIONS}")
    return ViewFilter(root)


class _Builder(Transformer[Token, _Node]):
    """
    Makes conditions of what the parser has found, by a method for each rule of the grammar.

    They raise _Wrong for what fits the grammar, and cannot be.
    """

    def start(self, children: list[_Node]) -> _Node:
        return children[0]

    def disjunction(self, children: list[_Node]) -> _Node:
        return group(children, needs_all=False)

    def conjunction(self, children: list[_Node]) -> _Node:
        return group(children, needs_all=True)

    def negation(self, children: list[_Node]) -> _Node:
        return children[0].negate()

    def flag(self, children: list[Token]) -> Condition:
        (field,) = children
        if _require_field(field) not in FLAGS:
            raise _wrong_operator(field, field.end_pos)
        return FlagCondition(field=str(field))

    def comparison(self, children: list[Token]) -> Condition:
        field, operator, value = children
        kind, words = _VALUES[_require_field(field)]
        if operator not in _OPERATORS[field]:
            raise _wrong_operator(field, operator.start_pos)
        if value.type != kind:
            raise _Wrong(value.start_pos, f"{field} needs {words}")
        condition = _condition(field, "==" if operator == "!=" else str(operator), [value])
        return condition.negate() if (operator == "!=") != (value == "false") else condition

    def membership(self, children: tuple[Token, Token, list[Token]]) -> Condition:
        field, word, texts = children
        if "in" not in _OPERATORS[_require_field(field)]:
            raise _wrong_operator(field, word.start_pos)
        return _condition(field, "in", texts)

    def exclusion(self, children: tuple[Token, Token, Token, list[Token]]) -> Condition:
        field, word, _, texts = children
        return self.membership((field, word, texts)).negate()

    def texts(self, children: list[Token]) -> list[Token]:
        return children


@lru_cache(1)
def _parser() -> Lark:
    """Return the parser, which is made once and keeps nothing of a text."""
    return Lark(_GRAMMAR, parser="lalr", transformer=_Builder())


def _require_field(token: Token) -> str:
    if token not in _OPERATORS:
        raise _Wrong(
            token.start_pos, f"there is no field {quoted(token)}. The fields are {_FIELDS}"
        )
    return str(token)


def _wrong_operator(field: Token, position: int | None) -> _Wrong:
    return _Wrong(position, f"{field} needs one of {' '.join(_OPERATORS[field])}")


def _condition(field: Token, operator: str, tokens: Iterable[Token]) -> Condition:
    """
    Return the condition that a field has one of some values, or stands in an order to the only one.

    Raises _Wrong for a value that cannot be compared with the field.
    """
    make, texts = _MAKERS.get(field, _flag_condition), list[str]()
    for token in tokens:
        texts.append(token[1:-1] if token.type == "TEXT" else str(token))
        try:  # each by itself, so that the message names the one that is wrong
            make(field, operator, texts[-1:])
        except (Invalid, InvalidSpecifier, OverflowError, ValueError) as error:
            raise _Wrong(token.start_pos, f"{field} needs {_VALUES[field][1]}") from error
    return make(str(field), operator, texts)


def _name_condition(field: str, operator: str, texts: list[str]) -> Condition:
    patterns = parse_name_patterns(texts)
    return NameCondition(field=field, operator=operator, patterns=patterns)


def _version_condition(field: str, operator: str, texts: list[str]) -> Condition:
    comparison = "==" if operator == "in" else operator
    if any(text.startswith("=") for text in texts):  # `===` compares texts
        raise ValueError(texts)
    specifiers = tuple(Specifier(f"{comparison}{text}") for text in texts)
    return VersionCondition(field=field, operator=operator, specifiers=specifiers)


def _licence_condition(field: str, operator: str, texts: list[str]) -> Condition:
    patterns = parse_licence_patterns(texts)
    return LicenceCondition(field=field, operator=operator, patterns=patterns)


def _age_condition(field: str, operator: str, texts: list[str]) -> Condition:
    return AgeCondition(field=field, operator=operator, days=_number(texts[0], MAX_AGE_DAYS))


def _severity_condition(field: str, operator: str, texts: list[str]) -> Condition:
    return SeverityCondition(field=field, operator=operator, score=_number(texts[0], MAX_SEVERITY))


def _flag_condition(field: str, _: str, __: list[str]) -> Condition:
    return FlagCondition(field=field)


def _number(text: str, limit: float) -> float:
    number = float(text)
    if number > limit:
        raise ValueError(text)
    return number


def _time_condition(field: str, operator: str, texts: list[str]) -> Condition:
    """
    Return the condition of a time of upload. A time without an offset is in UTC.

    Raises ValueError or OverflowError for a text that is no date or time, or an impossible one.
    """
    (text,) = texts
    if _DATE.fullmatch(text):
        day = date.fromisoformat(text)
        first = datetime.combine(day, time.min, UTC)
        last = datetime.combine(day, time.max, UTC)
    elif _TIME.fullmatch(text):
        at = datetime.fromisoformat(text)
        first = last = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    else:
        raise ValueError(text)
    return TimeCondition(field=field, operator=operator, text=text, first=first, last=last)


_MAKERS: Final[Mapping[str, Callable[[str, str, list[str]], Condition]]] = {
    "name": _name_condition,
    "version": _version_condition,
    "age_days": _age_condition,
    "uploaded": _time_condition,
    "licence": _licence_condition,
    "severity": _severity_condition,
}
"""
Return the condition of a field and an operator with some values, of which only a list has several.

They raise Invalid, InvalidSpecifier, OverflowError or ValueError for a wrong value.
"""


def _expected(error: UnexpectedToken | UnexpectedCharacters) -> str:
    """Return in words what may stand where something else stands."""
    names = error.accepts if isinstance(error, UnexpectedToken) else error.allowed
    *words, last = sorted(_IN_WORDS.get(name, f"'{name.lower()}'") for name in names)
    return f"expected {', '.join(words)}{' or ' if words else ''}{last}"


def _invalid(why: str, text: str = "", position: int = 0) -> Invalid:
    rest = text[position:].strip()
    where = f"at character {position + 1}, {quoted(rest)}" if rest else "at its end"
    place = f" {where}" if text else ""
    return Invalid(f"The filter is wrong{place}: {why}.", code="invalid_filter")
