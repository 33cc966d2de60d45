"""
What the log says of credentials that did not hold.

Nothing of a credential is logged, and a name only if it is known to be one, since people type
passwords there.
"""

import logging
from collections.abc import Callable
from typing import Final

from wheelyard.concurrency.pacing import Ration
from wheelyard.errors import IndexFault
from wheelyard.model.text import escaped
from wheelyard.trust.verifier import SIGNATURE_REMOVED, Refused

LINES: Final = 60
"""Lines a minute about credentials that did not hold."""
KEY_SENT: Final = "sa_key_refused"
"""The reason for what is a service account's key."""

logger = logging.getLogger("wheelyard")


class RefusedLog:
    """The lines of an index about refused credentials; safe to share between threads."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._refused = Ration(LINES, monotonic)
        self._keys = Ration(1, monotonic)
        self._removed = Ration(1, monotonic)

    def note(self, reason: str, network: str, name: str = "") -> None:
        """
        Say that a credential was refused, unless the log has had enough of them this minute.

        `reason` is a code (`token_expired`), `name` whose it would be, where that is certain.
        """
        if reason == SIGNATURE_REMOVED and self._removed.take() is not None:
            logger.warning(
                "Cloud Run has removed a token's signature: its own check of callers is on. "
                "Deploy with --no-invoker-iam-check."
            )
        left_out = self._refused.take()
        if left_out is None:
            return
        if left_out:
            logger.info("%d more credentials were refused, without a line each", left_out)
        whose = f" for {escaped(name)}" if name else ""
        logger.info("a credential was refused: %s%s, from %s", reason, whose, network)

    def note_key(self, network: str) -> None:
        """Say, at most once a minute, that somebody has sent a service account's key."""
        left_out = self._keys.take()
        if left_out is not None:
            more = f", and {left_out} more since the last such line" if left_out else ""
            logger.warning(
                "a service account's key was sent as a credential from %s, and refused%s",
                network,
                more,
            )


def reason_of(fault: IndexFault, otherwise: str) -> str:
    """Return why a credential was refused, as far as the fault tells."""
    cause: BaseException | None = fault
    while cause is not None:
        if isinstance(cause, Refused):
            return cause.reason
        cause = cause.__cause__
    return otherwise
