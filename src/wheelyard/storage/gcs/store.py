"""
The store in a Google Cloud Storage bucket.

An object's version is its generation. Every conditional write names a generation as its
precondition, so the bucket itself decides races. A download is one request, however long it is, as
each request costs an operation. After a break, the rest is requested of the same generation.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import google_crc32c
import requests
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.auth import jwt
from google.auth.credentials import Signing
from google.cloud.storage import Blob, Client
from google.cloud.storage import exceptions as storage
from requests import Session
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import NotFound
from wheelyard.storage import bucket_store, failures
from wheelyard.storage.base import CHUNK_BYTES, Entry, Key, ObjectVersion, Stored, WebType
from wheelyard.storage.failures import Failure, FailureKind
from wheelyard.storage.filesystem import storage_faults
from wheelyard.storage.location import BucketLocation

T = TypeVar("T")

Credentials = Any
"""The credentials of Google's library: each kind is a class of its own, without types."""

UPLOAD_CHUNK_BYTES: Final = 4 * 1024**2
"""Bytes of the largest file that is sent in one request, and of each chunk of a larger one."""
READ_TIMEOUTS: Final = (3.0, 6.0)
"""Seconds to connect, and to wait for an answer, as for the next two."""
WRITE_TIMEOUTS: Final = (3.0, 10.0)
UPLOAD_TIMEOUTS: Final = (3.0, 60.0)
"""These are for a large body, whose answer comes late."""
SMALL_BODY_BYTES: Final = 256 * 1024
"""Bytes of the largest body that is sent with `WRITE_TIMEOUTS`."""
MAX_FRUITLESS_RESUMES: Final = 3
"""How often a stream is resumed in a row without getting a byte."""
SEARCHED_CHARACTERS: Final = 1000
"""How many characters of an answer with an error are searched for known words."""
LIST_FIELDS: Final = "items(name,size,timeCreated),nextPageToken"
NO_GENERATION: Final = 1
"""A generation that no object has: generations count microseconds since 1970."""
MAX_GENERATION_DIGITS: Final = 18
GOOGLE_ERRORS: Final = (
    api.GoogleAPIError,
    auth.GoogleAuthError,
    requests.RequestException,
    storage.DataCorruption,
    storage.InvalidResponse,
    HTTPError,
    ConnectionError,
    TimeoutError,
)
"""All exceptions that a call of Google's libraries may raise."""
_PERMISSION: Final = re.compile(r"\bstorage\.[a-z]+\.[a-zA-Z]+\b")
_CRC32C: Final = re.compile(r"crc32c=([A-Za-z0-9+/=]+)")
_claims_of: Final[Callable[..., dict[str, Any]]] = jwt.decode  # it has no type annotations


def credentials_of(client: Client) -> Credentials:
    """Return the credentials of a client."""
    return client._credentials  # noqa: SLF001 - the library has no public name for them


def can_sign(credentials: Credentials) -> bool:
    """Return whether credentials are those of a service account."""
    # for credentials without a key, IAM signs for the account with this e-mail
    has_email = getattr(credentials, "service_account_email", None) is not None
    return isinstance(credentials, Signing) or has_email


def email_of(credentials: Credentials) -> str | None:
    """
    Return the e-mail of the account of credentials, for the journal, or None if it is unknown.

    The e-mail of a service account is known after the first use of the credentials: before that,
    the e-mail of credentials of the metadata server is `default`. The e-mail of a user is known if
    Google has sent an ID token with the access token.
    """
    emails = [
        getattr(credentials, "service_account_email", None),
        getattr(credentials, "account", None),
    ]
    with suppress(auth.GoogleAuthError, ValueError, TypeError, AttributeError):
        # not verified, as it has come from Google directly
        emails.append(_claims_of(credentials.id_token, verify=False).get("email"))
    for email in emails:
        if isinstance(email, str) and "@" in email:
            return email
    return None


@contextmanager
def google_failures(malformed: FailureKind = FailureKind.UNCLEAR) -> Iterator[None]:
    """
    Turn every exception of Google's libraries in the block into a Failure.

    An answer that is not from Cloud Storage becomes a Failure of the kind `malformed`.
    """
    try:
        yield
    except GOOGLE_ERRORS as error:
        raise failure_of(error) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # the library raises these if something else than Cloud Storage has answered
        raise Failure(malformed, 200, "as Cloud Storage never does") from error


