"""
Download of one file, resumed with a Range request after the connection broke off.

It is resumed only if the server confirms that the file is unchanged (If-Range with its strong ETag,
else with Last-Modified). Compressed transfer is not requested, as with pip.
"""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from itertools import count
from typing import Final

from wheelyard.http_client.address_policy import FetchError
from wheelyard.http_client.client import (
    MIN_BYTES_PER_SECOND,
    ClientResponse,
    at_minimum_rate,
)
from wheelyard.http_client.urls import Url
from wheelyard.sources.candidate import Candidate, unavailable, unreadable
from wheelyard.sources.field_parsing import parse_http_date
from wheelyard.sources.web.index_client import IndexClient

MAX_SLOW_RESUMES: Final = 4
"""Resumes in a row that may end with less than the minimum rate, as without a new byte."""
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
        self._modified = response.headers.get("last-modified", "")
        chunks = self._chunks(response)
        try:
            yield chunks
        finally:
            response.close()
            chunks.close()

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

    def _chunks(self, response: ClientResponse) -> Generator[bytes]:
        """Yield the bytes of the file, received over one connection or several in turn."""
        position, slow, monotonic = 0, 0, self.web.runtime.monotonic
        with _translated_errors(self.url):
            for resumes in count():
                before, began = position, monotonic()
                with closing(response):
                    try:
                        for chunk in at_minimum_rate(response.chunks(), monotonic):
                            position += len(chunk)
                            yield chunk
                    except FetchError as fault:
                        least = MIN_BYTES_PER_SECOND * (monotonic() - began)
                        slow = slow + 1 if position - before <= least else 0
                        is_over = slow > MAX_SLOW_RESUMES or resumes == MAX_RESUMES
                        if is_over or not fault.is_transient or not _validator(response):
                            raise
                    else:
                        return
                response = self._resumed(position, _validator(response))

    def _resumed(self, position: int, validator: str) -> ClientResponse:
        range_headers = {"Range": f"bytes={position}-", "If-Range": validator}
        response = self.web.open(self.url, IDENTITY_ENCODING | range_headers)
        content_range = response.headers.get("content-range", "")
        is_continued = content_range.startswith(f"bytes {position}-")
        if response.status == HTTPStatus.OK or not is_continued:
            response.close()
            raise FetchError("the connection broke off, and the server does not go on from there")
        return response


def _validator(response: ClientResponse) -> str:
    """Return what If-Range may have: a strong ETag, or the date; empty if there is neither."""
    etag = response.headers.get("etag", "")
    return etag if etag.startswith('"') else response.headers.get("last-modified", "")


@contextmanager
def _translated_errors(url: Url) -> Iterator[None]:
    try:
        yield
    except FetchError as fault:
        if fault.is_unreachable:
            why = f"{url.host} does not answer: {fault.why}. Try again later."
            raise unavailable(why) from fault
        raise unreadable(fault.why) from fault
