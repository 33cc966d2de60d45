"""
What a verifier says when it says no.

The person at the other end gets one fixed text for each kind of credential, whatever was wrong with
it. Why it was refused is a code for the operator's log, and travels in `Refused`, which is never
seen above this room.
"""

from typing import Final

from wheelyard.errors import Unauthenticated, Unavailable

SIGNATURE_REMOVED: Final = "sig_removed_by_google"
"""The reason for a token whose signature Cloud Run has cut off."""


class Refused(Exception):
    """
    A credential does not hold.

    Args:
        reason: A code for the log: `jwt_sig`, `gat_rejected`. Never anything of the credential.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def bad_statement() -> Unauthenticated:
    """Return the one fault for every signed token that does not hold; raised from its Refused."""
    return Unauthenticated(
        "This signed token is not valid here. Get a new one, and have it made out to this index "
        "as its audience.",
        short="Invalid signed token.",
    )


def bad_access_token() -> Unauthenticated:
    """Return the one fault for every Google access token that does not hold, likewise."""
    return Unauthenticated(
        "This Google access token is not valid. Get a new one: 'gcloud auth print-access-token'.",
        short="Invalid Google access token.",
    )


def unverifiable(who: str) -> Unavailable:
    """
    Return the fault for a credential that nobody can judge just now; it may be a good one.

    Args:
        who: Whose answer is missing: "Google", "The issuer of this token".
    """
    return Unavailable(
        f"{who} does not answer, so this credential cannot be verified. Try again in a moment.",
        code="identity_unavailable",
        short="The credential cannot be verified just now.",
    )


def too_many_logins() -> Unavailable:
    """Return the fault for a credential that is not looked at, because too many others are."""
    return Unavailable(
        "Too many logins are being checked. Try again in a moment.",
        code="overloaded",
        short="Too many logins.",
    )
