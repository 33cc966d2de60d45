"""
A parsed filter: conditions about facts, joined by `and` and `or`.

A condition holds, does not hold, or nobody knows (None), as three-valued logic has it. A file is
shown only if the whole filter holds. The parser has moved each `not` to the conditions, so that the
reason why a file is hidden is always a list of conditions.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.specifiers import Specifier
from packaging.version import InvalidVersion, Version

from wheelyard.model.access import NamePatterns
from wheelyard.model.licences import UNREADABLE, LicencePatterns
from wheelyard.model.view_filter.facts import LOOKED_UP_LATER, FileFacts

_FOREVER: Final = datetime.max.replace(tzinfo=UTC) - timedelta(days=2)
_INSTANT: Final = timedelta(microseconds=1)


class Condition(Struct, frozen=True, kw_only=True):
    """A condition about one field."""

    field: str
    operator: str
    """`==`, `in`, `<`, `<=`, `>` or `>=`."""
    negated: bool = False

    def __str__(self) -> str:
        """The condition as the language has it."""
        operators = {"==": "!=", "in": "not in"} if self.negated else {}
        text = f"{self.field} {operators.get(self.operator, self.operator)} {self.literal}"
        return f"not {text}" if self.negated and self.operator not in operators else text

    @property
    def literal(self) -> str:
        """The value that it compares with, as the language has it."""
        raise NotImplementedError

    @property
    def conditions(self) -> "Iterator[Condition]":
        """This condition alone."""
        yield self

    def negate(self) -> "Condition":
        """Return the condition that holds if this one does not."""
        return replace(self, negated=not self.negated)

    def holds(self, facts: FileFacts, now: datetime) -> bool | None:
        """Return whether it holds, or None if the fact is not known."""
        result = self._compare(facts, now)
        return result if result is None else result != self.negated

    def failures(self, facts: FileFacts, now: datetime) -> Iterator[str]:
        """Yield in words why it does not hold, if so."""
        if not self.holds(facts, now):
            yield f"{self} does not hold, as {self._fact(facts)}"

    def changes_at(self, facts: FileFacts, now: datetime) -> datetime | None:  # noqa: ARG002
        """Return when time alone changes whether it holds, or None if it never does."""
        return None

    def _compare(self, facts: FileFacts, now: datetime) -> bool | None:
        """Return whether it holds if it is not negated, or None if the fact is not known."""
        raise NotImplementedError

    def _fact(self, facts: FileFacts) -> str:
        """Return in words what is known of the field."""
        raise NotImplementedError


class NameCondition(Condition, frozen=True, kw_only=True):
    """The name of the project is among patterns."""

    patterns: NamePatterns

    @property
    def literal(self) -> str:
        """The pattern, or the list of them."""
        return _literal(self.operator, self.patterns.texts)

    def _compare(self, facts: FileFacts, _: datetime) -> bool:
        return self.patterns.match(facts.name)

    def _fact(self, facts: FileFacts) -> str:
        return f"the name is {facts.name}"


class VersionCondition(Condition, frozen=True, kw_only=True):
    """The version fits one of some specifiers, as PEP 440 compares them."""

    specifiers: tuple[Specifier, ...]

    @property
    def literal(self) -> str:
        """The version, or the list of them."""
        return _literal(self.operator, (specifier.version for specifier in self.specifiers))

    def _compare(self, facts: FileFacts, _: datetime) -> bool | None:
        try:
            version = Version(facts.version)
        except InvalidVersion:
            return None
        return any(specifier.contains(version, prereleases=True) for specifier in self.specifiers)

    def _fact(self, facts: FileFacts) -> str:
        return f"the version is {facts.version}"


class TimeCondition(Condition, frozen=True, kw_only=True):
    """The file was uploaded before or after a time, or a whole day in UTC."""

    text: str
    first: datetime
    """The beginning of the day, or the time."""
    last: datetime
    """The last instant of the day, or the time."""

    @property
    def literal(self) -> str:
        """The date or time."""
        return f'"{self.text}"'

    def _compare(self, facts: FileFacts, _: datetime) -> bool | None:
        at = facts.uploaded_at
        if at is None:
            return None
        return {
            "<": at < self.first,
            "<=": at <= self.last,
            ">": at > self.last,
            ">=": at >= self.first,
        }[self.operator]

    def _fact(self, facts: FileFacts) -> str:
        return _uploaded(facts.uploaded_at)


class AgeCondition(Condition, frozen=True, kw_only=True):
    """The file was uploaded a number of days ago."""

    days: float

    @property
    def literal(self) -> str:
        """The number."""
        return _number(self.days)

    def changes_at(self, facts: FileFacts, now: datetime) -> datetime | None:
        """Return when the file gets older than the number of days, if that is to come."""
        if facts.uploaded_at is None:
            return None
        # at the very moment of the limit, `>` and `<=` have not changed yet
        limit = self._limit(facts.uploaded_at)
        limit += _INSTANT if self.operator in {">", "<="} else timedelta()
        return limit if limit > now else None

    def _compare(self, facts: FileFacts, now: datetime) -> bool | None:
        if facts.uploaded_at is None:
            return None
        limit = self._limit(facts.uploaded_at)
        return {
            "<": now < limit,
            "<=": now <= limit,
            ">": now > limit,
            ">=": now >= limit,
        }[self.operator]

    def _limit(self, uploaded_at: datetime) -> datetime:
        try:
            return uploaded_at + timedelta(days=self.days)
        except OverflowError:  # another index may name any time
            return _FOREVER

    def _fact(self, facts: FileFacts) -> str:
        at, fact = facts.uploaded_at, _uploaded(facts.uploaded_at)
        waits = (self.operator in {">", ">="}) != self.negated
        return f"{fact}, so it has to wait until {_time(self._limit(at))}" if at and waits else fact


class LicenceCondition(Condition, frozen=True, kw_only=True):
    """
    The file can be used under licences of a list alone or, negated, without any of the list.

    So `MIT OR GPL-3.0-only` fits both `== "MIT"` and `!= "GPL-*"`. That a licence is not known
    fits where the list has `unknown`.
    """

    patterns: LicencePatterns

    @property
    def literal(self) -> str:
        """The pattern of licences, or the list of them."""
        return _literal(self.operator, self.patterns.texts)

    def holds(self, facts: FileFacts, now: datetime) -> bool | None:  # noqa: ARG002
        """Return whether it holds, or None if the licence is not known."""
        licence = facts.licence
        if licence == LOOKED_UP_LATER:  # the file is judged again before it is sent
            return True
        if licence is None or licence == UNREADABLE:
            return None
        if not licence:
            return not self.negated if self.patterns.blocks_unknown else None
        if self.negated:
            return not self.patterns.blocks(licence)
        return self.patterns.covers(licence)

    def _fact(self, facts: FileFacts) -> str:
        licence = facts.licence if facts.licence != UNREADABLE else ""
        return f"its licence is {licence or 'not known'}"


class SeverityCondition(Condition, frozen=True, kw_only=True):
    """The highest CVSS score of the advisories about the version is below or above a number."""

    score: float

    @property
    def literal(self) -> str:
        """The number."""
        return _number(self.score)

    def _compare(self, facts: FileFacts, _: datetime) -> bool:
        severity = facts.severity
        return {
            "==": severity == self.score,
            "<": severity < self.score,
            "<=": severity <= self.score,
            ">": severity > self.score,
            ">=": severity >= self.score,
        }[self.operator]

    def _fact(self, facts: FileFacts) -> str:
        return f"its severity is {facts.severity:.1f}"


class FlagCondition(Condition, frozen=True, kw_only=True):
    """A fact that is true or false."""

    operator: str = "=="

    def __str__(self) -> str:
        """The name of the field, perhaps with `not` before it."""
        return f"not {self.field}" if self.negated else self.field

    def _compare(self, facts: FileFacts, _: datetime) -> bool | None:
        match self.field:
            case "approved":
                return facts.is_approved
            case "attested":
                return facts.is_attested
            case "yanked":
                return facts.is_yanked
        try:
            return Version(facts.version).is_prerelease
        except InvalidVersion:
            return None

    def _fact(self, facts: FileFacts) -> str:
        if self.field == "prerelease":
            return f"the version is {facts.version}"
        return f"it is {self.field}" if self.negated else f"it is not {self.field}"


class Group(Struct, frozen=True):
    """Conditions and groups of them, of which all have to hold, or one."""

    needs_all: bool
    """Whether they are joined by `and`."""
    parts: "tuple[Condition | Group, ...]"
    """At least two. A group in it is joined by the other word."""

    def __str__(self) -> str:
        """The group as the language has it."""
        return (" and " if self.needs_all else " or ").join(
            f"({part})" if isinstance(part, Group) else str(part) for part in self.parts
        )

    @property
    def conditions(self) -> Iterator[Condition]:
        """All conditions in it."""
        for part in self.parts:
            yield from part.conditions

    @property
    def depth(self) -> int:
        """How many groups are in one another."""
        return 1 + max(part.depth if isinstance(part, Group) else 0 for part in self.parts)

    def negate(self) -> "Group":
        """Return the group that holds if this one does not."""
        return Group(not self.needs_all, tuple(part.negate() for part in self.parts))

    def holds(self, facts: FileFacts, now: datetime) -> bool | None:
        """Return whether it holds, or None if that depends on a fact that is not known."""
        is_known = True
        for part in self.parts:
            result = part.holds(facts, now)
            if result is None:
                is_known = False
            elif result != self.needs_all:
                return result
        return self.needs_all if is_known else None

    def failures(self, facts: FileFacts, now: datetime) -> Iterator[str]:
        """Yield in words why it does not hold, if so: one of the texts for all it takes."""
        failures = [
            " and ".join(part.failures(facts, now))
            for part in self.parts
            if not part.holds(facts, now)
        ]
        if self.needs_all:
            yield from failures
        elif len(failures) == len(self.parts):
            yield ", and ".join(failures)

    def changes_at(self, facts: FileFacts, now: datetime) -> datetime | None:
        """Return the next time at which time alone changes a condition in it, if there is one."""
        times = (condition.changes_at(facts, now) for condition in self.conditions)
        return min(filter(None, times), default=None)


class ViewFilter(Struct, frozen=True):
    """A filter: which files a view shows."""

    root: Condition | Group

    def __str__(self) -> str:
        """The filter as the language has it."""
        return str(self.root)

    @property
    def fields(self) -> frozenset[str]:
        """The fields that it names."""
        return frozenset(condition.field for condition in self.root.conditions)

    def shows(self, facts: FileFacts, now: datetime) -> bool:
        """Return whether a file is shown: not if that depends on a fact that is not known."""
        return self.root.holds(facts, now) is True

    def why_hidden(self, facts: FileFacts, now: datetime) -> tuple[str, ...]:
        """Return in words which conditions hide a file, or nothing if it is shown."""
        return () if self.shows(facts, now) else tuple(self.root.failures(facts, now))

    def changes_at(self, facts: FileFacts, now: datetime) -> datetime | None:
        """
        Return the next time at which the answer about a file may change by time alone.

        Until then `shows` gives the same for the same facts. None means for ever.
        """
        return self.root.changes_at(facts, now)


def group(parts: Iterable[Condition | Group], *, needs_all: bool) -> Condition | Group:
    """Return a group of `parts`, at least one, or the only part. Groups of its kind are merged."""
    merged = list[Condition | Group]()
    for part in parts:
        same = isinstance(part, Group) and part.needs_all == needs_all
        merged += part.parts if isinstance(part, Group) and same else (part,)
    return merged[0] if len(merged) == 1 else Group(needs_all, tuple(merged))


def _literal(operator: str, texts: Iterable[str]) -> str:
    quoted_texts = ", ".join(f'"{text}"' for text in texts)
    return f"[{quoted_texts}]" if operator == "in" else quoted_texts


def _number(number: float) -> str:
    return f"{number:.6f}".rstrip("0").rstrip(".")


def _uploaded(at: datetime | None) -> str:
    return f"it was uploaded on {_time(at)}" if at else "its time of upload is not known"


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
