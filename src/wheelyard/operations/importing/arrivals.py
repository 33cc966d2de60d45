"""The bytes of what a source offers, on their way into the spool, held to what it says of them."""

import hashlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

from wheelyard.errors import IndexFault, Invalid, quoted
from wheelyard.operations.origin import Origin
from wheelyard.operations.upload import Arrival, file_too_large
from wheelyard.sources.candidate import Candidate
from wheelyard.storage.faults import storage_faults
from wheelyard.storage.spool import Spool

SHA256: Final = "sha256"
UNREADABLE: Final = "unreadable_file"
"""The code of a refusal where the bytes could not be had."""
ALGORITHMS: Final = frozenset({SHA256, "sha384", "sha512", "blake2b", "sha1", "md5"})
"""What a source may say of the bytes; anything else it says cannot be compared."""


def claim(candidate: Candidate, algorithm: str) -> str:
    """Return what a source says the digest of a file is, or an empty string."""
    return candidate.hashes.get(algorithm, "").strip().lower()


def fetch(
    candidate: Candidate,
    spool: Spool,
    limit: int,
    *,
    lenient: bool,
    progress: Callable[[int], None],
) -> Arrival:
    """
    Read a file that a source offers into the spool; its bytes there are the caller's to remove.

    Args:
        candidate: Which.
        spool: Where to.
        limit: Bytes that it may have.
        lenient: Whether it is taken if it fails only today's stricter rules.
        progress: Told how many bytes were read just now.

    Raises:
        Invalid: It cannot be read, or its bytes are not what the source says they are.
        TooLarge: It has more bytes than `limit`.
        Unavailable: The spool is full, or cannot be written.
    """
    if candidate.size is not None and candidate.size > limit:
        raise file_too_large(limit)
    path, sink = spool.create()
    try:
        with sink:
            size, digests = _copy(candidate, sink, limit, progress)
        _compare(candidate, size, digests)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    uploaded_at = candidate.uploaded_at
    if uploaded_at is None and candidate.dated is not None:
        uploaded_at = candidate.dated()
    origin = Origin(
        uploaded_at=uploaded_at,
        uploaded_by=candidate.uploaded_by,
        yanked=candidate.yanked,
        lenient=lenient,
    )
    return Arrival(
        filename=candidate.filename, path=path, size=size, sha256=digests[SHA256], origin=origin
    )


def _copy(
    candidate: Candidate, sink: BinaryIO, limit: int, progress: Callable[[int], None]
) -> tuple[int, dict[str, str]]:
    """Return the size of what was read, and its digests."""
    wanted = {SHA256} | (ALGORITHMS & candidate.hashes.keys())
    hashers = {name: hashlib.new(name, usedforsecurity=False) for name in wanted}
    size = 0
    for piece in _pieces(candidate):
        size += len(piece)
        if size > limit:
            raise file_too_large(limit)
        for hasher in hashers.values():
            hasher.update(piece)
        with storage_faults("the import"):
            write_all(sink, piece)
        progress(len(piece))
    return size, {name: hasher.hexdigest() for name, hasher in hashers.items()}


def write_all(sink: BinaryIO, piece: bytes) -> None:
    """Write every byte of a piece."""
    rest = memoryview(piece)
    while rest:
        rest = rest[sink.write(rest) :]


def _pieces(candidate: Candidate) -> Iterator[bytes]:
    """
    Yield the bytes of a file.

    Raises:
        Invalid: They cannot be had, for whatever reason: others may be.
    """
    try:
        with candidate.read() as pieces:
            yield from pieces
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise Invalid(f"It cannot be read: {reason}.", code=UNREADABLE) from error
    except IndexFault as fault:
        raise Invalid(fault.message, code=fault.code) from fault


def _compare(candidate: Candidate, size: int, digests: dict[str, str]) -> None:
    for name, found in sorted(digests.items()):
        said = claim(candidate, name)
        if said and said != found:
            raise _mismatch(f"its {name} is {found}, and the source says {quoted(said)}")
    if candidate.size is not None and candidate.size != size:
        raise _mismatch(f"it has {size} bytes, and the source says {candidate.size}")


def _mismatch(what: str) -> Invalid:
    return Invalid(
        f"The file is not the one that was uploaded there: {what}. Restore it there.",
        code="digest_mismatch",
    )