def failure_of(error: Exception) -> Failure:
    """
    Return the Failure for an exception of Google's libraries.

    Its kind is UNCLEAR if the bucket has not answered, and NO_TOKEN if the servers that give tokens
    have not answered.
    """
    if isinstance(error, auth.TransportError):
        return Failure(FailureKind.NO_TOKEN)
    if isinstance(error, auth.GoogleAuthError):
        return Failure(FailureKind.BAD_CREDENTIALS)
    if isinstance(error, storage.DataCorruption):
        return damaged()
    response = getattr(error, "response", None)
    if response is None:
        return Failure(FailureKind.UNCLEAR)
    return failure_of_response(response)


def damaged() -> Failure:
    """Return the failure for bytes that have another checksum than the bucket says."""
    return Failure(FailureKind.UNCLEAR, 200, "and damaged bytes")


def failure_of_response(response: requests.Response) -> Failure:
    """
    Return the Failure that an HTTP answer with an error status means.

    Reads the body, so it raises RequestException if a streamed answer breaks off. Call it within
    `google_failures`. A `Retry-After` that is a date counts as none.
    """
    status = response.status_code
    # perhaps a proxy has answered, so only known words are looked for, in the beginning
    text = response.text[:SEARCHED_CHARACTERS]
    kind = failures.kind_of_status(status)
    if kind is FailureKind.ABSENT and "bucket does not exist" in text:
        kind = FailureKind.NO_BUCKET
    permission = _PERMISSION.search(text)
    right = permission[0] if permission else ""
    retry_after = 0.0
    retry_header = response.headers.get("Retry-After", "")
    if retry_header.isascii() and retry_header.isdigit():  # it may be a date, which is ignored
        retry_after = float(retry_header)
    return Failure(kind, status, right=right, retry_after=retry_after)


