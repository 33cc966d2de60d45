"""
What is said of private names to callers who may not read them.

It is what is said of a name that no upstream index has, so that nobody learns which names are
private. No index is asked, as it may not learn them either. So a failure that only a question shows
is not seen here.
"""

from packaging.utils import NormalizedName

from wheelyard.concurrency.caches import ExpiringCache
from wheelyard.concurrency.runtime import Runtime
from wheelyard.upstream.pages import MAX_ABSENT, NEGATIVE_SECONDS, PeekedPage
from wheelyard.upstream.settings import UpstreamConfig, is_offline
from wheelyard.upstream.upstream_client import UpstreamClients


class HiddenPages:
    """
    Answers for each name what `UpstreamChain` does for one that no index has.

    It has the methods of a chain that a lookup calls. Threads may share it.
    """

    def __init__(self, config: UpstreamConfig, clients: UpstreamClients, runtime: Runtime) -> None:
        self._config = config
        self._clients = clients
        self._absent = ExpiringCache[NormalizedName, bool](runtime.monotonic, MAX_ABSENT)

    def read_fresh(self, name: NormalizedName) -> PeekedPage | None:
        """Return that there is no page, or None if an index would have to be asked for that."""
        # remembered as an unknown name is: each question counts against the limit of a client
        if self._absent.get(name):
            return PeekedPage(None)
        return None

    def ask_if_due(self, name: NormalizedName) -> None:
        """
        Return None.

        Raises Unavailable if no index is ever asked, or one is left alone for a while.
        """
        if self._config.offline:
            raise is_offline(name)
        if not self._absent.get(name):
            self.ask_now(name)

    def ask_now(self, name: NormalizedName) -> None:
        """
        Return None, whatever is remembered, and remember that nobody has the name.

        Raises Unavailable if no index is ever asked, or one is left alone for a while.
        """
        if self._config.offline:
            raise is_offline(f"a newer page of {name}")
        # an index that is left alone fails for unknown names too, so it does for this one
        self._clients.require_no_pause(name)
        self._absent.put(name, True, NEGATIVE_SECONDS)  # noqa: FBT003 - the cached value

    def peek_stale(self, name: NormalizedName) -> None:
        """Return None: there is no page in memory."""

    def read_any_age(self, name: NormalizedName) -> None:
        """Return None: there is no page in the store."""

    def read_stored(self, name: NormalizedName) -> None:
        """Return None: there is no page in the store."""

    def read_gone(self, name: NormalizedName) -> None:
        """Return None: nothing is remembered."""

    def why_contested(self, name: NormalizedName) -> str:
        """Return an empty text: no index has the name."""
        del name
        return ""
