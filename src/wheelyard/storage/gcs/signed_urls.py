"""
V4 signed URLs of Cloud Storage, signed by a private key or by IAM's method signBlob.

On Cloud Run, GKE and Compute Engine there is no private key, so each signature is one network call
that needs the permission iam.serviceAccounts.signBlob. Therefore the signing time is rounded down,
a URL is cached for that window, and concurrent callers of one URL share one call.
Reference: "Signatures" and "Canonical requests" in the documentation of Cloud Storage.

Credentials of the metadata server do not know their e-mail before the first refresh. Nothing here
uses the network until the first URL is needed.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http import HTTPStatus
from threading import Lock
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from google.auth import iam, impersonated_credentials
from google.auth.credentials import Credentials, Scoped, Signing
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession, Request
from msgspec import Struct
from requests import Response, Session
from requests.exceptions import RequestException, Timeout

from wheelyard.errors import RETRY_AFTER_SECONDS, Unavailable
from wheelyard.storage.gcs.retry import RetryEnvironment
from wheelyard.storage.gcs.session import set_up_session
from wheelyard.storage.url_cache import UrlCache

ALGORITHM: Final = "GOOG4-RSA-SHA256"
IAM_URL: Final = "https://iamcredentials.googleapis.com"
STORAGE_URL: Final = "https://storage.googleapis.com"
SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
PERMISSION: Final = "iam.serviceAccounts.signBlob"
TIMEOUTS: Final = (3.0, 5.0)
"""Seconds to connect, and without a byte of the response; a client waits 15 at most."""
MAX_CONNECTIONS: Final = 64
"""Idle connections to IAM that are kept open."""
MAX_TRIES: Final = 3
UNKNOWN_EMAIL: Final = "default"
"""The e-mail of the metadata server's credentials until their first refresh."""

# google-auth has no type annotations for these
_session_of: Final[Callable[[Credentials], Session]] = AuthorizedSession
_request_over: Final[Callable[[Session], Request]] = Request


class SigningRequest(Struct, frozen=True, kw_only=True):
    """The object, time and lifetime of a signed download URL."""

    scheme: str = "https"
    host: str
    """With the port, unless it is the scheme's default."""
    path: str
    """Quoted, as `object_path` returns it."""
    signed_at: datetime
    """With a time zone; rounded down to whole seconds."""
    lifetime: timedelta
    """Whole seconds, 1 second to 7 days; Cloud Storage refuses others."""


