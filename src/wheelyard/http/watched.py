"""One request while it is being answered, and what was found out about it so far."""

from dataclasses import dataclass
from typing import Any, Final

from wheelyard.http.exchange import Reply, Scope
from wheelyard.http.routing import NOTHING

NOBODY_WAITS: Final = 499
"""The status of a request that its client has broken off; no client sees it."""


@dataclass(slots=True)
class Watched:
    """A request, for metrics, the access log and traces."""

    scope: Scope
    began: float
    span: Any = None
    """OpenTelemetry's, where that is on."""
    route: str = NOTHING
    mark: bytes | None = None
    """What its caller is remembered by; None as long as nobody has asked."""
    who: str = ""
    """A principal; empty as long as nobody has asked."""
    status: int = NOBODY_WAITS
    size: int | None = None
    """Bytes of the body; None where nobody knew before."""

    def answered(self, answer: Reply, *, is_alone: bool = False) -> None:
        """Note what the client is sent; if it has broken off, there is mostly nobody to get it."""
        self.status, self.size = answer.status, _size_of(answer)
        if is_alone:
            self.status = NOBODY_WAITS


def _size_of(answer: Reply) -> int | None:
    for name, value in answer.headers:
        if name == b"content-length":
            return int(value)
    return None
