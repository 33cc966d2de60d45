"""
Signed URLs of Cloud Storage, version 4, and who signs them.

A private key signs where there is one, otherwise IAM by its method signBlob. On Cloud Run, GKE and
Compute Engine nobody has the key of the service account, and a signature costs one call over the
network, which needs the permission iam.serviceAccounts.signBlob. So the time of signing is rounded
down, a URL is kept for its window, and callers who want the same one at once share one call.
Reference: "Signatures" and "Canonical requests" in the documentation of Cloud Storage.

Credentials of the metadata server do not know whose they are before they have been refreshed;
nothing here goes to the network until the first URL is asked for.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
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
from requests import Response, Session
from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException, Timeout

from wheelyard.concurrency.caches import LruCache
from wheelyard.errors import Unavailable
from wheelyard.storage.gcs.retry import RetryEnvironment

ALGORITHM: Final = "GOOG4-RSA-SHA256"
IAM_URL: Final = "https://iamcredentials.googleapis.com"
STORAGE_URL: Final = "https://storage.googleapis.com"
SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
PERMISSION: Final = "iam.serviceAccounts.signBlob"
TIMEOUTS: Final = (3.0, 5.0)
"""Seconds to connect, and to wait for more of a reply: a client waits for 15 at most."""
MAX_CONNECTIONS: Final = 64
"""Kept open to IAM at a time."""
MAX_TRIES: Final = 3
FIRST_SERVER_ERROR: Final = HTTPStatus.INTERNAL_SERVER_ERROR
"""The first status that says that the server is to blame, and another try may help."""
URL_CACHE_ENTRIES: Final = 4096
"""URLs in memory, of about 1.3 KB each."""
UNKNOWN_EMAIL: Final = "default"
"""What credentials of the metadata server say for an email until they are refreshed."""

# google-auth has no types of its own to call these by
_session_of: Final[Callable[[Credentials], Session]] = AuthorizedSession
_request_over: Final[Callable[[Session], Request]] = Request


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningRequest:
    """One object that a URL is to allow to be downloaded."""

    scheme: str = "https"
    host: str
    """With its port, if it is not the scheme's own."""
    path: str
    """Quoted, as `object_path` makes it."""
    signed_at: datetime
    """With a time zone; whole seconds count."""
    lifetime: timedelta
    """1 second to 7 days, in whole seconds; the service refuses any other."""


def signing_time(now: float, lifetime: timedelta) -> datetime:
    """
    Return the time to sign at: `now`, rounded down to a multiple of half the lifetime.

    A URL signed then lives at least half its lifetime from now on, and is never of the future.
    """
    window = max(1, int(lifetime.total_seconds()) // 2)
    return datetime.fromtimestamp(int(now) // window * window, UTC)


def object_path(bucket: str, name: str) -> str:
    """Return the path of an object at the storage's own host, quoted once."""
    return f"/{quote(bucket, safe='')}/{quote(name)}"


def signed_url(ask: SigningRequest, email: str, sign: Callable[[bytes], bytes]) -> str:
    """
    Return the URL that allows the download.

    `sign` returns the signature of the service account `email`: RSA PKCS #1 v1.5 with SHA-256.
    """
    stamp = ask.signed_at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/auto/storage/goog4_request"
    pairs = (  # sorted, as they have to be
        ("X-Goog-Algorithm", ALGORITHM),
        ("X-Goog-Credential", f"{email}/{scope}"),
        ("X-Goog-Date", stamp),
        ("X-Goog-Expires", str(int(ask.lifetime.total_seconds()))),
        ("X-Goog-SignedHeaders", "host"),
    )
    query = urlencode(pairs, safe="", quote_via=quote)
    # the service signs for the name alone, though the URL keeps the port
    host = re.sub(r":[0-9]+$", "", ask.host)
    request = f"GET\n{ask.path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    message = f"{ALGORITHM}\n{stamp}\n{scope}\n{sha256(request.encode()).hexdigest()}"
    signature = sign(message.encode()).hex()
    return f"{ask.scheme}://{ask.host}{ask.path}?{query}&X-Goog-Signature={signature}"


@dataclass(frozen=True, slots=True)
class KeySigner:
    """A private key in memory: RSA PKCS #1 v1.5 with SHA-256."""

    email: str
    sign: Callable[[bytes], bytes]


class IamSigner:
    """
    IAM, signing with a key that Google keeps.

    `google.auth.iam.Signer` does the same without a limit of time: it pauses for seconds between
    tries, knows no delegates, and does not say that a permission is missing.

    Args:
        credentials: Allowed to sign for the account; with the scope cloud-platform.
        email: Whose signature it is; `default` for the account of the metadata server.
        pacing: The pauses between tries.
        iam_url: Scheme and host of IAM.
        delegates: Accounts by way of which the permission is held.
    """

    def __init__(
        self,
        credentials: Credentials,
        email: str,
        retry_env: RetryEnvironment,
        iam_url: str,
        delegates: tuple[str, ...] = (),
    ) -> None:
        self._credentials = credentials
        self._session = _session_of(credentials)
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=MAX_CONNECTIONS))
        self._iam_url = iam_url
        self._delegates = delegates
        self._email = email
        self._retry_env = retry_env
        self._lock = Lock()

    @property
    def email(self) -> str:
        """The service account, asked of the metadata server once if need be; or Unavailable."""
        with self._lock:
            if self._email == UNKNOWN_EMAIL:
                self._email = self._fetch_email()
            return self._email

    def sign(self, message: bytes) -> bytes:
        """Return IAM's signature of a message; Unavailable if it is denied, or IAM is silent."""
        body = {"payload": b64encode(message).decode(), "delegates": list(self._delegates)}
        url = f"{self._iam_url}/v1/projects/-/serviceAccounts/{quote(self.email)}:signBlob"
        why = ""
        cause: Exception | None = None
        for _ in self._retry_env.attempts(MAX_TRIES):
            try:
                response = self._session.post(
                    url, json=body, timeout=TIMEOUTS, allow_redirects=False
                )
            except Timeout as error:
                why, cause = "it does not answer", error
                break  # a download waits for this, and silence lasts
            except RequestException as error:
                why, cause = "it cannot be reached", error
                continue
            except GoogleAuthError as error:
                why, cause = "the credentials cannot be renewed", error
                continue
            if response.status_code == HTTPStatus.OK:
                return self._signature(response)
            if response.status_code == HTTPStatus.FORBIDDEN:
                raise self._denied()
            why, cause = f"it answered {response.status_code}", None
            if (
                response.status_code != HTTPStatus.TOO_MANY_REQUESTS
                and response.status_code < FIRST_SERVER_ERROR
            ):
                break
        raise _silent(f"IAM does not sign for {self._email}: {why}") from cause

    def _fetch_email(self) -> str:
        cause: GoogleAuthError | None = None
        refresh: Callable[[Request], None] = self._credentials.refresh
        for _ in self._retry_env.attempts(MAX_TRIES):
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
        raise _silent(what) from cause

    def _signature(self, response: Response) -> bytes:
        try:
            return b64decode(response.json()["signedBlob"], validate=True)
        except (ValueError, LookupError, TypeError) as error:
            what = f"IAM does not sign for {self._email}: its reply holds no signature"
            raise _silent(what) from error

    def _denied(self) -> Unavailable:
        return Unavailable(
            f"Download URLs cannot be signed: the permission {PERMISSION} on {self._email} is "
            "missing, or the API iamcredentials.googleapis.com is off. Grant a role "
            "that has it on that account (docs/bucket.md), or have downloads streamed.",
            code="signing_denied",
            short="Download URLs cannot be signed.",
        )


