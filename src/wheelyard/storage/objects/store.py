"""
The store in an S3 bucket or an Azure container.

A version is the ETag. obstore would repeat a conditional write whose answer was lost, and then
report the lost race against itself as a conflict. So these writes are sent by a client that repeats
nothing, and are repeated by `BucketStore`, which knows whether an earlier try may have been
executed.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import current_thread, main_thread
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import obstore
from msgspec import Struct
from obstore.exceptions import BaseError
from obstore.store import AzureStore, S3Store

from wheelyard.concurrency.runtime import Runtime
from wheelyard.concurrency.threads import DaemonThreads
from wheelyard.errors import Invalid
from wheelyard.storage import base
from wheelyard.storage.base import ABSENT, CHUNK_BYTES, Key, ObjectVersion, WebType
from wheelyard.storage.bucket_store import READ_RETRY_SECONDS, BucketStore, DownloadUrls
from wheelyard.storage.failures import TRANSIENT, WRITE, Failure, FailureKind, repeated_listing
from wheelyard.storage.filesystem import storage_faults
from wheelyard.storage.forwarding import Operation, OperationCounter
from wheelyard.storage.location import AZURE, S3, BucketLocation
from wheelyard.storage.objects.conditions import ConditionCheck
from wheelyard.storage.objects.obstore_errors import OBSTORE_ERRORS, failure_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obstore import Attributes, GetOptions, GetResult, ObjectMeta, PutMode


P = ParamSpec("P")
T = TypeVar("T")

Client = S3Store | AzureStore

CONNECT_SECONDS = 3
PART_BYTES: Final = 8 * 1024**2
"""Bytes of each part of a larger file. S3 takes at most 10,000 parts."""
PARTS_AT_A_TIME: Final = 3
PAGE_ENTRIES: Final = {S3: 1000, AZURE: 5000}
"""How many entries a page of a listing has: as many as the service sends in one answer."""
INSERT: Final = Operation("insert", "A")
PIECE: Final = Operation("piece", "A")
LISTED: Final = Operation("list", "A")
GET: Final = Operation("get", "B")
STREAM: Final = Operation("read", "B")
DELETED: Final = Operation("delete", "free")
PROBE_TYPE: Final = WebType("application/octet-stream", "")
LAST_CHARACTER: Final = "\U0010ffff"
_NAME: Final = re.compile(
    r"(?!\.{1,2}(?:/|\Z))[^/\0-\x1f\x7f]+(?:/(?!\.{1,2}(?:/|\Z))[^/\0-\x1f\x7f]+)*"
)
_URL: Final = re.compile(r"https?://[!-~]+")

_threads: Final = DaemonThreads(8, "bucket")


def answer_of(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """
    Return the result of a call of obstore, or raise Failure.

    While obstore waits for the network, no signal is handled in that thread. So the main thread,
    which handles signals, lets another thread wait: Ctrl-C then ends a command at once.
    """
    try:
        if current_thread() is main_thread():
            return _threads.start(partial(call, *args, **kwargs)).result()
        return call(*args, **kwargs)
    except OBSTORE_ERRORS as error:
        failure = failure_of(error)
    # outside of the handler, so that the exception does not refer to obstore's
    raise failure


def chunks_of(answer: "GetResult") -> Iterator[bytes]:
    """Yield the bytes of an answer, or raise Failure."""
    stream = answer.stream(CHUNK_BYTES)
    while (chunk := answer_of(next, stream, None)) is not None:
        view = memoryview(chunk)  # it may be larger than CHUNK_BYTES
        for offset in range(0, len(view), CHUNK_BYTES):
            yield bytes(view[offset : offset + CHUNK_BYTES])


def version_of(etag: str | None) -> ObjectVersion:
    """Return the version of an object with this ETag."""
    return ObjectVersion((etag or "").strip('"'))  # Azure's listings have no quotes


class Clients(Struct, frozen=True):
    """The clients of one bucket."""

    reads: Client
    """For small reads, listings and deletions, which obstore repeats for a short time."""
    writes: Client
    """For documents. obstore repeats none of these writes."""
    downloads: Client
    """For streams. The time limit of obstore is for a whole stream, also with a slow reader."""
    uploads: Client
    """For files, whose parts may take long. obstore repeats them."""


def make_clients(location: BucketLocation, config: Mapping[str, Any]) -> Clients:
    """
    Return the clients of a bucket, without a request.

    `config` has the arguments of a client of obstore. Raises Invalid (code `bad_setting`) if one of
    them is malformed.
    """
    endpoint = str(config.get("endpoint", "https://of-the-region"))
    # obstore panics at the first request to anything else
    if _URL.fullmatch(endpoint):
        # suppressed, and not the cause of the error below, as the text may have the key
        with suppress(BaseError, ValueError):
            http = endpoint.startswith("http://")
            # an installer waits for 15 seconds
            return Clients(
                reads=_Times(6, 6, 5, 8).client(location, config, http=http),
                writes=_Times(10, 10, 0, 8).client(location, config, http=http),
                # a stream that began before its retry time is not resumed
                downloads=_Times(3600, 10, 9, 3600).client(location, config, http=http),
                uploads=_Times(300, 120, 5, 600).client(location, config, http=http),
            )
    raise Invalid(
        f"The variables of the environment for {location.root} are malformed: look at the key, "
        "the region and the URL of the service.",
        code="bad_setting",
    )


class _Times(Struct, frozen=True):
    """The limits of a client: the number of retries, and the seconds that its requests may take."""

    request: int
    """Seconds for a whole request."""
    byte: int
    """Seconds without a byte."""
    retries: int
    """How often a request is repeated at most."""
    retrying: int
    """Seconds after which no retry begins."""

    def client(self, location: BucketLocation, config: Mapping[str, Any], *, http: bool) -> Client:
        """Return a client with these limits, which may use plain HTTP."""
        make: Callable[..., Client] = AzureStore if location.scheme == AZURE else S3Store
        return make(
            location.bucket,
            client_options={
                "allow_http": http,
                "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
                "read_timeout": timedelta(seconds=self.byte),
                "timeout": timedelta(seconds=self.request),
            },
            retry_config={
                "max_retries": self.retries,
                "retry_timeout": timedelta(seconds=self.retrying),
                "backoff": {
                    "init_backoff": timedelta(seconds=0.2),
                    "max_backoff": timedelta(seconds=4),
                    "base": 2,
                },
            },
            **config,
        )


class _Listing(Struct):
    """A listing under way."""

    prefix: str
    last: str
    """The last key that was listed, or at first the key after which the listing begins."""
    pages: "Iterator[Sequence[ObjectMeta]] | None" = None
    """The next pages. None if the listing has to be requested, from the last key on."""
    first: str = ""
    """The first name of the latest page."""


class ObjectStore(BucketStore):
    """
    A store in a bucket.

    Threads may share it. No process may fork after the first call: in the child every call waits
    forever, also that of a new store. Processes are spawned.
    """

    large_file_bytes = PART_BYTES
    large_files_at_a_time = 4  # each takes 24 MiB of memory
    resent_after = TRANSIENT | {
        FailureKind.ABSENT
    }  # obstore repeats only some requests of an upload

    def __init__(  # noqa: PLR0913 - what connect.py has made for it
        self,
        clients: Clients,
        location: BucketLocation,
        runtime: Runtime,
        counter: OperationCounter,
        check: ConditionCheck,
        *,
        urls: DownloadUrls | None,
        caching: str,
    ) -> None:
        super().__init__(location, runtime, urls, caching)
        self._clients = clients
        self._counter = counter
        self._check = check

    def get_once(self, name: str, unless: ObjectVersion | None) -> base.Stored:
        """
        Return an object, whole.

        Raises Failure, of the kind UNCHANGED if its version is `unless`, ABSENT if there is none,
        and UNCLEAR if the answer breaks off.
        """
        options: GetOptions = {}
        if unless:
            options = {"if_none_match": f'"{unless}"'}
        answer = self._ask(GET, obstore.get, self._clients.reads, name, options=options)
        try:
            body = answer_of(answer.bytes).to_bytes()
        except Failure as failure:
            # obstore resumes a broken answer, unless the object has changed since
            raise Failure(FailureKind.UNCLEAR, failure.status) from failure
        return base.Stored(body, version_of(answer.meta["e_tag"]))

    def put_once(
        self, name: str, body: bytes, expect: ObjectVersion | None, kind: WebType
    ) -> ObjectVersion:
        """
        Write an object if it has the version `expect`, and return its new version.

        Raises Failure, of the kind CONFLICT if it has another version.
        """
        try:
            return self.write_once(name, body, expect, kind)
        except Failure as failure:
            # a service may answer so if the object exists
            if failure.kind is FailureKind.BUSY and expect == ABSENT and self._exists(name):
                raise Failure(FailureKind.CONFLICT, failure.status) from failure
            raise

    def write_once(
        self,
        name: str,
        body: bytes,
        expect: ObjectVersion | None,
        kind: WebType = PROBE_TYPE,
    ) -> ObjectVersion:
        """
        Send one request that writes an object, and return its version, or raise Failure.

        `expect` is the version to replace: ABSENT if the object must be new, None for any.
        """
        mode: PutMode = "overwrite" if expect is None else "create"
        if expect:
            mode = {"e_tag": f'"{expect}"'}
        written = self._ask(
            INSERT,
            obstore.put,
            self._clients.writes,
            name,
            body,
            attributes=_attributes(kind),
            mode=mode,
            use_multipart=False,
        )
        return version_of(written["e_tag"])

    def send_once(self, name: str, path: Path, size: int, kind: WebType) -> None:
        """
        Write the file at a path, a large one in parts that obstore repeats.

        Raises Failure. Raises Unavailable if there is no such file.
        """
        # rounded up
        parts = -(-size // PART_BYTES)
        if parts > 1:
            # one more begins the upload; the insert completes it
            for _ in range(parts + 1):
                self._counter.add(PIECE)
        try:
            self._ask(
                INSERT,
                obstore.put,
                self._clients.uploads,
                name,
                path,
                attributes=_attributes(kind),
                mode="overwrite",
                use_multipart=parts > 1,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_A_TIME,
            )
        except Failure:
            # obstore raises the same error for a missing file as for a missing answer
            with storage_faults("the upload"):
                path.stat()
            raise

    def stream_once(self, name: str, start: int, stop: int | None) -> Iterator[bytes]:
        """
        Return the chunks of an object from `start` up to `stop`, or to its end without a `stop`.

        obstore resumes the stream after a broken connection. Raises Failure, of the kind ABSENT if
        there is no such object, and OUT_OF_RANGE if the object ends before `start`. The iterator
        raises Failure, too.
        """
        options: GetOptions = {}
        if stop is not None:
            options = {"range": (start, stop)}
        elif start:
            options = {"range": {"offset": start}}
        client = self._clients.downloads
        return chunks_of(self._ask(STREAM, obstore.get, client, name, options=options))

    def delete_once(self, name: str) -> None:
        """Delete an object, or raise Failure, of the kind ABSENT if there is none."""
        self._ask(DELETED, obstore.delete, self._clients.reads, name)

    def entries(self, prefix: str, after: str) -> Iterator[base.Entry]:
        """
        Yield the entries whose key begins with `prefix` and is greater than `after`, sorted.

        A listing that breaks off goes on after its last key. Raises Failure, of the kind REFUSED if
        it repeats itself, or is not sorted.
        """
        listing = _Listing(prefix, after)
        is_more = True
        while is_more:
            page = self.repeat(READ_RETRY_SECONDS, self._page, listing)
            # a page that is not full is the last one, which saves a request that is billed
            is_more = len(page) == PAGE_ENTRIES[self.location.scheme]
            for metadata in page:
                key = metadata["path"].removeprefix(self.location.prefix)
                # obstore lists a whole folder, and on Azure from the beginning of the folder
                if key <= after or not key.startswith(prefix):
                    # names are sorted, so this one is behind all names with the prefix
                    if key > prefix and key > after:
                        return
                    continue
                if key <= listing.last:
                    raise repeated_listing()
                listing.last = key
                yield base.Entry(Key(key), metadata["size"], metadata["last_modified"].timestamp())

    def name_of(self, key: Key) -> str:
        """
        Return the name of an object in the bucket.

        Raises Unavailable for a name that obstore cannot ask for.
        """
        # obstore strips some slashes, and refuses other names
        if not _NAME.fullmatch(key):
            raise base.no_key(key)
        return super().name_of(key)

    def before_write(self) -> None:
        """
        Raise Unavailable (code `conditions_ignored`) unless the service keeps conditions of writes.

        The first call of a process asks the service, by writes of an object that is deleted again.
        Raises Unavailable, too, if the service does not answer.
        """
        try:
            self._check.ensure(self)
        except Failure as failure:
            raise self.fault(failure, WRITE) from failure

    def _exists(self, name: str) -> bool:
        """Return whether an object exists for certain."""
        try:
            self._ask(GET, obstore.head, self._clients.reads, name)
        except Failure:
            return False
        return True

    def _page(self, listing: _Listing) -> "Sequence[ObjectMeta]":
        """Return the next page of a listing, or an empty one at its end."""
        pages = listing.pages
        if pages is None:
            # obstore takes a folder, not the beginning of a name
            folder, _, _ = self.location.name_of(listing.prefix).rpartition("/")
            pages = obstore.list(
                self._clients.reads,
                folder or None,
                offset=self._offset(listing.prefix, listing.last),
                chunk_size=PAGE_ENTRIES[self.location.scheme],
            )
            listing.first = ""
        # until the page has come: after a failure these pages end, and a new listing is requested
        listing.pages = None
        page: Sequence[ObjectMeta] = self._ask(LISTED, next, pages, ())
        first_name = page[0]["path"] if page else ""

        # a service that ignores where a page begins would send the same page for ever
        if page and first_name == listing.first:
            raise repeated_listing()
        listing.first = first_name
        listing.pages = pages
        return page

    def _offset(self, prefix: str, after: str) -> str | None:
        """Return the name after which a listing begins, or None for the beginning of the folder."""
        if self.location.scheme == AZURE:
            if not after.startswith(prefix):  # Azure only takes a name in the folder
                after = ""
        elif prefix and not prefix.endswith("/") and prefix > after:
            # the greatest name before all names with the prefix, as a whole folder is listed
            character_before = chr(ord(prefix[-1]) - 1)
            after = prefix[:-1] + character_before + LAST_CHARACTER
        if not after:
            return None
        return self.location.name_of(after)

    def _ask(
        self, operation: Operation, request: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Count a request, and return its answer, or raise Failure."""
        self._counter.add(operation)
        return answer_of(request, *args, **kwargs)


def _attributes(kind: WebType) -> "Attributes":
    """Return the headers of a download as obstore takes them, without those that are empty."""
    headers = {"Content-Type": kind.content_type, "Cache-Control": kind.cache_control}
    return {name: value for name, value in headers.items() if value}
