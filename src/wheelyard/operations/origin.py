"""What an import knows of a file beyond its bytes."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from wheelyard.model.text import as_one_line

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""No file is older."""
UPLOADER_LIMIT: Final = 200
"""Characters of an uploader's name."""
REASON_LIMIT: Final = 1024
"""Characters of the reason of a yank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
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
        if self.uploaded_at is None:
            return None
        at = self.uploaded_at
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        return max(EPOCH, min(at, now)).astimezone(UTC)

    @property
    def uploader(self) -> str:
        """Who uploaded it, as one line."""
        return as_one_line(self.uploaded_by, UPLOADER_LIMIT)

    @property
    def yank(self) -> str | None:
        """Why it is yanked, as one line; None if it is not."""
        return None if self.yanked is None else as_one_line(self.yanked, REASON_LIMIT)
