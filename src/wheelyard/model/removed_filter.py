"""
Filters of earlier versions, which are read only to say which keys hide the same files today.

A filter had conditions joined by `and`, `or` and `not`, such as `age_days >= 7 and severity < 9`.
A file was listed if the whole filter held. A file was hidden if a fact was not known that the
filter needed. Keys of an index are joined by `and` alone, so not every filter has such keys.

The reader of a filter moves each `not` to the conditions. It goes through the text once, with a
list of the open parentheses, and without recursion.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from msgspec import Struct, field
from msgspec.structs import replace
from packaging.specifiers import InvalidSpecifier, Specifier
from packaging.utils import NormalizedName

from wheelyard.errors import Invalid
from wheelyard.model.access import EVERY_PROJECT, NamePatterns, parse_name_patterns
from wheelyard.model.licences import BLOCK_UNKNOWN, parse_licence_patterns

MAX_CHARS: Final = 1000
MAX_CONDITIONS: Final = 100
MAX_DEPTH: Final = 20
"""How deep groups by `and` and `or` may be nested."""
MAX_AGE_DAYS: Final = 36_500
MAX_SEVERITY: Final = 10

_KEYS_IN_ORDER: Final[tuple[str, ...]] = (
    "cooldown_days",
    "min_cvss",
    "allowed_licenses",
    "blocked_licenses",
    "approval",
    "attested",
    "prereleases",
    "yanked",
    "allow",
    "deny",
    "versions",
    "snapshot",
)
"""The keys that can stand for conditions, in the order in which they are printed."""
_KEY_OF_FLAG: Final = {
    ("approved", "=="): ("approval", True),
    ("attested", "=="): ("attested", True),
    ("prerelease", "!="): ("prereleases", False),
    ("yanked", "!="): ("yanked", False),
}
"""The key and the value that stand for a flag, by field and operator, where `!=` is `not`."""
_FLAGS: Final = frozenset({"prerelease", "approved", "attested", "yanked"})
"""The fields that are true or false."""
_NUMBERS: Final = frozenset({"age_days", "severity"})
_ORDER: Final = ("<", "<=", ">", ">=")
_MEMBERSHIP: Final = ("==", "!=", "in", "not in")
_EQUALITY: Final = ("==", "!=")
_LISTED: Final = frozenset({"==", "in"})
"""The operators of a condition that a value is in a list."""
_OPERATORS: Final[Mapping[str, tuple[str, ...]]] = {
    "name": _MEMBERSHIP,
    "version": (*_MEMBERSHIP, *_ORDER),
    "age_days": _ORDER,
    "uploaded": _ORDER,
    "licence": _MEMBERSHIP,
    "severity": (*_EQUALITY, *_ORDER),
    "prerelease": _EQUALITY,
    "approved": _EQUALITY,
    "attested": _EQUALITY,
    "yanked": _EQUALITY,
}
"""The fields, and the operators that each had."""
_OPPOSITES: Final = {
    "==": "!=",
    "!=": "==",
    "in": "not in",
    "not in": "in",
    "<": ">=",
    ">=": "<",
    ">": "<=",
    "<=": ">",
}
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?"
)
_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
_INSTANT: Final = timedelta(microseconds=1)
"""The least difference of two times: `<` a time is `<=` the time that is this much earlier."""
_WILDCARD: Final = re.compile(r"[*?]")

# `and`, `or`, `not` and `in` needed no blank behind them: `yanked ornot approved` was a filter
_BLANK: Final = r"[ \t\r\n]*"
_QUOTED: Final = r"\"[^\"\n]*\"|'[^'\n]*'"
_TEXT: Final = re.compile(_QUOTED)
_CONDITION_START: Final = re.compile(rf"{_BLANK}(\(|[A-Za-z_]+)")
_AFTER_FIELD: Final = re.compile(rf"{_BLANK}(==|!=|<=|>=|<|>|in|not{_BLANK}in|)")
_VALUE: Final = re.compile(rf"{_BLANK}({_QUOTED}|[0-9]+(?:\.[0-9]{{1,6}})?|true|false)")
_LIST: Final = re.compile(
    rf"{_BLANK}(\[{_BLANK}(?:{_QUOTED})(?:{_BLANK},{_BLANK}(?:{_QUOTED}))*{_BLANK},?{_BLANK}\])"
)
_AFTER_TERM: Final = re.compile(rf"{_BLANK}(and|or|\)|\Z)")


class FilterKeys(Struct, frozen=True):
    """The keys of an index that hide the files that a filter hid."""

    keys: Mapping[str, Any]
    """Values of keys of `[[index]]`, as TOML has them, by name."""
    without_key: tuple[str, ...]
    """
    The conditions that no key stands for, or the text of a filter that cannot be read.

    If this is empty, the keys hide exactly what the filter hid. Else they stand for the rest of the
    filter.
    """

    def toml_lines(self) -> tuple[str, ...]:
        """Return the keys as lines of TOML, such as `cooldown_days = 7`."""
        return tuple(f"{name} = {_toml_value(value)}" for name, value in self.keys.items())


class _Unreadable(Exception):
    """A text is no filter."""


class _Condition(Struct, frozen=True):
    """A condition about one field."""

    field: str
    operator: str
    """One of `_OPERATORS`. A field that is true or false has `==` or `!=`."""
    literal: str = ""
    """The text with which the field is compared, as it was written."""
    value: Any = None
    """The value of `literal`, as the function in `_READERS` returns it."""
    is_negated: bool = False
    """Whether `not` stands before the condition, as an order of versions has no opposite."""

    def __str__(self) -> str:
        if self.field in _FLAGS:
            if self.operator == "==":
                return self.field
            return f"not {self.field}"
        text = f"{self.field} {self.operator} {self.literal}"
        if self.is_negated:
            return f"not {text}"
        return text


class _Group(Struct, frozen=True):
    """Conditions and groups, of which either all have to hold or at least one."""

    needs_all: bool
    parts: "tuple[_Term, ...]"
    """At least two conditions and groups. A group among them is joined by the other word."""
    text: str
    depth: int
    """How deep groups are nested, with this group."""

    def __str__(self) -> str:
        return self.text


_Term = _Condition | _Group
"""A part of a filter."""


class _Parenthesis(Struct):
    """What was read since a parenthesis that is still open, or since the filter began."""

    is_negated: bool
    alternatives: list[_Term] = field(default_factory=list)
    """The alternatives before the last `or`."""
    conjunction: list[_Term] = field(default_factory=list)
    """The terms that were joined by `and` since the last `or`."""

    def end_conjunction(self) -> None:
        """Make one alternative of the terms that were joined by `and`."""
        # under a `not`, each `and` is an `or`
        alternative = _group(self.conjunction, needs_all=not self.is_negated)
        self.alternatives.append(alternative)
        self.conjunction = []

    def close(self) -> _Term:
        """Return the term in the parentheses."""
        self.end_conjunction()
        return _group(self.alternatives, needs_all=self.is_negated)


class _Span(Struct, frozen=True):
    """A whole day, or a moment, in UTC."""

    first: datetime
    last: datetime


_Conditions = Sequence[_Condition]
_CoveringKeys = tuple[Mapping[str, Any], _Conditions]
"""Keys of an index, and the conditions that these keys stand for."""
_NOTHING_COVERED: Final[_CoveringKeys] = ({}, ())


def keys_of_filter(text: str) -> FilterKeys:
    """
    Return the keys that hide the same files as a filter, and the conditions that have none.

    The keys are those of an index. A text that is no filter, or that is longer or deeper or has
    more conditions than a filter could have, has no keys. An empty text was no filter, and needs
    no keys.
    """
    if not text:
        return FilterKeys({}, ())
    try:
        root = _Reader(text).read()
    except _Unreadable:
        return FilterKeys({}, (text[:MAX_CHARS],))
    terms = [_joined_names(term) for term in _terms_of_filter(root)]
    conditions = [term for term in terms if isinstance(term, _Condition)]
    keys = dict[str, Any]()
    covered = list[_Condition]()
    for field_name, find_keys in _FINDERS.items():
        about_field = [condition for condition in conditions if condition.field == field_name]
        keys_of_field, covered_of_field = find_keys(about_field)
        keys |= keys_of_field
        covered += covered_of_field
    ordered_keys = {key: keys[key] for key in _KEYS_IN_ORDER if key in keys}
    without_key = [str(term) for term in terms if term not in covered]
    return FilterKeys(ordered_keys, _without_duplicates(without_key))


class _Reader:
    """Reads the text of a filter, word by word."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._open = [_Parenthesis(is_negated=False)]
        """The open parentheses. The first one stands for the whole filter."""

    def read(self) -> _Term:
        """Return the whole filter as a term, or raise _Unreadable."""
        if len(self._text) > MAX_CHARS:
            raise _Unreadable
        root: _Term | None = None
        count = 0
        while root is None:
            root = self._end_term(self._condition())
            count += 1
        if _depth(root) > MAX_DEPTH or count > MAX_CONDITIONS:
            raise _Unreadable
        return root

    def _condition(self) -> _Condition:
        """Return the next condition, and remember the parentheses that open before it."""
        is_negated = self._open[-1].is_negated
        while (word := self._next(_CONDITION_START)) in {"not", "("}:
            if word == "not":
                is_negated = not is_negated
            else:
                self._open.append(_Parenthesis(is_negated))
        if word not in _OPERATORS:
            raise _Unreadable
        condition = self._comparison(word)
        if is_negated:
            return _negate(condition)
        return condition

    def _comparison(self, name: str) -> _Condition:
        """Return the condition that begins with the name of a field, without a `not` before it."""
        operator = self._next(_AFTER_FIELD)
        if operator.startswith("not"):
            operator = "not in"
        if not operator:
            return _read_condition(name, "==", "true")
        if operator not in {"in", "not in"}:
            return _read_condition(name, operator, self._next(_VALUE))
        texts = _TEXT.findall(self._next(_LIST))
        return _read_condition(name, operator, f"[{', '.join(texts)}]")

    def _end_term(self, term: _Term) -> _Term | None:
        """
        Add a condition to the filter, and close the parentheses that end behind it.

        Returns the whole filter at the end of the text, else None.
        """
        while True:
            innermost = self._open[-1]
            innermost.conjunction.append(term)
            word = self._next(_AFTER_TERM)
            if word == "or":
                innermost.end_conjunction()
            if word in {"and", "or"}:
                return None
            term = innermost.close()
            self._open.pop()
            is_whole_filter = not self._open
            is_closed = word == ")"
            # a parenthesis closes more than was opened, or is missing at the end
            if is_whole_filter == is_closed:
                raise _Unreadable
            if is_whole_filter:
                return term

    def _next(self, words: re.Pattern[str]) -> str:
        """Return the next word, which an expression has to match, or raise _Unreadable."""
        match = words.match(self._text, self._position)
        if match is None:
            raise _Unreadable
        self._position = match.end()
        return match[1]


