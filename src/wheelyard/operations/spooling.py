"""A file on its way into the spool, whoever it comes from: written, counted and hashed at once."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wheelyard.errors import TooLarge
from wheelyard.model.distribution_filename import Distribution
from wheelyard.model.text import to_one_line
from wheelyard.storage.disk import storage_faults, write_all
from wheelyard.storage.spool import Spool

if TYPE_CHECKING:
    from _hashlib import _HashObject as Hasher

SHA256: Final = "sha256"
MIB: Final = 1024**2
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""No file is older."""
UPLOADER_LIMIT: Final = 200
"""Characters of an uploader's name."""
REASON_LIMIT: Final = 1024
"""Characters of the reason of a yank."""

logger = logging.getLogger("wheelyard")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMetadata:
    """
    What the source of an imported file says of it; see `File` for what becomes of that.

    Args:
        uploaded_at: When it was uploaded there; None if the source does not tell.
        uploaded_by: By whom; empty if the source does not tell.
        yanked: None, or the reason, which may be empty.
    """

    uploaded_at: datetime | None = None
    uploaded_by: str = ""
    yanked: str | None = None

    def time(self, now: datetime) -> datetime | None:
        """Return when it was uploaded, UTC, and not in the future; None if that is not known."""
        at = self.uploaded_at
        if at is None:
            return None
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        return max(EPOCH, min(at, now)).astimezone(UTC)

    @property
    def upload_handler(self) -> str:
        """Who uploaded it, as one line."""
        return to_one_line(self.uploaded_by, UPLOADER_LIMIT)

    @property
    def yank(self) -> str | None:
        """Why it is yanked, as one line; None if it is not."""
        return None if self.yanked is None else to_one_line(self.yanked, REASON_LIMIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpooledUpload:
    """One file as it was sent: spooled to disk, counted and hashed on the way."""

    distribution: Distribution
    """What its name says, as `Uploads.admit` has returned it."""
    path: Path
    """The spooled bytes, which stay the caller's to remove."""
    size: int
    """Bytes."""
    sha256: str
    """64 lower-case hexadecimal digits."""
    form_name: str = ""
    """What the form says; empty if it says nothing."""
    form_version: str = ""
    has_attestations: bool = False
    """Whether attestations (PEP 740) came with it."""
    origin: SourceMetadata | None = None
    """What its source knows of it, if it is imported."""


class SpoolWriter:
    """
    A scratch file that is being written.

    Args:
        spool: Where it is made.
        distribution: What the file's name says, as `Uploads.admit` has returned it.
        limit: Bytes that it may have.
        what: What is written, for the fault where that fails.
        hashers: What is fed besides SHA-256, by algorithm.

    Raises:
        Unavailable: The disk is full or refuses writes.
    """

    def __init__(
        self,
        spool: Spool,
        distribution: Distribution,
        limit: int,
        what: str,
        hashers: Mapping[str, "Hasher"],
    ) -> None:
        self.path, self._sink = spool.create()
        self.distribution = distribution
        self.size = 0
        """Bytes so far."""
        self._limit = limit
        self._what = what
        self._hashers: dict[str, Hasher] = {SHA256: sha256(), **hashers}

    def write(self, data: bytes) -> None:
        """
        Take the next bytes.

        Raises:
            TooLarge: They pass the limit; none of them is written.
            Unavailable: The disk is full or refuses writes.
        """
        self.size += len(data)
        if self.size > self._limit:
            raise file_too_large(self._limit)
        for hasher in self._hashers.values():
            hasher.update(data)
        with storage_faults(self._what):
            write_all(self._sink.fileno(), data)

    @property
    def digests(self) -> dict[str, str]:
        """The digests of what was written, by algorithm."""
        return {name: hasher.hexdigest() for name, hasher in self._hashers.items()}

    def upload(self) -> SpooledUpload:
        """Return the file, all of which has been written."""
        return SpooledUpload(
            distribution=self.distribution,
            path=self.path,
            size=self.size,
            sha256=self.digests[SHA256],
        )

    def close(self) -> None:
        """Write no more; the file stays."""
        self._sink.close()

    def remove(self) -> None:
        """Remove the file; where that fails, the outcome of all that was done stays what it is."""
        for step in (self._sink.close, self.path.unlink):
            try:
                step()
            except FileNotFoundError:
                pass
            except OSError as error:
                logger.warning(
                    "a scratch file stays until 'wheelyard check --sweep': %s", error.strerror
                )


def file_too_large(limit: int) -> TooLarge:
    """Return the fault for a file of more than `limit` bytes."""
    readable = f"{limit} bytes" if limit % MIB else f"{limit // MIB} MiB"
    return TooLarge(
        f"File too large, the limit is {readable}. Ask for a higher [uploads] max_file_size; or, "
        "where what stands before this index lets no more through, have it published straight into "
        "the store, with 'wheelyard upload'.",
        short=f"File too large, the limit is {readable}.",
    )
