"""
Connections to Cloud Storage: credentials, endpoint, URL signer, and a count of operations.

Google's library finds Application Default Credentials itself: the file that
GOOGLE_APPLICATION_CREDENTIALS names, gcloud's login, or the metadata server. With
STORAGE_EMULATOR_HOST it connects to an emulator, without credentials.

Each answered request about objects is counted, failed tries and free operations included.
"""

import json
import re
from base64 import urlsafe_b64decode
from contextlib import suppress
from typing import Any, Final, Literal

import google.auth
import requests
from google.auth import exceptions as auth
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client
from msgspec import Struct

from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Invalid
from wheelyard.storage.base import Store
from wheelyard.storage.gcs.bucket_reader import GcsReader
from wheelyard.storage.gcs.error_mapping import no_credentials
from wheelyard.storage.gcs.retry import RetryEnvironment
from wheelyard.storage.gcs.session import set_up_session
from wheelyard.storage.gcs.signed_urls import UrlSigner, object_path, signer_for
from wheelyard.storage.gcs.store import GcsStore, UrlFactory
from wheelyard.storage.instrumented import Operation, OperationCounter
from wheelyard.storage.location import BucketLocation

MAX_CONNECTIONS: Final = 160
"""Idle connections to a bucket that are kept open, at most."""
IMMUTABLE_CACHING: Final = "max-age=31536000, immutable"

_COPIES: Final = re.compile(r"/storage/v1/b/[^/]+/o/[^/]+/rewriteTo/")
_OBJECTS: Final = re.compile(r"/storage/v1/b/[^/]+/o$")

Downloads = Literal["auto", "redirect", "proxy", "public"]


class ConnectedBucket(Struct, frozen=True):
    """The stores of a bucket, and the credentials that it was opened with."""

    documents: Store
    files: Store
    """With the caching headers of what never changes; perhaps in another bucket."""
    credentials: Any

    @property
    def account_email(self) -> str | None:
        """The account's e-mail, if known; a service account's may be known after the first use."""
        return email_of(self.credentials)


def open_bucket_reader(location: BucketLocation, runtime: Runtime) -> GcsReader:
    """Return a reader of a bucket that is no store, without a request; raises as `open_bucket`."""
    return GcsReader(_connect(location, OperationCounter()), location, RetryEnvironment(runtime))


def open_bucket(
    location: BucketLocation,
    runtime: Runtime,
    counter: OperationCounter,
    *,
    files_location: BucketLocation | None = None,
    downloads: Downloads = "auto",
) -> ConnectedBucket:
    """
    Return the stores of a bucket, without a request to it.

    The distributions may have a bucket of their own, `files_location`. `downloads` says how clients
    get them.

    Raises:
        Invalid: `redirect` needs signed URLs, and the credentials cannot sign (code `bad_setting`).
        Unavailable: There are no credentials (code `storage_credentials`).
    """
    client, env = _connect(location, counter), RetryEnvironment(runtime)
    urls = _url_factory(downloads, client, env)
    # only the bucket of the files is public
    is_apart = files_location is not None and downloads == "public"
    own_urls = _url_factory("auto", client, env) if is_apart else urls
    caching = f"{'public' if downloads == 'public' else 'private'}, {IMMUTABLE_CACHING}"
    return ConnectedBucket(
        GcsStore(client, location, env, own_urls),
        GcsStore(client, files_location or location, env, urls, caching),
        _credentials(client),
    )


def operation_of(method: str, path_and_query: str) -> Operation | None:
    """Return the operation that an HTTP request to a bucket is; None if it is not about objects."""
    path, _, query = path_and_query.partition("?")
    if path.startswith(("/upload/", "/resumable/upload/")):
        # of a large upload, only the first request is billed
        is_chunk = method == "PUT" and "upload_id=" in query
        return Operation("piece", "free") if is_chunk else Operation("insert", "A")
    if path.startswith("/download/"):
        return Operation("read", "B")
    if "/o" not in path:
        return None
    if method == "DELETE":
        return Operation("delete", "free")
    if _COPIES.search(path):
        return Operation("copy", "A")
    return Operation("list", "A") if _OBJECTS.search(path) else Operation("get", "B")


