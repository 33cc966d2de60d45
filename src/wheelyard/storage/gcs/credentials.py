"""Credentials of Google's library: whose they are, and whether they can sign."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from google.auth import exceptions as auth
from google.auth import jwt
from google.auth.credentials import Signing
from google.cloud.storage import Client

Credentials = Any
"""Those of Google's library: each kind is a class of its own, without types."""
_claims_of: Final[Callable[..., dict[str, Any]]] = jwt.decode  # it has no type annotations


def credentials_of(client: Client) -> Credentials:
    """Return the credentials of a client."""
    return client._credentials  # noqa: SLF001 - the library has no public name for them


def can_sign(credentials: Credentials) -> bool:
    """Return whether credentials are those of a service account."""
    has_email = getattr(credentials, "service_account_email", None) is not None
    return isinstance(credentials, Signing) or has_email


def email_of(credentials: Credentials) -> str | None:
    """
    Return the e-mail of the account of some credentials, for the journal; None if it is unknown.

    A service account's e-mail is known after the first use of the credentials (before, those of the
    metadata server have `default`). A user's is known if Google has sent an ID token as well.
    """
    emails = [getattr(credentials, name, None) for name in ("service_account_email", "account")]
    with suppress(auth.GoogleAuthError, ValueError, TypeError, AttributeError):
        # not verified, as it has come from Google directly
        emails.append(_claims_of(credentials.id_token, verify=False).get("email"))
    return next((each for each in emails if isinstance(each, str) and "@" in each), None)
