"""Files that are passed on from an upstream to one reader each, and are not kept."""

from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.upstream.file_source import FileResponse, limit_of, too_long, too_short, wrong_digest
from wheelyard.upstream.growing_file import HELD_BACK_BYTES
from wheelyard.upstream.observation import Observation
from wheelyard.upstream.page import UpstreamFile

OpenResponse = Callable[[], FileResponse]
"""Asks the upstream for the file; the caller closes the answer."""


class PassedOnFile(Struct, frozen=True, kw_only=True):
    """A file that each reader gets from the upstream, verified on the way; nothing is kept."""

    name: NormalizedName
    file: UpstreamFile
    size: int | None
    """Bytes; None if neither the page nor the answer has said it."""
    open: OpenResponse
    observation: Observation

    @property
    def takes_ranges(self) -> bool:
        """Whether a part of it can be asked for: never, as a part cannot be verified."""
        return False

    def discard(self) -> None:
        """End the answer of the upstream, of which nothing is read."""
        self.open().close()

    def body(self) -> Iterator[bytes]:
        """Return the chunks of the whole file."""
        return self.body_from(0)

    def body_from(self, start: int) -> Iterator[bytes]:
        """
        Yield the bytes from `start` on; all bytes are fetched, to verify them.

        The last ones are held back until the digest has agreed. Raise Unavailable if it does not.
        """
        digest, received, held = sha256(), 0, b""
        limit, filename = limit_of(self.size), self.file.filename
        with closing(self.open()) as response:
            for chunk in response.chunks():
                digest.update(chunk)
                held += chunk[max(0, start - received) :]
                received += len(chunk)
                if received > limit:
                    raise too_long(filename)
                if len(held) > HELD_BACK_BYTES:
                    yield held[:-HELD_BACK_BYTES]
                    held = held[-HELD_BACK_BYTES:]
        if self.size not in (None, received):
            raise too_short(filename)
        if self.file.sha256 not in ("", digest.hexdigest()):
            self.observation.digest_mismatch(self.name, filename)
            raise wrong_digest(filename)
        if held:
            yield held
