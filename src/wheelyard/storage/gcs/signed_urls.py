"""
Who signs the URLs of Cloud Storage: a private key, or IAM's method signBlob.

On Cloud Run, GKE and Compute Engine there is no private key, so each signature is a network call
that needs the permission iam.serviceAccounts.signBlob. Nothing here uses the network until the
first URL is needed.
"""

import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, Final

from google.auth import iam
from google.auth.credentials import Scoped, Signing
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request
from google.cloud.storage import Bucket
from google.oauth2 import service_account
from requests import RequestException, Session

from wheelyard.storage.download_urls import signing_error
from wheelyard.storage.gcs.credentials import Credentials
from wheelyard.storage.gcs.session import set_up_session

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
SECONDS: Final = 5.0
"""Seconds to wait for IAM; a client waits 15 at most."""
MAX_CONNECTIONS: Final = 64
"""Idle connections to IAM that are kept open."""
UNKNOWN_EMAIL: Final = "default"
"""The e-mail of the metadata server's credentials until their first refresh."""

_DENIED: Final = re.compile(r"code\W+403\b")

# google-auth has no type annotations for these
_iam_signer: Final[Callable[..., Any]] = iam.Signer
_account_credentials: Final[Callable[..., Credentials]] = service_account.Credentials


class UrlSigner:
    """Signs URLs of downloads from a bucket, by credentials that can sign."""

    def __init__(self, bucket: Bucket, credentials: Credentials, endpoint: str) -> None:
        self._bucket = bucket
        self._endpoint = endpoint
        session = Session()
        set_up_session(session, endpoint, MAX_CONNECTIONS)
        # without a time limit, IAM's silence would hold a thread for two minutes
        self._request: Callable[..., Any] = partial(Request(session), timeout=SECONDS)
        is_scoped = isinstance(credentials, Scoped) and not isinstance(credentials, Signing)
        self._credentials = credentials.with_scopes([SCOPE]) if is_scoped else credentials

    def sign(self, name: str, lifetime: timedelta) -> str:
        """Return the URL of an object; raise Unavailable if it is denied or fails."""
        blob = self._bucket.blob(name)
        try:
            return str(
                blob.generate_signed_url(
                    version="v4",
                    expiration=lifetime,
                    credentials=self._signing(),
                    api_access_endpoint=self._endpoint,
                )
            )
        except (GoogleAuthError, RequestException, ValueError, LookupError, TypeError) as error:
            email = getattr(self._credentials, "service_account_email", None)
            is_denied = _DENIED.search(str(error)) is not None
            why = (
                f"The permission iam.serviceAccounts.signBlob on {email} is missing, or the API "
                "iamcredentials.googleapis.com is off. Grant a role that has it on that account "
                "(docs/bucket.md), or have downloads streamed."
            )
            no_answer = f"IAM does not sign for {email}."
            raise signing_error(why if is_denied else no_answer, is_denied=is_denied) from error

    def _signing(self) -> Credentials:
        """Return credentials that sign: by a key, by the one they impersonate, or by IAM."""
        credentials = self._credentials
        if isinstance(credentials, Signing):
            return credentials
        if credentials.service_account_email == UNKNOWN_EMAIL:
            credentials.refresh(self._request)
        email = credentials.service_account_email
        return _account_credentials(_iam_signer(self._request, credentials, email), email, "")
