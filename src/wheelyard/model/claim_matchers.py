"""
Checks of single claims in a CI job's ID token.

A check fails if the claim is of another type, or missing or null where the rule does not allow it.
Nothing is normalized except the case of ASCII letters, where a provider ignores it: other letters
have look-alikes that fold into ASCII. A message to the sender of an ID token repeats the received
claim, which the sender knows, and never the expected one, which is configuration.
"""

import re
import string
from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

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


class ClaimCheck(Struct, frozen=True):
    """A claim of an ID token, its value, and whether that is what a publisher expects."""

    claim: str
    """The name of the claim. Dots lead into nested objects."""
    received: object
    """The value in the ID token, or None if the claim is missing or ambiguous."""
    is_right: bool
    expected: tuple[str, ...] = ()
    """Texts of which the claim has to equal one, or have one in it. Strangers may not see them."""
    remedy: str = ""
    """The end of the error message, which is empty if the claim is not there."""

    @property
    def description(self) -> str:
        """A clause for the sender of an ID token: the claim, its received value, and the remedy."""
        return f"{self._received}{self.remedy}"

    @property
    def comparison(self) -> str:
        """A clause for a person who may upload: the claim, its received and its expected value."""
        expected = " or ".join(map(quoted, self.expected))
        return f"{self._received}, and not {expected}"

    @property
    def _received(self) -> str:
        """A clause with the claim and its received value."""
        if self.received is None:
            return f"the claim {self.claim} is not there"
        return f"the claim {self.claim} is {quoted(self.received)}"


class JobClaims(Struct, frozen=True):
    """The claims of a CI job's ID token, and checks of single ones."""

    claims: Claims

    def equals(
        self,
        claim: str,
        expected: ClaimValue,
        *,
        ignores_case: bool = False,
        may_be_missing: bool = False,
    ) -> ClaimCheck:
        """
        Check that a claim equals `expected`, in type and value.

        With `ignores_case`, ASCII letters match in either case. With `may_be_missing`, the claim
        may be missing or null.
        """
        value = find_claim(self.claims, claim)
        if ignores_case and isinstance(value, str) and isinstance(expected, str):
            is_equal = ascii_lower(value) == ascii_lower(expected)
        else:
            # in Python 1 equals True, and a claim that is 1 must not pass for `true`
            is_equal = type(value) is type(expected) and value == expected
        is_right = is_equal or (value is None and may_be_missing)
        return ClaimCheck(claim, value, is_right, (str(expected),))

    def matches(self, claim: str, pattern: str) -> ClaimCheck:
        """Check that a claim equals `pattern`, or begins with the text before its star."""
        value = find_claim(self.claims, claim)
        return ClaimCheck(claim, value, _matches(pattern, value), (pattern,))

    def has_match(self, claim: str, pattern: str) -> ClaimCheck:
        """Check that a claim matches as in `matches`, or is a list with an element that matches."""
        value = find_claim(self.claims, claim)
        # a claim such as `aud` may be one text, or a list (RFC 7519)
        elements = value if isinstance(value, list) else [value]
        is_right = any(_matches(pattern, element) for element in elements)
        return ClaimCheck(claim, value, is_right, (pattern,))

    def is_one_of(self, claim: str, expected: tuple[str, ...]) -> ClaimCheck:
        """Check that a claim is one of these texts."""
        value = find_claim(self.claims, claim)
        is_right = isinstance(value, str) and value in expected
        return ClaimCheck(claim, value, is_right, expected)

    def has_event(self, claim: str, events: tuple[str, ...]) -> ClaimCheck:
        """Check that a claim, the event that started the job, is one of `events`."""
        check = self.is_one_of(claim, events)
        return replace(check, remedy=_event_remedy(check.received))

    def has_workflow(self, claim: str, file: str) -> ClaimCheck:
        """
        Check that a claim is the workflow `file` of the job's repository, at any revision.

        The name of the repository is taken from the ID token, because the repository may have been
        renamed. Earlier checks have compared the ids of the repository.
        """
        value = find_claim(self.claims, claim)
        repository = self.claims.get("repository")
        path = f"{_WORKFLOWS}{file}"
        # without the claim `repository`, no workflow is right
        revision = None
        if isinstance(value, str) and isinstance(repository, str) and repository:
            revision = _text_after(value, repository, f"{path}@")
        is_right = revision is not None and _REVISION.fullmatch(revision) is not None
        return ClaimCheck(claim, value, is_right, (path.removeprefix("/"),))

    def has_reusable_workflow(self, claim: str, workflows: tuple[str, ...]) -> ClaimCheck:
        """Check that a claim equals `workflow_ref`, or matches one of the patterns."""
        # in a job that calls no other workflow, GitHub has the job's own workflow in the claim
        value = find_claim(self.claims, claim)
        own_workflow = self.claims.get("workflow_ref")
        is_own_workflow = isinstance(value, str) and value == own_workflow
        is_right = is_own_workflow or any(_matches(workflow, value) for workflow in workflows)
        return ClaimCheck(claim, value, is_right, (str(own_workflow), *workflows))

    def has_pipeline(self, claim: str, project: str, file: str) -> ClaimCheck:
        """Check that a claim is `file` of a GitLab project, at the revision of the job."""
        value = find_claim(self.claims, claim)
        revision = None
        if isinstance(value, str):
            revision = _text_after(value, project, f"//{file}@")
        # the pipeline file has to be that of the job's own revision, and not of another branch
        revisions = (self.claims.get("ref_path"), self.claims.get("sha"))
        is_right = bool(revision) and revision in revisions
        return ClaimCheck(claim, value, is_right, (f"{project}//{file}",))

    def lives_at_most(self, seconds: int) -> ClaimCheck:
        """Check that `exp` is at most `seconds` after `iat`, and that both are times."""
        value = find_claim(self.claims, "exp")
        issued_at = numeric_date(self.claims.get("iat"))
        expires_at = numeric_date(value)
        is_right = False
        if issued_at is not None and expires_at is not None:
            is_right = expires_at - issued_at <= seconds
        return ClaimCheck("exp", value, is_right)


