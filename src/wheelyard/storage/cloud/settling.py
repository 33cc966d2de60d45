"""
What a write has led to whose answer was lost, or was that a precondition failed.

The object is read, and says it. Every write carries a random mark, so that one whose answer was
lost is known again. It also says which version it was to replace: as only one write replaces a
version, who finds another one's there knows that they lost. And where the object still has the
version that was expected, the precondition held: then no race was lost, and the answer is wrong.
"""

from dataclasses import dataclass
from typing import Final

from google.api_core import exceptions as api
from google.cloud.storage import Blob

from wheelyard.errors import Conflict, Unavailable
from wheelyard.storage.base import Key, ObjectVersion, conflict
from wheelyard.storage.cloud.location import BucketLocation

CONTRADICTED: Final = "precondition_failed"
"""The code of a fault for a precondition that keeps failing, though the object does not change."""
MARK: Final = "write-id"
"""The name of the mark of a write, in an object's own metadata."""
REPLACED: Final = "write-over"
"""The name of the generation that a conditional write replaced, 0 for none; there too."""
NOBODYS: Final = 1
"""A generation that no object has: they count microseconds since 1970."""
DIGITS: Final = 18
"""Of a generation, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A write or a deletion that is to be made."""

    key: Key
    expect: ObjectVersion | None
    """The version that it replaces; None for any."""
    mark: str = ""
    """Of a write; a deletion leaves none."""

    @property
    def metadata(self) -> dict[str, str]:
        """What a write says of itself."""
        over = {} if self.expect is None else {REPLACED: str(generation_of(self.expect))}
        return {MARK: self.mark} | over

    def settled(
        self, found: Blob | None, error: Exception, *, may_have_landed: bool
    ) -> ObjectVersion | None:
        """
        Return the version that the change has made, None where the answer contradicts the object.

        Args:
            found: The object as it is now, after the last try.
            error: What the last try has raised.
            may_have_landed: Whether an earlier try may have been carried out.

        Raises:
            Conflict: Something else was there before it.
            Unavailable: It cannot be told.
            Exception: `error`, where it is about no precondition.
        """
        metadata = (found and found.metadata) or {}
        if found is not None and metadata.get(MARK) == self.mark:
            return version_of(found)
        if not isinstance(error, api.PreconditionFailed):
            raise error
        expected = generation_of(self.expect)
        if expected is None or expected == (0 if found is None else found.generation):
            return None
        if not may_have_landed or metadata.get(REPLACED) == str(expected):
            raise Conflict(conflict(self.key)) from error
        raise Unavailable(
            f"Somebody else has changed {self.key} meanwhile, and whether this change came first "
            "is not known. Read it again.",
            short="Too many writers at once.",
        ) from error


def contradicted(key: Key, place: BucketLocation) -> Unavailable:
    """Return the fault for a precondition that keeps failing, though the object does not change."""
    return Unavailable(
        f"The bucket gs://{place.bucket} answers each write of {key} with 412 (a precondition "
        "failed) although nobody changes that object: check whether a proxy or an emulator that "
        "alters requests stands between this machine and Cloud Storage.",
        code=CONTRADICTED,
        short="The store refuses to write.",
    )


def generation_of(version: ObjectVersion | None) -> int | None:
    """Return the generation that a version names: 0 for absent, None for any."""
    if version is None:
        return None
    if not version:
        return 0
    # a version of another store is no generation, and matches none; the bucket refuses to hear it
    is_ours = version.isascii() and version.isdigit() and len(version) <= DIGITS
    return int(version) if is_ours else NOBODYS


def version_of(blob: Blob) -> ObjectVersion:
    """Return the version that an object has."""
    return ObjectVersion(str(blob.generation))