def signing_time(now: float, lifetime: timedelta) -> datetime:
    """
    Return `now`, rounded down to a multiple of half the lifetime, as the time to sign at.

    A URL signed then is valid for at least half its lifetime from now on.
    """
    window = max(1, int(lifetime.total_seconds()) // 2)
    return datetime.fromtimestamp(int(now) // window * window, UTC)


def object_path(bucket: str, name: str) -> str:
    """Return the path of an object in a Cloud Storage URL, percent-encoded once."""
    return f"/{quote(bucket, safe='')}/{quote(name)}"


def signed_url(request: SigningRequest, email: str, sign: Callable[[bytes], bytes]) -> str:
    """
    Return the signed URL of a download.

    `sign` returns the signature of its argument by the service account `email`: RSA PKCS #1 v1.5
    with SHA-256.
    """
    stamp = request.signed_at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/auto/storage/goog4_request"
    pairs = (  # sorted, as the canonical request requires
        ("X-Goog-Algorithm", ALGORITHM),
        ("X-Goog-Credential", f"{email}/{scope}"),
        ("X-Goog-Date", stamp),
        ("X-Goog-Expires", str(int(request.lifetime.total_seconds()))),
        ("X-Goog-SignedHeaders", "host"),
    )
    query = urlencode(pairs, safe="", quote_via=quote)
    # the signature covers the host without its port
    host = re.sub(r":[0-9]+$", "", request.host)
    canonical = f"GET\n{request.path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    message = f"{ALGORITHM}\n{stamp}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
    signature = sign(message.encode()).hex()
    return f"{request.scheme}://{request.host}{request.path}?{query}&X-Goog-Signature={signature}"


class KeySigner(Struct, frozen=True):
    """Signs with a private key in memory: RSA PKCS #1 v1.5 with SHA-256."""

    email: str
    sign: Callable[[bytes], bytes]


class IamSigner:
    """
    Signs by calls of IAM's signBlob, with a key that Google keeps.

    `google.auth.iam.Signer` is not used: it has no time limit, no delegates, and no error for a
    missing permission.

    `credentials` have the scope cloud-platform and may sign for `email`, which is `default` for the
    service account of the metadata server. `delegates` are the accounts of the delegation chain.
    """

    def __init__(
        self,
        credentials: Credentials,
        email: str,
        env: RetryEnvironment,
        iam_url: str,
        delegates: tuple[str, ...] = (),
    ) -> None:
        self._credentials = credentials
        self._session = _session_of(credentials)
        set_up_session(self._session, iam_url, MAX_CONNECTIONS)
        self._iam_url = iam_url
        self._delegates = delegates
        self._email = email
        self._env = env
        self._lock = Lock()

    @property
    def email(self) -> str:
        """The account's e-mail; raises Unavailable if the metadata server does not tell it."""
        with self._lock:
            if self._email == UNKNOWN_EMAIL:
                self._email = self._fetch_email()
            return self._email

    def sign(self, message: bytes) -> bytes:
        """Return IAM's signature of a message; raise Unavailable if it is denied or fails."""
        body = {"payload": b64encode(message).decode(), "delegates": list(self._delegates)}
        url = f"{self._iam_url}/v1/projects/-/serviceAccounts/{quote(self.email)}:signBlob"
        reason = ""
        cause: Exception | None = None
        for _ in self._env.attempts(MAX_TRIES):
            try:
                response = self._session.post(
                    url, json=body, timeout=TIMEOUTS, allow_redirects=False
                )
            except Timeout as error:
                reason, cause = "it does not answer", error
                break  # not retried: a download waits for the signature
            except RequestException as error:
                reason, cause = "it cannot be reached", error
                continue
            except GoogleAuthError as error:
                reason, cause = "the credentials cannot be renewed", error
                continue
            if response.status_code == HTTPStatus.OK:
                return self._signature(response)
            if response.status_code == HTTPStatus.FORBIDDEN:
                raise Unavailable(
                    f"Download URLs cannot be signed: the permission {PERMISSION} on {self._email} "
                    "is missing, or the API iamcredentials.googleapis.com is off. Grant a role "
                    "that has it on that account (docs/bucket.md), or have downloads streamed.",
                    code="signing_denied",
                    short="Download URLs cannot be signed.",
                )
            reason, cause = f"it answered {response.status_code}", None
            is_server_error = response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
            if not is_server_error and response.status_code != HTTPStatus.TOO_MANY_REQUESTS:
                break
        raise _signing_failed(f"IAM does not sign for {self._email}: {reason}") from cause

    def _fetch_email(self) -> str:
        cause: GoogleAuthError | None = None
        refresh: Callable[[Request], None] = self._credentials.refresh
        for _ in self._env.attempts(MAX_TRIES):
            try:
                with Session() as session:
                    refresh(_request_over(session))
            except GoogleAuthError as error:
                cause = error
                continue
            email = _email_of(self._credentials)
            if email and email != UNKNOWN_EMAIL:
                return email
        what = "The metadata server does not tell which service account this is"
        raise _signing_failed(what) from cause

    def _signature(self, response: Response) -> bytes:
        try:
            return b64decode(response.json()["signedBlob"], validate=True)
        except (ValueError, LookupError, TypeError) as error:
            what = f"IAM does not sign for {self._email}: its reply holds no signature"
            raise _signing_failed(what) from error


Signer = KeySigner | IamSigner


def signer_for(
    credentials: Credentials, env: RetryEnvironment, iam_url: str = IAM_URL
) -> Signer | None:
    """Return the signer for credentials; None if they are not a service account's."""
    if isinstance(credentials, Signing) and _has_private_key(credentials.signer):
        return KeySigner(credentials.signer_email, credentials.sign_bytes)
    email = _email_of(credentials)
    if email is None:
        return None
    if isinstance(credentials, impersonated_credentials.Credentials):
        # the impersonating account may sign for the other one, which often may not sign itself;
        # google-auth has no public name for either attribute
        source = getattr(credentials, "_source_credentials", credentials)
        delegates = tuple(getattr(credentials, "_delegates", None) or ())
        return IamSigner(_scoped(source), email, env, iam_url, delegates)
    return IamSigner(_scoped(credentials), email, env, iam_url)


class UrlSigner:
    """Makes signed URLs for downloads, and reuses each for at most half of its lifetime."""

    def __init__(
        self,
        signer: Signer,
        now: Callable[[], float],
        endpoint: str = STORAGE_URL,
    ) -> None:
        self._signer = signer
        self._now = now
        self._endpoint = urlsplit(endpoint)
        self._urls = UrlCache()

    def url(self, bucket: str, name: str, lifetime: timedelta) -> str:
        """Return a URL for GET, valid for half of `lifetime` at least; a failure is not cached."""
        request = SigningRequest(
            scheme=self._endpoint.scheme,
            host=self._endpoint.netloc,
            path=object_path(bucket, name),
            signed_at=signing_time(self._now(), lifetime),
            lifetime=lifetime,
        )
        signer = self._signer
        return self._urls.url(request, lambda: signed_url(request, signer.email, signer.sign))


def _has_private_key(signer: object) -> bool:
    # these two of google-auth call IAM instead
    return not isinstance(signer, iam.Signer | Credentials)


def _email_of(credentials: Credentials) -> str | None:
    email: str | None = getattr(credentials, "service_account_email", None)
    return email


def _scoped(credentials: Credentials) -> Credentials:
    if isinstance(credentials, Scoped):
        with_scopes: Callable[[list[str]], Credentials] = credentials.with_scopes
        return with_scopes([SCOPE])
    return credentials


def _signing_failed(what: str) -> Unavailable:
    return Unavailable(
        f"{what}.",
        code="signing_unavailable",
        short="Download URLs cannot be signed.",
        retry_after=RETRY_AFTER_SECONDS,
    )
