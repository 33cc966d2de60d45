"""
Who signs URLs: a private key where there is one, otherwise IAM by its method signBlob.

On Cloud Run, GKE and Compute Engine nobody has the key of the service account, and a signature
costs one call over the network, which needs the permission iam.serviceAccounts.signBlob. So a URL
is kept for its window, and many who want the same one at once share one call.

Credentials of the metadata server do not know whose they are before they have been refreshed;
nothing here goes to the network until the first URL is asked for.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from random import Random
from threading import Lock
from typing import Final, Protocol
from urllib.parse import quote, urlsplit

from google.auth import compute_engine, external_account, iam, impersonated_credentials
from google.auth.credentials import AnonymousCredentials, Credentials, Scoped, Signing
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession, Request
from requests import Response, Session
from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException, Timeout

from wheelyard.errors import Unavailable
from wheelyard.storage.cloud.signing import Ask, object_path, quantised, signed_url

IAM: Final = "https://iamcredentials.googleapis.com"
STORAGE: Final = "https://storage.googleapis.com"
SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
PERMISSION: Final = "iam.serviceAccounts.signBlob"

TIMEOUTS: Final = (3.0, 5.0)
"""Seconds to connect, and to wait for more of a reply: a client waits for 15 at most."""
CONNECTIONS: Final = 64
"""Kept open to IAM at a time; more are opened if need be."""
TRIES: Final = 3
FIRST_PAUSE: Final = 0.2
"""Seconds before the second try, at most; doubled before the third."""
CAPACITY: Final = 4096
"""URLs in memory, of about 1.3 KB each."""
NOT_YET_KNOWN: Final = "default"
"""What credentials of the metadata server say for an email until they are refreshed."""

# google-auth has no types of its own to call these by
_session_of: Final[Callable[[Credentials], Session]] = AuthorizedSession
_request_over: Final[Callable[[Session], Request]] = Request


class Signer(Protocol):
    """A service account, and something that signs for it; safe to share between threads."""

    @property
    def email(self) -> str:
        """
        The service account.

        Raises:
            Unavailable: It is not known yet, and the metadata server does not tell.
        """
        ...

    def sign(self, message: bytes) -> bytes:
        """
        Return the signature of a message, RSA PKCS #1 v1.5 with SHA-256.

        Raises:
            Unavailable: Code signing_denied, or signing_unavailable.
        """
        ...

    def close(self) -> None:
        """Let go of the connections."""
        ...


def signer_of(
    credentials: Credentials,
    *,
    pause: Callable[[float], None],
    random: Random,
    email: str | None = None,
    iam_url: str | None = None,
) -> Signer | None:
    """
    Return who signs for these credentials, or None: a person's, or nobody's.

    Args:
        credentials: As google-auth found them.
        pause: Waits for some seconds before a call is tried again.
        random: Spreads these pauses.
        email: The service account to sign for, if the credentials do not tell; they need the
            permission to sign on it. A private key signs for its own.
        iam_url: Where IAM is, if not at Google.
    """
    if isinstance(credentials, Signing) and _is_at_hand(credentials.signer):
        return KeySigner(credentials.signer_email, credentials.sign_bytes)
    if isinstance(credentials, AnonymousCredentials):
        return None
    email = email or _email_of(credentials)
    if email is None:
        return None
    lender, delegates = credentials, ()
    if isinstance(credentials, impersonated_credentials.Credentials):
        # who may act for an account may sign for it, which the account itself often may not;
        # google-auth has no public name for either
        lender = getattr(credentials, "_source_credentials", credentials)
        delegates = tuple(getattr(credentials, "_delegates", None) or ())
    account = Account(email, delegates)
    return BlobSigner(_scoped(lender), account, iam_url or IAM, pause, random)


@dataclass(frozen=True, slots=True)
class KeySigner:
    """A private key in memory."""

    email: str
    sign: Callable[[bytes], bytes]

    def close(self) -> None:
        """Do nothing: there are no connections."""


@dataclass(frozen=True, slots=True)
class Account:
    """A service account that others may sign for."""

    email: str
    """`default` for that of the metadata server."""
    delegates: tuple[str, ...] = ()
    """Accounts by way of which the permission is held."""


class BlobSigner:
    """
    IAM, signing with a key that Google keeps.

    Args:
        credentials: Allowed to sign for the account; with the scope cloud-platform.
        account: Whose signature it is.
        iam_url: Scheme and host of IAM.
        pause: Waits for some seconds.
        random: Spreads the pauses.
    """

    def __init__(
        self,
        credentials: Credentials,
        account: Account,
        iam_url: str,
        pause: Callable[[float], None],
        random: Random,
    ) -> None:
        self._credentials = credentials
        self._session = _session_of(credentials)
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS))
        self._iam_url = iam_url.rstrip("/")
        self._delegates = account.delegates
        self._email = account.email
        self._pause = pause
        self._random = random
        self._lock = Lock()

    @property
    def email(self) -> str:
        """The service account, asked of the metadata server once if need be."""
        with self._lock:
            if self._email == NOT_YET_KNOWN:
                self._email = self._introduced()
            return self._email

    def sign(self, message: bytes) -> bytes:
        """Return IAM's signature of `message`."""
        body = {"payload": b64encode(message).decode(), "delegates": list(self._delegates)}
        url = f"{self._iam_url}/v1/projects/-/serviceAccounts/{quote(self.email)}:signBlob"
        why = ""
        cause: Exception | None = None
        for _ in self._tries():
            try:
                reply = self._session.post(url, json=body, timeout=TIMEOUTS, allow_redirects=False)
            except Timeout as error:
                why, cause = "it does not answer", error
                break  # a download waits for this, and silence lasts
            except RequestException as error:
                why, cause = "it cannot be reached", error
                continue
            except GoogleAuthError as error:
                why, cause = "the credentials cannot be renewed", error
                continue
            if reply.status_code == HTTPStatus.OK:
                return self._signature(reply)
            if reply.status_code == HTTPStatus.FORBIDDEN:
                raise self._denied()
            why, cause = f"it answered {reply.status_code}", None
            if not _passes(reply.status_code):
                break
        raise self._silent(f"IAM does not sign for {self._email}: {why}") from cause

    def close(self) -> None:
        """Let go of the connections."""
        self._session.close()

    def _introduced(self) -> str:
        cause: GoogleAuthError | None = None
        for _ in self._tries():
            refresh: Callable[[Request], None] = self._credentials.refresh
            try:
                with Session() as session:
                    refresh(_request_over(session))
            except GoogleAuthError as error:
                cause = error
                continue
            email = _email_of(self._credentials)
            if email and email != NOT_YET_KNOWN:
                return email
        raise self._silent(
            "The metadata server does not tell which service account this is"
        ) from cause

    def _tries(self) -> Iterator[int]:
        for turn in range(TRIES):
            if turn:
                self._pause(self._random.uniform(0, FIRST_PAUSE * turn))
            yield turn

    def _signature(self, reply: Response) -> bytes:
        try:
            return b64decode(reply.json()["signedBlob"], validate=True)
        except (ValueError, LookupError, TypeError) as error:
            raise self._silent(
                f"IAM does not sign for {self._email}: its reply holds no signature"
            ) from error

    def _denied(self) -> Unavailable:
        return Unavailable(
            f"Download URLs cannot be signed: the permission {PERMISSION} on {self._email} is "
            "missing, or the API iamcredentials.googleapis.com is off. Grant a role "
            "that has it on that account (docs/bucket.md), or have downloads streamed.",
            code="signing_denied",
            short="Download URLs cannot be signed.",
        )

    def _silent(self, what: str) -> Unavailable:
        return Unavailable(
            f"{what}. Try again in a moment.",
            code="signing_unavailable",
            short="Download URLs cannot be signed.",
        )


