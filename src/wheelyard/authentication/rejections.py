"""
Rejected credentials, as the log has them.

A client gets one fixed message for each type of credential. The operator gets the reason, a code
that a verifier puts into the chain of causes of the error (`CredentialRejected`).
"""

import logging
from typing import Final

from wheelyard.authentication.verifiers.verifier import CredentialRejected
from wheelyard.concurrency.runtime import Clock, LogRateLimit
from wheelyard.errors import WheelyardError
from wheelyard.model.decoding import escaped

REJECTIONS_LOGGED_PER_MINUTE: Final = 60
"""The most log lines about rejections in a minute."""

logger = logging.getLogger("wheelyard")


class RejectionLog:
    """
    Writes log lines about rejected credentials, with a rate limit.

    Threads may share it. A line has no secret, and only a principal that exists: people type
    passwords into the field for the user name, so the caller of `log` checks the principal first.
    """

    def __init__(self, monotonic: Clock) -> None:
        self._rejections = LogRateLimit(REJECTIONS_LOGGED_PER_MINUTE, monotonic)

    def log(self, reason: str, network: str, name: str = "") -> None:
        """
        Log a rejection with its reason code and client network, up to a limit for each minute.

        `name` is the principal, or empty if it does not exist.
        """
        # strangers cause these lines: without a limit they could fill the disk
        suppressed_lines = self._rejections.acquire()
        if suppressed_lines is None:
            return
        if suppressed_lines:
            logger.info("%d more credentials were refused, without a line each", suppressed_lines)
        subject = f" for {escaped(name)}" if name else ""
        logger.info("a credential was refused: %s%s, from %s", reason, subject, network)


def rejection_reason(fault: WheelyardError, otherwise: str) -> str:
    """Return the reason of the first CredentialRejected among an error's causes, or `otherwise`."""
    cause: BaseException | None = fault
    while cause is not None:
        if isinstance(cause, CredentialRejected):
            return cause.reason
        cause = cause.__cause__
    return otherwise
