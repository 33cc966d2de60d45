"""
What filters of earlier versions meant, told again without their code.

A filter is a tree here, which is written as text for the reader of today, and judged as it is. So
neither the old package nor the reader of today decides what is right.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from random import Random
from typing import Final, NamedTuple

from packaging.specifiers import Specifier
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import InvalidVersion, Version

NOW: Final = datetime(2026, 1, 10, 12, tzinfo=UTC)
DAY: Final = timedelta(days=1)
INSTANT: Final = timedelta(microseconds=1)

UNREADABLE: Final = "unreadable"
LOOKED_UP_LATER: Final = "looked up later"
LICENCES: Final = {
    "MIT": [["MIT"]],
    "ISC": [["ISC"]],
    "GPL-3.0-only": [["GPL-3.0-only"]],
    "MIT OR GPL-3.0-only": [["MIT"], ["GPL-3.0-only"]],
    "MIT AND GPL-3.0-only": [["MIT", "GPL-3.0-only"]],
    "MIT OR ISC": [["MIT"], ["ISC"]],
    "MIT AND ISC": [["MIT", "ISC"]],
    "MIT AND (ISC OR GPL-2.0-only)": [["MIT", "ISC"], ["MIT", "GPL-2.0-only"]],
    "AGPL-3.0-only OR GPL-3.0-only": [["AGPL-3.0-only"], ["GPL-3.0-only"]],
    "GPL-3.0-only WITH GCC-exception-3.1": [["GPL-3.0-only WITH GCC-exception-3.1"]],
}
"""Licences of files, and the choices that each gives: all licences of a choice have to be met."""
OLD_GNU: Final = {"gpl-3.0": "gpl-3.0-only"}
"""A pattern that means another one, as the name of the licence has changed."""


class OldFile(NamedTuple):
    """What filters knew of a file."""

    name: NormalizedName
    version: str
    uploaded_at: datetime | None
    licence: str
    """One of `LICENCES`, empty, `UNREADABLE` or `LOOKED_UP_LATER`."""
    severity: float
    is_private: bool
    is_approved: bool
    is_attested: bool
    is_yanked: bool


class Condition(NamedTuple):
    """A field that is compared with texts, with a number, or with nothing if it is a flag."""

    field: str
    operator: str = ""
    literals: tuple[str, ...] = ()
    """Without quotes. Only `in` and `not in` have several."""


class Joined(NamedTuple):
    """Parts that all have to hold (`and`), or of which one has to (`or`)."""

    word: str
    parts: "tuple[Filter, ...]"


class Opposite(NamedTuple):
    """`not` and what stands behind it."""

    part: "Filter"


Filter = Condition | Joined | Opposite


def write(tree: Filter, draw: Random) -> str:
    """Return a filter as text, in one of the ways in which people write it."""
    if isinstance(tree, Opposite):
        return f"not ({write(tree.part, draw)})"
    if isinstance(tree, Joined):
        texts = (
            write(part, draw) if isinstance(part, Condition) else f"({write(part, draw)})"
            for part in tree.parts
        )
        return draw.choice([" {} ", "\n{} ", " {}\t"]).format(tree.word).join(texts)
    if not tree.operator:
        return draw.choice([tree.field, f"{tree.field} == true", f"{tree.field} != false"])
    if tree.field in {"age_days", "severity"}:
        return f"{tree.field} {tree.operator} {tree.literals[0]}"
    quote = draw.choice("\"'")
    quoted = [f"{quote}{text}{quote}" for text in tree.literals]
    if tree.operator in {"in", "not in"}:
        return f"{tree.field} {tree.operator} [{', '.join(quoted)}{draw.choice(['', ','])}]"
    return f"{tree.field}{draw.choice(['', ' '])}{tree.operator} {quoted[0]}"


def lists(tree: Filter, file: OldFile, now: datetime) -> bool:
    """Return whether a file was listed: not if that depended on a fact that was not known."""
    return _holds(tree, file, now) is True


def _holds(tree: Filter, file: OldFile, now: datetime, *, is_negated: bool = False) -> bool | None:
    """Return whether a filter, or its opposite, holds, or None if nobody knows."""
    if isinstance(tree, Opposite):
        return _holds(tree.part, file, now, is_negated=not is_negated)
    if isinstance(tree, Joined):
        results = [_holds(part, file, now, is_negated=is_negated) for part in tree.parts]
        # one result decides: False of an `and`, True of an `or`, and each other way under `not`
        decisive = (tree.word == "or") != is_negated
        if decisive in results:
            return decisive
        return None if None in results else not decisive
    if tree.field == "licence":
        return _licence_holds(tree, file.licence, is_negated=is_negated)
    result = _JUDGES[tree.field](tree, file, now)
    return None if result is None else result != is_negated


def _name_holds(condition: Condition, file: OldFile, _: datetime) -> bool:
    patterns = map(canonicalize_name, condition.literals)
    is_among = any(fnmatchcase(file.name, pattern) for pattern in patterns)
    return is_among == (condition.operator in {"==", "in"})


def _version_holds(condition: Condition, file: OldFile, _: datetime) -> bool | None:
    try:
        version = Version(file.version)
    except InvalidVersion:
        return None
    operator = {"in": "==", "not in": "!="}.get(condition.operator, condition.operator)
    fits = [
        Specifier(f"{operator}{literal}").contains(version, prereleases=True)
        for literal in condition.literals
    ]
    return any(fits) if condition.operator == "in" else all(fits)


def _compare(operator: str, first: object, second: object) -> bool:
    """Return whether two values of one type, which have an order, stand in it as told."""
    results: dict[str, bool] = {
        "==": first == second,
        "!=": first != second,
        "<": first < second,  # type: ignore[operator]
        "<=": first <= second,  # type: ignore[operator]
        ">": first > second,  # type: ignore[operator]
        ">=": first >= second,  # type: ignore[operator]
    }
    return results[operator]


def _age_holds(condition: Condition, file: OldFile, now: datetime) -> bool | None:
    if file.uploaded_at is None:
        return None
    days = timedelta(days=float(condition.literals[0]))
    return _compare(condition.operator, now - file.uploaded_at, days)


def _upload_holds(condition: Condition, file: OldFile, _: datetime) -> bool | None:
    if file.uploaded_at is None:
        return None
    (text,) = condition.literals
    if len(text) == len("2026-01-01"):  # a day is compared with a day
        day = datetime.fromisoformat(text).date()
        return _compare(condition.operator, file.uploaded_at.astimezone(UTC).date(), day)
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return _compare(condition.operator, file.uploaded_at, moment)


def _licence_holds(condition: Condition, licence: str, *, is_negated: bool) -> bool | None:
    if licence == LOOKED_UP_LATER:
        return True
    if licence == UNREADABLE:
        return None
    is_positive = (condition.operator in {"==", "in"}) != is_negated
    if not licence:
        return is_positive if "unknown" in condition.literals else None
    choices = LICENCES[licence]
    named = [[_is_named(condition, member) for member in choice] for choice in choices]
    if is_positive:
        return any(all(choice) for choice in named)
    return any(not any(choice) for choice in named)


def _is_named(condition: Condition, licence: str) -> bool:
    patterns = [text.strip().lower() for text in condition.literals]
    forms = {licence.lower(), licence.lower().partition(" with ")[0]}
    return any(
        fnmatchcase(form, OLD_GNU.get(pattern, pattern)) for pattern in patterns for form in forms
    )


def _severity_holds(condition: Condition, file: OldFile, _: datetime) -> bool:
    return _compare(condition.operator, file.severity, float(condition.literals[0]))


def _prerelease_holds(_: Condition, file: OldFile, __: datetime) -> bool | None:
    try:
        return Version(file.version).is_prerelease
    except InvalidVersion:
        return None


_JUDGES: Final[dict[str, Callable[[Condition, OldFile, datetime], bool | None]]] = {
    "name": _name_holds,
    "version": _version_holds,
    "age_days": _age_holds,
    "uploaded": _upload_holds,
    "severity": _severity_holds,
    "prerelease": _prerelease_holds,
    "approved": lambda _, file, __: file.is_approved,
    "attested": lambda _, file, __: file.is_attested,
    "yanked": lambda _, file, __: file.is_yanked,
}

# --- random ones ----------------------------------------------------------------------------------

NAMES: Final = ("acme-core", "acme-x", "tools", "numpy")
VERSIONS: Final = (
    "1.0",
    "1.0.1",
    "1.0+cpu",
    "1.0.post1",
    "1.5",
    "2.0.dev1",
    "2.0rc1",
    "2.0",
    "dog",
)
SCORES: Final = (0.0, 0.1, 4.0, 6.9, 7.5, 8.9, 9.0, 9.1, 10.0)
AGES: Final = (timedelta(0), 0.5 * DAY, 6.5 * DAY, 7 * DAY, 8 * DAY, 9.5 * DAY, 14 * DAY, -DAY)
_MEMBERSHIP: Final = ("==", "!=", "in", "not in")
_ORDER: Final = ("<", "<=", ">", ">=")
_FIELDS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "name": (_MEMBERSHIP, ("acme-core", "Acme_*", "acme-*", "tools", "t?ols", "*", "num*", "none")),
    "version": (
        (*_MEMBERSHIP, *_ORDER),
        ("1.0", "1.5", "2.0", "2", "2.0rc1", "1.0.post1", "1.*", "1.0+cpu", "1.0.*"),
    ),
    "age_days": (
        (">=", ">=", *_ORDER),
        ("0", "0.5", "6.999999", "7", "7", "7.0", "8", "14", "36500"),
    ),
    "uploaded": (
        ("<", "<=", *_ORDER),
        (
            "2026-01-01",
            "2026-01-02",
            "2026-01-03",
            "2026-01-02T12:00",
            "2026-01-02 12:00:00Z",
            "2026-01-03T02:00+02:00",
            "0001-01-01",
            "9999-12-31",
        ),
    ),
    "licence": (
        _MEMBERSHIP,
        ("MIT", "mit", "ISC", "GPL-*", "*GPL-*", "GPL-3.0", "unknown", "M*", "Zlib"),
    ),
    "severity": (("<", "==", "!=", *_ORDER), ("0", "0.1", "4", "7.5", "8.9", "8.95", "9", "10")),
}
"""Of each field that is compared with something, the operators and what it is compared with."""
_FLAGS: Final = ("prerelease", "approved", "attested", "yanked")


def random_filter(draw: Random) -> Filter:
    """Return a filter: often what people write, and else any tree."""
    if draw.random() < 0.2:
        return _random_tree(draw, 3)
    parts = list[Filter]()
    for _ in range(draw.choice([1, 1, 2, 2, 3, 4])):
        condition = _random_condition(draw)
        parts.append(_random_part(condition, draw))
        if draw.random() < 0.3:  # keys of one field have to be made of all that is said about it
            parts.append(_random_part(_random_condition(draw, condition.field), draw))
    return parts[0] if len(parts) == 1 else Joined("and", tuple(parts))


def _random_part(condition: Condition, draw: Random) -> Filter:
    if draw.random() < 0.1:
        more = (_random_condition(draw, condition.field) for _ in range(draw.randint(1, 2)))
        return Joined("or", (condition, *more))
    is_flag = condition.field in _FLAGS
    return Opposite(condition) if draw.random() < (0.5 if is_flag else 0.25) else condition


def _random_tree(draw: Random, depth: int) -> Filter:
    kind = draw.random()
    if depth == 0 or kind < 0.3:
        return _random_condition(draw)
    if kind < 0.5:
        return Opposite(_random_tree(draw, depth - 1))
    parts = (_random_tree(draw, depth - 1) for _ in range(draw.randint(2, 3)))
    return Joined(draw.choice(["and", "or"]), tuple(parts))


def _random_condition(draw: Random, field: str = "") -> Condition:
    field = field or draw.choice([*_FIELDS, *_FLAGS])
    if field in _FLAGS:
        return Condition(field)
    operators, literals = _FIELDS[field]
    operator = draw.choice(operators)
    if operator in {"in", "not in"}:
        return Condition(field, operator, tuple(draw.choices(literals, k=draw.randint(1, 3))))
    if operator in _ORDER and field == "version":  # which `1.*` and local versions have not
        literals = literals[:6]
    return Condition(field, operator, (draw.choice(literals),))


def random_file(draw: Random) -> OldFile:
    """Return a file that is often near to a limit of the filters."""
    is_private = draw.random() < 0.3
    uploaded_at = NOW - draw.choice(AGES) + draw.choice([-INSTANT, 0 * INSTANT, INSTANT])
    licence = draw.choice([*LICENCES, "", UNREADABLE, LOOKED_UP_LATER])
    return OldFile(
        name=canonicalize_name(draw.choice(NAMES)),
        version=draw.choice(VERSIONS),
        uploaded_at=None if draw.random() < 0.1 else uploaded_at,
        licence="MIT" if draw.random() < 0.3 else licence,
        severity=0.0 if is_private else draw.choice(SCORES),
        is_private=is_private,
        is_approved=is_private or draw.random() < 0.5,
        is_attested=not is_private and draw.random() < 0.5,
        is_yanked=draw.random() < 0.3,
    )
