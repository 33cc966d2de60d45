"""
What a job's signed statement has to say: rules, each over one claim.

A rule fails closed: a claim that is missing, null, of another type or not the very text does not
hold, and nothing is normalised but the case of ASCII letters where a provider ignores it (other
letters have look-alikes that fold into ASCII). A refusal repeats what was received, never what was
expected: the statement is its bearer's already, the configuration is not.
"""

import re
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from wheelyard.errors import quoted

Claims = Mapping[str, object]
"""The payload of a statement whose signature holds."""
ClaimValue = str | bool
"""What a claim may have to be."""

UNTRUSTED_EVENT_PREFIXES: Final = ("pull_request", "merge_request", "external_pull_request")
"""How events begin that never publish: the code that they run may be a stranger's."""

_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_WORKFLOWS: Final = "/.github/workflows/"
_REVISION: Final = re.compile(r"refs/.+|[0-9a-f]{40}|[0-9a-f]{64}", re.DOTALL)
"""What follows the `@`; a workflow's filename has no slash, so `a.yml@b@refs/x` is not `a.yml`."""
_LATEST: Final = 4102444800
"""Seconds since the epoch: the year 2100, so that every time can be reckoned with."""


@dataclass(frozen=True, slots=True)
class ClaimRule:
    """What one claim has to be."""

    claim: str
    """Its name; dots lead into nested objects."""
    accepts: Callable[[object, Claims], bool]
    """Whether a value of it, None where there is none, will do among the claims."""
    remedy: Callable[[object], str] = lambda _: ""
    """What a refusal says after the claim."""


@dataclass(frozen=True, slots=True)
class ClaimMismatch:
    """The first rule of a publisher that a statement breaks."""

    passed: int
    """Rules before it, all of which held."""
    claim: str
    received: object
    remedy: str = ""

    @property
    def description(self) -> str:
        """What its bearer may be shown."""
        if self.received is None:
            return f"the claim {self.claim} is not there"
        return f"the claim {self.claim} is {quoted(self.received)}{self.remedy}"


def equals(
    claim: str, expected: ClaimValue, *, ignores_case: bool = False, may_be_missing: bool = False
) -> ClaimRule:
    """Return the rule that a claim is this text or truth value; the case is that of ASCII."""

    def holds(value: object, _: Claims) -> bool:
        if value is None:
            return may_be_missing
        if ignores_case and isinstance(value, str) and isinstance(expected, str):
            return ascii_lower(value) == ascii_lower(expected)
        return type(value) is type(expected) and value == expected

    return ClaimRule(claim, holds)


def matches_pattern(claim: str, pattern: str, *, looks_into_lists: bool = False) -> ClaimRule:
    """
    Return the rule that a claim is a text, or begins as a pattern with one trailing star does.

    Where it `looks_into_lists`, a list will do that holds such a text.
    """

    def holds(value: object, _: Claims) -> bool:
        if looks_into_lists and isinstance(value, list):
            return any(_is_like(pattern, each) for each in value)
        return _is_like(pattern, value)

    return ClaimRule(claim, holds)


def one_of(claim: str, expected: tuple[str, ...]) -> ClaimRule:
    """Return the rule that a claim is one of these texts."""
    return ClaimRule(claim, lambda value, _: isinstance(value, str) and value in expected)


def event_in(claim: str, listed: tuple[str, ...]) -> ClaimRule:
    """Return the rule that a claim names what started the job, and is one of the listed events."""
    return ClaimRule(claim, one_of(claim, listed).accepts, _other_event)


def workflow_file(claim: str, file: str) -> ClaimRule:
    """
    Return the rule that a claim names a workflow's file in the repository of the statement.

    The repository's name is the statement's own, because its ids have been compared by then: it may
    have been renamed.
    """

    def holds(value: object, claims: Claims) -> bool:
        repository = claims.get("repository")
        if not isinstance(value, str) or not isinstance(repository, str) or not repository:
            return False
        revision = _after(value, repository, f"{_WORKFLOWS}{file}@")
        return revision is not None and _REVISION.fullmatch(revision) is not None

    return ClaimRule(claim, holds)


def reusable_workflow_in(claim: str, listed: tuple[str, ...]) -> ClaimRule:
    """Return the rule that a claim is the calling workflow itself, or a reusable one listed."""

    def holds(value: object, claims: Claims) -> bool:
        if not isinstance(value, str):
            return False
        return value == claims.get("workflow_ref") or any(_is_like(each, value) for each in listed)

    return ClaimRule(claim, holds)


def pipeline_file(claim: str, project: str, file: str) -> ClaimRule:
    """Return the rule that a claim is GitLab's pipeline file, at the revision of the job."""

    def holds(value: object, claims: Claims) -> bool:
        revision = _after(value, project, f"//{file}@") if isinstance(value, str) else None
        return bool(revision) and revision in (claims.get("ref_path"), claims.get("sha"))

    return ClaimRule(claim, holds)


def max_lifetime(seconds: int) -> ClaimRule:
    """Return the rule that a statement was made to live for at most so many seconds."""

    def holds(value: object, claims: Claims) -> bool:
        issued_at, expires_at = numeric_date(claims.get("iat")), numeric_date(value)
        if issued_at is None or expires_at is None:
            return False
        return expires_at - issued_at <= seconds

    return ClaimRule("exp", holds)


def find_claim(claims: Claims, name: str) -> object:
    """
    Return a claim, None where there is none.

    A dot leads into a nested object, or is part of a name (`kubernetes.io.namespace`). What can be
    read in two ways is taken for missing, lest the bearer chooses between them.
    """
    readings = list(_readings(claims, name))
    return readings[0] if len(readings) == 1 else None


def numeric_date(value: object) -> float | None:
    """Return a claim that is a time, in seconds since the epoch, None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < _LATEST else None


def ascii_lower(text: str) -> str:
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
    if ascii_lower(value[: len(head)]) != ascii_lower(head) or not rest.startswith(middle):
        return None
    return rest[len(middle) :]


def _other_event(value: object) -> str:
    """Return how to publish nevertheless."""
    if not isinstance(value, str):
        return ""
    if value.startswith(UNTRUSTED_EVENT_PREFIXES):
        return ", and nothing is published from it. Publish from a push instead"
    return (
        ", which the [[publisher]] does not list. Publish from a push, or ask the operator of "
        "this index to add it to events of the [[publisher]]"
    )
