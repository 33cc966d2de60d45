"""Files in the spool: each is written, counted and hashed in one pass, for uploads and imports."""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from wheelyard.archive.archive_rules import MIB
from wheelyard.errors import Invalid, TooLarge, quoted
from wheelyard.model.distribution_filename import Distribution
from wheelyard.remedies import Advice, Remedy
from wheelyard.storage.filesystem import storage_faults, write_all
from wheelyard.storage.spool import FILE_PREFIX, WAITING_PREFIX, Spool

if TYPE_CHECKING:
    from _hashlib import _HashObject as Hasher

SHA256: Final = "sha256"
EARLIEST_UPLOAD: Final = datetime(1970, 1, 1, tzinfo=UTC)

logger = logging.getLogger("wheelyard")


class SourceMetadata(Struct, frozen=True, kw_only=True):
    """The upload time, uploader and yank of an imported file, as its source has them."""

    uploaded_at: datetime | None = None
    uploaded_by: str = ""
    """One line of text, or empty if unknown."""
    yanked: str | None = None
    """The reason of the yank as one line, which may be empty, or None if the file is not yanked."""

    def upload_time(self, now: datetime) -> datetime | None:
        """
        Return the time of the upload in UTC, or None if it is unknown.

        One without a zone is taken for UTC. A time before 1970 becomes 1970, and one after `now`
        becomes `now`.
        """
        at = self.uploaded_at
        if at is None:
            return None
        # another index may have said it without a zone, or with a clock that was wrong
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        return max(EARLIEST_UPLOAD, min(at, now)).astimezone(UTC)


class SpooledUpload(Struct, frozen=True, kw_only=True):
    """A received file in the spool, with its size and digest, and the fields of its form."""

    distribution: Distribution
    """The parsed filename, from `Uploads.authorize`."""
    other_readings: tuple[Distribution, ...] = ()
    """Other distributions that the filename may name, until its form or its metadata decide."""
    path: Path
    """The file in the spool. The caller removes it."""
    size: int
    """Bytes."""
    sha256: str
    """64 lower-case hexadecimal digits."""
    form_name: str = ""
    """The name in the upload form, or empty if missing."""
    form_version: str = ""
    """The version in the upload form, or empty if missing."""
    attestations: str = ""
    """The JSON of the attestations that the client sent (PEP 740), or empty without any."""
    has_attestations: bool = False
    """Whether there is any in this JSON: a client that has none may send an empty list."""
    source_metadata: SourceMetadata | None = None
    """What its source says about it, if it is imported."""


class SpoolWriter:
    """
    Writes one file of at most `limit` bytes to the spool, and computes its size and digests.

    `readings` are the distributions that its filename may name. `what` names the operation in
    errors. `hashers` are hash objects besides SHA-256, by algorithm. To make one raises Unavailable
    if no file can be created.
    """

    def __init__(
        self,
        spool: Spool,
        readings: Sequence[Distribution],
        limit: int,
        what: str,
        hashers: Mapping[str, "Hasher"],
    ) -> None:
        self._spool = spool
        # locked while it is open, so that no other process takes it for a leftover
        self.path, self._sink = spool.create()
        self.filename = readings[0].filename
        self._readings = readings
        self.size = 0
        """The bytes written so far."""
        self._limit = limit
        self._what = what
        self._hashers: dict[str, Hasher] = {SHA256: sha256(), **hashers}

    def write(self, data: bytes) -> None:
        """
        Write the next bytes.

        Raises TooLarge above the limit, and Unavailable if the disk fails.
        """
        # counted before it is written, so the spool never has more than the limit of one file
        self.size += len(data)
        if self.size > self._limit:
            raise file_too_large(self._limit)
        for hasher in self._hashers.values():
            hasher.update(data)
        # The reserve is for deletions: no upload may take the room that they need.
        with storage_faults(self._what), self._spool.with_reserve_kept():
            write_all(self._sink.fileno(), data)

    @property
    def digests(self) -> dict[str, str]:
        """The digests of the bytes written so far, in hexadecimal, by algorithm."""
        return {name: hasher.hexdigest() for name, hasher in self._hashers.items()}

    def to_upload(self) -> SpooledUpload:
        """Return the file, once all bytes are written, without form fields or source metadata."""
        distribution, *other_readings = self._readings
        return SpooledUpload(
            distribution=distribution,
            other_readings=tuple(other_readings),
            path=self.path,
            size=self.size,
            sha256=self.digests[SHA256],
        )

    def close(self) -> None:
        """
        Close the file, which waits in the spool under another path.

        Raises Unavailable if the disk fails.
        """
        with storage_faults(self._what):
            waiting = self.path.name.replace(FILE_PREFIX, WAITING_PREFIX, 1)
            # Closing ends its lock, and a file of the old name without a lock is a leftover that
            # another process may remove. So it gets the new name first.
            self.path = self.path.rename(self.path.with_name(waiting))
            self._sink.close()

    def remove(self) -> None:
        """Close the file and remove it from the spool, if it is still there, or log why not."""
        # each by itself: a file that cannot be closed can still be removed
        for step in (self._sink.close, self.path.unlink):
            try:
                step()
            except FileNotFoundError:
                pass
            except OSError as error:
                # what became of the upload is decided by now, so this is no error of the request
                logger.warning("a scratch file stays until the store is swept: %s", error.strerror)


def file_too_large(limit: int) -> TooLarge:
    """Return the TooLarge for a file of more than `limit` bytes."""
    readable = f"{limit // MIB} MiB"
    if limit % MIB:
        readable = f"{limit} bytes"
    return TooLarge(
        f"File too large, the limit is {readable}. Ask for a higher uploads.max_file_size. If what "
        "stands before this index lets no more through, have it published straight into the store.",
        advice=Advice(Remedy.UPLOAD_TO_STORE),
    )


def empty_file(filename: str) -> Invalid:
    """Return the error for a package without a byte."""
    return Invalid(f"The file {quoted(filename)} is empty. Build it again.", code="invalid_archive")
