"""What a source offers: a file, and what the source knows of it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final, Protocol

NO_HASHES: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """
    One file that a source offers; nothing of it has been read, or checked.

    Args:
        filename: The last part of its path.
        place: Where it is, as a report names it: never with a credential in it.
        read: Opens it, and gives its bytes in pieces; raises OSError or IndexFault.
        size: Bytes, if the source knows it.
        hashes: Hexadecimal digests by the names of hashlib: what the bytes must have.
        uploaded_at: When it was uploaded there, UTC; None if the source does not tell.
        uploaded_by: By whom, as the source says it, or nothing.
        yanked: As `File.yanked`: None, or the reason, which may be empty.
        changed_at: When the bytes were last touched, seconds since the epoch; None if unknown.
        dated: Where `uploaded_at` is None: asks when the source last changed the file, UTC. Costs
            nothing once `read` was opened, else a request; raises nothing.
    """

    filename: str
    place: str
    read: Callable[[], AbstractContextManager[Iterator[bytes]]] = field(repr=False)
    size: int | None = None
    hashes: Mapping[str, str] = field(default_factory=lambda: NO_HASHES)
    uploaded_at: datetime | None = None
    uploaded_by: str = ""
    yanked: str | None = None
    changed_at: float | None = None
    dated: Callable[[], datetime | None] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class PassedOver:
    """
    What a source has that is no candidate.

    Args:
        place: Where it is.
        why: A sentence, without its full stop.
        is_fault: Whether it ought to have been one: a damaged line, a file that cannot be had.
    """

    place: str
    why: str
    is_fault: bool = False


class Source(Protocol):
    """A place to import from."""

    def offers(self) -> Iterator[Candidate | PassedOver]:
        """
        Yield what there is, in an order that stays the same, with bounded memory where it can be.

        Raises:
            Invalid: It is no source of this kind, or cannot be opened (code `bad_source`).
            Unavailable: It does not answer.
        """
        ...