def email_of(credentials: Any) -> str | None:  # noqa: ANN401 - each kind is a class of its own
    """
    Return the e-mail of the account of some credentials, for the journal; None if it is unknown.

    A service account's e-mail is known after the first use of the credentials (before, those of the
    metadata server have `default`). A user's is known if Google has sent an ID token as well.
    """
    for attribute in ("service_account_email", "account"):
        email = getattr(credentials, attribute, None)
        if isinstance(email, str) and "@" in email:
            return email
    return _email_claim(getattr(credentials, "id_token", None))


def _email_claim(id_token: object) -> str | None:
    if not isinstance(id_token, str) or id_token.count(".") != 2:  # noqa: PLR2004 - RFC 7519
        return None
    payload = id_token.split(".")[1]
    try:
        claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return None
    # not verified, as it has come from Google directly
    email = claims.get("email") if isinstance(claims, dict) else None
    return email if isinstance(email, str) and "@" in email else None


def _connect(location: BucketLocation, counter: OperationCounter) -> Client:
    client = _new_client()
    if not isinstance(client, Client):  # not chained: the exception may quote a whole key file
        raise no_credentials(location, is_file=client)
    # with the cache it would read the bucket's metadata, which needs one more permission
    client._bucket_metadata_cache = None  # noqa: SLF001 - the other way is a variable of the process
    session = client._http  # noqa: SLF001 - the library's one session, made by its own rules
    set_up_session(session, client.api_endpoint, MAX_CONNECTIONS)

    def answered(response: requests.Response, **_: object) -> None:
        operation = operation_of(response.request.method or "", response.request.path_url)
        if operation is not None:
            counter.add(operation)
        if not response.ok:  # the library does not read a 401, which would lose the connection
            response.content  # noqa: B018 - it reads

    session.hooks["response"].append(answered)
    return client


def _new_client() -> Client | bool:
    """Return a client; if there are no credentials, return whether a file should have had them."""
    try:
        client = Client(project=None)
        endpoint = client.api_endpoint.rstrip("/")
        # STORAGE_EMULATOR_HOST often has no scheme
        endpoint = endpoint if "://" in endpoint else f"http://{endpoint}"
        if endpoint == client.api_endpoint:
            return client
        options = {"api_endpoint": endpoint}
        return Client(project=None, credentials=_credentials(client), client_options=options)
    except (auth.GoogleAuthError, ValueError, OSError, AttributeError, TypeError) as error:
        # the library raises the last two for a file that is JSON without a key
        return "default credentials were not found" not in str(error)


def _url_factory(downloads: Downloads, client: Client, env: RetryEnvironment) -> UrlFactory | None:
    if downloads == "proxy":
        return None
    endpoint: str = client.api_endpoint
    if downloads == "public":
        return lambda bucket, name, _: endpoint + object_path(bucket, name)
    credentials = _credentials(client)
    if isinstance(credentials, AnonymousCredentials) and downloads == "redirect":
        with suppress(auth.GoogleAuthError):  # an emulator is used without credentials
            credentials, _ = google.auth.default()
    signer = signer_for(credentials, env)
    if signer is None and downloads == "redirect":
        raise Invalid(
            "[store] downloads: these credentials cannot sign a URL to redirect to. Use those of a "
            'service account, or downloads = "proxy".',
            code="bad_setting",
        )
    return None if signer is None else UrlSigner(signer, env.runtime.seconds, endpoint).url


def _credentials(client: Client) -> Any:  # noqa: ANN401 - each kind is a class of its own
    return client._credentials  # noqa: SLF001 - the library has no public name for them
