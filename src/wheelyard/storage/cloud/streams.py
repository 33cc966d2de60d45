"""
Part of an object as a stream, which goes on where the bucket's connection broke off.

One request for each stream, however long it is, because each costs an operation. What follows a
break is asked of the same generation, so that bytes of two writes never mix; a stream that is all
of an object is compared with the bucket's checksum before its last piece is given away.
"""

import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import google_crc32c
import requests
from google.api_core import exceptions as api
from google.cloud.storage import Client
from google.cloud.storage.exceptions import DataCorruption

from wheelyard.storage.base import CHUNK
from wheelyard.storage.cloud.faults import SILENCE, is_missing_bucket
from wheelyard.storage.cloud.location import BucketLocation
from wheelyard.storage.cloud.retrying import Retrying

TIMEOUTS: Final = (3.0, 15.0)
"""Seconds: to connect, and of silence in a body."""
BREAKS: Final = 3
"""How often in a row a stream may break off without a byte having come."""

_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_CRC32C: Final = re.compile(r"crc32c=([A-Za-z0-9+/=]+)")


@dataclass(slots=True)
class BucketStream:
    """
    A stream of one object, to be opened once.

    Args:
        client: Google's client.
        place: The bucket.
        name: Of the object, with the prefix.
        retrying: How often opening it is tried.
    """

    client: Client
    place: BucketLocation
    name: str
    retrying: Retrying
    position: int = 0
    """Of the next byte."""
    stop: int = 0
    """Where the stream ends; known once it is open."""
    generation: str = ""
    expected: str = ""
    """The bucket's checksum, if this is the whole object."""
    checksum: Any = field(default_factory=google_crc32c.Checksum)
    response: requests.Response | None = None

    def open(self, start: int, stop: int | None) -> bool:
        """Ask for the bytes from `start` up to `stop`; return whether there is such an object."""
        self.position = self.stop = start
        last = "" if stop is None else str(stop - 1)
        # an empty range cannot be said; the first byte tells as well whether the object is there
        span = f"{start}-{last}" if stop is None or stop > start else "0-0"
        try:
            response = self.retrying.run(lambda: self._request(span))
        except api.RequestRangeNotSatisfiable:
            return True
        except api.NotFound as error:
            if is_missing_bucket(error):
                raise
            return False
        if stop is not None and stop <= start:
            response.close()
            return True
        self._begin(response, start)
        return True

    def chunks(self) -> Iterator[bytes]:
        """
        Yield the bytes; closing the iterator closes the connection.

        Raises:
            Exception: What the library raised, where the rest could not be had.
        """
        breaks = 0
        try:
            while self.position < self.stop:
                before = self.position
                try:
                    yield from self._received()
                except SILENCE:
                    breaks = 0 if self.position > before else breaks + 1
                    if breaks > BREAKS:
                        raise
                if self.position < self.stop:
                    self._go_on()
        finally:
            if self.response is not None:
                self.response.close()

    def _received(self) -> Iterator[bytes]:
        if self.response is None:
            return
        for chunk in self.response.iter_content(CHUNK):
            self.checksum.update(chunk)
            if self.position + len(chunk) >= self.stop:
                self._verify()
            self.position += len(chunk)
            yield chunk

    def _verify(self) -> None:
        found = b64encode(self.checksum.digest()).decode()
        if self.expected and found != self.expected:
            raise DataCorruption(self.response, "the checksum is another one")

    def _go_on(self) -> None:
        """Ask for the rest of the same generation."""
        if self.response is not None:
            self.response.close()
        span = f"{self.position}-{self.stop - 1}"
        self.response = self.retrying.run(lambda: self._request(span))

    def _begin(self, response: requests.Response, start: int) -> None:
        """Learn from the first answer what the stream is, and where it ends."""
        self.response = response
        self.generation = response.headers.get("X-Goog-Generation", "")
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if found is not None:
            first, last, size = (int(number) for number in found.groups())
        else:
            size = int(response.headers.get("Content-Length", 0))
            first, last = 0, size - 1
        if first != start:
            raise DataCorruption(response, "the bucket sent another range than was asked for")
        self.stop = last + 1
        checksum = _CRC32C.search(response.headers.get("X-Goog-Hash", ""))
        if checksum is not None and (first, last) == (0, size - 1):
            self.expected = checksum[1]

    def _request(self, span: str) -> requests.Response:
        bucket, name = quote(self.place.bucket, safe="~"), quote(self.name, safe="~")
        url = f"{self.client.api_endpoint}/download/storage/v1/b/{bucket}/o/{name}"
        parameters = {"alt": "media"} | ({"generation": self.generation} if self.generation else {})
        headers = {"Accept-Encoding": "identity"}
        if span != "0-":
            headers["Range"] = f"bytes={span}"
        response: requests.Response = self.client._http.get(  # noqa: SLF001 - the one session
            url, params=parameters, headers=headers, stream=True, timeout=TIMEOUTS
        )
        if not response.ok:
            with response:
                text = response.text[:1000]
            status = response.status_code
            raise api.from_http_status(status, text, response=response)  # type: ignore[no-untyped-call]
        return response
