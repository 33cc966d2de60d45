"""
Everything that can go wrong on purpose, in one tree.

Families are never subclassed: a new case is a new `code`, so that the table from families to
statuses in `wheelyard.http.protocol.error_responses` stays total. Families know nothing of HTTP.
"""

from typing import ClassVar, Final

MESSAGE_LIMIT = 1024
"""Characters of a message; longer ones are cut."""

QUOTE_LIMIT = 60
"""Characters of a hostile value that a message repeats."""

OVERLOADED: Final = "overloaded"
"""The code of an Unavailable where too many writers met, and nothing else is wrong."""
STORAGE_FULL: Final = "storage_full"
"""The code of an Unavailable that ends when an operator frees space."""
RATE_LIMITED: Final = "rate_limited"
"""The code of an Unavailable where too many credentials were rejected."""


class WheelyardError(Exception):
    """
    The root of everything that wheelyard raises on purpose; never raised itself.

    Args:
        message: One sentence or two for the person at the client's terminal: what was refused,
            and what to do next. Values from outside pass through `quoted` first.
        code: A stable snake_case name for programs; never reworded once released.
        short: The few words that uv shows beside the status; by default the first sentence.
    """

    family_code: ClassVar[str] = "error"

    def __init__(self, message: str, *, code: str | None = None, short: str | None = None) -> None:
        super().__init__(message)
        self.message = message[:MESSAGE_LIMIT]
        self.code = code or type(self).family_code
        self.short = short or _first_sentence(self.message)


class Invalid(WheelyardError):
    """The request can never succeed as sent."""

    family_code = "bad_request"


class Unauthenticated(WheelyardError):
    """A credential is missing, or it is not one that we know."""

    family_code = "unauthenticated"


class Forbidden(WheelyardError):
    """A known caller without the right."""

    family_code = "forbidden"


class NotFound(WheelyardError):
    """The named thing does not exist, or not for this caller."""

    family_code = "not_found"


class Conflict(WheelyardError):
    """The name is taken, or the object changed under us; nothing was written."""

    family_code = "conflict"


class TooLarge(WheelyardError):
    """Over a stated limit."""

    family_code = "too_large"


class Unavailable(WheelyardError):
    """The store did not answer, or the outcome of a write is unknown; read before trying again."""

    family_code = "storage_unavailable"


def quoted(value: object) -> str:
    """Return `value` safe to repeat in a message: ASCII, quoted, cut at 60 characters."""
    text = str(value)
    cut = text if len(text) <= QUOTE_LIMIT else text[: QUOTE_LIMIT - 3] + "..."
    return ascii(cut)


def _first_sentence(message: str) -> str:
    head, _, _ = message.partition(". ")
    return head.rstrip(".") + "."
