"""
Opens a bucket: finds the credentials and the endpoint, whose they are, and who can sign.

Google's library looks for Application Default Credentials itself: the file that
GOOGLE_APPLICATION_CREDENTIALS names, what gcloud has left, or the metadata server; and with
STORAGE_EMULATOR_HOST it goes to an emulator, as nobody.

Each answered request is counted, failed tries included: the owner of the bucket pays for it.
"""

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Literal

import google.auth
import requests
from google.auth import exceptions as auth
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client
from requests.adapters import HTTPAdapter

from wheelyard.errors import Invalid
from wheelyard.storage.base import Store
from wheelyard.storage.gcs.bucket_reader import BucketReader
from wheelyard.storage.gcs.location import BucketLocation
from wheelyard.storage.gcs.retry import CircuitBreaker, RetryEnvironment, no_credentials
from wheelyard.storage.gcs.signing import UrlSigner, object_path, signer_for
from wheelyard.storage.gcs.store import GcsStore, ImmutablePrefix, UrlFactory
from wheelyard.storage.instrumented import Operation, OperationCounter
from wheelyard.storage.split import SplitStore

MAX_CONNECTIONS: Final = 160
"""Connections to the bucket that are kept open, at most."""
IMMUTABLE_CACHING: Final = "max-age=31536000, immutable"

INSERT: Final = Operation("insert", "A")
COPY: Final = Operation("copy", "A")
LIST: Final = Operation("list", "A")
GET: Final = Operation("get", "B")
READ: Final = Operation("read", "B")
DELETE: Final = Operation("delete", "free")
UPLOAD_CHUNK: Final = Operation("piece", "free")
"""Of a large upload, whose beginning was the operation."""

_COPIES: Final = re.compile(r"/storage/v1/b/[^/]+/o/[^/]+/rewriteTo/")
_OBJECTS: Final = re.compile(r"/storage/v1/b/[^/]+/o$")

Downloads = Literal["auto", "redirect", "proxy", "public"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GcsDependencies:
    """What a bucket's store needs of the world."""

    now: Callable[[], float]
    """Seconds since the epoch."""
    monotonic: Callable[[], float]
    """Seconds since some moment."""
    pause: Callable[[float], None]
    random: Random
    operation_counter: OperationCounter

    def retry_env(self) -> RetryEnvironment:
        """Return what the retries of one store share."""
        return RetryEnvironment(
            self.monotonic, self.pause, self.random, CircuitBreaker(self.monotonic)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketOptions:
    """Which bucket is to be opened, and how its files go to clients."""

    place: BucketLocation
    files_prefix: str
    """Of the keys of files: large, and never changed."""
    files_place: BucketLocation | None = None
    """Where these are, if they have a bucket of their own."""
    downloads: Downloads = "auto"


@dataclass(frozen=True, slots=True)
class ConnectedBucket:
    """A bucket that is open."""

    store: Store
    credentials: Any

    @property
    def identity(self) -> str | None:
        """Whose credentials these are, if they tell; a service account's may after first use."""
        return email_of(self.credentials)


def open_bucket_reader(place: BucketLocation, dependencies: GcsDependencies) -> BucketReader:
    """Open a bucket of somebody else's layout; nothing is asked of it yet."""
    return BucketReader(
        _connected(place, dependencies.operation_counter), place, dependencies.retry_env()
    )


def open_bucket(request: BucketOptions, dependencies: GcsDependencies) -> ConnectedBucket:
    """
    Open a bucket; nothing is asked of it yet.

    Raises:
        Invalid: Redirects were asked for, and nothing here can sign (code `bad_setting`).
        Unavailable: There are no credentials (code `storage_credentials`).
    """
    client, retry_env = (
        _connected(request.place, dependencies.operation_counter),
        dependencies.retry_env(),
    )
    links = _links(request.downloads, client, dependencies.now, retry_env)
    scope = "public" if request.downloads == "public" else "private"
    unchanging = ImmutablePrefix(
        prefix=request.files_prefix, cache_control=f"{scope}, {IMMUTABLE_CACHING}"
    )
    store: Store = GcsStore(client, request.place, retry_env, links, unchanging)
    if request.files_place is not None:
        apart = GcsStore(client, request.files_place, retry_env, links, unchanging)
        store = SplitStore(store, apart, request.files_prefix)
    return ConnectedBucket(store, _credentials(client))


def operation_of(method: str, path_and_query: str) -> Operation | None:
    """Return the operation of a request; None where it is not about objects."""
    path, _, query = path_and_query.partition("?")
    if path.startswith(("/upload/", "/resumable/upload/")):
        return UPLOAD_CHUNK if method == "PUT" and "upload_id=" in query else INSERT
    if path.startswith("/download/"):
        return READ
    if "/o" not in path:
        return None
    if method == "DELETE":
        return DELETE
    if _COPIES.search(path):
        return COPY
    return LIST if _OBJECTS.search(path) else GET


def email_of(credentials: Any) -> str | None:  # noqa: ANN401 - each kind is a class of its own
    """
    Return the e-mail of whoever these credentials are, for the journal; None if they do not tell.

    A service account's always do, once they have been used (the metadata server's say `default`
    until then); a person's do where Google has sent an identity together with the access.
    """
    for attribute in ("service_account_email", "account"):
        email = getattr(credentials, attribute, None)
        if isinstance(email, str) and "@" in email:
            return email
    return _claimed(getattr(credentials, "id_token", None))


def _claimed(id_token: object) -> str | None:
    if not isinstance(id_token, str) or id_token.count(".") != 2:  # noqa: PLR2004 - RFC 7519
        return None
    payload = id_token.split(".")[1]
    try:
        claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return None
    # it has just come from Google, so it is not verified
    email = claims.get("email") if isinstance(claims, dict) else None
    return email if isinstance(email, str) and "@" in email else None


def _connected(place: BucketLocation, operation_counter: OperationCounter) -> Client:
    client = _client_or_none()
    if not isinstance(client, Client):  # not chained: what was raised may quote a whole key file
        raise no_credentials(place, is_file=client)
    # it would ask for the bucket's own metadata, which needs a right that nobody has to have
    client._bucket_metadata_cache = None  # noqa: SLF001 - the other way is a variable of the process
    session = client._http  # noqa: SLF001 - the library's one session, made by its own rules
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_connections=4, pool_maxsize=MAX_CONNECTIONS))

    def answered(response: requests.Response, **_: object) -> None:
        operation = operation_of(response.request.method or "", response.request.path_url)
        if operation is not None:
            operation_counter.add(operation)
        if not response.ok:  # of a 401 the library forgets the answer, and so the connection
            response.content  # noqa: B018 - it reads

    session.hooks["response"].append(answered)
    return client


