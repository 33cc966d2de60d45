"""A provider that people sign in with: its settings, the requests to it, and the errors."""

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


# a dataclass, as the fields of a Struct cannot be kept out of `repr`
@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderConfig:
    """The settings of a provider."""

    name: str
    """The name of the provider in principals and URLs."""
    title: str
    """The name of the provider for people."""
    issuer: str
    """The exact issuer of the provider's ID tokens."""
    client_id: str
    secret: str = field(repr=False)
    """The secret by which this server proves that it is the client."""
    redirect_uri: str
    """The URL to which the provider sends people back."""
    scopes: tuple[str, ...]
    name_claim: str
    """The claim with the name of a person."""
    groups_claim: str | None
    """The claim with the groups of a person, or None without groups."""
    require: Mapping[str, tuple[str, ...]]
    """Claims that need one of these values, or a list with one of these values."""
    parameters: Mapping[str, str]
    """Further parameters of an authorization request."""
    session_seconds: int
    """The longest life of a session that can be renewed."""
    renew_seconds: int
    """The age from which a confirmation is renewed."""


# a dataclass for the same reason
@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationRequest:
    """The secrets that bind an answer of a provider to a request (RFC 6749, RFC 7636, OpenID)."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    """The PKCE code verifier, of which the request has the digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationAnswer:
    """The parameters of the URL with which a provider sends a browser back."""

    code: str = field(repr=False)
    error: str = ""
    """The error code in place of a `code`, or an empty text."""
    issuer: str | None = None
    """The parameter `iss` of RFC 9207, or None if the URL has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """The facts that a provider confirms about a person, at a sign-in or a renewal."""

    subject: str
    """The text by which the provider tells people apart, which never changes."""
    name: str
    groups: tuple[str, ...]
    """The names of the person's groups, sorted."""
    refresh_token: str = field(repr=False, default="")
    """The token for the next renewal, or an empty text if the provider has sent none."""


class Provider(Protocol):
    """
    Sends the requests of sign-ins and renewals to a provider.

    Threads may share it. Each method may wait for the provider, and raises Unavailable (code
    `identity_unavailable`) if the provider does not answer, or not as its protocol says. `problem`
    raises nothing.
    """

    config: ProviderConfig

    def problem(self) -> str:
        """
        Ask the provider, and return why sign-ins fail with these settings, or an empty text.

        An empty text does not mean that the provider accepts the client: not each can be asked.
        """
        ...

    def authorization_url(self, request: AuthorizationRequest) -> str:
        """Return the URL to which a browser has to go for a sign-in."""
        ...

    def redeem(self, answer: AuthorizationAnswer, request: AuthorizationRequest) -> Confirmation:
        """
        Exchange the code of an answer, and return the confirmation of the person.

        The answer belongs to `request`. Raises Forbidden (code `sign_in_refused`) if the provider
        refuses, if a check of the answer fails, or if the person may not sign in.
        """
        ...

    def renew(self, refresh_token: str, subject: str) -> Confirmation:
        """
        Return a new confirmation of the person who has a refresh token.

        Raises Forbidden (code `sign_in_refused`) if the provider refuses the token, or if the token
        is about another person than `subject`.
        """
        ...


def refused(message: str) -> Forbidden:
    """Return the error for somebody who cannot sign in. Callers chain a CredentialRejected."""
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
    """Return the error for a provider that does not answer, or whose answer cannot be used."""
    return Unavailable(
        f"{title} could not be asked who you are, so nobody was signed in. If it stays so, tell "
        "the operator of this index.",
        code=IDENTITY_UNAVAILABLE,
        retry_after=RETRY_AFTER_SECONDS,
    )