class GcsStore(bucket_store.BucketStore):
    """A store in a bucket, which threads may share, and processes that fork may not."""

    large_file_bytes = UPLOAD_CHUNK_BYTES
    large_files_at_a_time = 16  # each takes up to three chunks of memory
    # the bucket has lost the upload; after other failures a chunk is repeated
    resent_after = frozenset({FailureKind.ABSENT})

    def __init__(
        self,
        client: Client,
        location: BucketLocation,
        runtime: Runtime,
        urls: bucket_store.DownloadUrls | None,
        caching: str,
    ) -> None:
        super().__init__(location, runtime, urls, caching)
        self.client = client
        self._bucket = client.bucket(location.bucket)
        self._media_url = f"{client.api_endpoint}/download/storage/v1/b/{location.bucket}/o/"

    def account_email(self) -> str | None:
        """Return the e-mail of the account, or None until it is known, after the first use."""
        return email_of(credentials_of(self.client))

    def get_once(self, name: str, unless: ObjectVersion | None) -> Stored:
        """
        Return an object, whole.

        Raises Failure, of the kind UNCHANGED if its version is `unless`, ABSENT if there is none,
        and UNCLEAR if its bytes are damaged.
        """
        generation = generation_of(unless)
        query = {}
        if generation:
            query["ifGenerationNotMatch"] = str(generation)
        with google_failures(), closing(self._request(name, query)) as response:
            body = response.raw.read(decode_content=False)
            version = ObjectVersion(response.headers["X-Goog-Generation"])
            checksum = _CRC32C.search(response.headers.get("X-Goog-Hash", ""))
        if version == unless:  # an emulator may ignore the condition
            raise Failure(FailureKind.UNCHANGED)
        # bytes that were damaged on the way are asked for again, as the failure is UNCLEAR
        digest = google_crc32c.value(body).to_bytes(4, "big")
        if checksum and b64encode(digest).decode() != checksum[1]:
            raise damaged()
        return Stored(body, version)

    def stream_once(
        self, name: str, start: int, stop: int | None, generation: str = ""
    ) -> Iterator[bytes]:
        """
        Return the chunks of an object from `start` up to `stop`, or to its end without a `stop`.

        With a `generation`, the object must have this generation. Raises Failure, and so does the
        iterator.
        """
        response = self._open(name, start, stop, generation)
        return self._resumed(name, response, start, stop)

    def put_once(
        self, name: str, body: bytes, expect: ObjectVersion | None, kind: WebType
    ) -> ObjectVersion:
        """
        Write an object if it has the version `expect`, and return its new version.

        Raises Failure, of the kind CONFLICT if it has another version, or if another writer has
        just written it (status 429).
        """
        blob = self._new_blob(name, kind)
        timeouts = WRITE_TIMEOUTS if len(body) <= SMALL_BODY_BYTES else UPLOAD_TIMEOUTS
        try:
            with google_failures():
                blob.upload_from_string(
                    body,
                    content_type=kind.content_type,
                    if_generation_match=generation_of(expect),
                    retry=None,  # the library would not tell which try was executed
                    timeout=timeouts,
                )
                return ObjectVersion(str(int(blob.generation)))
        except Failure as failure:
            if expect and failure.kind is FailureKind.THROTTLED:
                # the caller expects a version, so it has to read again, and not to wait
                raise Failure(FailureKind.CONFLICT, failure.status) from failure
            raise

    def send_once(self, name: str, path: Path, size: int, kind: WebType) -> None:
        """
        Write the file at a path, a large one in chunks, each of which is repeated.

        Raises Failure. Raises Unavailable if the file cannot be opened.
        """
        blob = self._new_blob(name, kind)
        announced_size: int | None = size
        if size > UPLOAD_CHUNK_BYTES:
            # without a size the library sends chunks
            blob.chunk_size = UPLOAD_CHUNK_BYTES
            announced_size = None
        with storage_faults("the upload"):
            file = path.open("rb")
        with file, google_failures():  # ValueError: the bucket may keep a part of a chunk
            blob.upload_from_file(
                file, size=announced_size, retry=self.repeated, timeout=UPLOAD_TIMEOUTS
            )

    def delete_once(self, name: str) -> None:
        """Delete an object, or raise Failure, of the kind ABSENT if there is none."""
        with google_failures():
            self._bucket.blob(name).delete(timeout=READ_TIMEOUTS, retry=None)

    def entries(self, prefix: str, after: str) -> Iterator[Entry]:
        """
        Yield the entries whose key begins with `prefix` and is greater than `after`, sorted.

        Raises Failure, of the kind REFUSED if the listing repeats itself, or is not sorted.
        """
        start = self.name_of(Key(after)) if after else None

        # each page was an answer, and was asked for again until its JSON could be read
        with google_failures(malformed=FailureKind.REFUSED):
            blobs = self.client.list_blobs(
                self._bucket,
                prefix=self.name_of(Key(prefix)),
                start_offset=start,
                fields=LIST_FIELDS,
                timeout=READ_TIMEOUTS,
                retry=self.repeated,
            )
            last = ""
            token = None
            for page in blobs.pages:
                # without these checks a broken emulator or proxy would keep a listing from ending
                if token is not None and blobs.next_page_token == token:
                    raise failures.repeated_listing()
                token = blobs.next_page_token
                for blob in page:
                    key = Key(blob.name.removeprefix(self.location.prefix))
                    if key <= last:
                        raise failures.repeated_listing()
                    last = key
                    if key != after:  # the offset itself is listed, too
                        # Google's testbench leaves out the size of an empty object
                        yield Entry(key, blob.size or 0, blob.time_created.timestamp())

    def copy(self, source: BucketLocation, name: str, key: Key, kind: WebType) -> None:
        """
        Have the bucket copy an object of this or another bucket, whatever is at the key.

        `name` is the whole name of the original in the bucket of `source`. `key` and `kind` are for
        the copy, as in `put`. Raises NotFound if the original does not exist, and Unavailable if
        the bucket refuses.
        """
        blob = self._new_blob(self.name_of(key), kind)
        original = self.client.bucket(source.bucket).blob(name)
        arguments: dict[str, Any] = {"retry": self.repeated, "timeout": UPLOAD_TIMEOUTS}
        try:
            with google_failures():
                token, *_ = blob.rewrite(original, **arguments)
                while token is not None:  # between distant regions it takes several requests
                    token, *_ = blob.rewrite(original, token=token, **arguments)
        except Failure as failure:
            if failure.kind is FailureKind.ABSENT:
                raise NotFound(f"There is nothing at {name} in {source.root}.") from failure
            if failure.right == failures.READ.google:
                raise failures.unavailable(failure, source, failures.READ) from failure
            raise self.fault(failure, failures.WRITE) from failure

    def repeated(self, call: Callable[[], T]) -> Callable[[], T]:
        """Return a function that repeats a call, as Google's library wants its `retry=`."""
        return partial(self.repeat, bucket_store.WRITE_RETRY_SECONDS, _answer_of, call)

    def _resumed(
        self, name: str, response: requests.Response, position: int, stop: int | None
    ) -> Iterator[bytes]:
        """Yield the bytes from `position` on. After a break, request the remaining bytes."""
        # of the same generation, as bytes of another one must not follow those of the first
        generation = response.headers.get("X-Goog-Generation", "")
        fruitless_tries = 0
        while True:
            fruitless_tries += 1
            try:
                with google_failures(), closing(response):
                    while chunk := response.raw.read(CHUNK_BYTES, decode_content=False):
                        position += len(chunk)
                        fruitless_tries = 0
                        yield chunk
                    return
            except Failure:
                if fruitless_tries > MAX_FRUITLESS_RESUMES:
                    raise
            response = self.repeat(
                bucket_store.READ_RETRY_SECONDS, self._open, name, position, stop, generation
            )

    def _open(self, name: str, start: int, stop: int | None, generation: str) -> requests.Response:
        """Return the response with the bytes from `start` up to `stop`, or raise Failure."""
        query = {}
        if generation:
            query["generation"] = generation
        if not start and stop is None:
            return self._request(name, query)
        last = "" if stop is None else str(stop - 1)  # a range names its last byte (RFC 9110)
        response = self._request(name, query, {"Range": f"bytes={start}-{last}"})
        if not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            response.close()  # a proxy may ignore the range
            raise Failure(
                FailureKind.UNCLEAR, response.status_code, "and other bytes than were asked for"
            )
        return response

    def _request(
        self, name: str, query: dict[str, str], headers: dict[str, str] | None = None
    ) -> requests.Response:
        """Return the response to a download, whose body is not read yet, or raise Failure."""
        with google_failures():
            response: requests.Response = self.client._http.get(  # noqa: SLF001 - the one session
                self._media_url + quote(name, safe="~"),
                params={"alt": "media"} | query,
                # the bytes as they are stored, to which the checksum and the offsets belong
                headers={"Accept-Encoding": "identity"} | (headers or {}),
                stream=True,
                timeout=READ_TIMEOUTS,
            )
            if response.ok and response.status_code != requests.codes.not_modified:
                return response
            with response:
                raise failure_of_response(response)

    def _new_blob(self, name: str, kind: WebType) -> Blob:
        blob = self._bucket.blob(name)
        blob.content_type = kind.content_type
        if kind.cache_control:
            blob.cache_control = kind.cache_control
        return blob


def _answer_of(call: Callable[[], T]) -> T:
    with google_failures():
        return call()


def generation_of(version: ObjectVersion | None) -> int | None:
    """
    Return the generation for a precondition.

    Returns 0 if the object must be absent, and None if any version will do. For a version of
    another kind of store, returns a generation that no object has.
    """
    if version is None:
        return None
    if not version:
        return 0
    is_number = version.isascii() and version.isdigit()
    if is_number and len(version) <= MAX_GENERATION_DIGITS:
        return int(version)
    # the version of another kind of store: the bucket would refuse it as malformed
    return NO_GENERATION


def set_up_session(session: Session, url: str, max_connections: int) -> None:
    """
    Set up a session for the host of `url`, with at most `max_connections` idle connections.

    Proxies and certificates are those of the environment now: to look them up for each request
    takes a quarter of its processor time. `~/.netrc` is not read, as a password for every host in
    it would replace Google's token.
    """
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_connections=4, pool_maxsize=max_connections))
    settings = session.merge_environment_settings(url, {}, None, None, None)
    session.proxies = settings["proxies"]
    session.verify = settings["verify"]
    session.trust_env = False
