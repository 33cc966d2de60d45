"""The bytes of what a source offers, on their way into the spool, held to what it says of them."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from wheelyard.errors import IndexFault, Invalid, quoted
from wheelyard.model.distribution import Distribution
from wheelyard.operations.spooling import Arrival, Origin, Spooling, file_too_large
from wheelyard.operations.upload import Uploads
from wheelyard.sources.candidate import Candidate

UNREADABLE: Final = "unreadable_file"
"""The code of a refusal where the bytes could not be had."""
ALGORITHMS: Final = frozenset({"sha384", "sha512", "blake2b", "sha1", "md5"})
"""What a source may say of the bytes besides SHA-256; anything else it says cannot be compared."""


def claim(candidate: Candidate, algorithm: str) -> str:
    """Return what a source says the digest of a file is, or an empty string."""
    return candidate.hashes.get(algorithm, "").strip().lower()


def fetch(
    candidate: Candidate,
    distribution: Distribution,
    uploads: Uploads,
    progress: Callable[[int], None],
) -> Arrival:
    """
    Read a file that a source offers into the spool; its bytes there are the caller's to remove.

    Args:
        candidate: Which.
        distribution: What its name says.
        uploads: Where to, and how large it may be.
        progress: Told how many bytes were read just now.

    Raises:
        Invalid: It cannot be read, or its bytes are not what the source says they are.
        TooLarge: It is over the limit.
        Unavailable: The spool is full, or cannot be written.
    """
    limit = uploads.rules.max_size
    if candidate.size is not None and candidate.size > limit:
        raise file_too_large(limit)
    wanted = ALGORITHMS & candidate.hashes.keys()
    hashers = {name: hashlib.new(name, usedforsecurity=False) for name in wanted}
    spooling = Spooling(uploads.spool, distribution, limit, "the import", hashers)
    try:
        for piece in _pieces(candidate):
            spooling.write(piece)
            progress(len(piece))
        _compare(candidate, spooling.size, spooling.digests)
    except BaseException:
        spooling.remove()
        raise
    spooling.close()
    uploaded_at = candidate.uploaded_at
    if uploaded_at is None and candidate.dated is not None:
        uploaded_at = candidate.dated()
    origin = Origin(
        uploaded_at=uploaded_at,
        uploaded_by=candidate.uploaded_by,
        yanked=candidate.yanked,
    )
    return replace(spooling.arrival(), origin=origin)


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
