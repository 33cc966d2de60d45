"""
What is said of private names to callers who may not read them.

It is what is said of a name that no upstream index has, so that nobody learns which names are
private. No index is asked, as it may not learn them either. So a failure that only a question shows
is not seen here.
"""

from packaging.utils import NormalizedName

from wheelyard.concurrency.caches import ExpiringCache
from wheelyard.concurrency.runtime import Runtime
from wheelyard.upstream.client import UpstreamClients
from wheelyard.upstream.pages import MAX_ABSENT, NEGATIVE_SECONDS, KnownPage
from wheelyard.upstream.settings import UpstreamConfig, is_offline


class HiddenPages:
    """Answers as `UpstreamPages` does for names that no index has. Threads may share it."""

    def __init__(self, config: UpstreamConfig, clients: UpstreamClients, runtime: Runtime) -> None:
        self._config = config
        self._clients = clients
        self._absent = ExpiringCache[NormalizedName, bool](runtime.monotonic, MAX_ABSENT)

    def peek_stored(self, name: NormalizedName) -> KnownPage | None:
        """Return what `get` would, if an index would not have to be asked, else None."""
        return KnownPage(None) if self._absent.get(name) else None

    def get(self, name: NormalizedName) -> None:
        """
        Return None.

        Raises Unavailable if no index is ever asked, or one is left alone for a while.
        """
        if self._config.offline:
            raise is_offline(name)
        if not self._absent.get(name):
            self.refresh(name)

    def refresh(self, name: NormalizedName) -> None:
        """Return None, whatever is remembered. Raises as `get`."""
        if self._config.offline:
            raise is_offline(f"a newer page of {name}")
        self._clients.require_no_pause(name)
        self._absent.put(name, True, NEGATIVE_SECONDS)  # noqa: FBT003 - the cached value

    def stale(self, name: NormalizedName) -> None:
        """Return None: there is no page in memory."""

    def cached(self, name: NormalizedName) -> None:
        """Return None: there is no page in the store."""

    def stored(self, name: NormalizedName) -> None:
        """Return None: there is no page in the store."""

    def gone(self, name: NormalizedName) -> None:
        """Return None: nothing is remembered."""

    def why_contested(self, name: NormalizedName) -> str:
        """Return an empty text: no index has the name."""
        del name
        return ""
