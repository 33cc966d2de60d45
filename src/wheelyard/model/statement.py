"""
What a job's signed statement has to say: rules, each over one claim.

A rule fails closed: a claim that is missing, null, of another type or not the very text does not
hold, and nothing is normalised but the case of ASCII letters where a provider ignores it (other
letters have look-alikes that fold into ASCII). A refusal repeats what was received, never what was
expected: the statement is its bearer's already, the configuration is not.
"""

import re
import string
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from wheelyard.errors import quoted

Claims = Mapping[str, object]
"""The payload of a statement whose signature holds."""

NEVER: Final = ("pull_request", "merge_request", "external_pull_request")
"""How events begin that never publish: the code that they run may be a stranger's."""

_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_WORKFLOWS: Final = "/.github/workflows/"
_REVISION: Final = re.compile(r"refs/.+|[0-9a-f]{40}|[0-9a-f]{64}", re.DOTALL)
"""What follows the `@`; a workflow's filename has no slash, so `a.yml@b@refs/x` is not `a.yml`."""
_LATEST: Final = 4102444800
"""Seconds since the epoch: the year 2100, so that every time can be reckoned with."""


class Rule(Protocol):
    """What one claim has to be."""

    @property
    def claim(self) -> str:
        """Its name; dots lead into nested objects."""
        ...

    def holds(self, value: object, claims: Claims) -> bool:
        """Return whether `value`, None where there is none, will do among `claims`."""
        ...


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The first rule of a publisher that a statement breaks."""

    passed: int
    """Rules before it, all of which held."""
    claim: str
    received: object
    remedy: str = ""

    @property
    def words(self) -> str:
        """What its bearer may be shown."""
        if self.received is None:
            return f"the claim {self.claim} is not there"
        return f"the claim {self.claim} is {quoted(self.received)}{self.remedy}"


@dataclass(frozen=True, slots=True)
class Is:
    """The claim is this text or truth value."""

    claim: str
    expected: str | bool
    ignores_case: bool = False
    """Of ASCII letters."""
    may_be_missing: bool = False

    def holds(self, value: object, claims: Claims) -> bool:
        """Return whether it is."""
        del claims
        if value is None:
            return self.may_be_missing
        if self.ignores_case and isinstance(value, str) and isinstance(self.expected, str):
            return folded(value) == folded(self.expected)
        return type(value) is type(self.expected) and value == self.expected


@dataclass(frozen=True, slots=True)
class IsLike:
    """The claim is a text, or begins with what stands before the pattern's one trailing star."""

    claim: str
    pattern: str
    looks_into_lists: bool = False
    """Whether a list will do that holds such a text."""

    def holds(self, value: object, claims: Claims) -> bool:
        """Return whether it is."""
        del claims
        if self.looks_into_lists and isinstance(value, list):
            return any(_is_like(self.pattern, each) for each in value)
        return _is_like(self.pattern, value)


@dataclass(frozen=True, slots=True)
class IsOneOf:
    """The claim is one of these texts."""

    claim: str
    expected: tuple[str, ...]

    def holds(self, value: object, claims: Claims) -> bool:
        """Return whether it is."""
        del claims
        return isinstance(value, str) and value in self.expected


@dataclass(frozen=True, slots=True)
class IsEvent:
    """The claim names what started the job, and it is one of the listed events."""

    claim: str
    listed: tuple[str, ...]

    def holds(self, value: object, claims: Claims) -> bool:
        """Return whether it does."""
        del claims
        return isinstance(value, str) and value in self.listed

    def remedy(self, value: object) -> str:
        """Return what a message says after the claim: how to publish nevertheless."""
        if not isinstance(value, str):
            return ""
        if value.startswith(NEVER):
            return ", and nothing is published from it. Publish from a push instead"
        return (
            ", which the [[publisher]] does not list. Publish from a push, or ask the operator of "
            "this index to add it to events of the [[publisher]]"
        )


@dataclass(frozen=True, slots=True)
class IsWorkflow:
    """
    The claim names a workflow's file in the repository that the statement is about.

    The repository's name is the statement's own, because its ids have been compared by then: it may
    have been renamed.
    """

    claim: str
    file: str

    def holds(self, value: object, claims: Claims) -> bool:
        """Return whether it does."""
        repository = claims.get("repository")
        if not isinstance(value, str) or not isinstance(repository, str) or not repository:
            return False
        revision = _after(value, repository, f"{_WORKFLOWS}{self.file}@")
        return revision is not None and _REVISION.fullmatch(revision) is not None


@dataclass(frozen=True, slots=True)
class IsCalledWorkflow:
    """The claim is the calling workflow itself, or a reusable one that is listed."""

    claim: str
    listed: tuple[str, ...]

    def holds(self, value: object, claims: Claims) -> bool:
        """Return whether it is."""
        if not isinstance(value, str):
            return False
        caller = claims.get("workflow_ref")
        return value == caller or any(_is_like(each, value) for each in self.listed)


@dataclass(frozen=True, slots=True)
class IsPipelineFile:
    """The claim names GitLab's pipeline file, in the project and at the revision of the job."""

    claim: str
    project: str
    """Host and path."""
    file: str

    def holds(self, value: object, claims: Claims) -> bool:
        """Return whether it does."""
        if not isinstance(value, str):
            return False
        revision = _after(value, self.project, f"//{self.file}@")
        return bool(revision) and revision in (claims.get("ref_path"), claims.get("sha"))


@dataclass(frozen=True, slots=True)
class LivesAtMost:
    """The statement was made to live for at most so many seconds."""

    seconds: int
    claim: str = "exp"

    def holds(self, value: object, claims: Claims) -> bool:
        """Return whether it was."""
        issued_at, expires_at = moment(claims.get("iat")), moment(value)
        if issued_at is None or expires_at is None:
            return False
        return expires_at - issued_at <= self.seconds


def first_mismatch(rules: Iterable[Rule], claims: Claims) -> Mismatch | None:
    """Return the first of `rules` that `claims` break, None if all hold."""
    for passed, rule in enumerate(rules):
        value = find(claims, rule.claim)
        if not rule.holds(value, claims):
            remedy = rule.remedy(value) if isinstance(rule, IsEvent) else ""
            return Mismatch(passed, rule.claim, value, remedy)
    return None


def find(claims: Claims, name: str) -> object:
    """
    Return a claim, None where there is none.

    A dot leads into a nested object, or is part of a name (`kubernetes.io.namespace`). What can be
    read in two ways is taken for missing, lest the bearer chooses between them.
    """
    readings = list(_readings(claims, name))
    return readings[0] if len(readings) == 1 else None


def moment(value: object) -> float | None:
    """Return a claim that is a time, in seconds since the epoch, None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < _LATEST else None


def folded(text: str) -> str:
    """Return `text` with its ASCII letters in lower case."""
    return text.translate(_LOWER)


def _readings(claims: Claims, name: str) -> Iterator[object]:
    value = claims.get(name)
    if value is not None:
        yield value
    for dot in (at for at, character in enumerate(name) if character == "."):
        inner = claims.get(name[:dot])
        if isinstance(inner, Mapping):
            yield from _readings(inner, name[dot + 1 :])


def _is_like(pattern: str, value: object) -> bool:
    if not isinstance(value, str):
        return False
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern


def _after(value: str, head: str, middle: str) -> str | None:
    """Return what follows `head`, in any case of its letters, and `middle`; None if they do not."""
    rest = value[len(head) :]
    if folded(value[: len(head)]) != folded(head) or not rest.startswith(middle):
        return None
    return rest[len(middle) :]