def find_claim(claims: Claims, name: str) -> object:
    """
    Return the value of a claim, or None if it is missing, null or ambiguous.

    A dot leads into a nested object, or is part of a name (`kubernetes.io.namespace`). A name that
    can be read in two ways counts as missing, so that the sender cannot choose between them.
    """
    values = list(_values(claims, name))
    if len(values) != 1:
        return None
    return values[0]


def numeric_date(value: object) -> float | None:
    """Return a time claim between 1970 and 2100 in seconds since the epoch, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # not a number (NaN) fails both comparisons
    if 0 <= value < _MAX_DATE:
        return float(value)
    return None


def ascii_lower(text: str) -> str:
    """Return a text with its ASCII letters in lower case."""
    return text.translate(_LOWER)


def _values(claims: Claims, name: str) -> Iterator[object]:
    """Yield the value of a claim for each way in which its name can be read."""
    value = claims.get(name)
    if value is not None:
        yield value
    # recursion is as deep as the operator's name has dots, however deep the ID token is
    for dot, character in enumerate(name):
        if character == ".":
            inner = claims.get(name[:dot])
            if isinstance(inner, Mapping):
                yield from _values(inner, name[dot + 1 :])


def _matches(pattern: str, value: object) -> bool:
    """Return whether a value is a text that equals a pattern, or begins as it does."""
    if not isinstance(value, str):
        return False
    if pattern.endswith("*"):
        return value.startswith(pattern[:-1])
    return value == pattern


def _text_after(value: str, head: str, middle: str) -> str | None:
    """
    Return the end of `value`, which begins with `head` (in any ASCII case) and then `middle`.

    None if `value` begins otherwise.
    """
    end = value[len(head) :]
    has_head = ascii_lower(value[: len(head)]) == ascii_lower(head)
    if not has_head or not end.startswith(middle):
        return None
    return end[len(middle) :]


def _event_remedy(value: object) -> str:
    """Return the end of an error message about an event, with what to do, or an empty text."""
    if not isinstance(value, str):
        return ""
    if value.startswith(UNTRUSTED_EVENT_PREFIXES):
        return ", and its jobs get no token. Run the job for a push instead"
    return (
        ", which the [[publisher]] does not list. Run the job for a push, or ask the operator of "
        "this index to add it to events of the [[publisher]]"
    )
