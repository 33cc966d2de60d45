"""What files are fetched from: the part of the client of upstream indexes that they need."""

from collections.abc import Iterator
from typing import Final, Protocol

from packaging.utils import NormalizedName

from wheelyard.errors import BAD_UPSTREAM, Unavailable
from wheelyard.upstream.observation import Kind
from wheelyard.upstream.page import UpstreamFile

MAX_UNKNOWN_BYTES: Final = 4 * 1024**3
"""The largest file whose size neither its page nor the upstream's answer says."""


class FileResponse(Protocol):
    """An answer of an upstream whose body is still to be read; the caller must close it."""

    @property
    def size(self) -> int | None:
        """The bytes that the upstream announces; None if it does not."""
        ...

    def chunks(self) -> Iterator[bytes]:
        """Yield the body; raise Unavailable if it breaks off or comes too slowly."""
        ...

    def close(self) -> None:
        """End the answer, and release its connection."""
        ...


class FileSource(Protocol):
    """The servers that have the files; safe to share between threads."""

    def open_file(self, upstream: str, name: NormalizedName, url: str, kind: Kind) -> FileResponse:
        """
        Ask for a file of the upstream with the id `upstream`; return its answer, once it begins.

        Raises:
            NotFound: The upstream has no such file.
            Unavailable: It does not answer, or with what cannot be used; or nothing may be fetched
                from this URL.
        """
        ...


def bad_file(filename: str, why: str) -> Unavailable:
    """Return the Unavailable (code `bad_upstream`) for a file that is not what its page says."""
    return Unavailable(
        f"The upstream index has sent {filename} {why}. Nothing of it was kept. Try again; if it "
        "stays so, tell the operator of this index.",
        code=BAD_UPSTREAM,
    )


def too_long(filename: str) -> Unavailable:
    """Return the error for a file that has more bytes than its page, or a limit of ours, allows."""
    return bad_file(filename, "with more bytes than it may have")


def too_short(filename: str) -> Unavailable:
    """Return the error for a file that ended before all of its bytes were there."""
    return bad_file(filename, "with fewer bytes than its page says")


def wrong_digest(filename: str) -> Unavailable:
    """Return the error for a file whose bytes have not the digest that its page says."""
    return bad_file(filename, "with another digest than its page says")


def check_size(file: UpstreamFile, announced: int | None) -> int | None:
    """
    Return the size that a file has to have, by its page or by the answer; None if none says it.

    Raise Unavailable (code `bad_upstream`) if they say different ones.
    """
    if announced is not None and file.size not in (None, announced):
        raise bad_file(file.filename, "with another size than its page says")
    return announced if file.size is None else file.size


def limit_of(size: int | None) -> int:
    """Return the most bytes that are read of a file with this size, which may be unknown."""
    return MAX_UNKNOWN_BYTES if size is None else size
