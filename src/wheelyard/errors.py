"""
The exception classes of wheelyard: one base class with seven subclasses.

The seven are not subclassed, but for `NoSuchPage`: a new case is a new `code`, so that the table
from class to HTTP status in `wheelyard.http.error_responses` is complete. They know nothing of
HTTP.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Final

from msgspec.structs import replace

from wheelyard.remedies import Advice

DOCUMENTATION: Final = "https://github.com/wheelyard/wheelyard/blob/main/docs"
"""The URL of the documentation, without a slash at its end, for messages that name a page."""

MESSAGE_LIMIT = 1024
"""How many characters a message may have. The rest of a longer message is cut off."""

QUOTE_LIMIT = 60
"""How many characters of an untrusted value a message shows."""

RETRY_AFTER_SECONDS: Final = 5
"""Seconds after which a retry may succeed, if nothing is known of when it will."""

DAMAGED: Final = "damaged_document"
"""The code of an Unavailable about something in the store that is damaged or lost."""
NEWER_DOCUMENT: Final = "newer_document"
"""The code of an Unavailable about a project that only a newer version of wheelyard can read."""
UNREADABLE_CODES: Final = frozenset({DAMAGED, NEWER_DOCUMENT})
"""The codes of an Unavailable that concerns one document or file of the store."""
NEWER_STORE: Final = "newer_store"
"""The code of an error about a store that only a newer version of wheelyard can read or write."""
OVERLOADED: Final = "overloaded"
"""The code of an Unavailable after too many concurrent writes."""
TOO_BUSY: Final = "too_busy"
"""The code of an Unavailable if this machine was too busy to read a file in time."""
STORAGE_FULL: Final = "storage_full"
"""The code of an Unavailable until the operator frees disk space."""
INVALID_PUBLISHER: Final = "invalid-publisher"
"""The code of an Invalid for a genuine ID token that no trusted publisher fits."""
INVALID_REUSE: Final = "invalid-reuse-token"
"""The code of an Invalid for a genuine ID token that has no uses left."""
TOKEN_EXPIRED: Final = "token_expired"  # noqa: S105 - a code
"""The code of an Unauthenticated for a token that was right until it expired."""
TOKEN_REVOKED: Final = "token_revoked"  # noqa: S105 - a code
"""The code of an Unauthenticated for a token that was right until it was revoked."""
OWNER_ENDED: Final = "owner_ended"
"""The code of an Unauthenticated for a token whose owner may not use the index any more."""
IDENTITY_UNAVAILABLE: Final = "identity_unavailable"
"""The code of an Unavailable if nobody can say now who a caller is."""
OWNER_UNCONFIRMED: Final = "owner_unconfirmed"
"""The code of an Unauthenticated for a token until its owner signs in in a browser again."""
PERSON_ENDED: Final = "person_ended"
"""The code of an Unauthenticated for a person whose access an administrator has ended."""
INVALID_ATTESTATIONS: Final = "invalid_attestations"
"""The code of an Invalid for attestations that do not hold, or of a signer who does not count."""
UNKNOWN_AUTHORITY: Final = "unknown_authority"
"""The code of an Invalid for attestations of an authority that the trusted root does not know."""
RATE_LIMITED: Final = "rate_limited"
"""The code of an Unavailable after too many rejected credentials."""
UPSTREAM_UNAVAILABLE: Final = "upstream_unavailable"
"""The code of an Unavailable if an upstream index does not answer."""
UPSTREAM_BUSY: Final = "upstream_busy"
"""The code of an Unavailable if half of the threads wait for an upstream index already."""
UPSTREAM_REFUSED: Final = "upstream_refused"
"""The code of an Unavailable if an upstream index refuses one project or file, and no other."""
BAD_UPSTREAM: Final = "bad_upstream"
"""The code of an Unavailable if the answer of an upstream index cannot be used."""
UPSTREAM_UNPROVEN: Final = "upstream_unproven"
"""The code of an Unavailable if the URL of an upstream index may be that of something else."""
UPSTREAM_CODES: Final = frozenset(
    {UPSTREAM_UNAVAILABLE, UPSTREAM_BUSY, UPSTREAM_REFUSED, BAD_UPSTREAM}
)
"""The codes of an Unavailable that concerns one project or file of an upstream index."""

ALL_EXTRAS: Final = "otel"
"""The file of `requirements/` that has every extra."""


_SENTENCE_END: Final = re.compile(r"(?<=[.?!]) (?=[A-Z'])")


class WheelyardError(Exception):
    """
    Base class of wheelyard's exceptions. Only its subclasses are raised.

    `message` has sentences that hold wherever they are shown: what was rejected, and what to do
    next. Quote untrusted values with `quoted`. `advice` is what else helps: a terminal and a page
    have words of their own for it. `code` is a stable snake_case name for programs.
    """

    family_code: ClassVar[str] = "error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        advice: Advice | None = None,
        field: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message[:MESSAGE_LIMIT]
        self.code = code or type(self).family_code
        self.advice = advice
        self.field = field
        """The field of a form that the error is about, or empty if no field is known."""

    @property
    def fact(self) -> str:
        """The first sentence of the message: what is wrong."""
        return first_sentence(self.message)


class Invalid(WheelyardError):
    """A request, file, option or setting is wrong, so that a retry cannot succeed."""

    family_code = "bad_request"


class Unauthenticated(WheelyardError):
    """A credential is missing or invalid."""

    family_code = "unauthenticated"


class Forbidden(WheelyardError):
    """The caller lacks a permission, or a setting or the project's status forbids the action."""

    family_code = "forbidden"


