"""Turns what the operating system says into the contract's own words."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from wheelyard.errors import Unavailable

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
STORAGE_FULL = "storage_full"
"""The code of an Unavailable that ends when somebody makes room."""
DENIED = "storage_denied"
"""The code of an Unavailable that ends when somebody grants a right on a bucket."""


@contextmanager
def storage_faults(what: str) -> Iterator[None]:
    """
    Raise Unavailable for any OSError inside.

    Raises:
        Unavailable: Code `storage_full` where there is no room, else `storage_unavailable`.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        if error.errno in FULL:
            raise Unavailable(
                f"There is no room left to store {what}. Free some space and try again.",
                code=STORAGE_FULL,
                short="Storage is full.",
            ) from error
        raise Unavailable(
            f"The store could not use {what}: {reason}. Try again; if it stays, look at the disk.",
            short="Storage is not available.",
        ) from error
