"""
Download of one file, resumed with a Range request after the connection broke off.

It is resumed only if the server confirms that the file is unchanged (If-Range with its strong ETag,
else with Last-Modified). Compressed transfer is not requested, as with pip.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from msgspec import Struct

from wheelyard.http_client.address_policy import FetchError
from wheelyard.http_client.client import ClientResponse, TransferRate
from wheelyard.http_client.urls import Url
from wheelyard.sources.candidate import Candidate, unavailable, unreadable
from wheelyard.sources.field_parsing import parse_http_date
from wheelyard.sources.web.index_client import OK, IndexClient

MAX_RESUMES_WITHOUT_PROGRESS: Final = 4
"""Resumes in a row that may end without a new byte."""
MAX_RESUMES: Final = 50
IDENTITY_ENCODING: Final = {"Accept-Encoding": "identity"}


@dataclass(slots=True)
class ResumableDownload:
    """The download of one file at a URL; `open` may be called again."""

    web: IndexClient
    url: Url
    _modified: str | None = field(default=None, init=False)

    def candidate(self, filename: str) -> Candidate:
        """Return an import candidate named `filename` for the file, without a request."""
        name, date = self.url.redacted, self.last_modified
        return Candidate(filename=filename, location=name, read=self.open, last_modified=date)

    @contextmanager
    def open(self) -> Iterator[Iterator[bytes]]:
        """
        Request the file, and yield, for a `with` block, an iterator over its chunks.

        Raise OSError if that or the reading fails, Unavailable if the server is unreachable.
        """
        with _translated_errors(self.url):
            response = self.web.open(self.url, IDENTITY_ENCODING)
            stream = _Stream(self.web, self.url, response, self.web.transfer_rate())
        self._modified = stream.response.headers.get("last-modified", "")
        try:
            yield stream.chunks()
        finally:
            stream.response.close()

    def last_modified(self) -> datetime | None:
        """Return the Last-Modified date, asked for by HEAD if need be; None if it is unknown."""
        if self._modified is None:
            try:
                response = self.web.open(self.url, IDENTITY_ENCODING, "HEAD")
            except FetchError:
                return None
            response.close()
            self._modified = response.headers.get("last-modified", "")
        return parse_http_date(self._modified)


class _Stream(Struct):
    """The bytes of one file, received over one connection or several in turn."""

    web: IndexClient
    url: Url
    response: ClientResponse
    transfer_rate: TransferRate
    position: int = 0

    def chunks(self) -> Iterator[bytes]:
        with _translated_errors(self.url):
            yield from self._chunks()

    def _chunks(self) -> Iterator[bytes]:
        stalled, resumes = 0, 0
        while True:
            before = self.position
            try:
                for chunk in self.response.chunks(self.transfer_rate):
                    self.position += len(chunk)
                    yield chunk
            except FetchError as fault:
                if not fault.is_transient:
                    raise
                stalled = 0 if self.position > before else stalled + 1
                resumes += 1
                # only a strong ETag is allowed in If-Range
                etag, date = map(self.response.headers.get, ("etag", "last-modified"))
                validator = etag if etag and etag.startswith('"') else date
                if not validator or stalled > MAX_RESUMES_WITHOUT_PROGRESS or resumes > MAX_RESUMES:
                    raise
                self._resume(validator)
            else:
                return

    def _resume(self, validator: str) -> None:
        self.response.close()
        range_headers = {"Range": f"bytes={self.position}-", "If-Range": validator}
        self.response = self.web.open(self.url, IDENTITY_ENCODING | range_headers)
        content_range = self.response.headers.get("content-range", "")
        is_continued = content_range.startswith(f"bytes {self.position}-")
        if self.response.status == OK or not is_continued:
            raise FetchError("the connection broke off, and the server does not go on from there")


@contextmanager
def _translated_errors(url: Url) -> Iterator[None]:
    try:
        yield
    except FetchError as fault:
        if fault.is_unreachable:
            why = f"{url.host} does not answer: {fault.why}. Try again later."
            raise unavailable(why) from fault
        raise unreadable(fault.why) from fault
