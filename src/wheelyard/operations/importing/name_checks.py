"""Questions about the new names of an import, asked once for each name and ahead of its files."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock

from packaging.utils import NormalizedName

from wheelyard.model.access import Caller
from wheelyard.operations.name_claims import CLAIM_THREADS, NameClaims


@dataclass(frozen=True, slots=True)
class NameChecks:
    """Finds out which names an import may take, several at a time."""

    claims: NameClaims
    caller: Caller
    _pool: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(CLAIM_THREADS, "names"), init=False
    )
    _answers: dict[NormalizedName, Future[None]] = field(default_factory=dict, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def begin(self, name: NormalizedName) -> Future[None]:
        """Ask about a name, unless that was done; return the answer, which may not be there yet."""
        with self._lock:
            if name not in self._answers:
                self._answers[name] = self._pool.submit(self.claims.require_free, name, self.caller)
            return self._answers[name]

    def require_free(self, name: NormalizedName) -> None:
        """Wait for the answer about a name; raises as `NameClaims.require_free`."""
        self.begin(name).result()

    def close(self) -> None:
        """End the questions that nobody has asked yet."""
        self._pool.shutdown(wait=False, cancel_futures=True)
