"""The check of one file of an upstream index: its size and digests, compared as its bytes come."""

import hashlib
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from packaging.utils import NormalizedName

from wheelyard.errors import BAD_UPSTREAM, Unavailable
from wheelyard.upstream.file_cache import Pin, PinnedDigests
from wheelyard.upstream.observation import Observation
from wheelyard.upstream.page import UpstreamFile

if TYPE_CHECKING:
    from _hashlib import _HashObject as Hasher

MAX_UNKNOWN_BYTES: Final = 4 * 1024**3
"""The largest file whose size neither its page nor the upstream's answer says."""


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
    Return the size that a file has to have, by its page or by the answer, or None.

    Raises Unavailable (code `bad_upstream`) if they say different ones.
    """
    if announced is not None and file.size not in (None, announced):
        raise bad_file(file.filename, "with another size than its page says")
    return announced if file.size is None else file.size


def limit_of(size: int | None) -> int:
    """Return the most bytes that are read of a file with this size, which may be unknown."""
    return MAX_UNKNOWN_BYTES if size is None else size


class FileCheck:
    """
    The check of one file from its first byte to its last.

    `size` is the number of bytes that it has to have, or None if nobody has said it.
    """

    def __init__(
        self,
        name: NormalizedName,
        file: UpstreamFile,
        size: int | None,
        pins: PinnedDigests,
        observation: Observation,
    ) -> None:
        self._name = name
        self._file = file
        self._expected_size = size
        self._pins = pins
        self._observation = observation
        self._size, self._limit = 0, limit_of(size)
        self._sha256 = sha256()
        self._others = OtherHashes(file.other_hashes)

    def add(self, chunk: bytes) -> None:
        """
        Take the next bytes.

        Raises Unavailable (code `bad_upstream`) if they are too many.
        """
        self._size += len(chunk)
        if self._size > self._limit:
            raise too_long(self._file.filename)
        self._sha256.update(chunk)
        self._others.update(chunk)

    @property
    def received(self) -> Pin:
        """The digest and the size of the bytes so far."""
        return Pin(self._sha256.hexdigest(), self._size)

    def finish(self) -> None:
        """
        Check that size and digests are those of the page and of the first fetch.

        It is called when all bytes have come, and before the last ones leave: it pins a digest that
        the page does not say. Raises Unavailable (code `bad_upstream`) if they are not. Raises
        Unavailable if the store does not take the pin.
        """
        name, file, observation = self._name, self._file, self._observation
        if self._expected_size not in (None, self._size):
            raise too_short(file.filename)
        received = self.received
        if file.sha256 not in ("", received.sha256) or not self._others.agree:
            pin = self._pins.load(name).get(file.filename) if file.sha256 else None
            # the digest on the page may be ours, of an earlier fetch, and not the upstream's
            is_pinned = pin is not None and pin.sha256 == file.sha256
            note = observation.digest_change if is_pinned else observation.digest_mismatch
            note(name, file.filename)
            raise wrong_digest(file.filename)
        if not file.sha256 and self._pins.pin(name, file.filename, received) != received:
            observation.digest_change(name, file.filename)
            raise bad_file(file.filename, "with another digest than before")

    def list_digest(self) -> None:
        """
        Have the page of the project list a pinned digest.

        If that fails, the next fetch does it.
        """
        name, filename = self._name, self._file.filename
        if self._file.sha256:
            return
        try:
            self._pins.list_on_page(name, filename, self.received)
        except Unavailable as error:
            self._observation.not_stored(name, filename, error.message)


class OtherHashes:
    """Digests other than SHA-256, each as `ALGORITHM=HEX`, that bytes are compared with."""

    def __init__(self, stated: Iterable[str]) -> None:
        self._hashers: list[tuple[Hasher, str]] = []
        for algorithm_and_digest in stated:
            algorithm, _, digest = algorithm_and_digest.partition("=")
            # BLAKE2 has digests of many lengths
            length = {"digest_size": len(digest) // 2} if algorithm.startswith("blake2") else {}
            make: Callable[..., Hasher] = getattr(hashlib, algorithm)
            self._hashers.append((make(usedforsecurity=False, **length), digest))

    def update(self, chunk: bytes | bytearray) -> None:
        """Take the next bytes."""
        for hasher, _ in self._hashers:
            hasher.update(chunk)

    @property
    def agree(self) -> bool:
        """Whether the bytes so far have all of the digests."""
        return all(hasher.hexdigest() == digest for hasher, digest in self._hashers)