def _client_or_none() -> Client | bool:
    """Return a client, or whether there is a file that should have made one."""
    try:
        return _client()
    except (auth.GoogleAuthError, ValueError, OSError, AttributeError, TypeError) as error:
        # the last two are what the library says of a key file that is JSON, and no key
        return "default credentials were not found" not in str(error)


def _client() -> Client:
    client = Client(project=None)
    endpoint = client.api_endpoint.rstrip("/")
    endpoint = endpoint if "://" in endpoint else f"http://{endpoint}"  # many emulators are told so
    if endpoint == client.api_endpoint:
        return client
    options = {"api_endpoint": endpoint}
    return Client(project=None, credentials=_credentials(client), client_options=options)


def _links(
    downloads: Downloads, client: Client, now: Callable[[], float], retry_env: RetryEnvironment
) -> UrlFactory | None:
    if downloads == "proxy":
        return None
    endpoint: str = client.api_endpoint
    if downloads == "public":
        return lambda bucket, name, _: endpoint + object_path(bucket, name)
    credentials = _credentials(client)
    if isinstance(credentials, AnonymousCredentials) and downloads == "redirect":
        credentials = _credentials_beside_an_emulator(credentials)
    signer = signer_for(credentials, retry_env)
    if signer is None and downloads == "redirect":
        raise Invalid(
            "[store] downloads: these credentials cannot sign a URL to redirect to. Use those of a "
            'service account, or downloads = "proxy".',
            code="bad_setting",
        )
    return None if signer is None else UrlSigner(signer, now, endpoint).url


def _credentials(client: Client) -> Any:  # noqa: ANN401 - each kind is a class of its own
    return client._credentials  # noqa: SLF001 - found by the library, and nowhere else to be had


def _credentials_beside_an_emulator(none: Any) -> Any:  # noqa: ANN401 - as above
    try:
        credentials, _ = google.auth.default()
    except auth.GoogleAuthError:
        return none
    return credentials
