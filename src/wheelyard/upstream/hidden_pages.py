"""
The pages of private names for callers who may not read them: there are none.

The answers are those for a name that no upstream index has, so that nobody learns which names are
private. No index is asked, as it may not learn these names either. So a failure of an index that
only a request shows is not seen here.
"""

from packaging.utils import NormalizedName

from wheelyard.concurrency.caches import ExpiringCache
from wheelyard.concurrency.runtime import Runtime
from wheelyard.upstream.pages import MAX_ABSENT, NEGATIVE_SECONDS, PeekedPage
from wheelyard.upstream.settings import UpstreamConfig, offline_error
from wheelyard.upstream.upstream_client import UpstreamClients


class HiddenPages:
    """
    Answers for every name as `UpstreamChain` does for a name that no index has.

    It has the methods of a chain that a lookup calls. Threads may share it.
    """

    def __init__(self, config: UpstreamConfig, clients: UpstreamClients, runtime: Runtime) -> None:
        self._config = config
        self._clients = clients
        self._absent = ExpiringCache[NormalizedName, bool](runtime.monotonic, MAX_ABSENT)

    def read_fresh(self, name: NormalizedName) -> PeekedPage | None:
        """Return that there is no page, or None if a chain would have to ask an index for that."""
        # remembered as an unknown name is: each request counts against the limit of a client
        if self._absent.get(name):
            return PeekedPage(None)
        return None

    def ask_if_due(self, name: NormalizedName) -> None:
        """
        Return None: no index has the name.

        Raises Unavailable if no index is ever asked, or an index is left alone for a while.
        """
        if self._config.offline:
            raise offline_error(name)
        if not self._absent.get(name):
            self.ask_now(name)

    def ask_now(self, name: NormalizedName) -> None:
        """
        Return None, whatever is remembered, and remember that no index has the name.

        Raises Unavailable if no index is ever asked, or an index is left alone for a while.
        """
        if self._config.offline:
            raise offline_error(f"a newer page of {name}")
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