def _read_condition(name: str, operator: str, literal: str) -> _Condition:
    """Return the condition that compares a field with a literal, or raise _Unreadable."""
    if operator not in _OPERATORS[name]:
        raise _Unreadable
    if name in _FLAGS:
        if literal not in {"true", "false"}:
            raise _Unreadable
        is_true = (operator == "==") == (literal == "true")
        condition = _Condition(name, "==")
        if is_true:
            return condition
        return _negate(condition)
    texts = [text[1:-1] for text in _TEXT.findall(literal)]
    if name in _NUMBERS and literal[0].isdigit():
        texts = [literal]
    elif name in _NUMBERS or not texts:
        raise _Unreadable
    try:
        value = _READERS[name](operator, texts)
    except (Invalid, InvalidSpecifier, OverflowError, ValueError) as error:
        raise _Unreadable from error
    return _Condition(name, operator, literal, value)


def _negate(condition: _Condition) -> _Condition:
    """Return the opposite of a condition, which has no `not`."""
    # an order of versions has no opposite: 2.0rc1 is neither `< "2.0"` nor `>= "2.0"`
    if condition.field == "version" and condition.operator in _ORDER:
        return replace(condition, is_negated=True)
    return replace(condition, operator=_OPPOSITES[condition.operator])


def _group(terms: Sequence[_Term], *, needs_all: bool) -> _Term:
    """Return the group of `terms`, with groups of its kind merged, or the term if there is one."""
    parts = list[_Term]()
    for term in terms:
        if isinstance(term, _Group) and term.needs_all == needs_all:
            parts += term.parts
        else:
            parts.append(term)
    if len(parts) == 1:
        return parts[0]
    word = " or "
    if needs_all:
        word = " and "
    return _Group(
        needs_all=needs_all,
        parts=tuple(parts),
        text=word.join(map(_in_parentheses, parts)),
        depth=1 + max(map(_depth, parts)),
    )


