"""The refusals that every source makes, in one wording."""

import errno

from wheelyard.errors import Invalid, Unavailable

GONE = "source_unavailable"
"""The code of an Unavailable that is about where files come from, and not about the store."""


def bad_source(message: str) -> Invalid:
    """Return the refusal of something that cannot be imported from."""
    return Invalid(message, code="bad_source", short="Not a source to import from.")


def gone(message: str) -> Unavailable:
    """Return the fault of a source that does not answer any more."""
    return Unavailable(message, code=GONE, short="The source does not answer.")


def unreadable(why: str) -> OSError:
    """Return the fault of one file that cannot be had, while others may."""
    return OSError(errno.EIO, why)
