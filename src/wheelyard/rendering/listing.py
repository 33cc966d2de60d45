"""What may be shown of a project to a reader, wherever it is from."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.model.decisions import Decision
from wheelyard.model.project import Status
from wheelyard.rendering.shown import ShownFile


class HiddenFiles(Struct, frozen=True):
    """Files of one version that are not shown, for one reason."""

    version: str
    count: int
    reason: str
    """Sentences: what was decided, and what to do next."""


class Origin(Struct, frozen=True, kw_only=True):
    """Where a project is from, and what people are told about that; as it stands, of a private."""

    label: str = ""
    """The label of its upstream index; empty for a private one, or if no index was asked."""
    is_upstream: bool = False
    """Whether the project is not private; then no shared cache may keep what is shown of it."""
    is_stale: bool = False
    """Whether its upstream index should have been asked again, and has not answered."""
    age: float = 0.0
    """Seconds since its upstream index has confirmed it."""
    confirmed_at: datetime | None = None
    """UTC; when that was; None of a private one."""
    refusal: str = ""
    """Why nothing of the project is shown, whatever its upstream index has; empty if it is."""
    generation: str = ""
    """Another one whenever something else may be hidden, or decided."""

    def hidden(self) -> Sequence[HiddenFiles]:
        """Return what is not shown, the newest version first."""
        return ()

    def decisions(self) -> Sequence[Decision]:
        """Return the decisions in force about the project; may read the store."""
        return ()


class Listing(Struct, frozen=True, kw_only=True):
    """A project as it is shown now."""

    name: NormalizedName
    status: Status
    reason: str
    """The reason for the status."""
    files: Sequence[ShownFile]
    """Those that are shown, sorted by filename."""
    empty_versions: Sequence[str] = ()
    """Versions without files that are listed all the same."""
    version: str
    """Another one whenever clients see something else; for this process alone."""
    origin: Origin