def _in_parentheses(term: _Term) -> str:
    """Return the text of a part of a group, with parentheses around a group."""
    if isinstance(term, _Group):
        return f"({term})"
    return str(term)


def _depth(term: _Term) -> int:
    """Return how deep groups are nested in a term, where a condition alone is 0."""
    if not isinstance(term, _Group):
        return 0
    return term.depth


def _read_names(_: str, texts: Sequence[str]) -> NamePatterns:
    return parse_name_patterns(texts)


def _read_versions(operator: str, texts: Sequence[str]) -> tuple[str, ...]:
    """Return versions, or raise InvalidSpecifier if no specifier with the operator has one."""
    comparison = operator if operator in _ORDER else "=="
    if any(text.startswith("=") for text in texts):  # `===` compares texts
        raise _Unreadable
    return tuple(Specifier(f"{comparison}{text}").version for text in texts)


def _read_licences(_: str, texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(text.strip() for text in parse_licence_patterns(texts).texts)


def _read_age(_: str, texts: Sequence[str]) -> float:
    return _number(texts[0], MAX_AGE_DAYS)


def _read_severity(_: str, texts: Sequence[str]) -> float:
    return _number(texts[0], MAX_SEVERITY)


def _number(text: str, limit: int) -> float:
    """Return the number of a text, or raise _Unreadable if it is above a limit."""
    number = float(text)
    if number > limit:
        raise _Unreadable
    return number


def _read_span(_: str, texts: Sequence[str]) -> _Span:
    """
    Return a date as a whole day in UTC, or a time, which is in UTC if it has no offset.

    Raises OverflowError or ValueError for a text that is neither, or an impossible one.
    """
    (text,) = texts
    if _DATE.fullmatch(text):
        day = date.fromisoformat(text)
        first = datetime.combine(day, time.min, UTC)
        return _Span(first, datetime.combine(day, time.max, UTC))
    if not _TIME.fullmatch(text):
        raise _Unreadable
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    moment = moment.astimezone(UTC)
    return _Span(moment, moment)


_READERS: Final[Mapping[str, Callable[[str, Sequence[str]], Any]]] = {
    "name": _read_names,
    "version": _read_versions,
    "age_days": _read_age,
    "uploaded": _read_span,
    "licence": _read_licences,
    "severity": _read_severity,
}
"""
For each field, the function that returns the value with which an operator compares the field.

It raises _Unreadable, Invalid, InvalidSpecifier, OverflowError or ValueError for a wrong text.
"""


def _terms_of_filter(root: _Term) -> Sequence[_Term]:
    """Return the terms of a filter, which all have to hold."""
    if isinstance(root, _Group) and root.needs_all:
        return root.parts
    return (root,)


def _joined_names(term: _Term) -> _Term:
    """Return `name in [...]` for `name == "a" or name == "b"`, and any other term unchanged."""
    if isinstance(term, _Condition):
        return term
    patterns = list[str]()
    # the conditions of a term are joined by `or`
    for condition in term.parts:
        if not isinstance(condition, _Condition) or condition.field != "name":
            return term
        if condition.operator not in _LISTED:
            return term
        patterns += condition.value.texts
    literal = _toml_value(tuple(patterns))
    return _Condition("name", "in", literal, parse_name_patterns(patterns))


def _keys_of_names(conditions: _Conditions) -> _CoveringKeys:
    """Return the keys for conditions about names, and the conditions that they stand for."""
    allowing = [condition for condition in conditions if condition.operator in _LISTED]
    denying = [condition for condition in conditions if condition.operator not in _LISTED]
    keys = dict[str, Any]()
    if denying:
        denied = list[str]()
        for condition in denying:
            denied += condition.value.texts
        keys["deny"] = _without_duplicates(denied)
    allowed = _common_names([condition.value for condition in allowing])
    if not allowed:  # an empty list would allow all names
        return keys, denying
    return keys | {"allow": allowed}, conditions


def _common_names(lists: Sequence[NamePatterns]) -> tuple[str, ...]:
    """Return patterns of the names that are in all lists, or none if no patterns say that."""
    for patterns in lists:
        if all(_is_comparable(text, lists) for text in patterns.texts):
            common = list[str]()
            for text in patterns.texts:
                # a pattern matches itself as if it were a name
                name = NormalizedName(text)
                if all(list_of_names.match(name) for list_of_names in lists):
                    common.append(text)
            return tuple(common)
    return ()


def _is_comparable(text: str, lists: Sequence[NamePatterns]) -> bool:
    """Return whether a pattern is a single name, or is itself in all lists."""
    is_name = not _WILDCARD.search(text)
    return is_name or all(text in patterns.texts for patterns in lists)


def _keys_of_versions(conditions: _Conditions) -> _CoveringKeys:
    """Return the key for conditions about versions, and the conditions that it stands for."""
    covered = list[_Condition]()
    specifiers = list[str]()
    for condition in conditions:
        specifiers_of_one = _specifiers(condition)
        if specifiers_of_one:
            covered.append(condition)
            specifiers += specifiers_of_one
    if not covered:
        return _NOTHING_COVERED
    return {"versions": {EVERY_PROJECT: ",".join(_without_duplicates(specifiers))}}, covered


def _specifiers(condition: _Condition) -> tuple[str, ...]:
    """Return the specifiers that together equal a condition about versions, or none."""
    versions = _without_duplicates(condition.value)
    operator = condition.operator
    is_choice = operator in _LISTED and len(versions) > 1
    if condition.is_negated or is_choice:
        return ()
    comparison = {"in": "==", "not in": "!="}.get(operator, operator)
    return tuple(f"{comparison}{version}" for version in versions)


def _keys_of_ages(conditions: _Conditions) -> _CoveringKeys:
    """Return the key for conditions about ages, and the conditions that it stands for."""
    days = 0
    for age in conditions:
        # a cooldown is of whole days, and a file of just that age is shown
        if age.operator == ">=" and age.value % 1 == 0:
            days = max(days, int(age.value))
    # a cooldown of 0 days would list files of the future, and files without a time of upload
    if not days:
        return _NOTHING_COVERED
    # what is older than seven days is older than six and a half
    covered = list[_Condition]()
    for age in conditions:
        is_lower = age.operator in {">", ">="} and age.value < days
        if is_lower or (age.operator == ">=" and age.value == days):
            covered.append(age)
    return {"cooldown_days": days}, covered


def _keys_of_times(conditions: _Conditions) -> _CoveringKeys:
    """Return the key for conditions about times, and the conditions that it stands for."""
    ends = list[datetime]()
    covered = list[_Condition]()
    for condition in conditions:
        end = _last_moment(condition)
        if end is not None:
            ends.append(end)
            covered.append(condition)
    if not ends:
        return _NOTHING_COVERED
    # the first end hides all that a later one does
    return {"snapshot": _text_of_moment(min(ends))}, covered


def _last_moment(condition: _Condition) -> datetime | None:
    """Return the last moment at which a condition about a time holds, or None without one."""
    span: _Span = condition.value
    if condition.operator == "<" and span.first > _BEGINNING:
        return span.first - _INSTANT
    if condition.operator != "<=":
        return None
    return span.last


def _text_of_moment(moment: datetime) -> str:
    """Return a moment as keys have it: a date, which means its end, or a time in UTC."""
    if moment.time() == time.max:
        return moment.date().isoformat()
    return moment.isoformat().replace("+00:00", "Z")


def _keys_of_scores(conditions: _Conditions) -> _CoveringKeys:
    """Return the key for conditions about scores, and the conditions that it stands for."""
    covered = [condition for condition in conditions if _lowest_hidden(condition)]
    if not covered:
        return _NOTHING_COVERED
    lowest_hidden = min(map(_lowest_hidden, covered))
    return {"min_cvss": lowest_hidden}, covered


def _lowest_hidden(condition: _Condition) -> float:
    """Return the lowest score for which a condition does not hold, or 0 if there is none."""
    score: float = condition.value
    if condition.operator == "<":
        return score
    is_zero = condition.operator == "==" and score == 0
    is_limit = condition.operator == "<=" or is_zero
    if not is_limit or score >= MAX_SEVERITY:
        return 0.0
    # the next score, as CVSS has scores in tenths
    return (int(score * 10) + 1) / 10


def _keys_of_licences(conditions: _Conditions) -> _CoveringKeys:
    """Return the keys for conditions about licences, and the conditions that they stand for."""
    # Both `== "MIT"` and `== "ISC"` allow `MIT OR ISC`, which no common list would allow. So there
    # is a key only if one of the lists includes all others, or is included in all others.
    keys = dict[str, Any]()
    covered = list[_Condition]()
    allowing = [condition for condition in conditions if condition.operator in _LISTED]
    if allowing:
        shortest = min(allowing, key=_count_licences)
        if all(_licence_set(shortest) <= _licence_set(condition) for condition in allowing):
            keys["allowed_licenses"] = shortest.value
            covered += allowing
    blocking = [condition for condition in conditions if condition.operator not in _LISTED]
    if blocking:
        longest = max(blocking, key=_count_licences)
        if all(_licence_set(condition) <= _licence_set(longest) for condition in blocking):
            keys["blocked_licenses"] = longest.value
            covered += blocking
    return keys, covered


def _count_licences(condition: _Condition) -> int:
    return len(_licence_set(condition))


def _licence_set(condition: _Condition) -> frozenset[str]:
    """Return the licences in a condition, for a comparison with other conditions."""
    licences = frozenset(text.lower() for text in condition.value)
    # each list of blocked licences blocks a licence that is not known
    if condition.operator in _LISTED:
        return licences
    return licences - {BLOCK_UNKNOWN}


def _keys_of_flags(conditions: _Conditions) -> _CoveringKeys:
    """Return the keys for conditions about flags, and the conditions that they stand for."""
    keys = dict[str, Any]()
    covered = list[_Condition]()
    for condition in conditions:
        row = _KEY_OF_FLAG.get((condition.field, condition.operator))
        if row is not None:
            name, value = row
            keys[name] = value
            covered.append(condition)
    return keys, covered


_FINDERS: Final[Mapping[str, Callable[[_Conditions], _CoveringKeys]]] = {
    "name": _keys_of_names,
    "version": _keys_of_versions,
    "age_days": _keys_of_ages,
    "uploaded": _keys_of_times,
    "licence": _keys_of_licences,
    "severity": _keys_of_scores,
} | dict.fromkeys(_FLAGS, _keys_of_flags)
"""For each field, the function that returns the keys for conditions about this field."""


def _without_duplicates(texts: Iterable[str]) -> tuple[str, ...]:
    """Return texts in their order, each once."""
    return tuple(dict.fromkeys(texts))


def _toml_value(value: object) -> str:
    """Return a value in TOML."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", r"\u007f")
        case tuple():
            return f"[{', '.join(map(_toml_value, value))}]"
        case dict():
            members = (
                f"{_toml_value(key)} = {_toml_value(member)}" for key, member in value.items()
            )
            return f"{{{', '.join(members)}}}"
    return f"{value:.6f}".rstrip("0").rstrip(".")
