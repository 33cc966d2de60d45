"""
One file from a server, which goes on where the connection broke off.

It goes on only if the server says that the rest is of the same file: by its strong ETag, else by
its Last-Modified. Bytes are taken as they are sent, as pip does; nobody is asked to pack them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from wheelyard.http_client.address_policy import FetchError
from wheelyard.http_client.client import ClientResponse, TransferRate
from wheelyard.http_client.urls import Url
from wheelyard.sources.candidate import Candidate, source_unavailable, unreadable_file
from wheelyard.sources.field_parsing import parse_http_date
from wheelyard.sources.web.index_client import OK, IndexClient

MAX_RESUMES_WITHOUT_PROGRESS: Final = 4
"""How often in a row the connection may break off without a byte having come."""
MAX_RESUMES: Final = 50
IDENTITY_ENCODING: Final = {"Accept-Encoding": "identity"}


@dataclass(slots=True)
class ResumableDownload:
    """A file below a URL."""

    web: IndexClient
    url: Url
    _modified: str | None = field(default=None, init=False)

    def candidate(self, filename: str) -> Candidate:
        """Return the file as a source offers it."""
        location = self.url.redacted
        return Candidate(
            filename=filename, location=location, read=self.open, last_modified=self.last_modified
        )

    @contextmanager
    def open(self) -> Iterator[Iterator[bytes]]:
        """Open the file; raise OSError if it cannot be had, Unavailable if there is no server."""
        with _faults(self.url):
            stream = _Stream(
                self.web,
                self.url,
                self.web.open(self.url, IDENTITY_ENCODING),
                self.web.transfer_rate(),
            )
        self._modified = stream.answer.headers.get("last-modified", "")
        try:
            yield stream.chunks()
        finally:
            stream.answer.close()

    def last_modified(self) -> datetime | None:
        """Return when the server last changed the file, if it tells."""
        if self._modified is None:
            try:
                answer = self.web.open(self.url, IDENTITY_ENCODING, "HEAD")
            except FetchError:
                return None
            answer.close()
            self._modified = answer.headers.get("last-modified", "")
        return parse_http_date(self._modified)


@dataclass(slots=True)
class _Stream:
    """The bytes of one file, over as many connections as it takes."""

    web: IndexClient
    url: Url
    answer: ClientResponse
    transfer_rate: TransferRate
    position: int = 0

    def chunks(self) -> Iterator[bytes]:
        with _faults(self.url):
            yield from self._chunks()

    def _chunks(self) -> Iterator[bytes]:
        breaks, in_all = 0, 0
        while True:
            before = self.position
            try:
                for chunk in self.answer.chunks(self.transfer_rate):
                    self.position += len(chunk)
                    yield chunk
            except FetchError as fault:
                if not fault.is_transient:
                    raise
                breaks = 0 if self.position > before else breaks + 1
                in_all += 1
                validator = _validator(self.answer)
                if not validator or breaks > MAX_RESUMES_WITHOUT_PROGRESS or in_all > MAX_RESUMES:
                    raise
                self._go_on(validator)
            else:
                return

    def _go_on(self, validator: str) -> None:
        self.answer.close()
        span = {"Range": f"bytes={self.position}-", "If-Range": validator}
        self.answer = self.web.open(self.url, IDENTITY_ENCODING | span)
        begins = self.answer.headers.get("content-range", "").startswith(f"bytes {self.position}-")
        if self.answer.status == OK or not begins:
            raise FetchError("the connection broke off, and the server does not go on from there")


def _validator(answer: ClientResponse) -> str:
    """Return what tells whether the rest of a file is of the same file."""
    etag = answer.headers.get("etag", "")
    return etag if etag.startswith('"') else answer.headers.get("last-modified", "")


@contextmanager
def _faults(url: Url) -> Iterator[None]:
    try:
        yield
    except FetchError as fault:
        if fault.is_unreachable:
            raise source_unavailable(
                f"{url.host} does not answer: {fault.why}. Try again later."
            ) from fault
        raise unreadable_file(fault.why) from fault
