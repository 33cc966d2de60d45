"""
Downloads of an object's bytes: whole, or as a stream that resumes after a broken connection.

An unbroken stream is one request however long it is, because each request costs an operation. After
a break, the rest is requested of the same generation, so that bytes of two writes never mix. A
stream of a whole object is compared with the bucket's checksum before its last chunk is yielded.

A small object is read whole, and again from its beginning after a break: its generation may have
been replaced meanwhile.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import quote

import google_crc32c
import requests
from google.api_core import exceptions as api
from google.cloud.storage import Client
from google.cloud.storage.exceptions import DataCorruption
from msgspec import Struct, field
from urllib3.exceptions import HTTPError

from wheelyard.storage.base import CHUNK_BYTES
from wheelyard.storage.gcs.error_mapping import CONNECTION_ERRORS, is_missing_bucket
from wheelyard.storage.gcs.retry import RetryPolicy
from wheelyard.storage.location import BucketLocation

WHOLE_TIMEOUTS: Final = (3.0, 4.0)
"""Seconds to connect, and of silence, when a small object is read whole."""
STREAM_TIMEOUTS: Final = (3.0, 6.0)
"""The timeouts of a stream, in seconds; clients tolerate 15 seconds without a byte."""
PROBE_TIMEOUTS: Final = (2.0, 2.0)
"""The timeouts of both while the circuit is open, in seconds: other calls wait for the result."""
COALESCE_SECONDS: Final = 0.2
"""Seconds for which received bytes wait for more, so that chunks are large."""
MAX_FRUITLESS_RESUMES: Final = 3
"""How often in a row a stream is resumed although no byte has come."""
MAX_RESUMES: Final = 50
"""How often a stream is resumed at all: each time costs an operation."""
WHOLE_READ_SECONDS: Final = 8.0
"""Seconds after which a small object that is still incomplete is given up."""
MAX_WHOLE_BYTES: Final = 64 * 1024**2
"""Bytes of the largest object that is read whole: the document of 200,000 files."""

_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_CRC32C: Final = re.compile(r"crc32c=([A-Za-z0-9+/=]+)")


class ObjectDownload(Struct):
    """One download of one object; `name` is the whole name in the bucket, with the prefix."""

    client: Client
    location: BucketLocation
    name: str
    policy: RetryPolicy
    position: int = 0
    """Offset of the next byte."""
    stop: int = 0
    """Offset at which the stream ends; set by `open`."""
    generation: str = ""
    expected: str = ""
    """The bucket's checksum (CRC32C, base64) if the whole object is streamed, else empty."""
    checksum: Any = field(default_factory=google_crc32c.Checksum)
    response: requests.Response | None = None

    def read_whole(self, unless: int | None) -> tuple[bytes, str] | None:
        """Return bytes and generation, None for `unless`; raise the library's NotFound for none."""
        return self.policy.run(lambda: self._read_whole(unless))

    def open(self, start: int, stop: int | None) -> bool:
        """Request the stream from `start` up to `stop`; return whether the object exists."""
        self.position = self.stop = start
        is_empty = stop is not None and stop <= start
        # HTTP has no empty range; the first byte shows as well whether the object exists
        span = "0-0" if is_empty else f"{start}-{'' if stop is None else stop - 1}"
        try:
            response = self.policy.run(lambda: self._request(span))
        except api.RequestRangeNotSatisfiable:
            return True
        except api.NotFound as error:
            if is_missing_bucket(error):
                raise
            return False
        if is_empty:
            response.close()
            return True
        self.response = response
        self.generation = response.headers.get("X-Goog-Generation", "")
        self.stop, size = _range_of(response, start, stop)
        if (start, self.stop) == (0, size):
            self.expected = _checksum_of(response)
        return True

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes, resuming after breaks; closing the iterator closes the connection."""
        fruitless, resumes = 0, 0
        try:
            while self.position < self.stop:
                before = self.position
                try:
                    yield from self._received()
                except CONNECTION_ERRORS:
                    fruitless = 0 if self.position > before else fruitless + 1
                    resumes += 1
                    if fruitless > MAX_FRUITLESS_RESUMES or resumes > MAX_RESUMES:
                        raise
                if self.position < self.stop:
                    self._resume()
        finally:
            if self.response is not None:
                self.response.close()

    def _received(self) -> Iterator[bytes]:
        response = self.response
        if response is None:
            return
        for chunk in coalesced_chunks(response, self.policy.env.runtime.monotonic):
            self.checksum.update(chunk)
            if self.position + len(chunk) >= self.stop:
                _compare(response, self.expected, self.checksum.digest())
            self.position += len(chunk)
            yield chunk

    def _resume(self) -> None:
        if self.response is not None:
            self.response.close()
        span = f"{self.position}-{self.stop - 1}"
        self.response = self.policy.run(lambda: self._request(span))
        _range_of(self.response, self.position, self.stop)

    def _request(self, span: str) -> requests.Response:
        parameters = {"generation": self.generation} if self.generation else {}
        headers = {} if span == "0-" else {"Range": f"bytes={span}"}
        return self._media(parameters, headers, STREAM_TIMEOUTS)

    def _read_whole(self, unless: int | None) -> tuple[bytes, str] | None:
        parameters = {} if unless is None else {"ifGenerationNotMatch": str(unless)}
        with self._media(parameters, {}, WHOLE_TIMEOUTS) as response:
            if response.status_code == requests.codes.not_modified:
                return None
            generation = response.headers.get("X-Goog-Generation")
            if generation is None:
                raise requests.ConnectionError("the answer is not from Cloud Storage")
            body = _whole_body(response, self.policy.env.runtime.monotonic)
            digest = google_crc32c.value(body).to_bytes(4, "big")
            _compare(response, _checksum_of(response), digest)
            return body, generation

    def _media(
        self, parameters: dict[str, str], headers: dict[str, str], timeouts: tuple[float, float]
    ) -> requests.Response:
        """Request the bytes; return the response with its headers, or raise the library's error."""
        bucket, name = quote(self.location.bucket, safe="~"), quote(self.name, safe="~")
        response: requests.Response = self.client._http.get(  # noqa: SLF001 - the one session
            f"{self.client.api_endpoint}/download/storage/v1/b/{bucket}/o/{name}",
            params={"alt": "media"} | parameters,
            headers={"Accept-Encoding": "identity"} | headers,
            stream=True,
            timeout=PROBE_TIMEOUTS if self.policy.env.breaker.is_open else timeouts,
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
    Yield a response body in chunks of up to `CHUNK_BYTES`, or smaller ones if it comes slowly.

    To wait for a full chunk of a slow body could take longer than a client waits for its first
    byte. If the connection breaks, ConnectionError is raised after all received bytes.
    """
    failure: Exception | None = None
    has_ended = False
    while not has_ended:
        parts, size, end = list[bytes](), 0, monotonic() + COALESCE_SECONDS
        while size < CHUNK_BYTES and not has_ended and (not parts or monotonic() < end):
            try:
                part = response.raw.read1(CHUNK_BYTES - size, decode_content=False)
            except (HTTPError, OSError) as error:
                failure, part = error, b""
            has_ended = not part
            parts.append(part)
            size += len(part)
        if size:
            yield b"".join(parts)
    if failure is not None:
        raise requests.ConnectionError(failure) from failure


def _whole_body(response: requests.Response, monotonic: Callable[[], float]) -> bytes:
    parts, size, end = list[bytes](), 0, monotonic() + WHOLE_READ_SECONDS
    for part in coalesced_chunks(response, monotonic):
        parts.append(part)
        size += len(part)
        if size > MAX_WHOLE_BYTES:
            raise DataCorruption(response, "the object is larger than any document")
        if monotonic() > end:
            raise requests.Timeout("the body comes too slowly")
    return b"".join(parts)


def _range_of(response: requests.Response, start: int, stop: int | None) -> tuple[int, int]:
    """
    Return the offset at which a response's bytes end, and the size of the whole object.

    Raises DataCorruption if they do not begin at `start` or go beyond `stop`, as when a proxy
    ignores the range; or if the response has no length.
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
        raise DataCorruption(response, "the checksum is different")
