"""A provider that people sign in with: what the settings say of it, and what it is asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from wheelyard.errors import (
    IDENTITY_UNAVAILABLE,
    RETRY_AFTER_SECONDS,
    Forbidden,
    Invalid,
    Unavailable,
)

SIGN_IN_REFUSED: Final = "sign_in_refused"
"""The code of a Forbidden if a provider does not confirm who somebody is."""
EMAIL: Final = "email"
EMAIL_VERIFIED: Final = "email_verified"


# a dataclass, since the fields of a Struct cannot be kept out of `repr`
@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderConfig:
    """What the settings say of a provider."""

    name: str
    title: str
    """Its name for people."""
    issuer: str
    """The exact issuer of its ID tokens."""
    client_id: str
    secret: str = field(repr=False)
    redirect_uri: str
    """Where it sends people back to."""
    scopes: tuple[str, ...]
    name_claim: str
    groups_claim: str | None
    """None if it is not asked for groups."""
    require: Mapping[str, tuple[str, ...]]
    """Claims that have to have one of these values, or a list with one of them."""
    parameters: Mapping[str, str]
    """More parameters of an authorization request."""
    session_seconds: int
    """The longest life of a session that can be renewed."""
    renew_seconds: int
    """The age from which a confirmation is renewed."""


# a dataclass for the same reason
@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationRequest:
    """What ties a request to a provider to its answer (RFC 6749, RFC 7636, OpenID Connect)."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    """The PKCE code verifier, of which the provider first gets the digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationAnswer:
    """The parameters with which a provider sends somebody back."""

    code: str = field(repr=False)
    error: str = ""
    """The error code instead of a `code`."""
    issuer: str | None = None
    """The parameter `iss` of RFC 9207, or None without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What a provider says of a person, at a sign-in or a renewal."""

    subject: str
    name: str
    groups: tuple[str, ...]
    """Sorted."""
    refresh_token: str = field(repr=False, default="")
    """The next one for a renewal, or empty if it has sent none."""


class Provider(Protocol):
    """
    Asks a provider.

    Threads may share it. Each method may wait for the provider, and raises Unavailable (code
    `identity_unavailable`) if it does not answer, or with what cannot be used.
    """

    config: ProviderConfig

    def problem(self) -> str:
        """Return why the provider cannot be used as the settings say, or an empty text."""
        ...

    def authorization_url(self, request: AuthorizationRequest) -> str:
        """Return where a browser has to go to sign in."""
        ...

    def redeem(self, answer: AuthorizationAnswer, request: AuthorizationRequest) -> Confirmation:
        """
        Return who has signed in, by the answer that belongs to a request.

        Raises Forbidden (code `sign_in_refused`) if that is nobody who may.
        """
        ...

    def renew(self, refresh_token: str, subject: str) -> Confirmation:
        """
        Return who the person is now, whose refresh token it is.

        Raises Forbidden (code `sign_in_refused`) if the provider refuses it, or it is about
        somebody else than `subject`.
        """
        ...


def refused(message: str) -> Forbidden:
    """Return the error for somebody who cannot sign in, whose cause is a CredentialRejected."""
    return Forbidden(message, code=SIGN_IN_REFUSED)


def untrusted_answer(title: str) -> Forbidden:
    """Return the error for an answer of a provider that fails a check."""
    return refused(
        f"The answer of {title} could not be trusted, so nobody was signed in. Sign in again. If "
        "that does not help, tell the operator of this index: the log has the reason."
    )


def expired_sign_in() -> Invalid:
    """Return the error for an answer that belongs to no request of this browser."""
    return Invalid(
        "This sign-in was begun more than ten minutes ago, in another browser, or is over. Sign in "
        "again.",
        code="sign_in_expired",
    )


def provider_unavailable(title: str) -> Unavailable:
    """Return the error for a provider that does not answer, or not as it should."""
    return Unavailable(
        f"{title} could not be asked who you are, so nobody was signed in. If it stays so, tell "
        "the operator of this index.",
        code=IDENTITY_UNAVAILABLE,
        retry_after=RETRY_AFTER_SECONDS,
    )
