"""
The bytes of an object: whole, or part of them as a stream that goes on where it broke off.

One request for each stream, however long it is, because each costs an operation. What follows a
break is asked of the same generation, so that bytes of two writes never mix; a stream that is all
of an object is compared with the bucket's checksum before its last piece is given away.

A small object is read whole, and from its beginning again after a break: the generation that broke
off may be gone by then, and another one there.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import google_crc32c
import requests
from google.api_core import exceptions as api
from google.cloud.storage import Client
from google.cloud.storage.exceptions import DataCorruption
from urllib3.exceptions import HTTPError

from wheelyard.storage.base import CHUNK_BYTES
from wheelyard.storage.gcs.location import BucketLocation
from wheelyard.storage.gcs.retry import CONNECTION_ERRORS, RetryPolicy, is_missing_bucket

WHOLE_TIMEOUTS: Final = (3.0, 4.0)
STREAM_TIMEOUTS: Final = (3.0, 6.0)
"""Seconds: to connect, and of silence, before a body and in it: a client bears 15 of them."""
PROBE_TIMEOUTS: Final = (2.0, 2.0)
"""The same where the bucket was silent just now, and somebody waits for what is found out."""
COALESCE_SECONDS: Final = 0.2
"""Seconds that bytes of a body which have come wait for more, about."""
MAX_FRUITLESS_RESUMES: Final = 3
"""How often in a row a stream may break off without a byte having come."""
MAX_RESUMES: Final = 50
"""How often it may break off at all: each time costs an operation."""
WHOLE_READ_SECONDS: Final = 8.0
"""Seconds that a small object may take to come, about."""
MAX_WHOLE_BYTES: Final = 64 * 1024**2
"""Bytes of an object that is read whole: the document of 200,000 files."""

_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_CRC32C: Final = re.compile(r"crc32c=([A-Za-z0-9+/=]+)")


@dataclass(slots=True)
class ResumableDownload:
    """One object, to be read once; `name` has the prefix in it."""

    client: Client
    place: BucketLocation
    name: str
    retry_policy: RetryPolicy
    position: int = 0
    """Of the next byte."""
    stop: int = 0
    """Where the stream ends; known once it is open."""
    generation: str = ""
    expected: str = ""
    """The bucket's checksum, if this is the whole object."""
    checksum: Any = field(default_factory=google_crc32c.Checksum)
    response: requests.Response | None = None

    def whole(self, unless: int | None) -> tuple[bytes, str] | None:
        """Return all bytes and their generation; None if that is `unless`."""
        return self.retry_policy.run(lambda: self._read_whole(unless))

    def open(self, start: int, stop: int | None) -> bool:
        """Ask for the bytes from `start` up to `stop`; return whether the object is there."""
        self.position = self.stop = start
        last = "" if stop is None else str(stop - 1)
        # an empty range cannot be said; the first byte tells as well whether the object is there
        span = f"{start}-{last}" if stop is None or stop > start else "0-0"
        try:
            response = self.retry_policy.run(lambda: self._request(span))
        except api.RequestRangeNotSatisfiable:
            return True
        except api.NotFound as error:
            if is_missing_bucket(error):
                raise
            return False
        if stop is not None and stop <= start:
            response.close()
            return True
        self.response = response
        self.generation = response.headers.get("X-Goog-Generation", "")
        self.stop, size = _range_of(response, start, stop)
        if (start, self.stop) == (0, size):
            self.expected = _checksum_of(response)
        return True

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes; closing the iterator closes the connection."""
        breaks, in_all = 0, 0
        try:
            while self.position < self.stop:
                before = self.position
                try:
                    yield from self._received()
                except CONNECTION_ERRORS:
                    breaks = 0 if self.position > before else breaks + 1
                    in_all += 1
                    if breaks > MAX_FRUITLESS_RESUMES or in_all > MAX_RESUMES:
                        raise
                if self.position < self.stop:
                    self._go_on()
        finally:
            if self.response is not None:
                self.response.close()

    def _received(self) -> Iterator[bytes]:
        response = self.response
        if response is None:
            return
        for chunk in coalesced_chunks(response, self.retry_policy.retry_env.monotonic):
            self.checksum.update(chunk)
            if self.position + len(chunk) >= self.stop:
                _compare(response, self.expected, self.checksum.digest())
            self.position += len(chunk)
            yield chunk

    def _go_on(self) -> None:
        if self.response is not None:
            self.response.close()
        span = f"{self.position}-{self.stop - 1}"
        self.response = self.retry_policy.run(lambda: self._request(span))
        _range_of(self.response, self.position, self.stop)

    def _request(self, span: str) -> requests.Response:
        known = {"generation": self.generation} if self.generation else {}
        return self._media(
            known, {} if span == "0-" else {"Range": f"bytes={span}"}, STREAM_TIMEOUTS
        )

    def _read_whole(self, unless: int | None) -> tuple[bytes, str] | None:
        known = {} if unless is None else {"ifGenerationNotMatch": str(unless)}
        with self._media(known, {}, WHOLE_TIMEOUTS) as response:
            if response.status_code == requests.codes.not_modified:
                return None
            generation = response.headers.get("X-Goog-Generation")
            if generation is None:
                raise requests.ConnectionError("this is no answer of a bucket")
            body = _within(response, self.retry_policy.retry_env.monotonic)
            digest = google_crc32c.value(body).to_bytes(4, "big")
            _compare(response, _checksum_of(response), digest)
            return body, generation

    def _media(
        self, parameters: dict[str, str], headers: dict[str, str], timeouts: tuple[float, float]
    ) -> requests.Response:
        """Ask for bytes, and return the answer as soon as it begins."""
        bucket, quoted = quote(self.place.bucket, safe="~"), quote(self.name, safe="~")
        response: requests.Response = self.client._http.get(  # noqa: SLF001 - the one session
            f"{self.client.api_endpoint}/download/storage/v1/b/{bucket}/o/{quoted}",
            params={"alt": "media"} | parameters,
            headers={"Accept-Encoding": "identity"} | headers,
            stream=True,
            timeout=PROBE_TIMEOUTS if self.retry_policy.retry_env.breaker.is_open else timeouts,
        )
        if not response.ok:
            with response:
                text = response.text[:1000]
            status = response.status_code
            raise api.from_http_status(status, text, response=response)  # type: ignore[no-untyped-call]
        return response


def coalesced_chunks(
    response: requests.Response, monotonic: Callable[[], float]
) -> Iterator[bytes]:
    """
    Yield a body as it comes: whole chunks of a fast one, and of a slow one what there is.

    A client that waits for the first byte of a slow body until a chunk is full may give up before.
    What the library raises comes after all that has come before.
    """
    failure: Exception | None = None
    is_over = False
    while not is_over:
        gathered, size, end = list[bytes](), 0, monotonic() + COALESCE_SECONDS
        while size < CHUNK_BYTES and not is_over and (not gathered or monotonic() < end):
            try:
                part = response.raw.read1(CHUNK_BYTES - size, decode_content=False)
            except (HTTPError, OSError) as error:
                failure, part = error, b""
            is_over = not part
            gathered.append(part)
            size += len(part)
        if size:
            yield b"".join(gathered)
    if failure is not None:
        raise requests.ConnectionError(failure) from failure


def _within(response: requests.Response, monotonic: Callable[[], float]) -> bytes:
    parts, size, end = list[bytes](), 0, monotonic() + WHOLE_READ_SECONDS
    for part in coalesced_chunks(response, monotonic):
        parts.append(part)
        size += len(part)
        if size > MAX_WHOLE_BYTES:
            raise DataCorruption(response, "the object is larger than any of ours")
        if monotonic() > end:
            raise requests.Timeout("the body comes too slowly")
    return b"".join(parts)


def _range_of(response: requests.Response, start: int, stop: int | None) -> tuple[int, int]:
    """
    Return where the bytes of an answer end, and the size of the whole object.

    Raises DataCorruption if they are not from `start` up to `stop` at most, as when somebody on the
    way takes no notice of the range; or if the answer does not say how many they are.
    """
    headers = response.headers
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if found is not None:
        first, last, size = (int(number) for number in found.groups())
    elif "Content-Length" in headers:
        size = int(headers["Content-Length"])
        first, last = 0, size - 1
    else:
        response.close()
        raise DataCorruption(response, "the bucket did not say how many bytes it sends")
    if first != start or (stop is not None and last >= stop):
        response.close()
        raise DataCorruption(response, "the bucket sent another range than was asked for")
    return last + 1, size


def _checksum_of(response: requests.Response) -> str:
    found = _CRC32C.search(response.headers.get("X-Goog-Hash", ""))
    return found[1] if found else ""


def _compare(response: requests.Response, expected: str, digest: bytes) -> None:
    if expected and b64encode(digest).decode() != expected:
        raise DataCorruption(response, "the checksum is another one")
