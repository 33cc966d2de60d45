"""
Checks of single claims in a CI job's ID token.

A check fails if the claim is of another type, or missing or null where the rule does not allow it.
Nothing is normalized except the case of ASCII letters, where a provider ignores it: other letters
have look-alikes that fold into ASCII. An error message repeats the received claim, which its sender
knows, and never the expected one, which is configuration.
"""

import re
import string
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from msgspec import Struct

from wheelyard.errors import quoted

Claims = Mapping[str, object]
"""The payload of a JWT."""
ClaimValue = str | bool
"""The expected value of a claim."""

UNTRUSTED_EVENT_PREFIXES: Final = ("pull_request", "merge_request", "external_pull_request")
"""Beginnings of events whose jobs get no token, as they may run the code of a stranger."""

_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_WORKFLOWS: Final = "/.github/workflows/"
_REVISION: Final = re.compile(r"refs/.+|[0-9a-f]{40}|[0-9a-f]{64}", re.DOTALL)
"""The text after `@`. A workflow's filename has no slash, so `a.yml@b@refs/x` is not `a.yml`."""
_MAX_DATE: Final = 4102444800
"""The year 2100, in seconds since the epoch, so that arithmetic with times cannot fail."""


class ClaimRule(Struct, frozen=True):
    """A condition on one claim of an ID token."""

    claim: str
    """The name; dots lead into nested objects."""
    accepts: Callable[[object, Claims], bool]
    """Whether a value of the claim (None if missing) is right, among all the claims."""
    remedy: Callable[[object], str] = lambda _: ""
    """The end of the error message for a value."""


class ClaimMismatch(Struct, frozen=True):
    """The first rule of a publisher that an ID token breaks: its claim, the value and a remedy."""

    passed: int
    """The number of satisfied rules before it."""
    claim: str
    received: object
    remedy: str = ""

    @property
    def description(self) -> str:
        """A clause for the client: the claim, its received value, and the remedy."""
        if self.received is None:
            return f"the claim {self.claim} is not there"
        return f"the claim {self.claim} is {quoted(self.received)}{self.remedy}"


def equals(
    claim: str, expected: ClaimValue, *, ignores_case: bool = False, may_be_missing: bool = False
) -> ClaimRule:
    """
    Return the rule that a claim equals `expected`, in type and value.

    With `ignores_case`, ASCII letters match in either case. With `may_be_missing`, the claim may be
    missing or null.
    """

    def accepts(value: object, _: Claims) -> bool:
        if value is None:
            return may_be_missing
        if ignores_case and isinstance(value, str) and isinstance(expected, str):
            return ascii_lower(value) == ascii_lower(expected)
        return type(value) is type(expected) and value == expected

    return ClaimRule(claim, accepts)


def matches_pattern(claim: str, pattern: str, *, looks_into_lists: bool = False) -> ClaimRule:
    """
    Return the rule that a claim equals `pattern`, or begins with the text before its star.

    If `looks_into_lists`, one matching element of a list is enough.
    """

    def accepts(value: object, _: Claims) -> bool:
        if looks_into_lists and isinstance(value, list):
            return any(_matches(pattern, each) for each in value)
        return _matches(pattern, value)

    return ClaimRule(claim, accepts)


def one_of(claim: str, expected: tuple[str, ...]) -> ClaimRule:
    """Return the rule that a claim is one of these texts."""
    return ClaimRule(claim, lambda value, _: isinstance(value, str) and value in expected)


def event_in(claim: str, events: tuple[str, ...]) -> ClaimRule:
    """Return the rule that the event that started the job, which is `claim`, is one of `events`."""
    return ClaimRule(claim, one_of(claim, events).accepts, _event_remedy)


def workflow_file(claim: str, file: str) -> ClaimRule:
    """
    Return the rule that a claim is the workflow `file` of the job's repository, at any revision.

    The name of the repository comes from the ID token, because the repository may have been
    renamed. Its ids have been compared by earlier rules.
    """

    def accepts(value: object, claims: Claims) -> bool:
        repository = claims.get("repository")
        if not isinstance(value, str) or not isinstance(repository, str) or not repository:
            return False
        revision = _after(value, repository, f"{_WORKFLOWS}{file}@")
        return revision is not None and _REVISION.fullmatch(revision) is not None

    return ClaimRule(claim, accepts)


def reusable_workflow_in(claim: str, workflows: tuple[str, ...]) -> ClaimRule:
    """Return the rule that a claim equals `workflow_ref`, or matches one of the patterns."""

    def accepts(value: object, claims: Claims) -> bool:
        if not isinstance(value, str):
            return False
        return value == claims.get("workflow_ref") or any(_matches(p, value) for p in workflows)

    return ClaimRule(claim, accepts)


def pipeline_file(claim: str, project: str, file: str) -> ClaimRule:
    """Return the rule that a claim is `file` of a GitLab project, at the revision of the job."""

    def accepts(value: object, claims: Claims) -> bool:
        revision = _after(value, project, f"//{file}@") if isinstance(value, str) else None
        return bool(revision) and revision in (claims.get("ref_path"), claims.get("sha"))

    return ClaimRule(claim, accepts)


def max_lifetime(seconds: int) -> ClaimRule:
    """Return the rule that `exp` is at most `seconds` after `iat`, and that both are times."""

    def accepts(value: object, claims: Claims) -> bool:
        issued_at, expires_at = numeric_date(claims.get("iat")), numeric_date(value)
        if issued_at is None or expires_at is None:
            return False
        return expires_at - issued_at <= seconds

    return ClaimRule("exp", accepts)


def find_claim(claims: Claims, name: str) -> object:
    """
    Return the value of a claim, or None if it is missing or ambiguous.

    A dot leads into a nested object, or is part of a name (`kubernetes.io.namespace`). A name that
    can be read in two ways counts as missing, so that the sender cannot choose between them.
    """
    values = list(_values(claims, name))
    return values[0] if len(values) == 1 else None


def numeric_date(value: object) -> float | None:
    """Return a time claim between 1970 and 2100 in seconds since the epoch, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < _MAX_DATE else None


def ascii_lower(text: str) -> str:
    """Return a text with its ASCII letters in lower case."""
    return text.translate(_LOWER)


def _values(claims: Claims, name: str) -> Iterator[object]:
    value = claims.get(name)
    if value is not None:
        yield value
    for dot in (at for at, character in enumerate(name) if character == "."):
        inner = claims.get(name[:dot])
        if isinstance(inner, Mapping):
            yield from _values(inner, name[dot + 1 :])


def _matches(pattern: str, value: object) -> bool:
    if not isinstance(value, str):
        return False
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern


def _after(value: str, head: str, middle: str) -> str | None:
    """Return the rest of `value` after `head` (in any ASCII case) and `middle`, or None."""
    rest = value[len(head) :]
    if ascii_lower(value[: len(head)]) != ascii_lower(head) or not rest.startswith(middle):
        return None
    return rest[len(middle) :]


def _event_remedy(value: object) -> str:
    """Return the end of an error message: how to use an allowed event; may be empty."""
    if not isinstance(value, str):
        return ""
    if value.startswith(UNTRUSTED_EVENT_PREFIXES):
        return ", and its jobs get no token. Run the job for a push instead"
    return (
        ", which the [[publisher]] does not list. Run the job for a push, or ask the operator of "
        "this index to add it to events of the [[publisher]]"
    )
