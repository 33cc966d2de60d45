"""
Connections to Cloud Storage: credentials, endpoint, URL signer, and the reader of a bucket.

Google's library finds Application Default Credentials itself: the file that
GOOGLE_APPLICATION_CREDENTIALS names, gcloud's login, or the metadata server. With
STORAGE_EMULATOR_HOST it connects to an emulator, without credentials.

Each answered request about objects is counted, failed tries and free operations included.

An object stored with `Content-Encoding: gzip` may have another size and other digests than its
download. `is_compressed` marks it for the importer.
"""

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, Final

import google.auth
import requests
from google.auth import exceptions as auth
from google.auth import iam
from google.auth.credentials import AnonymousCredentials, Scoped, Signing
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request
from google.cloud.storage import Blob, Bucket, Client
from google.oauth2 import service_account
from msgspec import Struct
from requests import RequestException, Session

from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import DOCUMENTATION
from wheelyard.storage.bucket_reader import BucketObject, BucketReader
from wheelyard.storage.bucket_store import Downloads, download_urls, signing_error
from wheelyard.storage.failures import READ, Failure, FailureKind, unavailable
from wheelyard.storage.forwarding import Operation, OperationCounter
from wheelyard.storage.gcs import store as gcs_store
from wheelyard.storage.gcs.store import Credentials, GcsStore
from wheelyard.storage.location import BucketLocation

RETRY_SECONDS: Final = 30.0
"""Seconds after which a call of a reader is not retried: no client waits for an import."""
TIMEOUTS: Final = (5.0, 30.0)
"""Seconds to connect, and seconds without a byte, for a reader."""
OBJECT_FIELDS: Final = "name,generation,size,timeCreated,md5Hash,metadata,contentEncoding"
SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
SIGNING_SECONDS: Final = 5.0
"""Seconds to wait for IAM. A client waits for 15 seconds at most."""
SIGNING_CONNECTIONS: Final = 64
"""Idle connections to IAM that are kept open."""
UNKNOWN_EMAIL: Final = "default"
"""The e-mail of the metadata server's credentials until their first refresh."""
MAX_CONNECTIONS: Final = 160
"""Idle connections to a bucket that are kept open, at most."""
_DENIED_TEXT: Final = re.compile(r"code\W+403\b")
_COPY_PATH: Final = re.compile(r"/storage/v1/b/[^/]+/o/[^/]+/rewriteTo/")
_LIST_PATH: Final = re.compile(r"/storage/v1/b/[^/]+/o$")

# google-auth has no type annotations for these
_iam_signer: Final[Callable[..., Any]] = iam.Signer
_account_credentials: Final[Callable[..., Credentials]] = service_account.Credentials


class GcsReader(BucketReader):
    """Lists and reads the objects below a location, by the requests of a store there."""

    def __init__(self, store: GcsStore) -> None:
        super().__init__(store.location)
        self._store = store

    def close(self) -> None:
        """Close the connections of this reader."""
        self._store.client.close()

    def _objects(self) -> Iterator[BucketObject]:
        with gcs_store.google_failures():
            blobs = self._store.client.list_blobs(
                self._location.bucket,
                prefix=self._location.prefix or None,
                fields=f"items({OBJECT_FIELDS}),nextPageToken",
                timeout=TIMEOUTS,
                retry=self._store.repeated,
            )
            for blob in blobs:
                yield self._bucket_object(blob)

    def _find(self, name: str) -> BucketObject:
        bucket = self._store.client.bucket(self._location.bucket)
        blob = bucket.blob(self._location.name_of(name))
        with gcs_store.google_failures():
            blob.reload(timeout=TIMEOUTS, retry=self._store.repeated)
            return self._bucket_object(blob)

    def _read(self, name: str, version: str) -> Iterator[bytes]:
        object_name = self._location.name_of(name)
        store = self._store
        return store.repeat(RETRY_SECONDS, store.stream_once, object_name, 0, None, version)

    def _bucket_object(self, blob: Blob) -> BucketObject:
        """Return the metadata that Google's library has read of an object."""
        return BucketObject(
            name=blob.name.removeprefix(self._location.prefix),
            version=str(int(blob.generation)),
            size=int(blob.size),
            created=blob.time_created,
            metadata=dict(blob.metadata or {}),
            md5=_hexadecimal(blob.md5_hash),
            is_compressed=bool(blob.content_encoding),
        )


def _hexadecimal(encoded: str | None) -> str:
    """Return a digest in hexadecimal, or an empty text if it is missing or malformed."""
    try:
        return b64decode(encoded or "", validate=True).hex()
    except NotBase64:
        return ""


