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

        A time without a zone is taken for UTC. A time before 1970 becomes 1970, and a time after
        `now` becomes `now`.
        """
        uploaded_at = self.uploaded_at
        if uploaded_at is None:
            return None
        # the source may give times without a zone, or of a clock that was wrong
        if uploaded_at.tzinfo is None:
            uploaded_at = uploaded_at.replace(tzinfo=UTC)
        past_time = min(uploaded_at, now)
        return max(EARLIEST_UPLOAD, past_time).astimezone(UTC)


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
    """Whether this JSON has any attestation: a client without any may send an empty list."""
    source_metadata: SourceMetadata | None = None
    """The metadata that its source has, or None if the file is not imported."""


class SpoolWriter:
    """
    Writes one file of at most `limit` bytes to the spool, and computes its size and digests.

    The constructor creates the file, and raises Unavailable if that fails.

    Args:
        spool: Where the file is created.
        readings: The distributions that its filename may name.
        limit: The largest size, in bytes.
        operation: The operation in errors, such as `the upload`.
        hashers: Hash objects besides SHA-256, by algorithm.
    """

    def __init__(
        self,
        spool: Spool,
        readings: Sequence[Distribution],
        limit: int,
        operation: str,
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
        self._operation = operation
        self._hashers: dict[str, Hasher] = {SHA256: sha256(), **hashers}

    def write(self, data: bytes) -> None:
        """
        Write the next bytes.

        Raises TooLarge above the limit, and Unavailable if the disk fails.
        """
        # counted before the bytes are written, so that the spool never has more than the limit
        self.size += len(data)
        if self.size > self._limit:
            raise file_too_large(self._limit)
        for hasher in self._hashers.values():
            hasher.update(data)
        # the reserve is for deletions: an upload may not take the room that these need
        with storage_faults(self._operation), self._spool.with_reserve_kept():
            write_all(self._sink.fileno(), data)

    @property
    def digests(self) -> dict[str, str]:
        """The digests of the bytes written so far, in hexadecimal, by algorithm."""
        return {name: hasher.hexdigest() for name, hasher in self._hashers.items()}

    def to_upload(self) -> SpooledUpload:
        """
        Return the file, once all bytes are written.

        Fields of the form and the metadata of a source are not set.
        """
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
        Close the file, and give it the path under which files wait in the spool.

        Raises Unavailable if the disk fails.
        """
        with storage_faults(self._operation):
            waiting_name = self.path.name.replace(FILE_PREFIX, WAITING_PREFIX, 1)
            # To close the file ends its lock, and another process may remove a file with the old
            # name that nobody has locked. So the file gets the new name first.
            self.path = self.path.rename(self.path.with_name(waiting_name))
            self._sink.close()

    def remove(self) -> None:
        """Close the file and remove it from the spool. A failure is logged, and not raised."""
        # one step after another, as a file that cannot be closed can still be removed
        for step in (self._sink.close, self.path.unlink):
            try:
                step()
            except FileNotFoundError:
                pass  # somebody has moved or removed the file already
            except OSError as error:
                # the upload has succeeded or failed by now, so this is no error of the request
                logger.warning("a scratch file stays until the store is swept: %s", error.strerror)


def file_too_large(limit: int) -> TooLarge:
    """Return the error for a file of more than `limit` bytes."""
    limit_text = f"{limit // MIB} MiB"
    if limit % MIB:
        limit_text = f"{limit} bytes"
    return TooLarge(
        f"File too large, the limit is {limit_text}. Ask for a higher uploads.max_file_size. If "
        "what stands before this index lets no more through, have it published straight into the "
        "store.",
        advice=Advice(Remedy.UPLOAD_TO_STORE),
    )


def empty_file(filename: str) -> Invalid:
    """Return the error for a package without a byte."""
    return Invalid(f"The file {quoted(filename)} is empty. Build it again.", code="invalid_archive")
