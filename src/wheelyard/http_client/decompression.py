"""The body of a response, without its content coding: gzip, or none."""

import zlib
from collections.abc import Iterator
from typing import Final

from wheelyard.http_client.address_policy import FetchError
from wheelyard.http_client.client import ClientResponse

DECOMPRESS_CHUNK_BYTES: Final = 1024**2
"""Bytes that are decompressed at a time, so that a small answer cannot fill the memory at once."""


def decompressed(response: ClientResponse) -> Iterator[bytes]:
    """
    Yield the body of a response, decompressed; the caller limits its size.

    Raise FetchError if it has another coding, is damaged or cut off, or breaks off.
    """
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding == "identity":
        yield from response.chunks()
        return
    if coding not in ("gzip", "x-gzip"):
        raise FetchError("its answer is packed in a way that nobody asked for")
    decompressor = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        for chunk in response.chunks():
            rest = chunk
            while rest:
                yield decompressor.decompress(rest, DECOMPRESS_CHUNK_BYTES)
                rest = decompressor.unconsumed_tail
    except zlib.error as error:
        raise FetchError("its answer is damaged", is_transient=True) from error
    if not decompressor.eof:
        raise FetchError("its answer is cut off", is_transient=True)