class GoogleSigner:
    """Signs URLs of downloads, by the key of the credentials or by IAM."""

    def __init__(self, bucket: Bucket, credentials: Credentials, endpoint: str) -> None:
        self._bucket = bucket
        self._endpoint = endpoint
        session = Session()
        gcs_store.set_up_session(session, endpoint, SIGNING_CONNECTIONS)
        # without a time limit, a thread would wait for two minutes if IAM does not answer
        self._request: Callable[..., Any] = partial(Request(session), timeout=SIGNING_SECONDS)
        self._credentials = credentials
        # the scope of a bucket is too narrow for IAM; credentials with a key need no IAM
        is_too_narrow = isinstance(credentials, Scoped) and not isinstance(credentials, Signing)
        if is_too_narrow:
            self._credentials = credentials.with_scopes([SCOPE])

    def sign(self, name: str, lifetime: timedelta) -> str:
        """
        Return the URL of the object `name`.

        Raises Unavailable if signing is denied (code `signing_denied`), or if it fails otherwise
        (code `signing_unavailable`).
        """
        blob = self._bucket.blob(name)
        try:
            url = blob.generate_signed_url(
                version="v4",
                expiration=lifetime,
                credentials=self._signing_credentials(),
                api_access_endpoint=self._endpoint,
            )
            return str(url)
        except (GoogleAuthError, RequestException, ValueError, LookupError, TypeError) as error:
            email = getattr(self._credentials, "service_account_email", None)
            # the exception of google-auth has the status of IAM's answer only in its text
            is_denied = _DENIED_TEXT.search(str(error)) is not None
            reason = f"IAM does not sign for {email}."
            if is_denied:
                reason = (
                    f"The permission iam.serviceAccounts.signBlob on {email} is missing, or the "
                    "API iamcredentials.googleapis.com is off. Grant a role that has it on that "
                    f"account ({DOCUMENTATION}/bucket.md), or have downloads streamed."
                )
            raise signing_error(reason, is_denied=is_denied) from error

    def _signing_credentials(self) -> Credentials:
        """Return credentials that sign: by a key, by the account they impersonate, or by IAM."""
        credentials = self._credentials
        if isinstance(credentials, Signing):
            return credentials
        # the metadata server tells the e-mail of its account with the first token
        if credentials.service_account_email == UNKNOWN_EMAIL:
            credentials.refresh(self._request)
        email = credentials.service_account_email
        iam_signer = _iam_signer(self._request, credentials, email)
        return _account_credentials(iam_signer, email, "")


def open_bucket_reader(location: BucketLocation, runtime: Runtime) -> GcsReader:
    """
    Return a reader of a bucket that is no store. Its requests are not in the metrics.

    Raises Unavailable (code `storage_credentials`) if there are no credentials.
    """
    client = _connect(location, OperationCounter())
    return GcsReader(GcsStore(client, location, runtime, None, ""))


def store_opener(
    location: BucketLocation, runtime: Runtime, counter: OperationCounter
) -> "GcsStoreOpener":
    """
    Return the opener of stores by one client. `location` is for error messages.

    Raises Unavailable (code `storage_credentials`) if there are no credentials.
    """
    return GcsStoreOpener(_connect(location, counter), runtime)


class GcsStoreOpener(Struct, frozen=True):
    """Opens stores that share the connections of one client."""

    client: Client
    runtime: Runtime

    def open_store(self, location: BucketLocation, downloads: Downloads, caching: str) -> GcsStore:
        """
        Return the store at a location, whose objects have `caching` as their Cache-Control.

        Raises Invalid (code `bad_setting`) if `downloads` needs signed URLs, and nothing can sign.
        """
        credentials = gcs_store.credentials_of(self.client)
        endpoint = str(self.client.api_endpoint)
        if isinstance(credentials, AnonymousCredentials) and downloads == "redirect":
            with suppress(auth.GoogleAuthError):  # an emulator is used without credentials
                credentials, _ = google.auth.default()
        signer = None
        if gcs_store.can_sign(credentials):
            signer = GoogleSigner(self.client.bucket(location.bucket), credentials, endpoint)
        public_base = f"{endpoint}/{location.bucket}/"
        urls = download_urls(downloads, public_base, signer, self.runtime.seconds)
        return GcsStore(self.client, location, self.runtime, urls, caching)


def operation_of(method: str, path_and_query: str) -> Operation | None:
    """Return the operation of a request to a bucket, or None for a request about no object."""
    path = path_and_query.partition("?")[0]
    if path.startswith(("/upload/", "/resumable/upload/")):
        # of a large upload, only the first request is billed
        is_chunk = method == "PUT"
        return Operation("piece", "free") if is_chunk else Operation("insert", "A")
    if path.startswith("/download/"):
        return Operation("read", "B")
    if "/o" not in path:
        return None
    if method == "DELETE":
        return Operation("delete", "free")
    if _COPY_PATH.search(path):
        return Operation("copy", "A")
    return Operation("list", "A") if _LIST_PATH.search(path) else Operation("get", "B")


def _connect(location: BucketLocation, counter: OperationCounter) -> Client:
    """
    Return a client for many threads, whose answered requests are counted.

    Raises Unavailable (code `storage_credentials`) if there are no credentials.
    """
    client = _new_client(location)
    # to fill this cache, the client would read the bucket's metadata, which needs a permission
    client._bucket_metadata_cache = None  # noqa: SLF001 - the other way is a variable of the process
    session = client._http  # noqa: SLF001 - the library's one session, made by its own rules
    gcs_store.set_up_session(session, client.api_endpoint, MAX_CONNECTIONS)

    # a hook of the session gets the answer to each try, also of the library's own requests
    def count_answer(response: requests.Response, **_: object) -> None:
        operation = operation_of(response.request.method or "", response.request.path_url)
        if operation is not None:
            counter.add(operation)
        # the library does not read a 401, and a connection with an unread answer is closed
        if not response.ok:
            response.content  # noqa: B018 - it reads

    session.hooks["response"].append(count_answer)
    return client


def _new_client(location: BucketLocation) -> Client:
    """Return a client with the credentials that the library finds, or raise Unavailable."""
    try:
        return Client(project=None)
    except (auth.GoogleAuthError, ValueError, OSError, AttributeError, TypeError) as error:
        # the library raises AttributeError or TypeError for a file that is JSON without a key
        is_missing = "default credentials were not found" in str(error)
    # outside of the handler: the library's exception may quote a whole key file
    failure = Failure(FailureKind.NO_CREDENTIALS)
    if not is_missing:
        malformed = "their file cannot be read, or is malformed"
        failure = Failure(FailureKind.BAD_CREDENTIALS, code=malformed)
    raise unavailable(failure, location, READ)