class NotFound(WheelyardError):
    """The requested object does not exist, or the caller may not read it."""

    family_code = "not_found"


class NoSuchPage(NotFound):
    """
    A list has no page with the number that was asked for.

    `last` is the number of the last page, or 0 if the list has a single page without a number.
    """

    def __init__(self, number: int, last: int) -> None:
        hint = "Its only page has no number."
        if last:
            hint = f"Its last one is {last}."
        super().__init__(f"This list has no page {number}. {hint}")
        self.last = last


class Conflict(WheelyardError):
    """The name is taken, a limit is reached, or another writer was first. Nothing was written."""

    family_code = "conflict"


class TooLarge(WheelyardError):
    """A request or a file exceeds a limit."""

    family_code = "too_large"


class Unavailable(WheelyardError):
    """
    The store, the server or another service cannot answer now. A retry may succeed.

    The outcome of a write may be unknown, so read before a retry. If waiting helps, `retry_after`
    is the number of seconds to wait, and the message ends with a sentence that names this number.
    Else `retry_after` is None.
    """

    family_code = "storage_unavailable"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        advice: Advice | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message, code=code, advice=advice)
        self.retry_after = retry_after
        if retry_after is not None:
            unit = "second" if retry_after == 1 else "seconds"
            retry_sentence = f" Try again in {retry_after} {unit}."
            # the message may be that of another Unavailable, which has this sentence already
            fact = self.message.removesuffix(retry_sentence)
            fact_limit = MESSAGE_LIMIT - len(retry_sentence)
            self.message = fact[:fact_limit] + retry_sentence


@contextmanager
def about_index(index: str) -> Iterator[None]:
    """Have the advice of an error that leaves this `with` block name an index."""
    try:
        yield
    except WheelyardError as error:
        if error.advice is not None:
            error.advice = replace(error.advice, index=index)
        raise


def missing_extra(feature: str, library: str, extra: str, lock: str) -> Invalid:
    """
    Return Invalid (code `bad_setting`) for a setting or a place whose library is not installed.

    `feature` is the setting or the place that needs the library. `extra` is the extra of wheelyard
    that installs the library. `lock` names the file of `requirements/` that has this extra.
    """
    remark = ""
    if lock == ALL_EXTRAS:
        remark = " This file has all extras."
    return Invalid(
        f"{feature} needs {library}, which is not installed. Install 'wheelyard[{extra}]' "
        f"(as a tool: uvx --from 'wheelyard[{extra}]' wheelyard, or pipx run --spec "
        f"'wheelyard[{extra}]' wheelyard). In a clone: .venv/bin/python -m pip install "
        f"--require-hashes --requirement requirements/{lock}.txt.{remark}",
        code="bad_setting",
    )


def quoted(value: object) -> str:
    """
    Return the first 60 characters of an untrusted value for a message, in quotes and ASCII.

    Names that look the same, such as one word in two normal forms of Unicode, differ there.
    """
    text = str(value)
    if len(text) > QUOTE_LIMIT:
        text = f"{text[: QUOTE_LIMIT - 3]}..."
    return ascii(text)


def first_sentence(message: str) -> str:
    """Return the first sentence of a message, which uv prints with the status."""
    return _SENTENCE_END.split(message, maxsplit=1)[0].rstrip(".") + "."


@contextmanager
def field_errors() -> Iterator[None]:
    """
    Replace an Invalid that leaves this `with` block by one with the code `invalid_field`.

    The code of a setting would mislead the sender of a form. The new error has the message and the
    field of the first one, and no advice.
    """
    try:
        yield
    except Invalid as fault:
        raise Invalid(fault.message, code="invalid_field", field=fault.field) from fault