Signer = KeySigner | IamSigner


def signer_for(
    credentials: Credentials, retry_env: RetryEnvironment, iam_url: str = IAM_URL
) -> Signer | None:
    """Return who signs for these credentials, or None: a person's, or nobody's."""
    if isinstance(credentials, Signing) and _has_private_key(credentials.signer):
        return KeySigner(credentials.signer_email, credentials.sign_bytes)
    email = _email_of(credentials)
    if email is None:
        return None
    if isinstance(credentials, impersonated_credentials.Credentials):
        # who may act for an account may sign for it, which the account itself often may not;
        # google-auth has no public name for either
        lender = getattr(credentials, "_source_credentials", credentials)
        delegates = tuple(getattr(credentials, "_delegates", None) or ())
        return IamSigner(_scoped(lender), email, retry_env, iam_url, delegates)
    return IamSigner(_scoped(credentials), email, retry_env, iam_url)


class UrlSigner:
    """URLs of objects, each signed once a window."""

    def __init__(
        self,
        signer: Signer,
        now: Callable[[], float],
        endpoint: str = STORAGE_URL,
        capacity: int = URL_CACHE_ENTRIES,
    ) -> None:
        self._signer = signer
        self._now = now
        self._endpoint = urlsplit(endpoint)
        self._urls: LruCache[SigningRequest, str] = LruCache(capacity)
        self._in_flight: dict[SigningRequest, Future[str]] = {}
        self._lock = Lock()

    def url(self, bucket: str, name: str, lifetime: timedelta) -> str:
        """
        Return the URL that allows GET of one object.

        It is the same for everybody within half a lifetime, and is good for at least as long.

        Raises:
            Unavailable: Code signing_denied, or signing_unavailable; nothing is kept of it.
        """
        ask = SigningRequest(
            scheme=self._endpoint.scheme,
            host=self._endpoint.netloc,
            path=object_path(bucket, name),
            signed_at=signing_time(self._now(), lifetime),
            lifetime=lifetime,
        )
        with self._lock:
            known = self._urls.get(ask)
            if known is not None:
                return known
            theirs = self._in_flight.get(ask)
            if theirs is None:
                self._in_flight[ask] = Future()
        return self._made(ask) if theirs is None else theirs.result()

    def _made(self, ask: SigningRequest) -> str:
        """Return the URL, for the caller and for everybody who waits for it."""
        try:
            url = signed_url(ask, self._signer.email, self._signer.sign)
        except BaseException as error:
            with self._lock:
                outcome = self._in_flight.pop(ask)
            outcome.set_exception(error)
            raise
        with self._lock:
            outcome = self._in_flight.pop(ask)
            self._urls.put(ask, url, 1)
        outcome.set_result(url)
        return url


def _has_private_key(signer: object) -> bool:
    # these two of google-auth ask IAM, and hold no key themselves
    return not isinstance(signer, iam.Signer | Credentials)


def _email_of(credentials: Credentials) -> str | None:
    email: str | None = getattr(credentials, "service_account_email", None)
    return email


def _scoped(credentials: Credentials) -> Credentials:
    if isinstance(credentials, Scoped):
        with_scopes: Callable[[list[str]], Credentials] = credentials.with_scopes
        return with_scopes([SCOPE])
    return credentials


def _silent(what: str) -> Unavailable:
    return Unavailable(
        f"{what}. Try again in a moment.",
        code="signing_unavailable",
        short="Download URLs cannot be signed.",
    )
