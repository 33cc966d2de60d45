"""Files that are passed on from an upstream to one reader each, and are not kept."""

from collections.abc import Callable, Iterator
from contextlib import closing

from msgspec import Struct

from wheelyard.upstream.file_check import FileCheck
from wheelyard.upstream.file_source import FileResponse
from wheelyard.upstream.growing_file import HELD_BACK_BYTES

OpenResponse = Callable[[], FileResponse]
"""Asks the upstream for the file; the caller closes the answer."""


class PassedOnFile(Struct, frozen=True, kw_only=True):
    """A file that each reader gets from the upstream, verified on the way; nothing is kept."""

    size: int | None
    """Bytes; None if neither the page nor the answer has said it."""
    open: OpenResponse
    begin_check: Callable[[], FileCheck]

    @property
    def takes_ranges(self) -> bool:
        """Whether a part of it can be asked for: never, as a part cannot be verified."""
        return False

    def body(self) -> Iterator[bytes]:
        """
        Yield the chunks of the whole file, the last ones once all are verified.

        Raise Unavailable if they are not the right ones.
        """
        check, held = self.begin_check(), b""
        with closing(self.open()) as response:
            for chunk in response.chunks():
                check.add(chunk)
                held += chunk
                if len(held) > HELD_BACK_BYTES:
                    yield held[:-HELD_BACK_BYTES]
                    held = held[-HELD_BACK_BYTES:]
        check.finish()
        check.list_digest()
        if held:
            yield held