class UrlSigner:
    """
    URLs of objects, each signed once a window.

    Args:
        signer: Who signs.
        now: Tells the seconds since the epoch.
        endpoint: Scheme and host of the storage.
        capacity: How many URLs are kept; the oldest go first.
    """

    def __init__(
        self,
        signer: Signer,
        now: Callable[[], float],
        endpoint: str = STORAGE,
        capacity: int = CAPACITY,
    ) -> None:
        where = urlsplit(endpoint)
        self._signer = signer
        self._now = now
        self._scheme, self._host = where.scheme, where.netloc
        self._capacity = capacity
        self._urls: dict[Ask, str] = {}
        self._under_way: dict[Ask, Future[str]] = {}
        self._lock = Lock()

    def url(self, bucket: str, name: str, method: str, lifetime: timedelta) -> str:
        """
        Return the URL that allows one method on one object.

        It is the same for everybody within half a lifetime, and is good for at least as long.

        Args:
            bucket: Where the object is.
            name: The object's, unquoted.
            method: GET or HEAD; a URL for one is not good for the other.
            lifetime: 1 second to 7 days.

        Raises:
            Unavailable: Code signing_denied, or signing_unavailable; nothing is kept of it.
        """
        ask = Ask(
            method=method,
            scheme=self._scheme,
            host=self._host,
            path=object_path(bucket, name),
            signed_at=quantised(self._now(), lifetime),
            lifetime=lifetime,
        )
        with self._lock:
            if ask in self._urls:
                return self._urls[ask]
            theirs = self._under_way.get(ask)
            if theirs is None:
                self._under_way[ask] = Future()
        return self._made(ask) if theirs is None else theirs.result()

    def close(self) -> None:
        """Let go of the signer's connections."""
        self._signer.close()

    def _made(self, ask: Ask) -> str:
        """Return the URL, for the caller and for everybody who waits for it."""
        try:
            url = signed_url(ask, self._signer.email, self._signer.sign)
        except BaseException as error:
            with self._lock:
                outcome = self._under_way.pop(ask)
            outcome.set_exception(error)
            raise
        with self._lock:
            outcome = self._under_way.pop(ask)
            self._urls[ask] = url
            if len(self._urls) > self._capacity:
                del self._urls[next(iter(self._urls))]
        outcome.set_result(url)
        return url


def _is_at_hand(signer: object) -> bool:
    """Return whether a signer of google-auth holds a key: IAM's does not, nor who asks IAM."""
    return not isinstance(signer, iam.Signer | Credentials)


def _email_of(credentials: Credentials) -> str | None:
    """Return whose credentials these are, if they are a service account's."""
    accounts = (
        compute_engine.Credentials,
        external_account.Credentials,
        impersonated_credentials.Credentials,
    )
    if not isinstance(credentials, accounts):
        return None
    email: str | None = credentials.service_account_email
    return email


def _scoped(credentials: Credentials) -> Credentials:
    if isinstance(credentials, Scoped):
        with_scopes: Callable[[list[str]], Credentials] = credentials.with_scopes
        return with_scopes([SCOPE])
    return credentials


def _passes(status: int) -> bool:
    return status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR
