"""The bytes of a tar archive, taken and skipped once from the front."""

from collections.abc import Iterator


class TarStream:
    """
    A tar archive, whatever it is compressed with.

    Args:
        source: Its bytes, inflated, in pieces of which none is empty; see `compressions.py`.
    """

    __slots__ = ("_buffer", "_next", "_source", "position")

    def __init__(self, source: Iterator[bytes]) -> None:
        self._source = source
        self._buffer = b""
        self._next = 0
        self.position = 0
        """Bytes that have been taken or skipped."""

    def take(self, size: int) -> bytes:
        """
        Return the next `size` bytes, fewer only at the end.

        Raises:
            Invalid: The compressed data is damaged (code `invalid_archive`) or over the limits
                (`archive_bomb`).
        """
        found = self._buffer[self._next : self._next + size]
        self._next += len(found)
        self.position += len(found)
        if len(found) == size:
            return found
        parts = [found]
        missing = size - len(found)
        while missing and self._refill():
            parts.append(self._buffer[:missing])
            self._next = len(parts[-1])
            self.position += self._next
            missing -= self._next
        return b"".join(parts)

    def skip(self, size: int) -> bool:
        """
        Pass over `size` bytes, and return whether there were as many.

        Raises:
            Invalid: As for `take`.
        """
        self.position += size
        self._next += size
        while self._next > len(self._buffer):
            beyond = self._next - len(self._buffer)
            if not self._refill():
                return False
            self._next = beyond
        return True

    def ends_in_zeros(self) -> bool:
        """
        Read to the end, and return whether only zeros were left.

        Raises:
            Invalid: As for `take`.
        """
        rest = self._buffer[self._next :]
        zeros = not rest.strip(b"\0")
        while zeros and self._refill():
            zeros = not self._buffer.strip(b"\0")
        return zeros

    def _refill(self) -> bool:
        self._buffer = next(self._source, b"")
        self._next = 0
        return bool(self._buffer)
